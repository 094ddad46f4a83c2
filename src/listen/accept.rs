//! The accept loops, as a Pingora service.
//!
//! A loop takes connections for as long as its listener is open, and never ends because of one that failed: running out
//! of descriptors or memory passes, and until it does the kernel's backlog holds the clients. When its listener drains,
//! the loop ends and the socket is closed; connections that were accepted live on.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use log::{error, warn};
use pingora::apps::HttpServerApp;
use pingora::server::{ListenFds, ShutdownWatch};
use pingora::services::Service;
use tokio::sync::watch;

use super::Door;
use super::connection::Connection;
use super::refuse;
use super::socket::{Bound, Listener, Peer, Transport};
use crate::runtime::{Runtime, tasks};

/// How long a loop rests when the system has run out of something.
const REST: Duration = Duration::from_millis(100);

/// All listeners of a worker.
pub struct Accept<App> {
    doors: Vec<(Arc<Door>, Bound)>,
    app: Arc<App>,
    runtime: Arc<Runtime>,
    threads: usize,
    open: watch::Sender<bool>,
}

impl<App> Accept<App> {
    /// A service that serves `doors` with `app` on `threads` threads; `open` turns true once every loop runs.
    pub fn new(
        doors: Vec<(Arc<Door>, Bound)>,
        app: Arc<App>,
        runtime: Arc<Runtime>,
        threads: usize,
        open: watch::Sender<bool>,
    ) -> Accept<App> {
        Accept { doors, app, runtime, threads, open }
    }
}

#[async_trait]
impl<App> Service for Accept<App>
where
    App: HttpServerApp + Send + Sync + 'static,
{
    async fn start_service(&mut self, _: Option<ListenFds>, mut shutdown: ShutdownWatch, _: usize) {
        let mut loops = tokio::task::JoinSet::new();
        for (door, bound) in self.doors.drain(..) {
            match bound.into_listener() {
                Ok(listener) => {
                    loops.spawn(accept(listener, door, self.app.clone(), self.runtime.clone()));
                }
                Err(failed) => return error!("listener {}: {failed}", door.plan().name),
            }
        }
        loops.spawn(tasks::sweep_pools(self.runtime.clone()));
        self.open.send_replace(true);
        let _ = shutdown.changed().await; // the runtime ends with this service: it lasts as long as the process
    }

    fn name(&self) -> &str {
        "tetap"
    }

    fn threads(&self) -> Option<usize> {
        Some(self.threads)
    }
}

async fn accept<App>(listener: Listener, door: Arc<Door>, app: Arc<App>, runtime: Arc<Runtime>)
where
    App: HttpServerApp + Send + Sync + 'static,
{
    let mut draining = door.draining.clone();
    loop {
        tokio::select! {
            biased;
            () = drained(&mut draining) => return,
            accepted = listener.accept() => match accepted {
                Ok((transport, peer)) => receive(transport, peer, &door, &app, &runtime),
                Err(failed) => rest(&door, &failed).await,
            },
        }
    }
}

async fn drained(draining: &mut watch::Receiver<bool>) {
    let _ = draining.wait_for(|draining| *draining).await; // a sender that is gone drains too
}

fn receive<App>(transport: Transport, peer: Peer, door: &Arc<Door>, app: &Arc<App>, runtime: &Arc<Runtime>)
where
    App: HttpServerApp + Send + Sync + 'static,
{
    match door.admit(peer) {
        Ok(visit) => {
            let connection = Connection::new(transport, peer, visit, runtime.clone());
            door.tracker.spawn(connection.serve(app.clone()));
        }
        Err(reason) => {
            door.metrics.refuse(reason);
            let (door, runtime) = (door.clone(), runtime.clone());
            door.clone().tracker.spawn(async move {
                refuse::turn_away(transport, &door, peer, &runtime).await;
            });
        }
    }
}

/// A client that gave up before it was accepted is nobody's trouble; anything else needs a pause, so that the loop does
/// not turn at full speed while the system has nothing to give.
async fn rest(door: &Door, failed: &io::Error) {
    if failed.kind() == io::ErrorKind::ConnectionAborted {
        return;
    }
    warn!("listener {}: no connection can be accepted: {failed}", door.plan().name);
    tokio::time::sleep(REST).await;
}
