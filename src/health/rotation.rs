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
const HEADROOM: u128 = 140;

/// The load of all tiers. A thousand endpoints of weight 1000 are a million parts, and what a tier leaves to the next may be
/// a millionth: fine enough for both, and a power of ten, so that the usual parts of it come out even. Its square times
/// what the weights sum to is within 128 bits.
const LOAD: u128 = 1_000_000_000_000_000;

/// The share that a slow start begins with, per mille.
const WHOLE: u64 = 1000;
const BEGINNING: u64 = WHOLE / 10;

/// Shares are as exact as one in so many.
const PRECISION: u128 = 1000;

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
    let mut shares = vec![0_u128; stands.len()];
    let mut reserve = Vec::new();
    for (slot, stand) in &open {
        match loads.get(usize::from(stand.tier)) {
            Some(load) if *load > 0 => shares[*slot] = share(stand, *load, slow_start),
            _ => reserve.push(*slot),
        }
    }
    reserve.sort_by_key(|slot| stands[*slot].map(|stand| stand.tier));
    Rotation { shares: in_small_numbers(&shares), reserve, panic }
}

fn is_panic(stands: &[Option<Stand>], panic_percent: u8) -> bool {
    let counted = || stands.iter().flatten().filter(|stand| stand.counts);
    let fit = counted().filter(|stand| stand.fit).count();
    fit * 100 < counted().count() * usize::from(panic_percent)
}

/// What one unit of weight in each tier gets, in no particular unit.
fn loads(stands: &[Option<Stand>], open: &[(usize, Stand)]) -> Vec<u32> {
    let tiers = stands.iter().flatten().map(|stand| usize::from(stand.tier) + 1).max().unwrap_or(0);
    let weigh = |stands: &mut dyn Iterator<Item = &Stand>| {
        let mut weights = vec![0_u128; tiers];
        stands.for_each(|stand| weights[usize::from(stand.tier)] += u128::from(stand.weight));
        weights
    };
    let all = weigh(&mut stands.iter().flatten());
    let here = weigh(&mut open.iter().map(|(_, stand)| stand));
    let mut left = LOAD;
    let unit = |(all, here): (&u128, &u128)| {
        let bears = (here * LOAD * HEADROOM).div_ceil((*all).max(1) * 100); // up, so that no crumbs are left over
        let carried = left.min(bears);
        left -= carried;
        carried * LOAD / (*here).max(1)
    };
    in_small_numbers(&all.iter().zip(&here).map(unit).collect::<Vec<_>>())
}

fn share(stand: &Stand, load: u32, slow_start: Option<Duration>) -> u128 {
    u128::from(stand.weight) * u128::from(load) * u128::from(warmth(stand.warming, slow_start))
}

fn warmth(warming: Option<Duration>, slow_start: Option<Duration>) -> u64 {
    let (Some(age), Some(whole)) = (warming, slow_start) else { return WHOLE };
    let gained = (WHOLE - BEGINNING) as f64 * age.as_secs_f64() / whole.as_secs_f64().max(f64::EPSILON);
    (BEGINNING + gained as u64).min(WHOLE)
}

/// In the smallest numbers of the same proportion: turns and reasons are easier to read. Where they would be large, none is
/// off by more than the [`PRECISION`]. Something never becomes nothing.
fn in_small_numbers(numbers: &[u128]) -> Vec<u32> {
    let some = || numbers.iter().copied().filter(|number| *number > 0);
    let Some((least, most)) = some().min().zip(some().max()) else { return vec![0; numbers.len()] };
    let divisor = some().fold(0, greatest_common_divisor);
    let precise = divisor.max(least / PRECISION);
    let divisor = precise.max(most.div_ceil(u128::from(u32::MAX)));
    let small = |number: &u128| u32::try_from((number / divisor).max(1)).unwrap_or(u32::MAX);
    numbers.iter().map(|number| if *number == 0 { 0 } else { small(number) }).collect()
}

