//! A request has arrived: who asks, what for, and whether it can be answered at once.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header};
use pingora::http::ResponseHeader;
use pingora::{BError, Result};
use pingora_proxy::Session;
use smallvec::SmallVec;

use super::exchange::{Exchange, Failure};
use super::reply;
use crate::balance::sticky::cookie_values;
use crate::balance::{Balance, HashKey};
use crate::clock::{Duration, Instant, SystemTime};
use crate::failure::Cause;
use crate::hygiene::forwarding::{Arrival as Way, ClientAddress, Forwarding, Scheme, is_trusted};
use crate::hygiene::framing::Framing;
use crate::hygiene::request_id;
use crate::limit::Priority;
use crate::listen::refuse::fresh_request_id;
use crate::listen::{Arrival, Told};
use crate::plan::{Action, Forward};
use crate::retry::deadline::{GRPC_TIMEOUT, read_grpc_timeout};
use crate::roster::SeatId;
use crate::routing::{Found, Lookup, RouteId, parameter};
use crate::runtime::Snapshot;
use crate::upstream::Upstream;

/// The header that carries a request's id.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Before anything else: the session leaves all timing to the connection beneath it.
pub(super) fn settle(session: &mut Session, exchange: &Exchange) {
    session.set_read_timeout(None);
    if session.req_header().version == Version::HTTP_10 {
        session.set_ignore_info_resp(true); // 1xx would break it (RFC 9110, section 15.2)
    }
    if exchange.is_draining() {
        session.set_keepalive(None);
    }
}

/// Finds the route and does what can be done without an upstream. True: the answer is given.
pub(super) async fn arrive(session: &mut Session, exchange: &mut Exchange) -> Result<bool> {
    if exchange.arrival.is_none() {
        return Err(exchange.fail(Cause::Internal, None));
    }
    identify(session, exchange);
    if exchange.is_own() {
        return give(session, exchange, StatusCode::NO_CONTENT, &[], Bytes::new()).await.map(|()| true);
    }
    let route = find(session, exchange)?;
    exchange.route = Some(route);
    bound_body(exchange)?;
    let snapshot = exchange.snapshot.clone();
    match snapshot.route(route).map(|route| &route.action) {
        Some(Action::Forward(forward)) => queue(session, exchange, &snapshot, forward).await.map(|()| false),
        Some(Action::Redirect { to, status }) => {
            let fields = [(header::LOCATION, to.clone())];
            give(session, exchange, *status, &fields, Bytes::new()).await.map(|()| true)
        }
        Some(Action::Respond { status, body, content_type }) => {
            let fields = [(header::CONTENT_TYPE, content_type.clone())];
            give(session, exchange, *status, &fields, body.clone()).await.map(|()| true)
        }
        None => Err(exchange.fail(Cause::Internal, None)),
    }
}

/// Who asks, and under which id.
fn identify(session: &Session, exchange: &mut Exchange) {
    let headers = &session.req_header().headers;
    let single = || headers.get_all(X_REQUEST_ID).iter().nth(1).is_none();
    let theirs = if exchange.marks().request_id { headers.get(X_REQUEST_ID) } else { None };
    let theirs = theirs.filter(|id| request_id::may_keep(id.as_bytes()) && single());
    exchange.id_stands = theirs.is_some();
    exchange.request_id = match theirs {
        Some(theirs) => theirs.clone(),
        None => fresh_id(exchange),
    };
    exchange.told = exchange.arrival.as_ref().map(|arrival| told(arrival, headers, &exchange.snapshot));
}

fn fresh_id(exchange: &Exchange) -> HeaderValue {
    let time = exchange.arrival.as_ref().map_or_else(SystemTime::now, |arrival| arrival.time);
    HeaderValue::try_from(fresh_request_id(time)).unwrap_or(HeaderValue::from_static("-"))
}

/// A stranger's forwarding fields are ours alone, so they are spelled once for a connection.
fn told(arrival: &Arrival, headers: &HeaderMap, snapshot: &Snapshot) -> Arc<Told> {
    let trusted = &snapshot.plan().trusted_proxies;
    let vouches = arrival.peer.ip().is_some_and(|peer| is_trusted(trusted, &peer));
    let host = headers.get(header::HOST).filter(|_| !vouches);
    if let Some(told) = host.and_then(|host| arrival.memory.recall(snapshot.generation(), host)) {
        return told;
    }
    let forwarding = forwarding(arrival, headers, snapshot);
    let Forwarding { client, scheme, .. } = forwarding;
    let told = Arc::new(Told { client, scheme, lines: forwarding.lines().into() });
    if let Some(host) = host {
        arrival.memory.keep(snapshot.generation(), host, told.clone());
    }
    told
}

/// What is said of the client and its way, field by field.
pub(super) fn forwarding(arrival: &Arrival, headers: &HeaderMap, snapshot: &Snapshot) -> Forwarding {
    let trusted = &snapshot.plan().trusted_proxies;
    let way = Way { peer: arrival.peer.ip(), scheme: Scheme::Http, port: arrival.port, trusted };
    Forwarding::of(&way, headers)
}

fn find(session: &Session, exchange: &mut Exchange) -> Result<RouteId> {
    let request = session.req_header();
    let host = exchange.arrival.as_ref().map_or("", |arrival| arrival.host.as_str());
    let lookup = Lookup {
        host,
        path: request.uri.path(),
        query: request.uri.query().unwrap_or(""),
        method: &request.method,
        headers: &request.headers,
    };
    match exchange.snapshot.plan().table.find(&lookup) {
        Found::Route(route) => Ok(route),
        Found::Nothing => Err(exchange.fail(Cause::NoRoute, None)),
        Found::MethodNotAllowed(methods) => Err(wrong_method(exchange, &methods)),
    }
}

