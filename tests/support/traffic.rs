//! Clients of many kinds at one address, who must not notice what happens behind it.
//!
//! [`load`](super::load) asks what a fault of a server costs, and knows one kind of client. When the proxy
//! itself is reloaded, upgraded or killed, it depends on the client whether anything is noticed: who opens a
//! connection for each request meets a listening socket that is handed over; who keeps one meets the moment
//! when an old worker closes it; who uploads, downloads or talks over a WebSocket for seconds meets the end
//! of the drain. So all of them are here at once, each in a thread of its own, for as long as the event
//! takes.
//!
//! They are honest: what a careful HTTP client would do without telling its user is done, and is no failure.
//! A kept-alive client looks at its connection before it sends, and opens another where it has been closed;
//! it stops where it is told `Connection: close`; a WebSocket client that is told 1001 (going away) comes
//! back. But what was sent is never sent again: on a connection that ends *under* a request, nobody can know
//! whether it was carried out.
//!
//! On the loopback the news of a close arrives at once, and a close under a request is so rare that tests
//! would miss it. So half of the kept-alive clients come from [far away](super::relay).

mod asker;
mod events;
mod toll;
mod transfer;
mod visitor;

use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use events::Events;
pub use toll::{Harm, Toll};

use super::Relay;

/// How many clients of each kind there are. All speak HTTP/1.1 in clear.
#[derive(Clone, Copy, Debug)]
pub struct Traffic {
    kept: usize,
    distant: usize,
    fresh: usize,
    uploads: usize,
    downloads: usize,
    websockets: usize,
}

/// From a distant client to the proxy, and back again: 10 ms, as within a country.
const ONE_WAY: Duration = Duration::from_millis(5);

impl Traffic {
    /// Some of each: about 500 requests a second.
    pub fn mixed() -> Traffic {
        Traffic { kept: 10, distant: 10, fresh: 4, uploads: 2, downloads: 2, websockets: 4 }
    }

    /// Nobody, to be added to.
    pub fn none() -> Traffic {
        Traffic { kept: 0, distant: 0, fresh: 0, uploads: 0, downloads: 0, websockets: 0 }
    }

    /// So many clients keep their connections.
    pub fn kept(self, kept: usize) -> Traffic {
        Traffic { kept, ..self }
    }

    /// So many clients keep their connections, from far away.
    pub fn distant(self, distant: usize) -> Traffic {
        Traffic { distant, ..self }
    }

    /// So many clients open a connection for each request.
    pub fn fresh(self, fresh: usize) -> Traffic {
        Traffic { fresh, ..self }
    }

    /// So many uploads at a time.
    pub fn uploads(self, uploads: usize) -> Traffic {
        Traffic { uploads, ..self }
    }

    /// So many downloads at a time: in turn one that the server sends slowly, and one that the client reads
    /// slowly.
    pub fn downloads(self, downloads: usize) -> Traffic {
        Traffic { downloads, ..self }
    }

    /// So many WebSocket sessions at a time.
    pub fn websockets(self, websockets: usize) -> Traffic {
        Traffic { websockets, ..self }
    }

    /// Sends them all to this address. Behind it, all paths must lead to servers of
    /// [`Server`](super::Server)'s kind.
    pub fn start(self, address: SocketAddr) -> Running {
        let relay = (self.distant > 0).then(|| Relay::start(address, ONE_WAY));
        let far = relay.as_ref().map_or(address, Relay::address);
        let going = Arc::new(AtomicBool::new(true));
        let (ids, start) = (Arc::default(), Instant::now());
        let crowds: [(usize, &str, SocketAddr, Client); 6] = [
            (self.kept, "near, kept", address, asker::keep_asking),
            (self.distant, "far, kept", far, asker::keep_asking),
            (self.fresh, "new", address, asker::ask_anew),
            (self.uploads, "upload", address, transfer::upload),
            (self.downloads, "download", address, transfer::download),
            (self.websockets, "WebSocket", address, visitor::talk),
        ];
        let mut clients = Vec::new();
        for (count, kind, address, client) in crowds {
            let street = Street { kind, address, going: Arc::clone(&going), ids: Arc::clone(&ids), start };
            clients.extend((0..count).map(|number| street.send(number, client)));
        }
        Running { clients, going, _relay: relay }
    }
}

/// What a client does until it is told to stop, told which one of its kind it is.
type Client = fn(&Street, usize) -> Toll;

/// Where the clients go, and what they share.
#[derive(Clone)]
struct Street {
    kind: &'static str,
    address: SocketAddr,
    going: Arc<AtomicBool>,
    ids: Arc<AtomicU64>,
    start: Instant,
}

impl Street {
    fn send(&self, number: usize, client: Client) -> JoinHandle<Toll> {
        let street = self.clone();
        let small = std::thread::Builder::new().stack_size(512 * 1024);
        small.spawn(move || client(&street, number)).unwrap()
    }

    /// Whether to begin something new.
    fn goes_on(&self) -> bool {
        self.going.load(Ordering::Relaxed)
    }

    /// A number for a request, never given to another.
    fn id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Records a failure: when, and of what kind of client.
    fn fail(&self, toll: &mut Toll, harm: Harm, what: impl Display) {
        toll.fail(harm, self.kind, self.start.elapsed(), what);
    }
}

/// Lets about so much time pass: each client falls out of step with the others, and with the events.
fn rest(millis: u64) {
    std::thread::sleep(Duration::from_millis(fastrand::u64(millis / 2..=millis * 3 / 2)));
}

/// Clients under way; those who are dropped stop, too, but nobody waits for them.
pub struct Running {
    clients: Vec<JoinHandle<Toll>>,
    going: Arc<AtomicBool>,
    _relay: Option<Relay>,
}

impl Running {
    /// Has them begin nothing new, waits until they have finished what they had begun, and adds up.
    pub fn stop(mut self) -> Toll {
        self.going.store(false, Ordering::Relaxed);
        self.clients.drain(..).map(|client| client.join().unwrap()).sum()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.going.store(false, Ordering::Relaxed);
    }
}
