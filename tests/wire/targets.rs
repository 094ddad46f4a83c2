//! What a request is for: the four forms of a target, and the normal form of a path. What is matched is what is
//! forwarded, so that no spelling reaches one route's upstream with another route's path.

use super::row::{EVERYTHING_TO_ECHO, Row, answered, declined, forwarded, refused, row, run_table};

fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: t\r\n\r\n").into_bytes()
}

fn path(name: &'static str, rfc: &'static str, sent: &str, seen: &'static str) -> Row {
    row(name, rfc, get(sent), forwarded(seen))
}

fn bad(name: &'static str, rfc: &'static str, target: &str) -> Row {
    row(name, rfc, get(target), refused(400, "bad_request"))
}

#[test]
fn a_path_is_forwarded_in_its_normal_form() {
    run_table(
        EVERYTHING_TO_ECHO,
        vec![
            path("already normal", "3986 6.2", "/a/b-_.~!$&'()*+,;=:@", "GET /a/b-_.~!$&'()*+,;=:@ HTTP/1.1"),
            path("a dot segment", "3986 5.2.4", "/a/./b", "GET /a/b HTTP/1.1"),
            path("two dots", "3986 5.2.4", "/a/../b", "GET /b HTTP/1.1"),
            path("two dots at the end", "3986 5.2.4", "/a/b/..", "GET /a/ HTTP/1.1"),
            path("a dot at the end", "3986 5.2.4", "/a/.", "GET /a/ HTTP/1.1"),
            path("above the root", "3986 5.2.4", "/../../a", "GET /a HTTP/1.1"),
            path("dots as escapes", "3986 6.2.2.2", "/a/%2e%2e/b", "GET /b HTTP/1.1"),
            path("dots half as escapes", "3986 6.2.2.2", "/a/.%2E/b", "GET /b HTTP/1.1"),
            path("three dots are a name", "3986 5.2.4", "/a/.../b", "GET /a/.../b HTTP/1.1"),
            path("runs of slashes", "3986 6.2.3", "/a//b///c", "GET /a/b/c HTTP/1.1"),
            path("slashes at the beginning", "3986 4.2", "//evil.test/x", "GET /evil.test/x HTTP/1.1"),
            path("a slash at the end", "3986 6.2.3", "/a/b/", "GET /a/b/ HTTP/1.1"),
            path("an escaped letter", "3986 6.2.2.2", "/%61%42", "GET /aB HTTP/1.1"),
            path("an escaped tilde", "3986 6.2.2.2", "/%7euser", "GET /~user HTTP/1.1"),
            path("an escaped slash stays", "3986 2.2", "/a%2fb", "GET /a%2Fb HTTP/1.1"),
            path("escapes in upper case", "3986 6.2.2.1", "/%c3%a9", "GET /%C3%A9 HTTP/1.1"),
            path("no second decoding", "3986 2.4", "/%252e%252e/a", "GET /%252e%252e/a HTTP/1.1"),
            path("parameters stay", "3986 3.3", "/a;v=1/b", "GET /a;v=1/b HTTP/1.1"),
            path("delimiters become escapes", "3986 2", "/^`{|}", "GET /%5E%60%7B%7C%7D HTTP/1.1"),
            path("they pass in the query", "3986 2", "/q?a={b}|c^`", "GET /q?a={b}|c^` HTTP/1.1"),
            path(
                "a query is left alone",
                "3986 3.4",
                "/q?x=/../%2e%2e//y&z=%7e",
                "GET /q?x=/../%2e%2e//y&z=%7e HTTP/1.1",
            ),
            path("an empty query", "3986 3.4", "/q?", "GET /q? HTTP/1.1"),
            path("a second question mark", "3986 3.4", "/q?a?b", "GET /q?a?b HTTP/1.1"),
            bad("an escaped NUL", "3986 7.3", "/a%00b"),
            bad("a bad escape", "3986 2.1", "/a%zz"),
            bad("half an escape", "3986 2.1", "/a%4"),
            bad("a quote", "3986 2", "/a\"b"),
            bad("angle brackets", "3986 2", "/<a>"),
            bad("a backslash", "3986 2", "/a\\..\\b"),
            bad("a fragment", "9112 3.2", "/a#b"),
            bad("a quote in the query", "3986 2", "/a?b=\"c\""),
            row(
                "a raw byte over 127",
                "3986 2",
                b"GET /\xc3\xa9 HTTP/1.1\r\nHost: t\r\n\r\n",
                refused(400, "bad_request"),
            ),
        ],
    );
}

#[test]
fn each_form_of_target_belongs_to_its_methods() {
    let absolute = |target: &str| get(target);
    let options = |target: &str| format!("OPTIONS {target} HTTP/1.1\r\nHost: t\r\n\r\n");
    run_table(
        EVERYTHING_TO_ECHO,
        vec![
            row(
                "absolute form replaces Host",
                "9112 3.2.2",
                absolute("http://other.test/x?y"),
                forwarded("GET /x?y HTTP/1.1").has("Host: other.test").has("X-Forwarded-Host: other.test"),
            ),
            row(
                "absolute form with a port",
                "9112 3.2.2",
                absolute("http://other.test:8080/x"),
                forwarded("GET /x HTTP/1.1").has("Host: other.test:8080"),
            ),
            row(
                "absolute form without a path",
                "9112 3.2.1",
                absolute("http://other.test"),
                forwarded("GET / HTTP/1.1").has("Host: other.test"),
            ),
            row(
                "absolute form with only a query",
                "9112 3.2.1",
                absolute("http://other.test?a"),
                forwarded("GET /?a HTTP/1.1").has("Host: other.test"),
            ),
            row("scheme in upper case", "9110 4.2.3", absolute("HTTP://t/x"), forwarded("GET /x HTTP/1.1")),
            row(
                "https in absolute form",
                "9110 4.2.2",
                absolute("https://t/x"),
                forwarded("GET /x HTTP/1.1"),
            ),
            row(
                "dots in absolute form",
                "3986 5.2.4",
                absolute("http://t/a/../x"),
                forwarded("GET /x HTTP/1.1"),
            ),
            bad("another scheme", "9112 3.2.2", "ftp://t/x"),
            bad("no authority", "9112 3.2.2", "http:///x"),
            bad("userinfo in the authority", "9110 4.2.4", "http://user@t/x"),
            bad("no form at all", "9112 3.2", "x"),
            bad("authority form with GET", "9112 3.2.3", "t:80"),
            bad("asterisk with GET", "9112 3.2.4", "*"),
            bad("asterisk and more", "9112 3.2.4", "*/x"),
            row(
                "OPTIONS for the server",
                "9112 3.2.4",
                options("*"),
                answered(204).answer_lacks("content-length").answer_lacks("transfer-encoding"),
            ),
            row("OPTIONS for an origin", "9112 3.2.4", options("http://t"), answered(204)),
            row("OPTIONS for a resource", "9110 9.3.7", options("/x"), forwarded("OPTIONS /x HTTP/1.1")),
            row(
                "CONNECT",
                "9110 9.3.6",
                "CONNECT t:443 HTTP/1.1\r\nHost: t:443\r\n\r\n",
                declined(405, "method_not_allowed"),
            ),
            row(
                "TRACE",
                "9110 9.3.8",
                "TRACE /x HTTP/1.1\r\nHost: t\r\n\r\n",
                declined(405, "method_not_allowed"),
            ),
        ],
    );
}
