//! What is alive: the present [`Snapshot`], and what outlives it.
//!
//! A snapshot is a plan with living upstreams behind it. It is built whole and published in one step; a request takes
//! it once, at its beginning, and keeps it to its end, so that no request ever sees half of a change.

pub mod snapshot;
pub mod tasks;

use std::collections::HashSet;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use tokio::sync::watch;

pub use snapshot::Snapshot;

use crate::observe::access_log::AccessLog;
use crate::observe::metrics::Metrics;
use crate::plan::Plan;
use crate::upstream::Upstream;

/// The one place where the present snapshot is published, and where requests leave their traces.
#[derive(Debug)]
pub struct Runtime {
    snapshot: ArcSwap<Snapshot>,
    /// Whose endpoints are found and checked.
    kept: watch::Sender<Vec<Arc<Upstream>>>,
    metrics: Arc<Metrics>,
    access_log: ArcSwap<AccessLog>,
}

impl Runtime {
    /// A runtime whose first snapshot is given.
    pub fn new(first: Snapshot, metrics: Arc<Metrics>, access_log: AccessLog) -> Arc<Runtime> {
        let kept = watch::Sender::new(first.upstreams().to_vec());
        let (snapshot, access_log) = (ArcSwap::from_pointee(first), ArcSwap::from_pointee(access_log));
        Arc::new(Runtime { snapshot, kept, metrics, access_log })
    }

    /// The present snapshot, to be kept for as long as a request lasts.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Gets to know the endpoints of a snapshot that may follow, beside those of the present one.
    pub fn prepare(&self, next: &Snapshot) {
        let mut kept = self.snapshot().upstreams().to_vec();
        let is_new = |upstream: &&Arc<Upstream>| !kept.iter().any(|other| Arc::ptr_eq(other, upstream));
        let new: Vec<_> = next.upstreams().iter().filter(is_new).cloned().collect();
        kept.extend(new);
        self.kept.send_replace(kept);
    }

    /// Goes over to another snapshot. Requests under way end by the one that they began with.
    pub fn publish(&self, next: Arc<Snapshot>) {
        let last = self.snapshot.swap(next);
        self.kept.send_replace(self.snapshot().upstreams().to_vec());
        self.forget(&last);
    }

    /// Stays with the present snapshot, after another was [prepared](Runtime::prepare) for.
    pub fn abandon(&self, next: &Snapshot) {
        self.kept.send_replace(self.snapshot().upstreams().to_vec());
        self.forget(next);
    }

    /// Series of what comes and goes would pile up: those of what is in this snapshot, but not in the present one.
    fn forget(&self, other: &Snapshot) {
        let (now, metrics) = (self.snapshot(), &self.metrics);
        let names = |of: fn(&Plan) -> Vec<&str>| gone(of(now.plan()), of(other.plan()));
        let routes = names(|plan| plan.routes.iter().map(|route| &*route.name).collect());
        let upstreams = names(|plan| plan.upstreams.iter().map(|upstream| &*upstream.name).collect());
        let listeners = names(|plan| plan.listeners.iter().map(|listener| &*listener.name).collect());
        routes.iter().for_each(|name| metrics.forget_route(name));
        upstreams.iter().for_each(|name| metrics.forget_upstream(name));
        listeners.iter().for_each(|name| metrics.forget_listener(name));
    }

    /// Writes into another log from now on; the last one. Lines on their way into that are written still.
    pub fn set_access_log(&self, access_log: AccessLog) -> Arc<AccessLog> {
        self.access_log.swap(Arc::new(access_log))
    }

    /// Counters.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// One line a request. Not to be held for long.
    pub fn access_log(&self) -> Guard<Arc<AccessLog>> {
        self.access_log.load()
    }
}

/// Those of the others who are not among the present ones.
fn gone(present: Vec<&str>, other: Vec<&str>) -> Vec<String> {
    let present: HashSet<&str> = present.into_iter().collect();
    other.into_iter().filter(|name| !present.contains(name)).map(str::to_owned).collect()
}