fn greatest_common_divisor(a: u128, b: u128) -> u128 {
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
        let total: u32 = rotation.shares.iter().sum();
        rotation.shares.iter().map(|share| (share * 100 + total / 2) / total.max(1)).collect()
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

    /// What each should get of the whole, by the rules above and in floating point.
    fn due(stands: &[Stand]) -> Vec<f64> {
        let weigh = |tier: u8, fit: bool| {
            let here = stands.iter().filter(|stand| stand.tier == tier && (stand.fit || !fit));
            here.map(|stand| f64::from(stand.weight)).sum::<f64>()
        };
        let mut left = 1.0_f64;
        let units = (0..4).map(|tier| {
            let (all, here) = (weigh(tier, false), weigh(tier, true));
            let carried = left.min(here * 1.4 / all.max(1.0));
            left -= carried;
            if carried < 1e-12 { 0.0 } else { carried / here }
        });
        let units: Vec<f64> = units.collect();
        let unit = |stand: &Stand| if stand.fit { units[usize::from(stand.tier)] } else { 0.0 };
        stands.iter().map(|stand| unit(stand) * f64::from(stand.weight) / (1.0 - left).max(1e-9)).collect()
    }

    fn assert_exact(stands: &[Stand]) {
        let shares = of(stands, 0).shares;
        let sum = shares.iter().map(|share| f64::from(*share)).sum::<f64>().max(1.0);
        for ((share, due), stand) in shares.iter().zip(due(stands)).zip(stands) {
            let share = f64::from(*share) / sum;
            // what is next to nothing is at least one in 2^32
            assert!((share - due).abs() <= due / 100.0 + 1e-9, "{share}, not {due}, for {stand:?}");
        }
    }

    /// A tier whose weights summed up to more than a million divided by its part of the load got nothing, or one each.
    #[test]
    fn tiers_of_the_largest_weights_get_their_share() {
        let heavy = Stand { weight: 1000, ..FIT };
        let first = [Stand { weight: 800, ..DEAD }, Stand { weight: 600, ..FIT }];
        let second = [tier(heavy, 1), tier(FIT, 1)];
        let many: Vec<_> = first.iter().chain(second.iter().cycle().take(998)).copied().collect();
        assert_exact(&many);
        let shares = of(&many, 0).shares;
        let second: u64 = shares[2..].iter().map(|share| u64::from(*share)).sum();
        assert!((146..=154).contains(&(u64::from(shares[1]) * 100 / second)), "60 % : 40 %, {second}");
    }

    #[test]
    fn whatever_the_weights_each_gets_its_share() {
        let mut random = fastrand::Rng::with_seed(5);
        for _ in 0..300 {
            let (tiers, fit) = (random.u8(1..=4), random.f64());
            let largest = [1, 7, 1000][random.usize(0..3)];
            let count = [3, 30, 1000][random.usize(0..3)];
            let stand = |_| Stand {
                weight: [1, random.u32(1..=largest), largest][random.usize(0..3)],
                tier: random.u8(0..tiers),
                fit: random.f64() < fit,
                ..FIT
            };
            assert_exact(&(0..count).map(stand).collect::<Vec<_>>());
        }
    }

    /// It had less than a thousandth of what its tier bears, which was nothing: only the reserve was left, and of that the first.
    #[test]
    fn a_light_endpoint_carries_all_where_all_heavy_ones_are_dead() {
        let mut stands = vec![Stand { weight: 1000, ..DEAD }; 998];
        stands.extend([FIT, FIT]);
        let rotation = of(&stands, 0);
        assert_eq!((&rotation.shares[998..], rotation.reserve.len()), (&[1, 1][..], 0));
    }

    #[test]
    fn the_largest_weights_fit() {
        let heavy = Stand { weight: 1000, ..FIT };
        let many = vec![heavy; 1000];
        assert!(of(&many, 50).shares.iter().all(|share| *share == 1));
        let mut mixed = vec![heavy; 999];
        mixed.push(FIT);
        assert_eq!(of(&mixed, 50).shares[998..], [1000, 1]);
        let beyond = [Stand { weight: u32::MAX, ..FIT }, FIT, tier(Stand { weight: u32::MAX, ..FIT }, 1)];
        assert_eq!(of(&beyond, 50).shares, [u32::MAX, 1, 0]);
    }
}
