//! How a worker that nobody supervises begins to serve, and how it ends.
//!
//! It begins when it is known which endpoints can serve its clients, and when it has answered a request of its own: until
//! then clients wait in the backlog.
//!
//! TERM drains: `/ready` fails and `tetap_draining` is 1, and then, after `process.lame_duck` if that is set, the listeners
//! close. Clients that were connected, or about to be, are served still; requests under way are finished, kept-alive
//! clients are answered once more with `Connection: close`, and the worker ends **the moment the last connection is gone**,
//! or when `process.drain_timeout` is over. INT, or a second TERM, ends it at once.
//!
//! A load balancer that asks `/ready` every few seconds would learn of the drain after the listeners have closed; a
//! lame-duck time as long as it takes to notice gives it the chance to go elsewhere first.
//!
//! Pingora's own drain sleeps a fixed time whatever happens, and swallows further signals; so it is always told to stop
//! at once, when everything is over.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use async_trait::async_trait;
use log::{error, info, warn};
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::doors::Unopened;
use super::life::Life;
use super::worker::RunError;
use crate::clock::{Duration, Instant};

/// What a start and a stop go through.
pub struct Stop {
    /// The worker.
    pub life: Arc<Life>,
    /// From the moment at which `/ready` fails until the listeners close.
    pub lame_duck: Duration,
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
        let Stop { life, .. } = self;
        let cut = |why| warn!("{why}: {} connections are cut", life.connections.len());
        tokio::select! {
            failed = self.failed() => return self.tell(Err(failed)),
            _ = term.recv() => {}
            _ = int.recv() => return info!("stopping at once"),
        }
        life.announce();
        tokio::select! {
            () = tokio::time::sleep(self.lame_duck) => {}
            _ = term.recv() => return cut("told twice"),
            _ = int.recv() => return cut("stopping at once"),
        }
        life.close(&|_| false).await;
        let began = Instant::now();
        tokio::select! {
            () = life.drained() => info!("drained in {:.1?}", began.elapsed()),
            () = tokio::time::sleep(life.patience()) => {
                warn!("{} connections did not end in {:?} and are cut", life.connections.len(), life.patience());
            }
            _ = term.recv() => cut("told twice"),
            _ = int.recv() => cut("stopping at once"),
        }
    }

    /// Completes only if clients cannot be served; tells when they are.
    async fn failed(&self) -> RunError {
        if let Err(unopened) = self.start().await {
            return unopened.into();
        }
        self.tell(Ok(()));
        std::future::pending().await
    }

    async fn start(&self) -> Result<(), Unopened> {
        self.life.open_admin().await?;
        self.life.prepare().await?;
        self.life.open().await
    }

    fn tell(&self, outcome: Result<(), RunError>) {
        let _ = self.started.try_send(outcome); // whoever wanted to know may have stopped listening
    }
}
