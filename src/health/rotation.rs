//! From the fitness of all endpoints to their shares of the load.
//!
//! Three rules meet here:
//!
//! * **Tiers.** The first tier carries the load as long as it can. An endpoint can bear [`HEADROOM`] times its usual
//!   share, so a tier that has lost less than about a quarter still carries all; what it cannot carry goes to the next.
//! * **Slow start.** An endpoint that has just come back begins with a tenth of its share and gets more as time goes by:
//!   caches are cold, pools empty, and the load that killed it may still be there.
//! * **Panic.** When fewer than `panic_percent` are fit, those that at least answer are asked as well. More than half of
//!   the endpoints ill at the same time may mean that the health check is; and the few that are left would melt under
//!   the load of all. Where nobody answers there is nothing to gain, and nobody is asked.
//!
//! Fit endpoints that get no share (of a later tier) are in reserve, for a request that was tried everywhere else.

use crate::clock::Duration;

/// What an endpoint bears beyond its usual share, in percent (Envoy's overprovisioning factor).
const HEADROOM: u64 = 140;

/// The share that a slow start begins with, and shares are counted in, per mille.
const WHOLE: u64 = 1000;
const BEGINNING: u64 = WHOLE / 10;

/// What shares of several tiers are multiplied by before they are divided: a tier that carries all of it in one endpoint
/// comes to 10^9, which a share has room for.
const FINE: u64 = 1000;

/// What is known of one endpoint.
#[derive(Clone, Copy, Debug)]
pub struct Stand {
    /// Its share beside its siblings'.
    pub weight: u32,
    /// Its rank.
    pub tier: u8,
    /// May be asked.
    pub fit: bool,
    /// If not: whether it answers at least.
    pub answers: bool,
    /// Counts among those that the panic threshold is a share of: not those that are unfit on purpose.
    pub counts: bool,
    /// How long ago it came back, if its slow start is not over.
    pub warming: Option<Duration>,
}

/// Who gets how much.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// By slot; 0 gets nothing.
    pub shares: Vec<u32>,
    /// Slots that may be asked but have no share, the best tier first.
    pub reserve: Vec<usize>,
    /// Health is being ignored.
    pub panic: bool,
}

/// The shares of these endpoints, each by its slot; a slot may be empty.
pub fn rotation(stands: &[Option<Stand>], panic_percent: u8, slow_start: Option<Duration>) -> Rotation {
    let panic = is_panic(stands, panic_percent);
    let asked = |stand: &Stand| stand.fit || (panic && stand.answers);
    let open: Vec<(usize, Stand)> = stands
        .iter()
        .enumerate()
        .filter_map(|(slot, stand)| stand.filter(|stand| asked(stand)).map(|stand| (slot, stand)))
        .collect();
    let loads = loads(stands, &open);
    let alone = loads.iter().filter(|load| load.carried > 0).count() == 1;
    let mut shares = vec![0; stands.len()];
    let mut reserve = Vec::new();
    for (slot, stand) in &open {
        match loads.get(usize::from(stand.tier)) {
            Some(load) if load.carried > 0 => {
                let unit = if alone { Load { carried: 1, weight: FINE } } else { *load };
                shares[*slot] = share(stand, unit, slow_start);
            }
            _ => reserve.push(*slot),
        }
    }
    reserve.sort_by_key(|slot| stands[*slot].map(|stand| stand.tier));
    reduce(&mut shares);
    Rotation { shares, reserve, panic }
}

fn is_panic(stands: &[Option<Stand>], panic_percent: u8) -> bool {
    let counted = || stands.iter().flatten().filter(|stand| stand.counts);
    let fit = counted().filter(|stand| stand.fit).count();
    fit * 100 < counted().count() * usize::from(panic_percent)
}

/// What a tier carries, per mille of all, and the weight of those who carry it.
#[derive(Clone, Copy)]
struct Load {
    carried: u64,
    weight: u64,
}

