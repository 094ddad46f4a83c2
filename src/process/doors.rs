//! The listeners of a worker: which are open, and how each of them ends.

use std::io;
use std::os::unix::net::UnixStream as StdStream;
use std::sync::Arc;

use rustix::io::Errno;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

use super::places::Socket;
use crate::clock::Duration;
use crate::limits::{CALLS, OWN_REQUEST};
use crate::listen::Door;
use crate::listen::accept::{Call, Entrance};
use crate::observe::metrics::Metrics;
use crate::plan::{self, Address};
use crate::sockets::Unlink;

/// All of them. Each has a loop of its own in the service that accepts.
#[derive(Debug)]
pub struct Doors {
    calls: mpsc::Sender<Call>,
    open: Vec<Open>,
    loops: TaskTracker,
    connections: TaskTracker,
}

#[derive(Debug)]
struct Open {
    address: Address,
    file: Option<Unlink>,
    door: Arc<Door>,
}

/// A listener whose clients cannot be accepted.
#[derive(Debug)]
pub struct Unopened {
    /// Its name.
    pub name: Arc<str>,
    /// Why not.
    pub source: io::Error,
}

impl Doors {
    /// None yet, and where the service gets its calls from.
    pub fn new() -> (Doors, mpsc::Receiver<Call>) {
        let (calls, called) = mpsc::channel(CALLS);
        let (loops, connections) = (TaskTracker::new(), TaskTracker::new());
        (Doors { calls, open: Vec::new(), loops, connections }, called)
    }

    /// Opens one; ready when clients are accepted.
    ///
    /// # Errors
    /// The socket cannot be watched.
    pub async fn open(
        &mut self,
        listener: &plan::Listener,
        (bound, file): Socket,
        metrics: &Metrics,
    ) -> Result<(), Unopened> {
        let unopened = |source| Unopened { name: listener.name.clone(), source };
        bound.set_backlog(listener.limits.backlog).map_err(unopened)?;
        let door = Door::new(listener, metrics, self.connections.clone());
        let (opened, told) = oneshot::channel();
        let counted = self.loops.token();
        let entrance = Entrance { door: door.clone(), bound, counted, opened };
        self.open.push(Open { address: listener.address.clone(), file, door });
        let gone = || io::Error::other("the service that accepts has ended");
        let outcome = match self.calls.send(Call::Open(entrance)).await {
            Ok(()) => told.await.unwrap_or_else(|_| Err(gone())),
            Err(_) => Err(gone()),
        };
        outcome.map_err(unopened)
    }

    /// What asks the worker itself.
    pub fn asker(&self) -> Asker {
        Asker(self.calls.clone())
    }

    /// Those of a plan's listeners that need a socket, in the plan's order: they are new, or other than they were.
    pub fn lacking<'p>(&self, listeners: &'p [plan::Listener]) -> Vec<&'p plan::Listener> {
        let is_open = |listener: &plan::Listener| self.open.iter().any(|open| open.door.plan() == listener);
        listeners.iter().filter(|listener| !is_open(listener)).collect()
    }

    /// Opens several, or none.
    ///
    /// # Errors
    /// One cannot be watched; those that could are closed again, and their sockets are as they were.
    pub async fn open_all(
        &mut self,
        listeners: Vec<(plan::Listener, Socket)>,
        patience: Duration,
        metrics: &Metrics,
    ) -> Result<(), Unopened> {
        let before = self.open.len();
        for (listener, socket) in listeners {
            if let Err(unopened) = self.open(&listener, socket, metrics).await {
                self.open.drain(before..).for_each(|open| open.door.drain(patience, true));
                return Err(unopened);
            }
        }
        Ok(())
    }

    /// Has those go in whose place another one was opened since. Their clients are told to reconnect, and find that one.
    pub fn replace(&mut self, patience: Duration) {
        let addresses: Vec<Address> = self.open.iter().map(|open| open.address.clone()).collect();
        let mut at = 0;
        self.open.retain(|open| {
            at += 1;
            let replaced = addresses[at..].contains(&open.address);
            if replaced {
                open.door.drain(patience, true);
            }
            !replaced
        });
    }

    /// Closes those that are at none of these addresses. Where a socket `is_lent`, it stays open.
    pub fn release(
        &mut self,
        staying: &[plan::Listener],
        patience: Duration,
        is_lent: &(dyn Fn(&Address) -> bool + Sync),
    ) {
        self.open.retain_mut(|open| {
            let stays = staying.iter().any(|listener| listener.address == open.address);
            if !stays {
                drop(open.file.take());
                open.door.drain(patience, is_lent(&open.address));
            }
            stays
        });
    }

    /// Closes all of them; those who are connected are told to go, at the latest when `patience` is over. Where
    /// `has_successor`, another worker accepts from the socket, and it stays open.
    pub fn drain(&mut self, patience: Duration, has_successor: &dyn Fn(&Address) -> bool) {
        for open in &mut self.open {
            let shared = has_successor(&open.address);
            drop(open.file.take());
            open.door.drain(patience, shared);
        }
        self.loops.close();
        self.connections.close();
    }

    /// Has those who are connected still, while all are closed already, go sooner than they were told.
    pub fn hasten(&self, within: Duration) {
        self.open.iter().for_each(|open| open.door.hasten(within));
    }

    /// What knows when the last loop and the last connection are gone.
    pub fn trackers(&self) -> (TaskTracker, TaskTracker) {
        (self.loops.clone(), self.connections.clone())
    }
}

