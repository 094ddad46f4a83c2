//! The end of an exchange: what was taken goes back, and what remains are counters and a line in the log.

use http::Version;
use http::header::{REFERER, USER_AGENT};
use pingora_proxy::Session;
use smallvec::SmallVec;

use super::exchange::{Exchange, Failure};
use crate::clock::Instant;
use crate::failure::Cause;
use crate::hygiene::forwarding::{ClientAddress, Scheme};
use crate::listen::Arrival;
use crate::listen::client::Trouble;
use crate::observe::access_log::{AccessLog, AttemptRecord, Client, Record};
use crate::runtime::Runtime;

/// Counts and logs.
pub(super) fn finish(session: &Session, exchange: &mut Exchange, runtime: &Runtime) {
    note_farewell(exchange);
    let cause = exchange.failure.as_ref().map(|failure| failure.cause);
    let now = Instant::now();
    exchange.close_attempt(matches!(cause, Some(Cause::ClientClosed | Cause::Drained)), now);
    exchange.permit = None;
    if exchange.is_own() {
        return;
    }
    if let Some(cause) = cause {
        runtime.metrics().cause(cause).inc();
    }
    let status = status(session, cause);
    let since = |arrival: &Arrival| now.saturating_duration_since(arrival.started);
    let took = exchange.arrival.as_deref().map(since).unwrap_or_default();
    exchange.snapshot.route_metrics(exchange.route).finished(status, took);
    let access_log = runtime.access_log();
    if access_log.is_on() {
        log(session, exchange, &access_log, status, took);
    }
}

/// To Pingora, a WebSocket that was told goodbye has ended well.
fn note_farewell(exchange: &mut Exchange) {
    let drained = exchange.note().and_then(|note| note.trouble()) == Some(Trouble::Drained);
    if drained && exchange.failure.is_none() {
        exchange.failure = Some(Failure { cause: Cause::Drained, detail: None, allow: None });
    }
}

/// What the client saw; where it saw nothing, what it would have seen.
fn status(session: &Session, cause: Option<Cause>) -> u16 {
    match (session.response_written(), cause) {
        (Some(written), _) if !written.status.is_informational() || written.status == 101 => {
            written.status.as_u16()
        }
        (_, Some(cause)) => cause.status().as_u16(),
        _ => Cause::ClientClosed.status().as_u16(),
    }
}

fn log(
    session: &Session,
    exchange: &Exchange,
    access_log: &AccessLog,
    status: u16,
    took: std::time::Duration,
) {
    let Some(arrival) = &exchange.arrival else { return };
    let request = session.req_header();
    let attempts: SmallVec<[AttemptRecord<'_>; 2]> = exchange
        .attempts
        .iter()
        .map(|attempt| AttemptRecord {
            endpoint: attempt.endpoint.name(),
            outcome: attempt.outcome,
            reused: attempt.reused,
            connect: attempt.connect,
            first_byte: attempt.first_byte,
            status: attempt.status,
        })
        .collect();
    let since = |at: Instant| at.saturating_duration_since(arrival.started);
    access_log.write(&Record {
        time: arrival.time,
        listener: &arrival.door.plan().name,
        client: client(exchange),
        method: request.method.as_str(),
        scheme: exchange.told.as_ref().map_or(Scheme::Http, |told| told.scheme).as_str(),
        host: arrival.host.as_bytes(),
        target: request.raw_path(),
        protocol: if request.version == Version::HTTP_10 { "HTTP/1.0" } else { "HTTP/1.1" },
        status,
        cause: exchange.failure.as_ref().map(|failure| failure.cause),
        route: exchange.route().map(|route| &*route.name),
        upstream: exchange.upstream().map(|upstream| &**upstream.name()),
        attempts: &attempts,
        queued: exchange.queued,
        first_byte: exchange.answered.map(since),
        duration: took,
        bytes_received: exchange.body.seen,
        bytes_sent: exchange.sent,
        request_id: exchange.request_id.as_bytes(),
        user_agent: request.headers.get(USER_AGENT).map(|value| value.as_bytes()),
        referer: request.headers.get(REFERER).map(|value| value.as_bytes()),
        generation: exchange.snapshot.generation(),
    });
}

fn client(exchange: &Exchange) -> Client {
    match exchange.told.as_ref().map(|told| told.client) {
        Some(ClientAddress::Ip(address)) => Client::Ip(address),
        Some(ClientAddress::Unknown) | None => Client::Unix,
    }
}
