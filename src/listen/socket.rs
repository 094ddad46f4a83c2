//! Sockets that clients connect to, and the two kinds of stream that they give.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, Socket};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::plan::Address;

/// A listening socket, not yet part of a runtime.
#[derive(Debug)]
pub struct Bound {
    socket: Socket,
    address: Address,
}

impl Bound {
    /// One that was opened for this address, by whomever.
    pub fn new(socket: OwnedFd, address: Address) -> Bound {
        Bound { socket: socket.into(), address }
    }

    /// Where clients connect; the real port where the configuration said 0.
    pub fn address(&self) -> Address {
        match self.socket.local_addr().ok().and_then(|address| address.as_socket()) {
            Some(address) => Address::Tcp(address),
            None => self.address.clone(),
        }
    }

    /// Has the kernel queue so many connections from now on: a socket that was there before may have been opened with
    /// another bound.
    ///
    /// # Errors
    /// It is no listening socket.
    pub fn set_backlog(&self, backlog: u32) -> io::Result<()> {
        self.socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))
    }

    /// Joins the present runtime.
    ///
    /// # Errors
    /// The runtime cannot watch the socket.
    pub fn into_listener(self) -> io::Result<Listener> {
        Ok(match self.address {
            Address::Tcp(_) => Listener::Tcp(TcpListener::from_std(self.socket.into())?),
            Address::Unix(_) => Listener::Unix(UnixListener::from_std(self.socket.into())?),
        })
    }
}

/// A listening socket.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// Unix.
    Unix(UnixListener),
}

impl Listener {
    /// The next connection.
    ///
    /// # Errors
    /// The process or the system has run out of descriptors or memory, or the client has gone away already.
    pub async fn accept(&self) -> io::Result<(Transport, Peer)> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok((Transport::Tcp(stream), Peer::Ip(peer)))
            }
            Listener::Unix(listener) => Ok((Transport::Unix(listener.accept().await?.0), Peer::Unix)),
        }
    }

    /// A connection that is in the kernel's queue at this moment, whether or not the runtime has heard of it.
    ///
    /// # Errors
    /// As for [`accept`](Listener::accept); [`WouldBlock`](io::ErrorKind::WouldBlock) when the queue is empty.
    pub fn accept_queued(&self) -> io::Result<(Transport, Peer)> {
        let (socket, address) = match self {
            Listener::Tcp(listener) => SockRef::from(listener).accept(),
            Listener::Unix(listener) => SockRef::from(listener).accept(),
        }?;
        socket.set_nonblocking(true)?;
        let Some(peer) = address.as_socket() else {
            return Ok((Transport::Unix(UnixStream::from_std(socket.into())?), Peer::Unix));
        };
        socket.set_tcp_nodelay(true)?;
        Ok((Transport::Tcp(TcpStream::from_std(socket.into())?), Peer::Ip(peer)))
    }

    /// From now on no connection can be begun; those that were begun can still be completed and accepted.
    ///
    /// Closing a listening socket resets what is in its queue, and between the last accept and the close there is
    /// always room for one more. So the way to the socket is closed first: TCP drops every segment that opens a connection.
    /// Its client sends it again after a second, and is refused then, or is let in by a successor on the same port. The
    /// filter belongs to the socket: one that is shared with a successor must not be shut. The way to a unix socket is its
    /// file, which whoever opened it has removed by now.
    ///
    /// # Errors
    /// The kernel takes no filter: connections can be begun until the socket is closed.
    pub fn shut(&self) -> io::Result<()> {
        match self {
            Listener::Tcp(listener) => drop_openings(listener),
            Listener::Unix(_) => Ok(()),
        }
    }
}

