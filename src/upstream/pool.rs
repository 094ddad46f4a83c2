//! Idle connections of an upstream.
//!
//! Opening a connection costs a round trip; keeping one costs memory here and there and the risk that the other side
//! has closed it by the time it is used. So the pool gives back the connection that was **used last** (it is the least
//! likely to have been closed, and the others can age and go), looks whether it is still open before it hands it out,
//! and keeps no more, and none for longer, than the configuration allows.
//!
//! A look cannot see an end that is still on its way. So the pool learns how long this upstream's idle connections live
//! (see [`warmth`](crate::health::warmth)), and a request that cannot be sent again gets one only well below that.
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
use crate::health::warmth::Warmth;
use crate::plan;
use crate::watchdog::Watchdog;

/// The idle connections of one upstream, and the count of all its open ones.
#[derive(Debug)]
pub struct Pool {
    /// In the order in which they became idle: oldest first.
    idle: Mutex<Vec<Idle>>,
    warmth: Mutex<Warmth>,
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
    /// For how long it had been idle when it was taken.
    rested: Duration,
    _open: Open,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
    /// How long it had been idle when it was last seen open.
    seen: Duration,
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
            warmth: Mutex::default(),
            open: AtomicUsize::new(0),
            most_idle: keepalive.connections,
            most_open,
            longest_idle: keepalive.idle,
        }
    }

    /// The connection to `address` that was used last and is still open. `surely`: the kernel is asked, and only one is
    /// given that will still be open when a request gets there; otherwise what the runtime has heard so far will do, for a
    /// request that can be sent again.
    pub fn take(&self, address: SocketAddr, now: Instant, surely: bool) -> Option<Connection> {
        let is_open = if surely { is_quiet } else { seems_quiet };
        loop {
            let longest = if surely { self.warmth.lock().trusted() } else { self.longest_idle };
            let mut idle = self.pop(address, now, longest.min(self.longest_idle))?;
            if is_open(&idle.connection.socket) {
                idle.connection.rested = now.saturating_duration_since(idle.since);
                return Some(idle.connection);
            }
            self.found_closed(&idle, now);
        }
    }

    /// The newest one, if it was idle for less than `longest`; those behind it are older still.
    fn pop(&self, address: SocketAddr, now: Instant, longest: Duration) -> Option<Idle> {
        let mut idle = self.idle.lock();
        let place = idle.iter().rposition(|idle| idle.connection.address == address)?;
        let fresh = now.saturating_duration_since(idle[place].since) < longest;
        fresh.then(|| idle.remove(place))
    }

    /// One that ends at an age at which others were open says something; one that may have ended later does not.
    fn found_closed(&self, idle: &Idle, now: Instant) {
        let mut warmth = self.warmth.lock();
        warmth.seen_closed(idle.seen, now.saturating_duration_since(idle.since));
    }

    /// A connection that was taken after a rest has carried an answer.
    pub fn has_survived(&self, connection: &Connection) {
        if !connection.rested.is_zero() {
            self.warmth.lock().seen_open(connection.rested);
        }
    }

    /// Keeps a connection whose last exchange ended cleanly. The oldest one makes room when the pool is full.
    pub fn put(&self, connection: Connection, now: Instant) {
        if self.most_idle == 0 {
            return;
        }
        let mut idle = self.idle.lock();
        let oldest = (idle.len() >= self.most_idle).then(|| idle.remove(0));
        idle.push(Idle { connection, since: now, seen: Duration::ZERO });
        drop(idle);
        drop(oldest);
    }

    /// Counts a socket that was just opened, which took so long. An idle connection makes room when the limit is reached;
    /// the [`Gate`](super::Gate) sees to it that there is one.
    pub fn adopt(self: &Arc<Self>, socket: TcpStream, address: SocketAddr, took: Duration) -> Connection {
        self.warmth.lock().opened(took);
        if self.open.fetch_add(1, Ordering::Relaxed) >= self.most_open {
            drop(self.oldest());
        }
        let rested = Duration::ZERO;
        Connection { socket, watchdog: Watchdog::default(), address, rested, _open: Open(self.clone()) }
    }

    fn oldest(&self) -> Option<Idle> {
        let mut idle = self.idle.lock();
        (!idle.is_empty()).then(|| idle.remove(0))
    }

    /// Closes what has been idle for too long or was closed from the other side, and learns from both. Called some times
    /// a second: while nothing has happened to a connection, that takes no system call.
    pub fn sweep(&self, now: Instant) {
        let mut idle = self.idle.lock();
        if idle.is_empty() {
            return;
        }
        let (kept, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut *idle).into_iter().partition(|idle| {
            now.saturating_duration_since(idle.since) < self.longest_idle
                && seems_quiet(&idle.connection.socket)
        });
        *idle = kept;
        let oldest = idle.iter_mut().map(|idle| {
            idle.seen = now.saturating_duration_since(idle.since);
            idle.seen
        });
        let oldest = oldest.max();
        drop(idle);
        self.learn(oldest, &gone, now);
    }

    fn learn(&self, oldest: Option<Duration>, gone: &[Idle], now: Instant) {
        let ended = gone.iter().filter(|idle| now.saturating_duration_since(idle.since) < self.longest_idle);
        ended.for_each(|idle| self.found_closed(idle, now));
        if let Some(oldest) = oldest {
            self.warmth.lock().seen_open(oldest);
        }
    }

    /// Closes the idle connections to endpoints that are no longer members.
    pub fn retain(&self, is_member: impl Fn(SocketAddr) -> bool) {
        let mut idle = self.idle.lock();
        let all = std::mem::take(&mut *idle);
        let (kept, gone): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|idle| is_member(idle.connection.address));
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

