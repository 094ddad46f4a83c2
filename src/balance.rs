//! Which endpoint is asked next.
//!
//! Three ways to choose, for three kinds of upstream: in turn, when endpoints and requests are alike; at random, when
//! many proxies share the endpoints and must not step in time; the less busy one, when requests differ in cost. Each
//! is a pure decision over what the caller knows: weights, requests under way, endpoints that this request has already
//! tried. Randomness is handed in, so that a test can repeat it; and every choice says why it was made.
//!
//! An endpoint that was tried is out of the choice altogether: it neither gets a turn nor loses one.

mod least_requests;
mod random;
mod round_robin;
mod tried;

use std::fmt;

use least_requests::LeastRequests;
use random::Random;
use round_robin::RoundRobin;

pub use tried::Tried;

/// The ways to choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// Smooth weighted round robin.
    RoundRobin,
    /// Weighted random.
    Random,
    /// The less busy of two picked at random, by leases in flight over weight.
    LeastRequests,
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
}

impl Picker {
    /// One weight per endpoint, 1 to 1000: its share beside its siblings'.
    pub fn new(balance: Balance, weights: &[u32]) -> Picker {
        Picker(match balance {
            Balance::RoundRobin => Kind::RoundRobin(RoundRobin::new(weights)),
            Balance::Random => Kind::Random(Random::new(weights)),
            Balance::LeastRequests => Kind::LeastRequests(LeastRequests::new(weights)),
        })
    }

    /// The endpoint to ask, or `None` when all were tried. `in_flight` says how many requests an endpoint has under
    /// way; only `least_requests` asks, and only about two endpoints.
    pub fn pick(
        &mut self,
        tried: &Tried,
        in_flight: impl Fn(usize) -> usize,
        random: &mut fastrand::Rng,
    ) -> Option<Pick> {
        match &mut self.0 {
            Kind::RoundRobin(picker) => picker.pick(tried),
            Kind::Random(picker) => picker.pick(tried, random),
            Kind::LeastRequests(picker) => picker.pick(tried, in_flight, random),
        }
    }
}

/// A choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pick {
    /// The endpoint's place in the list of weights.
    pub index: usize,
    /// Why this one.
    pub reason: Reason,
}

/// Why an endpoint was chosen, for logs and explanations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No other was left to choose.
    Only,
    /// Its turn came.
    Turn {
        /// Of the endpoint.
        weight: u32,
        /// Weights of all that could have been chosen.
        total: i64,
    },
    /// Drawn at random, in proportion to its weight.
    Drawn {
        /// Of the endpoint.
        weight: u32,
        /// Weights of all that could have been chosen.
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
}

/// How busy an endpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Requests under way.
    pub in_flight: usize,
    /// What they are measured by.
    pub weight: u32,
}

impl Load {
    /// Whether one more request would keep it less busy than one more the other: (in flight + 1) / weight, compared
    /// without rounding. Two idle ones are equals.
    fn is_below(self, other: Load) -> bool {
        let product = |in_flight: usize, weight: u32| (in_flight as u128 + 1) * u128::from(weight);
        let busy = self.in_flight > 0 || other.in_flight > 0;
        busy && product(self.in_flight, other.weight) < product(other.in_flight, self.weight)
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in flight at weight {}", self.in_flight, self.weight)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Only => f.write_str("the only one left"),
            Reason::Turn { weight, total } => write!(f, "its turn, {weight} in {total}"),
            Reason::Drawn { weight, total } => write!(f, "drawn, {weight} in {total}"),
            Reason::LessBusy { load, other, other_load } => {
                write!(f, "{load}, endpoint {other} has {other_load}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    const ALL: [Balance; 3] = [Balance::RoundRobin, Balance::Random, Balance::LeastRequests];

    fn pick(picker: &mut Picker, tried: &Tried, random: &mut fastrand::Rng) -> Option<Pick> {
        picker.pick(tried, |_| 0, random)
    }

    #[test]
    fn the_only_endpoint_is_always_chosen() {
        for balance in ALL {
            let mut picker = Picker::new(balance, &[3]);
            let only = Some(Pick { index: 0, reason: Reason::Only });
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
            let mut picker = Picker::new(balance, &[]);
            assert_eq!(
                pick(&mut picker, &Tried::default(), &mut fastrand::Rng::with_seed(1)),
                None,
                "{balance:?}"
            );
        }
    }

    #[test]
    fn every_endpoint_is_tried_once_and_then_none() {
        for balance in ALL {
            let mut picker = Picker::new(balance, &[1, 1000, 1, 5]);
            let mut random = fastrand::Rng::with_seed(7);
            for _ in 0..50 {
                let mut tried = Tried::default();
                for _ in 0..4 {
                    let index = pick(&mut picker, &tried, &mut random).unwrap().index;
                    assert!(!tried.contains(index), "{balance:?}");
                    tried.insert(index);
                }
                assert_eq!(pick(&mut picker, &tried, &mut random), None, "{balance:?}");
            }
        }
    }

    #[test]
    fn reasons_read_as_sentences() {
        let load = |in_flight, weight| Load { in_flight, weight };
        let less_busy = Reason::LessBusy { load: load(1, 2), other: 4, other_load: load(3, 1) };
        let reasons = [
            (Reason::Only, "the only one left"),
            (Reason::Turn { weight: 5, total: 7 }, "its turn, 5 in 7"),
            (Reason::Drawn { weight: 5, total: 7 }, "drawn, 5 in 7"),
            (less_busy, "1 in flight at weight 2, endpoint 4 has 3 in flight at weight 1"),
        ];
        for (reason, text) in reasons {
            assert_eq!(reason.to_string(), text);
        }
    }
}
