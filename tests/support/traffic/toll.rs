//! What the clients noticed.
//!
//! "Some requests failed" is no finding: a refused connect blames the hand-over of the listening sockets, a
//! close under a request blames the drain, a cut download its deadline. So failures are counted by kind, and
//! the first of each kind are kept as text, with their time, to be held against the program log.

use std::collections::BTreeMap;
use std::fmt;
use std::iter::Sum;
use std::time::Duration;

use super::super::load::Latency;

/// A kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Harm {
    /// A new connection could not be made.
    Refused,
    /// A new connection was made, and ended without a byte of an answer to its first request.
    Dropped,
    /// A connection that had served before ended without a byte of an answer to a request that was sent on
    /// it.
    ClosedUnder,
    /// An answer had begun and ended early, visibly.
    Cut,
    /// An answer that looked whole was not what it must be, or came unasked.
    Wrong,
    /// An error status.
    Error,
    /// No answer, and no end of the connection, for as long as tests are patient.
    Late,
    /// A WebSocket session ended without a close frame, or within a frame.
    WebSocketCut,
    /// An upload ended without its receipt.
    UploadCut,
    /// A download ended before its last byte.
    DownloadCut,
}

impl Harm {
    /// All of them.
    pub const ALL: [Harm; 10] = [
        Harm::Refused,
        Harm::Dropped,
        Harm::ClosedUnder,
        Harm::Cut,
        Harm::Wrong,
        Harm::Error,
        Harm::Late,
        Harm::WebSocketCut,
        Harm::UploadCut,
        Harm::DownloadCut,
    ];

    /// As a table names it.
    pub fn name(self) -> &'static str {
        match self {
            Harm::Refused => "refused connects",
            Harm::Dropped => "new connections closed unanswered",
            Harm::ClosedUnder => "closed under a request",
            Harm::Cut => "cut answers",
            Harm::Wrong => "wrong answers",
            Harm::Error => "error statuses",
            Harm::Late => "no answer in time",
            Harm::WebSocketCut => "WebSockets cut",
            Harm::UploadCut => "uploads cut",
            Harm::DownloadCut => "downloads cut",
        }
    }
}

/// Failures of one kind.
#[derive(Clone, Debug, Default)]
struct Failures {
    count: usize,
    by_client: BTreeMap<&'static str, usize>,
    first: Vec<(Duration, String)>,
}

/// How many failures of a kind are told in words.
const TOLD: usize = 5;

/// What all clients together saw.
#[derive(Clone, Debug, Default)]
pub struct Toll {
    /// Requests, transfers and sessions that were begun.
    pub sent: usize,
    /// Those that ended well.
    pub well: usize,
    /// WebSocket messages that came back.
    pub echoes: usize,
    /// Times that a kept connection was found closed before anything was sent on it, which is no failure.
    pub reopened: usize,
    /// Times that a client was told to go, and went: by `Connection: close`, or by a close frame with 1001.
    pub told_to_go: usize,
    failures: BTreeMap<Harm, Failures>,
    answered_in: Vec<Duration>,
}

impl Toll {
    /// Notes a failure of this kind of client, so long after the beginning.
    pub fn fail(&mut self, harm: Harm, client: &'static str, at: Duration, what: impl fmt::Display) {
        let first = vec![(at, format!("{client}: {what}"))];
        self.add(harm, Failures { count: 1, by_client: BTreeMap::from([(client, 1)]), first });
    }

    fn add(&mut self, harm: Harm, more: Failures) {
        let Failures { count, by_client, first } = more;
        let failures = self.failures.entry(harm).or_default();
        failures.count += count;
        by_client
            .into_iter()
            .for_each(|(client, count)| *failures.by_client.entry(client).or_default() += count);
        failures.first.extend(first);
        failures.first.sort();
        failures.first.truncate(TOLD);
    }

    /// Notes a request that was answered well, and how long it took, its connection included.
    pub fn answered(&mut self, took: Duration) {
        self.well += 1;
        self.answered_in.push(took);
    }

    /// How many failures of a kind there were.
    pub fn count(&self, harm: Harm) -> usize {
        self.failures.get(&harm).map_or(0, |failures| failures.count)
    }

    /// How many failures there were.
    pub fn failed(&self) -> usize {
        self.failures.values().map(|failures| failures.count).sum()
    }

    /// The first failures of a kind, in words.
    pub fn told(&self, harm: Harm) -> Vec<&str> {
        let failures = self.failures.get(&harm).map_or(&[][..], |failures| &failures.first);
        failures.iter().map(|(_, what)| what.as_str()).collect()
    }

    /// How long good answers took; transfers and sessions take as long as they are made to.
    pub fn latency(&self) -> Latency {
        Latency::of(self.answered_in.clone())
    }

    /// Fails unless clients came and none of them noticed anything.
    pub fn assert_unnoticed(&self) {
        assert!(self.sent > 0 && self.failed() == 0, "clients noticed:\n{self}");
    }
}

impl Sum for Toll {
    fn sum<I: Iterator<Item = Toll>>(parts: I) -> Toll {
        parts.fold(Toll::default(), |mut whole, part| {
            let Toll { sent, well, echoes, reopened, told_to_go, failures, answered_in } = part;
            whole.sent += sent;
            whole.well += well;
            whole.echoes += echoes;
            whole.reopened += reopened;
            whole.told_to_go += told_to_go;
            failures.into_iter().for_each(|(harm, failures)| whole.add(harm, failures));
            whole.answered_in.extend(answered_in);
            whole
        })
    }
}

impl fmt::Display for Toll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Toll { sent, well, echoes, reopened, told_to_go, failures, answered_in: _ } = self;
        let Latency { p50, p99, max } = self.latency();
        writeln!(f, "{sent:>8} sent, {well} well, {} failed, {echoes} echoes", self.failed())?;
        writeln!(f, "{told_to_go:>8} told to go, {reopened} found closed; both are no failures")?;
        writeln!(f, "         p50 {p50:.1?}, p99 {p99:.1?}, slowest {max:.1?}")?;
        for (harm, Failures { count, by_client, first }) in failures {
            let clients: Vec<String> = by_client.iter().map(|(client, n)| format!("{client}: {n}")).collect();
            writeln!(f, "{count:>8} {} ({})", harm.name(), clients.join("; "))?;
            first.iter().try_for_each(|(at, what)| writeln!(f, "         at {at:.3?}: {what}"))?;
        }
        Ok(())
    }
}
