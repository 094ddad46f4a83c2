//! The state of one exchange. What it has taken, it gives back when it is dropped.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use pingora::{BError, Error, ErrorType};
use smallvec::SmallVec;

use crate::balance::Tried;
use crate::clock::Instant;
use crate::failure::Cause;
use crate::health::tally::Ended;
use crate::hygiene::request_head::Marks;
use crate::listen::client::Note;
use crate::listen::socket::Peer;
use crate::listen::{Arrival, Told};
use crate::observe::metrics::Outcome;
use crate::plan::{Action, Forward, Route};
use crate::roster::SeatId;
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
    /// When its answer must be here; none before it is known for which route it is.
    deadline: Option<Instant>,
    /// What the client itself has set for the end of it.
    pub(super) given_up: Option<Instant>,
    /// By what its endpoint is chosen, where that is by key.
    pub(super) key: Option<SmallVec<[u8; 32]>>,
    /// Whom its cookie names.
    pub(super) pinned: Option<SeatId>,
    /// What comes before the next attempt.
    pub(super) pause: Pause,
    /// How many attempts there were when an endpoint was last waited for.
    pub(super) made_before: usize,
    /// When waiting for an endpoint to come back is over.
    pub(super) wait_until: Option<Instant>,
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

/// What comes before the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pause {
    /// Nothing.
    Nothing,
    /// Some time.
    Time(Duration),
    /// An endpoint that comes back.
    Revival {
        /// After so many had, see [`Upstream::revivals`].
        since: u64,
    },
}

/// The attempt under way.
pub(super) struct Present {
    pub(super) call: Arc<Call>,
    pub(super) lease: Lease,
    pub(super) began: Instant,
    /// The status of its answer, and how long after the request it came.
    pub(super) answer: Option<(u16, Duration)>,
    /// The answer is thrown away, to have a better one from another endpoint.
    pub(super) rejected: bool,
}

/// An attempt that is over.
pub(super) struct Attempt {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) outcome: Outcome,
    /// Something of the request may have reached the endpoint.
    pub(super) delivered: bool,
    pub(super) reused: bool,
    pub(super) connect: Option<Duration>,
    pub(super) first_byte: Option<Duration>,
    pub(super) status: Option<u16>,
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
            deadline: None,
            given_up: None,
            key: None,
            pinned: None,
            pause: Pause::Nothing,
            made_before: 0,
            wait_until: None,
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

    /// What the request's head may have; of one that nobody has looked at, everything.
    pub(super) fn marks(&self) -> Marks {
        const ANY: Marks = Marks { request_id: true, forwarding: true, grpc_timeout: true, expect: true };
        self.arrival.as_ref().map_or(ANY, |arrival| arrival.marks)
    }

    /// Whether the worker itself asks, to see that it serves.
    pub fn is_own(&self) -> bool {
        self.arrival.as_ref().is_some_and(|arrival| arrival.peer == Peer::Own)
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

    /// The deadline of a request whose last byte has come, or whose first attempt begins: `patience` from now on, and no
    /// later than the client has said.
    pub(super) fn set_deadline(&mut self, now: Instant, patience: Duration) {
        let deadline = now + patience;
        self.deadline = Some(self.given_up.map_or(deadline, |given_up| given_up.min(deadline)));
    }

    /// When its answer must be here.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline.unwrap_or_else(Instant::now)
    }

    /// Time until the deadline.
    pub(super) fn left(&self) -> Duration {
        self.deadline().saturating_duration_since(Instant::now())
    }

    /// Attempts that are over in which something may have been sent.
    pub(super) fn delivered(&self) -> u32 {
        self.attempts.iter().map(|attempt| u32::from(attempt.delivered)).sum()
    }

    /// Everybody may be tried again: an endpoint has come back. What was delivered once counts for ever.
    pub(super) fn start_afresh(&mut self) {
        self.tried = Tried::default();
        self.made_before = self.attempts.len();
    }

    /// Ends the attempt under way: its lease goes back, its outcome is counted.
    pub(super) fn close_attempt(&mut self, cancelled: bool, now: Instant) {
        let Some(present) = self.present.take() else { return };
        let Present { call, lease, began, answer, rejected } = present;
        let report = call.report();
        let outcome = if rejected { Outcome::Rejected } else { outcome(&report, cancelled) };
        lease.endpoint().metrics().attempted(outcome);
        let first_byte = report.first_byte.map(|at| at.saturating_duration_since(began));
        // the operator's own deadline for a first attempt is a measure like any other
        let curtailed =
            (self.given_up.is_some() && self.given_up == self.deadline) || !self.attempts.is_empty();
        let cut_short = curtailed && call.was_cut_short(began);
        if let (Some(permit), Outcome::Timeout, None, false) = (&self.permit, outcome, first_byte, cut_short)
        {
            permit.timed_out();
        }
        let endpoint = lease.endpoint().clone();
        lease.end(if cut_short { waited_in_vain(&report) } else { ended(&report, answer, cancelled) }, now);
        self.attempts.push(Attempt {
            endpoint,
            outcome,
            delivered: !report.trouble.is_some_and(Trouble::is_before_sending),
            reused: report.reused,
            connect: report.connect,
            first_byte,
            status: answer.map(|(status, _)| status),
        });
    }
}

