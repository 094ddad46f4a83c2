//! The living side of an upstream: its endpoints, who is asked next, how many may ask, and the idle connections.
//!
//! Everything that a request takes here (a place in the [`Gate`], a [`Lease`] on an endpoint, a connection) is given
//! back when the value that stands for it is dropped, whichever way the request ends.

pub mod call;
pub mod endpoint;
pub mod gate;
pub mod pool;
pub mod stream;

use std::sync::Arc;

use parking_lot::Mutex;

pub use endpoint::{Endpoint, Lease};
pub use gate::{Gate, Permit, Refused, Waiting};
pub use pool::Pool;

use crate::balance::{Picker, Tried};
use crate::clock::Clock;
use crate::observe::metrics::{Held, Metrics, UpstreamMetrics};
use crate::plan;

/// One upstream of a snapshot.
#[derive(Debug)]
pub struct Upstream {
    name: Arc<str>,
    endpoints: Vec<Arc<Endpoint>>,
    picker: Mutex<Picker>,
    gate: Arc<Gate>,
    pool: Arc<Pool>,
    metrics: UpstreamMetrics,
}

impl Upstream {
    /// Brings a planned upstream to life, with nothing learnt yet.
    pub fn new(planned: &plan::Upstream, metrics: &Metrics) -> Upstream {
        let plan::Upstream { name, members, balance, keepalive, limits, .. } = planned;
        let endpoints = match members {
            plan::Members::Fixed(endpoints) => endpoints.clone(),
            _ => Vec::new(),
        };
        let weights: Vec<u32> = endpoints.iter().map(|endpoint| endpoint.weight).collect();
        let mut picker = Picker::new(balance);
        picker.set_shares(&weights);
        let upstream_metrics = metrics.upstream(name);
        Upstream {
            name: name.clone(),
            endpoints: endpoints.iter().map(|e| Arc::new(Endpoint::new(name, e, metrics))).collect(),
            picker: Mutex::new(picker),
            gate: Arc::new(Gate::new(limits, Clock::start(), upstream_metrics.clone())),
            pool: Arc::new(Pool::new(keepalive, limits.connections)),
            metrics: upstream_metrics,
        }
    }

    /// From the configuration.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// In the order of the configuration.
    pub fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }

    /// Where requests wait for their turn.
    pub fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// The idle connections.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Chooses an endpoint that is not among the `tried` ones and takes a lease on it. None when all were tried.
    pub fn pick(&self, tried: &Tried) -> Option<Lease> {
        let question = crate::balance::Question { tried, key: None };
        let pick = self.picker.lock().pick(&question, &Of(self), &mut fastrand::Rng::new())?;
        let endpoint = self.endpoints.get(pick.slot)?;
        Some(Lease::take(endpoint.clone(), pick.slot, Held::take(&self.metrics.in_flight)))
    }
}

struct Of<'a>(&'a Upstream);

impl crate::balance::Loads for Of<'_> {
    fn in_flight(&self, slot: usize) -> usize {
        self.0.endpoints.get(slot).map_or(usize::MAX, |e| e.in_flight())
    }

    fn total(&self) -> usize {
        0
    }

    fn latency(&self, _: usize) -> crate::clock::Duration {
        crate::clock::Duration::ZERO
    }
}
