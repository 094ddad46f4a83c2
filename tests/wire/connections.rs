//! One connection, several requests: who closes when, and in which order answers come.

use std::time::Duration;

use super::row::{EVERYTHING_TO_ECHO, answered, declined, forwarded, refused, row, rows, run_table};
use crate::support::{Scripted, Tetap};

fn get(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: t\r\n{fields}\r\n")
}

#[test]
fn a_connection_is_kept_as_long_as_both_want() {
    run_table(
        EVERYTHING_TO_ECHO,
        vec![
            row("HTTP/1.1 keeps", "9112 9.3", get("/", ""), forwarded("GET / HTTP/1.1").answer_body("echo")),
            row(
                "HTTP/1.1 with close",
                "9112 9.6",
                get("/", "Connection: close\r\n"),
                forwarded("GET / HTTP/1.1").answer_has("Connection: close").closed(),
            ),
            row(
                "close among others, in any case",
                "9112 9.6",
                get("/", "Connection: keep-alive, CLOSE\r\n"),
                forwarded("GET / HTTP/1.1").answer_has("Connection: close").closed(),
            ),
            row(
                "HTTP/1.0 closes",
                "9112 9.3",
                "GET / HTTP/1.0\r\nHost: t\r\n\r\n",
                forwarded("GET / HTTP/1.1").closed(),
            ),
            row(
                "HTTP/1.0 with keep-alive",
                "9112 9.3",
                "GET / HTTP/1.0\r\nHost: t\r\nConnection: keep-alive\r\n\r\n",
                forwarded("GET / HTTP/1.1").answer_has("Connection: keep-alive"),
            ),
            row(
                "HEAD",
                "9110 9.3.2",
                "HEAD /h HTTP/1.1\r\nHost: t\r\n\r\n",
                forwarded("HEAD /h HTTP/1.1").answer_has("Content-Length: 4").answer_body(""),
            ),
            row(
                "another expectation",
                "9110 10.1.1",
                get("/", "Expect: coffee\r\n"),
                refused(400, "bad_request"),
            ),
            row(
                "Expect from HTTP/1.0 is no expectation",
                "9110 10.1.1",
                "POST / HTTP/1.0\r\nHost: t\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\nx",
                forwarded("POST / HTTP/1.1").lacks("expect").body("x").closed(),
            ),
        ],
    );
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let post = |framing: &str, body: &str| format!("POST /p HTTP/1.1\r\nHost: t\r\n{framing}\r\n\r\n{body}");
    let seen = |line| forwarded(line).answer_body("echo");
    run_table(
        EVERYTHING_TO_ECHO,
        vec![
            rows(
                "three GETs in one write",
                "9112 9.3.2",
                [get("/1", ""), get("/2", ""), get("/3", "")].concat(),
                vec![seen("GET /1 HTTP/1.1"), seen("GET /2 HTTP/1.1"), seen("GET /3 HTTP/1.1")],
            ),
            rows(
                "POST with a length, then GET",
                "9112 9.3.2",
                [post("Content-Length: 3", "abc"), get("/2", "")].concat(),
                vec![seen("POST /p HTTP/1.1").body("abc"), seen("GET /2 HTTP/1.1")],
            ),
            rows(
                "POST in chunks, then GET",
                "9112 9.3.2",
                [post("Transfer-Encoding: chunked", "3\r\nabc\r\n0\r\n\r\n"), get("/2", "")].concat(),
                vec![seen("POST /p HTTP/1.1").body("abc"), seen("GET /2 HTTP/1.1")],
            ),
            rows(
                "HEAD, then GET",
                "9112 9.3.2",
                ["HEAD /1 HTTP/1.1\r\nHost: t\r\n\r\n".to_string(), get("/2", "")].concat(),
                vec![forwarded("HEAD /1 HTTP/1.1"), seen("GET /2 HTTP/1.1")],
            ),
            rows(
                "an empty line between",
                "9112 2.2",
                [get("/1", ""), "\r\n".into(), get("/2", "")].concat(),
                vec![seen("GET /1 HTTP/1.1"), seen("GET /2 HTTP/1.1")],
            ),
            rows(
                "close on the first: the second is not served",
                "9112 9.6",
                [get("/1", "Connection: close\r\n"), get("/2", "")].concat(),
                vec![seen("GET /1 HTTP/1.1").closed()],
            ),
            rows(
                "the second is bad",
                "9112 9.3.2",
                [get("/1", ""), "GET / HTTP/1.1\r\n\r\n".into()].concat(),
                vec![seen("GET /1 HTTP/1.1"), refused(400, "bad_request")],
            ),
            rows(
                "a body that was not announced is the next request, and a bad one",
                "9112 6.3",
                [get("/1", ""), "a=b&c=d\r\n\r\n".into()].concat(),
                vec![seen("GET /1 HTTP/1.1"), refused(400, "bad_request")],
            ),
            rows(
                "OPTIONS for the server, then GET",
                "9112 9.3.2",
                ["OPTIONS * HTTP/1.1\r\nHost: t\r\n\r\n".to_string(), get("/2", "")].concat(),
                vec![answered(204), seen("GET /2 HTTP/1.1")],
            ),
            rows(
                "TRACE with a body never lets the body be a request",
                "9112 9.3.2",
                "TRACE / HTTP/1.1\r\nHost: t\r\nContent-Length: 38\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: evil\r\n\r\n",
                vec![declined(405, "method_not_allowed")],
            ),
        ],
    );
}

#[test]
fn an_expectation_is_met_before_the_body_is_sent() {
    let upstream = Scripted::answering("thanks");
    let tetap = Tetap::start(&EVERYTHING_TO_ECHO.replace("{echo}", &upstream.address().to_string()));
    let mut client = tetap.client();
    client.send("POST /p HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    let interim = client.read_exact(b"HTTP/1.1 100 Continue\r\n\r\n".len()).unwrap();
    assert!(interim.starts_with(b"HTTP/1.1 100 "), "{:?}", String::from_utf8_lossy(&interim));
    let answer = client.send("body").read_answer();
    assert_eq!((answer.status, answer.text().as_str()), (200, "thanks"));
    let request = &upstream.requests()[0];
    assert_eq!((request.body.as_slice(), request.head.one("expect")), (b"body".as_slice(), None));
}

#[test]
fn bytes_that_come_one_by_one_make_the_same_request() {
    let upstream = Scripted::answering("whole");
    let tetap = Tetap::start(&EVERYTHING_TO_ECHO.replace("{echo}", &upstream.address().to_string()));
    let mut client = tetap.client();
    let request = "\r\nPOST /a/../p HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nhi\r\n0\r\nT: 1\r\n\r\n";
    client.drip(request, Duration::from_millis(1));
    assert_eq!(client.read_answer().text(), "whole");
    let received = &upstream.requests()[0];
    assert_eq!((received.target(), received.body.as_slice()), ("/p", b"hi".as_slice()));
}
