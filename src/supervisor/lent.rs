//! Sockets that the service manager has opened, and lends (`LISTEN_FDS`, see `sd_listen_fds(3)`).
//!
//! They are open before this process is there and after it has gone, so clients that come meanwhile wait; and ports below
//! 1024 need no rights here. Which socket is for which listener its address says: the names that the manager gives
//! (`LISTEN_FDNAMES`) are another list to keep in step. What a configuration wants and nobody lends is opened as ever.
//!
//! They are kept to the end, whether or not a worker uses them: they are not ours to close, since the manager would hold
//! them still, and the address could not be opened again.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;

use listenfd::ListenFd;
use log::warn;

use super::held::Held;
use crate::wire::{Place, Wanted};

/// What was lent.
#[derive(Debug, Default)]
pub struct Lent(Vec<(Place, OwnedFd)>);

impl Lent {
    /// Takes over what the environment says. Only once in a process, and before it has a second thread: the environment
    /// forgets it, which other threads must not see.
    pub fn from_environment() -> Lent {
        let mut given = ListenFd::from_env();
        let count = given.len();
        let taken =
            |at| take(&mut given, at).inspect_err(|error| warn!("LISTEN_FDS: socket {at}: {error}")).ok();
        Lent((0..count).filter_map(taken).collect())
    }

    /// What was lent to the program before this one, in the same process.
    pub fn left(places: Vec<Place>, sockets: Vec<OwnedFd>) -> Lent {
        Lent(places.into_iter().zip(sockets).collect())
    }

    /// Where they listen.
    pub fn places(&self) -> Vec<Place> {
        self.0.iter().map(|(place, _)| place.clone()).collect()
    }

    /// The sockets, in the same order.
    pub fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.0.iter().map(|(_, socket)| socket.as_fd())
    }

    /// Those of `wanted` that are lent; the others stay in it.
    ///
    /// # Errors
    /// There are no descriptors left: which one cannot be had.
    pub fn give(&self, wanted: &mut Vec<Wanted>) -> Result<Vec<Held>, (Place, io::Error)> {
        let mut given = Vec::new();
        for (place, socket) in &self.0 {
            let before = wanted.len();
            wanted.retain(|one| one.place != *place);
            if wanted.len() < before {
                let shared = socket.as_fd().try_clone_to_owned().map_err(|error| (place.clone(), error))?;
                given.push(Held::lent(place.clone(), shared));
            }
        }
        Ok(given)
    }
}

fn take(given: &mut ListenFd, at: usize) -> io::Result<(Place, OwnedFd)> {
    if let Ok(Some(listener)) = given.take_tcp_listener(at) {
        return tcp(listener);
    }
    match given.take_unix_listener(at)? {
        Some(listener) => unix(listener),
        None => Err(io::Error::other("it is no socket that listens")),
    }
}

// The manager's sockets make whoever accepts wait, unless it is told otherwise (`NonBlocking=`). A worker must never wait.

fn tcp(listener: TcpListener) -> io::Result<(Place, OwnedFd)> {
    listener.set_nonblocking(true)?;
    // One that was shut by a worker before is opened again; nearly always there is nothing to take off.
    let _ = socket2::SockRef::from(&listener).detach_filter();
    Ok((Place::Tcp(listener.local_addr()?), listener.into()))
}

fn unix(listener: UnixListener) -> io::Result<(Place, OwnedFd)> {
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let path = address.as_pathname().ok_or_else(|| io::Error::other("it has no path"))?;
    Ok((Place::Unix(path.to_owned()), listener.into()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_lent_is_given_by_its_address_as_often_as_it_is_wanted() {
        let lent = Lent(vec![tcp(TcpListener::bind("127.0.0.1:0").unwrap()).unwrap()]);
        let place = lent.0[0].0.clone();
        for _ in 0..2 {
            let mut wanted = vec![wanted(place.clone()), wanted(Place::Unix("/nowhere".into()))];
            let given = lent.give(&mut wanted).unwrap();
            assert_eq!(given.iter().map(|held| &held.place).collect::<Vec<_>>(), [&place]);
            assert_eq!(wanted, [self::wanted(Place::Unix("/nowhere".into()))]);
        }
    }

    #[test]
    fn the_file_of_a_socket_that_is_lent_was_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let lent = Lent(vec![unix(UnixListener::bind(&path).unwrap()).unwrap()]);
        let given = lent.give(&mut vec![wanted(Place::Unix(path.clone()))]).unwrap();
        assert_eq!(given.len(), 1);
        drop((given, lent));
        assert!(path.exists());
    }

    fn wanted(place: Place) -> Wanted {
        Wanted { place, backlog: 8 }
    }
}
