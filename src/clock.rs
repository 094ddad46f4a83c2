//! Time as a parameter.
//!
//! Decisions never ask what time it is: `now` is handed to them, so that tests can run hours in microseconds. This room
//! holds what the IO side needs to hand it over.

pub use std::time::{Duration, Instant, SystemTime};

/// Milliseconds, rounded to microseconds, as the access log prints them.
pub fn millis(duration: Duration) -> f64 {
    (duration.as_micros() as f64) / 1000.0
}
