//! How long to wait before a worker that has crashed is replaced.
//!
//! The first time not at all: clients wait in the backlog meanwhile, and each millisecond is theirs. But one that crashes
//! as soon as it serves would keep a core busy with nothing but starting, so each further crash within a short time doubles
//! the pause, up to a bound that an operator can still wait for.

use crate::clock::{Duration, Moment};
use crate::limits::{CRASH_FORGIVEN, CRASH_PAUSE, CRASH_PAUSE_MOST};

/// Crashes of late.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    crashes: u32,
    served: Option<Moment>,
}

impl Backoff {
    /// Somebody serves.
    pub fn served(&mut self, now: Moment) {
        self.served = Some(now);
    }

    /// And now nobody does. How long to wait.
    pub fn crashed(&mut self, now: Moment) -> Duration {
        if self.served.take().is_some_and(|since| now.since(since) >= CRASH_FORGIVEN) {
            self.crashes = 0;
        }
        self.crashes += 1;
        match self.crashes {
            1 => Duration::ZERO,
            crashes => (CRASH_PAUSE * 2_u32.saturating_pow(crashes - 2).min(1000)).min(CRASH_PAUSE_MOST),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_crash_costs_nothing_and_those_that_follow_ever_more() {
        let (mut backoff, mut now) = (Backoff::default(), Moment::ORIGIN);
        let pauses: Vec<u128> = (0..9)
            .map(|_| {
                backoff.served(now);
                now = now + Duration::from_millis(10);
                backoff.crashed(now).as_millis()
            })
            .collect();
        assert_eq!(pauses, [0, 100, 200, 400, 800, 1000, 1000, 1000, 1000]);
    }

    #[test]
    fn who_has_served_for_a_while_is_replaced_at_once() {
        let mut backoff = Backoff::default();
        for hour in 0..5 {
            let now = Moment::ORIGIN + Duration::from_secs(3600 * hour);
            backoff.served(now);
            assert_eq!(backoff.crashed(now + CRASH_FORGIVEN), Duration::ZERO);
        }
    }

    #[test]
    fn one_that_never_serves_is_not_forgiven_however_long_that_takes() {
        let mut backoff = Backoff::default();
        let pauses =
            (0..4).map(|minute| backoff.crashed(Moment::ORIGIN + CRASH_FORGIVEN * minute).as_millis());
        assert_eq!(pauses.collect::<Vec<_>>(), [0, 100, 200, 400]);
    }
}