/// The same as far as the runtime knows: no system call, unless there is something.
fn seems_quiet(socket: &TcpStream) -> bool {
    socket.try_read(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    struct Server {
        listener: TcpListener,
        address: SocketAddr,
    }

    impl Server {
        async fn start() -> Server {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            Server { listener, address }
        }

        /// Both ends of a new connection.
        async fn connect(&self, pool: &Arc<Pool>) -> (Connection, TcpStream) {
            let ours = TcpStream::connect(self.address).await.unwrap();
            let theirs = self.listener.accept().await.unwrap().0;
            (pool.adopt(ours, self.address, Duration::ZERO), theirs)
        }
    }

    fn pool(most_idle: usize, most_open: usize) -> Arc<Pool> {
        let keepalive = plan::Keepalive { idle: Duration::from_secs(50), connections: most_idle };
        Arc::new(Pool::new(&keepalive, most_open))
    }

    /// Has seen a connection that was idle for a minute and open.
    fn trusting(pool: &Pool) {
        pool.warmth.lock().seen_open(Duration::from_secs(60));
    }

    fn port(connection: &Connection) -> u16 {
        connection.socket.local_addr().unwrap().port()
    }

    #[tokio::test]
    async fn the_connection_used_last_is_the_next_one() {
        let (server, pool, now) = (Server::start().await, pool(8, 8), Instant::now());
        let (first, _a) = server.connect(&pool).await;
        let (second, _b) = server.connect(&pool).await;
        let expected = (port(&second), port(&first));
        trusting(&pool);
        pool.put(first, now);
        pool.put(second, now);
        let taken =
            (pool.take(server.address, now, true).unwrap(), pool.take(server.address, now, true).unwrap());
        assert_eq!((port(&taken.0), port(&taken.1)), expected);
        assert!(pool.take(server.address, now, true).is_none());
    }

    #[tokio::test]
    async fn a_connection_that_was_closed_or_speaks_unasked_is_not_handed_out() {
        for surely in [true, false] {
            let (server, pool, now) = (Server::start().await, pool(8, 8), Instant::now());
            let (closed, theirs) = server.connect(&pool).await;
            drop(theirs);
            let (talking, mut theirs) = server.connect(&pool).await;
            theirs.write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n").await.unwrap();
            closed.socket.readable().await.unwrap();
            talking.socket.readable().await.unwrap();
            pool.put(closed, now);
            pool.put(talking, now);
            trusting(&pool);
            let later = now + Duration::from_millis(1);
            assert!(pool.take(server.address, later, surely).is_none());
            assert_eq!(pool.open(), if surely { 1 } else { 0 });
        }
    }

    /// The upstream closes after a second: what is younger than half of that is given to a request that cannot be sent
    /// again, and one that can be sent again gets the others.
    #[tokio::test]
    async fn a_connection_is_given_surely_only_well_below_what_others_survived() {
        let (server, pool, now) = (Server::start().await, pool(8, 8), Instant::now());
        let ms = Duration::from_millis;
        let (connection, _theirs) = server.connect(&pool).await;
        pool.put(connection, now);
        assert!(pool.take(server.address, now + ms(1), true).is_none(), "nothing is known yet");
        pool.sweep(now + ms(1000));
        assert!(pool.take(server.address, now + ms(1001), true).is_none(), "too old");
        let connection = pool.take(server.address, now + ms(1001), false).unwrap();
        pool.put(connection, now);
        assert!(pool.take(server.address, now + ms(499), true).is_some());
    }

    #[tokio::test]
    async fn an_end_before_its_time_takes_trust_back() {
        let (server, pool, now) = (Server::start().await, pool(8, 8), Instant::now());
        trusting(&pool);
        let (closed, theirs) = server.connect(&pool).await;
        drop(theirs);
        closed.socket.readable().await.unwrap();
        pool.put(closed, now);
        pool.sweep(now + Duration::from_millis(100));
        let (connection, _theirs) = server.connect(&pool).await;
        pool.put(connection, now);
        assert!(pool.take(server.address, now + Duration::from_millis(1), true).is_none());
    }

    #[tokio::test]
    async fn connections_to_those_who_left_are_closed() {
        let (stays, leaves, pool, now) =
            (Server::start().await, Server::start().await, pool(8, 8), Instant::now());
        let (kept, _a) = stays.connect(&pool).await;
        let (gone, _b) = leaves.connect(&pool).await;
        pool.put(kept, now);
        pool.put(gone, now);
        pool.retain(|address| address == stays.address);
        assert_eq!(pool.open(), 1);
        assert!(pool.take(stays.address, now, false).is_some());
    }

    #[tokio::test]
    async fn what_was_idle_for_too_long_goes() {
        let (server, pool, now) = (Server::start().await, pool(8, 8), Instant::now());
        let (one, _a) = server.connect(&pool).await;
        let (other, _b) = server.connect(&pool).await;
        pool.put(one, now);
        pool.put(other, now + Duration::from_secs(40));
        pool.sweep(now + Duration::from_secs(60));
        assert_eq!(pool.open(), 1);
        assert!(pool.take(server.address, now + Duration::from_secs(91), false).is_none());
    }

    #[tokio::test]
    async fn a_full_pool_lets_its_oldest_go() {
        let (server, pool, now) = (Server::start().await, pool(1, 2), Instant::now());
        let (first, _a) = server.connect(&pool).await;
        let (second, _b) = server.connect(&pool).await;
        let newest = port(&second);
        pool.put(first, now);
        pool.put(second, now);
        assert_eq!(pool.open(), 1);
        let (_third, _c) = server.connect(&pool).await;
        let (_fourth, _d) = server.connect(&pool).await;
        assert_eq!(pool.open(), 2, "an idle connection made room for a busy one");
        assert!(pool.take(server.address, now, false).is_none_or(|kept| port(&kept) == newest));
    }
}
