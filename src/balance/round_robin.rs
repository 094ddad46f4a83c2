//! Smooth weighted round robin.
//!
//! With weights 5, 1, 1 the plain kind asks `a a a a a b c`: five requests in a row meet one endpoint while the others
//! rest. The smooth kind (nginx's, 2012) asks `a a b a c a a`, with the same shares. Each endpoint has a credit. At
//! each turn every credit grows by its endpoint's weight; the largest is chosen, and pays the sum of all weights. So
//! the credits always sum to zero, and after one cycle, as many turns as the weights sum to, each is zero again.

use std::cmp::Reverse;

use super::{Pick, Reason, Tried};

/// The credits of all endpoints.
#[derive(Clone, Debug)]
pub(super) struct RoundRobin(Vec<Endpoint>);

#[derive(Clone, Debug)]
struct Endpoint {
    weight: u32,
    credit: i64,
}

impl RoundRobin {
    pub fn new(weights: &[u32]) -> RoundRobin {
        RoundRobin(weights.iter().map(|&weight| Endpoint { weight, credit: 0 }).collect())
    }

    /// The endpoint whose turn it is among those not tried; of two equals the first. The tried ones' credits stay.
    pub fn pick(&mut self, tried: &Tried) -> Option<Pick> {
        let total = self.grow(tried);
        let index = self.richest(tried)?;
        let Endpoint { weight, credit } = &mut self.0[index];
        *credit -= total;
        let only = i64::from(*weight) == total;
        Some(Pick {
            index,
            reason: if only { Reason::Only } else { Reason::Turn { weight: *weight, total } },
        })
    }

    /// The sum of all weights, by which the credits grew.
    fn grow(&mut self, tried: &Tried) -> i64 {
        let mut total = 0;
        for (_, endpoint) in self.0.iter_mut().enumerate().filter(|(index, _)| !tried.contains(*index)) {
            endpoint.credit += i64::from(endpoint.weight);
            total += i64::from(endpoint.weight);
        }
        total
    }

    fn richest(&self, tried: &Tried) -> Option<usize> {
        let choices = (0..self.0.len()).filter(|index| !tried.contains(*index));
        choices.min_by_key(|index| Reverse(self.0[*index].credit))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn turns(picker: &mut RoundRobin, tried: &Tried, count: usize) -> String {
        let letter = |pick: Pick| char::from(b'a' + u8::try_from(pick.index).unwrap());
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
            let cycle = turns.map(|_| picker.pick(&Tried::default()).unwrap().index).collect();
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
        assert_eq!(pick, Pick { index: 0, reason: Reason::Turn { weight: 5, total: 7 } });
    }
}
