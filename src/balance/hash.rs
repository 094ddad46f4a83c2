//! The same endpoint for the same key.
//!
//! Keys and endpoints lie on a ring, and a key belongs to the next endpoint on it (Karger et al., 1997; the points are
//! those of `libketama`, so that other proxies in front of the same endpoints agree). When an endpoint goes, its keys go
//! to their next ones, and nobody else's move; when it comes back, so do they. That holds as long as the ring is of all
//! members: one that is out for a while stays on it and is passed over.
//!
//! A popular key would fill its endpoint. So nobody busy takes more than a quarter above the average of what is under way
//! (Mirrokni, Thorup and Zadimoghaddam, "Consistent Hashing with Bounded Loads", 2018); what is above goes to the next.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use pingora_load_balancing::Backend;
use pingora_load_balancing::selection::consistent::KetamaHashing;
use pingora_load_balancing::selection::{BackendIter, BackendSelection};

use super::random::Random;
use super::{Loads, Pick, Question, Reason, Tried};

/// What one endpoint may have of the average, in percent.
const BOUND: u128 = 125;

/// Below so many requests under way nobody is full: the average of next to nothing says nothing, and a key that moves with
/// every second request has no home.
const EASY: usize = 8;

/// Steps along the ring that are taken for one key. Each endpoint has 160 points for each unit of weight, mixed well:
/// after ten times as many steps as there are endpoints nearly each was met, and chance decides the rest.
const STEPS_EACH: usize = 10;

/// The largest weight on the ring; larger ones are brought into proportion. A ring of a million points has no better
/// shares and takes a second to make.
const HEAVIEST: u32 = 32;

/// Every member's points.
#[derive(Clone, Default)]
pub struct Ring(Option<Arc<KetamaHashing>>);

impl Ring {
    /// The ring of these members, each with its weight. It takes a while for many of them: not under a lock.
    pub fn of(members: &[(SocketAddr, u32)]) -> Ring {
        let heaviest = members.iter().map(|(_, weight)| *weight).max().unwrap_or(1);
        let scaled = |weight: u32| match heaviest {
            ..=HEAVIEST => weight,
            _ => (weight * HEAVIEST).div_ceil(heaviest),
        };
        let backend = |(address, weight): &(SocketAddr, u32)| {
            Backend::new_with_weight(&address.to_string(), scaled(*weight) as usize).ok()
        };
        let backends: BTreeSet<Backend> = members.iter().filter_map(backend).collect();
        Ring((!backends.is_empty()).then(|| Arc::new(KetamaHashing::build(&backends))))
    }

    /// The members along the ring from a key on, with repetitions.
    fn walk(&self, key: &[u8]) -> impl Iterator<Item = SocketAddr> + '_ {
        let mut points = self.0.as_ref().map(|points| points.iter(key));
        std::iter::from_fn(move || {
            points.as_mut()?.next().and_then(|backend| backend.addr.as_inet().copied())
        })
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ring")
    }
}

/// The ring, and who may be asked.
#[derive(Clone, Debug, Default)]
pub(super) struct Hashed {
    ring: Ring,
    slots: HashMap<SocketAddr, usize>,
    shares: Random,
}

impl Hashed {
    pub fn set_ring(&mut self, ring: Ring, slots: impl Iterator<Item = (SocketAddr, usize)>) {
        self.ring = ring;
        self.slots = slots.collect();
    }

    pub fn set_shares(&mut self, shares: &[u32]) {
        self.shares.set_shares(shares);
    }

    /// The key's endpoint, or the next one that is in and has room. Without a key, by chance.
    pub fn pick(
        &self,
        question: &Question<'_>,
        loads: &impl Loads,
        random: &mut fastrand::Rng,
    ) -> Option<Pick> {
        if self.shares.total() == 0 {
            return None; // to find that out on the ring is to walk all along it
        }
        let Some(key) = question.key else { return self.shares.pick(question.tried, random) };
        let by_key = self.by_key(key, question.tried, loads);
        by_key.or_else(|| self.shares.pick(question.tried, random))
    }

    fn by_key(&self, key: &[u8], tried: &Tried, loads: &impl Loads) -> Option<Pick> {
        let (mut own, mut first_open) = (None, None);
        let steps = self.ring.walk(key).take(STEPS_EACH * self.slots.len());
        for slot in steps.filter_map(|address| self.slots.get(&address).copied()) {
            let own = *own.get_or_insert(slot);
            if self.shares.share(slot) == 0 || tried.contains(slot) {
                continue;
            }
            first_open.get_or_insert(slot);
            if self.has_room(slot, loads) {
                return Some(pick(slot, own));
            }
        }
        // all of them have more than their share: then it is nobody's in particular
        Some(pick(first_open?, own?))
    }

