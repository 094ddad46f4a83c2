//! A network between the proxy and a server: everything takes its time, the news that a connection has ended included.
//!
//! On the loopback there is no moment between "the server closes" and "the proxy knows", so the most common failure of
//! kept-alive connections never happens there: a request that is sent while the server's FIN is on its way meets a RST. This
//! relay holds every byte, every FIN and every RST for a while in each direction, one after the other as they came. Only
//! connecting takes no time, since the kernel does that.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until};

/// A running relay; everything on it ends when it is dropped.
pub struct Relay {
    address: SocketAddr,
    _stop: oneshot::Sender<()>,
}

impl Relay {
    /// Starts one in front of a server; it takes so long to get there, and as long to get back.
    pub fn start(server: SocketAddr, delay: Duration) -> Relay {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::select! { _ = relay(listener, server, delay) => {}, _ = stopped => {} }
            });
        });
        Relay { address, _stop: stop }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn relay(listener: std::net::TcpListener, server: SocketAddr, delay: Duration) {
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            match TcpStream::connect(server).await {
                Ok(server) => carry(client, server, delay).await,
                Err(_) => client.set_zero_linger().unwrap(), // as near to "refused" as it gets after an accept
            }
        });
    }
}

/// Carries one connection until both ends have closed, or one of them has reset.
async fn carry(client: TcpStream, server: TcpStream, delay: Duration) {
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    tokio::select! {
        biased; // what was sent before a reset arrives before it
        _ = async { tokio::join!(pass(&client, &server, delay), pass(&server, &client, delay)) } => {}
        () = reset_by(&server, delay) => client.set_zero_linger().unwrap(),
        () = reset_by(&client, delay) => server.set_zero_linger().unwrap(),
    }
}

/// Returns when the news arrives at the other side that this one has reset.
async fn reset_by(end: &TcpStream, delay: Duration) {
    let _ = end.ready(Interest::ERROR).await;
    sleep(delay).await;
}

/// Passes bytes and the FIN on, each at its time.
async fn pass(from: &TcpStream, to: &TcpStream, delay: Duration) {
    let (sender, mut line) = mpsc::unbounded_channel();
    let receive = async {
        while let Some(bytes) = receive(from).await {
            let _ = sender.send((Instant::now() + delay, bytes));
        }
        let _ = sender.send((Instant::now() + delay, Vec::new()));
    };
    let deliver = async {
        while let Some((due, bytes)) = line.recv().await {
            sleep_until(due).await;
            if bytes.is_empty() {
                return shut_down(to);
            }
            deliver(to, &bytes).await;
        }
    };
    tokio::join!(receive, deliver);
}

/// What comes next; none at the FIN. After a RST nothing comes any more: that news has its own way.
async fn receive(from: &TcpStream) -> Option<Vec<u8>> {
    let mut buffer = vec![0; 16 * 1024];
    let count = retry(from, Interest::READABLE, || from.try_read(&mut buffer)).await;
    buffer.truncate(count);
    (count > 0).then_some(buffer)
}

async fn deliver(to: &TcpStream, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let count = retry(to, Interest::WRITABLE, || to.try_write(bytes)).await;
        bytes = &bytes[count..];
    }
}

/// Does it as soon as it can be done, or never, if the connection is broken.
async fn retry(
    stream: &TcpStream,
    interest: Interest,
    mut attempt: impl FnMut() -> io::Result<usize>,
) -> usize {
    loop {
        let _ = stream.ready(interest).await;
        match attempt() {
            Ok(count) => return count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => std::future::pending().await,
        }
    }
}

/// Sends a FIN; a connection that is broken needs none.
fn shut_down(stream: &TcpStream) {
    let _ = socket2::SockRef::from(stream).shutdown(std::net::Shutdown::Write);
}
