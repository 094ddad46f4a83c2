//! Idle connections of an upstream.
//!
//! Opening a connection costs a round trip; keeping one costs memory here and there and the risk that the other side
//! has closed it by the time it is used. So an endpoint's [`Shelf`] gives back the connection that was **used last** (it
//! is the least likely to have been closed, and the others can age and go), looks whether it is still open before it
//! hands it out, and keeps none for longer than the configuration allows; and the [`Pool`] of the upstream sees to it
//! that all shelves together hold no more than that.
//!
//! A look cannot see an end that is still on its way. So each shelf learns how long its endpoint's idle connections live
//! (see [`warmth`](crate::health::warmth)), and a request that cannot be sent again gets one only well below that.
//! Endpoints of one upstream are not always alike: what one of them has shown is no promise of another.
//!
//! Pingora's own pool is not used: it is one for all upstreams, gives the oldest first, and spawns a task for each
//! idle connection. The way in and out past it is described in [`stream`](super::stream).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
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
    shelves: Mutex<Vec<Weak<Shelf>>>,
    idle: AtomicUsize,
    open: Arc<AtomicUsize>,
    most_idle: usize,
    most_open: usize,
    longest_idle: Duration,
}

/// The idle connections to one endpoint.
#[derive(Debug)]
pub struct Shelf {
    pool: Arc<Pool>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// In the order in which they became idle: oldest first.
    idle: VecDeque<Idle>,
    warmth: Warmth,
    /// The endpoint is no member any more: nothing is kept.
    closed: bool,
}

/// An open connection that belongs to a pool's count until it is dropped.
#[derive(Debug)]
pub struct Connection {
    /// The socket.
    pub socket: TcpStream,
    /// Its timer, kept with it so that it need not be made anew.
    pub watchdog: Watchdog,
    shelf: Arc<Shelf>,
    /// For how long it had been idle when it was taken.
    rested: Duration,
    open: Open,
}

#[derive(Debug)]
struct Idle {
    socket: TcpStream,
    watchdog: Watchdog,
    open: Open,
    since: Instant,
    /// How long it had been idle when it was last seen open.
    seen: Duration,
}

/// Counted for as long as it lives.
#[derive(Debug)]
struct Open(Arc<AtomicUsize>);

impl Open {
    /// And how many there were before.
    fn count(open: &Arc<AtomicUsize>) -> (Open, usize) {
        let before = open.fetch_add(1, Ordering::Relaxed);
        (Open(open.clone()), before)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pool {
    /// An empty pool.
    pub fn new(keepalive: &plan::Keepalive, most_open: usize) -> Pool {
        Pool {
            shelves: Mutex::default(),
            idle: AtomicUsize::new(0),
            open: Arc::default(),
            most_idle: keepalive.connections,
            most_open,
            longest_idle: keepalive.idle,
        }
    }

    /// A shelf for one more endpoint.
    pub fn shelf(self: &Arc<Self>) -> Arc<Shelf> {
        let shelf = Arc::new(Shelf { pool: self.clone(), state: Mutex::default() });
        self.shelves.lock().push(Arc::downgrade(&shelf));
        shelf
    }

    /// Closes what has been idle for too long or was closed from the other side, and learns from both. Called some times
    /// a second: while nothing has happened to a connection, that takes no system call.
    pub fn sweep(&self, now: Instant) {
        self.shelves().iter().for_each(|shelf| shelf.sweep(now));
    }

    /// Open connections, busy and idle.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    fn shelves(&self) -> Vec<Arc<Shelf>> {
        let mut shelves = self.shelves.lock();
        shelves.retain(|shelf| shelf.strong_count() > 0);
        shelves.iter().filter_map(Weak::upgrade).collect()
    }

    /// Closes the connection that has been idle for longest.
    fn drop_oldest(&self) {
        let shelves = self.shelves();
        let oldest = shelves.iter().filter_map(|shelf| Some((shelf.oldest()?, shelf)));
        if let Some((_, shelf)) = oldest.min_by_key(|(since, _)| *since) {
            shelf.drop_oldest();
        }
    }
}

impl Shelf {
    /// The connection that was used last and is still open. `surely`: the kernel is asked, and only one is given that will
    /// still be open when a request gets there; otherwise what the runtime has heard so far will do, for a request that can
    /// be sent again.
    pub fn take(self: &Arc<Self>, now: Instant, surely: bool) -> Option<Connection> {
        let is_open = if surely { is_quiet } else { seems_quiet };
        loop {
            let idle = self.newest(now, surely)?;
            if is_open(&idle.socket) {
                let Idle { socket, watchdog, open, since, seen: _ } = idle;
                let rested = now.saturating_duration_since(since);
                return Some(Connection { socket, watchdog, shelf: self.clone(), rested, open });
            }
            self.state.lock().found_closed(&idle, now);
        }
    }

