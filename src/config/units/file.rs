//! Files that are read.

use std::path::PathBuf;

use crate::config::units::{Misfit, Unit, as_text};

/// The path of a file; a relative one is relative to where the program was started.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FilePath(pub PathBuf);

impl Unit for FilePath {
    const FORMAT: &'static str = "tetap-file-path";
    const EXPECTED: &'static str = "the path of a file";
    const PATTERN: &'static str = ".*[^/]";

    fn read(text: &str) -> Result<FilePath, Misfit> {
        match text {
            "" => Err(Misfit::plain()),
            text if text.ends_with('/') => Err(Misfit::because("a folder")),
            text if text.contains(char::is_control) => Err(Misfit::plain()),
            text => Ok(FilePath(PathBuf::from(text))),
        }
    }

    fn write(&self) -> String {
        self.0.display().to_string()
    }
}

as_text!(FilePath);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::units::assert_reads;

    #[test]
    fn paths_are_read_and_written() {
        assert_reads::<FilePath>(
            &[("a.yaml", "a.yaml"), ("/etc/tetap/a.yaml", "/etc/tetap/a.yaml")],
            &["", "conf/", "a\nb"],
        );
    }
}
