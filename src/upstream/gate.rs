//! How many requests an upstream bears at a time, and who waits.
//!
//! A server that is asked more than it can answer answers nobody in time. The gate lets a fixed number of requests
//! through; a bounded number waits for one of them to end, first come first served, for a bounded time; every further
//! one is refused at once, which costs nothing and tells the client to come back.
//!
//! With HTTP/1 a request occupies a connection, so the smaller of `limits.requests` and `limits.connections` counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::observe::metrics::{Held, UpstreamMetrics};
use crate::plan::UpstreamLimits;

/// The door to an upstream.
#[derive(Debug)]
pub struct Gate {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    most_waiting: usize,
    patience: Duration,
    metrics: UpstreamMetrics,
}

/// A place among the requests under way; free again when dropped.
#[derive(Debug)]
pub struct Permit {
    _place: OwnedSemaphorePermit,
}

/// Why a request was not let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// As many wait already as may wait.
    QueueFull,
    /// No place became free in time.
    WaitedTooLong,
}

impl Refused {
    /// In words, for a problem document.
    pub const fn as_str(self) -> &'static str {
        match self {
            Refused::QueueFull => "too many requests are waiting",
            Refused::WaitedTooLong => "no server became free in time",
        }
    }
}

impl Gate {
    /// An open gate.
    pub fn new(limits: &UpstreamLimits, metrics: UpstreamMetrics) -> Gate {
        let places = limits.requests.min(limits.connections).min(Semaphore::MAX_PERMITS);
        Gate {
            places: Arc::new(Semaphore::new(places)),
            waiting: AtomicUsize::new(0),
            most_waiting: limits.pending,
            patience: limits.pending_timeout,
            metrics,
        }
    }

    /// Waits for a place, at most `longest` and never longer than `pending_timeout`.
    ///
    /// # Errors
    /// [`Refused`], when the queue is full or the time is over.
    pub async fn admit(&self, longest: Duration) -> Result<Permit, Refused> {
        match self.places.clone().try_acquire_owned() {
            Ok(place) => Ok(Permit { _place: place }),
            Err(_) => self.queue(longest).await,
        }
    }

    async fn queue(&self, longest: Duration) -> Result<Permit, Refused> {
        let _waiting = self.wait_in_line().ok_or(Refused::QueueFull)?;
        let place = self.places.clone().acquire_owned();
        match tokio::time::timeout(self.patience.min(longest), place).await {
            Ok(Ok(place)) => Ok(Permit { _place: place }),
            Ok(Err(_)) | Err(_) => Err(Refused::WaitedTooLong),
        }
    }

    /// x
    pub fn wait_in_line(&self) -> Option<Waiting<'_>> {
        let join = |waiting: usize| (waiting < self.most_waiting).then_some(waiting + 1);
        self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, join).ok()?;
        Some(Waiting { gate: self, _counted: Held::take(&self.metrics.pending) })
    }
}

/// x
pub struct Waiting<'a> {
    gate: &'a Gate,
    _counted: Held,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.gate.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::observe::metrics::Metrics;

    fn gate(requests: usize, pending: usize) -> Gate {
        let pending_timeout = Duration::from_millis(500);
        let limits = UpstreamLimits { connections: 100, requests, pending, pending_timeout, adaptive: None };
        Gate::new(&limits, Metrics::new().upstream("u"))
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn whoever_finds_the_queue_full_is_refused_at_once() {
        let gate = gate(1, 0);
        let _inside = gate.admit(LONG).await.unwrap();
        assert_eq!(gate.admit(LONG).await.unwrap_err(), Refused::QueueFull);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_is_let_in_when_a_place_is_given_back() {
        let gate = Arc::new(gate(1, 1));
        let inside = gate.admit(LONG).await.unwrap();
        let next = tokio::spawn({
            let gate = gate.clone();
            async move { gate.admit(LONG).await.is_ok() }
        });
        tokio::task::yield_now().await;
        drop(inside);
        assert!(next.await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_longer_than_the_timeout_or_the_request_has() {
        let gate = gate(1, 1);
        let _inside = gate.admit(LONG).await.unwrap();
        let begun = tokio::time::Instant::now();
        assert_eq!(gate.admit(LONG).await.unwrap_err(), Refused::WaitedTooLong);
        assert!(begun.elapsed() >= Duration::from_millis(500));
        let begun = tokio::time::Instant::now();
        assert_eq!(gate.admit(Duration::from_millis(20)).await.unwrap_err(), Refused::WaitedTooLong);
        assert!(begun.elapsed() < Duration::from_millis(100));
        assert_eq!(gate.waiting.load(Ordering::Relaxed), 0);
    }
}
