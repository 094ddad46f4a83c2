//! How a worker begins to serve, and how it ends.
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

use std::io;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use async_trait::async_trait;
use log::{error, info, warn};
use parking_lot::Mutex;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use super::doors::{Doors, Unopened};
use super::worker::RunError;
use crate::admin::readiness::Readiness;
use crate::clock::{Duration, Instant};
use crate::limits::FIRST_ROUND;
use crate::listen::socket::Bound;
use crate::plan;
use crate::runtime::{Runtime, tasks};
use crate::sockets::Unlink;

/// A listener, its socket, and that socket's file.
pub type Closed = (plan::Listener, (Bound, Option<Unlink>));

/// What a start and a stop go through.
pub struct Stop {
    /// Is true when clients are served, and fails first when they will not be for long.
    pub readiness: Readiness,
    /// What is alive.
    pub runtime: Arc<Runtime>,
    /// The listeners.
    pub doors: tokio::sync::Mutex<Doors>,
    /// Those that are to be opened.
    pub closed: Mutex<Vec<Closed>>,
    /// Knows when the last listener is closed: until then there may be connections more.
    pub loops: TaskTracker,
    /// Knows when the last connection is gone.
    pub connections: TaskTracker,
    /// From the moment at which `/ready` fails until the listeners close.
    pub lame_duck: Duration,
    /// The end of patience.
    pub patience: Duration,
    /// Whether the admin address is answered.
    pub admin: Mutex<Option<oneshot::Receiver<io::Result<()>>>>,
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
        self.announce();
        tokio::select! {
            () = tokio::time::sleep(self.lame_duck) => {}
            _ = term.recv() => return warn!("told twice: {} connections are cut", self.connections.len()),
            _ = int.recv() => return warn!("stopping at once: {} connections are cut", self.connections.len()),
        }
        self.close().await;
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

    /// Completes only if clients cannot be served; tells when they are.
    async fn failed(&self) -> RunError {
        if let Err(unopened) = self.open().await {
            let Unopened { name, source } = unopened;
            return RunError::Open { name, source };
        }
        self.readiness.ready();
        self.tell(Ok(()));
        std::future::pending().await
    }

    async fn open(&self) -> Result<(), Unopened> {
        let admin = self.admin.lock().take();
        if let Some(admin) = admin {
            let ended = |_| Err(io::Error::other("it ended before it began"));
            let failed = |source| Unopened { name: "admin".into(), source };
            admin.await.unwrap_or_else(ended).map_err(failed)?;
        }
        tasks::first_round(self.runtime.clone(), FIRST_ROUND).await;
        let mut doors = self.doors.lock().await;
        let failed = |source| Unopened { name: "its own request".into(), source };
        doors.ask_itself().await.map_err(failed)?;
        let closed = std::mem::take(&mut *self.closed.lock());
        for (listener, socket) in closed {
            doors.open(&listener, socket, self.runtime.metrics()).await?;
        }
        Ok(())
    }

    fn tell(&self, outcome: Result<(), RunError>) {
        let _ = self.started.try_send(outcome); // whoever wanted to know may have stopped listening
    }

    /// Who sees a listener closed has been able to see why.
    fn announce(&self) {
        info!("draining {} connections", self.connections.len());
        self.readiness.drain();
        self.runtime.metrics().draining().set(1);
    }

    async fn close(&self) {
        self.closed.lock().clear();
        self.doors.lock().await.drain(self.patience);
    }

    async fn drained(&self) {
        self.loops.wait().await;
        self.connections.wait().await;
    }
}
