//! `250ms`, `5s`, `1m`, `2h`.
//!
//! A bare number would leave the unit to the reader's memory of another proxy's manual, so it is refused. So is zero:
//! for some keys of some proxies it means "at once", for others "never", and neither is what a deadline is for.

use std::time;

use crate::config::units::{Misfit, Unit, as_text};

/// A span of time, above zero and at most a year.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(time::Duration);

const UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];
const LONGEST_MILLIS: u64 = 365 * 24 * 3_600_000;

impl Duration {
    /// For defaults; zero becomes a millisecond.
    pub const fn from_millis(millis: u64) -> Duration {
        Duration(time::Duration::from_millis(if millis == 0 { 1 } else { millis }))
    }

    /// For defaults; zero becomes a millisecond.
    pub const fn from_secs(seconds: u64) -> Duration {
        Duration::from_millis(seconds * 1000)
    }

    /// As the standard library has it.
    pub const fn as_std(self) -> time::Duration {
        self.0
    }
}

impl Unit for Duration {
    const FORMAT: &'static str = "tetap-duration";
    const EXPECTED: &'static str = "a duration such as 250ms, 5s, 1m or 2h";
    const PATTERN: &'static str = "[0-9]+(ms|s|m|h)";

    fn read(text: &str) -> Result<Duration, Misfit> {
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = text.split_at(digits);
        let factor = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
        let factor = factor.ok_or_else(|| guess(number, unit))?;
        let number: u64 = number.parse().map_err(|_| Misfit::plain())?;
        match number.saturating_mul(factor) {
            0 => Err(Misfit::because("zero is no time at all")),
            LONGEST_MILLIS.. => Err(Misfit::because("over a year")),
            millis => Ok(Duration::from_millis(millis)),
        }
    }

    fn write(&self) -> String {
        let millis = self.0.as_millis() as u64;
        let fits = UNITS.iter().rev().find(|(_, factor)| millis.is_multiple_of(*factor));
        let (unit, factor) = fits.unwrap_or(&UNITS[0]);
        format!("{}{unit}", millis / factor)
    }
}

as_text!(Duration);

/// `5` was meant as seconds, `5sec` and `5S` too.
fn guess(number: &str, unit: &str) -> Misfit {
    let unit = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "s" | "sec" | "secs" | "second" | "seconds" => "s",
        "ms" | "msec" | "millis" | "milliseconds" => "ms",
        "m" | "min" | "mins" | "minute" | "minutes" => "m",
        "h" | "hour" | "hours" => "h",
        _ => return Misfit::plain(),
    };
    if number.is_empty() { Misfit::plain() } else { Misfit::plain().suggest(format!("{number}{unit}")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::units::assert_reads;

    #[test]
    fn durations_are_read_and_written() {
        assert_reads::<Duration>(
            &[("250ms", "250ms"), ("5s", "5s"), ("90s", "90s"), ("60s", "1m"), ("2h", "2h"), ("08s", "8s")],
            &[
                "",
                "5",
                "s",
                "5 s",
                "-5s",
                "+5s",
                "1.5s",
                "0s",
                "0ms",
                "1m30s",
                "9999999999999999999999s",
                "9000h",
            ],
        );
    }

    #[test]
    fn a_missing_or_misspelt_unit_is_guessed() {
        for (text, meant) in [("5", "5s"), ("5sec", "5s"), ("5 min", "5m"), ("10MS", "10ms")] {
            assert_eq!(Duration::read(text), Err(Misfit::plain().suggest(meant)), "{text}");
        }
    }
}
