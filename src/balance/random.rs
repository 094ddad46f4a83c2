//! Weighted random choice.
//!
//! It needs no memory and no agreement: a hundred proxies that each choose at random load the endpoints evenly, while a
//! hundred that take turns may all be at the same turn.

use super::{Pick, Reason, Tried};

/// Draws for a second endpoint that may meet the first again, before all others are walked along. Each does so with the
/// chance of the first one itself: where there are many, one draw is enough nearly always.
const REDRAWS: usize = 4;

/// The shares, and their running sums to draw from.
#[derive(Clone, Debug, Default)]
pub(super) struct Random {
    shares: Vec<u32>,
    /// The sum of all shares up to and with each one: what is drawn below the first is the first endpoint's.
    sums: Vec<i64>,
}

impl Random {
    pub fn set_shares(&mut self, shares: &[u32]) {
        let sum = |sum: &mut i64, share: &u32| {
            *sum += i64::from(*share);
            Some(*sum)
        };
        *self = Random { shares: shares.to_vec(), sums: shares.iter().scan(0, sum).collect() };
    }

    /// One endpoint not tried yet, in proportion to its share.
    pub fn pick(&self, tried: &Tried, random: &mut fastrand::Rng) -> Option<Pick> {
        if tried.is_empty() { self.draw(random) } else { self.draw_from(tried, random) }
    }

    /// Two different ones, or the only one.
    pub fn pick_two(&self, tried: &Tried, random: &mut fastrand::Rng) -> Option<(Pick, Option<Pick>)> {
        let first = self.pick(tried, random)?;
        if first.reason == Reason::Only {
            return Some((first, None));
        }
        let redrawn = if tried.is_empty() { self.redraw(first.slot, random) } else { None };
        let walked = || {
            let mut tried = tried.clone();
            tried.insert(first.slot);
            self.pick(&tried, random)
        };
        Some((first, redrawn.or_else(walked)))
    }

    /// 0 for a slot that nobody has.
    pub fn share(&self, slot: usize) -> u32 {
        self.shares.get(slot).copied().unwrap_or(0)
    }

    /// Of all.
    pub fn total(&self) -> i64 {
        self.sums.last().copied().unwrap_or(0)
    }

    /// One of all: a search in the sums, whatever their number.
    fn draw(&self, random: &mut fastrand::Rng) -> Option<Pick> {
        let total = self.total();
        let drawn = if total == 0 { return None } else { random.i64(0..total) };
        Some(self.drawn(self.sums.partition_point(|sum| *sum <= drawn), total))
    }

    /// One of all but the first. To draw until it is another is to draw from the others in proportion to their shares.
    fn redraw(&self, first: usize, random: &mut fastrand::Rng) -> Option<Pick> {
        let mut draws = (0..REDRAWS).filter_map(|_| self.draw(random));
        let other = draws.find(|pick| pick.slot != first)?;
        Some(self.drawn(other.slot, self.total() - i64::from(self.share(first))))
    }

    /// One of those not tried: a walk along them.
    fn draw_from(&self, tried: &Tried, random: &mut fastrand::Rng) -> Option<Pick> {
        let choices = || self.shares.iter().enumerate().filter(|(slot, _)| !tried.contains(*slot));
        let total: i64 = choices().map(|(_, share)| i64::from(*share)).sum();
        let mut drawn = if total == 0 { return None } else { random.i64(0..total) };
        let taken = choices().find(|(_, share)| {
            drawn -= i64::from(**share);
            drawn < 0
        });
        taken.map(|(slot, _)| self.drawn(slot, total))
    }

    fn drawn(&self, slot: usize, total: i64) -> Pick {
        let share = self.share(slot);
        let only = i64::from(share) == total;
        Pick { slot, reason: if only { Reason::Only } else { Reason::Drawn { share, total } } }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    const DRAWS: u32 = 20_000;

    fn with(shares: &[u32]) -> Random {
        let mut random = Random::default();
        random.set_shares(shares);
        random
    }

    /// Pearson's chi-square of the draws against the weights, the tried ones left out.
    fn chi_square(weights: &[u32], tried: &Tried, seed: u64) -> f64 {
        let picker = with(weights);
        let mut random = fastrand::Rng::with_seed(seed);
        let mut counts = vec![0_u32; weights.len()];
        for _ in 0..DRAWS {
            counts[picker.pick(tried, &mut random).unwrap().slot] += 1;
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

    /// Of two that differ, the second is drawn as if the first were not there: 9 of 10 begin with the heavy one.
    #[test]
    fn the_second_of_two_is_drawn_in_proportion_to_the_others_shares() {
        let (picker, mut random) = (with(&[90, 6, 3, 1]), fastrand::Rng::with_seed(4));
        let mut counts = [0_u32; 4];
        for _ in 0..DRAWS {
            let (first, second) = picker.pick_two(&Tried::default(), &mut random).unwrap();
            let (first, second) = (first.slot, second.unwrap());
            assert_ne!(first, second.slot);
            if first == 0 {
                counts[second.slot] += 1;
                assert!(matches!(second.reason, Reason::Drawn { total: 10, .. }), "{second:?}");
            }
        }
        let share = |slot: usize| f64::from(counts[slot]) / f64::from(counts.iter().sum::<u32>());
        let near = |slot, due: f64| (share(slot) - due).abs() < 0.03;
        assert!(near(1, 0.6) && near(2, 0.3) && near(3, 0.1), "{counts:?}");
    }

    #[test]
    fn a_draw_says_its_share() {
        let mut tried = Tried::default();
        tried.insert(0);
        let pick = with(&[9, 1, 1]).pick(&tried, &mut fastrand::Rng::with_seed(1)).unwrap();
        assert_eq!(pick.reason, Reason::Drawn { share: 1, total: 2 });
    }

    #[test]
    fn a_share_of_nothing_is_never_drawn() {
        let picker = with(&[0, 1, 0, 2, 0]);
        let mut random = fastrand::Rng::with_seed(2);
        for _ in 0..1000 {
            let (first, second) = picker.pick_two(&Tried::default(), &mut random).unwrap();
            let mut slots = [first.slot, second.unwrap().slot];
            slots.sort_unstable();
            assert_eq!(slots, [1, 3]);
        }
    }
}
