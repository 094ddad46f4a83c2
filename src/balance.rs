//! Which endpoint is asked next.
//!
//! Five ways to choose, for five kinds of upstream: in turn, when endpoints and requests are alike; at random, when
//! many proxies share the endpoints and must not step in time; the less busy one, when requests differ in cost; the one that
//! is likely to answer first, when endpoints differ; always the same for the same key, when endpoints remember. Each
//! is a pure decision over what the caller knows: shares, requests under way, latencies, endpoints that this request has
//! already tried. Randomness is handed in, so that a test can repeat it; and every choice says why it was made.
//!
//! An endpoint that was tried, or has no share, is out of the choice altogether: it neither gets a turn nor loses one.
//! Endpoints are known by their slot, which stays theirs for as long as they are members.

mod ewma;
mod hash;
mod least_requests;
mod random;
mod round_robin;
pub mod sticky;
mod tried;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use http::HeaderName;

use crate::clock::Duration;
use ewma::Ewma;
use hash::Hashed;
use least_requests::LeastRequests;
use random::Random;
use round_robin::RoundRobin;

pub use hash::Ring;
pub use tried::Tried;

/// The ways to choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Balance {
    /// Smooth weighted round robin.
    RoundRobin,
    /// Weighted random.
    Random,
    /// The less busy of two picked at random, by leases in flight over weight.
    LeastRequests,
    /// The one of two picked at random that is likely to answer first.
    Ewma,
    /// The same for the same key.
    Hash(HashKey),
}

impl Balance {
    /// Whether it takes a [`Ring`] of the members.
    pub fn wants_ring(&self) -> bool {
        matches!(self, Balance::Hash(_))
    }
}

/// What of a request is the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashKey {
    /// The value of a header.
    Header(HeaderName),
    /// The value of a cookie.
    Cookie(Arc<str>),
    /// The value of a query parameter.
    Query(Arc<str>),
    /// The client's address.
    ClientIp,
    /// The path.
    Path,
}

/// Chooses among the endpoints of one upstream. Round robin remembers whose turn it is, so a picker is changed by use:
/// it stands behind a lock that is held for one [`Picker::pick`].
#[derive(Clone, Debug)]
pub struct Picker(Kind);

#[derive(Clone, Debug)]
enum Kind {
    RoundRobin(RoundRobin),
    Random(Random),
    LeastRequests(LeastRequests),
    Ewma(Ewma),
    Hash(Hashed),
}

/// What is known of the endpoints at this moment.
pub trait Loads {
    /// Requests that the endpoint has under way.
    fn in_flight(&self, slot: usize) -> usize;
    /// Requests that all of them have under way.
    fn total(&self) -> usize;
    /// How long it takes to answer, of late; nothing if nobody knows.
    fn latency(&self, slot: usize) -> Duration;
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Question<'q> {
    /// Endpoints that are out of the question.
    pub tried: &'q Tried,
    /// The key of a request that has one.
    pub key: Option<&'q [u8]>,
}

impl Picker {
    /// A picker without endpoints.
    pub fn new(balance: &Balance) -> Picker {
        Picker(match balance {
            Balance::RoundRobin => Kind::RoundRobin(RoundRobin::default()),
            Balance::Random => Kind::Random(Random::default()),
            Balance::LeastRequests => Kind::LeastRequests(LeastRequests::default()),
            Balance::Ewma => Kind::Ewma(Ewma::default()),
            Balance::Hash(_) => Kind::Hash(Hashed::default()),
        })
    }

    /// The members have changed; where they are, and their slots. Only their own keys move when one comes or goes.
    pub fn set_ring(&mut self, ring: Ring, slots: impl Iterator<Item = (SocketAddr, usize)>) {
        if let Kind::Hash(picker) = &mut self.0 {
            picker.set_ring(ring, slots);
        }
    }

    /// What each slot gets beside its siblings from now on; 0 is not asked.
    pub fn set_shares(&mut self, shares: &[u32]) {
        match &mut self.0 {
            Kind::RoundRobin(picker) => picker.set_shares(shares),
            Kind::Random(picker) => picker.set_shares(shares),
            Kind::LeastRequests(picker) => picker.set_shares(shares),
            Kind::Ewma(picker) => picker.set_shares(shares),
            Kind::Hash(picker) => picker.set_shares(shares),
        }
    }

    /// The endpoint to ask, or `None` when there is none that has a share and was not tried.
    pub fn pick(
        &mut self,
        question: &Question<'_>,
        loads: &impl Loads,
        random: &mut fastrand::Rng,
    ) -> Option<Pick> {
        match &mut self.0 {
            Kind::RoundRobin(picker) => picker.pick(question.tried),
            Kind::Random(picker) => picker.pick(question.tried, random),
            Kind::LeastRequests(picker) => picker.pick(question.tried, loads, random),
            Kind::Ewma(picker) => picker.pick(question.tried, loads, random),
            Kind::Hash(picker) => picker.pick(question, loads, random),
        }
    }
}

/// A choice.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pick {
    /// The endpoint's slot.
    pub slot: usize,
    /// Why this one.
    pub reason: Reason,
}

