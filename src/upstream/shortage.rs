//! Whose fault it is that no connection can be made.
//!
//! A proxy that has run out of descriptors or ports cannot connect to anybody. To take that for the endpoints' fault would
//! put all of them out, at the very moment when there is most to do.

use std::io;

/// Errors of `socket(2)` and `connect(2)` that speak of this side: no descriptor (EMFILE, ENFILE), no memory (ENOMEM,
/// ENOBUFS), no free port (EADDRNOTAVAIL).
const OWN: [rustix::io::Errno; 5] = [
    rustix::io::Errno::MFILE,
    rustix::io::Errno::NFILE,
    rustix::io::Errno::NOMEM,
    rustix::io::Errno::NOBUFS,
    rustix::io::Errno::ADDRNOTAVAIL,
];

/// Whether an attempt to connect failed for want of something here.
pub(super) fn is_own(error: &io::Error) -> bool {
    rustix::io::Errno::from_io_error(error).is_some_and(|error| OWN.contains(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_shortage_is_told_from_their_refusal() {
        let of = |errno: rustix::io::Errno| is_own(&errno.into());
        assert!(OWN.into_iter().all(of));
        assert!(!of(rustix::io::Errno::CONNREFUSED) && !of(rustix::io::Errno::HOSTUNREACH));
        assert!(!is_own(&io::Error::other("x")));
    }
}
