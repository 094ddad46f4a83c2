//! One attempt's conversation with an endpoint: what it may take, and what became of it.
//!
//! Pingora runs the conversation, but asks [`Call`] for the connection (it is a [`Connect`]) and talks through our
//! [`UpstreamStream`]. That is how deadlines hold for every read and write, how the answer's head is judged as it stands
//! on the wire, and how the exchange learns what happened, in its own words instead of an error's text.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use pingora::connectors::l4::Connect;
use pingora::protocols::l4::socket::SocketAddr as PingoraAddress;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::l4::virt::VirtualSocketStream;
use pingora::{Error, ErrorType};
use tokio::net::TcpStream;

use super::pool::Connection;
use super::stream::UpstreamStream;
use super::{Endpoint, shortage};
use crate::clock::Instant;
use crate::hygiene::response_head::{Aside, Asked};
use crate::plan::Timeouts;

/// One attempt.
#[derive(Debug)]
pub struct Call {
    endpoint: Arc<Endpoint>,
    asked: Asked,
    timeouts: Timeouts,
    fresh: bool,
    repeatable: bool,
    sets_aside: bool,
    began: Instant,
    reused: AtomicBool,
    state: Mutex<State>,
}

/// What the caller wants.
#[derive(Clone, Debug)]
pub struct Terms {
    /// What an answer is measured against.
    pub asked: Asked,
    /// How long each step may take.
    pub timeouts: Timeouts,
    /// Lines of the answer that Pingora need not see are kept for [`Call::take_aside`].
    pub sets_aside: bool,
    /// Now.
    pub began: Instant,
    /// When the answer must have begun, all attempts together.
    pub deadline: Instant,
    /// Take no idle connection.
    pub fresh: bool,
    /// The request can be sent again if an idle connection turns out to be closed.
    pub repeatable: bool,
}

#[derive(Debug)]
struct State {
    deadline: Instant,
    /// Lines that the request's head gets on the wire.
    lines: Vec<u8>,
    /// What of the answer's head Pingora has not seen.
    aside: Option<Aside>,
    report: Report,
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// An idle connection was used.
    pub reused: bool,
    /// How long the connection took to open, once it did.
    pub connect: Option<Duration>,
    /// When the request's last byte went out.
    pub sent: Option<Instant>,
    /// When the first byte of the answer came.
    pub first_byte: Option<Instant>,
    /// The final answer's head has nothing to take out, see [`ResponseHead`](crate::hygiene::response_head::ResponseHead).
    pub is_plain: bool,
    /// What went wrong, first of all.
    pub trouble: Option<Trouble>,
}

/// What can go wrong between the proxy and an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The proxy itself has run out of what it takes to connect.
    Shortage,
    /// Nobody listens there, or the network says no.
    ConnectFailed,
    /// No answer to the connection attempt in time.
    ConnectTimeout,
    /// The answer did not begin in time.
    ResponseTimeout,
    /// The answer, or the request's body, stopped moving.
    Stalled,
    /// Closed or reset before the answer's header section was whole.
    ResetBeforeAnswer,
    /// Closed or reset within the answer.
    ResetWithinAnswer,
    /// The answer is not well-formed; the detail says how.
    Invalid(&'static str),
}

impl Trouble {
    /// Whether nothing of the request can have reached anybody.
    pub fn is_before_sending(self) -> bool {
        matches!(self, Trouble::Shortage | Trouble::ConnectFailed | Trouble::ConnectTimeout)
    }
}

impl Call {
    /// An attempt at `endpoint`.
    pub fn new(endpoint: Arc<Endpoint>, terms: Terms) -> Arc<Call> {
        let Terms { asked, timeouts, sets_aside, began, deadline, fresh, repeatable } = terms;
        let state = State { deadline, lines: Vec::new(), aside: None, report: Report::default() };
        let state = Mutex::new(state);
        let reused = AtomicBool::new(false);
        Arc::new(Call { endpoint, asked, timeouts, fresh, repeatable, sets_aside, began, reused, state })
    }

    /// What became of it so far.
    pub fn report(&self) -> Report {
        Report { reused: self.reused.load(Ordering::Relaxed), ..self.state.lock().report }
    }