fn wrong_method(exchange: &mut Exchange, methods: &[http::Method]) -> BError {
    let names: Vec<&str> = methods.iter().map(http::Method::as_str).collect();
    let allow = HeaderValue::from_str(&names.join(", ")).ok();
    exchange.failure = Some(Failure { cause: Cause::MethodNotAllowed, detail: None, allow });
    exchange.fail(Cause::MethodNotAllowed, None)
}

/// A body that says that it is too long need not be read at all.
fn bound_body(exchange: &mut Exchange) -> Result<()> {
    let route = exchange.route().and_then(|route| route.body_bytes);
    let listener = exchange.arrival.as_ref().and_then(|arrival| arrival.door.plan().limits.body_bytes);
    exchange.body.most = route.or(listener);
    match (exchange.arrival.as_ref().map(|arrival| arrival.framing), exchange.body.most) {
        (Some(Framing::Length(length)), Some(most)) if length > most => {
            Err(exchange.fail(Cause::BodyTooLarge, None))
        }
        _ => Ok(()),
    }
}

/// Waits for a place among the upstream's requests.
async fn queue(
    session: &mut Session,
    exchange: &mut Exchange,
    snapshot: &Snapshot,
    forward: &Forward,
) -> Result<()> {
    let Some(upstream) = snapshot.upstream(forward.upstream) else {
        return Err(exchange.fail(Cause::Internal, None));
    };
    let (priority, patience, began) = (forward.priority, forward.timeouts.request, Instant::now());
    let (key, pinned) = choose_by(session, exchange, upstream);
    exchange.key = key;
    exchange.pinned = pinned;
    if exchange.marks().grpc_timeout {
        exchange.given_up = given_up(&session.req_header().headers, began);
    }
    exchange.set_deadline(began, patience);
    let patience = exchange.deadline().saturating_duration_since(began);
    if patience.is_zero() {
        return Err(exchange.fail(Cause::UpstreamTimeout, Some("the client gave it no time")));
    }
    upstream.requested();
    exchange.permit = upstream.gate().try_admit();
    match exchange.permit {
        Some(_) => Ok(()),
        None => Box::pin(wait(session, exchange, upstream, priority, patience)).await, // boxed: few have to
    }
}

async fn wait(
    session: &mut Session,
    exchange: &mut Exchange,
    upstream: &Upstream,
    priority: Priority,
    patience: Duration,
) -> Result<()> {
    let began = Instant::now();
    let admitted = tokio::select! {
        biased;
        admitted = upstream.gate().admit(priority, patience) => admitted,
        () = gone(session) => return Err(exchange.fail(Cause::ClientClosed, None)),
    };
    match admitted {
        Ok(permit) => {
            exchange.permit = Some(permit);
            exchange.queued = Some(began.elapsed());
            Ok(())
        }
        Err(refused) => Err(exchange.fail(Cause::Overloaded, Some(refused.as_str()))),
    }
}

/// When the client will have given up, if it says so.
fn given_up(headers: &HeaderMap, now: Instant) -> Option<Instant> {
    let value = headers.get(GRPC_TIMEOUT)?;
    now.checked_add(read_grpc_timeout(value.as_bytes())?)
}

/// By what the endpoint is chosen: the request's key, and whom its cookie names.
fn choose_by(
    session: &Session,
    exchange: &Exchange,
    upstream: &Upstream,
) -> (Option<SmallVec<[u8; 32]>>, Option<SeatId>) {
    let request = session.req_header();
    let pinned = upstream.sticky().and_then(|sticky| sticky.seat(&request.headers));
    let key = match &upstream.plan().balance {
        Balance::Hash(HashKey::Header(name)) => {
            request.headers.get(name).map(|value| value.as_bytes().into())
        }
        Balance::Hash(HashKey::Cookie(name)) => {
            cookie_values(&request.headers, name).next().map(SmallVec::from)
        }
        Balance::Hash(HashKey::Query(name)) => {
            parameter(request.uri.query().unwrap_or_default(), name).map(Iterator::collect)
        }
        Balance::Hash(HashKey::ClientIp) => exchange.told.as_ref().and_then(|told| octets(told.client)),
        Balance::Hash(HashKey::Path) => Some(request.uri.path().as_bytes().into()),
        _ => None,
    };
    (key, pinned)
}

fn octets(client: ClientAddress) -> Option<SmallVec<[u8; 32]>> {
    match client {
        ClientAddress::Ip(IpAddr::V4(address)) => Some(SmallVec::from_slice(&address.octets())),
        ClientAddress::Ip(IpAddr::V6(address)) => Some(SmallVec::from_slice(&address.octets())),
        ClientAddress::Unknown => None,
    }
}

/// Ready when the client has left; not while a body may come, which nobody is to read yet.
pub(super) async fn gone(session: &mut Session) {
    if !session.is_body_done() || session.downstream_session.read_body_or_idle(true).await.is_ok() {
        std::future::pending::<()>().await;
    }
}

/// An answer out of the configuration.
async fn give(
    session: &mut Session,
    exchange: &mut Exchange,
    status: StatusCode,
    fields: &[(HeaderName, HeaderValue)],
    body: Bytes,
) -> Result<()> {
    let mut response = ResponseHeader::build(status, Some(fields.len() + 5))?;
    if !(status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED) {
        response.insert_header(header::CONTENT_LENGTH, body.len())?;
    }
    for (name, value) in fields {
        response.insert_header(name, value)?;
    }
    reply::sign(&mut response, exchange)?;
    if let Some(route) = exchange.route() {
        reply::edit(&mut response, &route.response_headers)?;
    }
    exchange.answered = Some(Instant::now());
    exchange.sent = body.len() as u64;
    reply::write(session, response, body).await
}
