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

    /// The moment so long before this one; the origin if it was before that, since there is nothing earlier.
    #[must_use]
    pub fn before(self, span: Duration) -> Moment {
        Moment(self.0.saturating_sub(span))
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

    /// A clock whose origin was so long ago, for those who are told of what was before them. The origin is now where the
    /// system's clock does not go back that far.
    pub fn start_before(span: Duration) -> Clock {
        let now = Instant::now();
        Clock(now.checked_sub(span).unwrap_or(now))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_before_the_origin() {
        let second = Duration::from_secs(1);
        let moment = Moment::ORIGIN + second * 3;
        assert_eq!(moment.before(second), Moment::ORIGIN + second * 2);
        assert_eq!(moment.before(second * 4), Moment::ORIGIN);
    }

    #[test]
    fn a_clock_can_have_begun_before_it_was_made() {
        let day = Duration::from_secs(24 * 60 * 60);
        let now = Clock::start_before(day).now();
        assert!(now.since(Moment::ORIGIN) >= day && now.since(Moment::ORIGIN + day) < day, "{now:?}");
    }
}
