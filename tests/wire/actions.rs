//! What routes do besides forwarding, and what the proxy says when there is no route.

use super::row::{Row, Want, answered, declined, forwarded, row, run_table};
use crate::support::{Scripted, Tetap};

const ROUTES: &str = r#"
upstreams:
  echo: {endpoints: ["{echo}"]}
routes:
  - {name: api, match: {host: api.test, path: {prefix: /v1}, methods: [GET, PUT]}, upstream: echo}
  - {name: any-of-many, match: {host: "*.many.test", path: {prefix: /}}, upstream: echo}
  - {name: one-of-many, match: {host: one.many.test, path: {prefix: /}}, respond: {body: exact}}
  - {name: exact, match: {host: paths.test, path: {exact: /a}}, respond: {body: exact}}
  - {name: pattern, match: {host: paths.test, path: {regex: "/[a-z]+/[0-9]+"}}, respond: {body: pattern}}
  - {name: prefix, match: {host: paths.test, path: {prefix: /a}}, respond: {body: prefix}}
  - {name: longer, match: {host: paths.test, path: {prefix: /a/b}}, respond: {body: longer}}
  - {name: preview, match: {host: paths.test, path: {prefix: /a}, query: {preview: "1"}}, respond: {body: query}}
  - {name: version, match: {host: paths.test, path: {prefix: /a}, methods: [GET], headers: {X-Version: "2"}}, respond: {body: header}}
  - {name: secret, match: {host: paths.test, path: {prefix: /secret}}, respond: {status: 403, body: secret}}
  - {name: moved, match: {path: {exact: /old}}, redirect: {to: "https://new.test/x", status: 301}}
  - {name: moved-by-default, match: {path: {exact: /older}}, redirect: {to: /new}}
  - {name: robots, match: {path: {exact: /robots.txt}}, respond: {status: 200, body: "User-agent: *\n"}}
  - {name: teapot, match: {path: {exact: /tea}}, respond: {status: 418, body: "{}", content_type: application/json}}
  - {name: empty, match: {path: {exact: /empty}}, respond: {status: 204}}
  - name: shortened
    match: {path: {prefix: /orders/}}
    upstream: echo
    rewrite: {prefix: /}
  - name: moved-inside
    match: {path: {prefix: /shop}}
    upstream: echo
    rewrite: {prefix: /internal/shop}
  - name: turned
    match: {path: {regex: "/users/[0-9]+/posts"}}
    upstream: echo
    rewrite: {regex: "^/users/([0-9]+)/posts$", with: "/posts-of/$1"}
  - name: edited
    match: {path: {prefix: /edited}}
    upstream: echo
    request_headers: {set: {X-Team: orders, Host: inner.test}, add: {X-Tag: b}, remove: [X-Debug]}
    response_headers: {set: {X-Answered-By: edge}, add: {X-More: "1"}, remove: [X-Request-Cost, Server]}
"#;

fn get(host: &str, target: &str, fields: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n")
}

fn lands(name: &'static str, target: &str, fields: &str, body: &'static str) -> Row {
    row(name, "9110 7.1", get("paths.test", target, fields), answered(200).answer_body(body))
}

#[test]
fn the_most_specific_route_wins() {
    let nothing = || declined(404, "no_route");
    run_table(
        ROUTES,
        vec![
            lands("exact before regex and prefix", "/a", "", "exact"),
            lands("regex before prefix", "/a/7", "", "pattern"),
            lands("prefix", "/a/x", "", "prefix"),
            lands("the longer prefix", "/a/b/c", "", "longer"),
            lands("a query condition", "/a/x?preview=1", "", "query"),
            lands("a query condition, percent-encoded", "/a/x?z&preview=%31", "", "query"),
            lands("another value of it", "/a/x?preview=11", "", "prefix"),
            lands("a header condition", "/a/x", "x-version: 2\r\n", "header"),
            row(
                "host in upper case, with port and dot",
                "9110 7.1",
                get("PATHS.test.:80", "/a", ""),
                answered(200).answer_body("exact"),
            ),
            row("a prefix ends at a segment", "9110 7.1", get("paths.test", "/ab", ""), nothing()),
            row(
                "exact host before wildcard",
                "9110 7.1",
                get("one.many.test", "/", ""),
                answered(200).answer_body("exact"),
            ),
            row("a wildcard", "9110 7.1", get("two.many.test", "/", ""), forwarded("GET / HTTP/1.1")),
            row(
                "a wildcard at any depth",
                "9110 7.1",
                get("a.b.many.test", "/", ""),
                forwarded("GET / HTTP/1.1"),
            ),
            row("a wildcard is not the name itself", "9110 7.1", get("many.test", "/", ""), nothing()),
            row(
                "no spelling goes around a route",
                "3986 6.2",
                get("paths.test", "/a/../%73ecret", ""),
                answered(403).answer_body("secret"),
            ),
            row("no route", "9110 15.5.5", get("api.test", "/v2", ""), nothing()),
            row(
                "the authority of an absolute form routes",
                "9112 3.2.2",
                get("nowhere.test", "http://paths.test/a", ""),
                answered(200).answer_body("exact"),
            ),
            row(
                "a method that is not among them",
                "9110 15.5.6",
                "DELETE /v1/x HTTP/1.1\r\nHost: api.test\r\n\r\n",
                declined(405, "method_not_allowed").answer_has_allow(&["GET", "PUT"]),
            ),
            row(
                "a method that is",
                "9110 9.1",
                "PUT /v1/x HTTP/1.1\r\nHost: api.test\r\n\r\n",
                forwarded("PUT /v1/x HTTP/1.1"),
            ),
        ],
    );
}