/// What an attempt says about the endpoint. A kept connection that broke may just have been closed while it was idle; and
/// an answer that nobody waited for to the end is none that failed.
fn ended(report: &Report, answer: Option<(u16, Duration)>, cancelled: bool) -> Ended {
    match (report.trouble, answer) {
        (Some(Trouble::Shortage), _) => Ended::Unmade,
        (Some(Trouble::ResetBeforeAnswer), _) if report.reused => Ended::Unknown,
        // phones vanish without a word, and servers end what nobody uses: a tunnel's end is nobody's fault
        (Some(Trouble::Stalled | Trouble::ResetWithinAnswer), Some((101, latency))) => Ended::Well(latency),
        (Some(Trouble::Invalid(_)), _) => Ended::Badly,
        (Some(_), _) => Ended::Silent,
        (None, Some((status, _))) if says_no(status) => Ended::Badly,
        (None, Some((_, latency))) if !cancelled => Ended::Well(latency),
        (None, None) if cancelled => {
            report.sent.map_or(Ended::Unknown, |sent| Ended::GivenUp(sent.elapsed()))
        }
        (None, _) => Ended::Unknown,
    }
}

/// Somebody's patience ended before the endpoint's time was over.
fn waited_in_vain(report: &Report) -> Ended {
    report.sent.map_or(Ended::Unknown, |sent| Ended::GivenUp(sent.elapsed()))
}

/// The statuses by which a server, or a gateway before it, says that it cannot serve. A 500 is as often the request's
/// fault as the endpoint's, and would take out all of them.
fn says_no(status: u16) -> bool {
    (502..=504).contains(&status)
}

fn outcome(report: &Report, cancelled: bool) -> Outcome {
    match report.trouble {
        None if cancelled => Outcome::Cancelled,
        None => Outcome::Ok,
        Some(Trouble::Shortage | Trouble::ConnectFailed) => Outcome::ConnectFailed,
        Some(Trouble::ConnectTimeout | Trouble::ResponseTimeout | Trouble::Stalled) => Outcome::Timeout,
        Some(Trouble::ResetBeforeAnswer | Trouble::ResetWithinAnswer) => Outcome::Reset,
        Some(Trouble::Invalid(_)) => Outcome::Invalid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOK: Duration = Duration::from_millis(3);

    fn report(trouble: Option<Trouble>) -> Report {
        Report { trouble, ..Report::default() }
    }

    #[test]
    fn what_an_attempt_says_about_the_endpoint() {
        let (reset, cut) = (Some(Trouble::ResetBeforeAnswer), Some(Trouble::ResetWithinAnswer));
        let cases = [
            (None, Some(200), Ended::Well(TOOK)),
            (None, Some(404), Ended::Well(TOOK)),
            (None, Some(500), Ended::Well(TOOK)),
            (None, Some(502), Ended::Badly),
            (None, Some(503), Ended::Badly),
            (None, Some(504), Ended::Badly),
            (None, None, Ended::Unknown),
            (Some(Trouble::Shortage), None, Ended::Unmade),
            (Some(Trouble::ConnectFailed), None, Ended::Silent),
            (Some(Trouble::ConnectTimeout), None, Ended::Silent),
            (Some(Trouble::ResponseTimeout), None, Ended::Silent),
            (Some(Trouble::Invalid("x")), None, Ended::Badly),
            (Some(Trouble::Invalid("x")), Some(200), Ended::Badly),
            (Some(Trouble::Stalled), Some(200), Ended::Silent),
            (reset, None, Ended::Silent),
            (cut, Some(200), Ended::Silent),
            // a tunnel that ends, however it does, has been one
            (Some(Trouble::Stalled), Some(101), Ended::Well(TOOK)),
            (cut, Some(101), Ended::Well(TOOK)),
        ];
        for (trouble, status, expected) in cases {
            let answer = status.map(|status| (status, TOOK));
            assert_eq!(ended(&report(trouble), answer, false), expected, "{trouble:?} {status:?}");
        }
    }

    #[test]
    fn a_kept_connection_that_broke_says_nothing() {
        let kept = Report { reused: true, ..report(Some(Trouble::ResetBeforeAnswer)) };
        assert_eq!(ended(&kept, None, false), Ended::Unknown);
    }

    #[test]
    fn who_leaves_says_only_how_long_it_has_waited() {
        assert_eq!(ended(&report(None), Some((200, TOOK)), true), Ended::Unknown);
        assert_eq!(ended(&report(None), None, true), Ended::Unknown, "before it was sent");
        let sent = Report { sent: Some(Instant::now()), ..Report::default() };
        assert!(matches!(ended(&sent, None, true), Ended::GivenUp(_)));
    }
}
