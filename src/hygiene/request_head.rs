//! The head of a request, read strictly.
//!
//! Pingora's parser is lenient: it takes bare LFs, escapes illegal bytes of the request line, drops a
//! `Content-Length` beside `Transfer-Encoding`, and takes a request without `Host`. Once it has done so the
//! evidence is gone. So the connection layer shows every head to this scanner first, as raw bytes, and gives
//! Pingora only what passed, in canonical form ([`RequestHead::canonical`]).
//!
//! The choice made here: judge line by line as bytes arrive. A head that comes in a hundred pieces costs the
//! same as one that comes at once, and what is wrong in an early line is refused without waiting for the
//! rest.

use std::borrow::Cow;

use http::{Method, Version};

use super::connection::{Connection, Upgrade};
use super::field::{Fault, Field, Lines, Span};
use super::framing::{Framing, Lengths};
use super::request_line::{self, RequestLine, TARGET_TOO_LONG};
pub use super::target::TargetForm;
use super::target::{Target, normal_host};
use crate::failure::Cause;

/// Empty lines before a request line that are skipped (RFC 9112, section 2.2: at least one should be).
const EMPTY_LINES: usize = 4;

/// How large a head may be. All bounds are inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes from the first one received to the empty line, both included; over it 431.
    pub header_bytes: usize,
    /// Header lines; over it 431.
    pub header_count: usize,
    /// Bytes of the request target; over it 414.
    pub uri_bytes: usize,
}

/// Why a request is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Decides the status.
    pub cause: Cause,
    /// What exactly was wrong, for the log and the problem document; lower case but for names, no full stop.
    pub detail: &'static str,
}

/// What is known of a head after some of its bytes.
#[derive(Clone, Debug)]
pub enum Scan<'b> {
    /// It has not ended yet. Scan again with the same bytes and more behind them.
    NeedMore,
    /// It must not be served, and where the next request would begin is not known: answer and close.
    Refused(Refusal),
    /// It is whole and sound.
    Complete(RequestHead<'b>),
}

/// A request head that has exactly one reading.
#[derive(Clone, Debug)]
pub struct RequestHead<'b> {
    /// Bytes of the head in the buffer, skipped empty lines included; the body begins behind them.
    pub len: usize,
    /// As sent. Never CONNECT or TRACE.
    pub method: Method,
    /// How the target was sent.
    pub form: TargetForm,
    /// In normal form, beginning with `/`; `*` for [`TargetForm::Asterisk`].
    pub path: Cow<'b, str>,
    /// As sent, without the `?`; `None` when there is no `?`.
    pub query: Option<&'b str>,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    /// For whom the request is, in normal form and without port: the authority of an absolute form, else
    /// `Host`. Empty only for a HTTP/1.0 request that names none.
    pub host: Cow<'b, str>,
    /// The port beside it, if one was named.
    pub port: Option<u16>,
    /// How the body ends.
    pub framing: Framing,
    /// Whether the client waits for `100 Continue` before it sends the body. Never so on HTTP/1.0 or without
    /// a body (RFC 9110, section 10.1.1).
    pub expects_continue: bool,
    /// Whether the client wants to send another request on this connection (RFC 9112, section 9.3).
    pub keep_alive: bool,
    /// Whether this is a well-formed WebSocket handshake (RFC 6455, section 4.2.1). An `Upgrade` that is
    /// anything else is a hop-by-hop field like others, and the request an ordinary one.
    pub upgrade_websocket: bool,
    /// What else is there that has to be dealt with.
    pub marks: Marks,
    raw: &'b [u8],
    authority: Option<&'b str>,
    request_line: Span,
    host_line: Option<Span>,
}

/// Which fields a head may have, of those that are seldom there and have to be looked for. A field that is not marked is
/// not there: so whoever handles the request need not look, which costs more than it does here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// `X-Request-Id`.
    pub request_id: bool,
    /// A forwarding field, or a name that may be one in disguise (see [`forwarding`](super::forwarding)).
    pub forwarding: bool,
    /// `grpc-timeout`.
    pub grpc_timeout: bool,
    /// `Expect`.
    pub expect: bool,
}

