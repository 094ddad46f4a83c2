//! Connections: kept to upstreams, taken from clients on other sockets than TCP.

use std::time::Duration;

use crate::support::{Client, Gate, Scripted, Tetap, timed, until};

#[test]
fn an_upstream_connection_is_reused() {
    let upstream = Scripted::answering("kept");
    let tetap = Tetap::to(&[upstream.address()]);
    for _ in 0..20 {
        assert_eq!(tetap.get("/").text(), "kept");
    }
    let opened = upstream.opened(); // a client may come before the one before it has given its connection back
    assert!(opened <= 3, "twenty clients, one after the other, opened {opened} connections");
    let counted = tetap.metrics().sum("tetap_upstream_connections_opened_total", &["upstream=\"u\""]);
    assert_eq!(counted, opened as f64);
}

#[test]
fn an_idle_upstream_connection_ends_after_its_time() {
    let upstream = Scripted::answering("kept");
    let tetap = Tetap::with("", &[upstream.address()], "keepalive: {idle: 400ms}");
    assert_eq!(tetap.get("/").text(), "kept");
    assert_eq!(upstream.open(), 1);
    let (_, took) = timed(|| until("the connection is closed", || upstream.open() == 0));
    assert!(took > Duration::from_millis(300), "{took:?}");
    assert_eq!(tetap.get("/").text(), "kept");
}

#[test]
fn none_is_kept_when_none_may_be() {
    let upstream = Scripted::answering("closed");
    let tetap = Tetap::with("", &[upstream.address()], "keepalive: {connections: 0}");
    for _ in 0..3 {
        assert_eq!(tetap.get("/").text(), "closed");
    }
    assert_eq!(upstream.opened(), 3);
    until("all are closed", || upstream.open() == 0);
}

#[test]
fn no_more_are_kept_than_may_be() {
    let gate = Gate::default();
    let waiting = gate.clone();
    let upstream = Scripted::start(move |talk| {
        while talk.request().is_some() {
            waiting.wait();
            talk.answer("together");
        }
    });
    let tetap = Tetap::with("", &[upstream.address()], "keepalive: {connections: 2}");
    let mut clients: Vec<_> = (0..6).map(|_| tetap.client()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    }
    until("all six are at the upstream", || upstream.count() == 6);
    gate.open();
    assert!(clients.iter_mut().all(|client| client.read_answer().text() == "together"));
    until("two are left", || upstream.open() == 2);
}

#[test]
fn a_unix_socket_listener_serves() {
    let upstream = Scripted::answering("local");
    let tetap = Tetap::start(&format!(
        "listeners: [{{name: web, address: \"unix:{{dir}}/web.sock\"}}]
upstreams: {{u: {{endpoints: [\"{}\"]}}}}
routes: [{{match: {{path: {{prefix: /}}}}, upstream: u}}]",
        upstream.address()
    ));
    let mut client = Client::connect_unix(&tetap.dir().join("web.sock"));
    assert_eq!(client.get("/").text(), "local");
    assert_eq!(client.get("/again").text(), "local");
    assert_eq!(upstream.requests()[0].head.one("x-forwarded-for"), Some("unknown"));
    assert_eq!(tetap.access_log(1)[0]["client"], "unix");
}

#[test]
fn an_ipv6_listener_serves() {
    let upstream = Scripted::answering("six");
    let tetap = Tetap::start(&format!(
        "listeners: [{{name: web, address: \"[::1]:{{port:web}}\"}}]
upstreams: {{u: {{endpoints: [\"{}\"]}}}}
routes: [{{match: {{path: {{prefix: /}}}}, upstream: u}}]",
        upstream.address()
    ));
    let address = (std::net::Ipv6Addr::LOCALHOST, tetap.address("web").port()).into();
    assert_eq!(Client::connect(address).get("/").text(), "six");
    let head = &upstream.requests()[0].head;
    assert_eq!(head.one("x-forwarded-for"), Some("::1"));
    assert!(head.one("forwarded").unwrap().starts_with("for=\"[::1]\""), "{head:?}");
}

#[test]
fn an_ipv6_endpoint_is_asked() {
    let upstream =
        Scripted::start_at("[::1]:0", |talk| while talk.request().is_some_and(|_| talk.answer("six")) {});
    let tetap = Tetap::to(&[upstream.address()]);
    assert_eq!(tetap.get("/").text(), "six");
}

#[test]
fn a_unix_socket_gives_no_answer_that_could_look_whole() {
    let upstream = Scripted::start(|talk| {
        while talk.request().is_some() {
            talk.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
        }
    });
    let tetap = Tetap::start(&format!(
        "listeners: [{{name: web, address: \"unix:{{dir}}/web.sock\"}}]
upstreams: {{u: {{endpoints: [\"{}\"]}}}}
routes: [{{match: {{path: {{prefix: /}}}}, upstream: u}}]",
        upstream.address()
    ));
    let connect = || Client::connect_unix(&tetap.dir().join("web.sock"));
    assert_eq!(connect().get("/").text(), "hello");
    let old = connect().send("GET / HTTP/1.0\r\nHost: t\r\n\r\n").read_answer();
    assert_eq!(old.verdict(), (505, "version_not_supported".to_string()));
    assert_eq!(old.head.all("via").len(), 1, "nothing is left of the answer that was not given");
}

#[test]
fn a_request_without_a_host_gets_one() {
    let upstream = Scripted::answering("old");
    let tetap = Tetap::to(&[upstream.address()]);
    assert_eq!(tetap.client().send("GET / HTTP/1.0\r\n\r\n").read_answer().text(), "old");
    let address = upstream.address().to_string();
    assert_eq!(upstream.requests()[0].head.one("host"), Some(address.as_str()));
}

#[test]
fn answers_of_our_own_are_edited_too() {
    let tetap = Tetap::start(
        "routes:
  - {match: {path: {exact: /fixed}}, respond: {body: hi}, response_headers: {set: {X-Team: orders}}}
  - {match: {path: {exact: /old}}, redirect: {to: /new}, response_headers: {remove: [Via]}}",
    );
    assert_eq!(tetap.get("/fixed").head.one("x-team"), Some("orders"));
    let moved = tetap.get("/old");
    assert_eq!((moved.status, moved.head.one("via")), (308, None));
}
