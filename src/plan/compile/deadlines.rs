//! Deadlines: the route's over the upstream's, and that the parts fit in the whole.
//!
//! A `connect` of 5 s within a `request` of 2 s is a deadline that never comes. It is no danger, but it is not what
//! whoever wrote it expects; and whoever meets it during an outage has no time for riddles. A part that was left at its
//! default is no riddle: the whole cuts it short.

use crate::config::route::RouteTimeouts;
use crate::config::units::{Duration, Unit};
use crate::config::upstream;
use crate::config::{Fault, KeyPath};
use crate::plan::Timeouts;

/// Checks an upstream's own deadlines.
pub fn of_upstream(path: &KeyPath, upstream: &upstream::Upstream, faults: &mut Vec<Fault>) {
    let request = upstream.timeouts.request;
    let (connect, pending) = (upstream.timeouts.connect, upstream.limits.pending_timeout);
    let usual = (upstream::Timeouts::default().connect, upstream::UpstreamLimits::default().pending_timeout);
    if connect != usual.0 {
        faults.extend(exceeds("connect", connect, request, path.key("timeouts").key("connect")));
    }
    if pending != usual.1 {
        faults.extend(exceeds("pending_timeout", pending, request, path.key("limits").key("pending_timeout")));
    }
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
        faults.extend(exceeds("connect", merged.connect, merged.request, path.key("connect")));
    } else if changed(|own| own.request) && merged.connect != upstream::Timeouts::default().connect {
        faults.extend(exceeds("connect", merged.connect, merged.request, path.key("request")));
    }
    let usual = upstream::UpstreamLimits::default().pending_timeout;
    if changed(|own| own.request) && upstream.limits.pending_timeout != usual {
        let pending = upstream.limits.pending_timeout;
        faults.extend(exceeds("pending_timeout", pending, merged.request, path.key("request")));
    }
    plan(&merged)
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

/// A part that is longer than the whole never ends by itself.
fn exceeds(name: &str, part: Duration, request: Duration, path: KeyPath) -> Option<Fault> {
    let found = format!("{name} {} above request {}", part.write(), request.write());
    (part > request).then(|| Fault::new(path, found, format!("{name} to be no longer than request")))
}
