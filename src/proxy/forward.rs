//! The request as the endpoint gets it.

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderValue, header};
use pingora::Result;
use pingora::http::RequestHeader;

use super::arrive::X_REQUEST_ID;
use super::exchange::Exchange;
use super::reply::VIA;
use crate::answer;
use crate::clock::Instant;
use crate::failure::Cause;
use crate::hygiene::forwarding::{
    FIELDS, Forwarding, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PORT, X_FORWARDED_PROTO, impostors,
    is_trusted,
};
use crate::hygiene::hop_by_hop::hop_by_hop;
use crate::plan::HeaderEdits;
use crate::retry::deadline::{GRPC_TIMEOUT, write_grpc_timeout};

/// The head, made anew for every attempt from what the client sent.
pub(super) fn request(request: &mut RequestHeader, exchange: &mut Exchange) -> Result<()> {
    for name in hop_by_hop(&request.headers) {
        request.remove_header(&name);
    }
    if exchange.marks().expect {
        request.remove_header(&header::EXPECT); // answered here, once there was a connection
    }
    if exchange.marks().forwarding {
        unmask(request, exchange);
    }
    rewrite(request, exchange)?;
    name_host(request, exchange)?;
    upgrade(request, exchange)?;
    hurry(request, exchange)?;
    match exchange.route().map(|route| &route.request_headers) {
        Some(edits) if !edits.is_empty() => {
            introduce_as_fields(request, exchange)?;
            edit(request, edits)
        }
        _ => introduce_as_lines(request, exchange),
    }
}

/// Who the client is, which way the request went, and its name, where no edit of the route depends on it: straight onto
/// the wire.
fn introduce_as_lines(request: &mut RequestHeader, exchange: &Exchange) -> Result<()> {
    let (Some(told), Some(present)) = (&exchange.told, &exchange.present) else { return Ok(()) };
    if exchange.marks().forwarding {
        FIELDS.iter().for_each(|name| remove(request, name));
    }
    let mut lines = Vec::with_capacity(told.lines.len() + 128);
    lines.extend_from_slice(&told.lines);
    for piece in ["Via: ", answer::VIA, "\r\n"] {
        lines.extend_from_slice(piece.as_bytes());
    }
    if !exchange.id_stands {
        if exchange.marks().request_id {
            remove(request, &X_REQUEST_ID);
        }
        lines.extend_from_slice(b"X-Request-Id: ");
        lines.extend_from_slice(exchange.request_id.as_bytes());
        lines.extend_from_slice(b"\r\n");
    }
    present.call.add_lines(lines);
    Ok(())
}

fn remove(request: &mut RequestHeader, name: &http::HeaderName) {
    if request.headers.contains_key(name) {
        request.remove_header(name);
    }
}

/// The same, where the route's edits come after it and may change it.
fn introduce_as_fields(request: &mut RequestHeader, exchange: &Exchange) -> Result<()> {
    forwarding(request, exchange)?;
    request.append_header(header::VIA, VIA)?;
    request.insert_header(X_REQUEST_ID, exchange.request_id.clone())
}

/// Takes out what a stranger, or an application that reads `_` as `-`, would take for our word.
fn unmask(request: &mut RequestHeader, exchange: &Exchange) {
    let trusted = &exchange.snapshot.plan().trusted_proxies;
    let peer = exchange.arrival.as_ref().and_then(|arrival| arrival.peer.ip());
    for name in impostors(&request.headers, peer.is_some_and(|peer| is_trusted(trusted, &peer))) {
        request.remove_header(&name);
    }
}

/// HTTP/1.0 may name no host; the HTTP/1.1 that it is forwarded in must (RFC 9112, section 3.2).
fn name_host(request: &mut RequestHeader, exchange: &Exchange) -> Result<()> {
    match &exchange.present {
        Some(present) if !request.headers.contains_key(header::HOST) => {
            request.insert_header(header::HOST, present.lease.endpoint().name().as_bytes())
        }
        _ => Ok(()),
    }
}

