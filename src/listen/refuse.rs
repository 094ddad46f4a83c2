//! Connections and heads that are not served: what is said to the client, and what is left in log and metrics.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::Door;
use super::socket::{Peer, Transport};
use crate::answer;
use crate::clock::{Instant, SystemTime};
use crate::failure::Cause;
use crate::hygiene::request_head::Refusal;
use crate::observe::access_log::{Client, Record};
use crate::runtime::Runtime;

/// Why a connection ends here.
pub(super) struct Refused {
    pub(super) cause: Cause,
    pub(super) detail: Option<&'static str>,
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
}

/// Leaves the traces of a request that has no session: a count and a line.
pub(super) fn record(runtime: &Runtime, door: &Door, peer: Peer, refused: &Refused, request_id: &str) {
    runtime.metrics().cause(refused.cause).inc();
    let took = refused.started.elapsed();
    let snapshot = runtime.snapshot();
    let status = refused.cause.status().as_u16();
    snapshot.route_metrics(None).finished(status, took);
    runtime.access_log().write(&Record {
        time: refused.time,
        listener: &door.plan().name,
        client: peer.ip().map_or(Client::Unix, Client::Ip),
        method: "",
        scheme: "http",
        host: b"",
        target: b"",
        protocol: "",
        status,
        cause: Some(refused.cause),
        route: None,
        upstream: None,
        attempts: &[],
        queued: None,
        first_byte: None,
        duration: took,
        bytes_received: 0,
        bytes_sent: 0,
        request_id: request_id.as_bytes(),
        user_agent: None,
        referer: None,
        generation: snapshot.generation(),
    });
}

/// How long a client that is one too many may take to be told so.
const FAREWELL: Duration = Duration::from_secs(2);

/// Tells a client that it is one too many, and closes.
pub(super) async fn turn_away(mut transport: Transport, door: &Door, peer: Peer, runtime: &Runtime) {
    let (refused, request_id) = (Refused::overloaded(), fresh_request_id());
    record(runtime, door, peer, &refused, &request_id);
    let answer = answer::problem_on_the_wire(refused.cause, refused.detail, &request_id, &date());
    if let Ok(Ok(())) = tokio::time::timeout(FAREWELL, transport.write_all(&answer)).await {
        door.linger.close(transport);
    }
}

/// A request id of our own: UUID version 7 (RFC 9562, section 5.7), so that ids sort by time.
pub fn fresh_request_id() -> String {
    let mut text = uuid::Uuid::encode_buffer();
    uuid::Uuid::now_v7().hyphenated().encode_lower(&mut text).to_owned()
}

/// Now, as `Date` has it (RFC 9110, section 5.6.7).
pub(super) fn date() -> String {
    httpdate::fmt_http_date(SystemTime::now())
}