    fn has_room(&self, slot: usize, loads: &impl Loads) -> bool {
        let with_this = |number: usize| number as u128 + 1;
        let (share, total) = (u128::from(self.shares.share(slot)), self.shares.total().unsigned_abs());
        let most = (with_this(loads.total()) * share * BOUND).div_ceil(u128::from(total.max(1)) * 100);
        loads.in_flight(slot) < EASY || with_this(loads.in_flight(slot)) <= most
    }
}

fn pick(slot: usize, own: usize) -> Pick {
    Pick { slot, reason: if slot == own { Reason::Key } else { Reason::KeyMoved } }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::super::tests::Idle;
    use super::*;
    use crate::clock::Duration;

    fn address(slot: usize) -> SocketAddr {
        ([10, 0, 0, u8::try_from(slot).unwrap()], 80).into()
    }

    fn with(members: usize, out: &[usize]) -> Hashed {
        let mut picker = Hashed::default();
        let listed: Vec<_> = (0..members).map(|slot| (address(slot), 1)).collect();
        picker.set_ring(Ring::of(&listed), (0..members).map(|slot| (address(slot), slot)));
        let share = |slot| u32::from(!out.contains(&slot));
        picker.set_shares(&(0..members).map(share).collect::<Vec<_>>());
        picker
    }

    fn ask(picker: &Hashed, key: &str, tried: &Tried, loads: &impl Loads) -> Pick {
        let question = Question { tried, key: Some(key.as_bytes()) };
        picker.pick(&question, loads, &mut fastrand::Rng::with_seed(1)).unwrap()
    }

    fn slots(picker: &Hashed, keys: usize) -> Vec<usize> {
        (0..keys).map(|key| ask(picker, &format!("user-{key}"), &Tried::default(), &Idle).slot).collect()
    }

    #[test]
    fn a_key_stays_where_it_is_and_keys_are_spread() {
        let picker = with(5, &[]);
        let first = slots(&picker, 5_000);
        assert_eq!(first, slots(&picker, 5_000));
        let share = |slot| first.iter().filter(|found| **found == slot).count();
        let shares: Vec<_> = (0..5).map(share).collect();
        assert!(shares.iter().all(|share| (700..1300).contains(share)), "{shares:?}");
    }

    #[test]
    fn when_an_endpoint_goes_only_its_own_keys_move() {
        let (all, without) = (slots(&with(5, &[]), 3_000), slots(&with(5, &[2]), 3_000));
        let moved = all.iter().zip(&without).filter(|(before, after)| before != after).count();
        let its_own = all.iter().filter(|slot| **slot == 2).count();
        assert_eq!(moved, its_own);
        assert!(!without.contains(&2));
    }

    #[test]
    fn a_member_that_leaves_the_ring_moves_no_others_key_either() {
        let (five, four) = (slots(&with(5, &[]), 3_000), slots(&with(4, &[]), 3_000));
        assert!(five.iter().zip(&four).all(|(five, four)| five == four || *five == 4));
    }

    #[test]
    fn a_tried_endpoint_is_passed_over() {
        let picker = with(3, &[]);
        let own = ask(&picker, "k", &Tried::default(), &Idle);
        assert_eq!(own.reason, Reason::Key);
        let mut tried = Tried::default();
        tried.insert(own.slot);
        let next = ask(&picker, "k", &tried, &Idle);
        assert!(next.slot != own.slot && next.reason == Reason::KeyMoved);
    }

    struct Popular(usize);

    impl Loads for Popular {
        fn in_flight(&self, slot: usize) -> usize {
            if slot == self.0 { 50 } else { 1 }
        }

        fn total(&self) -> usize {
            52
        }

        fn latency(&self, _: usize) -> Duration {
            Duration::ZERO
        }
    }

    #[test]
    fn a_popular_key_spills_over() {
        let picker = with(3, &[]);
        let own = ask(&picker, "hot", &Tried::default(), &Idle).slot;
        let next = ask(&picker, "hot", &Tried::default(), &Popular(own));
        assert!(next.slot != own && next.reason == Reason::KeyMoved);
        assert_eq!(ask(&picker, "hot", &Tried::default(), &Popular((own + 1) % 3)).slot, own);
    }

    #[test]
    fn weights_are_kept_in_proportion_however_large() {
        let mut picker = Hashed::default();
        let ring = Ring::of(&[(address(0), 1000), (address(1), 250)]);
        picker.set_ring(ring, (0..2).map(|slot| (address(slot), slot)));
        picker.set_shares(&[1000, 250]);
        let heavy = slots(&picker, 5_000).iter().filter(|slot| **slot == 0).count();
        assert!((3_600..4_400).contains(&heavy), "{heavy} of 5000");
    }

    #[test]
    fn without_a_key_chance_decides() {
        let picker = with(3, &[1]);
        let mut random = fastrand::Rng::with_seed(3);
        let question = Question { tried: &Tried::default(), key: None };
        let mut met = [0; 3];
        (0..300).for_each(|_| met[picker.pick(&question, &Idle, &mut random).unwrap().slot] += 1);
        assert!(met[0] > 100 && met[1] == 0 && met[2] > 100, "{met:?}");
    }
}