fn loads(stands: &[Option<Stand>], open: &[(usize, Stand)]) -> Vec<Load> {
    let tiers = stands.iter().flatten().map(|stand| usize::from(stand.tier) + 1).max().unwrap_or(0);
    let weigh = |stands: &mut dyn Iterator<Item = &Stand>| {
        let mut weights = vec![0_u64; tiers];
        stands.for_each(|stand| weights[usize::from(stand.tier)] += u64::from(stand.weight));
        weights
    };
    let all = weigh(&mut stands.iter().flatten());
    let here = weigh(&mut open.iter().map(|(_, stand)| stand));
    let bears: Vec<u64> = all
        .iter()
        .zip(&here)
        .map(|(all, here)| (here * WHOLE * HEADROOM / 100 / (*all).max(1)).min(WHOLE))
        .collect();
    let total = bears.iter().sum::<u64>().min(WHOLE);
    let mut left = total;
    let carried = bears.iter().map(|bears| {
        let carried = left.min(*bears);
        left -= carried;
        carried
    });
    carried.zip(here).map(|(carried, weight)| Load { carried, weight }).collect()
}

/// Divided last and finely, so that one of a thousand with the smallest weight beside the largest still gets its part.
fn share(stand: &Stand, load: Load, slow_start: Option<Duration>) -> u32 {
    let part = u64::from(stand.weight) * load.carried * warmth(stand.warming, slow_start);
    u32::try_from((part * FINE / load.weight.max(1)).max(1)).unwrap_or(u32::MAX)
}

fn warmth(warming: Option<Duration>, slow_start: Option<Duration>) -> u64 {
    let (Some(age), Some(whole)) = (warming, slow_start) else { return WHOLE };
    let gained = (WHOLE - BEGINNING) as f64 * age.as_secs_f64() / whole.as_secs_f64().max(f64::EPSILON);
    (BEGINNING + gained as u64).min(WHOLE)
}

