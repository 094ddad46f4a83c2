//! Deadlines: the route's over the upstream's, and that the parts fit in the whole.
//!
//! A `connect` of 5 s within a `request` of 2 s is a deadline that never comes. It is no danger, but it is not what
//! whoever wrote it expects; and whoever meets it during an outage has no time for riddles. A part that was left at its
//! default is no riddle: the whole cuts it short.

use crate::config::route::{RouteRetry, RouteTimeouts};
use crate::config::units::{Duration, Unit};
use crate::config::upstream;
use crate::config::{Fault, KeyPath};
use crate::plan::Timeouts;

/// Checks an upstream's own deadlines.
pub fn of_upstream(path: &KeyPath, upstream: &upstream::Upstream, faults: &mut Vec<Fault>) {
    let (connect, pending) = (connect(&upstream.timeouts), pending(upstream));
    let request = upstream.timeouts.request;
    faults.extend(connect.above(request, path.key("timeouts").key("connect")));
    faults.extend(pending.above(request, path.key("limits").key("pending_timeout")));
    let per_try = upstream.retry.per_try_timeout;
    faults.extend(per_try_above(per_try, &upstream.timeouts, path.key("retry").key("per_try_timeout")));
}

/// Checks how long an attempt may take by what a route has changed, of that or of the deadlines around it.
pub fn of_attempt(
    path: &KeyPath,
    own: (Option<&RouteRetry>, Option<&RouteTimeouts>),
    upstream: &upstream::Upstream,
    faults: &mut Vec<Fault>,
) {
    let (retry, timeouts) = own;
    let merged = merge(timeouts, &upstream.timeouts);
    let own_per_try = retry.and_then(|retry| retry.per_try_timeout);
    let changed = |key: fn(&RouteTimeouts) -> Option<Duration>| timeouts.and_then(key).is_some();
    let place = match own_per_try {
        Some(_) => path.key("retry").key("per_try_timeout"),
        None if changed(|own| own.response) => path.key("timeouts").key("response"),
        None if changed(|own| own.request) => path.key("timeouts").key("request"),
        None => return,
    };
    faults.extend(per_try_above(own_per_try.or(upstream.retry.per_try_timeout), &merged, place));
}

/// An attempt that may take longer than it is waited for anyhow.
fn per_try_above(per_try: Option<Duration>, timeouts: &upstream::Timeouts, place: KeyPath) -> Option<Fault> {
    let around = [("response", timeouts.response), ("request", timeouts.request)];
    let per_try = per_try?;
    let (name, length) = around.into_iter().find(|(_, length)| per_try > *length)?;
    let found = format!("per_try_timeout {} above {name} {}", per_try.write(), length.write());
    Some(Fault::new(place, found, format!("per_try_timeout to be no longer than {name}")))
}

/// Overlays the upstream's deadlines with the route's, and checks what the route itself has changed.
pub fn of_route(
    path: &KeyPath,
    own: Option<&RouteTimeouts>,
    upstream: &upstream::Upstream,
    faults: &mut Vec<Fault>,
) -> Timeouts {
    let merged = merge(own, &upstream.timeouts);
    let path = path.key("timeouts");
    let changed = |key: fn(&RouteTimeouts) -> Option<Duration>| own.and_then(key).is_some();
    if changed(|own| own.connect) {
        faults.extend(connect(&merged).above(merged.request, path.key("connect")));
    } else if changed(|own| own.request) {
        faults.extend(connect(&merged).above(merged.request, path.key("request")));
    }
    if changed(|own| own.request) {
        faults.extend(pending(upstream).above(merged.request, path.key("request")));
    }
    plan(&merged)
}

/// A deadline within `request`.
struct Part {
    name: &'static str,
    length: Duration,
    usual: Duration,
}

fn connect(timeouts: &upstream::Timeouts) -> Part {
    Part { name: "connect", length: timeouts.connect, usual: upstream::Timeouts::default().connect }
}

fn pending(upstream: &upstream::Upstream) -> Part {
    let usual = upstream::UpstreamLimits::default().pending_timeout;
    Part { name: "pending_timeout", length: upstream.limits.pending_timeout, usual }
}

impl Part {
    fn above(&self, request: Duration, path: KeyPath) -> Option<Fault> {
        let Part { name, length, usual } = self;
        let found = format!("{name} {} above request {}", length.write(), request.write());
        let is_fault = length > &request && length != usual;
        is_fault.then(|| Fault::new(path, found, format!("{name} to be no longer than request")))
    }
}

fn merge(own: Option<&RouteTimeouts>, upstream: &upstream::Timeouts) -> upstream::Timeouts {
    let RouteTimeouts { connect, response, idle, request, tunnel } = own.copied().unwrap_or_default();
    upstream::Timeouts {
        connect: connect.unwrap_or(upstream.connect),
        response: response.unwrap_or(upstream.response),
        idle: idle.unwrap_or(upstream.idle),
        request: request.unwrap_or(upstream.request),
        tunnel: tunnel.unwrap_or(upstream.tunnel),
    }
}

fn plan(timeouts: &upstream::Timeouts) -> Timeouts {
    let upstream::Timeouts { connect, response, idle, request, tunnel } = timeouts;
    Timeouts {
        connect: connect.as_std(),
        response: response.as_std(),
        idle: idle.as_std(),
        request: request.as_std(),
        tunnel: tunnel.as_std(),
    }
}
