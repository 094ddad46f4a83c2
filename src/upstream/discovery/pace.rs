//! When to look again.
//!
//! An answer says how long it is good for, and to ask in the meantime would be told the same. But it may also say a day
//! (then a change would take a day), or nothing at all (then asking would never stop), so there is a bound on either side.
//! When a name server fails it is asked again soon, since what it does not say may be news; then ever less, since what
//! ails it may be too many questions. One that fails in part only, on IPv6 addresses or on one target of many, is asked
//! no later than the rest of its answer is good for. A file costs nothing to look at.

use std::time::Duration;

use crate::limits;

/// How long to wait between two looks.
#[derive(Debug)]
pub struct Pace {
    refresh: Duration,
    least: Duration,
    failures: u32,
}

impl Pace {
    /// For names; `refresh` is the longest pause.
    pub fn of_names(refresh: Duration) -> Pace {
        Pace { refresh, least: limits::LOOK_UP_PAUSE, failures: 0 }
    }

    /// For files, which are looked at every `refresh`, whatever they say.
    pub fn of_files(refresh: Duration) -> Pace {
        Pace { refresh, least: refresh, failures: 0 }
    }

    /// The pause after a look that has gone well or not, and whose result is good for so long.
    pub fn pause(&mut self, well: bool, lifetime: Option<Duration>) -> Duration {
        let lifetime = lifetime.unwrap_or(self.refresh);
        let backoff = self.least.saturating_mul(1 << self.failures.min(16)).min(limits::LOOK_UP_BACKOFF);
        let wanted = if well { lifetime } else { lifetime.min(backoff) };
        self.failures = if well { 0 } else { self.failures + 1 };
        wanted.min(self.refresh).max(self.least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_answer_is_believed_for_its_lifetime_within_bounds() {
        let mut pace = Pace::of_names(SECOND * 300);
        for (lifetime, pause) in [(0, 1), (1, 1), (30, 30), (300, 300), (86_400, 300)] {
            assert_eq!(pace.pause(true, Some(SECOND * lifetime)), SECOND * pause, "{lifetime}");
        }
        assert_eq!(Pace::of_names(SECOND / 10).pause(true, Some(SECOND * 5)), SECOND);
    }

    #[test]
    fn one_that_fails_is_asked_soon_and_then_less_and_less() {
        let mut pace = Pace::of_names(SECOND * 300);
        let pauses: Vec<u64> = (0..6).map(|_| pace.pause(false, None).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 10, 10]);
        for _ in 0..100 {
            assert_eq!(pace.pause(false, Some(SECOND * 300)), limits::LOOK_UP_BACKOFF);
        }
        pace.pause(true, Some(SECOND));
        assert_eq!(pace.pause(false, None), SECOND);
    }

    #[test]
    fn what_fails_in_part_is_followed_as_closely_as_before() {
        let mut pace = Pace::of_names(SECOND * 300);
        let pauses: Vec<u64> = (0..6).map(|_| pace.pause(false, Some(SECOND * 3)).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 3, 3, 3, 3]);
    }

    #[test]
    fn a_failure_never_makes_it_slower_than_success() {
        let mut pace = Pace::of_names(SECOND * 3);
        let slowest = (0..50).map(|_| pace.pause(false, None)).max();
        assert_eq!(slowest, Some(SECOND * 3));
    }

    #[test]
    fn a_file_is_looked_at_in_its_own_time() {
        let mut pace = Pace::of_files(SECOND / 5);
        for well in [true, false, false, false, true] {
            assert_eq!(pace.pause(well, None), SECOND / 5);
        }
    }
}
