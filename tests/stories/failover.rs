//! What is asked again, how often, how soon; and what waits for somebody to come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{Answer, Scripted, Tetap, free_port, nobody, timed, until};

/// Answers every request with this status and body.
fn answering(status: u16, body: &'static str) -> Scripted {
    Scripted::start(move |talk| {
        while talk.request().is_some() {
            let length = body.len();
            talk.write(format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{body}"));
        }
    })
}

fn outcomes(tetap: &Tetap, line: usize) -> Vec<String> {
    let attempts = tetap.access_log(line + 1)[line]["attempts"].as_array().unwrap().clone();
    attempts.iter().map(|attempt| attempt["outcome"].as_str().unwrap().to_string()).collect()
}

#[test]
fn a_503_is_not_seen_where_another_endpoint_does_better() {
    let (busy, fine) = (answering(503, "busy"), answering(200, "fine"));
    let tetap = Tetap::with("", &[busy.address(), fine.address()], "ejection: {max_ejected: 0%}");
    let mut client = tetap.client();
    assert!((0..6).all(|_| client.get("/").text() == "fine"));
    assert_eq!((busy.count(), fine.count()), (3, 6));
    let line = &tetap.access_log(6)[0];
    let first = &line["attempts"][0];
    assert_eq!(
        (first["outcome"].as_str(), first["status"].as_u64()),
        (Some("rejected"), Some(503)),
        "{line}"
    );
    assert_eq!(tetap.metrics().sum("tetap_retries_total", &[]), 3.0);
}

#[test]
fn the_last_attempts_real_answer_passes_through() {
    let servers = [answering(503, "one"), answering(503, "two")];
    let tetap = Tetap::with("", &servers.each_ref().map(Scripted::address), "ejection: {max_ejected: 0%}");
    let answer = tetap.get("/");
    assert_eq!((answer.status, answer.text().as_str()), (503, "two"), "the server's own words");
    assert_eq!(outcomes(&tetap, 0), ["rejected", "ok"]);
}

#[test]
fn a_post_is_not_asked_again_whatever_the_answer() {
    let (busy, fine) = (answering(503, "busy"), answering(200, "fine"));
    let tetap = Tetap::with("", &[busy.address(), fine.address()], "ejection: {max_ejected: 0%}");
    assert_eq!(tetap.client().post("/", b"pay").text(), "busy");
    assert_eq!((busy.count(), fine.count()), (1, 0));
    assert_eq!(tetap.client().post("/", b"pay").text(), "fine", "one in doubt is avoided");
    assert_eq!(tetap.client().post("/", b"pay").text(), "fine");
    assert_eq!(busy.count(), 1);
}

#[test]
fn an_idempotency_key_makes_a_post_repeatable_where_the_operator_says_so() {
    for (option, expected) in [("true", "fine"), ("false", "busy")] {
        let (busy, fine) = (answering(503, "busy"), answering(200, "fine"));
        let options = format!("ejection: {{max_ejected: 0%}}, retry: {{idempotency_key: {option}}}");
        let tetap = Tetap::with("", &[busy.address(), fine.address()], &options);
        let mut client = tetap.client();
        client.send("POST / HTTP/1.1\r\nHost: t\r\nIdempotency-Key: k1\r\nContent-Length: 3\r\n\r\npay");
        assert_eq!(client.read_answer().text(), expected);
        assert!(fine.requests().iter().all(|request| request.body == b"pay"));
    }
}

/// Whether a POST may be repeated is told by what the server sees, not by what the client says.
#[test]
fn a_key_that_the_server_does_not_see_makes_nothing_repeatable() {
    let keys = [
        "Idempotency-Key: a\r\nConnection: Idempotency-Key\r\n",
        "Idempotency-Key:\r\n",
        "Idempotency-Key: a\r\nIdempotency-Key: b\r\n",
    ];
    for key in keys {
        let (busy, fine) = (answering(503, "busy"), answering(200, "fine"));
        let options = "ejection: {max_ejected: 0%}, retry: {idempotency_key: true}";
        let tetap = Tetap::with("", &[busy.address(), fine.address()], options);
        let mut client = tetap.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: t\r\n{key}Content-Length: 3\r\n\r\npay"));
        assert_eq!(client.read_answer().text(), "busy", "{key}");
        assert_eq!(fine.count(), 0, "{key}");
    }
}

#[test]
fn a_get_that_is_not_answered_in_time_is_asked_elsewhere() {
    let (hung, fine) = (Scripted::silent(), answering(200, "fine"));
    let tetap = Tetap::with("", &[hung.address(), fine.address()], "retry: {per_try_timeout: 100ms}");
    let (answer, took) = timed(|| tetap.get("/"));
    assert_eq!(answer.text(), "fine");
    assert!(took >= Duration::from_millis(100), "{took:?}");
    assert_eq!(outcomes(&tetap, 0), ["timeout", "ok"]);
    let post = tetap.client().post("/", b"pay");
    assert_eq!(post.text(), "fine", "and who has been silent is avoided");
}

#[test]
fn a_post_that_is_not_answered_in_time_is_not_asked_again() {
    let (hung, fine) = (Scripted::silent(), answering(200, "fine"));
    let tetap = Tetap::with("", &[hung.address(), fine.address()], "retry: {per_try_timeout: 100ms}");
    assert_eq!(tetap.client().post("/", b"pay").verdict(), (504, "upstream_timeout".to_string()));
    assert_eq!(fine.count(), 0);
}

/// A byte now and then, or one interim answer after the other, is no answer, even if one comes in the end.
#[test]
fn an_answer_that_takes_too_long_to_get_to_its_point_is_asked_for_elsewhere() {
    const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow";
    let bytes: Vec<&str> = (0..12).map(|at| &ANSWER[at..=at]).chain([&ANSWER[12..]]).collect();
    let hints: Vec<&str> = ["HTTP/1.1 103 Early Hints\r\n\r\n"; 12].into_iter().chain([ANSWER]).collect();
    for drops in [bytes, hints] {
        let dripping = Scripted::start(move |talk| {
            talk.request();
            for drop in &drops {
                talk.pause(Duration::from_millis(60));
                talk.write(drop);
            }
        });
        let fine = answering(200, "fine");
        let tetap = Tetap::with("", &[dripping.address(), fine.address()], "retry: {per_try_timeout: 200ms}");
        assert_eq!(tetap.get("/").text(), "fine");
        assert_eq!(outcomes(&tetap, 0), ["timeout", "ok"]);
    }
}

#[test]
fn a_route_has_its_own_words() {
    let (busy, fine) = (answering(503, "busy"), answering(200, "fine"));
    let tetap = Tetap::start(&format!(
        "upstreams: {{u: {{endpoints: [\"{}\", \"{}\"], ejection: {{max_ejected: 0%}}}}}}
routes:
  - {{match: {{path: {{prefix: /}}}}, upstream: u, retry: {{when: [connect]}}}}
  - {{match: {{path: {{prefix: /again}}}}, upstream: u}}",
        busy.address(),
        fine.address()
    ));
    let mut client = tetap.client();
    assert_eq!(client.get("/").text(), "busy");
    assert_eq!(client.get("/").text(), "fine");
    assert_eq!(client.get("/again").text(), "fine");
}

#[test]
fn without_connect_among_the_reasons_a_refused_connect_is_told_at_once() {
    let fine = answering(200, "fine");
    let tetap = Tetap::with("", &[nobody(), fine.address()], "retry: {when: [reset]}");
    let answers: Vec<_> = (0..2).map(|_| tetap.get("/").status).collect();
    assert_eq!(answers, [503, 200]);
}

#[test]
fn a_budget_bounds_what_an_outage_costs() {
    let servers = [answering(503, "one"), answering(503, "two")];
    let addresses = servers.each_ref().map(Scripted::address);
    let options = "ejection: {max_ejected: 0%}, retry: {budget: {ratio: 10%, min_per_second: 0}}";
    let tetap = Tetap::with("", &addresses, options);
    let mut client = tetap.client();
    assert!((0..50).all(|_| client.get("/").status == 503));
    let deliveries = servers[0].count() + servers[1].count();
    assert!((51..=55).contains(&deliveries), "{deliveries} for 50 requests");
    assert!(tetap.metrics().sum("tetap_retries_refused_total", &[]) >= 45.0);
}

#[test]
fn a_request_waits_for_an_endpoint_to_come_back_and_so_does_a_post() {
    let port = free_port();
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let tetap = Tetap::with("", &[nobody(), address], "limits: {pending_timeout: 10s}");
    let mut waiting = [tetap.client(), tetap.client()];
    waiting[0].send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    waiting[1].send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\npay");
    tetap.wait_for_metric("tetap_upstream_pending", &["upstream=\"u\""], 2.0);
    let server = Scripted::start_at(&address.to_string(), |talk| {
        while talk.request().is_some_and(|request| talk.answer_to(&request, "back")) {}
    });
    let answers = waiting.each_mut().map(|client| client.read_answer());
    assert!(answers.iter().all(|answer| answer.text() == "back"), "{answers:?}");
    let posts = server.requests().into_iter().filter(|request| request.method() == "POST").count();
    assert_eq!(posts, 1);
    tetap.wait_for_metric("tetap_upstream_pending", &["upstream=\"u\""], 0.0);
}

#[test]
fn with_checks_a_request_waits_for_the_next_good_one_and_not_for_the_interval() {
    let port = free_port();
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let check =
        "health_check: {tcp: {}, interval: 60s, healthy_threshold: 1}, limits: {pending_timeout: 14s}";
    let tetap = Tetap::with("", &[address], check);
    let mut client = tetap.client();
    client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\npay");
    tetap.wait_for_metric("tetap_upstream_pending", &["upstream=\"u\""], 1.0);
    let _server = Scripted::start_at(&address.to_string(), |talk| {
        while talk.request().is_some_and(|request| talk.answer_to(&request, "back")) {}
    });
    assert_eq!(client.read_answer().text(), "back");
}

#[test]
fn no_more_wait_than_may() {
    let tetap = Tetap::with("", &[nobody()], "limits: {pending: 1, pending_timeout: 10s}");
    let mut first = tetap.client();
    first.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    tetap.wait_for_metric("tetap_upstream_pending", &["upstream=\"u\""], 1.0);
    let (second, took) = timed(|| tetap.get("/"));
    assert_eq!(second.verdict(), (503, "connect_failed".to_string()));
    assert!(took < Duration::from_secs(5), "{took:?}");
    drop(first);
    tetap.wait_for_metric("tetap_upstream_pending", &["upstream=\"u\""], 0.0);
}

/// Every good check says that somebody is there, and nobody is.
#[test]
fn a_check_that_lies_does_not_send_a_waiting_request_round_for_ever() {
    let liar = Scripted::answering("well");
    let check = format!("health_check: {{http: {{}}, port: {}, interval: 100ms}}", liar.address().port());
    let options = format!("{check}, ejection: {{max_ejected: 0%}}, limits: {{pending_timeout: 14s}}");
    let tetap = Tetap::with("", &[nobody()], &options);
    assert_eq!(tetap.client().post("/", b"pay").verdict(), (503, "connect_failed".to_string()));
    let attempts = tetap.access_log(1)[0]["attempts"].as_array().unwrap().len();
    assert!((2..=60).contains(&attempts), "{attempts}");
    assert_eq!(tetap.metrics().sum("tetap_failures_total", &["cause=\"internal\""]), 0.0);
}

/// How many milliseconds the upstream was told that it has.
fn told(server: &Scripted, header: &str) -> u64 {
    server
        .requests()
        .last()
        .unwrap()
        .head
        .one(header)
        .unwrap()
        .trim_end_matches(['u', 'm', 'n', 'S'])
        .parse()
        .unwrap()
}

#[test]
fn an_upstream_that_wants_to_know_is_told_how_long_it_has() {
    let server = Scripted::answering("told");
    let options =
        "deadline_header: X-Time-Left, timeouts: {response: 5s, request: 8s}, retry: {per_try_timeout: 3s}";
    let tetap = Tetap::with("", &[server.address()], options);
    assert_eq!(tetap.get("/").text(), "told");
    let left = told(&server, "x-time-left");
    assert!((2_000..=3_000).contains(&left), "{left}");
}

#[test]
fn a_grpc_timeout_is_kept_and_passed_on_shortened() {
    let server = Scripted::answering("told");
    let hung = Scripted::silent();
    let tetap = Tetap::with("", &[server.address()], "");
    let ask = |tetap: &Tetap, timeout: &str| -> Answer {
        let mut client = tetap.client();
        client.send(format!("GET / HTTP/1.1\r\nHost: t\r\ngrpc-timeout: {timeout}\r\n\r\n"));
        client.read_answer()
    };
    assert_eq!(ask(&tetap, "2S").text(), "told");
    let micros = told(&server, "grpc-timeout");
    assert!((1_000_000..2_000_000).contains(&micros), "{micros}");
    let late = Tetap::with("", &[hung.address()], "");
    assert_eq!(ask(&late, "0m").verdict(), (504, "upstream_timeout".to_string()));
    assert_eq!(hung.opened(), 0, "who has no time is not asked for");
    let (answer, took) = timed(|| ask(&late, "200m"));
    assert_eq!(answer.verdict(), (504, "upstream_timeout".to_string()));
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn a_reset_with_bytes_already_on_their_way_to_the_client_is_never_asked_again() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let broken = Scripted::start(move |talk| {
        talk.request();
        counted.fetch_add(1, Ordering::SeqCst);
        talk.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
        talk.pause(Duration::from_millis(50));
        talk.reset();
    });
    let tetap = Tetap::to(&[broken.address()]);
    let answer = tetap.get("/");
    assert!(answer.status == 200 && answer.body == b"abc", "{answer:?}");
    until("it is over", || tetap.access_log_now().len() == 1);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

/// Clients have deadlines of their own, and some set ones that nobody can keep: that says nothing about the servers.
#[test]
fn a_clients_own_deadline_puts_no_endpoint_out() {
    let servers = [Scripted::silent(), Scripted::silent()];
    let addresses = servers.each_ref().map(Scripted::address);
    let tetap = Tetap::with("", &addresses, "ejection: {consecutive_failures: 1}");
    for timeout in ["1n", "1n", "1n", "20m", "20m", "20m"] {
        let mut client = tetap.client();
        client.send(format!("GET / HTTP/1.1\r\nHost: t\r\ngrpc-timeout: {timeout}\r\n\r\n"));
        assert_eq!(client.read_answer().status, 504, "{timeout}");
    }
    assert_eq!(tetap.metrics().sum("tetap_ejections_total", &[]), 0.0);
    assert_eq!(tetap.metrics().sum("tetap_endpoint_fit", &[]), 2.0);
}
