//! How a worker ends.
//!
//! TERM drains: `/ready` fails and `tetap_draining` is 1, and then, without a pause, the listeners close. Clients that
//! were connected, or about to be, are served still; requests under way are finished, kept-alive clients are answered
//! once more with `Connection: close`, and the worker ends **the moment the last connection is gone**, or when
//! `process.drain_timeout` is over. WebSockets and answers that still go on in the last part of that time leave one by
//! one, see [`farewell`](crate::listen::farewell). INT, or a second TERM, ends it at once.
//!
//! A load balancer that asks `/ready` every few seconds learns of the drain after the listeners have closed; until then
//! its new connections are refused, and it can take them elsewhere.
//!
//! Pingora's own drain sleeps a fixed time whatever happens, and swallows further signals; so it is always told to stop
//! at once, when everything is over.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use async_trait::async_trait;
use log::{error, info, warn};
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::worker::RunError;
use crate::admin::readiness::Readiness;
use crate::clock::{Duration, Instant};
use crate::listen::accept::Opening;
use crate::listen::farewell::Farewell;
use crate::observe::metrics::Metrics;

/// What a stop goes through.
pub struct Stop {
    /// Fails first.
    pub readiness: Readiness,
    /// Says so too.
    pub metrics: Arc<Metrics>,
    /// Tells listeners and connections.
    pub draining: watch::Sender<bool>,
    /// Tells connections when they must be gone.
    pub farewell: Farewell,
    /// Knows when the last listener is closed: until then there may be connections more.
    pub loops: TaskTracker,
    /// Knows when the last connection is gone.
    pub connections: TaskTracker,
    /// The end of patience.
    pub patience: Duration,
    /// How far the services are that must run before clients are served.
    pub openings: Vec<watch::Receiver<Opening>>,
    /// Is told once: that signals are heard and clients are served, or why they never will be.
    pub started: SyncSender<Result<(), RunError>>,
}

#[async_trait]
impl ShutdownSignalWatch for Stop {
    async fn recv(&self) -> ShutdownSignal {
        match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
            (Ok(term), Ok(int)) => self.stopped(term, int).await,
            _ => {
                error!("signals cannot be received, so the process can only be killed");
                std::future::pending::<()>().await;
            }
        }
        ShutdownSignal::FastShutdown
    }
}

impl Stop {
    async fn stopped(&self, mut term: Signal, mut int: Signal) {
        tokio::select! {
            failed = self.failed() => return self.tell(Err(failed)),
            _ = term.recv() => {}
            _ = int.recv() => return info!("stopping at once"),
        }
        self.begin();
        let began = Instant::now();
        tokio::select! {
            () = self.drained() => info!("drained in {:.1?}", began.elapsed()),
            () = tokio::time::sleep(self.patience) => {
                warn!("{} connections did not end in {:?} and are cut", self.connections.len(), self.patience);
            }
            _ = term.recv() => warn!("told twice: {} connections are cut", self.connections.len()),
            _ = int.recv() => warn!("stopping at once: {} connections are cut", self.connections.len()),
        }
    }

    /// Completes only if a service cannot run; tells when all do.
    async fn failed(&self) -> RunError {
        for opening in &self.openings {
            if let Err(failed) = opened(opening.clone()).await {
                return failed;
            }
        }
        self.readiness.ready();
        self.tell(Ok(()));
        std::future::pending().await
    }

    fn tell(&self, outcome: Result<(), RunError>) {
        let _ = self.started.try_send(outcome); // whoever wanted to know may have stopped listening
    }

    /// In this order: who sees a listener closed has been able to see why.
    fn begin(&self) {
        info!("draining {} connections", self.connections.len());
        self.readiness.drain();
        self.metrics.draining().set(1);
        self.draining.send_replace(true);
        self.farewell.announce(Instant::now(), self.patience);
        self.loops.close();
        self.connections.close();
    }

    async fn drained(&self) {
        self.loops.wait().await;
        self.connections.wait().await;
    }
}

async fn opened(mut opening: watch::Receiver<Opening>) -> Result<(), RunError> {
    let over = opening.wait_for(|opening| !matches!(opening, Opening::UnderWay)).await;
    match over.as_deref() {
        Ok(Opening::Failed { name, source }) => {
            Err(RunError::Open { name: name.clone(), source: source.clone() })
        }
        Ok(_) => Ok(()),
        Err(_) => {
            let source = Arc::new(io::Error::other("it ended before it began"));
            Err(RunError::Open { name: "a service".into(), source })
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::admin::readiness::State;
    use std::sync::mpsc::{Receiver, sync_channel};
    use std::task::Poll;

    fn stop(opening: watch::Receiver<Opening>) -> (Stop, Receiver<Result<(), RunError>>) {
        let (started, told) = sync_channel(1);
        let stop = Stop {
            readiness: Readiness::new(),
            metrics: Metrics::new(),
            draining: watch::Sender::new(false),
            farewell: Farewell::default(),
            loops: TaskTracker::new(),
            connections: TaskTracker::new(),
            patience: Duration::from_secs(20),
            openings: vec![opening],
            started,
        };
        (stop, told)
    }

    async fn in_time<T>(what: impl Future<Output = T>) -> T {
        tokio::time::timeout(Duration::from_secs(20), what).await.unwrap()
    }

    #[tokio::test]
    async fn a_listener_that_failed_left_a_process_that_only_kill_could_end() {
        let opening = watch::Sender::new(Opening::UnderWay);
        let (stop, told) = stop(opening.subscribe());
        let source = Arc::new(io::Error::other("no room"));
        opening.send_replace(Opening::Failed { name: "web".into(), source });
        in_time(stop.recv()).await;
        let failed = told.try_recv().unwrap().unwrap_err();
        assert_eq!(failed.to_string(), "web: cannot be watched for clients: no room");
    }

    #[tokio::test]
    async fn a_service_that_is_gone_has_failed() {
        let (stop, told) = stop(watch::channel(Opening::UnderWay).1);
        in_time(stop.recv()).await;
        assert!(told.try_recv().unwrap().is_err());
    }

    #[tokio::test]
    async fn a_loop_that_runs_may_still_bring_connections() {
        let opening = watch::Sender::new(Opening::Done);
        let (stop, _told) = stop(opening.subscribe());
        let (one_loop, connection) = (stop.loops.token(), stop.connections.clone());
        stop.begin();
        assert_eq!((stop.readiness.state(), *stop.draining.borrow()), (State::Draining, true));
        let drained = stop.drained();
        tokio::pin!(drained);
        assert!(std::future::poll_fn(|cx| Poll::Ready(drained.as_mut().poll(cx).is_pending())).await);
        let late = connection.token();
        drop(one_loop);
        assert!(std::future::poll_fn(|cx| Poll::Ready(drained.as_mut().poll(cx).is_pending())).await);
        drop(late);
        in_time(drained).await;
    }
}
