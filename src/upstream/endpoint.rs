//! One server of an upstream, and the lease that a request holds on it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::observe::metrics::{EndpointMetrics, Held, Metrics};
use crate::plan;

/// One server.
#[derive(Debug)]
pub struct Endpoint {
    address: SocketAddr,
    name: Arc<str>,
    in_flight: AtomicUsize,
    metrics: EndpointMetrics,
}

impl Endpoint {
    /// An endpoint with nothing under way.
    pub fn new(upstream: &str, planned: &plan::Endpoint, metrics: &Metrics) -> Endpoint {
        let name: Arc<str> = planned.address.to_string().into();
        let metrics = metrics.endpoint(upstream, &name);
        Endpoint { address: planned.address, name, in_flight: AtomicUsize::new(0), metrics }
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address as logs and metrics write it.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Leases held now.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Its counters.
    pub fn metrics(&self) -> &EndpointMetrics {
        &self.metrics
    }
}

/// One attempt's claim on an endpoint; counted until it is dropped.
#[derive(Debug)]
pub struct Lease {
    endpoint: Arc<Endpoint>,
    index: usize,
    _counted: Held,
}

impl Lease {
    pub(super) fn take(endpoint: Arc<Endpoint>, index: usize, counted: Held) -> Lease {
        endpoint.in_flight.fetch_add(1, Ordering::Relaxed);
        Lease { endpoint, index, _counted: counted }
    }

    /// Whose lease it is.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// The endpoint's place in its upstream.
    pub fn index(&self) -> usize {
        self.index
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.endpoint.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
