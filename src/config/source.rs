//! Where a configuration's text comes from.
//!
//! The file may be anything: a typing error away lies `/dev/zero`, a directory, a core dump. So it is read up to a bound
//! ([`limits::CONFIG_BYTES`]) and only then looked at.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::config::diagnostic::{Diagnostic, Report};
use crate::limits;

/// Text that may be a configuration, and the name that diagnostics call it by.
#[derive(Debug)]
pub struct Source {
    name: String,
    text: String,
}

impl Source {
    /// The contents of a file.
    ///
    /// # Errors
    ///
    /// When it can't be read, is larger than [`limits::CONFIG_BYTES`], or is not UTF-8.
    pub fn read(path: &Path) -> Result<Source, Report> {
        let name = path.display().to_string();
        let bytes = read_bounded(path).map_err(|error| refuse(&name, format!("cannot be read: {error}")))?;
        let text = String::from_utf8(bytes).map_err(|error| {
            refuse(
                &name,
                format!("found bytes that are not UTF-8 at offset {}", error.utf8_error().valid_up_to()),
            )
        })?;
        Source::text(&name, &text)
    }

    /// Text that is already there.
    ///
    /// # Errors
    ///
    /// When it is larger than [`limits::CONFIG_BYTES`].
    pub fn text(name: &str, text: &str) -> Result<Source, Report> {
        if text.len() > limits::CONFIG_BYTES {
            let most = limits::CONFIG_BYTES / (1024 * 1024);
            return Err(refuse(name, format!("found a file over {most} MiB, expected a configuration")));
        }
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Ok(Source { name: name.to_owned(), text: text.to_owned() })
    }

    /// What diagnostics call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text, without a byte order mark.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// One byte more than allowed, so that a larger file is seen to be larger.
fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limits::CONFIG_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn refuse(name: &str, message: String) -> Report {
    Report::new(name, vec![Diagnostic::unplaced(message)])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_file_of_ten_megabytes_is_refused_by_its_size() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), vec![b'#'; 10 * 1024 * 1024]).unwrap();
        let report = Source::read(file.path()).unwrap_err().to_string();
        assert!(report.contains("found a file over 8 MiB"), "{report}");
    }

    #[test]
    fn a_file_that_is_not_text_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"listeners: \xff").unwrap();
        let report = Source::read(file.path()).unwrap_err().to_string();
        assert!(report.contains("not UTF-8 at offset 11"), "{report}");
    }

    #[test]
    fn a_missing_file_and_a_folder_say_so() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().join("none.yaml"), folder.path().to_owned()] {
            let report = Source::read(&path).unwrap_err().to_string();
            assert!(report.contains("cannot be read: "), "{report}");
        }
    }

    #[test]
    fn a_byte_order_mark_is_not_part_of_the_text() {
        assert_eq!(Source::text("a", "\u{feff}a: 1").unwrap().as_str(), "a: 1");
    }
}
