//! The accept loops, as a Pingora service.
//!
//! A loop takes connections for as long as its listener is open, and never ends because of one that failed: running out
//! of descriptors or memory passes, and until it does the kernel's backlog holds the clients.
//!
//! To a client, a connection that waits in the backlog is made: its request is on the way already, and closing the
//! socket would reset it. So when its listener drains, a loop first [shuts](Listener::shut) it, takes in and serves
//! those who were on their way, and only then closes it. Connections that were accepted live on.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use log::{debug, warn};
use pingora::apps::HttpServerApp;
use pingora::server::{ListenFds, ShutdownWatch};
use pingora::services::Service;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::Door;
use super::connection::Connection;
use super::refuse;
use super::socket::{Bound, Listener, Peer, Transport};
use crate::limits;
use crate::runtime::{Runtime, tasks};

/// How long a loop rests when the system has run out of something.
const REST: Duration = Duration::from_millis(100);

/// How long a listener that was shut is accepted from: a connection that was begun before needs one round trip until it
/// is in the backlog, and most networks make that in less. It is far below the second after which a client that was not
/// heard tries again.
const HANDSHAKE: Duration = Duration::from_millis(100);

/// How far a service has come that was told to start.
#[derive(Clone, Debug)]
pub enum Opening {
    /// Nobody is accepted yet.
    UnderWay,
    /// Clients are accepted.
    Done,
    /// They never will be.
    Failed {
        /// Of which listener.
        name: Arc<str>,
        /// Why not.
        source: Arc<io::Error>,
    },
}

/// All listeners of a worker.
pub struct Accept<App> {
    entrances: Vec<Entrance>,
    app: Arc<App>,
    runtime: Arc<Runtime>,
    threads: usize,
    opening: watch::Sender<Opening>,
}

/// A listener before its loop runs. It counts as a loop already: whoever waits for the last loop does not miss those
/// that are about to start.
struct Entrance {
    door: Arc<Door>,
    bound: Bound,
    counted: TaskTrackerToken,
}

impl<App> Accept<App> {
    /// A service that serves `doors` with `app` on `threads` threads. `opening` says when every loop runs; `loops`
    /// counts them, until each has closed its socket.
    pub fn new(
        doors: Vec<(Arc<Door>, Bound)>,
        app: Arc<App>,
        runtime: Arc<Runtime>,
        threads: usize,
        opening: watch::Sender<Opening>,
        loops: &TaskTracker,
    ) -> Accept<App> {
        let entrance = |(door, bound)| Entrance { door, bound, counted: loops.token() };
        let entrances = doors.into_iter().map(entrance).collect();
        Accept { entrances, app, runtime, threads, opening }
    }
}

impl<App> Accept<App> {
    /// Clients wait in the backlog until it is known which endpoints can serve them; but not when the process is to end.
    async fn first_round(&self) {
        let drained = async {
            match self.entrances.first() {
                Some(entrance) => drained(&mut entrance.door.draining.clone()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = tasks::first_round(self.runtime.clone(), limits::FIRST_ROUND) => {}
            () = drained => {}
        }
    }
}

#[async_trait]
impl<App> Service for Accept<App>
where
    App: HttpServerApp + Send + Sync + 'static,
{
    async fn start_service(&mut self, _: Option<ListenFds>, mut shutdown: ShutdownWatch, _: usize) {
        self.first_round().await;
        let opened = self.entrances.drain(..).map(open).collect::<Result<Vec<_>, _>>();
        let opened = match opened {
            Ok(opened) => opened,
            Err(failed) => return drop(self.opening.send_replace(failed)),
        };
        let mut loops = tokio::task::JoinSet::new();
        for (listener, door, counted) in opened {
            let (app, runtime) = (self.app.clone(), self.runtime.clone());
            loops.spawn(async move {
                accept(listener, door, app, runtime).await;
                drop(counted);
            });
        }
        loops.spawn(tasks::tick(self.runtime.clone()));
        self.opening.send_replace(Opening::Done);
        let _ = shutdown.changed().await; // the runtime ends with this service: it lasts as long as the process
    }

    fn name(&self) -> &str {
        "tetap"
    }

    fn threads(&self) -> Option<usize> {
        Some(self.threads)
    }
}

fn open(entrance: Entrance) -> Result<(Listener, Arc<Door>, TaskTrackerToken), Opening> {
    let Entrance { door, bound, counted } = entrance;
    match bound.into_listener() {
        Ok(listener) => Ok((listener, door, counted)),
        Err(source) => Err(Opening::Failed { name: door.plan().name.clone(), source: Arc::new(source) }),
    }
}

async fn accept<App>(mut listener: Listener, door: Arc<Door>, app: Arc<App>, runtime: Arc<Runtime>)
where
    App: HttpServerApp + Send + Sync + 'static,
{
    let receive = |(transport, peer)| receive(transport, peer, &door, &app, &runtime);
    let mut draining = door.draining.clone();
    accept_until(drained(&mut draining), &listener, &door, receive).await;
    if let Err(failed) = listener.shut() {
        debug!("listener {}: open to the last moment: {failed}", door.plan().name);
    }
    accept_until(tokio::time::sleep(HANDSHAKE), &listener, &door, receive).await;
    accept_queued(&listener, &door, receive);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listen::farewell::Farewell;
    use crate::listen::socket::tests::unwatchable;
    use crate::observe::metrics::Metrics;
    use crate::plan;

    fn door() -> Arc<Door> {
        let second = Duration::from_secs(1);
        let plan = plan::Listener {
            name: "web".into(),
            address: plan::Address::Unix("/".into()),
            limits: plan::ListenerLimits {
                connections: 1,
                connections_per_ip: None,
                backlog: 1,
                header_bytes: 1,
                header_count: 1,
                uri_bytes: 1,
                body_bytes: None,
            },
            timeouts: plan::ListenerTimeouts { header: second, idle: second, read: second, write: second },
        };
        Door::new(&plan, &Metrics::new(), TaskTracker::new(), watch::channel(false).1, Farewell::default())
    }

    #[tokio::test]
    async fn a_listener_that_cannot_be_opened_says_which_and_holds_nobody_up() {
        let loops = TaskTracker::new();
        let entrance = Entrance { door: door(), bound: unwatchable(), counted: loops.token() };
        let failed = open(entrance).err();
        assert!(matches!(&failed, Some(Opening::Failed { name, .. }) if **name == *"web"), "{failed:?}");
        assert!(loops.is_empty());
    }
}
