//! The head of an answer, read strictly.
//!
//! An upstream that is broken, or that somebody has talked into answering twice, is as dangerous as a client:
//! if the proxy ends its answer elsewhere than it does, the rest becomes the answer to the next client's
//! request. So an answer whose end is not beyond doubt is not passed on, and its connection is not used
//! again.
//!
//! One leniency, because it leaves only one reading: the space behind the status code may be missing where
//! there is no reason phrase (RFC 9112, section 4, demands it of servers; enough of them forget).

use http::{HeaderValue, Version};

use super::connection::{Connection, Upgrade};
use super::field::{Fault, Field, Lines, Span};
use super::framing::{Framing, Lengths};
use super::hop_by_hop::is_fixed_name;
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
    },
    /// The final answer, or 101.
    Final(ResponseHead),
}

/// An answer's head that has exactly one reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// Bytes of the head; the body begins behind them.
    pub len: usize,
    /// From 101 to 599.
    pub status: u16,
    /// How the body ends.
    pub framing: ResponseFraming,
    /// Whether the connection may carry another request when the body has ended (RFC 9112, section 9.3).
    pub keep_alive: bool,
    /// Nothing in it is meant for this connection alone, but what says how long it and the body last: `Connection` with
    /// no other option than `close` or `keep-alive`, and `Transfer-Encoding`. As with nearly every answer.
    pub is_plain: bool,
    /// Where the lines are that concern whoever passes it on.
    lines: Marked,
}

/// The lines of a head, line ends included, that a proxy deals with itself; each is there once at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Marked {
    status: Span,
    length: Option<Span>,
    connection: Option<Span>,
    date: Option<Span>,
    request_id: Option<Span>,
}

/// What [`ResponseHead::set_aside`] has taken out of a head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aside {
    /// Lines for the client, as they came.
    pub lines: Vec<u8>,
    /// The value of `Date`.
    pub date: Option<HeaderValue>,
}

impl ResponseHead {
    /// Thins a plain head out to what decides how the answer is passed on: its status line, and the line that says how
    /// long the body is. All other lines are set aside, to be passed on as the bytes that they are; of those that a proxy
    /// writes itself (`Connection`, `X-Request-Id`) nothing is kept. `head` begins with the head that was scanned; what
    /// is behind it moves up. Returns how many bytes are gone.
    ///
    /// It pays: a line that is taken apart, kept in two maps, copied and put together again costs a thousand instructions.
    pub fn set_aside(&self, head: &mut [u8]) -> (Aside, usize) {
        let Marked { status, length, connection, date, request_id } = self.lines;
        let mut special = [length, connection, date, request_id];
        special.sort_unstable_by_key(|line| line.map(|line| line.start));
        let mut lines = Vec::with_capacity(self.len + SIGNATURE_BYTES);
        let mut at = status.end;
        for line in special.into_iter().flatten() {
            lines.extend_from_slice(&head[at..line.start]);
            at = line.end;
        }
        lines.extend_from_slice(&head[at..self.len - 2]);
        let date = date.and_then(|line| Field::parse(line.of(head).trim_ascii_end()).ok());
        let date = date.and_then(|field| HeaderValue::from_bytes(field.value).ok());
        let mut end = status.end;
        for kept in length.into_iter().chain([Span { start: self.len - 2, end: head.len() }]) {
            head.copy_within(kept.start..kept.end, end);
            end += kept.len();
        }
        (Aside { lines, date }, head.len() - end)
    }
}

/// What a proxy adds: its name and the request's id.
const SIGNATURE_BYTES: usize = 96;

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

    /// Looks at the bytes received so far: all of them since the head began, with new ones behind those of
    /// the call before.
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
                self.lines.check_controls(bytes)?;
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
            None => {
                self.status_line = Some(StatusLine::parse(text)?);
                self.fields.lines.status = line.with_line_end();
            }
            Some(_) if text.is_empty() => return Ok(true),
            Some(_) => self.fields.take(Field::parse(text)?, line.with_line_end())?,
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
        self.fields.connection.close = fields.connection.close;
        fields.check(line)?;
        match line.status {
            101 => fields.switch(self.asked, line.status, len),
            100..=199 => Ok(ResponseScan::Interim { len }),
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
    /// A field of [`hop_by_hop`](super::hop_by_hop) was among them, beside `Connection` and `Transfer-Encoding`; or one
    /// more than once that should be there once.
    is_special: bool,
    lines: Marked,
}

