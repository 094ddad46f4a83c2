//! Smooth weighted round robin.
//!
//! With weights 5, 1, 1 the plain kind asks `a a a a a b c`: five requests in a row meet one endpoint while the others
//! rest. The smooth kind (nginx's, 2012) asks `a a b a c a a`, with the same shares. Each endpoint has a credit. At
//! each turn every credit grows by its endpoint's weight; the largest is chosen, and pays the sum of all weights. So
//! the credits always sum to zero, and after one cycle, as many turns as the weights sum to, each is zero again. What
//! counts as a weight here is the endpoint's share, which changes as endpoints come, go and warm up.

use super::{Pick, Reason, Tried};

/// The credits of all endpoints.
#[derive(Clone, Debug, Default)]
pub(super) struct RoundRobin(Vec<Endpoint>);

#[derive(Clone, Copy, Debug, Default)]
struct Endpoint {
    share: u32,
    credit: i64,
}

impl RoundRobin {
    /// Credits are kept, in proportion to the new sum: what one has saved up or owes stays the same part of a cycle.
    pub fn set_shares(&mut self, shares: &[u32]) {
        let sum = |shares: &mut dyn Iterator<Item = u32>| shares.map(i64::from).sum::<i64>();
        let before = sum(&mut self.0.iter().map(|endpoint| endpoint.share)).max(1);
        let after = sum(&mut shares.iter().copied());
        self.0.resize(shares.len(), Endpoint::default());
        for (endpoint, share) in self.0.iter_mut().zip(shares) {
            let kept = if *share == 0 { 0 } else { i128::from(endpoint.credit) };
            let credit = i64::try_from(kept * i128::from(after) / i128::from(before)).unwrap_or(0);
            *endpoint = Endpoint { share: *share, credit };
        }
    }

    /// The endpoint whose turn it is among those not tried; of two equals the first. The tried ones' credits stay.
    pub fn pick(&mut self, tried: &Tried) -> Option<Pick> {
        let (richest, total) = match tried.is_empty() {
            true => self.grow(|_| true), // as it nearly always is, and then nobody need be looked up
            false => self.grow(|slot| !tried.contains(slot)),
        };
        let slot = richest?;
        let Endpoint { share, credit } = &mut self.0[slot];
        *credit -= total;
        let only = i64::from(*share) == total;
        Some(Pick { slot, reason: if only { Reason::Only } else { Reason::Turn { share: *share, total } } })
    }

