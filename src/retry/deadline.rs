//! How much time a request has left, as others say it and as others are told.
//!
//! A gRPC client says how long it will wait in `grpc-timeout`: up to eight digits and a unit (gRPC over HTTP/2,
//! "Requests"). Whoever passes such a request on has used some of that time, and passes on what is left; and nothing is
//! done here for a client that has given up.

use http::HeaderName;

use crate::clock::Duration;

/// How long a gRPC client will wait.
pub const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Units, the coarsest first, and how many nanoseconds each has.
const UNITS: [(u8, u64); 6] = [
    (b'H', 3_600_000_000_000),
    (b'M', 60_000_000_000),
    (b'S', 1_000_000_000),
    (b'm', 1_000_000),
    (b'u', 1_000),
    (b'n', 1),
];

const MOST_DIGITS: usize = 8;

/// Reads a `grpc-timeout`; `None` if it is none.
pub fn read_grpc_timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    let nanos = UNITS.iter().find(|(name, _)| name == unit)?.1;
    let is_number = (1..=MOST_DIGITS).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    let number: u64 = std::str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()?;
    Some(Duration::from_nanos(number.saturating_mul(nanos)))
}

/// Writes a `grpc-timeout` in the finest unit that has room for it, rounded down.
pub fn write_grpc_timeout(left: Duration) -> String {
    let most = 10_u128.pow(MOST_DIGITS as u32) - 1;
    let nanos = left.as_nanos();
    let fits = UNITS.iter().rev().find(|(_, unit)| nanos / u128::from(*unit) <= most);
    let (unit, size) = fits.unwrap_or(&UNITS[0]);
    format!("{}{}", (nanos / u128::from(*size)).min(most), char::from(*unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read() {
        let cases: [(&[u8], Option<Duration>); 12] = [
            (b"1S", Some(Duration::from_secs(1))),
            (b"100m", Some(Duration::from_millis(100))),
            (b"2H", Some(Duration::from_secs(7200))),
            (b"3M", Some(Duration::from_secs(180))),
            (b"99999999n", Some(Duration::from_nanos(99_999_999))),
            (b"0u", Some(Duration::ZERO)),
            (b"99999999H", Some(Duration::from_nanos(u64::MAX))),
            (b"123456789n", None),
            (b"S", None),
            (b"", None),
            (b"-1S", None),
            (b"1s", None),
        ];
        for (value, expected) in cases {
            assert_eq!(read_grpc_timeout(value), expected, "{value:?}");
        }
    }

    #[test]
    fn what_is_written_is_read_and_never_more() {
        for nanos in [0, 1, 999, 99_999_999, 100_000_000, 1_500_000_001, 86_400_000_000_000, u64::MAX] {
            let left = Duration::from_nanos(nanos);
            let written = write_grpc_timeout(left);
            let read = read_grpc_timeout(written.as_bytes());
            assert!(read.is_some_and(|read| read <= left), "{written} for {left:?}");
        }
        assert_eq!(write_grpc_timeout(Duration::from_millis(1500)), "1500000u");
    }
}
