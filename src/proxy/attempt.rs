//! One attempt at an upstream: whom to call, and whether to call again.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, Method, StatusCode};
use pingora::http::ResponseHeader;
use pingora::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy};
use pingora::{BError, Error, ErrorSource, ErrorType, Result};
use pingora_proxy::Session;

use super::arrive::gone;
use super::exchange::{Exchange, Pause, Present};
use crate::balance::Tried;
use crate::clock::{Duration, Instant};
use crate::failure::Cause;
use crate::hygiene::framing::Framing;
use crate::hygiene::hop_by_hop::hop_by_hop;
use crate::hygiene::response_head::Asked;
use crate::limits;
use crate::observe::metrics::Outcome;
use crate::plan::{HeaderEdits, Route, Timeouts};
use crate::retry::{self, Failed, Next, Reached};
use crate::roster::Wanted;
use crate::upstream::call::{Call, Dial, Terms, Trouble};
use crate::upstream::{Lease, Unrevived, Upstream};

/// A client's word that the request may be carried out once only, however often it comes
/// (draft-ietf-httpapi-idempotency-key-header).
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Chooses an endpoint and prepares the call; first waits, where that is needed.
pub(super) async fn begin(session: &mut Session, exchange: &mut Exchange) -> Result<Box<HttpPeer>> {
    exchange.called = true;
    let now = Instant::now();
    let (lease, began) = match at_once(session, exchange, now) {
        Some(lease) => (lease, now),
        // boxed, so that the usual request does not carry its state
        None => (Box::pin(later(session, exchange)).await?, Instant::now()),
    };
    let Some(terms) = terms(session, exchange, began) else {
        return Err(exchange.fail(Cause::Internal, None));
    };
    let call = Call::new(lease.endpoint().clone(), terms);
    let peer = peer(&lease, &call);
    exchange.tried.insert(lease.seat().slot);

    exchange.body.seen = 0; // a body is sent from its beginning
    exchange.present = Some(Present { call, lease, began, answer: None, rejected: false });
    Ok(peer)
}

/// An endpoint for a request that need not wait.
fn at_once(session: &mut Session, exchange: &Exchange, now: Instant) -> Option<Lease> {
    let upstream = exchange.upstream().filter(|_| exchange.pause == Pause::Nothing)?;
    pick(session, exchange, upstream, now)
}

/// An endpoint for one that does.
async fn later(session: &mut Session, exchange: &mut Exchange) -> Result<Lease> {
    pause(session, exchange).await?;
    find(session, exchange).await
}

/// What the last attempt has left to wait for.
async fn pause(session: &mut Session, exchange: &mut Exchange) -> Result<()> {
    match std::mem::replace(&mut exchange.pause, Pause::Nothing) {
        Pause::Nothing => Ok(()),
        Pause::Revival { since } => revival(session, exchange, since).await,
        Pause::Time(wait) => tokio::select! {
            () = tokio::time::sleep(wait) => Ok(()),
            () = gone(session) => Err(exchange.fail(Cause::ClientClosed, None)),
        },
    }
}

/// An endpoint that was not tried yet; failing that any, for a second call over a fresh connection; failing that the
/// first that comes back.
async fn find(session: &mut Session, exchange: &mut Exchange) -> Result<Lease> {
    loop {
        let Some(upstream) = exchange.upstream().cloned() else {
            return Err(exchange.fail(Cause::Internal, None));
        };
        let since = upstream.revivals(); // before the look, so that none is missed
        if let Some(lease) = pick(session, exchange, &upstream, Instant::now()) {
            return Ok(lease);
        }
        if !exchange.tried.is_empty() {
            exchange.tried = Tried::default();
            continue;
        }
        revival(session, exchange, since).await?;
    }
}

fn pick(session: &mut Session, exchange: &Exchange, upstream: &Arc<Upstream>, now: Instant) -> Option<Lease> {
    let careful = !exchange.attempts.is_empty() || !is_idempotent(session, exchange);
    let wanted = Wanted {
        tried: &exchange.tried,
        key: exchange.key.as_deref(),
        pinned: exchange.pinned,
        careful,
        bodiless: session.is_body_empty(),
    };
    upstream.pick(&wanted, now)
}

/// Waits for an endpoint to come back, if none has since. Whoever comes here may be sent to one, by the verdict or because
/// it was sent to none so far.
async fn revival(session: &mut Session, exchange: &mut Exchange, since: u64) -> Result<()> {
    let Some(upstream) = exchange.upstream().cloned() else {
        return Err(exchange.fail(Cause::Internal, None));
    };
    let longest = upstream.patience().min(exchange.left());
    let until = *exchange.wait_until.get_or_insert_with(|| Instant::now() + longest);
    let began = Instant::now();
    let revived = tokio::select! {
        biased;
        revived = upstream.revival(since, until) => revived,
        () = gone(session) => return Err(exchange.fail(Cause::ClientClosed, None)),
    };
    exchange.queued = Some(exchange.queued.unwrap_or_default() + began.elapsed());
    match revived {
        Ok(()) => {
            exchange.start_afresh();
            Ok(())
        }
        Err(Unrevived::QueueFull) => {
            Err(nobody(exchange, Some("too many requests are waiting for a server")))
        }
        Err(Unrevived::TimeOver) => Err(nobody(exchange, None)),
    }
}

