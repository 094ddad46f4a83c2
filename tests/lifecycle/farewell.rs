//! How WebSockets and long answers end when a drain's time is nearly over.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use crate::support::{Client, End, PATIENCE, Scripted, Talk, Tetap, timed, until};

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

const HELLO: &[u8] = b"\x81\x05hello";
/// From a server: 1001, "going away".
const GOING_AWAY: &[u8] = b"\x88\x02\x03\xe9";
/// The same from a client whose masking key is `keys`.
const GOING_AWAY_TOO: &[u8] = &[0x88, 0x82, b'k', b'e', b'y', b's', 0x03 ^ b'k', 0xe9 ^ b'e'];

/// Of a drain of four seconds the moments lie between 2.5 and 3.5 s.
const DRAIN: &str = "4s";
const FIRST_MOMENT: Duration = Duration::from_millis(2500);

fn proxy(upstream: &Scripted, drain_timeout: &str) -> Tetap {
    Tetap::start(&format!(
        "process: {{drain_timeout: {drain_timeout}}}
upstreams: {{u: {{endpoints: [\"{}\"]}}}}
routes: [{{match: {{path: {{prefix: /}}}}, upstream: u}}]",
        upstream.address()
    ))
}

/// An upstream that switches and then plays `script`; what that returns can be received.
fn websocket<T: Send + 'static>(
    script: impl Fn(&mut Talk) -> T + Send + Sync + 'static,
) -> (Scripted, Receiver<T>) {
    let (tell, told): (Sender<T>, _) = channel();
    let upstream = Scripted::start(move |talk| {
        talk.head();
        talk.write(SWITCHING);
        let seen = script(talk);
        let _ = tell.send(seen);
    });
    (upstream, told)
}

fn switched(tetap: &Tetap) -> Client {
    let mut client = tetap.client();
    assert_eq!(client.send(UPGRADE).read_answer().status, 101);
    client
}

/// The two bytes of a masked Close frame's code; none where it is no such frame.
fn code(frame: &[u8]) -> Option<u16> {
    let [0x88, 0x82, a, b, _, _, first, second] = *frame else { return None };
    Some(u16::from_be_bytes([first ^ a, second ^ b]))
}

/// Everything until the other side ends.
fn rest(talk: &mut Talk) -> Vec<u8> {
    std::iter::from_fn(|| talk.read_exact(1)).flatten().collect()
}

fn received<T>(told: &Receiver<T>) -> T {
    told.recv_timeout(PATIENCE * 2).expect("the upstream has come to the end of its script")
}

#[test]
fn a_websocket_is_told_1001_on_both_sides_and_then_ends() {
    let (upstream, told) = websocket(|talk| {
        talk.write(HELLO);
        let close = talk.read_exact(8);
        talk.write(GOING_AWAY);
        (close, rest(talk))
    });
    let mut tetap = proxy(&upstream, DRAIN);
    let mut client = switched(&tetap);
    assert_eq!(client.read_exact(HELLO.len()).unwrap(), HELLO);
    tetap.signal("TERM");
    let (close, took) = timed(|| client.read_exact(4).unwrap());
    assert_eq!(close, GOING_AWAY);
    assert!(took > FIRST_MOMENT - Duration::from_millis(300), "after {took:?}");
    client.send(GOING_AWAY_TOO);
    assert_eq!(client.read_to_end(), (Vec::new(), End::Whole), "closed, not reset");
    let (close, more) = received(&told);
    assert_eq!(close.as_deref().and_then(code), Some(1001), "{close:?}");
    assert_eq!(more, b"", "what the client answers is for us");
    let line = tetap.access_log(1)[0].clone();
    assert_eq!((&line["status"], &line["cause"]), (&101.into(), &"drained".into()), "{line}");
    let (code, took) = timed(|| tetap.wait());
    assert!(
        code == Some(0) && took < Duration::from_millis(300),
        "{code:?} {took:?}: nothing is left to wait for"
    );
}

/// A worker that had to make room for another cut them without a word.
#[test]
fn a_websocket_in_a_worker_that_makes_room_is_told_1001() {
    let (upstream, told) = websocket(|talk| {
        talk.write(HELLO);
        let close = talk.read_exact(8);
        talk.write(GOING_AWAY);
        close
    });
    let process = "process: {drain_timeout: 1h, max_generations: 1, probation: 100ms}";
    let routed = crate::support::tetap::routed_to("", &[upstream.address()], "");
    let tetap = Tetap::supervised(&format!("{process}\n{routed}"));
    let mut client = switched(&tetap);
    assert_eq!(client.read_exact(HELLO.len()).unwrap(), HELLO);
    for _ in 0..2 {
        assert_eq!(tetap.command(&["upgrade"]).status.code(), Some(0));
    }
    assert_eq!(client.read_exact(GOING_AWAY.len()).unwrap(), GOING_AWAY);
    assert_eq!(received(&told).and_then(|close| code(&close)), Some(1001));
    until("it has made room", || tetap.workers().len() == 1);
}

#[test]
fn both_ends_are_told_though_neither_answers() {
    let (upstream, told) = websocket(rest);
    let mut tetap = proxy(&upstream, "2s");
    let mut client = switched(&tetap);
    tetap.signal("TERM");
    let (seen, end) = client.read_to_end();
    assert_eq!((seen.as_slice(), end), (GOING_AWAY, End::Whole));
    let seen = received(&told);
    assert_eq!(code(&seen), Some(1001), "{seen:?}");
    assert_eq!(tetap.wait(), Some(0));
}

/// A frame of 70,000 bytes, which needs the longest form of length; the payload is full of what looks like a Close.
fn large() -> Vec<u8> {
    let mut frame = vec![0x82, 127];
    frame.extend(70_000_u64.to_be_bytes());
    frame.extend(GOING_AWAY.iter().copied().cycle().take(70_000));
    frame
}

#[test]
fn a_close_does_not_stand_within_a_frame_to_the_client() {
    let (upstream, told) = websocket(|talk| {
        let (first, second) = (&large()[..40_000], &large()[40_000..]);
        talk.write(first);
        let close = talk.read_exact(8); // so its moment has come
        talk.pause(Duration::from_millis(50));
        talk.write([second, HELLO].concat());
        talk.wait_for_close();
        close
    });
    let tetap = proxy(&upstream, DRAIN);
    let mut client = switched(&tetap);
    assert_eq!(client.read_exact(40_000).unwrap(), &large()[..40_000]);
    tetap.signal("TERM");
    let (seen, end) = client.read_to_end();
    assert_eq!(end, End::Whole);
    let expected = [&large()[40_000..], GOING_AWAY].concat();
    assert!(
        seen == expected,
        "{} bytes, at the end {:?}",
        seen.len(),
        &seen[seen.len().saturating_sub(12)..]
    );
    assert_eq!(received(&told).as_deref().and_then(code), Some(1001));
}

#[test]
fn a_close_does_not_stand_within_a_frame_to_the_upstream() {
    let (upstream, told) = websocket(rest);
    let tetap = proxy(&upstream, DRAIN);
    let mut client = switched(&tetap);
    client.send(b"\x81\x80keys\x81\x85keysab");
    tetap.signal("TERM");
    assert_eq!(client.read_exact(4).unwrap(), GOING_AWAY);
    client.send([b"cde", GOING_AWAY_TOO].concat());
    assert_eq!(client.read_to_end(), (Vec::new(), End::Whole));
    let seen = received(&told);
    let (frames, close) = seen.split_at(seen.len().saturating_sub(8));
    assert_eq!(frames, b"\x81\x80keys\x81\x85keysabcde");
    assert_eq!(code(close), Some(1001), "{close:?}");
}

/// Also between the fragments of one message, where only control frames may stand.
#[test]
fn a_message_in_fragments_is_interrupted_between_two_of_them() {
    let (upstream, _told) = websocket(|talk| {
        talk.write(b"\x01\x03hel");
        talk.read_exact(8);
        talk.write(b"\x80\x02lo");
        talk.wait_for_close();
    });
    let tetap = proxy(&upstream, "2s");
    let mut client = switched(&tetap);
    tetap.signal("TERM");
    let (seen, end) = client.read_to_end();
    assert_eq!((seen, end), ([b"\x01\x03hel", GOING_AWAY].concat(), End::Whole));
}

#[test]
fn nothing_is_added_once_an_end_has_closed() {
    let by_upstream = |talk: &mut Talk| {
        talk.write(b"\x88\x02\x03\xe8");
        rest(talk)
    };
    let (upstream, told) = websocket(by_upstream);
    let mut tetap = proxy(&upstream, "2s");
    let mut client = switched(&tetap);
    tetap.signal("TERM");
    assert_eq!(client.read_to_end().0, b"\x88\x02\x03\xe8");
    assert_eq!(received(&told), b"");
    assert!(tetap.wait().is_some());

    let (upstream, told) = websocket(rest);
    let mut tetap = proxy(&upstream, "2s");
    let mut client = switched(&tetap);
    client.send(GOING_AWAY_TOO);
    tetap.signal("TERM");
    assert_eq!(client.read_to_end().0, b"");
    assert_eq!(received(&told), GOING_AWAY_TOO);
    assert!(tetap.wait().is_some());
}

#[test]
fn forty_websockets_do_not_leave_in_one_moment() {
    let (upstream, _told) = websocket(rest);
    let tetap = proxy(&upstream, DRAIN);
    let clients: Vec<Client> = (0..40).map(|_| switched(&tetap)).collect();
    tetap.signal("TERM");
    let began = Instant::now();
    let leave = |mut client: Client| {
        std::thread::spawn(move || {
            assert_eq!(client.read_exact(4).unwrap(), GOING_AWAY);
            began.elapsed()
        })
    };
    let leaving: Vec<_> = clients.into_iter().map(leave).collect();
    let mut moments: Vec<Duration> = leaving.into_iter().map(|left| left.join().unwrap()).collect();
    moments.sort();
    let (first, last) = (moments[0], moments[39]);
    assert!(first > FIRST_MOMENT - Duration::from_millis(300), "{moments:?}");
    assert!(last - first > Duration::from_millis(500), "within one second: {moments:?}");
    let slices: BTreeSet<_> = moments.iter().map(|moment| moment.as_millis() / 100).collect();
    assert!(slices.len() >= 6, "{moments:?}");
}

#[test]
fn what_ends_by_itself_before_is_left_alone() {
    let (upstream, told) = websocket(|talk| {
        let asked = talk.read_exact(11);
        talk.write(HELLO);
        talk.close();
        asked
    });
    let mut tetap = proxy(&upstream, "30s");
    let mut client = switched(&tetap);
    tetap.signal("TERM");
    until("new connections are refused", || Client::try_connect(tetap.address("web")).is_err());
    client.send(b"\x81\x85keysasked");
    assert_eq!(client.read_to_end(), (HELLO.to_vec(), End::Whole));
    assert_eq!(received(&told).as_deref(), Some(b"\x81\x85keysasked".as_slice()));
    let (code, took) = timed(|| tetap.wait());
    assert!(code == Some(0) && took < Duration::from_secs(3), "{code:?} {took:?}");
    assert!(tetap.access_log_now()[0].get("cause").is_none_or(serde_json::Value::is_null));
}

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const LENGTH: &str = "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n";
const UNTIL_CLOSE: &str = "HTTP/1.1 200 OK\r\n\r\n";

/// An upstream that begins an answer, and then sends `piece` every 20 ms.
fn stream(head: &'static str, piece: &'static str) -> Scripted {
    Scripted::start(move |talk| {
        talk.head();
        talk.write(head);
        while talk.write(piece) {
            talk.pause(Duration::from_millis(20));
        }
    })
}

/// Asks for an answer without end while the proxy drains: what came of it, and after how long.
fn cut(head: &'static str, piece: &'static str, version: &str) -> (Tetap, Vec<u8>, End, Duration) {
    let upstream = stream(head, piece);
    let mut tetap = proxy(&upstream, DRAIN);
    let mut client = tetap.client();
    client.send(format!("GET / HTTP/{version}\r\nHost: t\r\n\r\n"));
    until("the request is at the upstream", || upstream.count() == 1);
    tetap.signal("TERM");
    let (answer, took) = timed(|| client.read_answer());
    assert_eq!(tetap.wait(), Some(0), "{head:?}");
    (tetap, answer.body, answer.end, took)
}

#[test]
fn an_answer_without_end_goes_on_until_its_moment_and_is_seen_to_be_cut() {
    let cases = [
        (CHUNKED, "4\r\ntick\r\n", "1.1", true),
        (CHUNKED, "", "1.1", false), // nothing comes that could wake it
        (LENGTH, "tick", "1.1", true),
        (UNTIL_CLOSE, "tick", "1.0", true),
    ];
    let run = |(head, piece, version, ticks): (&'static str, &'static str, &'static str, bool)| {
        std::thread::spawn(move || {
            let (tetap, body, end, took) = cut(head, piece, version);
            assert!(matches!(end, End::Closed | End::Reset), "{head:?} {version}: {end:?}");
            let window = FIRST_MOMENT - Duration::from_millis(300)..Duration::from_millis(3900);
            assert!(window.contains(&took), "{head:?} {version}: {took:?}");
            assert!(!ticks || body.len() > 200, "{head:?}: {} bytes", body.len());
            let line = &tetap.access_log_now()[0];
            assert_eq!((&line["status"], &line["cause"]), (&200.into(), &"drained".into()), "{line}");
        })
    };
    let running: Vec<_> = cases.map(run).into_iter().collect();
    running.into_iter().for_each(|case| case.join().unwrap());
}

#[test]
fn an_answer_that_is_whole_before_its_moment_is_whole() {
    let upstream = Scripted::start(|talk| {
        talk.head();
        talk.write(CHUNKED);
        for _ in 0..5 {
            talk.pause(Duration::from_millis(100));
            talk.write("4\r\ntick\r\n");
        }
        talk.write("0\r\n\r\n");
        talk.wait_for_close();
    });
    let mut tetap = proxy(&upstream, "30s");
    let mut client = tetap.client();
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    until("the request is at the upstream", || upstream.count() == 1);
    tetap.signal("TERM");
    assert_eq!(client.read_answer().text(), "tick".repeat(5));
    drop(client); // its answer had begun before it could say that the connection ends
    assert_eq!(tetap.wait(), Some(0));
}

/// Python's `websockets` at both ends: what it makes of our frames is what an application is told. `tests/run` installs
/// it.
#[test]
fn an_application_is_told_1001() {
    let python = |role: &str, address: &str| {
        let mut command = Command::new("python3");
        command.args(["-I", "-c", include_str!("../support/websocket.py"), MODULES, role, address]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap()
    };
    let port = crate::support::free_port();
    let address = format!("127.0.0.1:{port}");
    let server = python("server", &address);
    let listens = || Client::try_connect(address.parse().unwrap()).is_ok();
    until("the server listens; tests/run installs what it needs", listens);
    let mut tetap = Tetap::start(&format!(
        "process: {{drain_timeout: {DRAIN}}}
upstreams: {{u: {{endpoints: [\"{address}\"]}}}}
routes: [{{match: {{path: {{prefix: /}}}}, upstream: u}}]"
    ));
    let client = python("client", &tetap.address("web").to_string());
    tetap.wait_for_metric("tetap_upstream_in_flight", &["upstream=\"u\""], 1.0);
    tetap.signal("TERM");
    for process in [client, server] {
        let output = process.wait_with_output().unwrap(); // both give up by themselves
        assert_eq!(String::from_utf8_lossy(&output.stdout), "42 messages\nclosed by 1001\n");
    }
    assert_eq!(tetap.wait(), Some(0));
}

/// Where `tests/run` puts Python modules.
const MODULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/python");
