//! The sockets that a plan needs: which, opened, and put where they belong.
//!
//! They are named by their place and not by their listener: a listener that is renamed keeps its socket, and with it the
//! connections that wait in its queue.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use super::worker::RunError;
use crate::limits::ADMIN_BACKLOG;
use crate::listen::socket::Bound;
use crate::plan::{self, Address, Plan};
use crate::sockets::Unlink;
use crate::wire::{Place, Wanted};

/// A socket, and its file if it has one and is ours to remove.
pub type Socket = (Bound, Option<Unlink>);

/// What a worker serves at.
pub struct Sockets {
    /// Of the listeners, in the order of the plan.
    pub listeners: Vec<Socket>,
    /// Of the admin address.
    pub admin: Option<std::net::TcpListener>,
}

/// Where an address is.
pub fn place(address: &Address) -> Place {
    match address {
        Address::Tcp(address) => Place::Tcp(*address),
        Address::Unix(path) => Place::Unix(path.clone()),
    }
}

/// A socket, and what it is for.
pub struct Need {
    /// As people know it.
    pub name: String,
    /// The socket.
    pub wanted: Wanted,
}

/// All that a plan needs: its listeners, in their order, and then the admin address.
pub fn needs(plan: &Plan) -> Vec<Need> {
    plan.listeners.iter().map(of_listener).chain(plan.admin.map(of_admin)).collect()
}

/// What a listener needs.
pub fn of_listener(listener: &plan::Listener) -> Need {
    Need {
        name: format!("listener {}", listener.name),
        wanted: Wanted { place: place(&listener.address), backlog: listener.limits.backlog },
    }
}

/// What the admin address needs.
pub fn of_admin(address: SocketAddr) -> Need {
    Need { name: "admin".into(), wanted: Wanted { place: Place::Tcp(address), backlog: ADMIN_BACKLOG } }
}

/// A listener's socket, which somebody else owns too.
pub fn opened((listener, socket): (plan::Listener, OwnedFd)) -> (plan::Listener, Socket) {
    let bound = Bound::new(socket, listener.address.clone());
    (listener, (bound, None))
}

/// Opens them all, for a process that owns its sockets.
///
/// # Errors
/// The first that cannot be had.
pub fn open(plan: &Plan) -> Result<Sockets, RunError> {
    let open = |need: &Need| need.wanted.open().map_err(|source| refused(need, source));
    let opened = needs(plan).iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let mut sockets = assign(plan, opened);
    for (listener, (_, file)) in plan.listeners.iter().zip(&mut sockets.listeners) {
        if let Address::Unix(path) = &listener.address {
            *file = Some(Unlink::of(path));
        }
    }
    Ok(sockets)
}

/// Sockets in the order of [`needs`], which somebody else owns too.
pub fn assign(plan: &Plan, opened: Vec<OwnedFd>) -> Sockets {
    let mut opened = opened.into_iter();
    let listeners = plan.listeners.iter().zip(opened.by_ref());
    let bound = listeners.map(|(listener, socket)| (Bound::new(socket, listener.address.clone()), None));
    Sockets { listeners: bound.collect(), admin: opened.next().map(std::net::TcpListener::from) }
}

/// Says whose socket it is that cannot be had.
pub fn refused(need: &Need, source: io::Error) -> RunError {
    RunError::Listen { name: need.name.clone(), place: need.wanted.place.clone(), source }
}