/// In the smallest numbers of the same proportion: turns and reasons are easier to read.
fn reduce(shares: &mut [u32]) {
    let divisor = shares.iter().fold(0, |divisor, share| greatest_common_divisor(divisor, *share));
    if divisor > 1 {
        shares.iter_mut().for_each(|share| *share /= divisor);
    }
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIT: Stand = Stand { weight: 1, tier: 0, fit: true, answers: true, counts: true, warming: None };
    const DEAD: Stand = Stand { fit: false, answers: false, ..FIT };
    const ILL: Stand = Stand { fit: false, answers: true, ..FIT };

    fn of(stands: &[Stand], panic_percent: u8) -> Rotation {
        let stands: Vec<_> = stands.iter().copied().map(Some).collect();
        rotation(&stands, panic_percent, Some(Duration::from_secs(10)))
    }

    fn tier(stand: Stand, tier: u8) -> Stand {
        Stand { tier, ..stand }
    }

    /// In percent.
    fn percents(rotation: &Rotation) -> Vec<u32> {
        let total: u64 = rotation.shares.iter().copied().map(u64::from).sum();
        let percent = |share: &u32| (u64::from(*share) * 100 + total / 2) / total.max(1);
        rotation.shares.iter().map(|share| percent(share) as u32).collect()
    }

    #[test]
    fn those_that_are_fit_share_by_weight() {
        let heavy = Stand { weight: 5, ..FIT };
        assert_eq!(of(&[heavy, FIT, DEAD, FIT], 0).shares, [5, 1, 0, 1]);
        assert_eq!(of(&[FIT, FIT], 50).shares, [1, 1]);
    }

    #[test]
    fn an_empty_slot_gets_nothing() {
        let rotation = rotation(&[None, Some(FIT), None], 50, None);
        assert_eq!((rotation.shares, rotation.panic), (vec![0, 1, 0], false));
        assert_eq!(super::rotation(&[], 50, None), Rotation::default());
    }

    #[test]
    fn the_next_tier_gets_what_the_first_cannot_carry() {
        let backup = tier(FIT, 1);
        assert_eq!(of(&[FIT, FIT, FIT, FIT, backup], 0).shares, [1, 1, 1, 1, 0]);
        assert_eq!(
            percents(&of(&[FIT, FIT, FIT, DEAD, backup], 0)),
            [33, 33, 33, 0, 0],
            "three of four bear all"
        );
        assert_eq!(percents(&of(&[FIT, FIT, DEAD, DEAD, backup], 0)), [35, 35, 0, 0, 30]);
        assert_eq!(percents(&of(&[DEAD, DEAD, backup, tier(FIT, 2)], 0)), [0, 0, 100, 0]);
    }

    #[test]
    fn who_has_no_share_is_in_reserve_by_tier() {
        let rotation = of(&[tier(FIT, 2), FIT, tier(FIT, 1), tier(DEAD, 1)], 0);
        assert_eq!((rotation.shares, rotation.reserve), (vec![0, 1, 0, 0], vec![2, 0]));
    }

    #[test]
    fn all_tiers_together_carry_what_they_can() {
        let rotation =
            of(&[FIT, DEAD, DEAD, DEAD, tier(FIT, 1), tier(DEAD, 1), tier(DEAD, 1), tier(DEAD, 1)], 0);
        assert_eq!(percents(&rotation), [50, 0, 0, 0, 50, 0, 0, 0]);
    }

    #[test]
    fn in_a_panic_those_that_answer_are_asked_too() {
        let one_of_three = of(&[FIT, ILL, DEAD], 50);
        assert_eq!((one_of_three.shares, one_of_three.panic), (vec![1, 1, 0], true));
        let two_of_three = of(&[FIT, FIT, ILL], 50);
        assert_eq!((two_of_three.shares, two_of_three.panic), (vec![1, 1, 0], false));
        assert_eq!(of(&[FIT, ILL, ILL], 0).shares, [1, 0, 0], "0 % never panics");
        assert_eq!(of(&[ILL, ILL], 50).shares, [1, 1]);
        assert_eq!(of(&[DEAD, DEAD], 50).shares, [0, 0], "nobody answers");
    }

    #[test]
    fn those_that_are_out_on_purpose_cause_no_panic() {
        let drained = Stand { fit: false, answers: false, counts: false, ..FIT };
        assert!(!of(&[FIT, drained, drained], 50).panic);
    }

    #[test]
    fn a_slow_start_begins_with_a_tenth_and_grows() {
        let warming = |seconds| Stand { warming: Some(Duration::from_secs(seconds)), ..FIT };
        assert_eq!(of(&[FIT, warming(0)], 0).shares, [10, 1]);
        assert_eq!(of(&[FIT, warming(5)], 0).shares, [20, 11]);
        assert_eq!(of(&[FIT, warming(10)], 0).shares, [1, 1]);
        assert_eq!(of(&[FIT, warming(100)], 0).shares, [1, 1]);
    }

    /// A million units of weight in each of two tiers: each unit's part must not vanish, nor all parts become the same.
    #[test]
    fn the_smallest_beside_the_largest_keeps_its_part_in_every_tier() {
        let with = |weight, stand| Stand { weight, ..stand };
        let backup = tier(FIT, 1);
        let mut stands = vec![with(1000, FIT); 499];
        stands.extend([with(1, FIT)]);
        stands.extend(vec![with(1000, DEAD); 499]);
        stands.extend(vec![with(1000, backup); 499]);
        stands.extend([with(1, backup)]);
        let shares = of(&stands, 0).shares;
        for (large, small) in [(0, 499), (999, 1498)] {
            let ratio = f64::from(shares[large]) / f64::from(shares[small]);
            assert!((990.0..1010.0).contains(&ratio), "{ratio}");
        }
        let first: u64 = shares[..500].iter().copied().map(u64::from).sum();
        let all: u64 = shares.iter().copied().map(u64::from).sum();
        assert!(
            (695..705).contains(&(first * 1000 / all)),
            "half of a tier bears seven tenths: {first} of {all}"
        );
    }

    #[test]
    fn the_largest_weights_fit() {
        let heavy = Stand { weight: 1000, ..FIT };
        let many = vec![heavy; 1000];
        assert!(of(&many, 50).shares.iter().all(|share| *share == 1));
        let mut mixed = vec![heavy; 999];
        mixed.push(FIT);
        assert!(of(&mixed, 50).shares[999] > 0, "small, but not nothing");
    }
}
