//! Upstreams: what is different about each, none of which a client notices.
//!
//! An upstream goes by its name. What is known of its endpoints (health, latencies, idle connections) is of the endpoints,
//! and those that stay keep it, whatever changes around them. How requests are retried and how long they may take is told
//! by the routes, which have the upstream's words and their own in one.

use std::collections::HashMap;
use std::net::SocketAddr;

use crate::balance::{Balance, HashKey};
use crate::config::diagnostic::quoted;
use crate::health::Policy as Health;
use crate::health::ejection::Ejection;
use crate::health::probe::Thresholds;
use crate::limit::adaptive;
use crate::plan::diff::details::{Details, Percent, Told};
use crate::plan::diff::{Change, Cost, Pair, What, by_name, changed};
use crate::plan::{
    Check, CheckKind, Endpoint, HttpCheck, Keepalive, Members, Pattern, Sticky, Upstream, UpstreamLimits,
};
use crate::retry::budget;

/// What becomes of each.
pub fn changes(old: &[Upstream], new: &[Upstream]) -> Vec<Change> {
    let pairs = by_name(old, new, |upstream| &upstream.name);
    let change = |pair| match pair {
        Pair::Both { old, new } => change(old, new),
        Pair::Added(new) => Some(whole(new, What::Added, "its endpoints are checked before it is used")),
        Pair::Removed(old) => Some(whole(old, What::Removed, "requests under way are finished")),
    };
    pairs.into_iter().filter_map(change).collect()
}

fn whole(upstream: &Upstream, what: What, consequence: &str) -> Change {
    Change { place: place(upstream), what, cost: Cost::InPlace, consequence: consequence.to_owned() }
}

fn place(upstream: &Upstream) -> String {
    format!("upstreams.{}", upstream.name)
}

fn change(old: &Upstream, new: &Upstream) -> Option<Change> {
    // The name is what they have in common.
    let Upstream { name: _, members, balance, sticky, check, health, budget, keepalive, limits } = new;
    let mut details = Details::default();
    of_members(&old.members, members, &mut details);
    details.told("balance", &old.balance, balance);
    of_sticky(old.sticky.as_ref(), sticky.as_ref(), &mut details);
    of_check(old.check.as_ref(), check.as_ref(), &mut details);
    of_health(&old.health, health, &mut details);
    of_budget(&old.budget, budget, &mut details);
    of_keepalive(&old.keepalive, keepalive, &mut details);
    of_limits(&old.limits, limits, &mut details);
    let consequence = "what is known of its endpoints is carried over; requests under way end as they began";
    changed(place(new), details, Cost::InPlace, consequence)
}

fn of_members(old: &Members, new: &Members, details: &mut Details) {
    match (old, new) {
        (Members::Fixed(old), Members::Fixed(new)) => of_endpoints(old, new, details),
        (
            Members::Dns { name, port, resolver, refresh },
            Members::Dns { name: new_name, port: new_port, resolver: new_resolver, refresh: new_refresh },
        ) => {
            details.told("discovery.dns", name, new_name);
            details.told("discovery.port", port, new_port);
            details.told("discovery.resolver", resolver, new_resolver);
            details.told("discovery.refresh", refresh, new_refresh);
        }
        (
            Members::Srv { name, resolver, refresh },
            Members::Srv { name: new_name, resolver: new_resolver, refresh: new_refresh },
        ) => {
            details.told("discovery.srv", name, new_name);
            details.told("discovery.resolver", resolver, new_resolver);
            details.told("discovery.refresh", refresh, new_refresh);
        }
        (Members::File { path, refresh }, Members::File { path: new_path, refresh: new_refresh }) => {
            details.told("discovery.file", &path.display().to_string(), &new_path.display().to_string());
            details.told("discovery.refresh", refresh, new_refresh);
        }
        _ => details.told("endpoints", old, new),
    }
}

