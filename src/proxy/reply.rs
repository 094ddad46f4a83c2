//! The answer as the client gets it.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode, Version, header};
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora_proxy::Session;

use super::arrive::X_REQUEST_ID;
use super::exchange::Exchange;
use crate::answer;
use crate::clock::Instant;
use crate::failure::Cause;
use crate::hygiene::forwarding::Scheme;
use crate::hygiene::hop_by_hop::hop_by_hop;
use crate::hygiene::response_head::Aside;
use crate::listen::client::Extra;
use crate::listen::socket::Peer;
use crate::plan::HeaderEdits;

/// What stands in `Via`, both ways (RFC 9110, section 7.6.3).
pub(super) const VIA: HeaderValue = HeaderValue::from_static(answer::VIA);

/// An upstream's answer on its way to the client.
pub(super) fn response(
    session: &mut Session,
    response: &mut ResponseHeader,
    exchange: &mut Exchange,
) -> Result<()> {
    let upgrade = response.status == StatusCode::SWITCHING_PROTOCOLS;
    if !response.status.is_informational() || upgrade {
        exchange.answered.get_or_insert_with(Instant::now);
        exchange.note().into_iter().for_each(|note| note.begin_answer());
    }
    response.set_version(Version::HTTP_11); // ours, whatever the upstream speaks (RFC 9110, section 2.5)
    let is_plain = !response.status.is_informational() && exchange.report().is_plain;
    if !is_plain {
        strip(response, upgrade);
    }
    if upgrade {
        restore_upgrade(response)?;
        exchange.note().into_iter().for_each(|note| note.upgrade());
    }
    introduce(response, exchange)?;
    suit_version(session, response, exchange)?;
    if exchange.is_draining() {
        session.set_keepalive(None);
    }
    // an interim answer says nothing about the connection, and must not end it because the body is still coming
    session.set_close_on_response_before_downstream_finish(!response.status.is_informational());
    if ends_with_its_head(session, response) {
        answered(exchange);
    }
    Ok(())
}

/// Puts our name and the request's id on an upstream's answer, and has its own date kept.
fn introduce(response: &mut ResponseHeader, exchange: &Exchange) -> Result<()> {
    let edits = exchange.route().map(|route| &route.response_headers);
    let plain = edits.is_none_or(HeaderEdits::is_empty) && !response.status.is_informational();
    let Aside { mut lines, date } = aside(response, exchange);
    if plain {
        sign_on_the_wire(&mut lines, response, exchange);
    }
    if let Some(cookie) = pin(exchange).filter(|_| !response.status.is_informational()) {
        response.append_header(header::SET_COOKIE, cookie)?;
    }
    if !plain {
        sign(response, exchange)?;
        edits.map_or(Ok(()), |edits| edit(response, edits))?;
    }
    if let Some(note) = exchange.note().filter(|_| !response.status.is_informational()) {
        note.add(Extra { lines, date });
    }
    Ok(())
}

/// What was set aside of the answer; where nothing was, its date is among its fields.
fn aside(response: &ResponseHeader, exchange: &Exchange) -> Aside {
    let aside = || exchange.present.as_ref()?.call.take_aside();
    let final_aside = if response.status.is_informational() { None } else { aside() };
    let date = || response.headers.get(header::DATE).cloned();
    final_aside.unwrap_or_else(|| Aside { lines: Vec::new(), date: date() })
}

/// The cookie for a client that was not sent where its own one says, or has none.
fn pin(exchange: &Exchange) -> Option<HeaderValue> {
    let (upstream, lease) = (exchange.upstream()?, &exchange.present.as_ref()?.lease);
    let sticky = upstream.sticky().filter(|_| exchange.pinned != Some(lease.seat()))?;
    let secure = exchange.told.as_ref().is_some_and(|told| told.scheme == Scheme::Https);
    sticky.set_cookie(upstream.name(), lease.endpoint().address(), secure)
}

/// Counts what the client is sent.
pub(super) fn body(body: Option<&Bytes>, end: bool, exchange: &mut Exchange) {
    exchange.sent += body.map_or(0, |bytes| bytes.len() as u64);
    if end {
        answered(exchange);
    }
}

