//! A conversation: typed messages over a socket, one after the other.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::net::UnixDatagram;

use super::frame::{self, Malformed};
use super::{Received, message};

/// Both ends of a new conversation. They do not block, and no child inherits them by accident.
///
/// # Errors
/// There are no descriptors left.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

/// One end, watched by the present runtime. It is no datagram socket, but keeps datagrams apart as one does; of tokio's
/// type only the watching is used.
#[derive(Debug)]
pub struct Channel {
    socket: UnixDatagram,
}

impl Channel {
    /// Joins the present runtime.
    ///
    /// # Errors
    /// It cannot be watched: it is no socket.
    pub fn new(socket: OwnedFd) -> io::Result<Channel> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Channel { socket: UnixDatagram::from_std(socket.into())? })
    }

    /// Leaves the runtime.
    ///
    /// # Errors
    /// It cannot be taken out.
    pub fn into_inner(self) -> io::Result<OwnedFd> {
        Ok(self.socket.into_std()?.into())
    }

    /// Sends a message as soon as the other side has room for it. Nothing is sent where this is dropped before.
    ///
    /// # Errors
    /// The other side is gone.
    pub async fn send(&self, message: &impl Serialize, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let body = serde_json::to_vec(message).map_err(io::Error::other)?;
        let push = || frame::send(&self.socket, &body, descriptors);
        self.socket.async_io(Interest::WRITABLE, push).await
    }

    /// The next message; `None` where the other side is gone. Nothing is lost where this is dropped before.
    ///
    /// # Errors
    /// The other side says what cannot be understood.
    pub async fn receive<T: DeserializeOwned>(&self) -> io::Result<Option<Received<T>>> {
        let received = self.socket.async_io(Interest::READABLE, || frame::receive(&self.socket)).await;
        let Some((body, descriptors)) = received.or_else(gone)? else { return Ok(None) };
        understand(&body, descriptors).map(Some)
    }
}

/// A side that was killed with words unread leaves a reset.
fn gone<T>(error: io::Error) -> io::Result<Option<T>> {
    if error.kind() == io::ErrorKind::ConnectionReset { Ok(None) } else { Err(error) }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A kind that is not known is another version's; a known kind whose content is wrong is a fault.
fn understand<T: DeserializeOwned>(body: &[u8], descriptors: Vec<OwnedFd>) -> io::Result<Received<T>> {
    let value: serde_json::Value = serde_json::from_slice(body).map_err(|_| Malformed::Json)?;
    let kind = value.get(message::KIND).and_then(|kind| kind.as_str()).ok_or(Malformed::Json)?.to_owned();
    match serde_json::from_value(value) {
        Ok(message) => Ok(Received::Message(message, descriptors)),
        Err(error) if error.to_string().starts_with("unknown variant") => Ok(Received::Unknown(kind)),
        Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, format!("{kind}: {error}"))),
    }
}
