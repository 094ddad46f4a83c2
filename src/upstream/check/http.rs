//! A request, and whether its answer is a good one.
//!
//! A check is there for the day on which the endpoint is broken, so nothing about its answer is taken for granted. The
//! head is read by the same strict scanner as any other answer ([`response_head`](crate::hygiene::response_head)): an
//! endpoint whose answers the proxy would refuse is not well. The body is read only where something is to be found in
//! it, only as far as a bound, and without the framing, which may stand in the middle of a word. All that is the
//! [`Judge`]'s; here is the request, and the socket.

mod judge;

use std::io::Write;
use std::net::SocketAddr;

use http::Method;
use http::header::USER_AGENT;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use judge::Judge;

use super::{connect, in_time, part};
use crate::health::probe::Miss;
use crate::plan::HttpCheck;

/// What is read at first; most answers to health checks are shorter.
const READ_BYTES: usize = 2048;

/// Good if the answer's status, and its body where that matters, is as expected.
pub(super) async fn check(asked: &HttpCheck, address: SocketAddr, due: Instant) -> Result<(), Miss> {
    let mut socket = in_time(due, connect(address)).await?;
    let verdict = in_time(due, ask(asked, address, &mut socket)).await;
    part(socket, due).await;
    verdict
}

async fn ask(asked: &HttpCheck, address: SocketAddr, socket: &mut TcpStream) -> Result<(), Miss> {
    socket.write_all(&request(asked, address)).await.map_err(|_| Miss::Broken)?;
    let mut judge = Judge::new(asked);
    let mut received = Vec::with_capacity(READ_BYTES);
    loop {
        if socket.read_buf(&mut received).await.map_err(|_| Miss::Broken)? == 0 {
            return judge.end();
        }
        if let Some(verdict) = judge.take(&mut received) {
            return verdict;
        }
    }
}

