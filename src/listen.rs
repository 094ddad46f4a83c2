//! The connection layer: from a listening socket to one judged request after the other.
//!
//! Pingora's own listeners have no limit on connections, no deadline for a whole header, no way to add or drain a
//! socket alone, and keep 88 KiB for every idle client. So connections are accepted here ([`accept`]), served one
//! request at a time ([`connection`]) through a stream that shows Pingora exactly one request ([`client`]), and parked
//! in between: a waiting connection holds its socket and a small struct, nothing else.
//!
//! What it takes to close a connection without losing the last answer is in [`linger`]; when connections must be gone
//! that would go on for days, in [`farewell`], and how a WebSocket is told, in `tunnel`.

pub mod accept;
pub mod client;
pub mod connection;
pub mod farewell;
pub mod linger;
pub mod refuse;
pub mod socket;

mod tunnel;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http::HeaderValue;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use self::farewell::Farewell;
use self::linger::Linger;
use self::socket::Peer;
use crate::clock::{Duration, Instant, SystemTime};
use crate::hygiene::forwarding::{ClientAddress, Scheme};
use crate::hygiene::framing::Framing;
use crate::hygiene::request_head::Marks;
use crate::limit::{Census, Client};
use crate::limits::OWN_REQUEST;
use crate::observe::metrics::{Held, ListenerMetrics, Metrics, Refusal};
use crate::plan;

/// One listener at work: its bounds, who is connected, and whether it is draining.
#[derive(Debug)]
pub struct Door {
    plan: plan::Listener,
    metrics: ListenerMetrics,
    open: AtomicUsize,
    census: Mutex<Census>,
    linger: Arc<Linger>,
    tracker: TaskTracker,
    drain: watch::Sender<bool>,
    draining: watch::Receiver<bool>,
    /// Another worker accepts from the same socket.
    shared: AtomicBool,
    farewell: Farewell,
}

/// What the proxy is told of a request beside its head.
#[derive(Debug)]
pub struct Arrival {
    /// Through which listener it came.
    pub door: Arc<Door>,
    /// Who is at the other end of the connection.
    pub peer: Peer,
    /// The port that was connected to.
    pub port: Option<u16>,
    /// In normal form, without port.
    pub host: String,
    /// Whether the client waits for a 100 before it sends its body.
    pub expects_continue: bool,
    /// Whether the client asks for a WebSocket.
    pub upgrade_websocket: bool,
    /// How its body ends.
    pub framing: Framing,
    /// What else its head may have.
    pub marks: Marks,
    /// When its first byte came.
    pub time: SystemTime,
    /// The same moment, to measure from.
    pub started: Instant,
    /// What stream and exchange tell each other.
    pub note: Arc<client::Note>,
    /// What earlier requests on this connection have found out.
    pub memory: Arc<Memory>,
}

/// What stays the same from one request of a connection to the next: the forwarding fields of a client that nobody
/// vouches for, as long as it names the same host and the configuration is the same.
#[derive(Debug, Default)]
pub struct Memory(Mutex<Option<Remembered>>);

#[derive(Debug)]
struct Remembered {
    generation: u64,
    host: HeaderValue,
    told: Arc<Told>,
}

/// Who the client is, and the fields that say so, ready for the wire.
#[derive(Debug)]
pub struct Told {
    /// Who asked.
    pub client: ClientAddress,
    /// By what, as far as can be believed.
    pub scheme: Scheme,
    /// The forwarding fields as lines of a head.
    pub lines: Box<[u8]>,
}

impl Memory {
    /// What was told of a request for `host` under this generation.
    pub fn recall(&self, generation: u64, host: &HeaderValue) -> Option<Arc<Told>> {
        let remembered = self.0.lock();
        let same = |found: &&Remembered| found.generation == generation && found.host == host;
        remembered.as_ref().filter(same).map(|found| found.told.clone())
    }

