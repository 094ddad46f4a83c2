//! The one of two that is likely to answer first.
//!
//! Requests under way say how busy an endpoint is only as long as endpoints are alike. One that takes ten times as long
//! for each is as quick as the others while it is idle, by that measure, and gets a request whenever it is. So each
//! endpoint's latency is remembered (see [`latency`](crate::health::latency)), and what is compared is how long an answer
//! would take: latency × (in flight + 1), by share.
//!
//! Of an endpoint that has not answered yet nothing is known. It gets a request at once, so that something will be, and
//! no second one before the first is answered.

use super::random::Random;
use super::{Loads, Pick, Reason, Tried};
use crate::clock::Duration;

/// Draws by share.
#[derive(Clone, Debug, Default)]
pub(super) struct Ewma(Random);

/// What an answer takes that nobody has waited for yet, while a first one is under way: longer than any.
const UNKNOWN: Duration = Duration::from_secs(3600);

impl Ewma {
    pub fn set_shares(&mut self, shares: &[u32]) {
        self.0.set_shares(shares);
    }

    /// The quicker of two endpoints not tried yet; of two as quick the one that was drawn first.
    pub fn pick(&self, tried: &Tried, loads: &impl Loads, random: &mut fastrand::Rng) -> Option<Pick> {
        let (first, second) = self.0.pick_two(tried, random)?;
        let Some(second) = second else { return Some(first) };
        let (first, second) = (first.slot, second.slot);
        let expected = |slot| self.expected(slot, loads);
        let (slot, other) =
            if expected(second) < expected(first) { (second, first) } else { (first, second) };
        let reason = Reason::Quicker { expected: expected(slot), other, other_expected: expected(other) };
        Some(Pick { slot, reason })
    }

    /// For one more request, as if the endpoint had the share of an average one.
    fn expected(&self, slot: usize, loads: &impl Loads) -> Duration {
        let in_flight = loads.in_flight(slot);
        let latency = match loads.latency(slot) {
            Duration::ZERO if in_flight > 0 => UNKNOWN,
            latency => latency,
        };
        let relative = f64::from(self.0.share(slot).max(1)) / self.0.total().max(1) as f64;
        latency.mul_f64((in_flight + 1) as f64 / relative.max(1e-6))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    struct Known<'a>(&'a [(usize, u64)]);

    impl Loads for Known<'_> {
        fn in_flight(&self, slot: usize) -> usize {
            self.0[slot].0
        }

        fn total(&self) -> usize {
            self.0.iter().map(|known| known.0).sum()
        }

        fn latency(&self, slot: usize) -> Duration {
            Duration::from_millis(self.0[slot].1)
        }
    }

    /// Shares, requests in flight and latencies in; how often of 10,000 each is asked.
    fn counts(shares: &[u32], known: &[(usize, u64)]) -> Vec<usize> {
        let mut picker = Ewma::default();
        picker.set_shares(shares);
        let mut random = fastrand::Rng::with_seed(5);
        let mut counts = vec![0; shares.len()];
        for _ in 0..10_000 {
            counts[picker.pick(&Tried::default(), &Known(known), &mut random).unwrap().slot] += 1;
        }
        counts
    }

    #[test]
    fn a_slow_one_is_not_asked_though_it_is_idle() {
        assert_eq!(counts(&[1, 1, 1], &[(0, 800), (2, 1), (3, 1)])[0], 0);
    }

    #[test]
    fn a_quick_one_is_not_asked_when_its_queue_is_long() {
        assert_eq!(counts(&[1, 1], &[(100, 1), (0, 50)]), [0, 10_000]);
    }

    #[test]
    fn equals_share_evenly_and_by_share() {
        let even = counts(&[1, 1], &[(1, 5), (1, 5)]);
        assert!((4_700..5_300).contains(&even[0]), "{even:?}");
        assert_eq!(
            counts(&[4, 1], &[(1, 5), (1, 5)]),
            [10_000, 0],
            "the same queue is short for a large one"
        );
    }

    #[test]
    fn an_unknown_one_gets_one_request_and_no_second() {
        assert_eq!(counts(&[1, 1], &[(0, 0), (0, 5)]), [10_000, 0]);
        assert_eq!(counts(&[1, 1], &[(1, 0), (9, 5)]), [0, 10_000]);
    }

    #[test]
    fn the_choice_names_both() {
        let mut picker = Ewma::default();
        picker.set_shares(&[1, 1]);
        let mut random = fastrand::Rng::with_seed(1);
        let pick = picker.pick(&Tried::default(), &Known(&[(0, 1), (0, 3)]), &mut random).unwrap();
        let ms = Duration::from_millis;
        let reason = Reason::Quicker { expected: ms(2), other: 1, other_expected: ms(6) };
        assert_eq!(pick, Pick { slot: 0, reason });
    }
}