    /// The newest one, if it is young enough; those behind it are older still.
    fn newest(&self, now: Instant, surely: bool) -> Option<Idle> {
        let mut state = self.state.lock();
        let trusted = if surely { state.warmth.trusted() } else { self.pool.longest_idle };
        let rested = now.saturating_duration_since(state.idle.back()?.since);
        let idle = if rested < trusted.min(self.pool.longest_idle) { state.idle.pop_back() } else { None };
        self.count_out(idle)
    }

    /// Counts a socket that was just opened, which took so long. An idle connection makes room when the limit is reached;
    /// the [`Gate`](super::Gate) sees to it that there is one.
    pub fn adopt(self: &Arc<Self>, socket: TcpStream, took: Duration) -> Connection {
        self.state.lock().warmth.opened(took);
        let (open, others) = Open::count(&self.pool.open);
        if others >= self.pool.most_open {
            self.pool.drop_oldest();
        }
        let (watchdog, rested) = (Watchdog::default(), Duration::ZERO);
        Connection { socket, watchdog, shelf: self.clone(), rested, open }
    }

    /// The endpoint has left: what is idle is closed, and what is still under way will be.
    pub fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let gone = std::mem::take(&mut state.idle);
        drop(state);
        self.pool.idle.fetch_sub(gone.len(), Ordering::Relaxed);
    }

    /// The oldest one makes room when the pool is full: if there is one here, that, since it is at hand.
    fn put(&self, idle: Idle, survived: Duration) {
        let mut state = self.state.lock();
        state.warmth.seen_open(survived);
        if state.closed || self.pool.most_idle == 0 {
            return;
        }
        state.idle.push_back(idle);
        let before = self.pool.idle.fetch_add(1, Ordering::Relaxed);
        if before < self.pool.most_idle {
            return;
        }
        let own = if state.idle.len() > 1 { self.count_out(state.idle.pop_front()) } else { None };
        drop(state);
        if own.is_none() {
            self.pool.drop_oldest();
        }
    }

    fn sweep(&self, now: Instant) {
        let mut state = self.state.lock();
        if state.idle.is_empty() {
            return;
        }
        let longest = self.pool.longest_idle;
        let stays =
            |idle: &Idle| now.saturating_duration_since(idle.since) < longest && seems_quiet(&idle.socket);
        let (kept, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut state.idle).into_iter().partition(stays);
        state.idle = kept.into();
        state.learn(&gone, longest, now);
        drop(state);
        self.pool.idle.fetch_sub(gone.len(), Ordering::Relaxed);
    }

    fn oldest(&self) -> Option<Instant> {
        self.state.lock().idle.front().map(|idle| idle.since)
    }

    fn drop_oldest(&self) {
        let oldest = self.state.lock().idle.pop_front();
        drop(self.count_out(oldest));
    }

    fn count_out(&self, idle: Option<Idle>) -> Option<Idle> {
        self.pool.idle.fetch_sub(usize::from(idle.is_some()), Ordering::Relaxed);
        idle
    }
}

impl State {
    /// One that ends at an age at which others were open says something; one that may have ended later does not.
    fn found_closed(&mut self, idle: &Idle, now: Instant) {
        self.warmth.seen_closed(idle.seen, now.saturating_duration_since(idle.since));
    }

    fn learn(&mut self, gone: &[Idle], longest_idle: Duration, now: Instant) {
        let ended = gone.iter().filter(|idle| now.saturating_duration_since(idle.since) < longest_idle);
        ended.for_each(|idle| self.found_closed(idle, now));
        for idle in &mut self.idle {
            idle.seen = now.saturating_duration_since(idle.since);
        }
        if let Some(oldest) = self.idle.front() {
            self.warmth.seen_open(oldest.seen);
        }
    }
}

