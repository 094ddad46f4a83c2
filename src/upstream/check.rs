//! One health check: an endpoint is asked, once, how it is.
//!
//! A check that shares anything with the traffic answers the wrong question: over a kept connection it finds out that
//! the connection still works, not that the endpoint takes new ones. So every check opens its own, and a check that has
//! no end is no check, so one deadline holds for all of it, whatever step takes the time.
//!
//! A connection a second and endpoint adds up, so it matters who closes it. Whoever closes first keeps the address pair
//! in TIME_WAIT for a minute; a reset spares both sides that, but applications write it into their logs. The choice: an
//! endpoint that was spoken to is asked to close and given a moment for it ([`part`]); one that was only
//! [knocked at](tcp) is left without a trace.

mod grpc;
mod http;
mod tcp;

use std::future::Future;
use std::io;
use std::net::SocketAddr;

use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout_at};

use super::shortage;
use crate::health::probe::Miss;
use crate::limits::{CHECK_BODY_BYTES, CHECK_PARTING};
use crate::plan::{Check, CheckKind};

/// Who asks, for the endpoint's log.
const USER_AGENT: &str = concat!("tetap/", env!("CARGO_PKG_VERSION"), " health-check");

/// Asks the endpoint at `address` once, or at `check.port` of the same host.
///
/// # Errors
/// [`Miss`], what was found instead of a good answer, at the latest after `check.timeout`.
pub async fn check(check: &Check, address: SocketAddr) -> Result<(), Miss> {
    let due = Instant::now() + check.timeout;
    let address = at_port(address, check.port);
    match &check.kind {
        CheckKind::Tcp => tcp::check(address, due).await,
        CheckKind::Http(asked) => http::check(asked, address, due).await,
        CheckKind::Grpc { service } => grpc::check(service, address, due).await,
    }
}

fn at_port(mut address: SocketAddr, port: Option<u16>) -> SocketAddr {
    if let Some(port) = port {
        address.set_port(port);
    }
    address
}

/// A step of a check, which may take until `due`.
async fn in_time<T>(due: Instant, step: impl Future<Output = Result<T, Miss>>) -> Result<T, Miss> {
    timeout_at(due, step).await.unwrap_or(Err(Miss::TimedOut))
}

async fn connect(address: SocketAddr) -> Result<TcpStream, Miss> {
    let opening = async { socket(address)?.connect(address).await };
    opening.await.map_err(|error| unconnected(&error))
}

fn unconnected(error: &io::Error) -> Miss {
    if shortage::is_own(error) { Miss::Unmade } else { Miss::NoConnection }
}

/// The handshake's last packet waits for one that says something, and goes with it: a packet less for both sides, and
/// an endpoint that is woken up once. Where the kernel does not play along, the check is as good.
fn socket(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    let _ = SockRef::from(&socket).set_tcp_quickack(false);
    Ok(socket)
}

/// Lets the endpoint close first, for a moment, and takes what it still says: bytes that nobody has read would turn our
/// own close into a reset.
async fn part(socket: TcpStream, due: Instant) {
    let _ = timeout_at(parting(due), drain(&socket)).await; // whatever comes of it, the verdict stands
}

/// When the endpoint has had its moment.
fn parting(due: Instant) -> Instant {
    due.min(Instant::now() + CHECK_PARTING)
}