/// An endpoint goes by its address, of which no two are alike.
fn of_endpoints(old: &[Endpoint], new: &[Endpoint], details: &mut Details) {
    let mut left: HashMap<SocketAddr, &Endpoint> =
        old.iter().map(|endpoint| (endpoint.address, endpoint)).collect();
    let before = details.len();
    for endpoint in new {
        match left.remove(&endpoint.address) {
            Some(old) => of_endpoint(old, endpoint, details),
            None => details.line(format!("{} joins", endpoint.address)),
        }
    }
    for endpoint in old.iter().filter(|endpoint| left.contains_key(&endpoint.address)) {
        details.line(format!("{} leaves", endpoint.address));
    }
    if details.len() == before && old != new {
        details.line("endpoints in another order".to_owned());
    }
}

fn of_endpoint(old: &Endpoint, new: &Endpoint, details: &mut Details) {
    let Endpoint { address, weight, tier, drained } = new;
    details.told(&format!("{address} weight"), &old.weight, weight);
    details.told(&format!("{address} tier"), &old.tier, tier);
    details.told(&format!("{address} drain"), &old.drained, drained);
}

fn of_sticky(old: Option<&Sticky>, new: Option<&Sticky>, details: &mut Details) {
    let (Some(old), Some(new)) = (old, new) else {
        let name = |sticky: Option<&Sticky>| sticky.map(|sticky| sticky.name.clone());
        return details.told("sticky_cookie", &name(old), &name(new));
    };
    let Sticky { name, secret, ttl } = new;
    details.told("sticky_cookie.name", &old.name, name);
    details.named("sticky_cookie.secret", &old.secret, secret);
    details.told("sticky_cookie.ttl", &old.ttl, ttl);
}

fn of_check(old: Option<&Check>, new: Option<&Check>, details: &mut Details) {
    let kind = |check: Option<&Check>| check.map(|check| kind(&check.kind));
    details.told("health_check", &kind(old), &kind(new));
    let (Some(old), Some(new)) = (old, new) else { return };
    let Check { kind, port, interval, timeout } = new;
    match (&old.kind, kind) {
        (CheckKind::Http(old), CheckKind::Http(new)) => of_http_check(old, new, details),
        (CheckKind::Grpc { service }, CheckKind::Grpc { service: new }) => {
            details.told("health_check.grpc.service", service, new);
        }
        // There is no more to the kind itself than was told.
        (CheckKind::Http(_) | CheckKind::Tcp | CheckKind::Grpc { .. }, _) => {}
    }
    details.told("health_check.port", &old.port, port);
    details.told("health_check.interval", &old.interval, interval);
    details.told("health_check.timeout", &old.timeout, timeout);
}

fn kind(kind: &CheckKind) -> &'static str {
    match kind {
        CheckKind::Http(_) => "http",
        CheckKind::Tcp => "tcp",
        CheckKind::Grpc { service: _ } => "grpc",
    }
}

fn of_http_check(old: &HttpCheck, new: &HttpCheck, details: &mut Details) {
    let HttpCheck { method, path, host, headers, expect, contains, matches } = new;
    details.told("health_check.http.method", &old.method, method);
    details.told("health_check.http.path", &old.path, path);
    details.told("health_check.http.host", &old.host, host);
    details.named("health_check.http.headers", &old.headers, headers);
    details.told("health_check.http.expect", &statuses(&old.expect), &statuses(expect));
    details.named("health_check.http.body_contains", &old.contains, contains);
    details.told("health_check.http.body_matches", &old.matches, matches);
}

fn statuses(expect: &[(u16, u16)]) -> Vec<String> {
    let range = |&(first, last): &(u16, u16)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    expect.iter().map(range).collect()
}

