//! One attempt at an upstream: whom to call, and whether to call again.

use std::sync::Arc;

use http::Method;
use pingora::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy};
use pingora::{BError, ErrorSource, Result};
use pingora_proxy::Session;

use super::exchange::{Exchange, Present};
use crate::balance::Tried;
use crate::clock::Instant;
use crate::failure::Cause;
use crate::hygiene::response_head::Asked;
use crate::observe::metrics::Outcome;
use crate::retry::{self, Failed, Reached, Verdict};
use crate::upstream::Lease;
use crate::upstream::call::{Call, Dial, Terms, Trouble};

/// Chooses an endpoint and prepares the call.
pub(super) fn begin(session: &Session, exchange: &mut Exchange) -> Result<Box<HttpPeer>> {
    exchange.called = true;
    let Some(lease) = pick(exchange) else {
        return Err(exchange.fail(Cause::NoEndpoint, None));
    };
    let Some(terms) = terms(session, exchange) else {
        return Err(exchange.fail(Cause::Internal, None));
    };
    let Some(upstream) = exchange.upstream() else {
        return Err(exchange.fail(Cause::Internal, None));
    };
    let call = Call::new(upstream, lease.endpoint().clone(), terms);
    let peer = peer(&lease, &call);
    exchange.tried.insert(lease.index());

    exchange.body.seen = 0; // a body is sent from its beginning
    exchange.present = Some(Present { call, lease, began: Instant::now() });
    Ok(peer)
}

/// An endpoint that was not tried yet; failing that any, for a second call over a fresh connection.
fn pick(exchange: &Exchange) -> Option<Lease> {
    let upstream = exchange.upstream()?;
    upstream.pick(&exchange.tried).or_else(|| upstream.pick(&Tried::default()))
}

fn terms(session: &Session, exchange: &Exchange) -> Option<Terms> {
    let asked = Asked {
        head_method: session.req_header().method == Method::HEAD,
        upgrade: exchange.arrival.as_ref()?.upgrade_websocket,
    };
    let forward = exchange.forward()?;
    Some(Terms {
        asked,
        timeouts: forward.timeouts.clone(),
        repeatable: session.req_header().method.is_idempotent() && forward.retry.attempts > 1,
        deadline: exchange.deadline,
        fresh: exchange.attempts.iter().any(|attempt| attempt.outcome == Outcome::Reset),
    })
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

/// An attempt has failed. The error says to Pingora whether there is another.
pub(super) fn failed(session: &mut Session, exchange: &mut Exchange, mut error: BError) -> BError {
    let ours = *error.esource() == ErrorSource::Upstream && exchange.failure.is_none();
    let again = ours && is_made_again(session, exchange);
    if !again {
        super::fail::explain(session, exchange, &error);
    }
    exchange.close_attempt(!ours && exchange.failure.is_some());
    error.set_retry(again);
    error
}

fn is_made_again(session: &Session, exchange: &Exchange) -> bool {
    let Some(failed) = failure(session, exchange) else { return false };
    let verdict = retry::verdict(&failed);
    log::debug!("attempt {} of {}: {:?}, {verdict:?}", failed.made, failed.policy.attempts, failed.reached);
    matches!(verdict, Verdict::Again { .. })
}

fn failure<'e>(session: &Session, exchange: &'e Exchange) -> Option<Failed<'e>> {
    Some(Failed {
        policy: &exchange.forward()?.retry,
        reached: reached(session, exchange),
        idempotent: session.req_header().method.is_idempotent(),
        replayable: !session.as_ref().retry_buffer_truncated(),
        made: exchange.attempts.len() as u32 + 1,
        left: exchange.deadline.saturating_duration_since(Instant::now()),
        others: has_others(exchange)?,
    })
}

fn has_others(exchange: &Exchange) -> Option<bool> {
    let endpoints = exchange.upstream()?.endpoints().len();
    Some((0..endpoints).any(|index| !exchange.tried.contains(index)))
}

fn reached(session: &Session, exchange: &Exchange) -> Reached {
    let begun = session.response_written().is_some_and(|written| !written.status.is_informational());
    match exchange.report().trouble {
        Some(Trouble::ConnectFailed | Trouble::ConnectTimeout) => Reached::Nothing,
        Some(Trouble::ResetBeforeAnswer) if !begun => Reached::Upstream,
        _ => Reached::Answer,
    }
}
