//! How a worker ends.
//!
//! TERM drains: `/ready` fails, the listening sockets are closed, requests under way are finished, kept-alive clients are
//! answered once more with `Connection: close`, and the worker ends **the moment the last connection is gone**, or when
//! `process.drain_timeout` is over. INT, or a second TERM, ends it at once.
//!
//! Pingora's own drain sleeps a fixed time whatever happens, and swallows further signals; so it is always told to stop
//! at once, when everything is over.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use async_trait::async_trait;
use log::{error, info, warn};
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::admin::readiness::Readiness;
use crate::clock::{Duration, Instant};
use crate::observe::metrics::Metrics;

/// What a stop goes through.
pub struct Stop {
    /// Fails first.
    pub readiness: Readiness,
    /// Says so too.
    pub metrics: Arc<Metrics>,
    /// Tells listeners and connections.
    pub draining: watch::Sender<bool>,
    /// Knows when the last connection is gone.
    pub connections: TaskTracker,
    /// The end of patience.
    pub patience: Duration,
    /// Turns true once every accept loop runs.
    pub opened: watch::Receiver<bool>,
    /// Is told once, when signals are heard and clients are served.
    pub started: SyncSender<()>,
}

#[async_trait]
impl ShutdownSignalWatch for Stop {
    async fn recv(&self) -> ShutdownSignal {
        match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
            (Ok(term), Ok(int)) => {
                self.ready().await;
                self.wait(term, int).await;
            }
            _ => {
                error!("signals cannot be received, so the process can only be killed");
                std::future::pending::<()>().await;
            }
        }
        ShutdownSignal::FastShutdown
    }
}

impl Stop {
    async fn ready(&self) {
        let mut opened = self.opened.clone();
        if opened.wait_for(|open| *open).await.is_ok() {
            self.readiness.ready();
            let _ = self.started.try_send(()); // whoever wanted to know may have stopped listening
        }
    }

    async fn wait(&self, mut term: Signal, mut int: Signal) {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => return info!("stopping at once"),
        }
        self.begin();
        let began = Instant::now();
        tokio::select! {
            () = self.connections.wait() => info!("drained in {:.1?}", began.elapsed()),
            () = tokio::time::sleep(self.patience) => {
                warn!("{} connections did not end in {:?} and are cut", self.connections.len(), self.patience);
            }
            _ = term.recv() => warn!("told twice: {} connections are cut", self.connections.len()),
            _ = int.recv() => warn!("stopping at once: {} connections are cut", self.connections.len()),
        }
    }

    fn begin(&self) {
        info!("draining {} connections", self.connections.len());
        self.readiness.drain();
        self.metrics.draining().set(1);
        self.draining.send_replace(true);
        self.connections.close();
    }
}
