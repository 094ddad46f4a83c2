//! Idle connections of an upstream.
//!
//! Opening a connection costs a round trip; keeping one costs memory here and there and the risk that the other side
//! has closed it by the time it is used. So the pool gives back the connection that was **used last** (it is the least
//! likely to have been closed, and the others can age and go), looks whether it is still open before it hands it out,
//! and keeps no more, and none for longer, than the configuration allows.
//!
//! Pingora's own pool is not used: it is one for all upstreams, gives the oldest first, and spawns a task for each
//! idle connection. The way in and out past it is described in [`stream`](super::stream).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use socket2::SockRef;
use tokio::net::TcpStream;

use crate::clock::Instant;
use crate::plan;
use crate::watchdog::Watchdog;

/// The idle connections of one upstream, and the count of all its open ones.
#[derive(Debug)]
pub struct Pool {
    /// In the order in which they became idle: oldest first.
    idle: Mutex<Vec<Idle>>,
    open: AtomicUsize,
    most_idle: usize,
    most_open: usize,
    longest_idle: Duration,
}

/// An open connection that belongs to a pool's count until it is dropped.
#[derive(Debug)]
pub struct Connection {
    /// The socket.
    pub socket: TcpStream,
    /// Its timer, kept with it so that it need not be made anew.
    pub watchdog: Watchdog,
    address: SocketAddr,
    _open: Open,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
}

#[derive(Debug)]
struct Open(Arc<Pool>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pool {
    /// An empty pool.
    pub fn new(keepalive: &plan::Keepalive, most_open: usize) -> Pool {
        Pool {
            idle: Mutex::new(Vec::new()),
            open: AtomicUsize::new(0),
            most_idle: keepalive.connections,
            most_open,
            longest_idle: keepalive.idle,
        }
    }

    /// The connection to `address` that was used last and is still open.
    pub fn take(&self, address: SocketAddr, now: Instant) -> Option<Connection> {
        loop {
            let idle = self.pop(address)?;
            let fresh = now.saturating_duration_since(idle.since) < self.longest_idle;
            if fresh && is_quiet(&idle.connection.socket) {
                return Some(idle.connection);
            }
        }
    }

    fn pop(&self, address: SocketAddr) -> Option<Idle> {
        let mut idle = self.idle.lock();
        let place = idle.iter().rposition(|idle| idle.connection.address == address)?;
        Some(idle.remove(place))
    }

    /// Keeps a connection whose last exchange ended cleanly. The oldest one makes room when the pool is full.
    pub fn put(&self, connection: Connection, now: Instant) {
        if self.most_idle == 0 {
            return;
        }
        let mut idle = self.idle.lock();
        let oldest = (idle.len() >= self.most_idle).then(|| idle.remove(0));
        idle.push(Idle { connection, since: now });
        drop(idle);
        drop(oldest);
    }

    /// Counts a socket that was just opened. An idle connection makes room when the limit is reached; the
    /// [`Gate`](super::Gate) sees to it that there is one.
    pub fn adopt(self: &Arc<Self>, socket: TcpStream, address: SocketAddr) -> Connection {
        if self.open.fetch_add(1, Ordering::Relaxed) >= self.most_open {
            drop(self.oldest());
        }
        Connection { socket, watchdog: Watchdog::default(), address, _open: Open(self.clone()) }
    }

    fn oldest(&self) -> Option<Idle> {
        let mut idle = self.idle.lock();
        (!idle.is_empty()).then(|| idle.remove(0))
    }

    /// Closes what has been idle for too long or was closed from the other side. Called about once a second.
    pub fn sweep(&self, now: Instant) {
        let mut idle = self.idle.lock();
        let all = std::mem::take(&mut *idle);
        let keep = |idle: &Idle| {
            now.saturating_duration_since(idle.since) < self.longest_idle && is_quiet(&idle.connection.socket)
        };
        let (kept, gone): (Vec<_>, Vec<_>) = all.into_iter().partition(keep);
        *idle = kept;
        drop(idle);
        drop(gone);
    }

    /// Open connections, busy and idle.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

/// Whether nothing has come on an idle connection: no byte, which nobody asked for, and no end.
fn is_quiet(socket: &TcpStream) -> bool {
    let mut byte = [std::mem::MaybeUninit::uninit(); 1];
    match SockRef::from(socket).peek(&mut byte) {
        Ok(_) => false,
        Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
    }
}
