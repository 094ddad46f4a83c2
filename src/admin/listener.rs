//! Few connections, none of them for ever.
//!
//! The server beneath has no deadline for a request's header and no bound on connections, so that a scanner which opens
//! connections and says nothing would take one descriptor each, until the traffic has none left. Two bounds end that:
//! [`ADMIN_CONNECTIONS`](limits::ADMIN_CONNECTIONS) at a time, and [`ADMIN_CONNECTION_AGE`](limits::ADMIN_CONNECTION_AGE) for each,
//! whatever it is doing. Who comes when all are taken waits in the kernel's queue, for that long at worst.

use std::future::pending;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

use crate::limits;

/// A listener that hands out a bounded number of connections.
pub(super) struct Bounded {
    listener: TcpListener,
    permits: Arc<Semaphore>,
}

impl Bounded {
    pub(super) fn new(listener: TcpListener) -> Bounded {
        Bounded { listener, permits: Arc::new(Semaphore::new(limits::ADMIN_CONNECTIONS)) }
    }
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let Ok(permit) = self.permits.clone().acquire_owned().await else { return pending().await };
        let (stream, peer) = Listener::accept(&mut self.listener).await;
        let age = Box::pin(sleep(limits::ADMIN_CONNECTION_AGE));
        (Connection { stream, age, _permit: permit }, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A stream that ends when it is old, and gives its place back by drop.
pub(super) struct Connection {
    stream: TcpStream,
    age: Pin<Box<Sleep>>,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    /// An error once the connection is old; until then the task is woken at that time.
    fn poll_age(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.age.as_mut().poll(context) {
            Poll::Ready(()) => Err(ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_age(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_age(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use std::time::Duration;
    use tokio::io::AsyncReadExt;
    use tokio::time::timeout;

    async fn listener() -> (Bounded, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (Bounded::new(listener), address)
    }

    #[tokio::test]
    async fn one_place_given_back_is_one_connection_more() {
        let (mut listener, address) = listener().await;
        let mut clients = Vec::new();
        let mut taken = Vec::new();
        for _ in 0..limits::ADMIN_CONNECTIONS {
            clients.push(TcpStream::connect(address).await.unwrap());
            taken.push(listener.accept().await);
        }
        clients.push(TcpStream::connect(address).await.unwrap());
        assert!(timeout(Duration::from_millis(20), listener.accept()).await.is_err());
        taken.pop();
        timeout(Duration::from_secs(20), listener.accept()).await.expect("a place is free");
    }

    #[tokio::test]
    async fn a_silent_connection_ends_when_it_is_old() {
        let (mut listener, address) = listener().await;
        let _client = TcpStream::connect(address).await.unwrap();
        let (mut connection, _) = listener.accept().await;
        connection.age.as_mut().reset(tokio::time::Instant::now() + Duration::from_millis(5));
        let read = timeout(Duration::from_secs(20), connection.read_u8()).await.expect("it ends");
        assert_eq!(read.unwrap_err().kind(), ErrorKind::TimedOut);
    }
}
