//! File descriptors: each connection takes one, and most systems let a process open 1,024 unless it asks for more.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit to the hard one. Where that fails the limit stays, and the log says what it is.
pub fn raise() {
    let now = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: now.maximum, maximum: now.maximum };
    if now.current != now.maximum && setrlimit(Resource::Nofile, wanted).is_err() {
        log::warn!("the limit of open files stays at {:?}", now.current);
    }
}
