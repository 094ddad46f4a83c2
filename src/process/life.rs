//! What a worker goes through, whoever tells it to: it gets to know its endpoints, opens its listeners, closes them, and is
//! over when its last connection is.

use std::io;
use std::sync::Arc;

use log::info;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::doors::{Doors, Unopened};
use super::places::Socket;
use crate::admin::readiness::Readiness;
use crate::clock::Duration;
use crate::limits::FIRST_ROUND;
use crate::plan::{self, Address};
use crate::runtime::{Runtime, tasks};

/// A listener, and its socket.
pub type Closed = (plan::Listener, Socket);

/// A worker's own parts.
pub struct Life {
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
    /// The end of patience.
    pub patience: Duration,
    /// When the admin address is answered.
    pub admin: Span,
    /// Whether it is.
    pub answering: Mutex<Option<oneshot::Receiver<io::Result<()>>>>,
}

/// From when to when something is done.
#[derive(Clone, Debug, Default)]
pub struct Span {
    /// It begins.
    pub begin: CancellationToken,
    /// It ends.
    pub end: CancellationToken,
}

impl Life {
    /// Answers at the admin address, if there is one.
    ///
    /// # Errors
    /// It cannot be watched.
    pub async fn open_admin(&self) -> Result<(), Unopened> {
        self.admin.begin.cancel();
        let Some(answering) = self.answering.lock().take() else { return Ok(()) };
        let ended = |_| Err(io::Error::other("it ended before it began"));
        let failed = |source| Unopened { name: "admin".into(), source };
        answering.await.unwrap_or_else(ended).map_err(failed)
    }

    /// Ready when the endpoints are known and a request of its own is answered.
    ///
    /// # Errors
    /// It does not answer itself.
    pub async fn prepare(&self) -> Result<(), Unopened> {
        tasks::first_round(self.runtime.clone(), FIRST_ROUND).await;
        let failed = |source| Unopened { name: "its own request".into(), source };
        let itself = self.doors.lock().await.asker();
        itself.ask().await.map_err(failed)
    }

    /// Takes in clients, and says so.
    ///
    /// # Errors
    /// A listener cannot be watched.
    pub async fn open(&self) -> Result<(), Unopened> {
        let closed = std::mem::take(&mut *self.closed.lock());
        let mut doors = self.doors.lock().await;
        for (listener, socket) in closed {
            doors.open(&listener, socket, self.runtime.metrics()).await?;
        }
        self.readiness.ready();
        Ok(())
    }

    /// Who sees a listener closed has been able to see why.
    pub fn announce(&self) {
        info!("draining {} connections", self.connections.len());
        self.readiness.drain();
        self.runtime.metrics().draining().set(1);
    }

    /// Takes in nobody more. Where `has_successor`, another worker accepts from the socket.
    pub async fn close(&self, has_successor: &(dyn Fn(&Address) -> bool + Sync)) {
        self.closed.lock().clear();
        self.doors.lock().await.drain(self.patience, has_successor);
    }

    /// Over when the last listener is closed and the last connection gone.
    pub async fn drained(&self) {
        self.loops.wait().await;
        self.connections.wait().await;
    }
}