/// What the last attempt has met, if there was one.
fn nobody(exchange: &mut Exchange, detail: Option<&'static str>) -> BError {
    let cause = match exchange.attempts.last().map(|attempt| attempt.outcome) {
        Some(Outcome::ConnectFailed) => Cause::ConnectFailed,
        Some(Outcome::Timeout) => Cause::UpstreamTimeout,
        Some(Outcome::Reset) => Cause::UpstreamReset,
        _ => Cause::NoEndpoint,
    };
    exchange.fail(cause, detail)
}

fn terms(session: &Session, exchange: &Exchange, began: Instant) -> Option<Terms> {
    let asked = Asked {
        head_method: session.req_header().method == Method::HEAD,
        upgrade: exchange.arrival.as_ref()?.upgrade_websocket,
    };
    let forward = exchange.forward()?;
    let response = forward
        .retry
        .per_try
        .map_or(forward.timeouts.response, |per_try| per_try.min(forward.timeouts.response));
    let again = forward.retry.when.reset && exchange.delivered() + 1 < forward.retry.attempts;
    Some(Terms {
        asked,
        timeouts: Timeouts { response, ..forward.timeouts.clone() },
        sets_aside: exchange.route().is_some_and(|route| route.response_headers.is_empty()),
        repeatable: again && is_idempotent(session, exchange) && is_kept(exchange),
        began,
        deadline: exchange.deadline(),
        fresh: exchange.attempts.iter().any(|attempt| attempt.outcome == Outcome::Reset),
    })
}

/// Whether the body, if there is one, will surely still be in memory when a connection turns out to be closed.
fn is_kept(exchange: &Exchange) -> bool {
    match exchange.arrival.as_ref().map(|arrival| arrival.framing) {
        Some(Framing::None) => true,
        Some(Framing::Length(length)) => length <= limits::REPLAY_BYTES,
        Some(Framing::Chunked) | None => false,
    }
}

/// RFC 9110, section 9.2.2, or the client's and the operator's word.
fn is_idempotent(session: &Session, exchange: &Exchange) -> bool {
    let request = session.req_header();
    let keyed = || {
        exchange.forward().is_some_and(|forward| forward.retry.idempotency_key)
            && carries_key(&request.headers, exchange.route())
    };
    request.method.is_idempotent() || keyed()
}

/// What counts is what the endpoint gets: one key, which is neither the connection's own nor taken out by the route.
fn carries_key(headers: &HeaderMap, route: Option<&Route>) -> bool {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    let one = keys.next().is_some_and(|key| !key.is_empty()) && keys.next().is_none();
    let edited = route.is_some_and(|route| {
        let HeaderEdits { remove, set, add } = &route.request_headers;
        let named = set.iter().chain(add).map(|(name, _)| name);
        remove.iter().chain(named).any(|name| *name == IDEMPOTENCY_KEY)
    });
    one && !edited && !hop_by_hop(headers).contains(&IDEMPOTENCY_KEY)
}

/// Pingora's view of an endpoint. Its own time-outs, pool and header policy stay unused: the call has ours.
fn peer(lease: &Lease, call: &Arc<Call>) -> Box<HttpPeer> {
    let mut peer = Box::new(HttpPeer::new(lease.endpoint().address(), false, String::new()));
    peer.options.custom_l4 = Some(Arc::new(Dial(call.clone())));
    peer.options.http_upstream_request_policy = HttpUpstreamRequestPolicy::preserve();
    peer
}

/// There is a connection: a client that waits for a 100 may send its body now (RFC 9110, section 10.1.1).
pub(super) async fn connected(session: &mut Session, exchange: &mut Exchange) -> Result<()> {
    let expected = exchange.arrival.as_ref().is_some_and(|arrival| arrival.expects_continue);
    if !expected || exchange.continued {
        return Ok(());
    }
    exchange.continued = true;
    session.set_close_on_response_before_downstream_finish(false); // it is no answer yet
    session.write_continue_response().await
}

/// The head of an answer is here, and nothing of it has reached the client.
///
/// # Errors
///
/// One that says to Pingora that another endpoint is asked for a better one.
pub(super) fn answered(session: &Session, response: &ResponseHeader, exchange: &mut Exchange) -> Result<()> {
    let upgrade = response.status == StatusCode::SWITCHING_PROTOCOLS;
    if response.status.is_informational() && !upgrade {
        return Ok(());
    }
    let status = response.status.as_u16();
    let Some(present) = &mut exchange.present else { return Ok(()) };
    let (latency, first) = latency(present);
    present.answer = Some((status, latency));
    present.lease.spoke(latency, first);
    if status < 500 {
        exchange.permit.iter().for_each(|permit| permit.answered(latency)); // a failure can be quick where all else is slow
    }
    let retried = exchange.forward().is_some_and(|forward| forward.retry.when.statuses.contains(&status));
    if !(retried && is_made_again(session, exchange, Reached::Status(status))) {
        exchange.answered.get_or_insert(first);
        return Ok(());
    }
    exchange.present.iter_mut().for_each(|present| present.rejected = true);
    let mut error = Error::explain(ErrorType::HTTPStatus(status), "another endpoint is asked").into_up();
    error.set_retry(true);
    Err(error)
}