    /// Whether an attempt that ran out of time had less of it than `timeouts.connect` or `timeouts.response` give one: then
    /// the request's deadline came first.
    pub fn was_cut_short(&self, began: Instant) -> bool {
        let report = self.report();
        match report.trouble {
            Some(Trouble::ConnectTimeout) => began.elapsed() < self.timeouts.connect,
            Some(Trouble::ResponseTimeout) => report.sent.unwrap_or(began).elapsed() < self.timeouts.response,
            _ => false,
        }
    }

    /// The request's last byte is on its way: from now on the answer is waited for, until `deadline` at most.
    pub fn sent(&self, deadline: Instant, now: Instant) {
        let mut state = self.state.lock();
        state.deadline = deadline;
        state.report.sent.get_or_insert(now);
    }

    /// Adds lines, each with its end, to the head that Pingora is about to write. The head's own two header maps would
    /// cost ten times as much.
    pub fn add_lines(&self, lines: Vec<u8>) {
        self.state.lock().lines = lines;
    }

    pub(super) fn take_lines(&self) -> Vec<u8> {
        std::mem::take(&mut self.state.lock().lines)
    }

    pub(super) fn asked(&self) -> Asked {
        self.asked
    }

    pub(super) fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    fn deadline(&self) -> Instant {
        self.state.lock().deadline
    }

    /// When the answer's head must be here, if the request's last byte went out at `written`.
    pub(super) fn answer_due(&self, written: Instant) -> Option<Instant> {
        let state = self.state.lock();
        state.report.sent.map(|_| state.deadline.min(written + self.timeouts.response))
    }

    pub(super) fn sets_aside(&self) -> bool {
        self.sets_aside
    }

    /// The beginning of an answer has come, perhaps with its whole head.
    pub(super) fn heard(&self, now: Instant, is_plain: bool, aside: Option<Aside>) {
        let mut state = self.state.lock();
        state.report.first_byte.get_or_insert(now);
        state.report.is_plain = is_plain;
        state.aside = aside;
    }

    /// Lines of the answer's head for the client, if some were set aside.
    pub fn take_aside(&self) -> Option<Aside> {
        self.state.lock().aside.take()
    }

    /// Notes what went wrong. Only the first trouble counts: the others follow from it.
    pub(super) fn trouble(&self, trouble: Trouble) {
        self.state.lock().report.trouble.get_or_insert(trouble);
    }

    async fn connection(&self) -> Result<Connection, Trouble> {
        let idle = if self.fresh { None } else { self.endpoint.shelf().take(self.began, !self.repeatable) };
        match idle {
            Some(idle) => Ok(self.reuse(idle)),
            None => Box::pin(self.open(Instant::now())).await, // boxed: most take an idle one
        }
    }

    fn reuse(&self, idle: Connection) -> Connection {
        self.reused.store(true, Ordering::Relaxed);
        idle
    }

    async fn open(&self, now: Instant) -> Result<Connection, Trouble> {
        let patience = self.timeouts.connect.min(self.deadline().saturating_duration_since(now));
        let socket =
            tokio::time::timeout(patience, self.dial()).await.map_err(|_| Trouble::ConnectTimeout)?.map_err(
                |error| if shortage::is_own(&error) { Trouble::Shortage } else { Trouble::ConnectFailed },
            )?;
        let took = now.elapsed();
        self.state.lock().report.connect = Some(took);
        self.endpoint.metrics().opened.inc();
        Ok(self.endpoint.shelf().adopt(socket, took))
    }

    async fn dial(&self) -> io::Result<TcpStream> {
        let socket = TcpStream::connect(self.endpoint.address()).await?;
        socket.set_nodelay(true)?;
        Ok(socket)
    }
}

/// A [`Call`] as Pingora's dialler.
#[derive(Debug)]
pub struct Dial(pub Arc<Call>);

#[async_trait]
impl Connect for Dial {
    async fn connect(&self, _: &PingoraAddress) -> pingora::Result<Stream> {
        match self.0.connection().await {
            Ok(connection) => {
                let stream = UpstreamStream::new(connection, self.0.clone(), self.0.began);
                Ok(Stream::from(VirtualSocketStream::new(Box::new(stream))))
            }
            Err(trouble) => {
                self.0.trouble(trouble);
                Error::e_explain(ErrorType::ConnectError, "no connection")
            }
        }
    }
}
