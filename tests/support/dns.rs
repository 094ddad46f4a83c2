//! A name server that says what a test tells it to, or nothing.
//!
//! It knows A, AAAA and SRV records, by UDP and by TCP on the same port of 127.0.0.1, and sets the truncation bit on
//! what a datagram of 512 bytes cannot hold (RFC 1035, section 4.2.1). Which records there are, and whether it answers at
//! all, can be changed at any time.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::free_port;

/// Kinds of records.
pub const A: u16 = 1;
/// See above.
pub const AAAA: u16 = 28;
/// See above.
pub const SRV: u16 = 33;
const CNAME: u16 = 5;

/// How questions are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// From the table; NXDOMAIN for names that are not in it.
    Helpful,
    /// Not at all.
    Silent,
    /// With an error: SERVFAIL is 2, NXDOMAIN 3, REFUSED 5.
    Refusing(u8),
    /// As it should be, but somebody else, who has to guess the question's id, is quicker and says NXDOMAIN.
    Forestalled,
}

/// SERVFAIL.
pub const SERVFAIL: Mood = Mood::Refusing(2);
/// NXDOMAIN.
pub const NXDOMAIN: Mood = Mood::Refusing(3);

/// A running name server; it stops when dropped.
pub struct NameServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    records: HashMap<(String, u16), Vec<Record>>,
    moods: HashMap<u16, Mood>,
    asked: Vec<Asked>,
    stopped: bool,
}

impl State {
    fn is_forestalled(&self) -> bool {
        self.moods.values().any(|mood| *mood == Mood::Forestalled)
    }
}

#[derive(Clone)]
struct Record {
    kind: u16,
    ttl: u32,
    data: Vec<u8>,
}

/// One question that came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// In lower case, without the final dot.
    pub name: String,
    /// Which kind of record.
    pub kind: u16,
    /// When.
    pub at: Instant,
    /// By TCP.
    pub stream: bool,
}

impl NameServer {
    /// Starts one that knows no name.
    pub fn start() -> NameServer {
        let (socket, listener) = sockets();
        let address = socket.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let (datagrams, streams) = (state.clone(), state.clone());
        std::thread::spawn(move || serve_datagrams(&socket, &datagrams));
        std::thread::spawn(move || serve_streams(&listener, &streams));
        NameServer { address, state }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets all addresses of a name.
    pub fn set(&self, name: &str, ttl: u32, addresses: &[&str]) {
        let addresses: Vec<IpAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        let record = |address: &IpAddr| match address {
            IpAddr::V4(v4) => Record { kind: A, ttl, data: v4.octets().to_vec() },
            IpAddr::V6(v6) => Record { kind: AAAA, ttl, data: v6.octets().to_vec() },
        };
        for kind in [A, AAAA] {
            let records = addresses.iter().map(record).filter(|record| record.kind == kind).collect();
            self.put(name, kind, records);
        }
    }

    /// Sets all services of a name: priority, weight, port and target.
    pub fn set_services(&self, name: &str, ttl: u32, services: &[(u16, u16, u16, &str)]) {
        let record = |(priority, weight, port, target): &(u16, u16, u16, &str)| {
            let mut data: Vec<u8> =
                [*priority, *weight, *port].iter().flat_map(|number| number.to_be_bytes()).collect();
            data.extend(encoded(target));
            Record { kind: SRV, ttl, data }
        };
        self.put(name, SRV, services.iter().map(record).collect());
    }

    /// Makes a name another word for a second one, and answers with what is known of that.
    pub fn set_alias(&self, alias: &str, ttl: u32, name: &str) {
        for kind in [A, AAAA, SRV] {
            let known = self.state.lock().unwrap().records.get(&(name.to_owned(), kind)).cloned();
            let mut records = vec![Record { kind: CNAME, ttl, data: encoded(name) }];
            records.extend(known.unwrap_or_default());
            self.put(alias, kind, records);
        }
        self.put(alias, CNAME, vec![Record { kind: CNAME, ttl, data: encoded(name) }]);
    }

    /// Forgets a name.
    pub fn forget(&self, name: &str) {
        self.state.lock().unwrap().records.retain(|(known, _), _| known != name);
    }

    fn put(&self, name: &str, kind: u16, records: Vec<Record>) {
        self.state.lock().unwrap().records.insert((name.to_owned(), kind), records);
    }

    /// Changes how all questions are answered.
    pub fn be(&self, mood: Mood) {
        for kind in [A, AAAA, SRV] {
            self.be_about(kind, mood);
        }
    }

    /// Changes how questions of one kind are answered.
    pub fn be_about(&self, kind: u16, mood: Mood) {
        self.state.lock().unwrap().moods.insert(kind, mood);
    }

    /// Every question so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.state.lock().unwrap().asked.clone()
    }

