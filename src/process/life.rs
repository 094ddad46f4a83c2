//! What a worker goes through, whoever tells it to: it gets to know its endpoints, opens its listeners, goes over to
//! another plan, closes them, and is over when its last connection is.

use std::sync::Arc;

use log::info;
use parking_lot::Mutex;
use tokio::sync::Mutex as Turn;
use tokio_util::task::TaskTracker;

use super::admin_address::AdminAddress;
use super::doors::{Doors, Unopened};
use super::places::Sockets;
use crate::admin::readiness::Readiness;
use crate::clock::Duration;
use crate::limits::FIRST_ROUND;
use crate::plan::Address;
use crate::runtime::{Runtime, tasks};

/// A worker's own parts.
pub struct Life {
    /// Is true when clients are served, and fails first when they will not be for long.
    pub readiness: Readiness,
    /// What is alive.
    pub runtime: Arc<Runtime>,
    /// The listeners.
    pub doors: Turn<Doors>,
    /// Where operators ask.
    pub admin: Turn<AdminAddress>,
    /// The sockets, until they are opened.
    pub sockets: Mutex<Sockets>,
    /// Knows when the last listener is closed: until then there may be connections more.
    pub loops: TaskTracker,
    /// Knows when the last connection is gone.
    pub connections: TaskTracker,
}

impl Life {
    /// Answers at the admin address, if there is one.
    ///
    /// # Errors
    /// It cannot be watched.
    pub async fn open_admin(&self) -> Result<(), Unopened> {
        let socket = self.sockets.lock().admin.take();
        match socket {
            Some(socket) => self.admin.lock().await.open(socket).await,
            None => Ok(()),
        }
    }

    /// Ready when the endpoints are known and a request of its own is answered.
    ///
    /// # Errors
    /// It does not answer itself.
    pub async fn prepare(&self) -> Result<(), Unopened> {
        tasks::first_round(&self.runtime.snapshot(), FIRST_ROUND).await;
        let failed = |source| Unopened { name: "its own request".into(), source };
        let itself = self.doors.lock().await.asker();
        itself.ask().await.map_err(failed)
    }

    /// Takes in clients, and says so.
    ///
    /// # Errors
    /// A listener cannot be watched.
    pub async fn open(&self) -> Result<(), Unopened> {
        let sockets = std::mem::take(&mut self.sockets.lock().listeners);
        let snapshot = self.runtime.snapshot();
        let mut doors = self.doors.lock().await;
        for (listener, socket) in snapshot.plan().listeners.iter().zip(sockets) {
            doors.open(listener, socket, self.runtime.metrics()).await?;
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

    /// How long connections are waited for.
    pub fn patience(&self) -> Duration {
        self.runtime.snapshot().plan().process.drain_timeout
    }

    /// Takes in nobody more. Where `has_successor`, another worker accepts from the socket.
    pub async fn close(&self, has_successor: &(dyn Fn(&Address) -> bool + Sync)) {
        self.sockets.lock().listeners.clear();
        self.doors.lock().await.drain(self.patience(), has_successor);
    }

    /// Over when the last listener is closed and the last connection gone.
    pub async fn drained(&self) {
        self.loops.wait().await;
        self.connections.wait().await;
    }
}
