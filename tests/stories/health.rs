//! Endpoints that are ill: found out by asking them, or by what happens to requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::support::{Scripted, Talk, Tetap, free_port, nobody, until};

/// Answers with its name; on `/healthz` with a status that the test chooses.
struct Server {
    scripted: Scripted,
    health: Arc<AtomicU16>,
    status: Arc<AtomicU16>,
}

impl Server {
    fn start(name: &'static str) -> Server {
        Self::start_at("127.0.0.1:0", name)
    }

    fn start_at(address: &str, name: &'static str) -> Server {
        let (health, status) = (Arc::new(AtomicU16::new(200)), Arc::new(AtomicU16::new(200)));
        let (own_health, own_status) = (Arc::clone(&health), Arc::clone(&status));
        let scripted = Scripted::start_at(address, move |talk: &mut Talk| {
            while let Some(request) = talk.request() {
                let checked = request.target() == "/healthz";
                let status = if checked { &own_health } else { &own_status }.load(Ordering::SeqCst);
                let length = name.len();
                talk.write(format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{name}"));
            }
        });
        Server { scripted, health, status }
    }

    fn is(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    fn is_healthy(&self, healthy: bool) {
        self.health.store(if healthy { 200 } else { 500 }, Ordering::SeqCst);
    }

    /// Requests of clients, not checks.
    fn asked(&self) -> usize {
        self.scripted.requests().iter().filter(|request| request.target() != "/healthz").count()
    }
}

const CHECK: &str = "health_check: {http: {path: /healthz}, interval: 200ms, timeout: 2s, healthy_threshold: 2, \
                     unhealthy_threshold: 2}";

fn proxy(servers: &[&Server], options: &str) -> Tetap {
    let addresses: Vec<_> = servers.iter().map(|server| server.scripted.address()).collect();
    Tetap::with("", &addresses, options)
}

/// What the admin address says of an endpoint.
pub(super) fn verdict(tetap: &Tetap, endpoint: usize) -> (String, Value) {
    let listed: Value = serde_json::from_str(&tetap.admin("/api/v1/upstreams").text()).unwrap();
    let told = &listed["upstreams"][0]["endpoints"][endpoint];
    (told["verdict"].as_str().unwrap().to_string(), told["reason"].clone())
}

#[test]
fn an_endpoint_whose_checks_fail_is_not_asked_until_they_do_not() {
    let (a, b) = (Server::start("a"), Server::start("b"));
    let tetap = proxy(&[&a, &b], CHECK);
    a.is_healthy(false);
    until("a is out", || {
        verdict(&tetap, 0) == ("unhealthy".into(), "its health checks fail: status 500".into())
    });
    let before = a.asked();
    assert!((0..10).all(|_| tetap.get("/").text() == "b"));
    assert_eq!(a.asked(), before);
    tetap.wait_for_metric("tetap_endpoint_fit", &["upstream=\"u\""], 1.0);
    a.is_healthy(true);
    until("a is in", || tetap.get("/").text() == "a");
    assert_eq!(verdict(&tetap, 0), ("fit".into(), Value::Null));
}

#[test]
fn the_first_round_is_over_before_the_first_request() {
    let alive = Server::start("alive");
    let hung = Scripted::silent();
    let endpoints = [nobody(), hung.address(), alive.scripted.address()];
    let tetap = Tetap::with("", &endpoints, &format!("{CHECK}, retry: {{attempts: 1}}"));
    assert!((0..9).all(|_| tetap.client().post("/", b"once").text() == "alive"));
    let attempts =
        tetap.access_log(9).iter().map(|line| line["attempts"].as_array().unwrap().len()).sum::<usize>();
    assert_eq!(attempts, 9);
}

#[test]
fn an_endpoint_that_dies_is_out_soon_because_a_request_says_so() {
    let (a, b) = (Server::start("a"), Server::start("b"));
    let slow = CHECK.replace("interval: 200ms", "interval: 60s");
    let dead = free_port();
    let c = Server::start_at(&format!("127.0.0.1:{dead}"), "c");
    let tetap = proxy(&[&a, &b, &c], &slow);
    drop(c);
    assert!((0..12).all(|_| tetap.get("/").status == 200), "nobody notices");
    until("c is out long before its next check", || verdict(&tetap, 2).0 == "unhealthy");
}

#[test]
fn a_healthy_looking_endpoint_that_answers_503_is_ejected_and_tried_again() {
    let (a, b) = (Server::start("a"), Server::start("b"));
    let options = format!("{CHECK}, ejection: {{consecutive_failures: 3, for: 300ms}}");
    let tetap = proxy(&[&a, &b], &options);
    a.is(503);
    let mut client = tetap.client();
    assert!((0..12).all(|_| client.get("/").text() == "b"), "clients see the other's answers");
    let counted = tetap.metrics().sum("tetap_ejections_total", &["reason=\"consecutive_failures\""]);
    assert_eq!(counted, 1.0);
    assert!(a.asked() <= 5, "{}", a.asked());
    until("a trial fails", || {
        client.get("/");
        tetap.metrics().sum("tetap_ejections_total", &["reason=\"trial\""]) >= 1.0
    });
    a.is(200);
    until("a trial succeeds", || client.get("/").text() == "a");
    until("it is in again", || verdict(&tetap, 0).0 == "fit");
}

#[test]
fn at_most_half_are_ejected() {
    let (a, b) = (Server::start("a"), Server::start("b"));
    let tetap = proxy(&[&a, &b], "ejection: {consecutive_failures: 1}, panic_threshold: 0%");
    [&a, &b].into_iter().for_each(|server| server.is(503));
    let statuses: Vec<_> = (0..6).map(|_| tetap.get("/").status).collect();
    assert_eq!(statuses, [503; 6]);
    let out = [0, 1].iter().filter(|endpoint| verdict(&tetap, **endpoint).0 == "ejected").count();
    assert_eq!(out, 1);
}

#[test]
fn when_all_checks_fail_those_that_answer_are_asked_all_the_same() {
    let (a, b) = (Server::start("a"), Server::start("b"));
    let tetap = proxy(&[&a, &b], CHECK);
    [&a, &b].into_iter().for_each(|server| server.is_healthy(false));
    tetap.wait_for_metric("tetap_upstream_panic", &[], 1.0);
    until("both are out", || [0, 1].iter().all(|endpoint| verdict(&tetap, *endpoint).0 == "unhealthy"));
    assert!((0..6).all(|_| tetap.get("/").status == 200));
    let never = proxy(&[&a, &b], &format!("{CHECK}, panic_threshold: 0%, limits: {{pending_timeout: 50ms}}"));
    assert_eq!(never.get("/").verdict(), (503, "no_endpoint".to_string()));
}

#[test]
fn a_backup_tier_serves_when_the_first_is_out_and_only_then() {
    let (first, backup) = (Server::start("first"), Server::start("backup"));
    let tetap = Tetap::start(&format!(
        "upstreams: {{u: {{endpoints: [\"{}\", {{address: \"{}\", tier: 1}}], {CHECK}}}}}
routes: [{{match: {{path: {{prefix: /}}}}, upstream: u}}]",
        first.scripted.address(),
        backup.scripted.address(),
    ));
    assert!((0..6).all(|_| tetap.get("/").text() == "first"));
    first.is_healthy(false);
    until("the backup serves", || tetap.get("/").text() == "backup");
    first.is_healthy(true);
    until("the first serves", || tetap.get("/").text() == "first");
}

#[test]
fn a_drained_endpoint_gets_nothing() {
    let (a, b) = (Server::start("a"), Server::start("b"));
    let tetap = Tetap::start(&format!(
        "upstreams: {{u: {{endpoints: [{{address: \"{}\", drain: true}}, \"{}\"]}}}}
routes: [{{match: {{path: {{prefix: /}}}}, upstream: u}}]",
        a.scripted.address(),
        b.scripted.address(),
    ));
    assert!((0..6).all(|_| tetap.get("/").text() == "b"));
    assert_eq!(verdict(&tetap, 0), ("drained".into(), "drained by an operator".into()));
}

#[test]
fn a_check_at_a_port_of_its_own_decides() {
    let (server, health) = (Server::start("a"), Server::start("health"));
    let port = health.scripted.address().port();
    let tetap = proxy(&[&server], &CHECK.replace("interval", &format!("port: {port}, interval")));
    assert_eq!(tetap.get("/").text(), "a");
    assert!(server.scripted.requests().iter().all(|request| request.target() != "/healthz"));
    health.is_healthy(false);
    until("it is out", || verdict(&tetap, 0).0 == "unhealthy");
}

#[test]
fn a_client_that_leaves_is_no_fault_of_the_endpoint() {
    let open = Arc::new(AtomicBool::new(false));
    let opened = Arc::clone(&open);
    let server = Scripted::start(move |talk| {
        while let Some(request) = talk.request() {
            if request.target() == "/slow" && !opened.load(Ordering::SeqCst) {
                talk.wait_for_close();
                return;
            }
            talk.answer("fine");
        }
    });
    let tetap = Tetap::with(
        "",
        &[server.address(), nobody()],
        "ejection: {consecutive_failures: 1, max_ejected: 100%}",
    );
    for _ in 0..5 {
        let mut client = tetap.client();
        client.send("GET /slow HTTP/1.1\r\nHost: t\r\n\r\n");
        let seen = server.count();
        until("it is there", || server.count() > seen || server.open() > 0);
        drop(client);
    }
    until("all are gone", || server.open() == 0);
    assert_eq!(verdict(&tetap, 0).0, "fit");
    assert_eq!(tetap.get("/").text(), "fine");
}

#[test]
fn a_slow_endpoint_beside_quick_ones_is_ejected_for_it() {
    let slow = Scripted::start(|talk| {
        while talk.request().is_some() {
            talk.pause(Duration::from_millis(120));
            talk.answer("slow");
        }
    });
    let quick = Server::start("quick");
    let tetap = Tetap::with(
        "",
        &[slow.address(), quick.scripted.address()],
        "ejection: {latency: 50ms, min_requests: 5, for: 60s}",
    );
    let mut client = tetap.client();
    for _ in 0..12 {
        assert_eq!(client.get("/").status, 200);
    }
    assert_eq!(verdict(&tetap, 0).0, "ejected");
    assert!((0..6).all(|_| client.get("/").text() == "quick"));
}