/// Why an endpoint was chosen, for logs and explanations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reason {
    /// No other was left to choose.
    Only,
    /// Its turn came.
    Turn {
        /// Of the endpoint.
        share: u32,
        /// Shares of all that could have been chosen.
        total: i64,
    },
    /// Drawn at random, in proportion to its share.
    Drawn {
        /// Of the endpoint.
        share: u32,
        /// Shares of all that could have been chosen.
        total: i64,
    },
    /// Two were drawn, and this one was less busy, or as busy and drawn first.
    LessBusy {
        /// Of the endpoint.
        load: Load,
        /// The other endpoint.
        other: usize,
        /// Of the other.
        other_load: Load,
    },
    /// Two were drawn, and this one is likely to answer first.
    Quicker {
        /// How long an answer would take, by this measure.
        expected: Duration,
        /// The other endpoint.
        other: usize,
        /// Of the other.
        other_expected: Duration,
    },
    /// The key belongs to it.
    Key,
    /// The key belongs to one that is out or has more than its share; this is the next on the ring.
    KeyMoved,
    /// The client's cookie names it.
    Pinned,
    /// It is to be found out whether it is well again.
    Trial,
    /// It is in reserve, and nobody else is left.
    Reserve,
}

/// How busy an endpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Requests under way.
    pub in_flight: usize,
    /// What they are measured by.
    pub share: u32,
}

impl Load {
    /// Whether one more request would keep it less busy than one more the other: (in flight + 1) / share, compared
    /// without rounding. Two idle ones are equals.
    fn is_below(self, other: Load) -> bool {
        let product = |in_flight: usize, share: u32| (in_flight as u128 + 1) * u128::from(share);
        let busy = self.in_flight > 0 || other.in_flight > 0;
        busy && product(self.in_flight, other.share) < product(other.in_flight, self.share)
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in flight at share {}", self.in_flight, self.share)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Only => f.write_str("the only one left"),
            Reason::Turn { share, total } => write!(f, "its turn, {share} in {total}"),
            Reason::Drawn { share, total } => write!(f, "drawn, {share} in {total}"),
            Reason::LessBusy { load, other, other_load } => {
                write!(f, "{load}, endpoint {other} has {other_load}")
            }
            Reason::Quicker { expected, other, other_expected } => {
                write!(f, "{expected:.1?} expected, of endpoint {other} {other_expected:.1?}")
            }
            Reason::Key => f.write_str("the key is its own"),
            Reason::KeyMoved => f.write_str("the key's own endpoint is out or full"),
            Reason::Pinned => f.write_str("the client's cookie names it"),
            Reason::Trial => f.write_str("on trial"),
            Reason::Reserve => f.write_str("in reserve, nobody else is left"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    /// Nobody is busy.
    pub(super) struct Idle;

    impl Loads for Idle {
        fn in_flight(&self, _: usize) -> usize {
            0
        }

        fn total(&self) -> usize {
            0
        }

        fn latency(&self, _: usize) -> Duration {
            Duration::ZERO
        }
    }

    const ALL: [Balance; 5] = [
        Balance::RoundRobin,
        Balance::Random,
        Balance::LeastRequests,
        Balance::Ewma,
        Balance::Hash(HashKey::Path),
    ];

    fn with_shares(balance: &Balance, shares: &[u32]) -> Picker {
        let mut picker = Picker::new(balance);
        let address = |slot: usize| SocketAddr::from(([10, 0, 0, u8::try_from(slot).unwrap()], 80));
        let members: Vec<_> = (0..shares.len()).map(|slot| (address(slot), 1)).collect();
        picker.set_ring(Ring::of(&members), (0..shares.len()).map(|slot| (address(slot), slot)));
        picker.set_shares(shares);
        picker
    }

    fn pick(picker: &mut Picker, tried: &Tried, random: &mut fastrand::Rng) -> Option<Pick> {
        picker.pick(&Question { tried, key: None }, &Idle, random)
    }

    #[test]
    fn the_only_endpoint_is_always_chosen() {
        for balance in ALL {
            let mut picker = with_shares(&balance, &[0, 3, 0]);
            let only = Some(Pick { slot: 1, reason: Reason::Only });
            assert_eq!(
                pick(&mut picker, &Tried::default(), &mut fastrand::Rng::with_seed(1)),
                only,
                "{balance:?}"
            );
        }
    }

    #[test]
    fn without_endpoints_there_is_no_choice() {
        for balance in ALL {
            for shares in [&[][..], &[0, 0]] {
                let mut picker = with_shares(&balance, shares);
                let random = &mut fastrand::Rng::with_seed(1);
                assert_eq!(pick(&mut picker, &Tried::default(), random), None, "{balance:?}");
            }
        }
    }

    #[test]
    fn every_endpoint_is_tried_once_and_then_none() {
        for balance in ALL {
            let mut picker = with_shares(&balance, &[1, 1000, 1, 5]);
            let mut random = fastrand::Rng::with_seed(7);
            for _ in 0..50 {
                let mut tried = Tried::default();
                for _ in 0..4 {
                    let slot = pick(&mut picker, &tried, &mut random).unwrap().slot;
                    assert!(!tried.contains(slot), "{balance:?}");
                    tried.insert(slot);
                }
                assert_eq!(pick(&mut picker, &tried, &mut random), None, "{balance:?}");
            }
        }
    }

    #[test]
    fn reasons_read_as_sentences() {
        let load = |in_flight, share| Load { in_flight, share };
        let less_busy = Reason::LessBusy { load: load(1, 2), other: 4, other_load: load(3, 1) };
        let reasons = [
            (Reason::Only, "the only one left"),
            (Reason::Turn { share: 5, total: 7 }, "its turn, 5 in 7"),
            (Reason::Drawn { share: 5, total: 7 }, "drawn, 5 in 7"),
            (less_busy, "1 in flight at share 2, endpoint 4 has 3 in flight at share 1"),
        ];
        for (reason, text) in reasons {
            assert_eq!(reason.to_string(), text);
        }
    }
}
