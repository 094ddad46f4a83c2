//! Upstreams and their endpoints.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::config::map::Map;
use crate::config::units::Name;
use crate::config::upstream::{self, Discovery};
use crate::config::{Fault, KeyPath, suggest};
use crate::limit::adaptive;
use crate::plan::compile::{balance, checks, deadlines, headers, retries};
use crate::plan::{Endpoint, Keepalive, Members, Upstream, UpstreamId, UpstreamLimits};

/// Upstreams by name, for the routes that lead to them.
pub struct Directory<'c> {
    upstreams: &'c Map<Name, upstream::Upstream>,
    places: HashMap<&'c str, usize>,
}

impl<'c> Directory<'c> {
    pub fn new(upstreams: &'c Map<Name, upstream::Upstream>) -> Directory<'c> {
        let places = upstreams.iter().enumerate().map(|(place, (name, _))| (name.as_str(), place)).collect();
        Directory { upstreams, places }
    }

    /// An upstream and its place in the plan.
    pub fn find(&self, name: &Name) -> Option<(UpstreamId, &'c upstream::Upstream)> {
        let place = *self.places.get(name.as_str())?;
        Some((UpstreamId(place), &self.upstreams.0[place].1))
    }

    /// What to say when there is none of this name.
    pub fn dangling(&self, path: KeyPath, name: &Name) -> Fault {
        let known: Vec<_> = self.upstreams.iter().map(|(name, _)| name.as_str()).collect();
        let meant = suggest::nearest(name.as_str(), known.iter().copied());
        let expected = match known.as_slice() {
            [] => "the name of an upstream; there are none".to_owned(),
            few if few.len() <= 10 => format!("the name of an upstream: {}", few.join(", ")),
            many => format!("the name of one of the {} upstreams", many.len()),
        };
        Fault::new(path, format!("{name}, which is no upstream"), expected).suggest(meant)
    }
}

/// Every upstream, in the order of the file.
pub fn compile(upstreams: &Map<Name, upstream::Upstream>, faults: &mut Vec<Fault>) -> Vec<Upstream> {
    upstreams.iter().map(|(name, upstream)| plan(name, upstream, faults)).collect()
}

fn plan(name: &Name, upstream: &upstream::Upstream, faults: &mut Vec<Fault>) -> Upstream {
    let upstream::Upstream {
        endpoints,
        discovery,
        balance,
        sticky_cookie,
        health_check,
        ejection,
        slow_start,
        panic_threshold,
        limits,
        retry,
        // Retries, timeouts and the deadline's header are of the routes that lead here: each overlays them with its own.
        timeouts: _,
        deadline_header,
        keepalive,
    } = upstream;
    let path = KeyPath::root().key("upstreams").key(name.as_str());
    deadlines::of_upstream(&path, upstream, faults);
    retries::check_upstream(&path, retry, faults);
    faults.extend(
        deadline_header.as_ref().and_then(|name| headers::not_ours(path.key("deadline_header"), &name.name)),
    );
    Upstream {
        name: name.shared(),
        members: members(&path, endpoints.as_deref(), discovery.as_ref(), faults),
        balance: balance::plan(&path.key("balance"), balance, faults),
        sticky: sticky_cookie.as_ref().map(balance::plan_sticky),
        check: health_check.as_ref().and_then(|check| checks::plan(&path.key("health_check"), check, faults)),
        health: crate::health::Policy {
            checks: health_check.as_ref().map(checks::thresholds),
            ejection: checks::plan_ejection(&path.key("ejection"), ejection, faults),
            slow_start: slow_start.map(|span| span.as_std()),
            panic_percent: panic_threshold.percent(),
        },
        budget: retries::plan_budget(&retry.budget),
        keepalive: plan_keepalive(keepalive),
        limits: plan_limits(&path.key("limits"), limits, faults),
    }
}

/// How long an answer of a name server is believed at most, and how often a file is looked at.
const NAMES_REFRESH: Duration = Duration::from_secs(300);
const FILE_REFRESH: Duration = Duration::from_secs(1);

fn members(
    path: &KeyPath,
    endpoints: Option<&[upstream::Endpoint]>,
    discovery: Option<&Discovery>,
    faults: &mut Vec<Fault>,
) -> Members {
    match (endpoints, discovery) {
        (None, Some(discovery)) => discovered(&path.key("discovery"), discovery, faults),
        (endpoints, _) => {
            Members::Fixed(plan_endpoints(&path.key("endpoints"), endpoints.unwrap_or_default(), faults))
        }
    }
}

fn discovered(path: &KeyPath, discovery: &Discovery, faults: &mut Vec<Fault>) -> Members {
    let Discovery { dns, port, srv, file, resolver, refresh } = discovery;
    let resolver = resolver.map(|resolver| resolver.0);
    let refresh = refresh.map(|refresh| refresh.as_std());
    let mut only_beside = |key: &str, there: bool, here: &str, what: &str| {
        if there {
            let (found, expected) = (format!("this beside {here}"), format!("it beside {what} only"));
            faults.push(Fault::new(path.key(key), found, expected).at_key());
        }
    };
    match (dns, srv, file) {
        (Some(name), _, _) => {
            if port.is_none() {
                faults.push(Fault::new(path.key("port"), "nothing", "a port: the DNS has only addresses"));
            }
            let (name, refresh) = (name.as_str().to_owned(), refresh.unwrap_or(NAMES_REFRESH));
            Members::Dns { name, port: port.unwrap_or_default(), resolver, refresh }
        }
        (_, Some(name), _) => {
            only_beside("port", port.is_some(), "srv", "dns");
            let (name, refresh) = (name.as_str().to_owned(), refresh.unwrap_or(NAMES_REFRESH));
            Members::Srv { name, resolver, refresh }
        }
        (_, _, file) => {
            only_beside("port", port.is_some(), "file", "dns");
            only_beside("resolver", resolver.is_some(), "file", "dns or srv");
            let path = file.as_ref().map(|file| file.0.clone()).unwrap_or_default();
            Members::File { path, refresh: refresh.unwrap_or(FILE_REFRESH) }
        }
    }
}

/// None twice: two entries for one server would count its connections twice.
pub(super) fn plan_endpoints(
    path: &KeyPath,
    endpoints: &[upstream::Endpoint],
    faults: &mut Vec<Fault>,
) -> Vec<Endpoint> {
    let mut seen: HashMap<SocketAddr, usize> = HashMap::new();
    let mut planned = Vec::with_capacity(endpoints.len());
    for (index, endpoint) in endpoints.iter().enumerate() {
        let (address, weight, tier, drained) = endpoint.parts();
        if let Some(first) = seen.insert(address, index) {
            let found = format!("{address} a second time");
            let fault = Fault::new(path.index(index), found, "each endpoint once; give it a weight instead");
            faults.push(fault.elsewhere(path.index(first)));
        }
        planned.push(Endpoint { address, weight, tier, drained });
    }
    planned
}

fn plan_keepalive(keepalive: &upstream::Keepalive) -> Keepalive {
    let upstream::Keepalive { idle, connections } = keepalive;
    Keepalive { idle: idle.as_std(), connections: *connections }
}

fn plan_limits(path: &KeyPath, limits: &upstream::UpstreamLimits, faults: &mut Vec<Fault>) -> UpstreamLimits {
    let upstream::UpstreamLimits { connections, requests, pending, pending_timeout, adaptive } = limits;
    let max = (*requests).min(*connections);
    UpstreamLimits {
        connections: *connections,
        requests: *requests,
        pending: *pending,
        pending_timeout: pending_timeout.as_std(),
        adaptive: adaptive
            .as_ref()
            .map(|adaptive| plan_adaptive(&path.key("adaptive"), adaptive, max, faults)),
    }
}

fn plan_adaptive(
    path: &KeyPath,
    adaptive: &upstream::AdaptiveLimit,
    max: usize,
    faults: &mut Vec<Fault>,
) -> adaptive::Policy {
    let upstream::AdaptiveLimit { min, start } = adaptive;
    let usual = upstream::AdaptiveLimit::default();
    let mut above = |key: &str, number: usize, usual: usize| {
        if number > max && number != usual {
            let found = format!("{number}, above the {max} that requests and connections allow");
            faults.push(Fault::new(path.key(key), found, "no more than that"));
        }
    };
    above("min", *min, usual.min);
    above("start", *start, usual.start);
    if start < min && *min <= max && *start != usual.start {
        faults.push(Fault::new(path.key("start"), format!("{start}, below min"), format!("at least {min}")));
    }
    let min = (*min).min(max);
    adaptive::Policy { min, start: (*start).clamp(min, max), max }
}
