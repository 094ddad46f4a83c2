//! The server's own side: what the process does that [`super::Server`] starts.
//!
//! A blocking thread for each connection, and nothing clever: what it does wrong, it does on purpose. It ends when its
//! standard input does, which the kernel sees to however the test ends.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};

use super::super::ask::{Ask, Shape};
use super::super::message::{End, Framing, Head, Wire};
use super::super::{PATIENCE, until};
use super::{Conduct, Fault, Role};

/// Runs a server with this role, as [`super::Server`] writes it.
pub fn serve(role: &str) {
    let role: Role = serde_json::from_str(role).unwrap();
    let listener = listen(role.port);
    let shop = Arc::new(Shop::new(role));
    let (leaver, address) = (Arc::clone(&shop), listener.local_addr().unwrap());
    std::thread::spawn(exit_with_input);
    std::thread::spawn(move || leave_on_term(&leaver, address));
    accept(listener, &shop);
    until("the last request is answered", || shop.visitors.load(Ordering::SeqCst) == 0);
}

/// As many may wait to be accepted as an API server lets wait, not as few as the standard library does.
fn listen(port: u16) -> TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap(); // it comes back on the port that it had
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()).unwrap();
    socket.listen(1024).unwrap();
    socket.into()
}

fn exit_with_input() {
    let mut input = std::io::stdin().lock();
    while input.read(&mut [0; 64]).is_ok_and(|count| count > 0) {}
    std::process::exit(0);
}

fn leave_on_term(shop: &Shop, address: SocketAddr) {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    runtime.block_on(async { signal(SignalKind::terminate()).unwrap().recv().await });
    shop.leaving.store(true, Ordering::SeqCst);
    let _ = TcpStream::connect(address); // wakes the accept loop
}

/// Takes connections until it is time to leave, and then those that were already waiting: closing the door on them would
/// reset requests that nobody has read.
fn accept(listener: TcpListener, shop: &Arc<Shop>) {
    while !shop.leaving.load(Ordering::SeqCst) {
        let (stream, _) = listener.accept().unwrap();
        welcome(stream, shop);
    }
    listener.set_nonblocking(true).unwrap();
    while let Ok((stream, _)) = listener.accept() {
        welcome(stream, shop);
    }
}

fn welcome(stream: TcpStream, shop: &Arc<Shop>) {
    stream.set_nodelay(true).unwrap();
    let shop = Arc::clone(shop);
    shop.visitors.fetch_add(1, Ordering::SeqCst);
    std::thread::spawn(move || {
        Visit { wire: Wire::new(stream), shop: &shop }.serve();
        shop.visitors.fetch_sub(1, Ordering::SeqCst);
    });
}

/// What all connections share.
struct Shop {
    name: String,
    log: File,
    conduct: Mutex<Conduct>,
    leaving: AtomicBool,
    visitors: AtomicUsize,
    answers: AtomicU64,
}

impl Shop {
    fn new(role: Role) -> Shop {
        let Role { name, port: _, log, conduct } = role;
        Shop {
            name,
            log: File::options().create(true).append(true).open(log).unwrap(),
            conduct: Mutex::new(conduct),
            leaving: AtomicBool::new(false),
            visitors: AtomicUsize::new(0),
            answers: AtomicU64::new(0),
        }
    }

    fn conduct(&self) -> Conduct {
        *self.conduct.lock().unwrap()
    }

    /// One write of one line: it is whole in the file, or not there, whenever the process is killed.
    fn note(&self, ask: &Ask) {
        (&self.log).write_all(format!("{} {}\n", ask.method(), ask.id).as_bytes()).unwrap();
    }

    fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::SeqCst)
    }

    /// Whether this answer, of all answers, leaves its connection open.
    fn keeps(&self, shape: Shape) -> bool {
        let number = 1 + self.answers.fetch_add(1, Ordering::SeqCst);
        let tired = self.conduct().close_every.is_some_and(|every| number.is_multiple_of(every));
        shape != Shape::UntilClose && !tired && !self.is_leaving()
    }
}

/// How often a connection without a request looks whether it is time to leave.
const TICK: Duration = Duration::from_millis(10);

/// How long the first part of an answer is under way before the rest of it is cut off.
const HEAD_START: Duration = Duration::from_millis(20);

/// One connection.
pub(super) struct Visit<'a> {
    pub(super) wire: Wire<TcpStream>,
    shop: &'a Shop,
}