    /// Keeps it for the next request. `host` is copied: as it is, it would keep the whole buffer that its head was read
    /// into, for as long as the connection lasts.
    pub fn keep(&self, generation: u64, host: &HeaderValue, told: Arc<Told>) {
        let Ok(host) = HeaderValue::from_bytes(host.as_bytes()) else { return };
        *self.0.lock() = Some(Remembered { generation, host, told });
    }
}

impl Door {
    /// A door that nobody has come through yet. Its connections are counted in `tracker` until the last one ends.
    pub fn new(plan: &plan::Listener, metrics: &Metrics, tracker: TaskTracker) -> Arc<Door> {
        Door::with(plan, metrics.listener(&plan.name), tracker)
    }

    fn with(plan: &plan::Listener, metrics: ListenerMetrics, tracker: TaskTracker) -> Arc<Door> {
        let (drain, draining) = watch::channel(false);
        Arc::new(Door {
            plan: plan.clone(),
            metrics,
            open: AtomicUsize::new(0),
            census: Mutex::default(),
            linger: Linger::new(tracker.clone()),
            tracker,
            drain,
            draining,
            shared: AtomicBool::new(false),
            farewell: Farewell::default(),
        })
    }

    /// The door that the worker itself comes through, to see that it serves. It is in no configuration, no metric and no log.
    pub fn own() -> Arc<Door> {
        Door::with(&own(), ListenerMetrics::unseen(), TaskTracker::new())
    }

    /// Tells clients to go: kept-alive ones with their next answer, the others by the time that `patience` is over.
    /// `shared`: another worker accepts from the same socket, which goes on to be open.
    pub fn drain(&self, patience: Duration, shared: bool) {
        self.shared.store(shared, Ordering::Release);
        self.drain.send_replace(true);
        self.farewell.announce(Instant::now(), patience);
    }

    /// Has those who go, go by the time that `patience` is over.
    pub fn hasten(&self, patience: Duration) {
        self.farewell.announce(Instant::now(), patience);
    }

    /// From the configuration.
    pub fn plan(&self) -> &plan::Listener {
        &self.plan
    }

    /// Whether clients are being told to go.
    pub fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// A place for one more connection, or why there is none.
    fn admit(self: &Arc<Self>, peer: Peer) -> Result<Visit, Refusal> {
        let visit = self.enter().ok_or(Refusal::Listener)?;
        self.count(peer, visit)
    }

    fn enter(self: &Arc<Self>) -> Option<Visit> {
        let most = self.plan.limits.connections;
        let join = |open: usize| (open < most).then_some(open + 1);
        self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, join).ok()?;
        Some(Visit { _counted: self.metrics.accept(), door: self.clone(), client: None })
    }

    fn count(&self, peer: Peer, mut visit: Visit) -> Result<Visit, Refusal> {
        let (Some(most), Some(ip)) = (self.plan.limits.connections_per_ip, peer.ip()) else {
            return Ok(visit);
        };
        let client = Client::of(ip);
        if !self.census.lock().admit(client, most) {
            return Err(Refusal::ClientIp);
        }
        visit.client = Some(client);
        Ok(visit)
    }
}

/// An open connection's place in its listener's counts; given back when dropped.
#[derive(Debug)]
struct Visit {
    door: Arc<Door>,
    client: Option<Client>,
    _counted: Held,
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.door.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(client) = self.client {
            self.door.census.lock().leave(client);
        }
    }
}

/// Bounds for a few connections, the one after the other, that ask for next to nothing.
fn own() -> plan::Listener {
    let limits = plan::ListenerLimits {
        connections: 8,
        connections_per_ip: None,
        backlog: 8,
        header_bytes: 4096,
        header_count: 16,
        uri_bytes: 1024,
        body_bytes: Some(0),
    };
    let soon = OWN_REQUEST;
    let timeouts = plan::ListenerTimeouts { header: soon, idle: soon, read: soon, write: soon };
    plan::Listener { name: "".into(), address: plan::Address::Unix("/".into()), limits, timeouts }
}
