//! Upstreams and their endpoints.

use std::collections::HashMap;

use crate::balance;
use crate::config::map::Map;
use crate::config::units::{EndpointAddress, Name};
use crate::config::upstream::{self, Balance, WeightedEndpoint};
use crate::config::{Fault, KeyPath, suggest};
use crate::plan::compile::deadlines;
use crate::plan::{Endpoint, Keepalive, Upstream, UpstreamId, UpstreamLimits};

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
    // Retry and timeouts are of the routes that lead here: each overlays them with its own.
    let upstream::Upstream { endpoints, balance, limits, retry: _, timeouts: _, keepalive } = upstream;
    let path = KeyPath::root().key("upstreams").key(name.as_str());
    deadlines::of_upstream(&path, upstream, faults);
    Upstream {
        name: name.shared(),
        endpoints: plan_endpoints(&path.key("endpoints"), endpoints, faults),
        balance: plan_balance(*balance),
        keepalive: plan_keepalive(keepalive),
        limits: plan_limits(limits),
    }
}

/// At least one, none twice: two entries for one server would count its connections twice.
fn plan_endpoints(
    path: &KeyPath,
    endpoints: &[upstream::Endpoint],
    faults: &mut Vec<Fault>,
) -> Vec<Endpoint> {
    let mut seen: HashMap<EndpointAddress, usize> = HashMap::new();
    let mut planned = Vec::with_capacity(endpoints.len());
    for (index, endpoint) in endpoints.iter().enumerate() {
        let (address, weight) = match endpoint {
            upstream::Endpoint::Plain(address) => (*address, 1),
            upstream::Endpoint::Weighted(WeightedEndpoint { address, weight }) => (*address, *weight),
        };
        if let Some(first) = seen.insert(address, index) {
            let found = format!("{} a second time", address.0);
            let fault = Fault::new(path.index(index), found, "each endpoint once; give it a weight instead");
            faults.push(fault.elsewhere(path.index(first)));
        }
        planned.push(Endpoint { address: address.0, weight });
    }
    planned
}

fn plan_balance(balance: Balance) -> balance::Balance {
    match balance {
        Balance::RoundRobin => balance::Balance::RoundRobin,
        Balance::Random => balance::Balance::Random,
        Balance::LeastRequests => balance::Balance::LeastRequests,
    }
}

fn plan_keepalive(keepalive: &upstream::Keepalive) -> Keepalive {
    let upstream::Keepalive { idle, connections } = keepalive;
    Keepalive { idle: idle.as_std(), connections: *connections }
}

fn plan_limits(limits: &upstream::UpstreamLimits) -> UpstreamLimits {
    let upstream::UpstreamLimits { connections, requests, pending, pending_timeout } = limits;
    UpstreamLimits {
        connections: *connections,
        requests: *requests,
        pending: *pending,
        pending_timeout: pending_timeout.as_std(),
    }
}