#[test]
fn answers_from_the_configuration() {
    let from = |target: &str| get("t", target, "");
    let head = |target: &str| format!("HEAD {target} HTTP/1.1\r\nHost: t\r\n\r\n");
    run_table(
        ROUTES,
        vec![
            row(
                "a redirect",
                "9110 15.4.2",
                from("/old"),
                answered(301).answer_has("Location: https://new.test/x"),
            ),
            row(
                "a redirect by default",
                "9110 15.4.9",
                from("/older"),
                answered(308).answer_has("Location: /new"),
            ),
            row(
                "a text",
                "9110 8.3",
                from("/robots.txt"),
                answered(200)
                    .answer_has("Content-Type: text/plain; charset=utf-8")
                    .answer_has("Content-Length: 14")
                    .answer_body("User-agent: *\n"),
            ),
            row(
                "a type of its own",
                "9110 8.3",
                from("/tea"),
                answered(418).answer_has("Content-Type: application/json"),
            ),
            row("no content", "9110 15.3.5", from("/empty"), answered(204).answer_lacks("content-length")),
            row(
                "to HEAD",
                "9110 9.3.2",
                head("/robots.txt"),
                answered(200).answer_has("Content-Length: 14").to_head(),
            ),
            row(
                "to HTTP/1.0",
                "9112 9.3",
                "GET /robots.txt HTTP/1.0\r\n\r\n",
                answered(200).answer_has("Content-Length: 14").closed(),
            ),
            row(
                "a body that nobody reads ends the connection, announced",
                "9112 9.3",
                "POST /robots.txt HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello",
                answered(200).answer_has("Connection: close").closed(),
            ),
        ],
    );
}

#[test]
fn a_path_can_be_rewritten_and_headers_edited() {
    let from = |target: &str| get("t", target, "X-Debug: 1\r\nX-Tag: a\r\nX-Team: none\r\n");
    let rewritten = |name, target: &str, line| row(name, "3986 6.2", from(target), forwarded(line));
    run_table(
        ROUTES,
        vec![
            rewritten("a prefix is cut off", "/orders/7?x=1", "GET /7?x=1 HTTP/1.1"),
            rewritten("nothing is left", "/orders/", "GET / HTTP/1.1"),
            rewritten("without its slash", "/orders", "GET / HTTP/1.1"),
            rewritten("a prefix is replaced", "/shop/a/b", "GET /internal/shop/a/b HTTP/1.1"),
            rewritten("the prefix alone", "/shop", "GET /internal/shop HTTP/1.1"),
            rewritten("groups", "/users/42/posts?p=2", "GET /posts-of/42?p=2 HTTP/1.1"),
            row(
                "edits of a request",
                "9110 7.7",
                from("/edited"),
                edited()
                    .lacks("x-debug")
                    .has("X-Team: orders")
                    .has("X-Tag: a")
                    .has("X-Tag: b")
                    .has("Host: inner.test"),
            ),
            row(
                "edits of an answer",
                "9110 7.7",
                from("/edited"),
                edited().answer_has("X-Answered-By: edge").answer_has("X-More: 1").answer_lacks("server"),
            ),
        ],
    );
}

fn edited() -> Want {
    forwarded("GET /edited HTTP/1.1")
}

#[test]
fn an_error_of_the_proxy_is_a_problem_document() {
    let echo = Scripted::answering("");
    let tetap = Tetap::start(&ROUTES.replace("{echo}", &echo.address().to_string()));
    let answer = tetap.get("/nowhere");
    let document = answer.json();
    assert_eq!((document["type"].as_str(), document["status"].as_u64()), (Some("about:blank"), Some(404)));
    assert_eq!(document["cause"], "no_route");
    assert_eq!(document["request_id"].as_str(), answer.head.one("x-request-id"));
    assert!(document["title"].as_str().is_some_and(|title| !title.is_empty()), "{document}");
    assert!(answer.head.one("date").is_some() && answer.head.one("server").is_none(), "{:?}", answer.head);
}

#[test]
fn a_problem_in_answer_to_head_has_no_body() {
    let echo = Scripted::answering("");
    let tetap = Tetap::start(&ROUTES.replace("{echo}", &echo.address().to_string()));
    let mut client = tetap.client();
    client.send("HEAD /nowhere HTTP/1.1\r\nHost: t\r\n\r\nGET /robots.txt HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_eq!(client.read_answer_to_head().status, 404);
    assert_eq!(client.read_answer().text(), "User-agent: *\n");
}
