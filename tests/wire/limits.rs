//! How much one request may take. A refusal comes as soon as it is due, not when the request is complete.

use super::row::{EVERYTHING_TO_ECHO, forwarded, refused, row, run_table};

/// A GET of this path with these fields, each ended by CRLF.
fn get(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: t\r\n{fields}\r\n")
}

fn post(fields: &str, body: &str) -> String {
    format!("POST /p HTTP/1.1\r\nHost: t\r\n{fields}\r\n{body}")
}

#[test]
fn what_is_too_large_is_refused_early() {
    let long = format!("/{}", "p".repeat(1024));
    let fields = |count: usize| "X: 1\r\n".repeat(count);
    let wide = |bytes: usize| format!("X: {}\r\n", "v".repeat(bytes));
    let endless_target = format!("GET /{}", "p".repeat(5000));
    let endless_header = format!("GET / HTTP/1.1\r\nHost: t\r\nX: {}", "v".repeat(5000));
    let chunks = format!("{}0\r\n\r\n", format!("200\r\n{}\r\n", "b".repeat(512)).repeat(3));
    let allowed: &'static str = "b".repeat(1024).leak();
    let chunked = "Transfer-Encoding: chunked\r\n";
    run_table(
        EVERYTHING_TO_ECHO,
        vec![
            row("a long target", "9112 3", get(&long, ""), refused(414, "uri_too_long")),
            row("a long query", "9112 3", get(&format!("/?{long}"), ""), refused(414, "uri_too_long")),
            row("a target without an end", "9112 3", endless_target, refused(414, "uri_too_long")),
            row("too many lines", "6585 5", get("/", &fields(20)), refused(431, "header_too_large")),
            row("a wide line", "6585 5", get("/", &wide(4096)), refused(431, "header_too_large")),
            row("a header without an end", "6585 5", endless_header, refused(431, "header_too_large")),
            row("lines at the limit", "6585 5", get("/", &fields(19)), forwarded("GET / HTTP/1.1")),
            row("bytes within the limit", "6585 5", get("/", &wide(3900)), forwarded("GET / HTTP/1.1")),
            row(
                "a long body, by its length",
                "9110 15.5.14",
                post("Content-Length: 1025\r\n", ""),
                refused(413, "body_too_large"),
            ),
            row(
                "a huge body, by its length",
                "9110 15.5.14",
                post("Content-Length: 18446744073709551615\r\n", ""),
                refused(413, "body_too_large"),
            ),
            row(
                "a long body that waits for 100",
                "9110 10.1.1",
                post("Content-Length: 1025\r\nExpect: 100-continue\r\n", ""),
                refused(413, "body_too_large"),
            ),
            row(
                "a long body, by its chunks",
                "9110 15.5.14",
                post(chunked, &chunks),
                refused(413, "body_too_large").midway(),
            ),
            row(
                "a chunk larger than any file",
                "9112 7.1",
                post(chunked, "ffffffffffffffff\r\nabc"),
                refused(400, "bad_request").midway(),
            ),
            row(
                "a body at the limit",
                "9110 15.5.14",
                post("Content-Length: 1024\r\n", allowed),
                forwarded("POST /p HTTP/1.1").body(allowed),
            ),
        ],
    );
}
