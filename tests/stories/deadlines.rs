//! Everybody has a deadline: clients that dawdle, upstreams that dawdle.

use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::support::{Answer, Client, End, Scripted, Tetap, nobody, timed, until};

const DEADLINE: Duration = Duration::from_millis(400);
/// What a busy machine may add before a deadline counts as missed.
const SLACK: Duration = Duration::from_millis(2500);

/// Takes about as long as the deadline.
fn on_time<T>(work: impl FnOnce() -> T) -> T {
    let (result, took) = timed(work);
    assert!(took + Duration::from_millis(50) >= DEADLINE, "too early: {took:?}");
    assert!(took < DEADLINE + SLACK, "too late: {took:?}");
    result
}

fn expect(answer: &Answer, status: u16, cause: &str) {
    assert_eq!(answer.verdict(), (status, cause.to_string()));
}

fn patient(listener: &str) -> (Scripted, Tetap) {
    let upstream = Scripted::answering("fine");
    let tetap = Tetap::with(listener, &[upstream.address()], "");
    (upstream, tetap)
}

#[test]
fn a_slow_header_is_cut_off_with_408() {
    let (upstream, tetap) = patient("timeouts: {header: 400ms}");
    let mut client = tetap.client();
    client.send("GET / HTTP/1.1\r\nHost: t\r\nX: ");
    expect(&on_time(|| client.read_answer()), 408, "request_timeout");
    assert!(client.is_closed() && upstream.count() == 0);
}

#[test]
fn a_second_slow_header_is_cut_off_too() {
    let (_upstream, tetap) = patient("timeouts: {header: 400ms}");
    let mut client = tetap.client();
    assert_eq!(client.get("/").text(), "fine");
    client.send("GET / HTTP/1.1\r\n");
    expect(&on_time(|| client.read_answer()), 408, "request_timeout");
    assert!(client.is_closed());
}

#[test]
fn a_header_that_drips_in_is_cut_off_all_the_same() {
    let (_upstream, tetap) = patient("timeouts: {header: 400ms}");
    let mut client = tetap.client();
    let endless = format!("GET / HTTP/1.1\r\nHost: t\r\nX: {}", "x".repeat(400));
    on_time(|| client.drip(&endless, Duration::from_millis(20)));
    expect(&client.read_answer(), 408, "request_timeout");
}

#[test]
fn a_connection_that_never_says_a_word_is_closed() {
    let (_upstream, tetap) = patient("timeouts: {header: 400ms}");
    let mut client = tetap.client();
    let (_, end) = on_time(|| client.read_to_end());
    assert_ne!(end, End::Late);
}

#[test]
fn an_idle_connection_is_closed_after_idle() {
    let (_upstream, tetap) = patient("timeouts: {idle: 400ms}");
    let mut client = tetap.client();
    assert_eq!(client.get("/").text(), "fine");
    assert!(on_time(|| client.is_closed()), "closed without a word: no request has begun");
}

#[test]
fn idle_time_begins_anew_with_each_request() {
    let (_upstream, tetap) = patient("timeouts: {idle: 600ms}");
    let mut client = tetap.client();
    for _ in 0..4 {
        std::thread::sleep(Duration::from_millis(250)); // a client that comes back now and then
        assert_eq!(client.get("/").text(), "fine");
    }
}

#[test]
fn a_body_that_stalls_is_408() {
    let (upstream, tetap) = patient("timeouts: {read: 400ms}");
    let mut client = tetap.client();
    client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\nabc");
    expect(&on_time(|| client.read_answer()), 408, "request_timeout");
    assert!(client.is_closed());
    assert!(upstream.requests().iter().all(|request| request.end != End::Whole));
}

#[test]
fn a_client_that_stops_reading_is_cut_off() {
    let upstream = Scripted::start(|talk| {
        talk.request();
        talk.write("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
        while talk.write([0; 65536]) {}
    });
    let tetap = Tetap::with("timeouts: {write: 400ms}", &[upstream.address()], "");
    let mut client = Client::connect_narrow(tetap.address("web"));
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    on_time(|| tetap.wait_for_metric("tetap_requests_total", &["route=\"all\""], 1.0));
    until("the upstream is let go", || upstream.open() == 0);
    let (_, end) = client.read_to_end();
    assert_ne!(end, End::Late);
}

#[test]
fn an_upstream_that_never_answers_is_504() {
    let upstream = Scripted::silent();
    let tetap = Tetap::with("", &[upstream.address()], "timeouts: {response: 400ms}");
    expect(&on_time(|| tetap.get("/")), 504, "upstream_timeout");
    until("the upstream connection is closed", || upstream.open() == 0);
}

#[test]
fn all_attempts_together_have_a_deadline() {
    let upstream = Scripted::silent();
    let tetap = Tetap::with(
        "",
        &[nobody(), upstream.address()],
        "timeouts: {connect: 300ms, request: 400ms}, limits: {pending_timeout: 100ms}",
    );
    expect(&on_time(|| tetap.get("/")), 504, "upstream_timeout");
}

#[test]
fn an_upstream_that_stalls_in_its_body_is_cut_off() {
    let upstream = Scripted::start(|talk| {
        talk.request();
        talk.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
        talk.wait_for_close();
    });
    let tetap = Tetap::with("", &[upstream.address()], "timeouts: {idle: 400ms}");
    let answer = on_time(|| tetap.get("/"));
    assert!(
        (answer.status, answer.body.as_slice()) == (200, b"abc") && answer.end != End::Whole,
        "{answer:?}"
    );
    assert_eq!(tetap.access_log(1)[0]["cause"], "upstream_timeout");
}

#[test]
fn an_upstream_that_does_not_read_the_body_is_given_up() {
    let upstream = Scripted::start(|talk| {
        talk.head();
        talk.pause(Duration::from_secs(8));
    });
    let tetap = Tetap::with("", &[upstream.address()], "timeouts: {response: 400ms, idle: 400ms}");
    let mut client = tetap.client();
    client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 100000000\r\n\r\n");
    let sender = std::thread::spawn(move || {
        client.set_patience(Duration::from_secs(6));
        for _ in 0..1500 {
            if client.try_send([b'x'; 65536]).is_err() {
                break;
            }
        }
        client.try_answer(false)
    });
    let line = tetap.access_log(1).remove(0);
    assert_eq!(
        (line["status"].as_u64(), line["cause"].as_str()),
        (Some(504), Some("upstream_timeout")),
        "{line}"
    );
    let _ = sender.join().unwrap();
}

/// A listening socket whose queue is full, so that nobody can connect and nobody is refused.
fn full() -> (Socket, Vec<Socket>, SocketAddr) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let waiting = (0..4).map(|_| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        let _ = socket.connect(&address);
        socket
    });
    let waiting = waiting.collect();
    (listener, waiting, address.as_socket().unwrap())
}

#[test]
fn a_connect_that_hangs_is_504() {
    let (_listener, _waiting, address) = full();
    let tetap = Tetap::with("", &[address], "timeouts: {connect: 400ms}, retry: {attempts: 1}");
    expect(&on_time(|| tetap.get("/")), 504, "upstream_timeout");
}

#[test]
fn a_connect_that_hangs_is_tried_on_another_endpoint() {
    let (_listener, _waiting, address) = full();
    let alive = Scripted::answering("alive");
    let tetap = Tetap::with("", &[address, alive.address()], "timeouts: {connect: 200ms}");
    for _ in 0..4 {
        assert_eq!(tetap.client().post("/", b"x").text(), "alive");
    }
    assert_eq!(alive.count(), 4);
}
