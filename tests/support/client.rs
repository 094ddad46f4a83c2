//! A client that sends the bytes it is given and reports what came back, byte for byte.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::PATIENCE;
use super::message::{Answer, End, Framing, Wire};

/// TCP or unix.
pub enum Stream {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a unix socket.
    Unix(UnixStream),
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection between two requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// As it should be.
    Quiet,
    /// Ended by the peer.
    Ended,
    /// The peer said something that was no answer to anything.
    Spoke,
}

/// One connection to the proxy.
pub struct Client {
    wire: Wire<Stream>,
}

impl Client {
    /// Connects; panics when refused.
    pub fn connect(address: SocketAddr) -> Client {
        Self::try_connect(address).unwrap_or_else(|error| panic!("connecting to {address}: {error}"))
    }

    /// Connects, if somebody listens.
    pub fn try_connect(address: SocketAddr) -> io::Result<Client> {
        Self::over(TcpStream::connect_timeout(&address, PATIENCE)?)
    }

    /// Connects from this address of the loopback network.
    pub fn connect_from(source: IpAddr, address: SocketAddr) -> Client {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::new(source, 0).into()).unwrap();
        socket.connect(&address.into()).unwrap();
        Self::over(socket.into()).unwrap()
    }

    /// Connects with a small receive buffer, so that unread answers soon stop the sender.
    pub fn connect_narrow(address: SocketAddr) -> Client {
        Self::try_connect_narrow(address, 4096).unwrap()
    }

    /// The same with a receive buffer of this size, if somebody listens.
    pub fn try_connect_narrow(address: SocketAddr, bytes: usize) -> io::Result<Client> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_recv_buffer_size(bytes)?;
        socket.connect_timeout(&address.into(), PATIENCE)?;
        Self::over(socket.into())
    }

    /// Connects to a unix socket.
    pub fn connect_unix(path: &Path) -> Client {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client { wire: Wire::new(Stream::Unix(stream)) }
    }

    fn over(stream: TcpStream) -> io::Result<Client> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Client { wire: Wire::new(Stream::Tcp(stream)) })
    }

    /// Waits at most so long for each read from now on.
    pub fn set_patience(&mut self, patience: Duration) {
        match &self.wire.stream {
            Stream::Tcp(stream) => stream.set_read_timeout(Some(patience)).unwrap(),
            Stream::Unix(stream) => stream.set_read_timeout(Some(patience)).unwrap(),
        }
    }

    /// Sends all of it. A peer that has closed meanwhile is no error here: what it answered tells.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _ = self.wire.stream.write_all(bytes.as_ref());
        self
    }

    /// Sends all of it, or says why not.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.wire.stream.write_all(bytes.as_ref())
    }

    /// Sends one byte at a time with a pause between, until the peer closes or all is sent. Returns how many went out.
    pub fn drip(&mut self, bytes: impl AsRef<[u8]>, pause: Duration) -> usize {
        let bytes = bytes.as_ref();
        let sent = bytes.iter().take_while(|byte| {
            std::thread::sleep(pause);
            !self.has_input() && self.wire.stream.write_all(&[**byte]).is_ok()
        });
        sent.count()
    }

    /// Whether there is something to read, an end of the connection included.
    pub fn has_input(&mut self) -> bool {
        self.between_requests() != Rest::Quiet
    }

    /// What has come of the connection while nobody asked anything on it, without waiting. Only TCP tells.
    pub fn between_requests(&mut self) -> Rest {
        let Stream::Tcp(stream) = &self.wire.stream else { return Rest::Quiet };
        if !self.wire.ahead().is_empty() {
            return Rest::Spoke;
        }
        stream.set_nonblocking(true).unwrap();
        let seen = stream.peek(&mut [0]);
        stream.set_nonblocking(false).unwrap();
        match seen {
            Ok(1..) => Rest::Spoke,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Rest::Quiet,
            Ok(0) | Err(_) => Rest::Ended,
        }
    }

    /// What has been read and not been asked for: all there is of an answer whose head never became whole.
    pub fn unread(&self) -> &[u8] {
        self.wire.ahead()
    }

    /// Reads what comes next into [`unread`](Client::unread), 16 KiB at most.
    pub fn fill(&mut self) -> io::Result<()> {
        self.wire.fill()
    }

    /// Sends a GET and reads its answer.
    pub fn get(&mut self, target: &str) -> Answer {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n"));
        self.read_answer()
    }

    /// Sends a POST and reads its answer.
    pub fn post(&mut self, target: &str, body: &[u8]) -> Answer {
        self.send(format!("POST {target} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n", body.len()));
        self.send(body);
        self.read_answer()
    }

    /// Reads an answer; panics when none begins.
    pub fn read_answer(&mut self) -> Answer {
        self.try_answer(false).unwrap_or_else(|end| panic!("no answer: {end:?}"))
    }

    /// Reads the answer to a HEAD request.
    pub fn read_answer_to_head(&mut self) -> Answer {
        self.try_answer(true).unwrap_or_else(|end| panic!("no answer: {end:?}"))
    }

    /// Reads an answer, or says how the connection ended before its head was whole.
    pub fn try_answer(&mut self, to_head: bool) -> Result<Answer, End> {
        let mut interim = Vec::new();
        loop {
            let head = self.wire.read_head().map_err(End::from)?;
            let status = status(&head.line)?;
            if status < 200 && status != 101 {
                interim.push(head);
                continue;
            }
            let (body, end) = self.wire.read_body(Framing::of_answer(&head, status, to_head));
            return Ok(Answer { status, head, interim, body, end });
        }
    }

    /// Reads exactly so many bytes.
    pub fn read_exact(&mut self, count: usize) -> io::Result<Vec<u8>> {
        self.wire.read_exact(count)
    }

    /// Reads until the peer ends the connection: everything that came, and how it ended.
    pub fn read_to_end(&mut self) -> (Vec<u8>, End) {
        self.wire.read_body(Framing::UntilClose)
    }

    /// Whether the peer closes without another byte.
    pub fn is_closed(&mut self) -> bool {
        let (rest, end) = self.read_to_end();
        rest.is_empty() && end != End::Late
    }

    /// Whether the connection stands and serves another request.
    pub fn is_kept(&mut self, probe: &str) -> bool {
        self.send(probe);
        self.try_answer(false).is_ok()
    }

    /// Half-closes: no more requests, but still reading.
    pub fn finish_sending(&mut self) {
        if let Stream::Tcp(stream) = &self.wire.stream {
            stream.shutdown(std::net::Shutdown::Write).unwrap();
        }
    }
}

fn status(line: &str) -> Result<u16, End> {
    let garbled = || End::Garbled(line.to_string());
    let rest =
        line.strip_prefix("HTTP/1.1 ").or_else(|| line.strip_prefix("HTTP/1.0 ")).ok_or_else(garbled)?;
    rest.get(..3).and_then(|digits| digits.parse().ok()).ok_or_else(garbled)
}