impl Fields {
    fn take(&mut self, field: Field<'_>, line: Span) -> Result<(), Fault> {
        self.count += 1;
        if self.count > RESPONSE_HEADER_COUNT {
            return Err("too many header lines");
        }
        let is = |name: &str| field.name.eq_ignore_ascii_case(name.as_bytes());
        match field.name.len() {
            4 if is("date") => self.is_special |= self.lines.date.replace(line).is_some(),
            7 if is("upgrade") => self.upgrade.take(field.value)?,
            10 if is("connection") => {
                self.is_special |= self.lines.connection.replace(line).is_some();
                self.connection.take(field.value)?;
            }
            12 if is("x-request-id") => self.is_special |= self.lines.request_id.replace(line).is_some(),
            14 if is("content-length") => {
                self.lines.length = Some(line);
                self.lengths.content_length(field.value)?;
            }
            17 if is("transfer-encoding") => {
                self.lines.length = Some(line);
                self.lengths.transfer_encoding(field.value)?;
            }
            2 | 7 | 10 | 14 | 16 | 18 | 19 => self.is_special |= is_fixed_name(field.name),
            _ => {}
        }
        Ok(())
    }

    fn is_plain(&self) -> bool {
        let Connection { options: _, close: _, keep_alive: _, upgrade, other } = self.connection;
        !self.is_special && !upgrade && !other && self.upgrade == Upgrade::None
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
    fn switch(&self, asked: Asked, status: u16, len: usize) -> Result<ResponseScan, Fault> {
        if !asked.upgrade {
            return Err("101 without an upgrade asked for");
        }
        if !self.connection.upgrade || self.upgrade != Upgrade::WebSocket {
            return Err("101 to something other than websocket");
        }
        let framing = ResponseFraming::Tunnel;
        let (keep_alive, is_plain, lines) = (false, false, self.lines);
        Ok(ResponseScan::Final(ResponseHead { len, status, framing, keep_alive, is_plain, lines }))
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
        let is_plain = self.is_plain() && line.version == Version::HTTP_11;
        ResponseHead { len, status: line.status, framing, keep_alive, is_plain, lines: self.lines }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;

    const GET: Asked = Asked { head_method: false, upgrade: false };
    const HEAD: Asked = Asked { head_method: true, upgrade: false };
    const UPGRADE: Asked = Asked { head_method: false, upgrade: true };
    const LIMIT: usize = 2048;

    fn scan(asked: Asked, bytes: &[u8]) -> ResponseScan {
        ResponseScanner::new(asked, LIMIT).scan(bytes)
    }

    /// The first verdict on a head that comes byte by byte.
    fn drip(asked: Asked, bytes: &[u8]) -> ResponseScan {
        let mut scanner = ResponseScanner::new(asked, LIMIT);
        let mut verdicts = (1..=bytes.len()).map(|len| scanner.scan(&bytes[..len]));
        verdicts.find(|scan| *scan != ResponseScan::NeedMore).unwrap_or(ResponseScan::NeedMore)
    }

    fn answer(asked: Asked, text: &str) -> ResponseHead {
        match scan(asked, text.as_bytes()) {
            ResponseScan::Final(head) => head,
            other => panic!("{text:?}: {other:?}"),
        }
    }

    /// What is plain is passed on as it is, so nothing of it may be what another would take out.
    #[test]
    fn an_answer_is_plain_where_nothing_has_to_be_taken_out() {
        let fields = [
            ("Server: x", true),
            ("connection: keep-alive", true),
            ("Connection: Close", true),
            ("Transfer-Encoding: chunked", true),
            ("Connection: keep-alive, X-Trace", false),
            ("Connection: upgrade", false),
            ("Keep-Alive: timeout=5", false),
            ("TE: trailers", false),
            ("Trailer: X-Sum", false),
            ("Upgrade: h2c", false),
            ("HTTP2-Settings: x", false),
            ("Proxy-Connection: close", false),
            ("Proxy-Authenticate: Basic", false),
            ("Proxy-Authorization: x", false),
        ];
        for (field, plain) in fields {
            let head = format!("HTTP/1.1 200 OK\r\nX-Trace: 1\r\n{field}\r\n\r\n");
            assert_eq!(answer(GET, &head).is_plain, plain, "{field}");
            let (name, value) = field.split_once(": ").unwrap();
            let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
            let mut headers = http::HeaderMap::new();
            headers.insert("x-trace", "1".parse().unwrap());
            headers.insert(name, value.parse().unwrap());
            let stays = [http::header::CONNECTION, http::header::TRANSFER_ENCODING];
            let removed = super::super::hop_by_hop::hop_by_hop(&headers);
            let upgrades = field == "Connection: upgrade"; // names a field that is not there
            assert!(removed.iter().all(|name| stays.contains(name)) == plain || upgrades, "{field}");
        }
    }

    const REFUSED: &[(&str, Asked, &str)] = &[
        ("9112 2.2 bare LF", GET, "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n"),
        ("9112 2.2 bare LF in a field", GET, "HTTP/1.1 200 OK\r\nContent-Length: 0\n\r\n"),
        ("9112 2.2 bare LF at the end", GET, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\n"),
        ("9112 2.2 bare CR", GET, "HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n"),
        ("9112 4 an empty line before it", GET, "\r\nHTTP/1.1 200 OK\r\n\r\n"),
        ("9112 4 HTTP/2", GET, "HTTP/2 200 OK\r\n\r\n"),
        ("9112 4 HTTP/1.2", GET, "HTTP/1.2 200 OK\r\n\r\n"),
        ("9112 4 lower case", GET, "http/1.1 200 OK\r\n\r\n"),
        ("9112 4 HTTP/0.9: no status line at all", GET, "<html>\r\n\r\n"),
        ("9112 4 two spaces", GET, "HTTP/1.1  200 OK\r\n\r\n"),
        ("9112 4 two digits", GET, "HTTP/1.1 20 OK\r\n\r\n"),
        ("9112 4 four digits", GET, "HTTP/1.1 2000 OK\r\n\r\n"),
        ("9112 4 a sign", GET, "HTTP/1.1 +20 OK\r\n\r\n"),
        ("9110 15 below 100", GET, "HTTP/1.1 099 Odd\r\n\r\n"),
        ("9110 15 above 599", GET, "HTTP/1.1 600 Odd\r\n\r\n"),
        ("9112 4 no status", GET, "HTTP/1.1\r\n\r\n"),
        ("9112 5.1 white space before the colon", GET, "HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\n"),
        ("9112 5.2 obs-fold", GET, "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n"),
        ("9112 5.2 a fold before the first field", GET, "HTTP/1.1 200 OK\r\n X: a\r\n\r\n"),
        ("9112 5 no colon", GET, "HTTP/1.1 200 OK\r\nX\r\n\r\n"),
        ("9110 5.5 NUL", GET, "HTTP/1.1 200 OK\r\nX: \0\r\n\r\n"),
        ("9110 5.5 a control byte in the reason", GET, "HTTP/1.1 200 O\u{7}K\r\n\r\n"),
        ("9112 6.1 gzip", GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"),
        ("9112 6.1 gzip, chunked", GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
        ("9112 6.1 identity", GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n"),
        (
            "9112 6.1 chunked twice",
            GET,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n",
        ),
        ("9112 6.1 on HTTP/1.0", GET, "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("9112 6.3 both", GET, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (
            "9112 6.3 both, with HEAD too",
            HEAD,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
        ),
        ("9110 8.6 doubled", GET, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n"),
        ("9110 8.6 listed", GET, "HTTP/1.1 200 OK\r\nContent-Length: 5,5\r\n\r\n"),
        ("9110 8.6 not digits", GET, "HTTP/1.1 200 OK\r\nContent-Length: 5 bytes\r\n\r\n"),
        ("9110 8.6 on 204", GET, "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"),
        ("9112 6.1 on 204", GET, "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("9110 8.6 on 103", GET, "HTTP/1.1 103 Early Hints\r\nContent-Length: 4\r\n\r\n"),
        ("9112 6.1 on 100", GET, "HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("9112 6.1 on 304", GET, "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (
            "9110 15.2.2 a switch that nobody asked for",
            GET,
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        ),
        (
            "9110 15.2.2 a switch to something else",
            UPGRADE,
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
        ),
        (
            "9110 7.8 a switch that Connection does not name",
            UPGRADE,
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
        ),
        ("9110 15.2.2 a switch to nothing", UPGRADE, "HTTP/1.1 101 Switching Protocols\r\n\r\n"),
        (
            "9112 6.1 a switch with a length",
            UPGRADE,
            "HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n\r\n",
        ),
    ];

    /// What Pingora gets, what is set aside for the client, the date.
    fn thinned(text: &str) -> (String, String, Option<String>) {
        let head = answer(GET, text);
        assert!(head.is_plain, "{text}");
        let mut bytes = text.as_bytes().to_vec();
        let (aside, gone) = head.set_aside(&mut bytes);
        bytes.truncate(bytes.len() - gone);
        let words = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (words(bytes), words(aside.lines), aside.date.map(|date| date.to_str().unwrap().to_owned()))
    }

    #[test]
    fn a_plain_head_is_thinned_out_to_its_status_and_its_length() {
        let usual = "HTTP/1.1 200 Fine\r\nServer: n\r\nDate: today \r\nx-a:1\r\nContent-Length: 2\r\nConnection: keep-alive\r\nX-B: \t2\r\n\r\nok";
        let expected = (
            "HTTP/1.1 200 Fine\r\nContent-Length: 2\r\n\r\nok",
            "Server: n\r\nx-a:1\r\nX-B: \t2\r\n",
            Some("today"),
        );
        let (thin, lines, date) = thinned(usual);
        assert_eq!((thin.as_str(), lines.as_str(), date.as_deref()), expected);
        let cases = [
            ("HTTP/1.1 404 No\r\n\r\n", "HTTP/1.1 404 No\r\n\r\n", ""),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nX-Request-Id: theirs\r\n\r\n2\r\nok\r\n0\r\n\r\n",
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
                "",
            ),
            (
                "HTTP/1.1 200 OK\r\nX: 1\r\nContent-Length: 0\r\n\r\n",
                "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                "X: 1\r\n",
            ),
        ];
        for (text, thin, lines) in cases {
            assert_eq!(thinned(text), (thin.to_string(), lines.to_string(), None), "{text}");
        }
    }

    #[test]
    fn what_is_there_twice_that_should_be_there_once_is_not_thinned_out() {
        for field in ["Date: a", "X-Request-Id: 1", "Connection: close"] {
            let head = answer(GET, &format!("HTTP/1.1 200 OK\r\n{field}\r\n{field}\r\n\r\n"));
            assert!(!head.is_plain, "{field}");
        }
        assert!(!answer(GET, "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n").is_plain);
    }

    #[test]
    fn an_answer_with_two_readings_is_refused() {
        for (rule, asked, text) in REFUSED {
            for verdict in [scan(*asked, text.as_bytes()), drip(*asked, text.as_bytes())] {
                assert!(matches!(verdict, ResponseScan::Refused(_)), "{rule}: {verdict:?}");
            }
        }
    }

    #[test]
    fn the_body_ends_as_rfc_9112_6_3_says() {
        use Framing::{Chunked, Length, None};
        use ResponseFraming::{Bounded, UntilClose};
        let rows = [
            (GET, "200 OK", "Content-Length: 5\r\n", Bounded(Length(5))),
            (GET, "200 OK", "Content-Length: 0\r\n", Bounded(Length(0))),
            (GET, "200 OK", "transfer-encoding: Chunked\r\n", Bounded(Chunked)),
            (GET, "200 OK", "", UntilClose),
            (GET, "404 Not Found", "", UntilClose),
            (GET, "204 No Content", "", Bounded(None)),
            (GET, "304 Not Modified", "", Bounded(None)),
            (GET, "304 Not Modified", "Content-Length: 5\r\n", Bounded(None)),
            (HEAD, "200 OK", "", Bounded(None)),
            (HEAD, "200 OK", "Content-Length: 5\r\n", Bounded(None)),
            (HEAD, "200 OK", "Transfer-Encoding: chunked\r\n", Bounded(None)),
            (UPGRADE, "200 OK", "Content-Length: 5\r\n", Bounded(Length(5))),
            (
                GET,
                "200 OK",
                "Connection: upgrade\r\nUpgrade: h2\r\nContent-Length: 5\r\n",
                Bounded(Length(5)),
            ),
        ];
        for (asked, status, lines, framing) in rows {
            let text = format!("HTTP/1.1 {status}\r\n{lines}\r\nbody");
            assert_eq!(answer(asked, &text).framing, framing, "{asked:?} {status} {lines:?}");
        }
    }

    #[test]
    fn a_connection_is_used_again_only_when_both_sides_can_tell_where_the_answer_ends() {
        let rows = [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n", false),
            ("HTTP/1.1 200 OK\r\n\r\n", false),
            ("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\n", false),
            ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", false),
            ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n", true),
        ];
        for (text, keep_alive) in rows {
            assert_eq!(answer(GET, text).keep_alive, keep_alive, "{text:?}");
        }
    }

    #[test]
    fn the_reason_may_be_anything_or_missing() {
        for line in
            ["HTTP/1.1 200 OK", "HTTP/1.1 200 ", "HTTP/1.1 200", "HTTP/1.1 200 Tr\u{e8}s bien: oui\t!"]
        {
            assert_eq!(answer(GET, &format!("{line}\r\nContent-Length: 0\r\n\r\n")).status, 200, "{line}");
        }
    }

    #[test]
    fn an_upgrade_that_was_asked_for_opens_a_tunnel() {
        let text = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\r\n";
        let head = answer(UPGRADE, &format!("{text}\x01\x02"));
        assert_eq!((head.len, head.status, head.framing), (text.len(), 101, ResponseFraming::Tunnel));
        assert!(!head.keep_alive && !head.is_plain);
    }

    #[test]
    fn interim_answers_come_one_after_the_other() {
        let heads = [
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        ];
        let stream = heads.concat();
        let mut rest = stream.as_bytes();
        let mut scanner = ResponseScanner::new(GET, LIMIT);
        for head in &heads[..2] {
            assert_eq!(scanner.scan(rest), ResponseScan::Interim { len: head.len() });
            rest = &rest[head.len()..];
        }
        let ResponseScan::Final(head) = scanner.scan(rest) else { panic!("the last one is final") };
        let framing = ResponseFraming::Bounded(Framing::Length(2));
        assert_eq!((head.len, head.status, head.framing), (heads[2].len() - 2, 200, framing));
        assert!(head.keep_alive && head.is_plain);
    }

    #[test]
    fn of_an_interim_answer_only_its_close_is_remembered() {
        let lines = "X: 1\r\n".repeat(RESPONSE_HEADER_COUNT - 1);
        let interim = format!("HTTP/1.1 103 Early Hints\r\nConnection: close\r\n{lines}\r\n");
        let mut scanner = ResponseScanner::new(GET, LIMIT);
        assert_eq!(scanner.scan(interim.as_bytes()), ResponseScan::Interim { len: interim.len() });
        match scanner.scan(format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{lines}\r\n").as_bytes()) {
            ResponseScan::Final(head) => assert!(!head.keep_alive),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn limits_act_before_the_head_has_ended() {
        let head = |len: usize| {
            let text = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: ";
            format!("{text}{}\r\n\r\n", "x".repeat(len - text.len() - 4))
        };
        assert_eq!(answer(GET, &head(LIMIT)).len, LIMIT);
        assert!(matches!(scan(GET, head(LIMIT + 1).as_bytes()), ResponseScan::Refused(_)));
        let endless = head(LIMIT + 100);
        assert_eq!(scan(GET, &endless.as_bytes()[..LIMIT - 1]), ResponseScan::NeedMore);
        assert!(matches!(scan(GET, &endless.as_bytes()[..LIMIT]), ResponseScan::Refused(_)));

        let lines = |count: usize| format!("HTTP/1.1 204 \r\n{}\r\n", "X:\r\n".repeat(count));
        answer(GET, &lines(RESPONSE_HEADER_COUNT));
        assert!(matches!(scan(GET, lines(RESPONSE_HEADER_COUNT + 1).as_bytes()), ResponseScan::Refused(_)));
    }

    fn tricky_head() -> impl Strategy<Value = String> {
        let version = prop::sample::select(vec!["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2"]);
        let status = prop::sample::select(vec!["200 OK", "404", "204 ", "304 x", "100 y", "101 z", "600 a"]);
        let line = prop::sample::select(vec![
            "X: 1\r\n",
            "Set-Cookie: a=b; Path=/\r\n",
            "Content-Length: 5\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Connection: close\r\n",
            "Connection: upgrade\r\nUpgrade: websocket\r\n",
            "X : 1\r\n",
            "X: 1\n",
        ]);
        let lines = prop::collection::vec(line, 0..4);
        (version, status, lines)
            .prop_map(|(version, status, lines)| format!("{version} {status}\r\n{}\r\nbody", lines.concat()))
    }

    fn asked() -> impl Strategy<Value = Asked> {
        any::<(bool, bool)>().prop_map(|(head_method, upgrade)| Asked { head_method, upgrade })
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            asked in asked(),
        ) {
            let _ = scan(asked, &bytes);
            let _ = drip(asked, &bytes);
        }

        #[test]
        fn pieces_and_whole_meet_the_same_verdict(text in tricky_head(), asked in asked()) {
            prop_assert_eq!(scan(asked, text.as_bytes()), drip(asked, text.as_bytes()));
        }

        #[test]
        fn a_second_parser_agrees_on_what_passed(text in tricky_head(), asked in asked()) {
            let passed_len = match scan(asked, text.as_bytes()) {
                ResponseScan::Interim { len } | ResponseScan::Final(ResponseHead { len, .. }) => len,
                _ => return Ok(()),
            };
            let line = text.split("\r\n").next().unwrap_or_default();
            let ours = StatusLine::parse(line.as_bytes()).unwrap();
            let mut headers = [httparse::EMPTY_HEADER; 64];
            let mut response = httparse::Response::new(&mut headers);
            prop_assert_eq!(response.parse(text.as_bytes()), Ok(httparse::Status::Complete(passed_len)));
            prop_assert_eq!(response.code, Some(ours.status));
        }
    }
}
