//! The less busy of two.
//!
//! To ask the least busy endpoint of all looks best and is not: every proxy, and every thread of one, sees the same
//! endpoint idle and sends it everything at once. Two drawn at random and the less busy of them taken comes almost as
//! close to an even load (Mitzenmacher, *The Power of Two Choices*, 2001), without that herd, and at the same price for
//! any number of endpoints.
//!
//! Busy is what the endpoint would have under way with this request, by its share: (in flight + 1) / share. Two
//! idle ones are equals, else the heavier would get all of a quiet upstream's requests; and since the two were drawn by
//! share, the first of them has its share.

use super::random::Random;
use super::{Load, Loads, Pick, Reason, Tried};

/// Draws by share.
#[derive(Clone, Debug, Default)]
pub(super) struct LeastRequests(Random);

impl LeastRequests {
    pub fn set_shares(&mut self, shares: &[u32]) {
        self.0.set_shares(shares);
    }

    /// The less busy of two endpoints not tried yet; of two as busy the one that was drawn first.
    pub fn pick(&self, tried: &Tried, loads: &impl Loads, random: &mut fastrand::Rng) -> Option<Pick> {
        let (first, second) = self.0.pick_two(tried, random)?;
        let Some(second) = second else { return Some(first) };
        let load = |slot| Load { in_flight: loads.in_flight(slot), share: self.0.share(slot) };
        Some(less_busy((first.slot, load(first.slot)), (second.slot, load(second.slot))))
    }
}

fn less_busy(first: (usize, Load), second: (usize, Load)) -> Pick {
    let ((slot, load), (other, other_load)) =
        if second.1.is_below(first.1) { (second, first) } else { (first, second) };
    Pick { slot, reason: Reason::LessBusy { load, other, other_load } }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    struct Busy<'a>(&'a [usize]);

    impl Loads for Busy<'_> {
        fn in_flight(&self, slot: usize) -> usize {
            self.0[slot]
        }

        fn total(&self) -> usize {
            self.0.iter().sum()
        }

        fn latency(&self, _: usize) -> crate::clock::Duration {
            panic!("nobody asks")
        }
    }

    fn with(shares: &[u32]) -> LeastRequests {
        let mut picker = LeastRequests::default();
        picker.set_shares(shares);
        picker
    }

    fn counts(weights: &[u32], in_flight: &[usize], tried: &Tried) -> Vec<usize> {
        let picker = with(weights);
        let mut random = fastrand::Rng::with_seed(5);
        let mut counts = vec![0; weights.len()];
        for _ in 0..10_000 {
            counts[picker.pick(tried, &Busy(in_flight), &mut random).unwrap().slot] += 1;
        }
        counts
    }

    #[test]
    fn of_two_the_idle_one_is_always_asked() {
        assert_eq!(counts(&[1, 1], &[3, 2], &Tried::default()), [0, 10_000]);
    }

    #[test]
    fn the_busiest_of_many_is_never_asked_and_the_idlest_most() {
        let counts = counts(&[1, 1, 1, 1], &[9, 2, 1, 0], &Tried::default());
        assert_eq!(counts[0], 0);
        assert!(counts[1] < counts[2] && counts[2] < counts[3], "{counts:?}");
    }

    #[test]
    fn busy_is_meant_in_proportion_to_the_weight() {
        assert_eq!(counts(&[10, 1], &[9, 1], &Tried::default()), [10_000, 0], "10 of 10 against 2 of 1");
        assert_eq!(counts(&[10, 1], &[20, 1], &Tried::default()), [0, 10_000], "21 of 10 against 2 of 1");
        assert_eq!(counts(&[3, 1], &[1, 0], &Tried::default()), [10_000, 0], "2 of 3 against 1 of 1");
    }

    #[test]
    fn equals_share_evenly() {
        let counts = counts(&[1, 1, 1, 1], &[5, 5, 5, 5], &Tried::default());
        assert!(counts.iter().all(|count| (2_300..2_700).contains(count)), "{counts:?}");
    }

    #[test]
    fn idle_endpoints_share_by_weight() {
        let counts = counts(&[1, 4], &[0, 0], &Tried::default());
        assert!((1_850..2_150).contains(&counts[0]), "{counts:?}");
    }

    #[test]
    fn a_tried_endpoint_is_not_asked_however_idle() {
        let mut tried = Tried::default();
        tried.insert(1);
        let counts = counts(&[1, 1, 1], &[7, 0, 8], &tried);
        assert_eq!(counts, [10_000, 0, 0]);
    }

    #[test]
    fn the_choice_names_both() {
        let picker = with(&[1, 1]);
        let pick = picker.pick(&Tried::default(), &Busy(&[0, 1]), &mut fastrand::Rng::with_seed(1)).unwrap();
        let load = |in_flight| Load { in_flight, share: 1 };
        let reason = Reason::LessBusy { load: load(0), other: 1, other_load: load(1) };
        assert_eq!(pick, Pick { slot: 0, reason });
    }

    /// Requests that stay: each pick adds one in flight. The load of the busiest stays close to the average.
    #[test]
    fn the_load_stays_even() {
        let picker = with(&[1; 50]);
        let mut random = fastrand::Rng::with_seed(11);
        let mut in_flight = [0_usize; 50];
        for _ in 0..5_000 {
            let pick = picker.pick(&Tried::default(), &Busy(&in_flight), &mut random).unwrap();
            in_flight[pick.slot] += 1;
        }
        let spread = (in_flight.iter().min().unwrap(), in_flight.iter().max().unwrap());
        assert!(
            *spread.0 >= 95 && *spread.1 <= 105,
            "{spread:?} around 100; one random choice gives about 75 to 125"
        );
    }
}