/// From the request's last byte to the answer's first, and when that was.
fn latency(present: &Present) -> (Duration, Instant) {
    let report = present.call.report();
    let sent = report.sent.unwrap_or(present.began);
    let first = report.first_byte.unwrap_or_else(Instant::now);
    (first.saturating_duration_since(sent), first)
}

/// An attempt has failed. The error says to Pingora whether there is another.
pub(super) fn failed(session: &mut Session, exchange: &mut Exchange, mut error: BError) -> BError {
    let rejected = exchange.present.as_ref().is_some_and(|present| present.rejected);
    let ours = *error.esource() == ErrorSource::Upstream && exchange.failure.is_none();
    let reach = reached(exchange.report().trouble, super::fail::begun(session));
    let again = rejected || (ours && is_made_again(session, exchange, reach));
    if !again {
        super::fail::explain(session, exchange, &error);
    }
    exchange.close_attempt(!ours && exchange.failure.is_some(), Instant::now());
    error.set_retry(again);
    error
}

/// Decides, and prepares what comes before the next attempt.
fn is_made_again(session: &Session, exchange: &mut Exchange, reached: Reached) -> bool {
    if exchange.attempts.len() + 1 >= limits::ATTEMPTS_IN_ALL {
        return false;
    }
    let since = exchange.upstream().map_or(0, |upstream| upstream.revivals()); // before the look at who is left
    let Some(failed) = failure(session, exchange, reached) else { return false };
    let withdraw = || exchange.upstream().is_some_and(|upstream| upstream.may_retry());
    let next = retry::next(&failed, withdraw, fastrand::f64());
    log::debug!("attempt {} of {}: {reached:?}, {next:?}", failed.made, failed.policy.attempts);
    let pause = match next {
        Next::Now => Some(Pause::Nothing),
        Next::After(wait) => Some(Pause::Time(wait)),
        Next::Wait => may_wait(exchange).then_some(Pause::Revival { since }),
        Next::Enough(_) => None,
    };
    exchange.pause = pause.unwrap_or(Pause::Nothing);
    pause.is_some()
}

fn may_wait(exchange: &Exchange) -> bool {
    exchange.wait_until.is_none_or(|until| Instant::now() < until)
}

fn failure<'e>(session: &Session, exchange: &'e Exchange, reached: Reached) -> Option<Failed<'e>> {
    Some(Failed {
        policy: &exchange.forward()?.retry,
        reached,
        idempotent: is_idempotent(session, exchange),
        replayable: !session.as_ref().retry_buffer_truncated(),
        made: u32::try_from(exchange.attempts.len() + 1 - exchange.made_before).unwrap_or(u32::MAX),
        delivered: exchange.delivered() + u32::from(reached != Reached::Nothing),
        left: exchange.left(),
        others: exchange.upstream()?.has_others(&exchange.tried),
    })
}

/// How far an attempt came that met this trouble; `begun`: something of an answer has reached the client.
fn reached(trouble: Option<Trouble>, begun: bool) -> Reached {
    match trouble {
        Some(trouble) if trouble.is_before_sending() => Reached::Nothing,
        _ if begun => Reached::Answer,
        Some(Trouble::ResponseTimeout) => Reached::Silence,
        Some(Trouble::Invalid(_)) => Reached::Nonsense,
        Some(_) => Reached::Upstream, // also what came of an answer, if none of it has reached the client
        None => Reached::Answer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_an_attempt_came() {
        let cases = [
            (Some(Trouble::Shortage), Reached::Nothing, Reached::Nothing),
            (Some(Trouble::ConnectFailed), Reached::Nothing, Reached::Nothing),
            (Some(Trouble::ConnectTimeout), Reached::Nothing, Reached::Nothing),
            (Some(Trouble::ResponseTimeout), Reached::Silence, Reached::Answer),
            (Some(Trouble::Stalled), Reached::Upstream, Reached::Answer),
            (Some(Trouble::ResetBeforeAnswer), Reached::Upstream, Reached::Answer),
            (Some(Trouble::ResetWithinAnswer), Reached::Upstream, Reached::Answer),
            (Some(Trouble::Invalid("x")), Reached::Nonsense, Reached::Answer),
            (None, Reached::Answer, Reached::Answer), // whatever it was, nobody can say that it was harmless
        ];
        for (trouble, before, after) in cases {
            assert_eq!((reached(trouble, false), reached(trouble, true)), (before, after), "{trouble:?}");
        }
    }
}