    /// Who is the richest once the credits have grown, and the sum of all shares, by which they grew.
    fn grow(&mut self, may_be_asked: impl Fn(usize) -> bool) -> (Option<usize>, i64) {
        let (mut richest, mut most, mut total) = (None, i64::MIN, 0);
        for (slot, endpoint) in self.0.iter_mut().enumerate() {
            if endpoint.share == 0 || !may_be_asked(slot) {
                continue;
            }
            endpoint.credit += i64::from(endpoint.share);
            total += i64::from(endpoint.share);
            if endpoint.credit > most {
                (richest, most) = (Some(slot), endpoint.credit);
            }
        }
        (richest, total)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    impl RoundRobin {
        fn new(shares: &[u32]) -> RoundRobin {
            let mut picker = RoundRobin::default();
            picker.set_shares(shares);
            picker
        }
    }

    fn turns(picker: &mut RoundRobin, tried: &Tried, count: usize) -> String {
        let letter = |pick: Pick| char::from(b'a' + u8::try_from(pick.slot).unwrap());
        (0..count).map(|_| letter(picker.pick(tried).unwrap())).collect()
    }

    #[test]
    fn known_sequences() {
        let cases: &[(&[u32], &str)] = &[
            (&[1, 1, 1], "abcabc"),
            (&[5, 1, 1], "aabacaaaabacaa"),
            (&[1, 5], "bbabbb"),
            (&[2, 1], "abaaba"),
            (&[4, 3, 2], "abcabacba"),
        ];
        for (weights, expected) in cases {
            assert_eq!(turns(&mut RoundRobin::new(weights), &Tried::default(), expected.len()), *expected);
        }
    }

    /// Fifty upstreams of up to seven endpoints, and a cycle of each.
    fn cycles(mut check: impl FnMut(&[u32], Vec<usize>)) {
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..50 {
            let weights: Vec<u32> = (0..random.usize(1..8)).map(|_| random.u32(1..=50)).collect();
            let mut picker = RoundRobin::new(&weights);
            let turns = 0..weights.iter().sum();
            let cycle = turns.map(|_| picker.pick(&Tried::default()).unwrap().slot).collect();
            assert!(picker.0.iter().all(|endpoint| endpoint.credit == 0), "a cycle ends where it began");
            check(&weights, cycle);
        }
    }

    #[test]
    fn a_cycle_has_the_exact_shares() {
        cycles(|weights, cycle| {
            for (index, weight) in weights.iter().enumerate() {
                assert_eq!(cycle.iter().filter(|turn| **turn == index).count(), *weight as usize);
            }
        });
    }

    /// The plain kind fails this at the fourth turn of weights 5, 1, 1.
    #[test]
    fn at_no_time_is_an_endpoint_a_whole_turn_ahead_of_its_share() {
        cycles(|weights, cycle| {
            let mut had = vec![0; weights.len()];
            for (turn, index) in cycle.iter().enumerate() {
                had[*index] += 1;
                let share = (turn + 1) as f64 * f64::from(weights[*index]) / cycle.len() as f64;
                assert!(f64::from(had[*index]) < share + 1.0, "{weights:?}: {cycle:?}");
            }
        });
    }

    #[test]
    fn equals_are_never_asked_twice_in_a_row() {
        for weights in [&[1, 1][..], &[3, 3, 3], &[7, 7, 7, 7]] {
            let turns = turns(&mut RoundRobin::new(weights), &Tried::default(), 60);
            assert!(turns.as_bytes().windows(2).all(|pair| pair[0] != pair[1]), "{weights:?}: {turns}");
        }
    }

    #[test]
    fn a_tried_endpoint_gets_no_turn_and_saves_none_up() {
        let mut picker = RoundRobin::new(&[1, 1, 1]);
        let mut tried = Tried::default();
        tried.insert(1);
        assert_eq!(turns(&mut picker, &tried, 6), "acacac");
        assert_eq!(turns(&mut picker, &Tried::default(), 6), "abcabc");
    }

    #[test]
    fn a_turn_says_its_share() {
        let pick = RoundRobin::new(&[5, 1, 1]).pick(&Tried::default()).unwrap();
        assert_eq!(pick, Pick { slot: 0, reason: Reason::Turn { share: 5, total: 7 } });
    }

    #[test]
    fn new_shares_keep_the_place_in_the_cycle() {
        let mut picker = RoundRobin::new(&[1, 1, 1]);
        assert_eq!(turns(&mut picker, &Tried::default(), 1), "a");
        picker.set_shares(&[100, 100, 100]);
        assert_eq!(turns(&mut picker, &Tried::default(), 5), "bcabc");
        picker.set_shares(&[1, 0, 1]);
        assert_eq!(turns(&mut picker, &Tried::default(), 4), "acac");
        picker.set_shares(&[1, 1, 1, 1]);
        assert_eq!(turns(&mut picker, &Tried::default(), 4), "abcd");
    }

    /// Shares that were counted in thousands must not leave debts that take thousands of turns to pay.
    #[test]
    fn coarser_shares_leave_no_debts() {
        let mut picker = RoundRobin::new(&[100_000, 70_001, 3]);
        turns(&mut picker, &Tried::default(), 7);
        picker.set_shares(&[1, 1, 1]);
        let turns = turns(&mut picker, &Tried::default(), 30);
        assert!((9..=11).contains(&turns.matches('c').count()), "{turns}");
    }
}
