//! Connections that were upgraded live by a clock of their own.

use std::time::Duration;

use crate::support::{End, Scripted, Tetap, timed, until};

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Switches and sends everything back that comes.
fn mirror() -> Scripted {
    Scripted::start(|talk| {
        talk.head();
        talk.write(SWITCHING);
        while let Some(byte) = talk.read_exact(1) {
            talk.write(byte);
        }
    })
}

#[test]
fn a_websocket_outlives_the_other_timeouts_and_has_its_own() {
    let upstream = mirror();
    let upstream_timeouts = "timeouts: {response: 300ms, idle: 300ms, request: 300ms, connect: 200ms, tunnel: 1s}, limits: {pending_timeout: 100ms}";
    let listener = "timeouts: {header: 300ms, idle: 300ms, read: 300ms, write: 300ms}";
    let tetap = Tetap::with(listener, &[upstream.address()], upstream_timeouts);
    let mut client = tetap.client();
    assert_eq!(client.send(UPGRADE).read_answer().status, 101);
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(600)); // longer than every timeout but its own
        assert_eq!(client.send("ping").read_exact(4).unwrap(), b"ping");
    }
    let ((last, end), took) = timed(|| client.read_to_end());
    assert_eq!(
        String::from_utf8_lossy(&last),
        "",
        "nothing is put into the tunnel that the upstream did not say"
    );
    assert!(end != End::Late && took > Duration::from_millis(900), "{end:?} after {took:?}");
    until("the upstream is let go", || upstream.open() == 0);
}

#[test]
fn bytes_in_one_direction_keep_a_websocket_open() {
    let upstream = Scripted::start(|talk| {
        talk.head();
        talk.write(SWITCHING);
        for _ in 0..6 {
            talk.pause(Duration::from_millis(300));
            talk.write("tick");
        }
        talk.wait_for_close();
    });
    let tetap = Tetap::with("", &[upstream.address()], "timeouts: {tunnel: 1s}");
    let mut client = tetap.client();
    assert_eq!(client.send(UPGRADE).read_answer().status, 101);
    assert_eq!(client.read_exact(24).unwrap(), b"tick".repeat(6), "1.8 s without a byte from the client");
}

#[test]
fn a_tunnel_is_longer_than_any_body() {
    let upstream = mirror();
    let tetap = Tetap::with("limits: {body: 1KiB}", &[upstream.address()], "");
    let mut client = tetap.client();
    assert_eq!(client.send(UPGRADE).read_answer().status, 101);
    let piece = "x".repeat(500);
    for _ in 0..8 {
        assert_eq!(client.send(&piece).read_exact(500).unwrap(), piece.as_bytes());
    }
}

/// What the client has said in a tunnel was said to one server. Another must not hear it, even where the handshake is a
/// GET and there is time for a second attempt.
#[test]
fn a_tunnel_that_breaks_is_not_made_again_elsewhere() {
    let breaking = || {
        Scripted::start(|talk| {
            talk.head();
            talk.write(SWITCHING);
            talk.read_exact(4);
            talk.write("pong");
            talk.read_exact(4);
            talk.reset();
        })
    };
    let servers = [breaking(), breaking()];
    let tetap = Tetap::to(&servers.each_ref().map(Scripted::address));
    let mut client = tetap.client();
    assert_eq!(client.send(UPGRADE).read_answer().status, 101);
    assert_eq!(client.send("ping").read_exact(4).unwrap(), b"pong");
    client.send("last");
    let (rest, end) = client.read_to_end();
    assert!(rest.is_empty() && end != End::Late, "{:?} and then {end:?}", String::from_utf8_lossy(&rest));
    until("it is over", || tetap.access_log_now().len() == 1);
    let opened = servers.iter().map(Scripted::opened).sum::<usize>();
    assert_eq!(opened, 1, "only one server was ever spoken to");
    let line = &tetap.access_log(1)[0];
    assert_eq!(line["attempts"].as_array().unwrap().len(), 1, "{line}");
}