impl Marks {
    fn take(&mut self, name: &[u8]) {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        match name.len() {
            6 => self.expect |= is("expect"),
            9 => self.forwarding |= is("forwarded") || is("x-real-ip"),
            12 => {
                self.request_id |= is("x-request-id");
                self.grpc_timeout |= is("grpc-timeout");
            }
            15 => self.forwarding |= is("x-forwarded-for"),
            16 => self.forwarding |= is("x-forwarded-host") || is("x-forwarded-port"),
            17 => self.forwarding |= is("x-forwarded-proto"),
            _ => {}
        }
    }
}

impl RequestHead<'_> {
    /// The head as Pingora's parser shall see it, or `None` when the bytes are already so and can be passed
    /// as they are.
    ///
    /// Canonical is: no empty lines in front, the target in origin form (or `*`) with the path in normal
    /// form, and `Host` equal to the authority of an absolute form (RFC 9112, section 3.2.2). Other lines
    /// stay as sent.
    pub fn canonical(&self) -> Option<Vec<u8>> {
        match self.is_canonical() {
            true => None,
            false => Some(self.rewritten()),
        }
    }

    /// The value of a field that is there exactly once.
    pub fn only(&self, name: &str) -> Option<&[u8]> {
        let fields = Span { start: self.request_line.end + 2, end: self.raw.len() }.of(self.raw);
        let lines = fields.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let named = |field: &Field<'_>| field.name.eq_ignore_ascii_case(name.as_bytes());
        let mut found = lines.filter_map(|line| Field::parse(line).ok()).filter(named);
        found.next().map(|field| field.value).filter(|_| found.next().is_none())
    }

    fn is_canonical(&self) -> bool {
        self.request_line.start == 0 && self.authority.is_none() && matches!(self.path, Cow::Borrowed(_))
    }

    fn rewritten(&self) -> Vec<u8> {
        let mut head = Vec::with_capacity(self.raw.len() + self.path.len());
        self.write_request_line(&mut head);
        let fields = Span { start: self.request_line.end + 2, end: self.raw.len() };
        match self.authority {
            Some(authority) => self.write_fields_with_host(&mut head, fields, authority),
            None => head.extend_from_slice(fields.of(self.raw)),
        }
        head
    }

    fn write_request_line(&self, head: &mut Vec<u8>) {
        let version: &[u8] =
            if self.version == Version::HTTP_10 { b" HTTP/1.0\r\n" } else { b" HTTP/1.1\r\n" };
        head.extend_from_slice(self.method.as_str().as_bytes());
        head.push(b' ');
        head.extend_from_slice(self.path.as_bytes());
        if let Some(query) = self.query {
            head.push(b'?');
            head.extend_from_slice(query.as_bytes());
        }
        head.extend_from_slice(version);
    }

    /// The new `Host` stands where the old one stood, or first where there was none (HTTP/1.0).
    fn write_fields_with_host(&self, head: &mut Vec<u8>, fields: Span, authority: &str) {
        let old = self.host_line.map_or(Span { start: fields.start, end: fields.start }, Span::with_line_end);
        head.extend_from_slice(Span { start: fields.start, end: old.start }.of(self.raw));
        head.extend_from_slice(b"Host: ");
        head.extend_from_slice(authority.as_bytes());
        head.extend_from_slice(b"\r\n");
        head.extend_from_slice(Span { start: old.end, end: fields.end }.of(self.raw));
    }
}

/// Reads one request head from a buffer that grows. Make a new one for every request.
#[derive(Clone, Debug)]
pub struct RequestScanner {
    limits: HeadLimits,
    lines: Lines,
    empty_lines: usize,
    request_line: Option<RequestLine>,
    fields: Fields,
}

impl RequestScanner {
    /// At the beginning of a head.
    pub fn new(limits: HeadLimits) -> RequestScanner {
        RequestScanner {
            limits,
            lines: Lines::default(),
            empty_lines: 0,
            request_line: None,
            fields: Fields::default(),
        }
    }

