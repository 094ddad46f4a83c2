//! How a command can fail, and which exit status that is.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::Report;
use crate::demo;
use crate::process::RunError;
use crate::selftest;
use crate::supervisor::control::Reply;

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(super) enum Failure {
    /// The operator's to mend: exit status 2.
    Configuration(Report),
    /// Exit status 1.
    Run(RunError),
    /// Exit status 1.
    Demo(demo::Error),
    /// Exit status 1.
    Selftest(selftest::Error),
    /// Exit status 1.
    Io(io::Error),
    /// Nobody takes commands there. Exit status 1.
    Unreachable {
        /// Where.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// A running proxy did not do it: exit status 2 if the configuration is to blame, else 1.
    Refused(Reply),
}

impl Failure {
    pub(super) fn exit(&self) -> ExitCode {
        match self {
            Failure::Configuration(_) | Failure::Refused(Reply { usage: true, .. }) => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    }
}

/// Diagnostics begin with their file and line, so that editors find them; all else begins with the program's name.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Configuration(report) => report.fmt(f),
            Failure::Run(error) => write!(f, "tetap: {error}"),
            Failure::Demo(error) => write!(f, "tetap: {error}"),
            Failure::Selftest(error) => write!(f, "tetap: {error}"),
            Failure::Io(error) => write!(f, "tetap: {error}"),
            Failure::Unreachable { path, error } => {
                write!(f, "tetap: no running proxy takes commands at {}: {error}", path.display())
            }
            Failure::Refused(reply) => write!(f, "tetap: {}", reply.message),
        }
    }
}

impl From<Report> for Failure {
    fn from(report: Report) -> Failure {
        Failure::Configuration(report)
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Failure {
        Failure::Run(error)
    }
}

impl From<demo::Error> for Failure {
    fn from(error: demo::Error) -> Failure {
        Failure::Demo(error)
    }
}

impl From<selftest::Error> for Failure {
    fn from(error: selftest::Error) -> Failure {
        match error {
            selftest::Error::Configuration(report) => Failure::Configuration(report),
            error => Failure::Selftest(error),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Io(error)
    }
}
