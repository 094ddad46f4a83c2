//! The bytes of a head: request line, field names and values, Host.

use super::row::{EVERYTHING_TO_ECHO, Row, forwarded, refused, row, run_table};

fn bad(name: &'static str, rfc: &'static str, send: impl AsRef<[u8]>) -> Row {
    row(name, rfc, send, refused(400, "bad_request"))
}

fn good(name: &'static str, rfc: &'static str, send: impl AsRef<[u8]>) -> Row {
    row(name, rfc, send, forwarded("GET /f HTTP/1.1"))
}

/// A GET with one more line, which is given without its CRLF.
fn with(line: &[u8]) -> Vec<u8> {
    [b"GET /f HTTP/1.1\r\nHost: t\r\n".as_slice(), line, b"\r\n\r\n"].concat()
}

#[test]
fn a_request_line_is_read_to_the_letter() {
    let version = |name, line: &str| {
        row(name, "9112 2.3", format!("{line}\r\nHost: t\r\n\r\n"), refused(505, "version_not_supported"))
    };
    run_table(
        EVERYTHING_TO_ECHO,
        vec![
            bad("two spaces", "9112 3", "GET  /f HTTP/1.1\r\nHost: t\r\n\r\n"),
            bad("two spaces before the version", "9112 3", "GET /f  HTTP/1.1\r\nHost: t\r\n\r\n"),
            bad("a tab", "9112 3", "GET\t/f HTTP/1.1\r\nHost: t\r\n\r\n"),
            bad("a leading space", "9112 3", " GET /f HTTP/1.1\r\nHost: t\r\n\r\n"),
            bad("a trailing space", "9112 3", "GET /f HTTP/1.1 \r\nHost: t\r\n\r\n"),
            bad("a space in the target", "9112 3.2", "GET /f g HTTP/1.1\r\nHost: t\r\n\r\n"),
            bad("no target", "9112 3", "GET HTTP/1.1\r\nHost: t\r\n\r\n"),
            bad("method not a token", "9110 9.1", "G@T /f HTTP/1.1\r\nHost: t\r\n\r\n"),
            bad("method with a colon", "9110 9.1", "GET: /f HTTP/1.1\r\nHost: t\r\n\r\n"),
            bad(
                "method of 33 bytes",
                "9110 9.1",
                format!("{} /f HTTP/1.1\r\nHost: t\r\n\r\n", "M".repeat(33)),
            ),
            bad("version in lower case", "9112 2.3", "GET /f http/1.1\r\nHost: t\r\n\r\n"),
            bad("version without a minor", "9112 2.3", "GET /f HTTP/1\r\nHost: t\r\n\r\n"),
            bad("version with three numbers", "9112 2.3", "GET /f HTTP/1.1.1\r\nHost: t\r\n\r\n"),
            bad("version with two digits", "9112 2.3", "GET /f HTTP/1.10\r\nHost: t\r\n\r\n"),
            bad("HTTP/0.9", "9112 2.3", "GET /f\r\n\r\n"),
            bad("another protocol", "9112 2.3", "GET /f FTP/1.1\r\nHost: t\r\n\r\n"),
            bad("bare LF", "9112 2.2", "GET /f HTTP/1.1\nHost: t\n\n"),
            bad("bare CR", "9112 2.2", "GET /f HTTP/1.1\rHost: t\r\n\r\n"),
            bad("NUL in the target", "9112 3.2", "GET /f\0 HTTP/1.1\r\nHost: t\r\n\r\n"),
            bad("five empty lines", "9112 2.2", "\r\n\r\n\r\n\r\n\r\nGET /f HTTP/1.1\r\nHost: t\r\n\r\n"),
            bad("TLS on a clear port", "9112 3", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
            version("HTTP/2.0", "GET /f HTTP/2.0"),
            version("HTTP/3.0", "GET /f HTTP/3.0"),
            version("HTTP/1.2", "GET /f HTTP/1.2"),
            good("an empty line before", "9112 2.2", "\r\nGET /f HTTP/1.1\r\nHost: t\r\n\r\n"),
            good("four empty lines before", "9112 2.2", "\r\n\r\n\r\n\r\nGET /f HTTP/1.1\r\nHost: t\r\n\r\n"),
            row(
                "a method nobody knows",
                "9110 9.1",
                "BREW /f HTTP/1.1\r\nHost: t\r\n\r\n",
                forwarded("BREW /f HTTP/1.1"),
            ),
            row(
                "methods are case-sensitive",
                "9110 9.1",
                "get /f HTTP/1.1\r\nHost: t\r\n\r\n",
                forwarded("get /f HTTP/1.1"),
            ),
        ],
    );
}

#[test]
fn a_field_line_is_read_to_the_letter() {
    run_table(
        EVERYTHING_TO_ECHO,
        vec![
            bad("no colon", "9112 5", with(b"X")),
            bad("empty name", "9110 5.1", with(b": 1")),
            bad("a space in the name", "9110 5.1", with(b"X Y: 1")),
            bad("a space before the colon", "9112 5.1", with(b"X : 1")),
            bad("a tab before the colon", "9112 5.1", with(b"X\t: 1")),
            bad("brackets in the name", "9110 5.1", with(b"(X): 1")),
            bad("a byte over 127 in the name", "9110 5.1", with(b"X\xe9: 1")),
            bad("NUL in the name", "9110 5.1", with(b"X\0: 1")),
            bad("NUL in the value", "9110 5.5", with(b"X: a\0b")),
            bad("bare CR in the value", "9110 5.5", with(b"X: a\rb")),
            bad("bare LF in the value", "9112 2.2", with(b"X: a\nY: b")),
            bad("a control byte in the value", "9110 5.5", with(b"X: a\x01b")),
            bad("DEL in the value", "9110 5.5", with(b"X: a\x7fb")),
            bad("folded", "9112 5.2", with(b"X: a\r\n b")),
            bad(
                "a first line with a space before",
                "9112 2.2",
                "GET /f HTTP/1.1\r\n X: 1\r\nHost: t\r\n\r\n",
            ),
            bad("bare LF ends the head", "9112 2.2", "GET /f HTTP/1.1\r\nHost: t\r\n\n"),
            row(
                "a tab in the value",
                "9110 5.5",
                with(b"X: a\tb"),
                forwarded("GET /f HTTP/1.1").has("X: a\tb"),
            ),
            row("no space after the colon", "9112 5", with(b"X:1"), forwarded("GET /f HTTP/1.1").has("X: 1")),
            row(
                "spaces around the value",
                "9112 5",
                with(b"X:  1 \t"),
                forwarded("GET /f HTTP/1.1").has("X: 1"),
            ),
            good("an empty value", "9110 5.5", with(b"X:")),
            good("bytes over 127 in the value", "9110 5.5", with(b"X: caf\xc3\xa9")),
            row(
                "lines of one name keep their order",
                "9110 5.3",
                with(b"X: 1\r\nY: 2\r\nX: 3"),
                forwarded("GET /f HTTP/1.1").has("X: 1").has("X: 3").has("Y: 2"),
            ),
        ],
    );
}

#[test]
fn host_is_there_once_and_well_formed() {
    let host = |value: &str| format!("GET /f HTTP/1.1\r\nHost: {value}\r\n\r\n");
    run_table(
        EVERYTHING_TO_ECHO,
        vec![
            bad("absent", "9112 3.2", "GET /f HTTP/1.1\r\n\r\n"),
            bad("doubled", "9112 3.2", "GET /f HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
            bad("doubled and equal", "9112 3.2", "GET /f HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n"),
            bad("doubled from HTTP/1.0", "9112 3.2", "GET /f HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"),
            bad("empty", "9112 3.2", host("")),
            bad("a list", "9110 7.2", host("a, b")),
            bad("userinfo", "9110 4.2.4", host("user@a")),
            bad("a space", "9110 7.2", host("a b")),
            bad("a path", "9110 7.2", host("a/b")),
            bad("a backslash", "9110 7.2", host("a\\b")),
            bad("a scheme", "9110 7.2", host("http://a")),
            bad("a port that is none", "9110 7.2", host("a:http")),
            bad("an open bracket", "3986 3.2.2", host("[::1")),
            bad("not IPv6 in brackets", "3986 3.2.2", host("[a.b]")),
            good("a port", "9110 7.2", host("a:8080")),
            good("upper case", "9110 4.2.3", host("EXAMPLE.com")),
            good("a trailing dot", "9110 7.2", host("example.com.")),
            good("IPv4", "9110 7.2", host("127.0.0.1:80")),
            good("IPv6", "9110 7.2", host("[::1]:80")),
            row(
                "absent from HTTP/1.0",
                "9112 3.2",
                "GET /f HTTP/1.0\r\n\r\n",
                forwarded("GET /f HTTP/1.1").closed(),
            ),
        ],
    );
}