    /// How many questions there were of one kind.
    pub fn count(&self, kind: u16) -> usize {
        self.state.lock().unwrap().asked.iter().filter(|asked| asked.kind == kind).count()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.state.lock().unwrap().stopped = true;
        let _ = TcpStream::connect(self.address);
    }
}

fn sockets() -> (UdpSocket, TcpListener) {
    loop {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        if let (Ok(socket), Ok(listener)) = (UdpSocket::bind(address), TcpListener::bind(address)) {
            socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            return (socket, listener);
        }
    }
}

fn serve_datagrams(socket: &UdpSocket, state: &Mutex<State>) {
    let mut question = [0; 4096];
    while !state.lock().unwrap().stopped {
        let Ok((length, from)) = socket.recv_from(&mut question) else { continue };
        if let Some(answer) = answer(&question[..length], state, false) {
            let fits = if answer.len() <= 512 { answer } else { truncated(&question[..length]) };
            if state.lock().unwrap().is_forestalled() {
                let _ = socket.send_to(&forged(&question[..length]), from);
            }
            let _ = socket.send_to(&fits, from);
        }
    }
}

fn serve_streams(listener: &TcpListener, state: &Arc<Mutex<State>>) {
    for stream in listener.incoming().map_while(Result::ok) {
        if state.lock().unwrap().stopped {
            return;
        }
        let state = state.clone();
        std::thread::spawn(move || serve_stream(stream, &state));
    }
}

/// Each message has its length before it (RFC 1035, section 4.2.2).
fn serve_stream(mut stream: TcpStream, state: &Mutex<State>) -> Option<()> {
    loop {
        let mut length = [0; 2];
        stream.read_exact(&mut length).ok()?;
        let mut question = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut question).ok()?;
        if let Some(answer) = answer(&question, state, true) {
            let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
            stream.write_all(&[&length[..], &answer].concat()).ok()?;
        }
    }
}

/// None while it is silent.
fn answer(message: &[u8], state: &Mutex<State>, stream: bool) -> Option<Vec<u8>> {
    let (name, kind, end) = question(message);
    let mut state = state.lock().unwrap();
    state.asked.push(Asked { name: name.clone(), kind, at: Instant::now(), stream });
    let known = state.records.keys().any(|(known, _)| *known == name);
    let code = match state.moods.get(&kind).unwrap_or(&Mood::Helpful) {
        Mood::Silent => return None,
        Mood::Refusing(code) => *code,
        Mood::Helpful | Mood::Forestalled if known => 0,
        Mood::Helpful | Mood::Forestalled => 3,
    };
    let records = state.records.get(&(name, kind)).filter(|_| code == 0).cloned().unwrap_or_default();
    let mut answer = head(message, code, records.len(), false);
    answer.extend(&message[12..end]);
    let mut owner = vec![0xC0, 12]; // a pointer to the question's name
    for record in &records {
        answer.extend(&owner);
        answer.extend([record.kind, 1].iter().flat_map(|number| number.to_be_bytes()));
        answer.extend(record.ttl.to_be_bytes());
        answer.extend(u16::try_from(record.data.len()).unwrap().to_be_bytes());
        answer.extend(&record.data);
        if record.kind == CNAME {
            owner.clone_from(&record.data);
        }
    }
    Some(answer)
}

fn truncated(message: &[u8]) -> Vec<u8> {
    let mut answer = head(message, 0, 0, true);
    answer.extend(&message[12..question(message).2]);
    answer
}

/// NXDOMAIN under the wrong id.
fn forged(message: &[u8]) -> Vec<u8> {
    let mut answer = head(message, 3, 0, false);
    answer[0] ^= 1;
    answer.extend(&message[12..question(message).2]);
    answer
}

/// Same id and recursion wish; response, recursion available; one question and so many answers.
fn head(message: &[u8], code: u8, answers: usize, truncated: bool) -> Vec<u8> {
    let flags = 0x80 | (message[2] & 0x01) | if truncated { 0x02 } else { 0 };
    let [high, low] = u16::try_from(answers).unwrap().to_be_bytes();
    vec![message[0], message[1], flags, 0x80 | code, 0, 1, high, low, 0, 0, 0, 0]
}

/// Name and kind of the first question, and where it ends.
fn question(message: &[u8]) -> (String, u16, usize) {
    let mut at = 12;
    let mut labels = Vec::new();
    while message[at] != 0 {
        let label = &message[at + 1..=at + usize::from(message[at])];
        labels.push(String::from_utf8_lossy(label).to_lowercase());
        at += label.len() + 1;
    }
    let kind = u16::from_be_bytes([message[at + 1], message[at + 2]]);
    (labels.join("."), kind, at + 5)
}

fn encoded(name: &str) -> Vec<u8> {
    let labels = name.split('.').filter(|label| !label.is_empty());
    let mut bytes: Vec<u8> =
        labels.flat_map(|label| [&[u8::try_from(label.len()).unwrap()], label.as_bytes()].concat()).collect();
    bytes.push(0);
    bytes
}
