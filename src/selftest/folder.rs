//! A folder for one run, which nobody else can enter: whoever can write to the control socket in it can have us run programs.
//!
//! It is made by the standard library alone: making one is a line, and it fails, rather than follows, where somebody else has
//! put something in its place.

use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// How many leftovers of killed runs with the same process id are stepped over.
const TRIES: u32 = 100;

/// The folder; it goes with all that is in it when this is dropped.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Makes one among the system's temporary files.
    ///
    /// # Errors
    /// There is no place for it.
    pub(super) fn create() -> io::Result<Folder> {
        let pid = std::process::id();
        let names =
            (0..TRIES).map(|number| std::env::temp_dir().join(format!("tetap-selftest-{pid}-{number}")));
        for path in names {
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Folder(path)),
                Err(taken) if taken.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(ErrorKind::AlreadyExists.into())
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0); // what is left lies among the temporary files
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn two_do_not_meet_and_both_go() {
        let (first, second) = (Folder::create().unwrap(), Folder::create().unwrap());
        assert_ne!(first.path(), second.path());
        assert_eq!(fs::metadata(first.path()).unwrap().mode() & 0o777, 0o700);
        let path = first.path().to_owned();
        drop(first);
        assert!(!path.exists() && second.path().exists());
    }
}
