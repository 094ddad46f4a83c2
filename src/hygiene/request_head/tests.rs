//! Bytes in, verdict out. Every table is also fed byte by byte, and must come to the same verdict.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;

use super::*;

const LIMITS: HeadLimits = HeadLimits { header_bytes: 512, header_count: 12, uri_bytes: 128 };

fn scan(bytes: &[u8]) -> Scan<'_> {
    RequestScanner::new(LIMITS).scan(bytes)
}

fn head(text: &str) -> RequestHead<'_> {
    match scan(text.as_bytes()) {
        Scan::Complete(head) => head,
        other => panic!("{text:?}: {other:?}"),
    }
}

fn refusal(bytes: &[u8]) -> Option<Refusal> {
    match scan(bytes) {
        Scan::Refused(refusal) => Some(refusal),
        _ => None,
    }
}

/// The verdict on a head that comes byte by byte: the first that is not [`Scan::NeedMore`], and after how
/// many bytes.
fn drip(bytes: &[u8]) -> (usize, Scan<'_>) {
    let mut scanner = RequestScanner::new(LIMITS);
    for len in 1..=bytes.len() {
        let scan = scanner.scan(&bytes[..len]);
        if !matches!(scan, Scan::NeedMore) {
            return (len, scan);
        }
    }
    (bytes.len(), Scan::NeedMore)
}

/// Request line and fields of `GET / HTTP/1.1` with these lines behind `Host`.
fn with(lines: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
}

const BAD: Cause = Cause::BadRequest;

