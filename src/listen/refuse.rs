//! What is answered without Pingora: what is said to the client, and what is left in log and metrics.
//!
//! A head that was refused has no fields that could be believed, but an operator wants to see what it was. So the log
//! shows a [`Glimpse`] of its request line: whatever stands where method and target should, cut short, and escaped like
//! everything in the log.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::Door;
use super::socket::{Peer, Transport};
use crate::answer;
use crate::clock::{Instant, SystemTime};
use crate::failure::Cause;
use crate::hygiene::forwarding::Scheme;
use crate::hygiene::request_head::Refusal;
use crate::limits::REFUSED_TARGET_BYTES;
use crate::observe::access_log::{Client, Record};
use crate::runtime::Runtime;

/// Why a connection ends here.
pub(super) struct Refused {
    cause: Cause,
    detail: Option<&'static str>,
    time: SystemTime,
    started: Instant,
}

impl Refused {
    /// A head that must not be served.
    pub(super) fn new(refusal: Refusal, started: Instant, time: SystemTime) -> Refused {
        Refused { cause: refusal.cause, detail: Some(refusal.detail), time, started }
    }

    /// A head that was not whole in time.
    pub(super) fn late(started: Instant, time: SystemTime) -> Refused {
        Refused {
            cause: Cause::RequestTimeout,
            detail: Some("the header was not whole in time"),
            time,
            started,
        }
    }

    /// A connection too many.
    pub(super) fn overloaded() -> Refused {
        let (started, time) = (Instant::now(), SystemTime::now());
        Refused { cause: Cause::Overloaded, detail: Some("too many connections"), time, started }
    }

    /// Leaves the traces, and gives the answer that is to be sent. `head` is what was read of it.
    pub(super) fn answer(&self, runtime: &Runtime, door: &Door, peer: Peer, head: &[u8]) -> Vec<u8> {
        let &Refused { cause, detail, time, started } = self;
        let request_id = fresh_request_id(time);
        runtime.metrics().cause(cause).inc();
        record(
            runtime,
            door,
            peer,
            &Trace {
                status: cause.status().as_u16(),
                cause: Some(cause),
                line: Glimpse::of(head),
                host: "",
                bytes_sent: answer::problem(cause, detail, &request_id).len() as u64,
                request_id: &request_id,
                user_agent: None,
                referer: None,
                time,
                started,
            },
        );
        answer::problem_on_the_wire(cause, detail, &request_id, &date())
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.cause.as_str(), self.detail.unwrap_or("no more is known"))
    }
}

/// What is known of a request that has no session.
pub(super) struct Trace<'a> {
    pub(super) status: u16,
    pub(super) cause: Option<Cause>,
    pub(super) line: Glimpse<'a>,
    pub(super) host: &'a str,
    pub(super) bytes_sent: u64,
    pub(super) request_id: &'a str,
    pub(super) user_agent: Option<&'a [u8]>,
    pub(super) referer: Option<&'a [u8]>,
    pub(super) time: SystemTime,
    pub(super) started: Instant,
}

/// A request line as far as it can be made out. What is not there is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Glimpse<'a> {
    pub(super) method: &'a str,
    pub(super) target: &'a [u8],
    pub(super) protocol: &'a str,
}

