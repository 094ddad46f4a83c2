//! What health checks say, over time.
//!
//! One lost packet must not take an endpoint out, and one lucky answer must not bring it back, so a verdict turns only
//! after some results in a row. Before the first result there is no verdict at all: an endpoint that was never asked is
//! not healthy, it is unknown; then the very first result decides alone, since waiting for more would keep a fresh
//! proxy from serving. While results disagree with the verdict, it is in doubt, and the next check comes sooner.

use std::fmt;

use crate::clock::Duration;
use crate::estate;

/// How many results in a row turn a verdict; each at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Good ones that bring an endpoint back.
    pub healthy: u32,
    /// Bad ones that take it out.
    pub unhealthy: u32,
}

/// What a check that failed has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Miss {
    /// Nothing: the proxy itself has run out of what it takes to ask.
    Unmade,
    /// No connection: refused or unreachable.
    NoConnection,
    /// The whole check took too long.
    TimedOut,
    /// The connection broke before the answer was there.
    Broken,
    /// The answer cannot be understood.
    Invalid(&'static str),
    /// The answer has a status that is not good.
    Status(u16),
    /// The answer's body is not the right one.
    Body,
    /// The answer says in its own words that the service does not serve (grpc.health.v1).
    NotServing,
}

impl Miss {
    /// Whether somebody answered, in the protocol that was asked.
    pub fn answers(self) -> bool {
        matches!(self, Miss::Status(_) | Miss::Body | Miss::NotServing)
    }
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Miss::Unmade => f.write_str("the proxy could not ask"),
            Miss::NoConnection => f.write_str("no connection"),
            Miss::TimedOut => f.write_str("no answer in time"),
            Miss::Broken => f.write_str("the connection broke"),
            Miss::Invalid(detail) => f.write_str(detail),
            Miss::Status(status) => write!(f, "status {status}"),
            Miss::Body => f.write_str("the body is not as expected"),
            Miss::NotServing => f.write_str("it says that it does not serve"),
        }
    }
}

/// The verdict of one endpoint's checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// No check has ended yet.
    Unknown,
    /// In, with so many bad results since the last good one.
    Up {
        /// In a row.
        bad: u32,
    },
    /// Out, with so many good results since the last bad one.
    Down {
        /// In a row.
        good: u32,
        /// What the last bad one found.
        miss: Miss,
    },
}

impl Probe {
    /// The verdict after one more result.
    #[must_use]
    pub fn after(self, result: Result<(), Miss>, thresholds: Thresholds) -> Probe {
        match (self, result) {
            (probe, Err(Miss::Unmade)) => probe,
            (Probe::Unknown | Probe::Up { .. }, Ok(())) => Probe::Up { bad: 0 },
            (Probe::Unknown, Err(miss)) => Probe::Down { good: 0, miss },
            (Probe::Up { bad }, Err(miss)) if bad.saturating_add(1) >= thresholds.unhealthy => {
                Probe::Down { good: 0, miss }
            }
            (Probe::Up { bad }, Err(_)) => Probe::Up { bad: bad.saturating_add(1) },
            (Probe::Down { good, .. }, Ok(())) if good.saturating_add(1) >= thresholds.healthy => {
                Probe::Up { bad: 0 }
            }
            (Probe::Down { good, miss }, Ok(())) => Probe::Down { good: good.saturating_add(1), miss },
            (Probe::Down { .. }, Err(miss)) => Probe::Down { good: 0, miss },
        }
    }

    /// Whether the latest results disagree with the verdict.
    pub fn is_in_doubt(self) -> bool {
        match self {
            Probe::Unknown => true,
            Probe::Up { bad: streak } | Probe::Down { good: streak, .. } => streak > 0,
        }
    }

    /// What it leaves.
    pub fn bequeath(self) -> estate::Probe {
        match self {
            Probe::Unknown => estate::Probe::Unknown,
            Probe::Up { bad } => estate::Probe::Up { bad },
            Probe::Down { good, miss } => estate::Probe::Down { good, miss: miss.bequeath() },
        }
    }

    /// The verdict that was left, and the streak: under other thresholds, the next result decides by those.
    pub fn inherit(known: estate::Probe) -> Probe {
        match known {
            estate::Probe::Unknown => Probe::Unknown,
            estate::Probe::Up { bad } => Probe::Up { bad },
            estate::Probe::Down { good, miss } => Probe::Down { good, miss: Miss::inherit(miss) },
        }
    }
}

impl Miss {
    fn bequeath(self) -> estate::Miss {
        match self {
            Miss::Unmade => estate::Miss::Unmade,
            Miss::NoConnection => estate::Miss::NoConnection,
            Miss::TimedOut => estate::Miss::TimedOut,
            Miss::Broken => estate::Miss::Broken,
            Miss::Invalid(_) => estate::Miss::Invalid, // the detail is the program's own text; the next check has it again
            Miss::Status(status) => estate::Miss::Status(status),
            Miss::Body => estate::Miss::Body,
            Miss::NotServing => estate::Miss::NotServing,
        }
    }