/// The whole request, so that it leaves in one packet.
fn request(asked: &HttpCheck, address: SocketAddr) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    bytes.extend_from_slice(asked.method.as_str().as_bytes());
    bytes.push(b' ');
    write_path(&mut bytes, &asked.path);
    bytes.extend_from_slice(b" HTTP/1.1\r\n");
    match &asked.host {
        Some(host) => write_field(&mut bytes, "Host", host.as_bytes()),
        None => write_authority(&mut bytes, address),
    }
    if asked.headers.iter().all(|(name, _)| name != USER_AGENT) {
        write_field(&mut bytes, "User-Agent", super::USER_AGENT.as_bytes());
    }
    write_field(&mut bytes, "Connection", b"close");
    if [Method::POST, Method::PUT, Method::PATCH].contains(&asked.method) {
        write_field(&mut bytes, "Content-Length", b"0"); // RFC 9110, section 8.6
    }
    for (name, value) in &asked.headers {
        write_field(&mut bytes, name.as_str(), value.as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}

/// An operator may write `/état de santé`; what cannot stand in a request line is escaped (RFC 3986, section 2.1).
fn write_path(bytes: &mut Vec<u8>, path: &str) {
    for byte in path.bytes() {
        match byte {
            b'!'..=b'~' => bytes.push(byte),
            _ => write(bytes, format_args!("%{byte:02X}")),
        }
    }
}

fn write_field(bytes: &mut Vec<u8>, name: &str, value: &[u8]) {
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(b": ");
    bytes.extend_from_slice(value);
    bytes.extend_from_slice(b"\r\n");
}

/// Without the zone of a link-local address, which means nothing to the other side (RFC 6874, section 1).
fn write_authority(bytes: &mut Vec<u8>, address: SocketAddr) {
    let authority = SocketAddr::new(address.ip(), address.port());
    write(bytes, format_args!("Host: {authority}\r\n"));
}

fn write(bytes: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let _ = bytes.write_fmt(text); // memory takes everything
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::tests::{LONG, SHORT, Step, endpoint, of};
    use super::*;
    use crate::limits::{CHECK_BODY_BYTES, INTERIM_RESPONSES, RESPONSE_HEADER_BYTES};
    use crate::plan::CheckKind;
    use http::{HeaderName, HeaderValue};
    use std::time::Duration;

    /// Asks for a path and expects a status from 200 to 299.
    pub(in super::super) fn get(path: &str) -> HttpCheck {
        HttpCheck {
            method: Method::GET,
            path: path.to_owned(),
            host: None,
            headers: Vec::new(),
            expect: vec![(200, 299)],
            contains: None,
            matches: None,
        }
    }

    fn containing(text: &str) -> HttpCheck {
        HttpCheck { contains: Some(text.to_owned()), ..get("/") }
    }

    fn matching(pattern: &str) -> HttpCheck {
        HttpCheck {
            matches: Some(crate::plan::Pattern(regex::bytes::Regex::new(pattern).unwrap())),
            ..get("/")
        }
    }

    /// What comes of a check whose endpoint answers like this, in pieces, and closes.
    async fn verdict(asked: HttpCheck, pieces: &[&'static str]) -> Result<(), Miss> {
        let mut steps = vec![Step::Hear];
        for piece in pieces {
            steps.extend([Step::Say(piece.as_bytes()), Step::Pause(Duration::from_millis(5))]);
        }
        steps.extend([Step::Finish, Step::Stay]);
        let (address, _endpoint) = endpoint(&steps).await;
        super::super::check(&of(CheckKind::Http(Box::new(asked)), LONG), address).await
    }

    /// The same, where the endpoint leaves the connection open.
    async fn open_verdict(asked: HttpCheck, pieces: &[Step]) -> Result<(), Miss> {
        let steps = [&[Step::Hear], pieces, &[Step::Stay]].concat();
        let (address, _endpoint) = endpoint(&steps).await;
        super::super::check(&of(CheckKind::Http(Box::new(asked)), LONG), address).await
    }

    /// What an endpoint is asked.
    async fn asks(asked: HttpCheck) -> (String, SocketAddr) {
        let (address, endpoint) = endpoint(&[Step::Hear]).await;
        let _ = super::super::check(&of(CheckKind::Http(Box::new(asked)), LONG), address).await;
        (endpoint.await.unwrap().text, address)
    }

    #[tokio::test]
    async fn a_request_says_who_asks_and_what_for() {
        let agent = super::super::USER_AGENT;
        assert!(agent.starts_with("tetap/") && agent.ends_with(" health-check"), "{agent}");
        let (text, address) = asks(get("/healthz")).await;
        let want = format!(
            "GET /healthz HTTP/1.1\r\nHost: {address}\r\nUser-Agent: {agent}\r\nConnection: close\r\n\r\n"
        );
        assert_eq!(text, want);
    }

    #[tokio::test]
    async fn a_request_says_what_the_operator_wants() {
        let field = |name, value| (HeaderName::from_static(name), HeaderValue::from_static(value));
        let asked = HttpCheck {
            method: Method::POST,
            host: Some("orders.internal".to_owned()),
            headers: vec![field("x-team", "orders"), field("user-agent", "curl")],
            ..get("/\u{e9}tat de\r\nsant\u{e9}/%20")
        };
        let want = "POST /%C3%A9tat%20de%0D%0Asant%C3%A9/%20 HTTP/1.1\r\nHost: orders.internal\r\n\
            Connection: close\r\nContent-Length: 0\r\nx-team: orders\r\nuser-agent: curl\r\n\r\n";
        assert_eq!(asks(asked).await.0, want);
    }

    #[test]
    fn an_address_is_written_as_a_host() {
        let rows =
            [("[fe80::1%3]:8080", "Host: [fe80::1]:8080\r\n"), ("10.0.0.1:80", "Host: 10.0.0.1:80\r\n")];
        for (address, want) in rows {
            let mut bytes = Vec::new();
            write_authority(&mut bytes, address.parse().unwrap());
            assert_eq!(String::from_utf8(bytes).unwrap(), want);
        }
    }

    #[tokio::test]
    async fn the_status_decides() {
        let ranges = || HttpCheck { expect: vec![(200, 204), (401, 401)], ..get("/") };
        let rows = [
            (get("/"), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Ok(())),
            (get("/"), "HTTP/1.1 299\r\n\r\nanything", Ok(())),
            (get("/"), "HTTP/1.0 200 OK\r\n\r\n", Ok(())),
            (get("/"), "HTTP/1.1 301 Moved\r\nLocation: /\r\n\r\n", Err(Miss::Status(301))),
            (
                get("/"),
                "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\n\r\nsorry",
                Err(Miss::Status(503)),
            ),
            (ranges(), "HTTP/1.1 204 No Content\r\n\r\n", Ok(())),
            (ranges(), "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", Err(Miss::Status(205))),
            (ranges(), "HTTP/1.1 400 Bad\r\n\r\n", Err(Miss::Status(400))),
            (ranges(), "HTTP/1.1 401 Unauthorized\r\n\r\n", Ok(())),
            (ranges(), "HTTP/1.1 402 Payment Required\r\n\r\n", Err(Miss::Status(402))),
        ];
        for (asked, answer, want) in rows {
            assert_eq!(verdict(asked, &[answer]).await, want, "{answer:?}");
        }
    }

    #[tokio::test]
    async fn an_answer_may_come_in_pieces() {
        let pieces = ["HTT", "P/1.1 20", "0 OK\r", "\nContent-Length: 0\r\n\r", "\n"];
        assert_eq!(verdict(get("/"), &pieces).await, Ok(()));
    }

    #[tokio::test]
    async fn interim_answers_are_none_but_not_without_end() {
        let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(verdict(get("/"), &[interim, answer]).await, Ok(()));
        let both = [interim, answer].concat().leak();
        assert_eq!(verdict(get("/"), &[both]).await, Ok(()));
        let endless = "HTTP/1.1 100 Continue\r\n\r\n".repeat(INTERIM_RESPONSES as usize + 1).leak();
        assert_eq!(verdict(get("/"), &[endless]).await, Err(Miss::Invalid("too many interim answers")));
    }

    #[tokio::test]
    async fn what_is_not_http_is_invalid() {
        let garbage = [
            "<html>it works</html>\r\n\r\n",
            "<html>it works</html>",
            "SSH-2.0-OpenSSH_9.6\r\n",
            "\x15\x03\x01\0\x02\x02\x46",
            "HTTP/2 200 OK\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        ];
        for answer in garbage {
            let verdict = verdict(get("/"), &[answer]).await;
            assert!(matches!(verdict, Err(Miss::Invalid(_))), "{answer:?}: {verdict:?}");
        }
    }

    #[tokio::test]
    async fn another_protocols_greeting_is_not_waited_on() {
        let (address, _endpoint) = endpoint(&[Step::Say(b"J\0\0\0\x0a8.0.36"), Step::Stay]).await;
        let verdict = super::super::check(&of(CheckKind::Http(Box::new(get("/"))), LONG), address).await;
        assert_eq!(verdict, Err(Miss::Invalid("the answer is not HTTP/1")));
    }

    #[tokio::test]
    async fn a_head_without_an_end_is_cut_off() {
        let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(RESPONSE_HEADER_BYTES)).leak();
        assert_eq!(verdict(get("/"), &[endless]).await, Err(Miss::Invalid("the header section is too long")));
    }

    #[tokio::test]
    async fn an_answer_that_breaks_off_is_broken() {
        let rows = [
            (get("/"), "HTTP/1.1 200 OK\r\nContent-Le"),
            (get("/"), "HTTP/1.1 100 Continue\r\n\r\n"),
            (containing("ok"), "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nnot o"),
            (containing("ok"), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nnot o\r\n"),
            (matching("^ok"), "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"),
        ];
        for (asked, answer) in rows {
            assert_eq!(verdict(asked, &[answer]).await, Err(Miss::Broken), "{answer:?}");
        }
    }

    #[tokio::test]
    async fn a_text_is_found_in_the_body() {
        const LENGTH: &str = "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n";
        const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        const CLOSE: &str = "HTTP/1.1 200 OK\r\n\r\n";
        let rows: [(&[&str], _); 9] = [
            (&[LENGTH, "status: ready"], Ok(())),
            (&[LENGTH, "status: re", "ady"], Ok(())),
            (&[LENGTH, "status: reaDY"], Err(Miss::Body)),
            (&[CHUNKED, "a\r\nstatus: re\r\n3\r\nady\r\n0\r\n\r\n"], Ok(())),
            (&[CHUNKED, "a\r\nstatus: re", "\r\n1;ready\r\na\r", "\n2\r\ndy\r\n0\r\n\r\n"], Ok(())),
            (&[CHUNKED, "3;ready\r\nnot\r\n0\r\nX: ready\r\n\r\n"], Err(Miss::Body)),
            (&[CHUNKED, "3\r\nnot\r\nxyz"], Err(Miss::Invalid("a chunk's size is not a hex number"))),
            (&[CLOSE, "status: ", "ready"], Ok(())),
            (&[CLOSE, "status: ", "down"], Err(Miss::Body)),
        ];
        for (pieces, want) in rows {
            assert_eq!(verdict(containing("ready"), pieces).await, want, "{pieces:?}");
        }
    }

    #[tokio::test]
    async fn an_answer_without_a_body_has_no_text() {
        let empty = ["HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"];
        for answer in empty {
            assert_eq!(verdict(containing("ok"), &[answer]).await, Err(Miss::Body), "{answer:?}");
        }
    }

    #[tokio::test]
    async fn a_bad_status_is_told_before_the_body() {
        let answer = "HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nok";
        assert_eq!(verdict(containing("ok"), &[answer]).await, Err(Miss::Status(500)));
    }

    #[tokio::test]
    async fn a_pattern_is_held_against_the_whole_body() {
        const HEAD: &str = "HTTP/1.1 200 OK\r\n\r\n";
        assert_eq!(verdict(matching("^ok$"), &[HEAD, "ok"]).await, Ok(()));
        assert_eq!(verdict(matching("^ok$"), &[HEAD, "ok", " not"]).await, Err(Miss::Body));
        let both = || HttpCheck { contains: Some("up".to_owned()), ..matching("^ok") };
        assert_eq!(verdict(both(), &[HEAD, "ok, up"]).await, Ok(()));
        assert_eq!(verdict(both(), &[HEAD, "ok, down"]).await, Err(Miss::Body));
        assert_eq!(verdict(both(), &[HEAD, "up, not ok"]).await, Err(Miss::Body));
    }

    #[tokio::test]
    async fn the_text_is_looked_for_within_a_bound() {
        const HEAD: &str = "HTTP/1.1 200 OK\r\n\r\n";
        let filler = |length| &*"x".repeat(length).leak();
        assert_eq!(verdict(containing("ok"), &[HEAD, filler(CHECK_BODY_BYTES - 2), "ok"]).await, Ok(()));
        let late = [HEAD, filler(CHECK_BODY_BYTES - 1), "ok"];
        assert_eq!(verdict(containing("ok"), &late).await, Err(Miss::Body));
        assert_eq!(verdict(matching("ok"), &late).await, Err(Miss::Body));
        let endless = Step::Say(late.concat().leak().as_bytes());
        assert_eq!(
            open_verdict(containing("ok"), &[endless]).await,
            Err(Miss::Body),
            "nobody waits for the rest"
        );
    }

    #[tokio::test]
    async fn a_text_that_was_found_is_enough() {
        let head = Step::Say(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nall o");
        let pieces = [head, Step::Pause(Duration::from_millis(20)), Step::Say(b"k")];
        assert_eq!(open_verdict(containing("ok"), &pieces).await, Ok(()));
    }

    #[tokio::test]
    async fn a_body_that_drips_has_as_long_as_the_whole_check() {
        let head = Step::Say(b"HTTP/1.1 200 OK\r\n\r\n");
        let (address, _endpoint) = endpoint(&[Step::Hear, head, Step::Drip(Duration::from_millis(10))]).await;
        let asked = of(CheckKind::Http(Box::new(containing("ok"))), SHORT);
        let begun = Instant::now();
        assert_eq!(super::super::check(&asked, address).await, Err(Miss::TimedOut));
        assert!(begun.elapsed() >= SHORT && begun.elapsed() < LONG, "{:?}", begun.elapsed());
    }
}
