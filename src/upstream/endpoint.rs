//! One server of an upstream, and the lease that a request holds on it.

use std::net::SocketAddr;
use std::sync::Arc;

use super::Upstream;
use super::pool::Shelf;
use super::prober::Nudge;
use crate::clock::{Duration, Instant};
use crate::health::tally::Ended;
use crate::observe::metrics::{EndpointMetrics, Metrics};
use crate::roster::{Choice, SeatId};

/// One server.
#[derive(Debug)]
pub struct Endpoint {
    address: SocketAddr,
    name: Arc<str>,
    nudge: Nudge,
    shelf: Arc<Shelf>,
    metrics: EndpointMetrics,
}

impl Endpoint {
    /// An endpoint that nothing is known of.
    pub fn new(
        upstream: &str,
        address: SocketAddr,
        shelf: Arc<Shelf>,
        metrics: &Arc<Metrics>,
    ) -> Arc<Endpoint> {
        let name: Arc<str> = address.to_string().into();
        Arc::new(Endpoint {
            address,
            nudge: Nudge::default(),
            shelf,
            metrics: metrics.endpoint(upstream, &name),
            name,
        })
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address as logs and metrics write it.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Its counters.
    pub fn metrics(&self) -> &EndpointMetrics {
        &self.metrics
    }

    /// Its idle connections.
    pub fn shelf(&self) -> &Arc<Shelf> {
        &self.shelf
    }

    /// Somebody has doubts about it: have it checked at once.
    pub fn nudge(&self) {
        self.nudge.nudge();
    }

    pub(super) fn nudged(&self) -> &Nudge {
        &self.nudge
    }
}

/// One attempt's claim on an endpoint; counted until it is dropped.
#[derive(Debug)]
pub struct Lease {
    upstream: Arc<Upstream>,
    endpoint: Arc<Endpoint>,
    seat: SeatId,
    trial: bool,
    ended: Option<(Ended, Instant)>,
}

impl Lease {
    pub(super) fn take(upstream: Arc<Upstream>, choice: Choice<Arc<Endpoint>>) -> Lease {
        upstream.begin();
        let Choice { seat, endpoint, trial, reason: _ } = choice;
        Lease { upstream, endpoint, seat, trial, ended: None }
    }

    /// Whose lease it is.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// The endpoint's place in its upstream.
    pub fn seat(&self) -> SeatId {
        self.seat
    }

    /// The request was sent to its last byte.
    pub fn sent(&self, now: Instant) {
        self.upstream.sent(self.seat, now);
    }

    /// The endpoint has begun to answer, so long after the request was sent.
    pub fn spoke(&self, latency: Duration, now: Instant) {
        self.upstream.spoke(self.seat, latency, now);
    }

    /// Gives it back: the request was answered to the last byte, or has failed.
    pub fn end(mut self, ended: Ended, now: Instant) {
        self.ended = Some((ended, now));
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let (ended, now) = self.ended.unwrap_or_else(|| (Ended::Unknown, Instant::now()));
        self.upstream.end(self.seat, self.trial, ended, now);
    }
}
