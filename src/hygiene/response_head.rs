//! The head of an answer, read strictly.
//!
//! An upstream that is broken, or that somebody has talked into answering twice, is as dangerous as a client: if the
//! proxy ends its answer elsewhere than it does, the rest becomes the answer to the next client's request. So an answer
//! whose end is not beyond doubt is not passed on, and its connection is not used again.
//!
//! One leniency, because it leaves only one reading: the space behind the status code may be missing where there is no
//! reason phrase (RFC 9112, section 4, demands it of servers; enough of them forget).

use http::Version;

use super::connection::{Connection, Upgrade};
use super::field::{Fault, Field, Lines, Span};
use super::framing::{Framing, Lengths};
use crate::limits::RESPONSE_HEADER_COUNT;

/// What of the request decides how its answer is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The method is HEAD: no answer has a body.
    pub head_method: bool,
    /// A WebSocket upgrade was asked for: 101 may come.
    pub upgrade: bool,
}

/// How the body of an answer ends (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseFraming {
    /// As the head says.
    Bounded(Framing),
    /// When the upstream closes. Whether it is whole nobody can tell.
    UntilClose,
    /// Never: after 101 both directions are no longer HTTP.
    Tunnel,
}

/// What is known of an answer's head after some of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseScan {
    /// It has not ended yet. Scan again with the same bytes and more behind them.
    NeedMore,
    /// It must not be passed on. Says what was wrong: lower case but for names, no full stop.
    Refused(&'static str),
    /// A 1xx answer; the final one is still to come. The scanner is ready for the bytes behind it.
    Interim {
        /// Bytes of the head: take them out of the buffer before the next scan.
        len: usize,
        /// 100 to 199, never 101.
        status: u16,
    },
    /// The final answer, or 101.
    Final(ResponseHead),
}

/// An answer's head that has exactly one reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// Bytes of the head; the body begins behind them.
    pub len: usize,
    /// 101, or 200 to 599.
    pub status: u16,
    /// How the body ends.
    pub framing: ResponseFraming,
    /// Whether the connection may carry another request when the body has ended (RFC 9112, section 9.3).
    pub keep_alive: bool,
}

/// Reads the heads of the answers to one request from a buffer that grows.
#[derive(Clone, Debug)]
pub struct ResponseScanner {
    asked: Asked,
    limit_bytes: usize,
    lines: Lines,
    status_line: Option<StatusLine>,
    fields: Fields,
}

impl ResponseScanner {
    /// Before the first answer. `limit_bytes` bounds each head, inclusive.
    pub fn new(asked: Asked, limit_bytes: usize) -> ResponseScanner {
        ResponseScanner {
            asked,
            limit_bytes,
            lines: Lines::default(),
            status_line: None,
            fields: Fields::default(),
        }
    }

    /// Looks at the bytes received so far: all of them since the head began, with new ones behind those of the call
    /// before.
    pub fn scan(&mut self, bytes: &[u8]) -> ResponseScan {
        match self.advance(bytes) {
            Ok(true) => self.finish().unwrap_or_else(ResponseScan::Refused),
            Ok(false) => ResponseScan::NeedMore,
            Err(detail) => ResponseScan::Refused(detail),
        }
    }

    /// Whether the head is whole.
    fn advance(&mut self, bytes: &[u8]) -> Result<bool, Fault> {
        while let Some(line) = self.lines.next_line(bytes)? {
            self.check_size(self.lines.start)?;
            if self.take_line(bytes, line)? {
                return Ok(true);
            }
        }
        // At least one more byte is to come.
        self.check_size(bytes.len() + 1)?;
        Ok(false)
    }

    fn take_line(&mut self, bytes: &[u8], line: Span) -> Result<bool, Fault> {
        let text = line.of(bytes);
        match self.status_line {
            None => self.status_line = Some(StatusLine::parse(text)?),
            Some(_) if text.is_empty() => return Ok(true),
            Some(_) => self.fields.take(Field::parse(text)?)?,
        }
        Ok(false)
    }

    fn check_size(&self, len: usize) -> Result<(), Fault> {
        match len > self.limit_bytes {
            true => Err("the header section is too long"),
            false => Ok(()),
        }
    }

