//! Upgraded connections: after 101 the proxy carries bytes and has no opinion about them.

use crate::support::{End, Scripted, Talk, Tetap};

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: t\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

fn proxy(upstream: &Scripted) -> Tetap {
    let endpoints = format!("upstreams: {{u: {{endpoints: [\"{}\"]}}}}", upstream.address());
    Tetap::start(&format!("{endpoints}\nroutes: [{{match: {{path: {{prefix: /}}}}, upstream: u}}]"))
}

/// Switches and sends everything back that comes.
fn mirror(talk: &mut Talk) {
    talk.head();
    talk.write(SWITCHING);
    while let Some(byte) = talk.read_exact(1) {
        talk.write(byte);
    }
}

#[test]
fn a_websocket_carries_bytes_both_ways() {
    let upstream = Scripted::start(mirror);
    let tetap = proxy(&upstream);
    let mut client = tetap.client();
    let answer = client.send(UPGRADE).read_answer();
    assert_eq!((answer.status, answer.head.one("upgrade")), (101, Some("websocket")));
    assert!(answer.head.lists("connection", "upgrade"), "{:?}", answer.head);
    assert_eq!(answer.head.one("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    for message in [b"\x81\x05hello".as_slice(), b"GET / HTTP/1.1\r\n\r\n", &[0; 3000]] {
        assert_eq!(client.send(message).read_exact(message.len()).unwrap(), message);
    }
    let request = &upstream.requests()[0].head;
    assert_eq!(request.one("upgrade"), Some("websocket"));
    assert!(
        request.lists("connection", "upgrade") && !request.lists("connection", "keep-alive"),
        "{request:?}"
    );
}

#[test]
fn bytes_sent_with_the_upgrade_are_not_lost() {
    let upstream = Scripted::start(mirror);
    let tetap = proxy(&upstream);
    let mut client = tetap.client();
    client.send(format!("{UPGRADE}early"));
    assert_eq!(client.read_answer().status, 101);
    assert_eq!(client.read_exact(5).unwrap(), b"early");
}

#[test]
fn the_end_of_a_websocket_is_passed_on_in_both_directions() {
    let upstream = Scripted::start(|talk| {
        talk.head();
        talk.write(format!("{SWITCHING}bye"));
        talk.close();
    });
    let tetap = proxy(&upstream);
    let mut client = tetap.client();
    assert_eq!(client.send(UPGRADE).read_answer().status, 101);
    assert_eq!(client.read_to_end(), (b"bye".to_vec(), End::Whole));

    let upstream = Scripted::start(mirror);
    let tetap = proxy(&upstream);
    let mut client = tetap.client();
    assert_eq!(client.send(UPGRADE).read_answer().status, 101);
    drop(client);
    crate::support::until("the upstream connection ends", || upstream.open() == 0);
}

#[test]
fn an_upgrade_that_is_declined_is_an_ordinary_answer() {
    let upstream = Scripted::answering("no");
    let tetap = proxy(&upstream);
    let mut client = tetap.client();
    assert_eq!(client.send(UPGRADE).read_answer().text(), "no");
    assert_eq!(client.get("/next").text(), "no");
}

#[test]
fn a_switch_to_another_protocol_than_was_asked_for_is_a_bad_answer() {
    let upstream = Scripted::start(|talk| {
        talk.head();
        talk.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: telnet\r\n\r\n");
        talk.wait_for_close();
    });
    let tetap = proxy(&upstream);
    let answer = tetap.client().send(UPGRADE).read_answer();
    assert_eq!(answer.verdict(), (502, "upstream_invalid".to_string()));
}

#[test]
fn an_upgrade_without_its_connection_option_is_none() {
    let upstream = Scripted::answering("plain");
    let tetap = proxy(&upstream);
    let mut client = tetap.client();
    client.send("GET /chat HTTP/1.1\r\nHost: t\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!(client.read_answer().text(), "plain");
    assert!(upstream.requests()[0].head.all("upgrade").is_empty());
}