/// An answer that is whole before the request's body is: what still comes of the body is of no use to anybody.
fn answered(exchange: &Exchange) {
    if let Some(note) = exchange.note() {
        note.answer();
        note.ends_unseen(false);
    }
}

fn ends_with_its_head(session: &Session, response: &ResponseHeader) -> bool {
    let empty = || response.headers.get(header::CONTENT_LENGTH).is_some_and(|length| length == "0");
    let bodiless = matches!(response.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    !response.status.is_informational()
        && (bodiless || session.req_header().method == Method::HEAD || empty())
}

/// Takes out what was meant for us. `Transfer-Encoding` stays, for it tells Pingora how to frame what it sends, and so
/// does `Connection` where Pingora writes its own over it.
fn strip(response: &mut ResponseHeader, upgrade: bool) {
    for name in hop_by_hop(&response.headers) {
        let overwritten = name == header::CONNECTION && !response.status.is_informational();
        if upgrade || !(overwritten || name == header::TRANSFER_ENCODING) {
            response.remove_header(&name);
        }
    }
}

fn restore_upgrade(response: &mut ResponseHeader) -> Result<()> {
    response.insert_header(header::CONNECTION, HeaderValue::from_static("Upgrade"))?;
    response.insert_header(header::UPGRADE, HeaderValue::from_static("websocket"))
}

/// Puts our name and the request's id on an answer.
pub(super) fn sign(response: &mut ResponseHeader, exchange: &Exchange) -> Result<()> {
    response.append_header(header::VIA, VIA)?;
    response.insert_header(X_REQUEST_ID, exchange.request_id.clone())
}

/// The same where no edit of the route depends on it: straight onto the wire.
fn sign_on_the_wire(lines: &mut Vec<u8>, response: &mut ResponseHeader, exchange: &Exchange) {
    if response.headers.contains_key(X_REQUEST_ID) {
        response.remove_header(&X_REQUEST_ID);
    }
    let id = exchange.request_id.as_bytes();
    for piece in [b"Via: ", answer::VIA.as_bytes(), b"\r\nX-Request-Id: ", id, b"\r\n"] {
        lines.extend_from_slice(piece);
    }
}

/// What the route wants changed.
pub(super) fn edit(response: &mut ResponseHeader, edits: &HeaderEdits) -> Result<()> {
    let HeaderEdits { remove, set, add } = edits;
    remove.iter().for_each(|name: &HeaderName| {
        response.remove_header(name);
    });
    for (name, value) in set {
        response.insert_header(name, value)?;
    }
    for (name, value) in add {
        response.append_header(name, value)?;
    }
    Ok(())
}

/// HTTP/1.0 knows no chunks (RFC 9112, section 6.1): there an answer of unknown length ends with the connection, and one
/// that was cut off with a reset. A unix socket has no reset, so a cut-off answer would look whole.
fn suit_version(session: &mut Session, response: &mut ResponseHeader, exchange: &mut Exchange) -> Result<()> {
    let old = session.req_header().version == Version::HTTP_10;
    if !old || response.remove_header(&header::TRANSFER_ENCODING).is_none() {
        return Ok(());
    }
    if exchange.arrival.as_ref().is_some_and(|arrival| arrival.peer == Peer::Unix) {
        let detail = "an answer of unknown length needs HTTP/1.1 on a unix socket";
        return Err(exchange.fail(Cause::VersionNotSupported, Some(detail)));
    }
    session.set_keepalive(None);
    if let Some(note) = exchange.note() {
        note.ends_unseen(true); // until it is whole
    }
    Ok(())
}

/// Sends an answer of our own.
pub(super) async fn write(session: &mut Session, response: ResponseHeader, body: Bytes) -> Result<()> {
    let bodiless = body.is_empty() || session.req_header().method == Method::HEAD;
    session.write_response_header(Box::new(response), bodiless).await?;
    if !bodiless {
        session.write_response_body(Some(body), true).await?;
    }
    Ok(())
}