    fn finish(&mut self) -> Result<ResponseScan, Fault> {
        let line = self.status_line.take().ok_or("no status line")?;
        let len = std::mem::take(&mut self.lines).start;
        let fields = std::mem::take(&mut self.fields);
        fields.check(line)?;
        match line.status {
            101 => fields.switch(self.asked, len),
            100..=199 => Ok(ResponseScan::Interim { len, status: line.status }),
            _ => Ok(ResponseScan::Final(fields.answer(line, self.asked, len))),
        }
    }
}

/// Version and status (RFC 9112, section 4).
#[derive(Clone, Copy, Debug)]
struct StatusLine {
    version: Version,
    status: u16,
}

impl StatusLine {
    fn parse(line: &[u8]) -> Result<StatusLine, Fault> {
        let (version, rest) = match line {
            [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1', b' ', rest @ ..] => (Version::HTTP_11, rest),
            [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0', b' ', rest @ ..] => (Version::HTTP_10, rest),
            _ => return Err("the status line does not begin with HTTP/1.1 or HTTP/1.0"),
        };
        Ok(StatusLine { version, status: status(rest)? })
    }
}

fn status(rest: &[u8]) -> Result<u16, Fault> {
    match rest {
        [a @ b'1'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9']
        | [a @ b'1'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9', b' ', ..] => {
            Ok([a, b, c].iter().fold(0, |number, digit| number * 10 + u16::from(*digit - b'0')))
        }
        _ => Err("the status is not three digits from 100 to 599"),
    }
}

/// What the header lines said, as far as it decides how the answer is read.
#[derive(Clone, Copy, Debug, Default)]
struct Fields {
    count: usize,
    lengths: Lengths,
    connection: Connection,
    upgrade: Upgrade,
}

impl Fields {
    fn take(&mut self, field: Field<'_>) -> Result<(), Fault> {
        self.count += 1;
        if self.count > RESPONSE_HEADER_COUNT {
            return Err("too many header lines");
        }
        let is = |name: &str| field.name.eq_ignore_ascii_case(name.as_bytes());
        match field.name.len() {
            7 if is("upgrade") => self.upgrade.take(field.value),
            10 if is("connection") => self.connection.take(field.value),
            14 if is("content-length") => self.lengths.content_length(field.value),
            17 if is("transfer-encoding") => self.lengths.transfer_encoding(field.value),
            _ => Ok(()),
        }
    }

    /// Answers that never have a body must not speak of one (RFC 9112, section 6.1; RFC 9110, section 8.6).
    ///
    /// `Content-Length` on 304 and on an answer to HEAD stays: it says what a GET would have brought.
    fn check(&self, line: StatusLine) -> Result<(), Fault> {
        match (line.status, self.lengths.said()) {
            (_, Framing::Chunked) if line.version == Version::HTTP_10 => Err("Transfer-Encoding on HTTP/1.0"),
            (100..=199 | 204, Framing::Chunked | Framing::Length(_)) => Err("a length on 1xx or 204"),
            (304, Framing::Chunked) => Err("Transfer-Encoding on 304"),
            _ => Ok(()),
        }
    }

    /// 101 (RFC 9110, section 15.2.2; RFC 6455, section 4.2.2).
    fn switch(&self, asked: Asked, len: usize) -> Result<ResponseScan, Fault> {
        if !asked.upgrade {
            return Err("101 without an upgrade asked for");
        }
        if !self.connection.upgrade || self.upgrade != Upgrade::WebSocket {
            return Err("101 to something other than websocket");
        }
        let framing = ResponseFraming::Tunnel;
        Ok(ResponseScan::Final(ResponseHead { len, status: 101, framing, keep_alive: false }))
    }

    fn answer(&self, line: StatusLine, asked: Asked, len: usize) -> ResponseHead {
        let framing = match self.lengths.said() {
            _ if asked.head_method || matches!(line.status, 204 | 304) => {
                ResponseFraming::Bounded(Framing::None)
            }
            Framing::None => ResponseFraming::UntilClose,
            said => ResponseFraming::Bounded(said),
        };
        let keep_alive = framing != ResponseFraming::UntilClose && self.connection.keeps_alive(line.version);
        ResponseHead { len, status: line.status, framing, keep_alive }
    }
}