impl<'a> Glimpse<'a> {
    /// Of a head that may be unfinished or no HTTP at all: then there is no word at its front that could be a method.
    fn of(head: &'a [u8]) -> Glimpse<'a> {
        let begin = head.iter().position(|byte| !b"\r\n".contains(byte)).unwrap_or(head.len());
        let line = &head[begin..];
        let line = line.split(|byte| b"\r\n".contains(byte)).next().unwrap_or_default();
        let Some((method, rest)) = parted(line, memchr::memchr(b' ', line)) else {
            return Glimpse::default();
        };
        let Some(method) = method_of(method) else { return Glimpse::default() };
        let (target, protocol) = match parted(rest, memchr::memrchr(b' ', rest)) {
            Some((target, last)) => protocol_of(last).map_or((rest, ""), |protocol| (target, protocol)),
            None => (rest, ""),
        };
        Glimpse { method, target: &target[..target.len().min(REFUSED_TARGET_BYTES)], protocol }
    }
}

fn parted(text: &[u8], at: Option<usize>) -> Option<(&[u8], &[u8])> {
    let (before, after) = text.split_at_checked(at?)?;
    Some((before, &after[1..]))
}

fn method_of(word: &[u8]) -> Option<&str> {
    let is_plain = (1..=32).contains(&word.len()) && word.iter().all(u8::is_ascii_graphic);
    std::str::from_utf8(word).ok().filter(|_| is_plain)
}

fn protocol_of(word: &[u8]) -> Option<&str> {
    let is_plain = word.starts_with(b"HTTP/") && word.len() <= 8 && word.iter().all(u8::is_ascii_graphic);
    std::str::from_utf8(word).ok().filter(|_| is_plain)
}

/// Leaves a count and a line.
pub(super) fn record(runtime: &Runtime, door: &Door, peer: Peer, trace: &Trace<'_>) {
    if peer == Peer::Own {
        return;
    }
    let took = trace.started.elapsed();
    let snapshot = runtime.snapshot();
    snapshot.route_metrics(None).finished(trace.status, took);
    runtime.access_log().write(&Record {
        time: trace.time,
        listener: &door.plan().name,
        client: peer.ip().map_or(Client::Unix, Client::Ip),
        method: trace.line.method,
        scheme: Scheme::Http.as_str(),
        host: trace.host.as_bytes(),
        target: trace.line.target,
        protocol: trace.line.protocol,
        status: trace.status,
        cause: trace.cause,
        route: None,
        upstream: None,
        attempts: &[],
        queued: None,
        first_byte: None,
        duration: took,
        bytes_received: 0,
        bytes_sent: trace.bytes_sent,
        request_id: trace.request_id.as_bytes(),
        user_agent: trace.user_agent,
        referer: trace.referer,
        generation: snapshot.generation(),
    });
}

/// How long a client that is one too many may take to be told so.
const FAREWELL: Duration = Duration::from_secs(2);

/// Tells a client that it is one too many, and closes.
pub(super) async fn turn_away(mut transport: Transport, door: &Door, peer: Peer, runtime: &Runtime) {
    let answer = Refused::overloaded().answer(runtime, door, peer, b"");
    if let Ok(Ok(())) = tokio::time::timeout(FAREWELL, transport.write_all(&answer)).await {
        door.linger.close(transport);
    }
}

/// A request id of our own: UUID version 7 (RFC 9562, section 5.7), so that ids sort by time.
pub fn fresh_request_id(now: SystemTime) -> String {
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = uuid::Timestamp::from_unix(uuid::NoContext, now.as_secs(), now.subsec_nanos());
    let mut text = uuid::Uuid::encode_buffer();
    uuid::Uuid::new_v7(now).hyphenated().encode_lower(&mut text).to_owned()
}

/// Now, as `Date` has it (RFC 9110, section 5.6.7).
pub(super) fn date() -> String {
    httpdate::fmt_http_date(SystemTime::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was read; method, target and protocol that are shown.
    const GLIMPSES: &[(&str, (&str, &str, &str))] = &[
        ("", ("", "", "")),
        ("GET", ("", "", "")),
        ("\x16\x03\x01\x02 \x01\x00", ("", "", "")),
        ("nonsense\r\nGET / HTTP/1.1\r\n", ("", "", "")),
        ("GET /a", ("GET", "/a", "")),
        ("GET /a HTTP/1.1\r\nHost: t", ("GET", "/a", "HTTP/1.1")),
        ("\r\n\r\nGET /\"<\n", ("GET", "/\"<", "")),
        ("GET /a b HTTP/1.1\n", ("GET", "/a b", "HTTP/1.1")),
        ("GET /a HTTP/2.0\r\n", ("GET", "/a", "HTTP/2.0")),
        ("GET /a b\r\n", ("GET", "/a b", "")),
        ("GET  HTTP/1.1\r\n", ("GET", "", "HTTP/1.1")),
    ];

    #[test]
    fn of_a_refused_line_is_shown_what_can_be_made_out() {
        for (head, (method, target, protocol)) in GLIMPSES {
            let want = Glimpse { method, target: target.as_bytes(), protocol };
            assert_eq!(Glimpse::of(head.as_bytes()), want, "{head:?}");
        }
    }

    #[test]
    fn a_long_target_is_cut() {
        let long = format!("GET /{} HTTP/1.1\r\n", "x".repeat(9000));
        let glimpse = Glimpse::of(long.as_bytes());
        assert_eq!((glimpse.target.len(), glimpse.protocol), (REFUSED_TARGET_BYTES, "HTTP/1.1"));
    }
}
