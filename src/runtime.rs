//! What is alive: the present [`Snapshot`], and what outlives it.
//!
//! A snapshot is a plan with living upstreams behind it. It is built whole and published in one step; a request takes
//! it once, at its beginning, and keeps it to its end, so that no request ever sees half of a change.

pub mod snapshot;
pub mod tasks;

use std::sync::Arc;

use arc_swap::ArcSwap;

pub use snapshot::Snapshot;

use crate::observe::access_log::AccessLog;
use crate::observe::metrics::Metrics;

/// The one place where the present snapshot is published, and where requests leave their traces.
#[derive(Debug)]
pub struct Runtime {
    snapshot: ArcSwap<Snapshot>,
    metrics: Arc<Metrics>,
    access_log: AccessLog,
}

impl Runtime {
    /// A runtime whose first snapshot is given.
    pub fn new(first: Snapshot, metrics: Arc<Metrics>, access_log: AccessLog) -> Arc<Runtime> {
        Arc::new(Runtime { snapshot: ArcSwap::from_pointee(first), metrics, access_log })
    }

    /// The present snapshot, to be kept for as long as a request lasts.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Counters.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// One line a request.
    pub fn access_log(&self) -> &AccessLog {
        &self.access_log
    }
}
