//! Whether an endpoint may be asked, and why not.
//!
//! Four voices have a say, and each can be wrong alone: a health check that asks the wrong question, requests that fail
//! for their own reasons, an operator who forgot, a name server with an old answer. So each is heard by itself and
//! explains itself: the [check](probe), the [requests](ejection), the drain, the membership. [`Fitness`] is what
//! comes of them; [`rotation`] turns the fitness of all endpoints into shares of the load.
//!
//! Everything here is a decision: results and `now` go in, a verdict comes out.

pub mod ejection;
pub mod latency;
pub mod probe;
pub mod rotation;
pub mod tally;
pub mod warmth;

use std::fmt;

use crate::clock::Duration;
use ejection::{Ejection, Why};
use probe::{Miss, Thresholds};

/// What decides about the endpoints of one upstream.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// How many checks turn a verdict; `None` where none are made.
    pub checks: Option<Thresholds>,
    /// What real requests may do.
    pub ejection: Ejection,
    /// How long an endpoint that comes (back) takes to its full share.
    pub slow_start: Option<Duration>,
    /// Below this share of fit endpoints, in percent, those that at least answer are asked as well.
    pub panic_percent: u8,
}

/// One endpoint's verdict, with its reason.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fitness {
    /// May be asked.
    Fit,
    /// Must not be asked.
    Unfit(Reason),
}

/// Why an endpoint must not be asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reason {
    /// An operator took it out.
    Drained,
    /// No check of it has ended yet.
    Unchecked,
    /// Its checks fail; this is what the last one found.
    Unhealthy(Miss),
    /// Requests failed; it is out for a while.
    Ejected(Why),
    /// It was out for a while, and one request is to find out whether it is well again.
    OnTrial(Why),
}

impl Reason {
    /// Whether somebody is there who answers, if not as he should: then asking him is better than asking nobody.
    pub fn answers(self) -> bool {
        match self {
            Reason::Drained | Reason::Unchecked => false,
            Reason::Unhealthy(miss) => miss.answers(),
            Reason::Ejected(why) | Reason::OnTrial(why) => why.answers(),
        }
    }

    /// The word that stands in metrics and answers of the admin address.
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::Drained => "drained",
            Reason::Unchecked => "unchecked",
            Reason::Unhealthy(_) => "unhealthy",
            Reason::Ejected(_) => "ejected",
            Reason::OnTrial(_) => "on_trial",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Drained => f.write_str("drained by an operator"),
            Reason::Unchecked => f.write_str("not checked yet"),
            Reason::Unhealthy(miss) => write!(f, "its health checks fail: {miss}"),
            Reason::Ejected(why) => write!(f, "ejected: {why}"),
            Reason::OnTrial(why) => write!(f, "to be tried with one request, after it was ejected: {why}"),
        }
    }
}