impl Visit<'_> {
    fn serve(mut self) {
        while self.is_asked() {
            let Some((head, body)) = self.request() else { return };
            if !self.answer(&head, &body) {
                return;
            }
        }
    }

    /// Waits for the first byte; false when the client has gone, has been idle for too long, or has to go. That is found
    /// out only after a look that found nothing, as every server does it: what comes after the look is lost.
    fn is_asked(&mut self) -> bool {
        let since = Instant::now();
        while self.wire.ahead().is_empty() {
            let left = self.shop.conduct().idle.saturating_sub(since.elapsed());
            self.set_patience(left.clamp(Duration::from_millis(1), TICK));
            let seen = self.wire.fill();
            let quiet = seen.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
            if (seen.is_err() && !quiet) || (quiet && (left <= TICK || self.shop.is_leaving())) {
                return false;
            }
        }
        true
    }

    pub(super) fn set_patience(&self, patience: Duration) {
        self.wire.stream.set_read_timeout(Some(patience)).unwrap();
    }

    fn request(&mut self) -> Option<(Head, Vec<u8>)> {
        self.set_patience(PATIENCE);
        let head = self.wire.read_head().ok()?;
        let (body, end) = self.wire.read_body(Framing::of_request(&head));
        (end == End::Whole).then_some((head, body))
    }

    /// Answers; false when it was the last answer here.
    fn answer(&mut self, head: &Head, body: &[u8]) -> bool {
        match head.line.split(' ').nth(1) {
            Some("/healthz") => self.say("200 OK", "ok"),
            Some("/conduct") => {
                *self.shop.conduct.lock().unwrap() = serde_json::from_slice(body).unwrap();
                self.say("200 OK", "so be it")
            }
            _ => match self.answer_slowly(head, body) {
                Some(keep) => keep,
                None => self.answer_item(head, body),
            },
        }
    }

    fn answer_item(&mut self, head: &Head, body: &[u8]) -> bool {
        match Ask::received(head, body) {
            Some(ask) => self.serve_item(&ask),
            None => self.say("400 Bad Request", "this is not what was sent"),
        }
    }

    pub(super) fn say(&mut self, status: &str, text: &str) -> bool {
        self.write(format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{text}", text.len()).as_bytes())
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> bool {
        self.wire.stream.write_all(bytes).is_ok()
    }

    fn serve_item(&mut self, ask: &Ask) -> bool {
        self.shop.note(ask);
        let conduct = self.shop.conduct();
        std::thread::sleep(conduct.late);
        match conduct.fault {
            None => self.give("200 OK", ask),
            Some(Fault::Unavailable) => self.give("503 Service Unavailable", ask),
            Some(fault) => {
                self.fail(fault, ask);
                false
            }
        }
    }

    fn fail(&mut self, fault: Fault, ask: &Ask) {
        match fault {
            Fault::Unavailable => {}
            Fault::Garbage => _ = self.write(b"\x16\x03\x01 sorry, wrong number\r\n\r\n"),
            Fault::Reset => self.reset(),
            Fault::CutByFin => self.cut(ask),
            Fault::CutByReset => {
                self.cut(ask);
                self.reset();
            }
            Fault::Silent => self.wait_for_close(),
        }
    }

    fn give(&mut self, status: &str, ask: &Ask) -> bool {
        let keep = self.shop.keeps(ask.shape);
        let (mut answer, body) = self.written(status, ask, keep);
        answer.extend(body);
        self.write(&answer) && keep
    }

    /// Sends the head and nothing, half or all but the last byte of what belongs to the body, each in its turn.
    fn cut(&mut self, ask: &Ask) {
        let (mut answer, body) = self.written("200 OK", ask, true);
        let place = [0, body.len() / 2, body.len() - 1][(ask.id / 3 % 3) as usize];
        answer.extend(&body[..place]);
        self.write(&answer);
        std::thread::sleep(HEAD_START);
    }

    /// Makes the end of this connection a RST.
    fn reset(&self) {
        SockRef::from(&self.wire.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    fn wait_for_close(&mut self) {
        self.set_patience(PATIENCE * 4);
        let _ = self.wire.read_body(Framing::UntilClose);
    }

    /// Head and body as they go over the wire.
    fn written(&self, status: &str, ask: &Ask, keep: bool) -> (Vec<u8>, Vec<u8>) {
        let body = ask.answer_of(&self.shop.name);
        let (framing, body) = match ask.shape {
            Shape::Length => (format!("Content-Length: {}\r\n", ask.bytes), body),
            Shape::Chunked => ("Transfer-Encoding: chunked\r\n".into(), chunks(&body)),
            Shape::UntilClose => (String::new(), body),
        };
        let close = if keep { "" } else { "Connection: close\r\n" };
        let head = format!("HTTP/1.1 {status}\r\nX-Server: {}\r\n{framing}{close}\r\n", self.shop.name);
        (head.into_bytes(), body)
    }
}

fn chunks(body: &[u8]) -> Vec<u8> {
    let mut written = Vec::with_capacity(body.len() + 64);
    for chunk in body.chunks(1000) {
        written.extend(format!("{:x}\r\n", chunk.len()).as_bytes());
        written.extend_from_slice(chunk);
        written.extend_from_slice(b"\r\n");
    }
    written.extend_from_slice(b"0\r\n\r\n");
    written
}
