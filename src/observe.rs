//! What the proxy tells about itself: numbers for alarms, one line a request for everything else.
//!
//! Both are written on the request path, so both are arranged beforehand: a request adds to counters that it already
//! holds and copies one finished line into memory. It never looks a label up, and never waits for a disk.

pub mod access_log;
pub mod metrics;
pub mod shown;
