//! Where sockets are, in words that both sides have.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::sockets;

/// Where a listening socket is. Places are compared as addresses, not as text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// TCP, IPv4 or IPv6; as it was asked for, so that port 0 is found again.
    Tcp(SocketAddr),
    /// A unix socket's path.
    Unix(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Tcp(address) => address.fmt(f),
            Place::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A socket that a worker wants to listen on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Where.
    pub place: Place,
    /// Connections that the kernel queues.
    pub backlog: u32,
}

impl Wanted {
    /// Opens it.
    ///
    /// # Errors
    /// It is in use, or not ours.
    pub fn open(&self) -> io::Result<OwnedFd> {
        match &self.place {
            Place::Tcp(address) => sockets::tcp(*address, self.backlog),
            Place::Unix(path) => sockets::unix(path, self.backlog),
        }
    }
}
