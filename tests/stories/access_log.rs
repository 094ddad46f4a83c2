//! What the access log tells, and that it never stands in the way.

use std::fs::File;
use std::time::Duration;

use crate::support::{Scripted, Tetap, nobody, run, timed, until};

#[test]
fn the_access_log_tells_the_attempts() {
    let alive = Scripted::answering("alive");
    let dead = nobody();
    let tetap = Tetap::to(&[dead, alive.address()]);
    let mut client = tetap.client();
    for _ in 0..2 {
        client
            .send("POST /orders?x=1 HTTP/1.1\r\nHost: shop.test\r\nUser-Agent: me\r\nX-Request-Id: r-1\r\n");
        assert_eq!(client.send("Content-Length: 4\r\n\r\nbody").read_answer().text(), "alive");
    }
    let lines = tetap.access_log(2);
    let line = lines.iter().find(|line| line["attempts"][0]["endpoint"] == dead.to_string().as_str());
    let line = line.unwrap_or_else(|| panic!("one of two comes to the dead one first: {lines:?}"));
    for (key, value) in [
        ("method", "POST"),
        ("target", "/orders?x=1"),
        ("host", "shop.test"),
        ("protocol", "HTTP/1.1"),
        ("scheme", "http"),
        ("client", "127.0.0.1"),
        ("listener", "web"),
        ("route", "all"),
        ("upstream", "u"),
        ("request_id", "r-1"),
        ("user_agent", "me"),
    ] {
        assert_eq!(line[key], value, "{key} in {line}");
    }
    assert_eq!((line["status"].as_u64(), line["cause"].is_null()), (Some(200), true), "{line}");
    assert_eq!((line["bytes_received"].as_u64(), line["bytes_sent"].as_u64()), (Some(4), Some(5)), "{line}");
    let attempts = line["attempts"].as_array().unwrap();
    let told: Vec<_> = attempts.iter().map(|a| (a["endpoint"].as_str().unwrap(), &a["outcome"])).collect();
    assert_eq!(
        told,
        [(dead.to_string().as_str(), &"connect_failed".into()), (&alive.address().to_string(), &"ok".into())]
    );
    assert!(line["duration_ms"].as_f64() >= line["first_byte_ms"].as_f64(), "{line}");
    let fresh = attempts[1]["reused"] == false;
    assert_eq!(fresh, attempts[1]["connect_ms"].is_number(), "{line}");
}

#[test]
fn what_is_refused_is_logged_too() {
    let upstream = Scripted::answering("");
    let tetap = Tetap::to(&[upstream.address()]);
    tetap.client().send("GET /\" HTTP/1.1\r\nHost: t\r\n\r\n").read_answer();
    let line = &tetap.access_log(1)[0];
    assert_eq!((line["status"].as_u64(), line["cause"].as_str()), (Some(400), Some("bad_request")), "{line}");
    assert!(line["route"].is_null() && line["attempts"].as_array().unwrap().is_empty(), "{line}");
    assert_eq!((line["method"].as_str(), line["target"].as_str()), (Some("GET"), Some("/\"")), "{line}");
    assert!(line["bytes_sent"].as_u64() > Some(0), "{line}");
}

#[test]
fn what_was_refused_can_be_seen() {
    let tetap = Tetap::to(&[nobody()]);
    let long = format!("/{}", "x".repeat(9000));
    let rows = [
        (format!("GET {long} HTTP/1.1\r\nHost: t\r\n\r\n"), 414, &long[..256]),
        (format!("GET /big HTTP/1.1\r\nHost: t\r\nX: {}\r\n\r\n", "x".repeat(40_000)), 431, "/big"),
        ("GET /two HTTP/2.0\r\nHost: t\r\n\r\n".to_owned(), 505, "/two"),
    ];
    for (number, (request, status, target)) in rows.iter().enumerate() {
        assert_eq!(tetap.client().send(request).read_answer().status, *status);
        let line = &tetap.access_log(number + 1)[number];
        assert_eq!(
            (line["method"].as_str(), line["target"].as_str()),
            (Some("GET"), Some(*target)),
            "{line}"
        );
        assert_eq!(line["status"], *status, "{line}");
    }
    tetap.client().send("\x16\x03\x01 \r\n").read_answer();
    let line = &tetap.access_log(4)[3];
    assert!(line["method"].is_null() && line["target"].is_null(), "{line}");
}

#[test]
fn options_for_the_server_leaves_a_line_and_a_count() {
    let tetap = Tetap::to(&[nobody()]);
    let mut client = tetap.client();
    let asked = "OPTIONS * HTTP/1.1\r\nHost: t.test\r\nUser-Agent: me\r\nX-Request-Id: r-1\r\n\r\n";
    let answer = client.send(asked).read_answer();
    assert_eq!((answer.status, answer.head.one("x-request-id")), (204, Some("r-1")));
    let made = client.send("OPTIONS * HTTP/1.1\r\nHost: t\r\nX-Request-Id: a b\r\n\r\n").read_answer();
    let lines = tetap.access_log(2);
    for (key, value) in [
        ("method", "OPTIONS"),
        ("target", "*"),
        ("protocol", "HTTP/1.1"),
        ("host", "t.test"),
        ("request_id", "r-1"),
        ("user_agent", "me"),
    ] {
        assert_eq!(lines[0][key], value, "{key} in {}", lines[0]);
    }
    assert_eq!((lines[0]["status"].as_u64(), lines[0]["cause"].is_null()), (Some(204), true));
    assert_eq!(lines[1]["request_id"].as_str(), made.head.one("x-request-id"));
    tetap.wait_for_metric("tetap_requests_total", &["route=\"\"", "code=\"2xx\""], 2.0);
}

