//! The accept loops, as a Pingora service.
//!
//! A loop takes connections for as long as its listener is open, and never ends because of one that failed: running out
//! of descriptors or memory passes, and until it does the kernel's backlog holds the clients.
//!
//! To a client, a connection that waits in the backlog is made: its request is on the way already, and closing the
//! socket would reset it. So when its listener drains, a loop first [shuts](Listener::shut) it, takes in and serves
//! those who were on their way, and only then closes it. Connections that were accepted live on. Where another worker
//! accepts from the same socket, those who are on their way are that one's.

use std::io;
use std::os::unix::net::UnixStream as StdStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use log::{debug, warn};
use pingora::apps::HttpServerApp;
use pingora::server::{ListenFds, ShutdownWatch};
use pingora::services::Service;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::Door;
use super::connection::Connection;
use super::refuse;
use super::socket::{Bound, Listener, Peer, Transport};
use crate::runtime::{Runtime, tasks};

/// How long a loop rests when the system has run out of something.
const REST: Duration = Duration::from_millis(100);

/// How long a listener that was shut is accepted from: a connection that was begun before needs one round trip until it
/// is in the backlog, and most networks make that in less. It is far below the second after which a client that was not
/// heard tries again.
const HANDSHAKE: Duration = Duration::from_millis(100);

/// What is given to the service, from any thread.
#[derive(Debug)]
pub enum Call {
    /// A listener to accept from.
    Open(Entrance),
    /// The worker's own connection, to see that it is served; non-blocking.
    Own(StdStream),
}

/// A listener before its loop runs. It counts as a loop already: whoever waits for the last loop does not miss those
/// that are about to start.
#[derive(Debug)]
pub struct Entrance {
    /// Its bounds; its loop goes on until it drains.
    pub door: Arc<Door>,
    /// Its socket.
    pub bound: Bound,
    /// Until the socket is closed.
    pub counted: TaskTrackerToken,
    /// Is told whether clients are accepted.
    pub opened: oneshot::Sender<io::Result<()>>,
}

/// The service that accepts, and serves what it has accepted.
pub struct Accept<App> {
    calls: mpsc::Receiver<Call>,
    app: Arc<App>,
    runtime: Arc<Runtime>,
    threads: usize,
}

impl<App> Accept<App> {
    /// A service that does what is called for with `app` on `threads` threads.
    pub fn new(
        calls: mpsc::Receiver<Call>,
        app: Arc<App>,
        runtime: Arc<Runtime>,
        threads: usize,
    ) -> Accept<App> {
        Accept { calls, app, runtime, threads }
    }
}

impl<App> Accept<App>
where
    App: HttpServerApp + Send + Sync + 'static,
{
    fn receive_own(&self, stream: StdStream, door: &Arc<Door>) {
        match UnixStream::from_std(stream) {
            Ok(stream) => receive((Transport::Unix(stream), Peer::Own), door, &self.app, &self.runtime),
            Err(failed) => warn!("the worker cannot ask itself: {failed}"),
        }
    }
}

#[async_trait]
impl<App> Service for Accept<App>
where
    App: HttpServerApp + Send + Sync + 'static,
{
    async fn start_service(&mut self, _: Option<ListenFds>, mut shutdown: ShutdownWatch, _: usize) {
        let mut loops = JoinSet::new();
        loops.spawn(tasks::tick(self.runtime.clone()));
        let own = Door::own();
        loop {
            tokio::select! {
                _ = shutdown.changed() => return, // the runtime ends with this service: it lasts as long as the process
                Some(call) = self.calls.recv() => match call {
                    Call::Open(entrance) => open(entrance, &self.app, &self.runtime, &mut loops),
                    Call::Own(stream) => self.receive_own(stream, &own),
                },
                Some(_) = loops.join_next() => {}
            }
        }
    }

    fn name(&self) -> &str {
        "tetap"
    }

    fn threads(&self) -> Option<usize> {
        Some(self.threads)
    }
}

fn open<App>(entrance: Entrance, app: &Arc<App>, runtime: &Arc<Runtime>, loops: &mut JoinSet<()>)
where
    App: HttpServerApp + Send + Sync + 'static,
{
    let Entrance { door, bound, counted, opened } = entrance;
    let Some(listener) = watched(bound, opened) else { return };
    let (app, runtime) = (app.clone(), runtime.clone());
    loops.spawn(async move {
        accept(&listener, &door, &app, &runtime).await;
        drop((listener, counted));
    });
}

/// Joins the present runtime, and tells whether it could.
fn watched(bound: Bound, opened: oneshot::Sender<io::Result<()>>) -> Option<Listener> {
    let (listener, told) = match bound.into_listener() {
        Ok(listener) => (Some(listener), Ok(())),
        Err(failed) => (None, Err(failed)),
    };
    let _ = opened.send(told); // whoever asked may have given up
    listener
}

async fn accept<App>(listener: &Listener, door: &Arc<Door>, app: &Arc<App>, runtime: &Arc<Runtime>)
where
    App: HttpServerApp + Send + Sync + 'static,
{
    let receive = |accepted| receive(accepted, door, app, runtime);
    let mut draining = door.draining.clone();
    accept_until(drained(&mut draining), listener, door, receive).await;
    if door.shared.load(Ordering::Acquire) {
        return;
    }
    if let Err(failed) = listener.shut() {
        debug!("listener {}: open to the last moment: {failed}", door.plan().name);
    }
    accept_until(tokio::time::sleep(HANDSHAKE), listener, door, receive).await;
    accept_queued(listener, door, receive);
}

async fn accept_until(
    end: impl Future<Output = ()>,
    listener: &Listener,
    door: &Door,
    receive: impl Fn((Transport, Peer)),
) {
    tokio::pin!(end);
    loop {
        tokio::select! {
            biased;
            () = &mut end => return,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => receive(accepted),
                Err(failed) => rest(door, &failed).await,
            },
        }
    }
}

/// Takes what is left in the backlog; no more than fits in there, for where a listener cannot be shut it may never be
/// empty.
fn accept_queued(listener: &Listener, door: &Door, receive: impl Fn((Transport, Peer))) {
    for _ in 0..=door.plan().limits.backlog {
        match listener.accept_queued() {
            Ok(accepted) => receive(accepted),
            Err(failed) if failed.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(failed) if failed.kind() == io::ErrorKind::WouldBlock => return,
            Err(failed) => return warn!("listener {}: clients are cut: {failed}", door.plan().name),
        }
    }
}

async fn drained(draining: &mut watch::Receiver<bool>) {
    let _ = draining.wait_for(|draining| *draining).await; // a sender that is gone drains too
}

fn receive<App>(
    (transport, peer): (Transport, Peer),
    door: &Arc<Door>,
    app: &Arc<App>,
    runtime: &Arc<Runtime>,
) where
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::listen::socket::tests::unwatchable;

    #[tokio::test]
    async fn a_listener_that_cannot_be_opened_says_so() {
        let (opened, told) = oneshot::channel();
        assert!(watched(unwatchable(), opened).is_none());
        assert!(told.await.unwrap().is_err());
    }
}
