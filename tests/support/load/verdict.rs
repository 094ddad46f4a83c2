//! What an answer is worth.
//!
//! There are two kinds of failure that a client can live with: it is told that it failed, or it sees that the answer is not
//! whole. And one that it cannot: an answer that looks like one and is none.

use super::super::ask::Ask;
use super::super::message::{Answer, End};

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Whole, and just what this server must answer.
    Good {
        /// The server.
        by: String,
    },
    /// An error, and said so.
    Refused {
        /// Its status.
        status: u16,
        /// What the proxy says about it, if it is the proxy's.
        cause: String,
        /// The server, if it is a server's.
        by: Option<String>,
    },
    /// The answer had begun, and the client can see that it is not whole.
    Cut(End),
    /// The answer never began.
    Unanswered(End),
    /// It looks whole, and there is less than there must be.
    Short {
        /// So many bytes of the body.
        bytes: usize,
    },
    /// It looks whole, and is something else.
    False(String),
}

impl Verdict {
    /// Whether the client has what it wanted.
    pub fn is_good(&self) -> bool {
        matches!(self, Verdict::Good { .. })
    }
}

/// Compares an answer with the one that it must be.
pub fn judge(ask: &Ask, answer: Result<Answer, End>) -> Verdict {
    let answer = match answer {
        Ok(answer) => answer,
        Err(end @ End::Garbled(_)) => return Verdict::False(format!("{end:?}")),
        Err(end) => return Verdict::Unanswered(end),
    };
    match &answer.end {
        End::Whole if answer.status == 200 => compare(ask, &answer),
        End::Whole => refused(ask, &answer),
        end => Verdict::Cut(end.clone()),
    }
}

fn compare(ask: &Ask, answer: &Answer) -> Verdict {
    let Some(by) = answer.head.one("x-server") else { return Verdict::False(excerpt(answer)) };
    let expected = ask.answer_of(by);
    if answer.body == expected {
        Verdict::Good { by: by.into() }
    } else if expected.starts_with(&answer.body) {
        Verdict::Short { bytes: answer.body.len() }
    } else {
        Verdict::False(excerpt(answer))
    }
}

/// An error of the proxy's own, or one that a server has really sent.
fn refused(ask: &Ask, answer: &Answer) -> Verdict {
    let by = answer.head.one("x-server").map(str::to_owned);
    if by.as_ref().is_some_and(|by| answer.body != ask.answer_of(by)) {
        return Verdict::False(excerpt(answer));
    }
    Verdict::Refused { status: answer.status, cause: answer.cause(), by }
}

fn excerpt(answer: &Answer) -> String {
    let start = String::from_utf8_lossy(&answer.body[..answer.body.len().min(80)]).into_owned();
    format!("{} with {} bytes, {start:?}", answer.status, answer.body.len())
}

/// Whether another request can be sent after this answer.
pub fn leaves_the_connection(answer: &Answer) -> bool {
    let is_framed =
        !answer.head.all("content-length").is_empty() || answer.head.lists("transfer-encoding", "chunked");
    answer.end == End::Whole && is_framed && !answer.head.lists("connection", "close")
}