    /// Looks at the bytes received so far: all of them since the head began, with new ones behind those of
    /// the call before. What follows the head in the buffer is not looked at.
    pub fn scan<'b>(&mut self, bytes: &'b [u8]) -> Scan<'b> {
        match self.advance(bytes) {
            Ok(Some(head)) => Scan::Complete(head),
            Ok(None) => Scan::NeedMore,
            Err(refusal) => Scan::Refused(refusal),
        }
    }

    fn advance<'b>(&mut self, bytes: &'b [u8]) -> Result<Option<RequestHead<'b>>, Refusal> {
        while let Some(line) = self.lines.next_line(bytes)? {
            let ends_head = self.take_line(bytes, line)?;
            self.check_size(self.lines.start)?;
            if ends_head {
                self.lines.check_controls(bytes)?;
                return self.finish(bytes).map(Some);
            }
        }
        self.check_unfinished(bytes)?;
        Ok(None)
    }

    /// Whether this line ends the head.
    fn take_line(&mut self, bytes: &[u8], line: Span) -> Result<bool, Refusal> {
        match (&self.request_line, line.len()) {
            (None, 0) => self.skip_empty_line()?,
            (None, _) => self.request_line = Some(RequestLine::parse(bytes, line, &self.limits)?),
            (Some(_), 0) => return Ok(true),
            (Some(_), _) => self.take_field(bytes, line)?,
        }
        Ok(false)
    }

    fn skip_empty_line(&mut self) -> Result<(), Refusal> {
        self.empty_lines += 1;
        match self.empty_lines > EMPTY_LINES {
            true => Err(bad_request("too many empty lines before the request line")),
            false => Ok(()),
        }
    }

    fn take_field(&mut self, bytes: &[u8], line: Span) -> Result<(), Refusal> {
        self.fields.count += 1;
        if self.fields.count > self.limits.header_count {
            return Err(Refusal { cause: Cause::HeaderTooLarge, detail: "too many header lines" });
        }
        self.fields.take(line, Field::parse(line.of(bytes))?)?;
        Ok(())
    }

    fn check_size(&self, len: usize) -> Result<(), Refusal> {
        match len > self.limits.header_bytes {
            true => Err(self.too_large()),
            false => Ok(()),
        }
    }

    /// What does not fit is the target as long as the request line has not ended, and the header section
    /// after that.
    fn too_large(&self) -> Refusal {
        match &self.request_line {
            Some(line) if line.span.end < self.limits.header_bytes => {
                Refusal { cause: Cause::HeaderTooLarge, detail: "the header section is too long" }
            }
            _ => TARGET_TOO_LONG,
        }
    }

    /// Refuses early what more bytes cannot mend.
    fn check_unfinished(&self, bytes: &[u8]) -> Result<(), Refusal> {
        if self.request_line.is_none() {
            request_line::check_unfinished(&bytes[self.lines.start..], &self.limits)?;
        }
        // At least one more byte is to come, so a head that fills its bound already is over it.
        self.check_size(bytes.len() + 1)
    }

    fn finish<'b>(&mut self, bytes: &'b [u8]) -> Result<RequestHead<'b>, Refusal> {
        let Some(line) = self.request_line.take() else {
            return Err(bad_request("no request line"));
        };
        let raw = &bytes[..self.lines.start];
        let target = Target::parse(&line.method, text(line.target.of(raw))?)?;
        let (host, port) = self.fields.host(raw, &line, target.authority)?;
        let framing = self.fields.framing(line.version)?;
        Ok(RequestHead {
            len: raw.len(),
            form: target.form,
            path: target.path,
            query: target.query,
            version: line.version,
            host,
            port,
            framing,
            expects_continue: self.fields.expects_continue
                && line.version == Version::HTTP_11
                && !framing.is_empty(),
            keep_alive: self.fields.connection.keeps_alive(line.version),
            upgrade_websocket: self.fields.is_websocket(&line, framing),
            marks: self.fields.marks(raw),
            method: line.method,
            raw,
            authority: target.authority,
            request_line: line.span,
            host_line: self.fields.host_line,
        })
    }
}

impl From<Fault> for Refusal {
    fn from(detail: Fault) -> Refusal {
        bad_request(detail)
    }
}

const fn bad_request(detail: Fault) -> Refusal {
    Refusal { cause: Cause::BadRequest, detail }
}

fn text(bytes: &[u8]) -> Result<&str, Refusal> {
    std::str::from_utf8(bytes).map_err(|_| bad_request("bytes that are not ASCII"))
}