/// As a classic BPF program over the TCP header: SYN without ACK (RFC 9293, section 3.5) is dropped, all else passes.
#[cfg(target_os = "linux")]
fn drop_openings(listener: &TcpListener) -> io::Result<()> {
    use socket2::SockFilter;
    const FLAGS: u32 = 13;
    const SYN: u32 = 0x02;
    const ACK: u32 = 0x10;
    SockRef::from(listener).attach_filter(&[
        SockFilter::new(0x30, 0, 0, FLAGS),     // load the byte with the flags
        SockFilter::new(0x54, 0, 0, SYN | ACK), // keep these two
        SockFilter::new(0x15, 0, 1, SYN),       // where it is SYN alone, go on, else pass over one
        SockFilter::new(0x06, 0, 0, 0),         // drop it
        SockFilter::new(0x06, 0, 0, u32::MAX),  // take it whole
    ])
}

#[cfg(not(target_os = "linux"))]
fn drop_openings(_: &TcpListener) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The other end of a client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Over TCP.
    Ip(SocketAddr),
    /// Over a unix socket.
    Unix,
    /// The worker itself, which wants to see that it serves.
    Own,
}

impl Peer {
    /// The peer's address, IPv4 where it came mapped into IPv6.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Peer::Ip(address) => Some(address.ip().to_canonical()),
            Peer::Unix | Peer::Own => None,
        }
    }
}

/// A client's connection as the kernel has it.
#[derive(Debug)]
pub enum Transport {
    /// TCP, without Nagle's delay.
    Tcp(TcpStream),
    /// Unix.
    Unix(UnixStream),
}

impl Transport {
    /// Ready when bytes, an end or an error can be read. Takes no memory while it waits.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Transport::Tcp(stream) => stream.poll_read_ready(cx),
            Transport::Unix(stream) => stream.poll_read_ready(cx),
        }
    }

    /// Whether the connection ends with a reset, so that a client cannot take a cut-off answer for a whole one. A unix
    /// socket knows no reset.
    pub fn reset_on_close(&self, resets: bool) {
        let _ = match self {
            Transport::Tcp(stream) => SockRef::from(stream).set_linger(resets.then_some(Duration::ZERO)),
            Transport::Unix(_) => Ok(()),
        };
    }

    /// The local port, where there is one.
    pub fn local_port(&self) -> Option<u16> {
        match self {
            Transport::Tcp(stream) => stream.local_addr().ok().map(|address| address.port()),
            Transport::Unix(_) => None,
        }
    }
}

impl AsRawFd for Transport {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Transport::Tcp(stream) => stream.as_raw_fd(),
            Transport::Unix(stream) => stream.as_raw_fd(),
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Transport::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Transport::Tcp(stream) => Pin::new(stream).poll_write(cx, data),
            Transport::Unix(stream) => Pin::new(stream).poll_write(cx, data),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Transport::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Transport::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(())) // the kernel's buffers have no flush
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Transport::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A socket that no runtime can watch, since it is a file.
    pub(in crate::listen) fn unwatchable() -> Bound {
        let file = std::os::fd::OwnedFd::from(tempfile::tempfile().unwrap());
        let socket = Socket::from(file);
        socket.set_nonblocking(true).unwrap();
        Bound { socket, address: Address::Tcp("127.0.0.1:1".parse().unwrap()) }
    }

    #[tokio::test]
    async fn a_shut_listener_has_its_queue_and_nobody_new() {
        let address = "127.0.0.1:0".parse().unwrap();
        let bound = Bound::new(crate::sockets::tcp(address, 8).unwrap(), Address::Tcp(address));
        let Address::Tcp(at) = bound.address() else { unreachable!() };
        let connect = || std::net::TcpStream::connect_timeout(&at, Duration::from_millis(50));
        let listener = bound.into_listener().unwrap();
        let early = connect().unwrap();
        listener.shut().unwrap();
        assert_eq!(connect().unwrap_err().kind(), io::ErrorKind::TimedOut);
        let (_, peer) = listener.accept_queued().unwrap();
        assert_eq!(peer, Peer::Ip(early.local_addr().unwrap()));
        assert_eq!(listener.accept_queued().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
