//! Where access log lines go.

use std::path::PathBuf;

use crate::config::suggest;
use crate::config::units::{Misfit, Unit, as_text};

/// A stream of the process, a file, or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// Nowhere.
    Off,
    /// Appended to a file; a relative path is relative to where the program was started.
    File(PathBuf),
}

impl Unit for Output {
    const FORMAT: &'static str = "tetap-output";
    const EXPECTED: &'static str = "stdout, stderr, off, or the path of a file with a / in it";
    const PATTERN: &'static str = "stdout|stderr|off|.*/.*[^/]";

    fn read(text: &str) -> Result<Output, Misfit> {
        match text {
            "stdout" => Ok(Output::Stdout),
            "stderr" => Ok(Output::Stderr),
            "off" => Ok(Output::Off),
            // Without the `/`, `stdotu` would be a file that nobody looks for.
            path if path.contains('/') && !path.ends_with('/') && !path.contains('\0') => {
                Ok(Output::File(PathBuf::from(path)))
            }
            other => Err(guess(other)),
        }
    }

    fn write(&self) -> String {
        match self {
            Output::Stdout => "stdout".to_owned(),
            Output::Stderr => "stderr".to_owned(),
            Output::Off => "off".to_owned(),
            Output::File(path) => path.display().to_string(),
        }
    }
}

as_text!(Output);

fn guess(text: &str) -> Misfit {
    if let Some(word) = suggest::nearest(text, ["stdout", "stderr", "off"]) {
        return Misfit::plain().suggest(word);
    }
    match text.ends_with(".log") {
        true => Misfit::plain().suggest(format!("./{text}")),
        false => Misfit::plain(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::units::assert_reads;

    #[test]
    fn outputs() {
        assert_reads::<Output>(
            &[("stdout", "stdout"), ("off", "off"), ("/var/log/a.log", "/var/log/a.log"), ("./a", "./a")],
            &["", "stdotu", "none", "access.log", "/var/log/"],
        );
        assert_eq!(guess("access.log").suggestion.as_deref(), Some("./access.log"));
        assert_eq!(guess("stdotu").suggestion.as_deref(), Some("stdout"));
    }
}