fn of_health(old: &Health, new: &Health, details: &mut Details) {
    let Health { checks, ejection, slow_start, panic_percent } = new;
    // Where there are checks on one side only, that was told.
    if let (Some(old), Some(new)) = (&old.checks, checks) {
        let Thresholds { healthy, unhealthy } = new;
        details.told("health_check.healthy_threshold", &old.healthy, healthy);
        details.told("health_check.unhealthy_threshold", &old.unhealthy, unhealthy);
    }
    of_ejection(&old.ejection, ejection, details);
    details.told("slow_start", &old.slow_start, slow_start);
    details.told("panic_threshold", &Percent(old.panic_percent), &Percent(*panic_percent));
}

fn of_ejection(old: &Ejection, new: &Ejection, details: &mut Details) {
    let Ejection { consecutive_failures, failure_percent, window, min_requests, latency, base, max_percent } =
        new;
    details.told("ejection.consecutive_failures", &old.consecutive_failures, consecutive_failures);
    details.told("ejection.failure_ratio", &Percent(old.failure_percent), &Percent(*failure_percent));
    details.told("ejection.window", &old.window, window);
    details.told("ejection.min_requests", &old.min_requests, min_requests);
    details.told("ejection.latency", &old.latency, latency);
    details.told("ejection.for", &old.base, base);
    details.told("ejection.max_ejected", &Percent(old.max_percent), &Percent(*max_percent));
}

fn of_budget(old: &budget::Policy, new: &budget::Policy, details: &mut Details) {
    let budget::Policy { percent, min_per_second } = new;
    details.told("retry.budget.ratio", &Percent(old.percent), &Percent(*percent));
    details.told("retry.budget.min_per_second", &old.min_per_second, min_per_second);
}

fn of_keepalive(old: &Keepalive, new: &Keepalive, details: &mut Details) {
    let Keepalive { idle, connections } = new;
    details.told("keepalive.idle", &old.idle, idle);
    details.told("keepalive.connections", &old.connections, connections);
}

fn of_limits(old: &UpstreamLimits, new: &UpstreamLimits, details: &mut Details) {
    let UpstreamLimits { connections, requests, pending, pending_timeout, adaptive } = new;
    details.told("limits.connections", &old.connections, connections);
    details.told("limits.requests", &old.requests, requests);
    details.told("limits.pending", &old.pending, pending);
    details.told("limits.pending_timeout", &old.pending_timeout, pending_timeout);
    of_adaptive(old.adaptive, *adaptive, details);
}

fn of_adaptive(old: Option<adaptive::Policy>, new: Option<adaptive::Policy>, details: &mut Details) {
    details.told("limits.adaptive", &old.is_some(), &new.is_some());
    let (Some(old), Some(new)) = (old, new) else { return };
    // The most follows from connections and requests.
    let adaptive::Policy { min, start, max: _ } = new;
    details.told("limits.adaptive.min", &old.min, &min);
    details.told("limits.adaptive.start", &old.start, &start);
}

impl Told for Members {
    fn told(&self) -> String {
        match self {
            Members::Fixed(endpoints) => endpoints.iter().map(|e| e.address).collect::<Vec<_>>().told(),
            Members::Dns { name, port, .. } => format!("by discovery.dns {name} port {port}"),
            Members::Srv { name, .. } => format!("by discovery.srv {name}"),
            Members::File { path, .. } => format!("by discovery.file {}", path.display()),
        }
    }
}

impl Told for Balance {
    fn told(&self) -> String {
        match self {
            Balance::RoundRobin => "round_robin".to_owned(),
            Balance::Random => "random".to_owned(),
            Balance::LeastRequests => "least_requests".to_owned(),
            Balance::Ewma => "ewma".to_owned(),
            Balance::Hash(HashKey::Header(name)) => format!("hash of header {name}"),
            Balance::Hash(HashKey::Cookie(name)) => format!("hash of cookie {name}"),
            Balance::Hash(HashKey::Query(name)) => format!("hash of query {name}"),
            Balance::Hash(HashKey::ClientIp) => "hash of client_ip".to_owned(),
            Balance::Hash(HashKey::Path) => "hash of path".to_owned(),
        }
    }
}

impl Told for Pattern {
    fn told(&self) -> String {
        quoted(self.0.as_str())
    }
}
