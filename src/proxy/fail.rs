//! Where there is no answer: finding out why, and saying so.
//!
//! This is the one file that turns a failure into a response. If an answer has begun it cannot be taken back; then the
//! connection just ends, and the answer's framing shows that it is not whole (see `suit_version` in [`reply`] for the one
//! that has none).

use bytes::Bytes;
use http::{StatusCode, header};
use pingora::http::ResponseHeader;
use pingora::{Error, ErrorSource, ErrorType, Result};
use pingora_proxy::{FailToProxy, Session};

use super::exchange::{Exchange, Failure};
use super::reply;
use crate::answer::{self, PROBLEM_JSON};
use crate::failure::Cause;
use crate::listen::client::{Extra, Trouble as ClientTrouble};
use crate::upstream::call::Trouble;

/// Answers for a failure, if there is still somebody to answer.
pub(super) async fn answer(session: &mut Session, error: &Error, exchange: &mut Exchange) -> FailToProxy {
    explain(session, exchange, error);
    if exchange.failure.is_none() {
        return FailToProxy { error_code: 0, can_reuse_downstream: false }; // it was answered, and well
    }
    let cause = exchange.failure.as_ref().map_or(Cause::Internal, |failure| failure.cause);
    if !begun(session) && cause != Cause::ClientClosed {
        if exchange.called {
            session.set_keepalive(None); // Pingora does not take the connection back either
        }
        let _ = tell(session, exchange).await; // a client that is gone cannot be told
    }
    FailToProxy { error_code: cause.status().as_u16(), can_reuse_downstream: !exchange.called }
}

/// Notes why, unless that is known, or nothing is wrong: the answer was whole, and only the request's body was not.
pub(super) fn explain(session: &Session, exchange: &mut Exchange, error: &Error) {
    let answered = || exchange.note().and_then(|note| note.trouble()) == Some(ClientTrouble::Superfluous);
    if exchange.failure.is_none() && !answered() {
        let (cause, detail) = diagnose(exchange, error);
        log::debug!("{} {}: {error}", session.req_header().uri, cause.as_str());
        exchange.failure = Some(Failure { cause, detail, allow: None });
    }
}

fn diagnose(exchange: &Exchange, error: &Error) -> (Cause, Option<&'static str>) {
    let client = exchange.note().and_then(|note| note.trouble());
    match (error.esource(), client) {
        // Pingora names no source where it writes an answer of our own
        (ErrorSource::Unset | ErrorSource::Internal, Some(_)) | (ErrorSource::Downstream, _) => {
            return (client_cause(client, error), None);
        }
        _ => {}
    }
    match exchange.report().trouble {
        Some(Trouble::Shortage) => (Cause::ConnectFailed, Some("the proxy has no connections left")),
        Some(Trouble::ConnectFailed) => (Cause::ConnectFailed, None),
        Some(Trouble::ConnectTimeout) => (Cause::UpstreamTimeout, Some("connecting took too long")),
        Some(Trouble::ResponseTimeout) => (Cause::UpstreamTimeout, None),
        Some(Trouble::Stalled) => (Cause::UpstreamTimeout, Some("the transfer stalled")),
        Some(Trouble::ResetBeforeAnswer | Trouble::ResetWithinAnswer) => (Cause::UpstreamReset, None),
        Some(Trouble::Invalid(detail)) => (Cause::UpstreamInvalid, Some(detail)),
        None if *error.esource() == ErrorSource::Upstream => (Cause::UpstreamInvalid, None),
        None => (Cause::Internal, None),
    }
}

fn client_cause(trouble: Option<ClientTrouble>, error: &Error) -> Cause {
    match (trouble, error.etype()) {
        (Some(trouble), _) => trouble.cause(),
        (None, ErrorType::ReadError | ErrorType::WriteError | ErrorType::ConnectionClosed) => {
            Cause::ClientClosed
        }
        (None, _) => Cause::BadRequest, // Pingora found what we had let pass
    }
}

/// A tunnel has begun as much as an answer has: a document would end up among its bytes.
pub(super) fn begun(session: &Session) -> bool {
    let switched = |status| status == StatusCode::SWITCHING_PROTOCOLS;
    let written = session.response_written().map(|written| written.status);
    written.is_some_and(|status| !status.is_informational() || switched(status))
}

async fn tell(session: &mut Session, exchange: &mut Exchange) -> Result<()> {
    let Some(failure) = &exchange.failure else { return Ok(()) };
    let id = exchange.request_id.to_str().unwrap_or("-");
    let body = Bytes::from(answer::problem(failure.cause, failure.detail, id));
    let mut response = ResponseHeader::build(failure.cause.status(), Some(8))?;
    response.insert_header(header::CONTENT_TYPE, PROBLEM_JSON)?;
    response.insert_header(header::CONTENT_LENGTH, body.len())?;
    if let Some(seconds) = failure.cause.retry_after_seconds() {
        response.insert_header(header::RETRY_AFTER, seconds)?;
    }
    if let Some(allow) = &failure.allow {
        response.insert_header(header::ALLOW, allow)?;
    }
    reply::sign(&mut response, exchange)?;
    if let Some(note) = exchange.note() {
        note.add(Extra::default()); // what was meant for an answer that is not given
        note.ends_unseen(false);
    }
    exchange.sent = body.len() as u64;
    reply::write(session, response, body).await
}