/// Tells the endpoint how much time is left, where it wants to know or the client has said.
fn hurry(request: &mut RequestHeader, exchange: &Exchange) -> Result<()> {
    let Some(forward) = exchange.forward() else { return Ok(()) };
    if forward.deadline_header.is_none() && exchange.given_up.is_none() {
        return Ok(());
    }
    let left = exchange.left();
    if request.headers.contains_key(GRPC_TIMEOUT) && exchange.given_up.is_some() {
        request.insert_header(GRPC_TIMEOUT, write_grpc_timeout(left))?;
    }
    match &forward.deadline_header {
        Some(name) => {
            let attempt = forward.retry.per_try.unwrap_or(left).min(forward.timeouts.response).min(left);
            request.insert_header(name, attempt.as_millis().to_string())
        }
        None => Ok(()),
    }
}

fn rewrite(request: &mut RequestHeader, exchange: &mut Exchange) -> Result<()> {
    let Some(rewrite) = exchange.forward().and_then(|forward| forward.rewrite.as_ref()) else {
        return Ok(());
    };
    let target = match (rewrite.apply(request.uri.path()), request.uri.query()) {
        (Ok(path), Some(query)) => PathAndQuery::try_from(format!("{path}?{query}")).ok(),
        (Ok(path), None) => PathAndQuery::try_from(path).ok(),
        (Err(_), _) => None,
    };
    match target {
        Some(target) => {
            request.set_uri(http::Uri::from(target));
            Ok(())
        }
        None => Err(exchange.fail(Cause::BadRequest, Some("the path cannot be rewritten"))),
    }
}

fn forwarding(request: &mut RequestHeader, exchange: &Exchange) -> Result<()> {
    let Some(arrival) = &exchange.arrival else { return Ok(()) };
    let told = super::arrive::forwarding(arrival, &request.headers, &exchange.snapshot);
    let Forwarding { client: _, scheme: _, x_for, x_proto, x_host, x_port, forwarded } = told;
    request.insert_header(X_FORWARDED_FOR, x_for)?;
    request.insert_header(X_FORWARDED_PROTO, x_proto)?;
    set_or_remove(request, X_FORWARDED_HOST, x_host)?;
    set_or_remove(request, X_FORWARDED_PORT, x_port)?;
    request.insert_header(header::FORWARDED, forwarded)
}

fn set_or_remove(
    request: &mut RequestHeader,
    name: http::HeaderName,
    value: Option<HeaderValue>,
) -> Result<()> {
    match value {
        Some(value) => request.insert_header(name, value),
        None => {
            request.remove_header(&name);
            Ok(())
        }
    }
}

/// A WebSocket handshake keeps its hop-by-hop fields, in one spelling (RFC 6455, section 4.1).
fn upgrade(request: &mut RequestHeader, exchange: &Exchange) -> Result<()> {
    if !exchange.arrival.as_ref().is_some_and(|arrival| arrival.upgrade_websocket) {
        return Ok(());
    }
    request.insert_header(header::CONNECTION, HeaderValue::from_static("Upgrade"))?;
    request.insert_header(header::UPGRADE, HeaderValue::from_static("websocket"))
}

fn edit(request: &mut RequestHeader, edits: &HeaderEdits) -> Result<()> {
    let HeaderEdits { remove, set, add } = edits;
    for name in remove {
        request.remove_header(name);
    }
    for (name, value) in set {
        request.insert_header(name, value)?;
    }
    for (name, value) in add {
        request.append_header(name, value)?;
    }
    Ok(())
}

/// A piece of the body on its way. The answer is waited for from the last one on.
pub(super) fn body(piece: Option<&Bytes>, end: bool, exchange: &mut Exchange) -> Result<()> {
    exchange.body.seen += piece.map_or(0, |piece| piece.len() as u64);
    if exchange.body.most.is_some_and(|most| exchange.body.seen > most) {
        return Err(exchange.fail(Cause::BodyTooLarge, None));
    }
    if end {
        body_is_whole(exchange);
    }
    Ok(())
}

fn body_is_whole(exchange: &mut Exchange) {
    let request = exchange.forward().map(|forward| forward.timeouts.request).unwrap_or_default();
    let now = Instant::now();
    if !exchange.body.whole && exchange.body.seen > 0 {
        exchange.set_deadline(now, request);
    }
    exchange.body.whole = true;
    if let Some(present) = &exchange.present {
        present.call.sent(exchange.deadline(), now);
        if exchange.body.seen > 0 {
            present.lease.sent(now);
        }
    }
}
