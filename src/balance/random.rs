//! Weighted random choice.
//!
//! It needs no memory and no agreement: a hundred proxies that each choose at random load the endpoints evenly, while a
//! hundred that take turns may all be at the same turn.

use super::{Pick, Reason, Tried};

/// The weights, and their running sums to draw from.
#[derive(Clone, Debug)]
pub(super) struct Random {
    weights: Vec<u32>,
    /// The sum of all weights up to and with each one: what is drawn below the first is the first endpoint's.
    sums: Vec<i64>,
}

impl Random {
    pub fn new(weights: &[u32]) -> Random {
        let sum = |sum: &mut i64, weight: &u32| {
            *sum += i64::from(*weight);
            Some(*sum)
        };
        Random { weights: weights.to_vec(), sums: weights.iter().scan(0, sum).collect() }
    }

    /// One endpoint not tried yet, in proportion to its weight.
    pub fn pick(&self, tried: &Tried, random: &mut fastrand::Rng) -> Option<Pick> {
        if tried.is_empty() { self.draw(random) } else { self.draw_from(tried, random) }
    }

    pub fn weight(&self, index: usize) -> u32 {
        self.weights[index]
    }

    /// One of all: a search in the sums, whatever their number.
    fn draw(&self, random: &mut fastrand::Rng) -> Option<Pick> {
        let total = *self.sums.last()?;
        let drawn = random.i64(0..total);
        Some(self.drawn(self.sums.partition_point(|sum| *sum <= drawn), total))
    }

    /// One of those not tried: a walk along them.
    fn draw_from(&self, tried: &Tried, random: &mut fastrand::Rng) -> Option<Pick> {
        let choices = || self.weights.iter().enumerate().filter(|(index, _)| !tried.contains(*index));
        let total: i64 = choices().map(|(_, weight)| i64::from(*weight)).sum();
        let mut drawn = if total == 0 { return None } else { random.i64(0..total) };
        let taken = choices().find(|(_, weight)| {
            drawn -= i64::from(**weight);
            drawn < 0
        });
        taken.map(|(index, _)| self.drawn(index, total))
    }

    fn drawn(&self, index: usize, total: i64) -> Pick {
        let weight = self.weights[index];
        let only = i64::from(weight) == total;
        Pick { index, reason: if only { Reason::Only } else { Reason::Drawn { weight, total } } }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    const DRAWS: u32 = 20_000;

    /// Pearson's chi-square of the draws against the weights, the tried ones left out.
    fn chi_square(weights: &[u32], tried: &Tried, seed: u64) -> f64 {
        let picker = Random::new(weights);
        let mut random = fastrand::Rng::with_seed(seed);
        let mut counts = vec![0_u32; weights.len()];
        for _ in 0..DRAWS {
            counts[picker.pick(tried, &mut random).unwrap().index] += 1;
        }
        let open = || (0..weights.len()).filter(|index| !tried.contains(*index));
        let total: u32 = open().map(|index| weights[index]).sum();
        assert_eq!(open().map(|index| counts[index]).sum::<u32>(), DRAWS, "no tried one was drawn");
        open()
            .map(|index| {
                (f64::from(counts[index]), f64::from(DRAWS) * f64::from(weights[index]) / f64::from(total))
            })
            .map(|(count, expected)| (count - expected).powi(2) / expected)
            .sum()
    }

    /// With four degrees of freedom 18.5 is passed once in a thousand times; the seeds are fixed.
    #[test]
    fn shares_follow_the_weights() {
        for seed in 0..10 {
            let chi_square = chi_square(&[1, 2, 3, 4, 10], &Tried::default(), seed);
            assert!(chi_square < 18.5, "{chi_square} with seed {seed}");
        }
    }

    /// With two degrees of freedom it is 13.8.
    #[test]
    fn shares_of_the_others_stay_in_proportion_when_some_were_tried() {
        let mut tried = Tried::default();
        tried.insert(1);
        tried.insert(4);
        for seed in 0..10 {
            let chi_square = chi_square(&[1, 2, 3, 4, 10], &tried, seed);
            assert!(chi_square < 13.8, "{chi_square} with seed {seed}");
        }
    }

    #[test]
    fn a_draw_says_its_share() {
        let mut tried = Tried::default();
        tried.insert(0);
        let pick = Random::new(&[9, 1, 1]).pick(&tried, &mut fastrand::Rng::with_seed(1)).unwrap();
        assert_eq!(pick.reason, Reason::Drawn { weight: 1, total: 2 });
    }
}
