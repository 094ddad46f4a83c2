//! The state of one exchange. What it has taken, it gives back when it is dropped.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, StatusCode};
use pingora::{BError, Error, ErrorType};
use smallvec::SmallVec;

use crate::balance::Tried;
use crate::clock::Instant;
use crate::failure::Cause;
use crate::listen::client::Note;
use crate::listen::{Arrival, Told};
use crate::observe::metrics::Outcome;
use crate::plan::{Action, Forward, Route};
use crate::routing::RouteId;
use crate::runtime::Snapshot;
use crate::upstream::call::{Call, Report, Trouble};
use crate::upstream::{Endpoint, Lease, Permit, Upstream};

/// One exchange.
pub struct Exchange {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) arrival: Option<Box<Arrival>>,
    pub(super) told: Option<Arc<Told>>,
    pub(super) request_id: HeaderValue,
    /// The client's own header has the id and stays as it is.
    pub(super) id_stands: bool,
    pub(super) route: Option<RouteId>,
    pub(super) permit: Option<Permit>,
    pub(super) queued: Option<Duration>,
    pub(super) deadline: Instant,
    /// Pingora has asked for an endpoint: from here on it does not keep the client's connection after a failure.
    pub(super) called: bool,
    pub(super) present: Option<Present>,
    pub(super) attempts: SmallVec<[Attempt; 2]>,
    pub(super) tried: Tried,
    pub(super) body: Body,
    pub(super) continued: bool,
    pub(super) answered: Option<Instant>,
    pub(super) sent: u64,
    pub(super) failure: Option<Failure>,
}

/// The attempt under way.
pub(super) struct Present {
    pub(super) call: Arc<Call>,
    pub(super) lease: Lease,
    pub(super) began: Instant,
}

/// An attempt that is over.
pub(super) struct Attempt {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) outcome: Outcome,
    pub(super) reused: bool,
    pub(super) connect: Option<Duration>,
    pub(super) first_byte: Option<Duration>,
}

/// How much of the request's body has gone by.
#[derive(Default)]
pub(super) struct Body {
    pub(super) most: Option<u64>,
    pub(super) seen: u64,
    /// All of it has come from the client, in this attempt or an earlier one.
    pub(super) whole: bool,
}

/// Why the client gets no upstream's answer.
pub(super) struct Failure {
    pub(super) cause: Cause,
    pub(super) detail: Option<&'static str>,
    /// For `Allow`, where the method was wrong.
    pub(super) allow: Option<HeaderValue>,
}

impl Exchange {
    /// An exchange that nothing is known of yet.
    pub fn new(snapshot: Arc<Snapshot>) -> Exchange {
        Exchange {
            snapshot,
            arrival: None,
            told: None,
            id_stands: false,
            request_id: HeaderValue::from_static("-"),
            route: None,
            permit: None,
            queued: None,
            deadline: Instant::now(),
            called: false,
            present: None,
            attempts: SmallVec::new(),
            tried: Tried::default(),
            body: Body::default(),
            continued: false,
            answered: None,
            sent: 0,
            failure: None,
        }
    }

    /// Takes over what the connection layer knows.
    pub(super) fn arrived(&mut self, arrival: Box<dyn Any + Send + Sync>) {
        self.arrival = arrival.downcast::<Arrival>().ok();
    }

    pub(super) fn note(&self) -> Option<&Note> {
        self.arrival.as_ref().map(|arrival| &*arrival.note)
    }

    pub(super) fn is_draining(&self) -> bool {
        self.arrival.as_ref().is_some_and(|arrival| arrival.door.is_draining())
    }

    pub(super) fn route(&self) -> Option<&Route> {
        self.snapshot.route(self.route?)
    }

    pub(super) fn forward(&self) -> Option<&Forward> {
        match &self.route()?.action {
            Action::Forward(forward) => Some(forward),
            _ => None,
        }
    }

    pub(super) fn upstream(&self) -> Option<&Arc<Upstream>> {
        self.snapshot.upstream(self.forward()?.upstream)
    }

    /// Notes why there will be no answer, and makes the error that ends Pingora's part.
    pub(super) fn fail(&mut self, cause: Cause, detail: Option<&'static str>) -> BError {
        self.failure.get_or_insert(Failure { cause, detail, allow: None });
        Error::new(ErrorType::HTTPStatus(cause.status().as_u16()))
    }

    /// What the attempt under way has to tell.
    pub(super) fn report(&self) -> Report {
        self.present.as_ref().map(|present| present.call.report()).unwrap_or_default()
    }

    /// An answer has begun: a moving limit learns from it, unless it is a failure. That one can be quick where all else is
    /// slow.
    pub(super) fn learn(&self, status: StatusCode) {
        if let (Some(permit), Some(present)) = (&self.permit, &self.present)
            && !status.is_server_error()
        {
            permit.answered(present.began.elapsed());
        }
    }

    /// Ends the attempt under way: its lease goes back, its outcome is counted.
    pub(super) fn close_attempt(&mut self, cancelled: bool) {
        let Some(Present { call, lease, began }) = self.present.take() else { return };
        let report = call.report();
        let outcome = outcome(&report, cancelled);
        lease.endpoint().metrics().attempted(outcome);
        let first_byte = report.first_byte.map(|at| at.saturating_duration_since(began));
        if let (Some(permit), Outcome::Timeout, None) = (&self.permit, outcome, first_byte) {
            permit.timed_out();
        }
        let endpoint = lease.endpoint().clone();
        self.attempts.push(Attempt {
            endpoint,
            outcome,
            reused: report.reused,
            connect: report.connect,
            first_byte,
        });
    }
}

fn outcome(report: &Report, cancelled: bool) -> Outcome {
    match report.trouble {
        None if cancelled => Outcome::Cancelled,
        None => Outcome::Ok,
        Some(Trouble::ConnectFailed) => Outcome::ConnectFailed,
        Some(Trouble::ConnectTimeout | Trouble::ResponseTimeout | Trouble::Stalled) => Outcome::Timeout,
        Some(Trouble::ResetBeforeAnswer | Trouble::ResetWithinAnswer) => Outcome::Reset,
        Some(Trouble::Invalid(_)) => Outcome::Invalid,
    }
}
