//! The listening sockets. They outlive every worker; a client that connects while one is replaced waits in a queue here.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use tokio::time::sleep;

use crate::limits::{BIND_PAUSE, BIND_TRIES, WIRE_DESCRIPTORS};
use crate::sockets::Unlink;
use crate::wire::{Order, Place, Wanted};

/// A socket, and the file that leads to it.
#[derive(Debug)]
pub struct Held {
    /// Where it listens.
    pub place: Place,
    // Dropped before the socket, so that the way to it ends first.
    _file: Option<Unlink>,
    socket: OwnedFd,
}

impl Held {
    /// One that is there.
    pub fn new(place: Place, socket: OwnedFd) -> Held {
        let file = if let Place::Unix(path) = &place { Some(Unlink::of(path)) } else { None };
        Held { place, _file: file, socket }
    }

    /// One that belongs to somebody else, who made its file and will remove it.
    pub fn lent(place: Place, socket: OwnedFd) -> Held {
        Held { place, _file: None, socket }
    }

    /// The socket.
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The socket once more.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub fn share(&self) -> io::Result<OwnedFd> {
        self.socket.as_fd().try_clone_to_owned()
    }
}

/// Messages that give somebody all of these.
///
/// # Errors
/// There are no descriptors left.
pub fn handed<'h>(held: impl IntoIterator<Item = &'h Held>) -> io::Result<Vec<(Order, Vec<OwnedFd>)>> {
    let held: Vec<&Held> = held.into_iter().collect();
    let message = |part: &[&Held]| {
        let places = part.iter().map(|held| held.place.clone()).collect();
        let sockets = part.iter().map(|held| held.share()).collect::<io::Result<_>>()?;
        Ok((Order::Sockets { places }, sockets))
    };
    held.chunks(WIRE_DESCRIPTORS).map(message).collect()
}

/// Opens all of them, or none. A worker that is about to close its sockets may hold one of them for a moment: one that was
/// followed, or one whose supervisor was killed. So an address in use is tried again for a while.
///
/// # Errors
/// Which one cannot be had, and why not.
pub async fn open(wanted: &[Wanted]) -> Result<Vec<Held>, (Place, io::Error)> {
    let mut opened = Vec::new();
    for one in wanted {
        let socket = open_one(one).await.map_err(|error| (one.place.clone(), error))?;
        opened.push(Held::new(one.place.clone(), socket));
    }
    Ok(opened)
}

async fn open_one(wanted: &Wanted) -> io::Result<OwnedFd> {
    let mut tries = BIND_TRIES;
    loop {
        match wanted.open() {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries > 0 => tries -= 1,
            outcome => return outcome,
        }
        sleep(BIND_PAUSE).await;
    }
}