    fn inherit(known: estate::Miss) -> Miss {
        match known {
            estate::Miss::Unmade => Miss::Unmade,
            estate::Miss::NoConnection => Miss::NoConnection,
            estate::Miss::TimedOut => Miss::TimedOut,
            estate::Miss::Broken => Miss::Broken,
            estate::Miss::Invalid => Miss::Invalid("the answer cannot be understood"),
            estate::Miss::Status(status) => Miss::Status(status),
            estate::Miss::Body => Miss::Body,
            estate::Miss::NotServing => Miss::NotServing,
        }
    }
}

/// The shortest pause between two checks of one endpoint: twenty a second is as much as a sick server should bear.
pub const LEAST_PAUSE: Duration = Duration::from_millis(50);

/// How long to wait between two checks. `chance`, from 0 to 1, spreads the checks of many endpoints and of many proxies
/// over a tenth of the interval either way; a verdict in doubt is settled ten times as fast.
pub fn pause(interval: Duration, in_doubt: bool, chance: f64) -> Duration {
    let usual = if in_doubt { interval / 10 } else { interval };
    let spread = 0.9 + 0.2 * chance.clamp(0.0, 1.0);
    usual.mul_f64(spread).max(LEAST_PAUSE.min(interval))
}

#[cfg(test)]
mod tests {
    use super::*;

    const THRESHOLDS: Thresholds = Thresholds { healthy: 2, unhealthy: 3 };
    const MISS: Miss = Miss::Status(500);

    /// `+` for a good check and `-` for a bad one; the verdicts as `?`, `u`p and `d`own.
    fn verdicts(results: &str) -> String {
        let mut probe = Probe::Unknown;
        let verdict = |result| {
            probe = probe.after(if result == '+' { Ok(()) } else { Err(MISS) }, THRESHOLDS);
            match probe {
                Probe::Unknown => '?',
                Probe::Up { .. } => 'u',
                Probe::Down { .. } => 'd',
            }
        };
        results.chars().map(verdict).collect()
    }

    #[test]
    fn the_first_result_decides_alone_and_later_ones_in_a_row() {
        assert_eq!(verdicts("+--+---"), "uuuuuud", "a good one in between starts the count anew");
        assert_eq!(verdicts("-+-++"), "ddddu");
        assert_eq!(verdicts("-"), "d");
    }

    #[test]
    fn a_check_that_was_not_made_says_nothing() {
        for probe in [Probe::Unknown, Probe::Up { bad: 2 }, Probe::Down { good: 1, miss: MISS }] {
            assert_eq!(probe.after(Err(Miss::Unmade), THRESHOLDS), probe);
        }
    }

    #[test]
    fn a_threshold_of_one_turns_at_once() {
        let once = Thresholds { healthy: 1, unhealthy: 1 };
        let down = Probe::Up { bad: 0 }.after(Err(MISS), once);
        assert_eq!(down, Probe::Down { good: 0, miss: MISS });
        assert_eq!(down.after(Ok(()), once), Probe::Up { bad: 0 });
    }

    #[test]
    fn a_verdict_is_in_doubt_while_results_disagree_with_it() {
        assert!(Probe::Unknown.is_in_doubt());
        assert!(!Probe::Up { bad: 0 }.is_in_doubt() && Probe::Up { bad: 1 }.is_in_doubt());
        let down = |good| Probe::Down { good, miss: MISS };
        assert!(!down(0).is_in_doubt() && down(1).is_in_doubt());
    }

    #[test]
    fn the_last_miss_is_the_one_that_is_told() {
        let down = Probe::Down { good: 1, miss: MISS }.after(Err(Miss::TimedOut), THRESHOLDS);
        assert_eq!(down, Probe::Down { good: 0, miss: Miss::TimedOut });
    }

    #[test]
    fn a_verdict_and_its_streak_are_inherited() {
        let misses = [
            Miss::Unmade,
            Miss::NoConnection,
            Miss::TimedOut,
            Miss::Broken,
            Miss::Invalid("the answer cannot be understood"),
            Miss::Status(500),
            Miss::Body,
            Miss::NotServing,
        ];
        let downs = misses.map(|miss| Probe::Down { good: 1, miss });
        for probe in [Probe::Unknown, Probe::Up { bad: 2 }].into_iter().chain(downs) {
            assert_eq!(Probe::inherit(probe.bequeath()), probe);
        }
    }

    #[test]
    fn a_streak_beyond_the_new_threshold_turns_with_the_next_result() {
        for streak in [5, u32::MAX] {
            let up = Probe::inherit(estate::Probe::Up { bad: streak });
            assert_eq!(up.after(Err(MISS), THRESHOLDS), Probe::Down { good: 0, miss: MISS });
            let down = Probe::inherit(estate::Probe::Down { good: streak, miss: estate::Miss::Body });
            assert_eq!(down.after(Ok(()), THRESHOLDS), Probe::Up { bad: 0 });
        }
    }

    #[test]
    fn pauses_are_spread_and_shorter_in_doubt() {
        let second = Duration::from_secs(1);
        assert_eq!(pause(second, false, 0.0), Duration::from_millis(900));
        assert_eq!(pause(second, false, 1.0), Duration::from_millis(1100));
        assert_eq!(pause(second, true, 0.5), Duration::from_millis(100));
        assert_eq!(pause(second / 10, true, 0.5), LEAST_PAUSE);
        assert_eq!(pause(second / 100, false, 0.5), second / 100, "who asks for more gets more");
    }
}
