//! One generation: a plan, and the upstreams that it speaks of, alive.

use std::collections::HashMap;
use std::sync::Arc;

use crate::clock::Clock;
use crate::estate::Estate;
use crate::observe::metrics::{Metrics, RouteMetrics};
use crate::plan::{self, Plan, Route, UpstreamId};
use crate::routing::RouteId;
use crate::upstream::Upstream;

/// Everything that a request needs, at hand by index.
#[derive(Debug)]
pub struct Snapshot {
    generation: u64,
    plan: Plan,
    clock: Clock,
    upstreams: Vec<Arc<Upstream>>,
    routes: Vec<RouteMetrics>,
    unrouted: RouteMetrics,
}

impl Snapshot {
    /// Brings a plan to life. Upstreams begin with what those of the same name have left.
    pub fn build(
        plan: Plan,
        generation: u64,
        clock: Clock,
        metrics: &Arc<Metrics>,
        heritage: &Estate,
    ) -> Snapshot {
        let alive = |planned: &plan::Upstream| {
            Upstream::new(planned, clock, metrics, heritage.upstream(&planned.name))
        };
        let upstreams = plan.upstreams.iter().map(alive).collect();
        Snapshot::with(plan, generation, clock, metrics, upstreams)
    }

    /// Brings a plan to life beside this snapshot, which it is to follow. Upstreams that are planned as before are the same
    /// ones, with their connections; others of the same name begin with what is known of their endpoints.
    pub fn succeed(&self, plan: Plan, generation: u64, metrics: &Arc<Metrics>) -> Snapshot {
        let living: HashMap<&str, &Arc<Upstream>> =
            self.upstreams.iter().map(|upstream| (&**upstream.name(), upstream)).collect();
        let upstream = |planned: &plan::Upstream| match living.get(&*planned.name) {
            Some(same) if same.plan() == planned => (*same).clone(),
            Some(other) => Upstream::new(planned, self.clock, metrics, Some(&other.bequeath())),
            None => Upstream::new(planned, self.clock, metrics, None),
        };
        let upstreams = plan.upstreams.iter().map(upstream).collect();
        Snapshot::with(plan, generation, self.clock, metrics, upstreams)
    }

    fn with(
        plan: Plan,
        generation: u64,
        clock: Clock,
        metrics: &Arc<Metrics>,
        upstreams: Vec<Arc<Upstream>>,
    ) -> Snapshot {
        let routes = plan.routes.iter().map(|route| metrics.route(&route.name)).collect();
        Snapshot { generation, clock, upstreams, routes, unrouted: metrics.route(""), plan }
    }

    /// What its upstreams leave to those that take their places.
    pub fn bequeath(&self) -> Estate {
        let upstreams = self.upstreams.iter().map(|upstream| upstream.bequeath()).collect();
        Estate { upstreams, ..Estate::default() }
    }

    /// Counts up with every snapshot that is published.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// What it was built from.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// An upstream. Ids come from this snapshot's own plan.
    pub fn upstream(&self, id: UpstreamId) -> Option<&Arc<Upstream>> {
        self.upstreams.get(id.0)
    }

    /// All upstreams, in the order of the plan.
    pub fn upstreams(&self) -> &[Arc<Upstream>] {
        &self.upstreams
    }

    /// A route. Ids come from this snapshot's own table.
    pub fn route(&self, id: RouteId) -> Option<&Route> {
        self.plan.routes.get(id.0)
    }

    /// Requests that its routes have answered so far, and those of them that failed: with a 5xx, whoever made it.
    pub fn totals(&self) -> (u64, u64) {
        let all = self.routes.iter().chain([&self.unrouted]);
        all.fold((0, 0), |(requests, failures), route| {
            let answered: u64 = route.requests.iter().map(|class| class.get()).sum();
            (requests + answered, failures + route.failures())
        })
    }

    /// The counters of a route, or of all requests that match none.
    pub fn route_metrics(&self, id: Option<RouteId>) -> &RouteMetrics {
        id.and_then(|id| self.routes.get(id.0)).unwrap_or(&self.unrouted)
    }
}
