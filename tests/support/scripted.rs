//! An upstream that plays what a test tells it to: byte by byte, with pauses, resets and lies.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::PATIENCE;
use super::message::{End, Framing, Received, Wire};

/// A listening upstream; it stops when dropped.
pub struct Scripted {
    address: SocketAddr,
    record: Arc<Record>,
}

/// What has happened on it.
#[derive(Default)]
struct Record {
    requests: Mutex<Vec<Received>>,
    opened: AtomicUsize,
    open: Mutex<BTreeSet<usize>>,
    stopped: AtomicBool,
}

impl Scripted {
    /// Plays `script` on every connection, each in a thread of its own.
    pub fn start(script: impl Fn(&mut Talk) + Send + Sync + 'static) -> Scripted {
        Self::start_at(TcpListener::bind("127.0.0.1:0").unwrap(), script)
    }

    /// The same on a port that the test chose before.
    pub fn start_on(port: u16, script: impl Fn(&mut Talk) + Send + Sync + 'static) -> Scripted {
        Self::start_at(TcpListener::bind(("127.0.0.1", port)).unwrap(), script)
    }

    /// Answers every request with 200 and this body, on connections that are kept.
    pub fn answering(body: &'static str) -> Scripted {
        Self::start(move |talk| while talk.request().is_some_and(|request| talk.answer_to(&request, body)) {})
    }

    /// Takes connections and never says a word.
    pub fn silent() -> Scripted {
        Self::start(Talk::wait_for_close)
    }

    fn start_at(listener: TcpListener, script: impl Fn(&mut Talk) + Send + Sync + 'static) -> Scripted {
        let address = listener.local_addr().unwrap();
        let record = Arc::new(Record::default());
        let shared = Arc::clone(&record);
        std::thread::spawn(move || accept(&listener, &shared, &Arc::new(script)));
        Scripted { address, record }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every request whose head arrived, in order of arrival.
    pub fn requests(&self) -> Vec<Received> {
        self.record.requests.lock().unwrap().clone()
    }

    /// How many requests arrived.
    pub fn count(&self) -> usize {
        self.record.requests.lock().unwrap().len()
    }

    /// How many connections have been opened so far.
    pub fn opened(&self) -> usize {
        self.record.opened.load(Ordering::SeqCst)
    }

    /// Whether this connection, counted from 0, is open now.
    pub fn is_open(&self, connection: usize) -> bool {
        self.record.open.lock().unwrap().contains(&connection)
    }

    /// How many connections are open now.
    pub fn open(&self) -> usize {
        self.record.open.lock().unwrap().len()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.record.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

fn accept(
    listener: &TcpListener,
    record: &Arc<Record>,
    script: &Arc<impl Fn(&mut Talk) + Send + Sync + 'static>,
) {
    for stream in listener.incoming().map_while(Result::ok) {
        if record.stopped.load(Ordering::SeqCst) {
            return;
        }
        let mut talk = Talk::new(stream, record);
        let script = Arc::clone(script);
        std::thread::spawn(move || script(&mut talk));
    }
}

/// One connection of a scripted upstream.
pub struct Talk {
    wire: Wire<TcpStream>,
    record: Arc<Record>,
    connection: usize,
}

impl Talk {
    fn new(stream: TcpStream, record: &Arc<Record>) -> Talk {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE * 4)).unwrap();
        let connection = record.opened.fetch_add(1, Ordering::SeqCst);
        record.open.lock().unwrap().insert(connection);
        Talk { wire: Wire::new(stream), record: Arc::clone(record), connection }
    }

    /// Which connection this is, from 0.
    pub fn connection(&self) -> usize {
        self.connection
    }

    /// Reads a request whole and records it; none when the connection ends.
    pub fn request(&mut self) -> Option<Received> {
        let mut request = self.head()?;
        let (body, end) = self.wire.read_body(Framing::of_request(&request.head));
        request.body = body;
        request.end = end;
        let mut requests = self.record.requests.lock().unwrap();
        let own = requests.iter_mut().rev().find(|entry| entry.connection == self.connection);
        *own.expect("recorded by its head") = request.clone();
        Some(request)
    }

    /// Reads a request's head only, and records that; its body stays unread.
    pub fn head(&mut self) -> Option<Received> {
        let head = self.wire.read_head().ok()?;
        let request = Received { head, body: Vec::new(), end: End::Late, connection: self.connection };
        self.record.requests.lock().unwrap().push(request.clone());
        Some(request)
    }

    /// Writes; false when the peer is gone.
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.wire.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Answers 200 with a body and a length.
    pub fn answer(&mut self, body: &str) -> bool {
        self.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
    }

    /// The same, without the body where a HEAD asked.
    pub fn answer_to(&mut self, request: &Received, body: &str) -> bool {
        let shown = if request.method() == "HEAD" { "" } else { body };
        self.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{shown}", body.len()))
    }

    /// Reads exactly so many bytes; none when the peer ends first.
    pub fn read_exact(&mut self, count: usize) -> Option<Vec<u8>> {
        self.wire.read_exact(count).ok()
    }

    /// Lets time pass: part of a script, never a wait for a result.
    pub fn pause(&self, time: Duration) {
        std::thread::sleep(time);
    }

    /// Ends the connection with FIN.
    pub fn close(&self) {
        let _ = self.wire.stream.shutdown(Shutdown::Both);
    }

    /// Makes the end of this connection, when the script returns, a RST.
    pub fn reset(&self) {
        let socket = socket2::SockRef::from(&self.wire.stream);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Reads and forgets until the peer ends the connection.
    pub fn wait_for_close(&mut self) {
        let _ = self.wire.read_body(Framing::UntilClose);
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.record.open.lock().unwrap().remove(&self.connection);
    }
}