async fn drain(socket: &TcpStream) {
    let mut drained = 0;
    while drained < CHECK_BODY_BYTES && socket.readable().await.is_ok() {
        match socket.try_read(&mut [0; 4096]) {
            Ok(0) => return,
            Ok(length) => drained += length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::task::JoinHandle;

    /// What a scripted endpoint does, one after the other; then it closes.
    #[derive(Clone, Copy)]
    pub(super) enum Step {
        /// Reads up to an empty line.
        Hear,
        Say(&'static [u8]),
        /// Says one byte each so often, for ever.
        Drip(Duration),
        Pause(Duration),
        /// Says that it will say no more.
        Finish,
        /// Reads on until the other side ends.
        Stay,
    }

    /// What an endpoint has lived through.
    #[derive(Debug)]
    pub(super) struct Heard {
        pub(super) text: String,
        pub(super) end: io::Result<()>,
    }

    /// An endpoint for one connection.
    pub(super) async fn endpoint(steps: &[Step]) -> (SocketAddr, JoinHandle<Heard>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let steps = steps.to_vec();
        let play = async move {
            let mut socket = listener.accept().await.unwrap().0;
            let mut text = Vec::new();
            let end = play(&mut socket, &steps, &mut text).await;
            Heard { text: String::from_utf8_lossy(&text).into_owned(), end }
        };
        (address, tokio::spawn(play))
    }

    async fn play(socket: &mut TcpStream, steps: &[Step], heard: &mut Vec<u8>) -> io::Result<()> {
        socket.set_nodelay(true)?;
        for step in steps {
            match step {
                Step::Hear => hear(socket, heard).await?,
                Step::Say(bytes) => socket.write_all(bytes).await?,
                Step::Drip(pause) => loop {
                    socket.write_all(b"x").await?;
                    tokio::time::sleep(*pause).await;
                },
                Step::Pause(pause) => tokio::time::sleep(*pause).await,
                Step::Finish => socket.shutdown().await?,
                Step::Stay => while socket.read_buf(heard).await? > 0 {},
            }
        }
        Ok(())
    }

    async fn hear(socket: &mut TcpStream, heard: &mut Vec<u8>) -> io::Result<()> {
        let ended = |heard: &[u8]| memchr::memmem::find(heard, b"\r\n\r\n").is_some();
        while !ended(heard) && socket.read_buf(heard).await? > 0 {}
        Ok(())
    }

    pub(super) const LONG: Duration = Duration::from_secs(10);
    pub(super) const SHORT: Duration = Duration::from_millis(200);

    pub(super) fn of(kind: CheckKind, timeout: Duration) -> Check {
        Check { kind, port: None, interval: LONG, timeout }
    }

    fn http() -> CheckKind {
        CheckKind::Http(Box::new(super::http::tests::get("/")))
    }

    fn grpc() -> CheckKind {
        CheckKind::Grpc { service: "".into() }
    }

    /// Connections of this machine to the port of `address` that are in TIME_WAIT on the near side. An earlier test may
    /// have had the same port.
    fn lingering(address: SocketAddr) -> usize {
        let far = format!(":{:04X}", address.port());
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let lingers = |line: &str| {
            let columns: Vec<&str> = line.split_whitespace().collect();
            matches!(columns[..], [_, _, remote, "06", ..] if remote.ends_with(&far))
        };
        table.lines().filter(|line| lingers(line)).count()
    }

    #[tokio::test]
    async fn where_nobody_listens_there_is_no_connection() {
        let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        for kind in [CheckKind::Tcp, http(), grpc()] {
            assert_eq!(check(&of(kind, LONG), address).await, Err(Miss::NoConnection));
        }
    }

    #[tokio::test]
    async fn who_takes_connections_and_says_nothing_is_late() {
        for kind in [http(), grpc()] {
            let (address, _endpoint) = endpoint(&[Step::Stay]).await;
            let begun = Instant::now();
            assert_eq!(check(&of(kind, SHORT), address).await, Err(Miss::TimedOut));
            assert!(begun.elapsed() >= SHORT && begun.elapsed() < LONG, "{:?}", begun.elapsed());
        }
    }

    #[tokio::test]
    async fn who_closes_without_a_word_has_broken_the_connection() {
        for kind in [http(), grpc()] {
            let (address, _endpoint) = endpoint(&[Step::Hear, Step::Finish, Step::Stay]).await;
            assert_eq!(check(&of(kind, LONG), address).await, Err(Miss::Broken));
        }
    }

    /// A listening socket whose queue is full, so that nobody can connect and nobody is refused.
    async fn full() -> (socket2::Socket, Vec<JoinHandle<io::Result<TcpStream>>>, SocketAddr) {
        let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let waiting = (0..4).map(|_| tokio::spawn(TcpStream::connect(address))).collect();
        tokio::time::sleep(SHORT).await; // until they are in it
        (listener, waiting, address)
    }

    #[tokio::test]
    async fn a_connection_that_hangs_is_late() {
        let (_listener, _waiting, address) = full().await;
        for kind in [CheckKind::Tcp, http(), grpc()] {
            assert_eq!(check(&of(kind, SHORT), address).await, Err(Miss::TimedOut));
        }
    }

    #[tokio::test]
    async fn another_port_of_the_same_host_can_be_asked() {
        let (address, _endpoint) =
            endpoint(&[Step::Hear, Step::Say(b"HTTP/1.1 204 No Content\r\n\r\n")]).await;
        let asked = Check { port: Some(address.port()), ..of(http(), LONG) };
        let serving = SocketAddr::new(address.ip(), 1);
        assert_eq!(check(&asked, serving).await, Ok(()));
    }

    #[tokio::test]
    async fn a_tcp_check_leaves_no_trace() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let lingered = lingering(address);
        for _ in 0..5 {
            assert_eq!(check(&of(CheckKind::Tcp, LONG), address).await, Ok(()));
        }
        let mut seen = 0;
        while tokio::time::timeout(SHORT, listener.accept()).await.is_ok() {
            seen += 1;
        }
        assert!(seen < 5, "the application was handed all of them"); // a busy machine may send the last packet
        assert!(lingering(address) <= lingered);
    }

    #[tokio::test]
    async fn the_endpoint_is_given_a_moment_to_close_first() {
        let answer = Step::Say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        let moment = Step::Pause(CHECK_PARTING / 50);
        let steps = [Step::Hear, answer, moment, Step::Finish, Step::Stay];
        let (address, endpoint) = endpoint(&steps).await;
        let lingered = lingering(address);
        assert_eq!(check(&of(http(), LONG), address).await, Ok(()));
        endpoint.await.unwrap().end.unwrap();
        assert!(lingering(address) <= lingered);
    }

    #[tokio::test]
    async fn what_is_still_said_is_taken() {
        let moment = Step::Pause(Duration::from_millis(1));
        let pieces = [&b"in "[..], b"pie", b"ces"].map(|piece| [moment, Step::Say(piece)]).concat();
        let (address, endpoint) = endpoint(&[&pieces[..], &[Step::Finish, Step::Stay]].concat()).await;
        let socket = connect(address).await.unwrap();
        drain(&socket).await;
        drop(socket);
        endpoint.await.unwrap().end.unwrap();
    }

    #[tokio::test]
    async fn an_endpoint_that_does_not_close_is_left_without_a_reset() {
        let answer = Step::Say(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nin pieces");
        let (address, endpoint) = endpoint(&[Step::Hear, answer, Step::Stay]).await;
        let begun = Instant::now();
        assert_eq!(check(&of(http(), LONG), address).await, Ok(()));
        assert!(begun.elapsed() < LONG / 2, "{:?}", begun.elapsed());
        endpoint.await.unwrap().end.unwrap();
    }

    #[tokio::test]
    async fn who_goes_on_talking_is_left_all_the_same() {
        let answer = Step::Say(b"HTTP/1.1 200 OK\r\n\r\n");
        let (address, _endpoint) =
            endpoint(&[Step::Hear, answer, Step::Drip(Duration::from_millis(5))]).await;
        let begun = Instant::now();
        assert_eq!(check(&of(http(), LONG), address).await, Ok(()));
        assert!(begun.elapsed() < LONG / 2, "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn the_moment_to_close_is_part_of_the_checks_time() {
        let now = Instant::now();
        assert_eq!(parting(now + LONG), now + CHECK_PARTING);
        assert_eq!(parting(now + CHECK_PARTING / 2), now + CHECK_PARTING / 2);
    }
}