#[test]
fn the_scheme_is_the_one_that_a_trusted_proxy_names() {
    let tetap = Tetap::start(
        "trusted_proxies: [127.0.0.1]
routes: [{match: {path: {prefix: /}}, respond: {body: x}}]",
    );
    for (number, (named, logged)) in
        [("https", "https"), ("http", "http"), ("gopher", "http")].iter().enumerate()
    {
        let fields = format!("X-Forwarded-Proto: {named}\r\n\r\n");
        tetap.client().send(format!("GET / HTTP/1.1\r\nHost: t\r\n{fields}")).read_answer();
        assert_eq!(tetap.access_log(number + 1)[number]["scheme"], *logged, "{named}");
    }
}

#[test]
fn a_client_that_hangs_up_is_told_apart_and_is_no_error() {
    let upstream = Scripted::silent();
    let tetap = Tetap::to(&[upstream.address()]);
    let mut client = tetap.client();
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    until("the request is at the upstream", || upstream.open() == 1);
    drop(client);
    let line = &tetap.access_log(1)[0];
    assert_eq!(
        (line["status"].as_u64(), line["cause"].as_str()),
        (Some(499), Some("client_closed")),
        "{line}"
    );
    until("the upstream is let go", || upstream.open() == 0);
    let log = tetap.log();
    let alarms = log.lines().filter(|line| line.contains("ERROR") || line.contains("WARN"));
    let alarms: Vec<_> = alarms.filter(|line| !line.contains("process::descriptors")).collect();
    assert!(alarms.is_empty(), "{alarms:?}"); // how many files may be open is the machine's affair
}

#[test]
fn an_answer_that_broke_off_is_told() {
    let upstream = Scripted::start(|talk| {
        talk.request();
        talk.write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc");
    });
    let tetap = Tetap::to(&[upstream.address()]);
    tetap.get("/");
    let line = &tetap.access_log(1)[0];
    assert_eq!(
        (line["status"].as_u64(), line["cause"].as_str()),
        (Some(200), Some("upstream_reset")),
        "{line}"
    );
    assert_eq!(line["bytes_sent"], 3, "{line}");
}

#[test]
fn a_client_cannot_forge_a_line() {
    let upstream = Scripted::answering("");
    let tetap = Tetap::to(&[upstream.address()]);
    let agent = b"User-Agent: a\",\"status\":1\t\\ \xff\xc3\xa9\r\n\r\n";
    tetap.client().send([b"GET /?a\\u000a HTTP/1.1\r\nHost: t\r\n".as_slice(), agent].concat()).read_answer();
    tetap.client().send([b"GET /?b HTTP/1.1\r\nHost: t\r\n".as_slice(), agent].concat()).read_answer();
    let lines = tetap.access_log(2);
    assert_eq!(lines.len(), 2);
    assert!(lines[1]["user_agent"].as_str().unwrap().starts_with("a\",\"status\":1\t\\ "), "{}", lines[1]);
    assert_eq!((lines[0]["status"].as_u64(), lines[1]["status"].as_u64()), (Some(400), Some(200)));
}

#[test]
fn text_lines_are_lines() {
    let upstream = Scripted::answering("x");
    let tetap = Tetap::start(&format!(
        "access_log: {{format: text, output: \"{{dir}}/text.log\"}}
upstreams: {{u: {{endpoints: [\"{}\"]}}}}
routes: [{{name: all, match: {{path: {{prefix: /}}}}, upstream: u}}]",
        upstream.address()
    ));
    tetap.get("/hello");
    let text = || std::fs::read_to_string(tetap.dir().join("text.log")).unwrap_or_default();
    until("the line is there", || text().ends_with('\n'));
    assert!(text().contains("GET /hello HTTP/1.1") && text().contains("route=all"), "{}", text());
}

#[test]
fn a_hung_disk_does_not_block_requests() {
    let place = crate::support::tetap::Place::new();
    let fifo = place.path("hung.log");
    run("mkfifo", &[fifo.to_str().unwrap()]);
    let _unread = File::options().read(true).write(true).open(&fifo).unwrap();
    let mut tetap = Tetap::start_in(
        place,
        "access_log: {format: json, output: \"{dir}/hung.log\"}
routes: [{match: {path: {prefix: /}}, respond: {body: quick}}]",
    );
    let long = format!("/{}", "x".repeat(7000));
    let mut client = tetap.client();
    let mut slowest = Duration::ZERO;
    for _ in 0..2000 {
        let (answer, took) = timed(|| client.get(&long));
        assert_eq!(answer.text(), "quick");
        slowest = slowest.max(took);
    }
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    assert!(
        tetap.metrics().sum("tetap_access_log_dropped_total", &[]) > 0.0,
        "14 MB do not fit into the queue"
    );
    drop(client);
    tetap.signal("TERM");
    let (code, took) = timed(|| tetap.wait());
    assert!(code == Some(0) && took < Duration::from_secs(5), "{code:?} after {took:?}");
}
