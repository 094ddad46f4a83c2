//! An answer to a health check, read as it comes, until there is a verdict.
//!
//! The verdict falls as early as it can: with the head where only the status counts, with the text where that is all that
//! is looked for. A pattern has to wait for the whole body, since `^ok$` matches `ok` and not what may follow it. Bytes
//! go in, a verdict comes out; there is no socket here.

use http::Method;
use memchr::memmem;

use crate::health::probe::Miss;
use crate::hygiene::body::{BodyScanner, Passed};
use crate::hygiene::response_head::{Asked, ResponseFraming, ResponseHead, ResponseScan, ResponseScanner};
use crate::limits::{CHECK_BODY_BYTES, INTERIM_RESPONSES, RESPONSE_HEADER_BYTES};
use crate::plan::{HttpCheck, Pattern};

/// Reads an answer until there is a verdict.
pub(super) struct Judge<'c> {
    asked: &'c HttpCheck,
    reading: Reading,
}

/// What comes next.
enum Reading {
    /// A head; so many interim (1xx) ones have come.
    Head { scanner: ResponseScanner, interim: u32 },
    /// A body that somebody wants to see.
    Body(Body),
}

/// The verdict, once there is one.
type Verdict = Option<Result<(), Miss>>;

impl<'c> Judge<'c> {
    /// Before the first byte of the answer.
    pub(super) fn new(asked: &'c HttpCheck) -> Judge<'c> {
        let asked_for = Asked { head_method: asked.method == Method::HEAD, upgrade: false };
        let scanner = ResponseScanner::new(asked_for, RESPONSE_HEADER_BYTES);
        Judge { asked, reading: Reading::Head { scanner, interim: 0 } }
    }

    /// Looks at what has come, and takes out of it what has been understood.
    pub(super) fn take(&mut self, received: &mut Vec<u8>) -> Verdict {
        while let Reading::Head { scanner, interim } = &mut self.reading {
            if !may_be_http(received) {
                return invalid("the answer is not HTTP/1");
            }
            match scanner.scan(received) {
                ResponseScan::NeedMore => return None,
                ResponseScan::Refused(detail) => return invalid(detail),
                ResponseScan::Interim { len } => {
                    *interim += 1;
                    if *interim > INTERIM_RESPONSES {
                        return invalid("too many interim answers");
                    }
                    received.drain(..len);
                }
                ResponseScan::Final(head) => {
                    received.drain(..head.len);
                    if let Some(verdict) = self.judge_head(head) {
                        return Some(verdict);
                    }
                }
            }
        }
        let Reading::Body(body) = &mut self.reading else { return None };
        let verdict = body.take(received, self.asked);
        received.clear();
        verdict
    }

    fn judge_head(&mut self, head: ResponseHead) -> Verdict {
        let ResponseHead { status, framing, .. } = head;
        if !self.asked.expect.iter().any(|(first, last)| (*first..=*last).contains(&status)) {
            return Some(Err(Miss::Status(status)));
        }
        if self.asked.contains.is_none() && self.asked.matches.is_none() {
            return Some(Ok(()));
        }
        self.reading = Reading::Body(Body::new(framing));
        None
    }

    /// The endpoint has closed.
    pub(super) fn end(&self) -> Result<(), Miss> {
        match &self.reading {
            Reading::Body(body) if body.scanner.is_none() => body.judge_whole(self.asked),
            _ => Err(Miss::Broken),
        }
    }
}

fn invalid(detail: &'static str) -> Verdict {
    Some(Err(Miss::Invalid(detail)))
}

/// Servers of other protocols greet first, and some never send a line's end: nobody need wait for it, or be told of it.
fn may_be_http(received: &[u8]) -> bool {
    received.iter().zip(b"HTTP/1.").all(|(is, should_be)| is == should_be)
}

/// A body, as far as it is looked at.
struct Body {
    /// Finds its end; none where that is the connection's.
    scanner: Option<BodyScanner>,
    content: Vec<u8>,
    /// So much of the content has not got the text in it.
    searched: usize,
}

impl Body {
    fn new(framing: ResponseFraming) -> Body {
        let scanner = match framing {
            ResponseFraming::Bounded(framing) => Some(BodyScanner::new(framing)),
            ResponseFraming::UntilClose | ResponseFraming::Tunnel => None,
        };
        Body { scanner, content: Vec::new(), searched: 0 }
    }

    fn take(&mut self, bytes: &[u8], asked: &HttpCheck) -> Verdict {
        let passed = self.gather(bytes);
        if asked.matches.is_none() && self.has_text(asked) {
            return Some(Ok(()));
        }
        match passed {
            Passed::Broken(detail) => invalid(detail),
            Passed::All if self.content.len() < CHECK_BODY_BYTES => None,
            Passed::All | Passed::End(_) => Some(self.judge_whole(asked)),
        }
    }

    fn gather(&mut self, bytes: &[u8]) -> Passed {
        let content = &mut self.content;
        let mut keep = |piece: &[u8]| {
            let room = CHECK_BODY_BYTES - content.len();
            content.extend_from_slice(&piece[..piece.len().min(room)]);
        };
        match &mut self.scanner {
            Some(scanner) => scanner.feed_to(bytes, keep),
            None => {
                keep(bytes);
                Passed::All
            }
        }
    }

    /// Whether the text is in it, or none is asked for. The text may have begun in what was searched before.
    fn has_text(&mut self, asked: &HttpCheck) -> bool {
        let Some(text) = &asked.contains else { return true };
        let from = self.searched.saturating_sub(text.len().saturating_sub(1));
        self.searched = self.content.len();
        memmem::find(&self.content[from..], text.as_bytes()).is_some()
    }

    /// Whether all of it, or as much as is looked at, is as it should be.
    fn judge_whole(&self, asked: &HttpCheck) -> Result<(), Miss> {
        let has_text = |text: &String| memmem::find(&self.content, text.as_bytes()).is_some();
        let matches = |pattern: &Pattern| pattern.0.is_match(&self.content);
        let good = asked.contains.as_ref().is_none_or(has_text) && asked.matches.as_ref().is_none_or(matches);
        if good { Ok(()) } else { Err(Miss::Body) }
    }
}