impl Connection {
    /// Keeps it for another exchange: the last one ended cleanly, at `since`. If it was taken after a rest, it has
    /// survived that.
    pub fn rest(self, since: Instant) {
        let Connection { socket, watchdog, shelf, rested, open } = self;
        shelf.put(Idle { socket, watchdog, open, since, seen: Duration::ZERO }, rested);
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        self.pool.idle.fetch_sub(self.state.get_mut().idle.len(), Ordering::Relaxed);
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

    /// One endpoint, and our side of it.
    struct Server {
        listener: TcpListener,
        shelf: Arc<Shelf>,
    }

    impl Server {
        async fn start(pool: &Arc<Pool>) -> Server {
            Server { listener: TcpListener::bind("127.0.0.1:0").await.unwrap(), shelf: pool.shelf() }
        }

        /// Both ends of a new connection.
        async fn connect(&self) -> (Connection, TcpStream) {
            let ours = TcpStream::connect(self.listener.local_addr().unwrap()).await.unwrap();
            let theirs = self.listener.accept().await.unwrap().0;
            (self.shelf.adopt(ours, Duration::ZERO), theirs)
        }

        /// Has seen a connection that was idle for a minute and open.
        fn is_trusted(&self) {
            self.shelf.state.lock().warmth.seen_open(Duration::from_secs(60));
        }
    }

    fn pool(most_idle: usize, most_open: usize) -> Arc<Pool> {
        let keepalive = plan::Keepalive { idle: Duration::from_secs(50), connections: most_idle };
        Arc::new(Pool::new(&keepalive, most_open))
    }

    fn port(connection: &Connection) -> u16 {
        connection.socket.local_addr().unwrap().port()
    }

    fn idle(pool: &Pool) -> usize {
        pool.idle.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn the_connection_used_last_is_the_next_one() {
        let (pool, now) = (pool(8, 8), Instant::now());
        let server = Server::start(&pool).await;
        let (first, _a) = server.connect().await;
        let (second, _b) = server.connect().await;
        let expected = (port(&second), port(&first));
        server.is_trusted();
        first.rest(now);
        second.rest(now);
        let taken = (server.shelf.take(now, true).unwrap(), server.shelf.take(now, true).unwrap());
        assert_eq!((port(&taken.0), port(&taken.1)), expected);
        assert!(server.shelf.take(now, true).is_none());
    }

    #[tokio::test]
    async fn a_connection_that_was_closed_or_speaks_unasked_is_not_handed_out() {
        for surely in [true, false] {
            let (pool, now) = (pool(8, 8), Instant::now());
            let server = Server::start(&pool).await;
            let (closed, theirs) = server.connect().await;
            drop(theirs);
            let (talking, mut theirs) = server.connect().await;
            theirs.write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n").await.unwrap();
            closed.socket.readable().await.unwrap();
            talking.socket.readable().await.unwrap();
            closed.rest(now);
            talking.rest(now);
            server.is_trusted();
            assert!(server.shelf.take(now + Duration::from_millis(1), surely).is_none());
            assert_eq!((pool.open(), idle(&pool)), if surely { (1, 1) } else { (0, 0) });
        }
    }

    /// The upstream closes after a second: what is younger than half of that is given to a request that cannot be sent
    /// again, and one that can be sent again gets the others.
    #[tokio::test]
    async fn a_connection_is_given_surely_only_well_below_what_others_survived() {
        let (pool, now) = (pool(8, 8), Instant::now());
        let server = Server::start(&pool).await;
        let ms = Duration::from_millis;
        let (connection, _theirs) = server.connect().await;
        connection.rest(now);
        assert!(server.shelf.take(now + ms(1), true).is_none(), "nothing is known yet");
        pool.sweep(now + ms(1000));
        assert!(server.shelf.take(now + ms(1001), true).is_none(), "too old");
        server.shelf.take(now + ms(1001), false).unwrap().rest(now);
        assert!(server.shelf.take(now + ms(499), true).is_some());
    }

    /// One of two servers keeps idle connections for a minute; what that shows must not cost a request at the other.
    #[tokio::test]
    async fn what_one_server_has_shown_is_no_promise_of_another() {
        let (pool, now) = (pool(8, 8), Instant::now());
        let (patient, other) = (Server::start(&pool).await, Server::start(&pool).await);
        patient.is_trusted();
        let ((one, _a), (two, _b)) = (patient.connect().await, other.connect().await);
        one.rest(now);
        two.rest(now);
        let later = now + Duration::from_secs(5);
        assert!(patient.shelf.take(later, true).is_some());
        assert!(other.shelf.take(later, true).is_none());
    }

    #[tokio::test]
    async fn an_end_before_its_time_takes_trust_back() {
        let (pool, now) = (pool(8, 8), Instant::now());
        let server = Server::start(&pool).await;
        server.is_trusted();
        let (closed, theirs) = server.connect().await;
        drop(theirs);
        closed.socket.readable().await.unwrap();
        closed.rest(now);
        pool.sweep(now + Duration::from_millis(100));
        assert_eq!(idle(&pool), 0);
        let (connection, _theirs) = server.connect().await;
        connection.rest(now);
        assert!(server.shelf.take(now + Duration::from_millis(1), true).is_none());
    }

    #[tokio::test]
    async fn connections_to_a_server_that_left_are_closed_also_those_that_were_busy() {
        let (pool, now) = (pool(8, 8), Instant::now());
        let (stays, leaves) = (Server::start(&pool).await, Server::start(&pool).await);
        let ((kept, _a), (gone, _b), (busy, _c)) =
            (stays.connect().await, leaves.connect().await, leaves.connect().await);
        kept.rest(now);
        gone.rest(now);
        leaves.shelf.close();
        assert_eq!((pool.open(), idle(&pool)), (2, 1));
        busy.rest(now);
        assert_eq!((pool.open(), idle(&pool)), (1, 1));
        assert!(leaves.shelf.take(now, false).is_none());
        assert!(stays.shelf.take(now, false).is_some());
    }

    #[tokio::test]
    async fn what_was_idle_for_too_long_goes() {
        let (pool, now) = (pool(8, 8), Instant::now());
        let server = Server::start(&pool).await;
        let (one, _a) = server.connect().await;
        let (other, _b) = server.connect().await;
        one.rest(now);
        other.rest(now + Duration::from_secs(40));
        pool.sweep(now + Duration::from_secs(60));
        assert_eq!(pool.open(), 1);
        assert!(server.shelf.take(now + Duration::from_secs(91), false).is_none());
    }

    #[tokio::test]
    async fn a_full_pool_lets_its_oldest_go() {
        let (pool, now) = (pool(1, 2), Instant::now());
        let (server, other) = (Server::start(&pool).await, Server::start(&pool).await);
        let (first, _a) = server.connect().await;
        let (second, _b) = server.connect().await;
        let newest = port(&second);
        first.rest(now);
        second.rest(now + Duration::from_millis(1));
        assert_eq!((pool.open(), idle(&pool)), (1, 1));
        let (third, _c) = other.connect().await;
        third.rest(now + Duration::from_millis(2));
        assert_eq!((pool.open(), idle(&pool)), (1, 1), "the oldest one was at another server");
        let (_fourth, _d) = server.connect().await;
        let (_fifth, _e) = server.connect().await;
        assert_eq!((pool.open(), idle(&pool)), (2, 0), "an idle connection made room for a busy one");
        assert!(server.shelf.take(now, false).is_none_or(|kept| port(&kept) == newest));
    }

    #[tokio::test]
    async fn nothing_is_left_of_a_pool_that_nobody_has() {
        let pool = pool(8, 8);
        let server = Server::start(&pool).await;
        let (connection, mut theirs) = server.connect().await;
        connection.rest(Instant::now());
        let weak = Arc::downgrade(&pool);
        drop((pool, server));
        assert!(weak.upgrade().is_none());
        let read = tokio::io::AsyncReadExt::read(&mut theirs, &mut [0]).await;
        assert_eq!(read.unwrap(), 0, "its idle connection is closed");
    }
}
