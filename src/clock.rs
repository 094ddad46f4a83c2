//! Time as a parameter.
//!
//! Decisions never ask what time it is: `now` is handed to them, so that tests can run hours in microseconds. This room
//! holds what the IO side needs to hand it over. An [`Instant`] can only be had from the system, so what decisions are
//! handed is a [`Moment`], which a test can make up.

use std::ops::Add;

pub use std::time::{Duration, Instant, SystemTime};

/// A point in time, counted from the origin of its [`Clock`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

impl Moment {
    /// The clock's origin.
    pub const ORIGIN: Moment = Moment(Duration::ZERO);

    /// How long ago `earlier` was; nothing if it is yet to come.
    pub fn since(self, earlier: Moment) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;

    fn add(self, span: Duration) -> Moment {
        Moment(self.0.saturating_add(span))
    }
}

/// Tells moments. Copies tell the same.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// A clock whose origin is now.
    pub fn start() -> Clock {
        Clock(Instant::now())
    }

    /// The moment of an instant; the origin if it was before that.
    pub fn at(self, instant: Instant) -> Moment {
        Moment(instant.saturating_duration_since(self.0))
    }

    /// The present moment.
    pub fn now(self) -> Moment {
        self.at(Instant::now())
    }
}

/// Milliseconds, rounded to microseconds, as the access log prints them.
pub fn millis(duration: Duration) -> f64 {
    (duration.as_micros() as f64) / 1000.0
}