/// Asks the worker itself, the way that a client does.
#[derive(Clone, Debug)]
pub struct Asker(mpsc::Sender<Call>);

impl Asker {
    /// Through a connection, the engine and back. What it answers is not looked up in any route, and nobody else hears of
    /// it.
    ///
    /// # Errors
    /// It has not answered, or not in time.
    pub async fn ask(&self) -> io::Result<()> {
        let asked = tokio::time::timeout(OWN_REQUEST, self.own_request()).await;
        asked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn own_request(&self) -> io::Result<()> {
        let (here, there) = match StdStream::pair() {
            // It says nothing of those who are connected that there is no room for one more.
            Err(error) if is_full(&error) => return Ok(()),
            pair => pair?,
        };
        here.set_nonblocking(true)?;
        there.set_nonblocking(true)?;
        self.0.send(Call::Own(there)).await.map_err(io::Error::other)?;
        let mut stream = UnixStream::from_std(here)?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: tetap\r\nConnection: close\r\n\r\n").await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let told = || io::Error::other(format!("answered {:?}", String::from_utf8_lossy(&answer)));
        answer.starts_with(b"HTTP/1.1 204 ").then_some(()).ok_or_else(told)
    }
}

/// The process, or the system, has no descriptors left.
fn is_full(error: &io::Error) -> bool {
    let full = [Errno::MFILE, Errno::NFILE].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|error| full.contains(&error))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;
    use crate::listen::socket::Bound;

    fn listener() -> plan::Listener {
        let plan = Door::own().plan().clone();
        plan::Listener { name: "web".into(), ..plan }
    }

    fn socket() -> Socket {
        let address = "127.0.0.1:0".parse().unwrap();
        (Bound::new(crate::sockets::tcp(address, 8).unwrap(), Address::Tcp(address)), None)
    }

    #[tokio::test]
    async fn a_service_that_is_gone_opens_nothing() {
        let (mut doors, calls) = Doors::new();
        drop(calls);
        let unopened = doors.open(&listener(), socket(), &Metrics::new()).await.unwrap_err();
        assert_eq!(&*unopened.name, "web");
        assert!(doors.asker().ask().await.is_err());
    }

    #[tokio::test]
    async fn a_listener_that_is_neither_opened_nor_refused_does_not_hold_up_the_start() {
        let (mut doors, mut calls) = Doors::new();
        tokio::spawn(async move { drop(calls.recv().await) });
        assert!(doors.open(&listener(), socket(), &Metrics::new()).await.is_err());
    }

    #[tokio::test]
    async fn a_loop_that_runs_is_waited_for() {
        let (mut doors, mut calls) = Doors::new();
        let service = tokio::spawn(async move {
            let Some(Call::Open(entrance)) = calls.recv().await else { panic!("not called") };
            let Entrance { door, counted, opened, .. } = entrance;
            opened.send(Ok(())).unwrap();
            (door, counted)
        });
        doors.open(&listener(), socket(), &Metrics::new()).await.unwrap();
        let (door, counted) = service.await.unwrap();
        assert!(!door.is_draining());
        doors.drain(Duration::from_secs(1), &|_| false);
        let (loops, _) = doors.trackers();
        assert_eq!((door.is_draining(), loops.len()), (true, 1));
        drop(counted);
        loops.wait().await;
    }
}