/// What the header lines said, as far as it decides how the request is handled.
#[derive(Clone, Debug, Default)]
struct Fields {
    count: usize,
    host_line: Option<Span>,
    lengths: Lengths,
    expects_continue: bool,
    connection: Connection,
    upgrade: Upgrade,
    has_websocket_key: bool,
    has_websocket_version: bool,
    marks: Marks,
}

impl Fields {
    /// Names are told apart by their length first: few lines need a comparison at all.
    fn take(&mut self, line: Span, field: Field<'_>) -> Result<(), Fault> {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name.as_bytes());
        self.marks.take(field.name);
        match field.name.len() {
            4 if is("host") => self.take_host(line),
            6 if is("expect") => self.take_expect(field.value),
            7 if is("upgrade") => self.upgrade.take(field.value),
            10 if is("connection") => self.connection.take(field.value),
            14 if is("content-length") => self.lengths.content_length(field.value),
            17 if is("transfer-encoding") => self.lengths.transfer_encoding(field.value),
            17 if is("sec-websocket-key") => set(&mut self.has_websocket_key, is_websocket_key(field.value)),
            21 if is("sec-websocket-version") => set(&mut self.has_websocket_version, field.value == b"13"),
            _ => Ok(()),
        }
    }

    /// RFC 9112, section 3.2.
    fn take_host(&mut self, line: Span) -> Result<(), Fault> {
        match self.host_line.replace(line) {
            None => Ok(()),
            Some(_) => Err("Host is given twice"),
        }
    }

    /// RFC 9110, section 10.1.1: the only expectation there is.
    fn take_expect(&mut self, value: &[u8]) -> Result<(), Fault> {
        self.expects_continue = value.eq_ignore_ascii_case(b"100-continue");
        match self.expects_continue {
            true => Ok(()),
            false => Err("Expect is not 100-continue"),
        }
    }

    /// For whom the request is. A `Host` that the authority stands in for must be sound all the same.
    fn host<'b>(
        &self,
        raw: &'b [u8],
        line: &RequestLine,
        authority: Option<&'b str>,
    ) -> Result<(Cow<'b, str>, Option<u16>), Refusal> {
        let named = self.host_line.map(|line| host_of_line(line.of(raw))).transpose()?;
        let authority = authority.map(|authority| {
            normal_host(authority).ok_or(bad_request("the target's authority is not a host"))
        });
        match (authority.transpose()?, named) {
            (_, None) if line.version == Version::HTTP_11 => Err(bad_request("no Host")),
            (Some(host), _) | (None, Some(host)) => Ok(host),
            (None, None) => Ok((Cow::Borrowed(""), None)),
        }
    }

    /// RFC 9112, section 6.1: a 1.0 sender does not know transfer codings, so somebody on the way may not
    /// either.
    fn framing(&self, version: Version) -> Result<Framing, Fault> {
        match self.lengths.said() {
            Framing::Chunked if version == Version::HTTP_10 => Err("Transfer-Encoding on HTTP/1.0"),
            framing => Ok(framing),
        }
    }

    /// One look for the `_` of a disguise in the whole head takes less than one in every name.
    fn marks(&self, raw: &[u8]) -> Marks {
        let disguise = memchr::memchr(b'_', raw).is_some();
        Marks { forwarding: self.marks.forwarding || disguise, ..self.marks }
    }

    fn is_websocket(&self, line: &RequestLine, framing: Framing) -> bool {
        self.upgrade == Upgrade::WebSocket
            && self.connection.upgrade
            && self.has_websocket_key
            && self.has_websocket_version
            && framing == Framing::None
            && line.version == Version::HTTP_11
            && line.method == Method::GET
    }
}

fn set(flag: &mut bool, value: bool) -> Result<(), Fault> {
    *flag = value;
    Ok(())
}

fn host_of_line(line: &[u8]) -> Result<(Cow<'_, str>, Option<u16>), Fault> {
    let value = Field::parse(line)?.value;
    std::str::from_utf8(value).ok().and_then(normal_host).ok_or("Host is not a host")
}

/// Sixteen bytes in base64 (RFC 6455, section 4.1).
fn is_websocket_key(value: &[u8]) -> bool {
    let is_base64 = |&byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    value.len() == 24 && value.ends_with(b"==") && value[..22].iter().all(is_base64)
}

#[cfg(test)]
mod tests;