/// RFC section and fault, bytes, cause.
const REFUSED: &[(&str, &str, Cause)] = &[
    ("9112 2.2 bare LF ends the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", BAD),
    ("9112 2.2 bare LF ends a field", "GET / HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n", BAD),
    ("9112 2.2 bare LF ends the head", "GET / HTTP/1.1\r\nHost: a\r\n\n", BAD),
    ("9112 2.2 bare LF as empty line", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("9112 2.2 bare CR, and a bare LF later", "GET / HTTP/1.1\r\nHost: a\r\nX: \r1\nY: 2\r\n\r\n", BAD),
    ("9112 2.2 bare CR in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r2\r\n\r\n", BAD),
    ("9112 2.2 bare CR in the request line", "GET /\r HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("9112 2.2 CR before CRLF", "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", BAD),
    ("9112 2.2 five empty lines", "\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("9112 2.2 white space before the first field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", BAD),
    ("9112 3 two spaces before the target", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("9112 3 two spaces behind the target", "GET /  HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("9112 3 a space before the method", " GET / HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("9112 3 a space behind the version", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", BAD),
    ("9112 3 HTAB for a space", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("9112 3 a space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("9112 3 two request lines in one", "GET /a HTTP/1.1 /b HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("9112 3 no version: HTTP/0.9", "GET /\r\n\r\n", BAD),
    ("9112 3 no target", "GET HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("9112 3 an empty target", "GET  HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("9112 3.1 a method that is no token", "G(T / HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("9112 3.1 a long method", "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("9112 2.3 lower case", "GET / http/1.1\r\nHost: a\r\n\r\n", BAD),
    ("9112 2.3 two digits", "GET / HTTP/1.10\r\nHost: a\r\n\r\n", BAD),
    ("9112 2.3 no digit", "GET / HTTP/1.\r\nHost: a\r\n\r\n", BAD),
    ("9112 2.3 another word", "GET / SPDY/1.1\r\nHost: a\r\n\r\n", BAD),
    ("9110 2.5 HTTP/2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", Cause::VersionNotSupported),
    ("9113 3.4 the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Cause::VersionNotSupported),
    ("9110 2.5 HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", Cause::VersionNotSupported),
    ("9110 2.5 HTTP/0.9", "GET / HTTP/0.9\r\nHost: a\r\n\r\n", Cause::VersionNotSupported),
    ("9110 9.3.6 CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", Cause::MethodNotAllowed),
    ("9110 9.3.8 TRACE", "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", Cause::MethodNotAllowed),
    ("9112 3.2 authority form without CONNECT", "GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("9112 3.2 a relative path", "GET a/b HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("9112 3.2.4 asterisk without OPTIONS", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("9112 3.2.4 asterisk with a query", "OPTIONS *?a HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("9112 3.2.2 another scheme", "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("9112 3.2.2 no authority", "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("9110 4.2.4 userinfo in the target", "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("9112 3.2 absolute form without Host", "GET http://a/ HTTP/1.1\r\n\r\n", BAD),
    ("9112 3.2 absolute form with a bad Host", "GET http://a/ HTTP/1.1\r\nHost: a b\r\n\r\n", BAD),
    ("3986 3.5 a fragment", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("3986 2.1 a broken escape in the path", "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("3986 2.1 a cut-off escape in the query", "GET /?a=%4 HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("3986 2.1 a broken escape in the query", "GET /?%g0 HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("3986 7.3 NUL in the path", "GET /a%00 HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("3986 7.3 NUL in the query", "GET /?a=%00 HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("3986 2 a quote", "GET /\" HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("3986 2 a backslash", "GET /a\\..\\b HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("3986 2 angle brackets in the query", "GET /?<a> HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("3986 2 a byte above ASCII", "GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("3986 2 DEL", "GET /\u{7f} HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("9112 3.2 no Host", "GET / HTTP/1.1\r\n\r\n", BAD),
    ("9112 3.2 two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", BAD),
    ("9112 3.2 two equal Hosts", "GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", BAD),
    ("9112 3.2 two Hosts on 1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", BAD),
    ("9110 4.2.1 an empty Host", "GET / HTTP/1.1\r\nHost: \r\n\r\n", BAD),
    ("9110 7.2 userinfo in Host", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", BAD),
    ("9110 7.2 a list in Host", "GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", BAD),
    ("9110 7.2 a space in Host", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", BAD),
    ("9110 7.2 a path in Host", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", BAD),
    ("9110 7.2 a port that is none", "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", BAD),
    ("9110 7.2 a byte above ASCII in Host", "GET / HTTP/1.1\r\nHost: \u{e9}\r\n\r\n", BAD),
    ("9112 5.1 white space before the colon", "GET / HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n", BAD),
    ("9112 5.1 HTAB before the colon", "GET / HTTP/1.1\r\nHost: a\r\nX\t: 1\r\n\r\n", BAD),
    ("9112 5.2 obs-fold", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n", BAD),
    ("9112 5.2 obs-fold by HTAB", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n\t2\r\n\r\n", BAD),
    ("9112 5 no colon", "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", BAD),
    ("9112 5 no name", "GET / HTTP/1.1\r\nHost: a\r\n: 1\r\n\r\n", BAD),
    ("9110 5.1 a name that is no token", "GET / HTTP/1.1\r\nHost: a\r\nX(y: 1\r\n\r\n", BAD),
    ("9110 5.1 a name above ASCII", "GET / HTTP/1.1\r\nHost: a\r\nX\u{e9}: 1\r\n\r\n", BAD),
    ("9110 5.5 NUL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", BAD),
    ("9110 5.5 a control byte in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: \u{1b}[0m\r\n\r\n", BAD),
    ("9110 5.5 DEL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: \u{7f}\r\n\r\n", BAD),
    (
        "9112 6.3 both lengths",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        BAD,
    ),
    (
        "9112 6.3 both lengths, the other way round",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
        BAD,
    ),
    ("9110 8.6 a list", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n", BAD),
    (
        "9110 8.6 twice the same",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\ncontent-length: 5\r\n\r\n",
        BAD,
    ),
    ("9110 8.6 a sign", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n", BAD),
    ("9110 8.6 a negative one", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n", BAD),
    ("9110 8.6 hex", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\n", BAD),
    ("9110 8.6 a blank inside", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1 0\r\n\r\n", BAD),
    ("9110 8.6 none", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", BAD),
    (
        "9110 8.6 more than 64 bits",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\n",
        BAD,
    ),
    ("9112 6.1 gzip", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", BAD),
    ("9112 6.1 gzip, chunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", BAD),
    ("9112 6.1 identity", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n", BAD),
    ("9112 6.1 xchunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", BAD),
    ("9112 6.1 a parameter", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;q=1\r\n\r\n", BAD),
    ("9112 6.1 quoted", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n", BAD),
    ("9112 6.1 a VT before it", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \u{b}chunked\r\n\r\n", BAD),
    ("9112 6.1 empty", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n", BAD),
    ("9112 6.1 a list of one", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked,\r\n\r\n", BAD),
    (
        "9112 6.1 chunked twice",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
        BAD,
    ),
    (
        "9112 6.1 two lines",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        BAD,
    ),
    ("9112 6.1 on HTTP/1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", BAD),
    (
        "9112 5.1 hidden by white space",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n",
        BAD,
    ),
    ("9110 10.1.1 another expectation", "POST / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n", BAD),
    (
        "9110 7.6.1 an option that is no token",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: \"close\"\r\n\r\n",
        BAD,
    ),
    (
        "9110 7.6.1 more options than anybody needs",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q\r\n\r\n",
        BAD,
    ),
];

#[test]
fn what_has_two_readings_is_refused() {
    for (rule, bytes, cause) in REFUSED {
        assert_eq!(refusal(bytes.as_bytes()).map(|refusal| refusal.cause), Some(*cause), "{rule}");
    }
}

#[test]
fn bytes_that_come_one_by_one_meet_the_same_verdict() {
    for (rule, bytes, cause) in REFUSED {
        match drip(bytes.as_bytes()).1 {
            Scan::Refused(refusal) => assert_eq!(refusal.cause, *cause, "{rule}"),
            other => panic!("{rule}: {other:?}"),
        }
    }
}

#[test]
fn the_head_ends_where_it_ends_however_it_comes() {
    let text = "POST /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n";
    let with_more = format!("{text}bodyGET / HTTP/1.1\r\n");
    assert_eq!(head(&with_more).len, text.len());
    match drip(with_more.as_bytes()) {
        (after, Scan::Complete(head)) => assert_eq!((after, head.len), (text.len(), text.len())),
        other => panic!("{other:?}"),
    }
}

/// Request line, then `Host`; form, path, query, host and port.
type Named = (TargetForm, &'static str, Option<&'static str>, &'static str, Option<u16>);

const TARGETS: &[(&str, &str, Named)] = &[
    ("GET / HTTP/1.1", "a", (TargetForm::Origin, "/", None, "a", None)),
    (
        "GET /x?y=1&z HTTP/1.1",
        "A.Example:8080",
        (TargetForm::Origin, "/x", Some("y=1&z"), "a.example", Some(8080)),
    ),
    ("GET /? HTTP/1.1", "a.", (TargetForm::Origin, "/", Some(""), "a", None)),
    ("GET /?a?b HTTP/1.1", "a", (TargetForm::Origin, "/", Some("a?b"), "a", None)),
    ("GET /?/../%2e HTTP/1.1", "a", (TargetForm::Origin, "/", Some("/../%2e"), "a", None)),
    ("GET /?`{|}^ HTTP/1.1", "a", (TargetForm::Origin, "/", Some("`{|}^"), "a", None)),
    ("GET /a/%2E%2e/b//c HTTP/1.1", "a", (TargetForm::Origin, "/b/c", None, "a", None)),
    ("GET //evil.example/x HTTP/1.1", "a", (TargetForm::Origin, "/evil.example/x", None, "a", None)),
    ("GET /http://b/ HTTP/1.1", "a", (TargetForm::Origin, "/http:/b/", None, "a", None)),
    ("GET / HTTP/1.1", "[::1]:80", (TargetForm::Origin, "/", None, "[::1]", Some(80))),
    ("GET http://b/x?y HTTP/1.1", "a", (TargetForm::Absolute, "/x", Some("y"), "b", None)),
    ("GET HTTPS://B:443/x HTTP/1.1", "a", (TargetForm::Absolute, "/x", None, "b", Some(443))),
    ("GET http://b HTTP/1.1", "a", (TargetForm::Absolute, "/", None, "b", None)),
    ("GET http://b?y HTTP/1.1", "a", (TargetForm::Absolute, "/", Some("y"), "b", None)),
    ("GET http://b/a/../.. HTTP/1.1", "b", (TargetForm::Absolute, "/", None, "b", None)),
    ("OPTIONS * HTTP/1.1", "a", (TargetForm::Asterisk, "*", None, "a", None)),
    ("OPTIONS http://b HTTP/1.1", "a", (TargetForm::Asterisk, "*", None, "b", None)),
    ("OPTIONS http://b/ HTTP/1.1", "a", (TargetForm::Absolute, "/", None, "b", None)),
    ("OPTIONS http://b?q HTTP/1.1", "a", (TargetForm::Absolute, "/", Some("q"), "b", None)),
    ("OPTIONS / HTTP/1.1", "a", (TargetForm::Origin, "/", None, "a", None)),
];

#[test]
fn every_form_of_target_becomes_host_path_and_query() {
    for (line, host, want) in TARGETS {
        let text = format!("{line}\r\nHost: {host}\r\n\r\n");
        let head = head(&text);
        let got = (head.form, &*head.path, head.query, &*head.host, head.port);
        assert_eq!(got, *want, "{line}");
    }
}

#[test]
fn http_1_0_may_leave_the_host_out() {
    let head = head("GET / HTTP/1.0\r\n\r\n");
    assert_eq!((&*head.host, head.port, head.version), ("", None, Version::HTTP_10));
}

#[test]
fn a_field_is_read_where_it_is_there_once() {
    let text = with("X-A: \t1 2 \r\nX-B: 1\r\nx-b: 1\r\nX-C:\r\n");
    let head = head(&text);
    for (name, value) in [("x-a", Some("1 2")), ("X-B", None), ("X-C", Some("")), ("X-D", None)] {
        assert_eq!(head.only(name), value.map(str::as_bytes), "{name}");
    }
}

#[test]
fn any_token_is_a_method() {
    for method in
        ["GET", "get", "PROPFIND", "M-SEARCH", "!#$%&'*+-.^_`|~", "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF"]
    {
        let text = format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(head(&text).method.as_str(), method);
    }
}

#[test]
fn the_body_ends_as_the_head_says() {
    let rows = [
        ("", Framing::None),
        ("Content-Length: 0\r\n", Framing::Length(0)),
        ("Content-Length: 5\r\n", Framing::Length(5)),
        ("content-length:\t005 \r\n", Framing::Length(5)),
        ("Content-Length: 18446744073709551615\r\n", Framing::Length(u64::MAX)),
        ("Transfer-Encoding: chunked\r\n", Framing::Chunked),
        ("TRANSFER-ENCODING:CHUNKED\r\n", Framing::Chunked),
        ("X-Content-Length: 5\r\nContent_Length: 7\r\n", Framing::None),
    ];
    for (lines, framing) in rows {
        assert_eq!(head(&with(lines)).framing, framing, "{lines:?}");
    }
}

#[test]
fn the_connection_stays_as_rfc_9112_9_3_says() {
    let rows = [
        ("HTTP/1.1", "", true),
        ("HTTP/1.1", "Connection: close\r\n", false),
        ("HTTP/1.1", "Connection: Keep-Alive\r\n", true),
        ("HTTP/1.1", "Connection: x-a,, CLOSE\r\n", false),
        ("HTTP/1.1", "Connection: keep-alive\r\nConnection: close\r\n", false),
        ("HTTP/1.1", "Connection: disclose\r\n", true),
        ("HTTP/1.0", "", false),
        ("HTTP/1.0", "Connection: keep-alive\r\n", true),
        ("HTTP/1.0", "Connection: keep-alive, close\r\n", false),
    ];
    for (version, lines, keep_alive) in rows {
        let text = format!("GET / {version}\r\nHost: a\r\n{lines}\r\n");
        assert_eq!(head(&text).keep_alive, keep_alive, "{version} {lines:?}");
    }
}

#[test]
fn only_a_1_1_client_with_a_body_waits_for_100() {
    let rows = [
        ("HTTP/1.1", "Expect: 100-continue\r\nContent-Length: 1\r\n", true),
        ("HTTP/1.1", "expect: 100-Continue\r\nTransfer-Encoding: chunked\r\n", true),
        ("HTTP/1.1", "Expect: 100-continue\r\nContent-Length: 0\r\n", false),
        ("HTTP/1.1", "Expect: 100-continue\r\n", false),
        ("HTTP/1.0", "Expect: 100-continue\r\nContent-Length: 1\r\n", false),
        ("HTTP/1.1", "Content-Length: 1\r\n", false),
    ];
    for (version, lines, expects) in rows {
        let text = format!("POST / {version}\r\nHost: a\r\n{lines}\r\n");
        assert_eq!(head(&text).expects_continue, expects, "{version} {lines:?}");
    }
}

#[test]
fn a_websocket_handshake_is_whole_or_none() {
    let sound = [
        "Upgrade: WebSocket\r\n",
        "Connection: keep-alive, Upgrade\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        "Sec-WebSocket-Version: 13\r\n",
    ];
    assert!(head(&with(&sound.concat())).upgrade_websocket);
    for missing in 0..sound.len() {
        let mut lines = sound;
        lines[missing] = "";
        assert!(!head(&with(&lines.concat())).upgrade_websocket, "without {}", sound[missing]);
    }
    let spoilt = [
        "Upgrade: h2c\r\n",
        "Upgrade: websocket\r\n",
        "Content-Length: 3\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Sec-WebSocket-Key: c2hvcnQ=\r\n",
        "Sec-WebSocket-Version: 8\r\n",
    ];
    for line in spoilt {
        assert!(!head(&with(&(sound.concat() + line))).upgrade_websocket, "with {line}");
    }
    for line in ["POST / HTTP/1.1", "GET / HTTP/1.0"] {
        let text = format!("{line}\r\nHost: a\r\n{}\r\n", sound.concat());
        assert!(!head(&text).upgrade_websocket, "{line}");
    }
}

#[test]
fn what_is_canonical_already_is_not_copied() {
    let rows = ["GET / HTTP/1.1", "POST /a/b;c?d=e&f HTTP/1.1", "OPTIONS * HTTP/1.1", "GET /%2F HTTP/1.0"];
    for line in rows {
        let text = format!("{line}\r\nHost:  A \r\nX-Odd:\t1\r\n\r\n");
        assert_eq!(head(&text).canonical(), None, "{line}");
    }
}

#[test]
fn what_is_not_becomes_so() {
    let rows = [
        ("\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("GET /a/../%62 HTTP/1.1\r\nX:1\r\nHost: a\r\n\r\n", "GET /b HTTP/1.1\r\nX:1\r\nHost: a\r\n\r\n"),
        ("GET //?/.. HTTP/1.0\r\n\r\n", "GET /?/.. HTTP/1.0\r\n\r\n"),
        (
            "GET http://B:80/x?y HTTP/1.1\r\nX: 1\r\nHOST: a\r\nY: 2\r\n\r\n",
            "GET /x?y HTTP/1.1\r\nX: 1\r\nHost: B:80\r\nY: 2\r\n\r\n",
        ),
        ("GET http://b HTTP/1.1\r\nHost: b\r\n\r\n", "GET / HTTP/1.1\r\nHost: b\r\n\r\n"),
        ("GET http://b HTTP/1.0\r\nX: 1\r\n\r\n", "GET / HTTP/1.0\r\nHost: b\r\nX: 1\r\n\r\n"),
        ("GET http://b HTTP/1.0\r\n\r\n", "GET / HTTP/1.0\r\nHost: b\r\n\r\n"),
        ("OPTIONS http://b HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: b\r\n\r\n"),
    ];
    for (sent, canonical) in rows {
        let text = head(sent).canonical().map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!(text.as_deref(), Some(canonical), "{sent:?}");
    }
}

#[test]
fn limits_are_inclusive() {
    let target = |len: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(len - 1));
    assert_eq!(head(&target(128)).path.len(), 128);
    assert_eq!(refusal(target(129).as_bytes()).unwrap().cause, Cause::UriTooLong);

    let lines = |count: usize| with(&"X: 1\r\n".repeat(count - 1));
    assert!(head(&lines(12)).keep_alive);
    assert_eq!(refusal(lines(13).as_bytes()).unwrap().cause, Cause::HeaderTooLarge);

    let bytes = |len: usize| with(&format!("X: {}\r\n", "x".repeat(len - with("X: \r\n").len())));
    assert_eq!(head(&bytes(512)).len, 512);
    assert_eq!(refusal(bytes(513).as_bytes()).unwrap().cause, Cause::HeaderTooLarge);
}

#[test]
fn limits_act_before_the_head_has_ended() {
    let refused = |text: &str| refusal(text.as_bytes()).map(|refusal| refusal.cause);
    assert_eq!(refused(&format!("GET /{}", "x".repeat(128))), Some(Cause::UriTooLong));
    assert_eq!(refused(&format!("GET /{}", "x".repeat(127))), None);
    let head = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
    assert_eq!(refused(&format!("{head}{}", "x".repeat(512 - head.len()))), Some(Cause::HeaderTooLarge));
    assert_eq!(refused(&format!("{head}{}", "x".repeat(511 - head.len()))), None);
    assert_eq!(refused(&format!("GET / HTTP/1.1\r\n{}", "X: 1\r\n".repeat(13))), Some(Cause::HeaderTooLarge));
}

#[test]
fn a_target_that_does_not_fit_the_header_is_too_long_itself() {
    let limits = HeadLimits { header_bytes: 64, header_count: 12, uri_bytes: 128 };
    for text in [format!("GET /{}", "x".repeat(59)), format!("GET /{} HTTP/1.1\r\n", "x".repeat(59))] {
        match RequestScanner::new(limits).scan(text.as_bytes()) {
            Scan::Refused(refusal) => assert_eq!(refusal.cause, Cause::UriTooLong),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn nonsense_is_refused_at_its_first_bytes() {
    for bytes in [&b"\x16\x03\x01"[..], b"\0", b" ", b"{", b"\x80", b"SSH-2.0-OpenSSH_9.6 and then some"] {
        let verdict = refusal(bytes).map(|refusal| refusal.cause);
        assert_eq!(verdict == Some(BAD), !bytes.starts_with(b"SSH"), "{bytes:?}");
    }
    assert!(refusal(&[b'A'; 33]).is_some());
}

#[test]
fn a_beginning_asks_for_more() {
    for bytes in [&b""[..], b"\r", b"\r\n", b"\r\n\r", b"G", b"GET", b"GET ", b"GET /", b"GET / HTTP/9"] {
        assert!(matches!(scan(bytes), Scan::NeedMore), "{bytes:?}");
    }
}

/// Heads of which about half are sound: every part is mostly a usual one.
fn tricky_head() -> impl Strategy<Value = String> {
    let method = prop::sample::select(vec!["GET", "GET", "POST", "OPTIONS", "HEAD", "TRACE", "G T"]);
    let target = prop::sample::select(vec![
        "/",
        "/a/b?c",
        "/%41/../x",
        "//b",
        "*",
        "http://B:8/x/./y?z",
        "http://b",
        "b",
        "/a%zz",
        "/?%41",
        "/?\"",
    ]);
    let version = prop::sample::select(vec!["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0"]);
    let line = prop::sample::select(vec![
        "X: 1\r\n",
        "X-Long-Name:\t value with blanks \r\n",
        "Accept: */*\r\n",
        "Cookie: a=b; c=\"d\"\r\n",
        "Content-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Connection: close, x\r\n",
        "Empty:\r\n",
        "Host: c\r\n",
        "Bad : 1\r\n",
        " fold\r\n",
        "X: 1\n",
        "X: \r1\r\n",
    ]);
    let sound_line =
        prop::sample::select(vec!["X: 1\r\n", "Y:2\r\n", "Accept: */*\r\n", "Expect: 100-continue\r\n"]);
    let lines = prop::collection::vec(prop_oneof![3 => sound_line, 1 => line], 0..5);
    (0..3usize, method, target, version, lines).prop_map(|(empty, method, target, version, lines)| {
        format!("{}{method} {target} {version}\r\nHost: a\r\n{}\r\n", "\r\n".repeat(empty), lines.concat())
    })
}

/// What a lenient parser makes of a head: method, target, header lines, length.
fn second_opinion(bytes: &[u8]) -> (String, String, Vec<(String, Vec<u8>)>, usize) {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(len) = request.parse(bytes).expect("sound") else { panic!("not whole") };
    let fields = request.headers.iter().map(|field| (field.name.to_ascii_lowercase(), field.value.to_vec()));
    (request.method.unwrap().to_owned(), request.path.unwrap().to_owned(), fields.collect(), len)
}

fn framing_of(fields: &[(String, Vec<u8>)]) -> Framing {
    let values =
        |name: &str| fields.iter().filter(|field| field.0 == name).map(|field| field.1.clone()).collect();
    let (lengths, codings): (Vec<_>, Vec<_>) = (values("content-length"), values("transfer-encoding"));
    match (&lengths[..], &codings[..]) {
        ([], []) => Framing::None,
        ([length], []) => Framing::Length(String::from_utf8(length.clone()).unwrap().parse().unwrap()),
        ([], [coding]) if coding.eq_ignore_ascii_case(b"chunked") => Framing::Chunked,
        ambiguous => panic!("{ambiguous:?}"),
    }
}

/// What is not marked is not looked for, so a field that is there must be marked, however it is spelled.
#[test]
fn every_field_that_has_to_be_dealt_with_is_marked() {
    let none = Marks::default();
    let cases = [
        ("X-Request-Id: 1", Marks { request_id: true, ..none }),
        ("GRPC-Timeout: 1S", Marks { grpc_timeout: true, ..none }),
        ("expect: 100-continue", Marks { expect: true, ..none }),
        ("X-Real-IP: 10.0.0.1", Marks { forwarding: true, ..none }),
        ("X-FORWARDED_FOR: 10.0.0.1", Marks { forwarding: true, ..none }),
        ("content_length: 1", Marks { forwarding: true, ..none }),
        ("X-Forwarded-Server: a", none),
        ("Accept: */*", none),
    ];
    for (line, marks) in cases {
        assert_eq!(head(&with(&format!("{line}\r\n"))).marks, marks, "{line}");
    }
    for field in crate::hygiene::forwarding::FIELDS {
        let line = format!("{}: x\r\n", field.as_str().to_uppercase());
        assert_eq!(head(&with(&line)).marks, Marks { forwarding: true, ..none }, "{field}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = scan(&bytes);
        let _ = drip(&bytes);
    }

    #[test]
    fn a_second_parser_agrees_on_what_passed(text in tricky_head()) {
        if let Scan::Complete(head) = scan(text.as_bytes()) {
            let (method, _, fields, len) = second_opinion(text.as_bytes());
            prop_assert_eq!(head.method.as_str(), method);
            prop_assert_eq!(head.len, len);
            prop_assert_eq!(head.framing, framing_of(&fields));
        }
    }

    #[test]
    fn the_canonical_head_says_the_same_and_stays_as_it_is(text in tricky_head()) {
        if let Scan::Complete(sent) = scan(text.as_bytes()) {
            let bytes = sent.canonical().unwrap_or_else(|| text.clone().into_bytes());
            let (method, target, fields, len) = second_opinion(&bytes);
            let Scan::Complete(again) = scan(&bytes) else { panic!("refused its own work") };
            let query = sent.query.map_or(String::new(), |query| format!("?{query}"));
            prop_assert_eq!(again.canonical(), None);
            prop_assert_eq!(len, bytes.len());
            prop_assert_eq!(target, format!("{}{query}", sent.path));
            prop_assert_eq!(fields.len(), second_opinion(text.as_bytes()).2.len());
            prop_assert_eq!(method, sent.method.as_str());
            prop_assert_eq!((again.host, again.port), (sent.host, sent.port));
            prop_assert_eq!((again.framing, again.keep_alive), (sent.framing, sent.keep_alive));
        }
    }

    #[test]
    fn pieces_and_whole_meet_the_same_verdict(text in tricky_head(), cut in any::<prop::sample::Index>()) {
        let bytes = text.as_bytes();
        let whole = scan(bytes);
        let (after, dripped) = drip(bytes);
        prop_assert_eq!(format!("{whole:?}"), format!("{dripped:?}"));

        let mut scanner = RequestScanner::new(LIMITS);
        let prefix = cut.index(bytes.len());
        match (scanner.scan(&bytes[..prefix]), &whole) {
            (Scan::NeedMore, _) => {
                prop_assert_eq!(format!("{:?}", scanner.scan(bytes)), format!("{whole:?}"));
            }
            (Scan::Complete(_), _) => panic!("complete before its end"),
            (Scan::Refused(_), Scan::Complete(_)) => panic!("refused a sound beginning"),
            (Scan::Refused(_), _) => prop_assert!(after <= prefix),
        }
    }
}
