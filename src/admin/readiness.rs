//! Whether this process should be sent new work.
//!
//! A load balancer that asks too early sends clients to a proxy that does not listen yet; one that is not told of the
//! end sends them to a proxy that is closing. Both are one word with three values, and it only moves forward: a process
//! that has begun to drain is never ready again, whatever a late start-up task says.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// The three values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not accepting yet.
    Starting,
    /// Accepting.
    Ready,
    /// Finishing what is open, accepting nothing more.
    Draining,
}

/// The word itself, shared by clones.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicU8>);

impl Readiness {
    /// In [`State::Starting`].
    pub fn new() -> Readiness {
        Readiness::default()
    }

    /// The present value.
    pub fn state(&self) -> State {
        match self.0.load(Ordering::Acquire) {
            0 => State::Starting,
            1 => State::Ready,
            _ => State::Draining,
        }
    }

    /// Accepting now, unless draining has begun.
    pub fn ready(&self) {
        self.0.fetch_max(State::Ready as u8, Ordering::AcqRel);
    }

    /// Draining from now on.
    pub fn drain(&self) {
        self.0.fetch_max(State::Draining as u8, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_only_moves_forward() {
        let readiness = Readiness::new();
        assert_eq!(readiness.state(), State::Starting);
        readiness.ready();
        assert_eq!(readiness.state(), State::Ready);
        readiness.drain();
        readiness.ready();
        assert_eq!(readiness.state(), State::Draining);
    }

    #[test]
    fn clones_share_one_word() {
        let readiness = Readiness::new();
        readiness.clone().drain();
        assert_eq!(readiness.state(), State::Draining);
    }
}
