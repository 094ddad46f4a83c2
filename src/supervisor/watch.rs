//! Whether the configuration's file is another one than it was.
//!
//! Its contents are not looked at, only what the file system says of it, once a second; through links, since that is how
//! orchestrators put another one in place. It must look the same twice in a row, so that one that is just being written is not
//! read.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What the file system says of a file.
type Print = (u64, u64, u64, i64, i64);

/// A file that is watched.
#[derive(Debug, Default)]
pub struct Watch {
    known: Option<Print>,
    seen: Option<Print>,
}

impl Watch {
    /// As it is now is how it is known.
    pub fn of(path: &Path) -> Watch {
        Watch { known: print(path), seen: None }
    }

    /// It is about to be read: as it is now is how it is known.
    pub fn read(&mut self, path: &Path) {
        *self = Watch::of(path);
    }

    /// Whether it has changed, and is as it was when this was last asked. True once for each change.
    pub fn has_changed(&mut self, path: &Path) -> bool {
        let now = print(path);
        let changed = now.is_some() && now != self.known;
        let settled = changed && now == self.seen;
        self.seen = now;
        if settled {
            self.known = now;
        }
        settled
    }
}

fn print(path: &Path) -> Option<Print> {
    let meta = fs::metadata(path).ok()?;
    Some((meta.dev(), meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_change_is_told_once_and_only_when_it_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.yaml");
        fs::write(&path, "one").unwrap();
        let mut watch = Watch::of(&path);
        assert!(!watch.has_changed(&path));
        fs::write(&path, "longer").unwrap();
        assert!(!watch.has_changed(&path), "it may still be written");
        fs::write(&path, "longer still").unwrap();
        assert!(!watch.has_changed(&path), "as it was");
        assert!(watch.has_changed(&path));
        assert!(!watch.has_changed(&path));
    }

    #[test]
    fn a_link_that_leads_elsewhere_is_a_change_and_a_file_that_is_gone_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let [link, one, two] = ["link", "one", "two"].map(|name| folder.path().join(name));
        fs::write(&one, "same").unwrap();
        fs::write(&two, "same").unwrap();
        std::os::unix::fs::symlink(&one, &link).unwrap();
        let mut watch = Watch::of(&link);
        fs::remove_file(&link).unwrap();
        assert!(!watch.has_changed(&link) && !watch.has_changed(&link));
        std::os::unix::fs::symlink(&two, &link).unwrap();
        assert!(!watch.has_changed(&link) && watch.has_changed(&link));
    }
}
