//! How the built binary starts and ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "lifecycle/farewell.rs"]
mod farewell;
#[path = "lifecycle/handover.rs"]
mod handover;
#[path = "lifecycle/inheritance.rs"]
mod inheritance;
#[path = "lifecycle/reload.rs"]
mod reload;
#[path = "support/lib.rs"]
mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use support::tetap::Place;
use support::{Client, Gate, Scripted, Tetap, timed, until};

/// An upstream that answers when the gate opens.
fn gated() -> (Gate, Scripted) {
    let gate = Gate::default();
    let waiting = gate.clone();
    let upstream = Scripted::start(move |talk| {
        while talk.request().is_some() {
            waiting.wait();
            talk.answer("in the end");
        }
    });
    (gate, upstream)
}

/// A proxy before that upstream, with one request under way.
fn under_way(drain_timeout: &str) -> (Gate, Scripted, Tetap, Client) {
    let (gate, upstream) = gated();
    let tetap = Tetap::start(&format!(
        "process: {{drain_timeout: {drain_timeout}}}
upstreams: {{u: {{endpoints: [\"{}\"]}}}}
routes: [{{match: {{path: {{prefix: /slow}}}}, upstream: u}}, {{match: {{path: {{prefix: /}}}}, respond: {{body: quick}}}}]",
        upstream.address()
    ));
    let mut client = tetap.client();
    client.send("GET /slow HTTP/1.1\r\nHost: t\r\n\r\n");
    until("the request is at the upstream", || upstream.count() == 1);
    (gate, upstream, tetap, client)
}

/// Waits until the listener is gone, for the clients that come now.
fn until_closed(tetap: &Tetap) {
    until("new connections are refused", || Client::try_connect(tetap.address("web")).is_err());
}

#[test]
fn a_request_under_way_is_finished_before_the_end() {
    let (gate, _upstream, mut tetap, mut client) = under_way("30s");
    tetap.signal("TERM");
    until_closed(&tetap);
    assert!(tetap.process().ended().is_none(), "it waits for the request");
    gate.open();
    let answer = client.read_answer();
    assert_eq!((answer.text().as_str(), answer.head.one("connection")), ("in the end", Some("close")));
    let (code, took) = timed(|| tetap.wait());
    assert!(code == Some(0) && took < Duration::from_secs(3), "{code:?} {took:?} after the last answer");
    assert_eq!(tetap.access_log_now().len(), 1, "the last line is written");
}

#[test]
fn readiness_ends_before_anything_else() {
    let (gate, _upstream, tetap, mut client) = under_way("30s");
    tetap.signal("TERM");
    until("it is not ready any more", || {
        let answer = tetap.admin("/ready");
        answer.status == 503 && String::from_utf8_lossy(&answer.body).contains("draining")
    });
    assert_eq!(tetap.admin("/live").status, 200);
    tetap.wait_for_metric("tetap_draining", &[], 1.0);
    gate.open();
    assert_eq!(client.read_answer().status, 200);
}

#[test]
fn a_lame_duck_says_that_it_will_go_and_serves_on_until_then() {
    let mut tetap = Tetap::start(&format!("process: {{lame_duck: 1500ms}}\n{QUICK}"));
    let began = std::time::Instant::now();
    tetap.signal("TERM");
    until("it is not ready any more", || tetap.admin("/ready").status == 503);
    let answer = tetap.get("/");
    assert_eq!((answer.text().as_str(), answer.head.one("connection")), ("quick", Some("keep-alive")));
    until_closed(&tetap);
    assert!(began.elapsed() >= Duration::from_millis(1500), "{:?}", began.elapsed());
    assert_eq!(tetap.wait(), Some(0));
}

#[test]
fn a_lame_duck_that_is_told_twice_ends_at_once() {
    let mut tetap = Tetap::start(&format!("process: {{lame_duck: 60s}}\n{QUICK}"));
    tetap.signal("TERM");
    until("it is not ready any more", || tetap.admin("/ready").status == 503);
    tetap.signal("TERM");
    assert_eq!(tetap.wait(), Some(0));
}

#[test]
fn an_idle_proxy_ends_at_once() {
    let mut tetap = Tetap::start("routes: [{match: {path: {prefix: /}}, respond: {body: x}}]");
    assert_eq!(tetap.get("/").text(), "x");
    tetap.signal("TERM");
    let (code, took) = timed(|| tetap.wait());
    assert!(code == Some(0) && took < Duration::from_secs(3), "{code:?} after {took:?}");
}

#[test]
fn a_kept_connection_is_served_once_more_while_draining() {
    let (gate, _upstream, mut tetap, mut busy) = under_way("30s");
    let mut idle = tetap.client();
    assert_eq!(idle.get("/").text(), "quick");
    tetap.signal("TERM");
    until_closed(&tetap);
    let answer = idle.get("/");
    assert_eq!((answer.text().as_str(), answer.head.one("connection")), ("quick", Some("close")));
    assert!(idle.is_closed());
    gate.open();
    assert_eq!(busy.read_answer().status, 200);
    assert_eq!(tetap.wait(), Some(0));
}

/// A configuration that answers by itself.
const QUICK: &str = "routes: [{match: {path: {prefix: /}}, respond: {body: quick}}]";

#[test]
fn clients_in_the_accept_queue_were_reset_by_a_drain() {
    let mut tetap = Tetap::start(QUICK);
    let address = tetap.address("web");
    assert_eq!(unanswered_in_the_queue(&tetap, || Client::connect(address)), 0);
    assert_eq!(tetap.wait(), Some(0));
}

#[test]
fn a_unix_socket_has_an_accept_queue_too() {
    let mut tetap = Tetap::start(&format!("listeners: [{{address: \"unix:{{dir}}/web\"}}]\n{QUICK}"));
    let path = tetap.dir().join("web");
    assert_eq!(unanswered_in_the_queue(&tetap, || Client::connect_unix(&path)), 0);
    assert_eq!(tetap.wait(), Some(0));
    assert!(!path.exists());
}

/// Lets clients queue up while the proxy is stopped (the kernel goes on making connections), then lets it find them
/// together with a TERM.
fn unanswered_in_the_queue(tetap: &Tetap, connect: impl Fn() -> Client) -> usize {
    tetap.signal("STOP");
    let mut queued: Vec<Client> = (0..400).map(|_| connect()).collect();
    for client in &mut queued {
        client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    }
    tetap.signal("TERM");
    tetap.signal("CONT");
    queued.iter_mut().filter_map(|client| client.try_answer(false).err()).count()
}

#[test]
fn no_connection_that_was_made_goes_unanswered_when_a_drain_begins() {
    for _ in 0..4 {
        let mut tetap = Tetap::start(QUICK);
        let address = tetap.address("web");
        let crowd: Vec<_> =
            (0..32).map(|_| std::thread::spawn(move || visit_until_closed(address))).collect();
        until("they come and go", || tetap.metrics().sum("tetap_connections_total", &[]) > 200.0);
        tetap.signal("TERM");
        let broken: Vec<String> = crowd.into_iter().flat_map(|client| client.join().unwrap()).collect();
        assert!(broken.is_empty(), "{} connections: {:?}", broken.len(), broken.first());
        assert_eq!(tetap.wait(), Some(0));
    }
}

/// Connects and asks, again and again, until nobody accepts any more; returns what was not answered.
fn visit_until_closed(address: SocketAddr) -> Vec<String> {
    let mut broken = Vec::new();
    while let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        let sent = stream.write_all(b"GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        if !answer.starts_with("HTTP/1.1 200 ") {
            broken.push(format!("{sent:?}, {read:?}, {answer:?}"));
        }
    }
    broken
}

#[test]
fn the_drain_has_a_deadline() {
    let (_gate, _upstream, mut tetap, mut client) = under_way("700ms");
    tetap.signal("TERM");
    let (code, took) = timed(|| tetap.wait());
    assert!(took > Duration::from_millis(500) && took < Duration::from_secs(6), "{took:?}");
    assert!(code.is_some(), "it ended by itself");
    assert!(client.try_answer(false).is_err());
}

#[test]
fn a_parked_connection_does_not_hold_up_the_end_past_the_deadline() {
    let mut tetap = Tetap::start(
        "process: {drain_timeout: 700ms}
routes: [{match: {path: {prefix: /}}, respond: {body: x}}]",
    );
    let mut idle = tetap.client();
    assert_eq!(idle.get("/").text(), "x");
    tetap.signal("TERM");
    let (code, took) = timed(|| tetap.wait());
    assert!(code == Some(0) && took < Duration::from_secs(6), "{code:?} after {took:?}");
}

#[test]
fn an_interrupt_ends_it_quickly() {
    let (_gate, _upstream, mut tetap, _client) = under_way("30s");
    tetap.signal("INT");
    let (_, took) = timed(|| tetap.wait());
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn an_interrupt_cuts_a_drain_short() {
    let (_gate, _upstream, mut tetap, _client) = under_way("30s");
    tetap.signal("TERM");
    until_closed(&tetap);
    tetap.signal("INT");
    let (_, took) = timed(|| tetap.wait());
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn a_signal_is_heard_however_early_it_comes() {
    let routes = "routes: [{match: {path: {prefix: /}}, respond: {body: x}}]";
    for delay in [0, 5, 20, 60] {
        let mut place = Place::new();
        let mut process = place.launch(routes);
        std::thread::sleep(Duration::from_millis(delay)); // somewhere in the start
        process.signal("TERM");
        let (_, took) = timed(|| process.wait());
        assert!(took < Duration::from_secs(5), "{took:?} after a signal at {delay} ms");
    }
}

#[test]
fn a_taken_port_is_named_and_exits_1() {
    let routes = "routes: [{match: {path: {prefix: /}}, respond: {body: x}}]";
    let first = Tetap::start(routes);
    let port = first.address("web").port();
    let failure = Tetap::try_start_in(Place::new().with_port("web", port), routes);
    assert_eq!(failure.status.code(), Some(1), "{}", failure.stderr);
    let told = failure.stderr.lines().any(|line| line.contains(&port.to_string()) && line.contains("in use"));
    assert!(told, "{}", failure.stderr);
    assert!(!failure.stderr.contains("panicked"), "{}", failure.stderr);
    assert_eq!(first.get("/").text(), "x", "the first one never noticed");
}

#[test]
fn a_taken_admin_port_exits_1_too() {
    let routes = "routes: [{match: {path: {prefix: /}}, respond: {body: x}}]";
    let first = Tetap::start(routes);
    let port = first.address("admin").port();
    let failure = Tetap::try_start_in(Place::new().with_port("admin", port), routes);
    assert_eq!(failure.status.code(), Some(1), "{}", failure.stderr);
    assert!(failure.stderr.contains(&port.to_string()), "{}", failure.stderr);
}

#[test]
fn a_bad_configuration_exits_2_with_every_diagnostic() {
    let failure = Tetap::try_start(
        "upstreams: {orders: {endpoints: [\"127.0.0.1:1\"], balanse: random}}
routes:
  - {match: {path: {prefix: /}}, upstream: order}
process: {drain_timeout: soon}",
    );
    assert_eq!(failure.status.code(), Some(2), "{}", failure.stderr);
    for told in ["balanse", "drain_timeout", "tetap.yaml:"] {
        assert!(failure.stderr.contains(told), "{told} is not in\n{}", failure.stderr);
    }
}

#[test]
fn a_missing_configuration_exits_2_and_names_it() {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tetap"));
    let output = command.args(["run", "--config", "/nonexistent/tetap.yaml"]).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("/nonexistent/tetap.yaml"), "{stderr}");
}

#[test]
fn a_start_after_an_end_finds_its_port_free() {
    let routes = "routes: [{match: {path: {prefix: /}}, respond: {body: x}}]";
    let mut first = Tetap::start(routes);
    let port = first.address("web").port();
    assert_eq!(first.get("/").text(), "x");
    first.signal("TERM");
    assert_eq!(first.wait(), Some(0));
    let second = Tetap::start_in(Place::new().with_port("web", port), routes);
    assert_eq!(second.get("/").text(), "x");
}
