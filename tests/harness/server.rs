//! The servers that are processes: each fault is what it is called, and the book is right.

use std::net::SocketAddr;
use std::time::Duration;

use crate::support::ask::{Ask, Kind, Shape};
use crate::support::load::{Verdict, judge};
use crate::support::server::{Conduct, Fault};
use crate::support::{Client, Server, timed, until};

/// Asks without a proxy, on a connection of its own, and names what came.
pub fn ask(address: SocketAddr, kind: Kind, id: u64, shape: Shape) -> String {
    let ask = Ask { kind, id, bytes: 3000, shape };
    let mut client = Client::connect(address);
    client.set_patience(Duration::from_millis(500));
    match judge(&ask, client.send(ask.request()).try_answer(false)) {
        Verdict::Good { by } => format!("good by {by}"),
        Verdict::Refused { status, by, .. } => format!("{status} by {}", by.unwrap_or_default()),
        Verdict::Cut(end) => format!("cut {end:?}"),
        Verdict::Unanswered(end) => format!("unanswered {end:?}"),
        Verdict::Short { .. } => "short".into(),
        Verdict::False(_) => "false".into(),
    }
}

#[test]
fn each_fault_is_what_it_is_called() {
    use Fault::{CutByFin, CutByReset, Garbage, Reset, Silent, Unavailable};
    use Shape::{Chunked, Length, UntilClose};
    let server = Server::start("a");
    for (fault, shapes, expected) in [
        (None, &[Length, Chunked, UntilClose][..], "good by a"),
        (Some(Unavailable), &[Length, Chunked, UntilClose], "503 by a"),
        (Some(Garbage), &[Length], "false"),
        (Some(Reset), &[Length], "unanswered Reset"),
        (Some(Silent), &[Length], "unanswered Late"),
        (Some(CutByFin), &[Length, Chunked], "cut Closed"),
        (Some(CutByFin), &[UntilClose], "short"),
        (Some(CutByReset), &[Length, Chunked, UntilClose], "cut Reset"),
    ] {
        server.behave(Conduct { fault, ..Conduct::GOOD });
        for (id, shape) in [0, 3, 6].into_iter().flat_map(|id| shapes.iter().map(move |shape| (id, *shape))) {
            assert_eq!(ask(server.address(), Kind::Get, id, shape), expected, "{fault:?} of {shape:?}, {id}");
        }
        assert_eq!(Client::connect(server.address()).get("/healthz").text(), "ok", "{fault:?}");
    }
}

#[test]
fn what_was_received_is_known_after_a_crash() {
    let mut server = Server::with("a", Conduct::bad(Fault::Reset));
    ask(server.address(), Kind::Post, 1, Shape::Length);
    server.kill();
    assert!(Client::try_connect(server.address()).is_err(), "it is dead");
    server.restart();
    ask(server.address(), Kind::Get, 2, Shape::Length);
    assert_eq!(server.received(), ["POST 1", "GET 2"]);
}

#[test]
fn a_request_that_was_changed_on_its_way_is_refused() {
    let server = Server::start("a");
    let answer = Client::connect(server.address()).post("/items/1?bytes=9&shape=length", b"pay for item 2");
    assert_eq!((answer.status, server.received().len()), (400, 0));
}

#[test]
fn a_stopped_server_accepts_and_goes_on_later() {
    let server = Server::start("a");
    server.freeze();
    assert_eq!(ask(server.address(), Kind::Post, 1, Shape::Length), "unanswered Late");
    assert!(server.received().is_empty());
    server.thaw();
    until("it has found the request", || server.received() == ["POST 1"]);
}

#[test]
fn who_leaves_finishes_what_was_begun() {
    let mut server = Server::with("a", Conduct { late: Duration::from_millis(400), ..Conduct::GOOD });
    let mut idle = Client::connect(server.address());
    assert_eq!(idle.get("/healthz").status, 200);
    let address = server.address();
    let under_way = std::thread::spawn(move || ask(address, Kind::Post, 1, Shape::Length));
    until("it is under way", || server.received().len() == 1);
    let ((), took) = timed(|| server.leave());
    assert_eq!(under_way.join().unwrap(), "good by a");
    assert!(idle.is_closed() && Client::try_connect(address).is_err());
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn an_idle_connection_is_closed_in_time() {
    let server = Server::with("a", Conduct { idle: Duration::from_millis(200), ..Conduct::GOOD });
    let mut client = Client::connect(server.address());
    assert_eq!(client.get("/healthz").status, 200);
    let (closed, took) = timed(|| client.is_closed());
    assert!(closed && took >= Duration::from_millis(195), "{took:?}");
    server.behave(Conduct { close_every: Some(1), ..Conduct::GOOD });
    let ask = Ask { kind: Kind::Get, id: 1, bytes: 9, shape: Shape::Length };
    let mut client = Client::connect(server.address());
    assert_eq!(client.send(ask.request()).read_answer().head.one("connection"), Some("close"));
    assert!(client.is_closed());
}
