//! An honest client, and what it can lose.
//!
//! A client that sends into a connection which has long been closed loses its request by its own fault; one that repeats whatever
//! fails never loses any, and sees nothing. This one does what good clients do: it looks first whether a kept connection
//! is still open, leaves when it is told `Connection: close`, and never repeats.

use std::io::{BufReader, ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::answer::{self, Answer, Broken};
use super::sample::{Expected, Head};
use super::servers::{self, FIELD};

/// Longest wait for the next byte. Our servers answer within a tenth of a second.
const PATIENCE: Duration = Duration::from_secs(10);

/// In what way a request was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// There was no connection to be had.
    Refused,
    /// A new connection ended without an answer.
    Dropped,
    /// So did a kept one, which was open when the request was sent.
    ClosedUnder,
    /// The answer ended in the middle.
    Cut,
    /// The answer was an error.
    ErrorStatus,
    /// It was an answer to something else, or none.
    WrongAnswer,
    /// It did not come in time.
    Late,
}

impl Kind {
    /// All of them, in the order of the report.
    pub(super) const ALL: [Kind; 7] = [
        Kind::Refused,
        Kind::Dropped,
        Kind::ClosedUnder,
        Kind::Cut,
        Kind::ErrorStatus,
        Kind::WrongAnswer,
        Kind::Late,
    ];

    /// For people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Refused => "refused",
            Kind::Dropped => "dropped",
            Kind::ClosedUnder => "closed under",
            Kind::Cut => "cut",
            Kind::ErrorStatus => "error status",
            Kind::WrongAnswer => "wrong answer",
            Kind::Late => "no answer",
        }
    }
}

/// A request that was lost.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Loss {
    pub(super) kind: Kind,
    /// What came instead, where something did.
    pub(super) detail: String,
}

impl Loss {
    fn new(kind: Kind, detail: impl Into<String>) -> Loss {
        Loss { kind, detail: detail.into() }
    }
}

/// One client, with the connection that it keeps, if it keeps any.
#[derive(Debug)]
pub(super) struct Client {
    keeps: bool,
    kept: Option<BufReader<TcpStream>>,
}

impl Client {
    /// One that keeps its connection, or that makes a new one each time.
    pub(super) fn new(keeps: bool) -> Client {
        Client { keeps, kept: None }
    }

    /// Sends request `id`, and waits until all of its answer is there.
    ///
    /// # Errors
    /// It was lost.
    pub(super) fn ask(
        &mut self,
        to: SocketAddr,
        head: &Head,
        id: u64,
        expected: Expected,
    ) -> Result<(), Loss> {
        let kept = self.kept.take().filter(|connection| is_open(connection.get_ref()));
        let ended = if kept.is_some() { Kind::ClosedUnder } else { Kind::Dropped };
        let mut connection = match kept {
            Some(connection) => connection,
            None => connect(to).map_err(|error| Loss::new(Kind::Refused, error.to_string()))?,
        };
        // Where that fails, there may be an answer all the same; if not, reading says so.
        let _ = connection.get_mut().write_all(&head.request(id));
        let answer = answer::read(&mut connection, head.method == http::Method::HEAD);
        let answer = answer.map_err(|broken| lost(broken, ended))?;
        if !connection.buffer().is_empty() {
            return Err(Loss::new(Kind::WrongAnswer, "more than one answer"));
        }
        self.kept = (self.keeps && !answer.is_last).then_some(connection);
        judge(&answer, head, id, expected)
    }
}

fn connect(to: SocketAddr) -> std::io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(BufReader::new(stream))
}

/// Whether the other side has neither closed it nor said anything unasked.
fn is_open(stream: &TcpStream) -> bool {
    let peeked = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut [0]));
    let is_silent = peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
    is_silent && stream.set_nonblocking(false).is_ok()
}

fn lost(broken: Broken, ended: Kind) -> Loss {
    match broken {
        Broken::Unanswered => Loss::new(ended, ""),
        Broken::Cut => Loss::new(Kind::Cut, ""),
        Broken::Late => Loss::new(Kind::Late, format!("nothing for {} s", PATIENCE.as_secs())),
        Broken::Malformed(why) => Loss::new(Kind::WrongAnswer, why),
    }
}

fn judge(answer: &Answer, head: &Head, id: u64, expected: Expected) -> Result<(), Loss> {
    let status = match expected {
        Expected::Forwarded => 200,
        Expected::Status(status) => status,
    };
    if answer.status != status {
        return Err(Loss::new(Kind::ErrorStatus, described(answer)));
    }
    let id = id.to_string();
    let is_ours = answer.field(FIELD) == Some(&id)
        && (head.method == http::Method::HEAD || answer.body == servers::body(&id).as_bytes());
    if expected == Expected::Forwarded && !is_ours {
        return Err(Loss::new(Kind::WrongAnswer, "not what our server has answered"));
    }
    Ok(())
}

/// The proxy's own errors say their cause in their document.
fn described(answer: &Answer) -> String {
    let document: Option<serde_json::Value> = serde_json::from_slice(&answer.body).ok();
    let cause = document.as_ref().and_then(|document| document.get("cause")?.as_str());
    cause.map_or_else(|| answer.status.to_string(), |cause| format!("{} {cause}", answer.status))
}
