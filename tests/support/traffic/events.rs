//! The same event many times, under traffic.
//!
//! What goes wrong at a swap goes wrong in a window of microseconds. One reload proves nothing; fifty, each
//! at a moment of its own, are a test.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use super::super::timed;
use super::toll::Toll;
use super::{Traffic, rest};

/// How long all is quiet before the first event, in milliseconds, and about how long between two.
const QUIET_MS: u64 = 500;
const BETWEEN_MS: u64 = 150;

/// What became of it.
#[derive(Clone, Debug)]
pub struct Events {
    /// What the clients noticed.
    pub toll: Toll,
    /// How long each event took, as many as there were.
    pub took: Vec<Duration>,
    /// Why there were no more, if there were not as many as there should have been.
    pub broken: Option<String>,
}

impl Traffic {
    /// Has the event happen so often under this traffic, one after the other; it is over when `event`
    /// returns. After the first that says what went wrong there are no more.
    pub fn during(
        self,
        address: SocketAddr,
        times: usize,
        mut event: impl FnMut() -> Result<(), String>,
    ) -> Events {
        let running = self.start(address);
        rest(QUIET_MS);
        let mut took = Vec::new();
        let mut broken = None;
        while took.len() < times && broken.is_none() {
            match timed(&mut event) {
                (Ok(()), time) => took.push(time),
                (Err(what), _) => broken = Some(what),
            }
            rest(BETWEEN_MS);
        }
        Events { toll: running.stop(), took, broken }
    }
}

impl Events {
    /// How long all events took together.
    pub fn seconds(&self) -> f64 {
        self.took.iter().sum::<Duration>().as_secs_f64()
    }

    /// Fails unless every event took place, and nobody noticed.
    pub fn assert_unnoticed(&self) {
        assert!(self.broken.is_none(), "{self}");
        self.toll.assert_unnoticed();
    }
}

impl fmt::Display for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Events { toll, took, broken } = self;
        writeln!(f, "{} events in {:.1} s", took.len(), self.seconds())?;
        if let Some(broken) = broken {
            writeln!(f, "and then: {broken}")?;
        }
        write!(f, "{toll}")
    }
}
