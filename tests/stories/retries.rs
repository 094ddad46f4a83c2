//! A request is asked again where that cannot be noticed, and never where it could be done twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::{Client, Nginx, Scripted, Talk, Tetap, nobody, until};

#[test]
fn a_refused_connect_is_tried_on_another_endpoint() {
    let alive = Scripted::answering("alive");
    let tetap = Tetap::to(&[nobody(), alive.address(), nobody()]);
    let mut client = tetap.client();
    for round in 0..20 {
        assert_eq!(client.get("/get").text(), "alive", "GET {round}");
        assert_eq!(client.post("/post", b"once").text(), "alive", "POST {round}");
    }
    let posts = alive.requests().into_iter().filter(|request| request.method() == "POST");
    assert!(posts.clone().all(|request| request.body == b"once"));
    assert_eq!((posts.count(), alive.count()), (20, 40), "each is delivered once");
}

#[test]
fn all_endpoints_down_is_503_connect_failed() {
    let (one, other) = (nobody(), nobody());
    let tetap = Tetap::to(&[one, other]);
    let answer = tetap.client().post("/", b"body");
    assert_eq!(answer.verdict(), (503, "connect_failed".to_string()));
    assert_eq!(answer.head.one("retry-after"), Some("1"));
    let line = &tetap.access_log(1)[0];
    let mut tried: Vec<_> =
        line["attempts"].as_array().unwrap().iter().map(|a| a["endpoint"].clone()).collect();
    tried.sort_by_key(ToString::to_string);
    let mut all = vec![one.to_string(), other.to_string()];
    all.sort();
    assert_eq!(tried, all, "each endpoint is asked, and only once: {line}");
}

#[test]
fn no_more_attempts_are_made_than_allowed() {
    let endpoints = [nobody(), nobody(), nobody(), nobody()];
    let tetap = Tetap::with("", &endpoints, "retry: {attempts: 2}");
    assert_eq!(tetap.get("/").verdict(), (503, "connect_failed".to_string()));
    assert_eq!(tetap.access_log(1)[0]["attempts"].as_array().unwrap().len(), 2);
}

#[test]
fn a_large_body_survives_a_refused_connect() {
    let alive = Scripted::answering("alive");
    let tetap = Tetap::to(&[nobody(), nobody(), alive.address()]);
    let body = vec![b'x'; 3_000_000];
    for _ in 0..3 {
        assert_eq!(tetap.client().post("/", &body).text(), "alive");
    }
    assert!(alive.requests().iter().all(|request| request.body == body));
}

/// Reads a request and resets the connection, the first time only; answers from then on.
fn breaks_once() -> Scripted {
    let broke = AtomicBool::new(false);
    Scripted::start(move |talk: &mut Talk| {
        while let Some(request) = talk.request() {
            if !broke.swap(true, Ordering::SeqCst) {
                return talk.reset();
            }
            talk.answer_to(&request, "again");
        }
    })
}

#[test]
fn a_get_whose_connection_broke_is_tried_again() {
    let upstream = breaks_once();
    let tetap = Tetap::to(&[upstream.address()]);
    assert_eq!(tetap.get("/").text(), "again");
    assert_eq!(upstream.count(), 2);
}

#[test]
fn a_put_whose_connection_broke_is_tried_again_with_its_body() {
    let upstream = breaks_once();
    let tetap = Tetap::to(&[upstream.address()]);
    let mut client = tetap.client();
    client.send("PUT /p HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nbody");
    assert_eq!(client.read_answer().text(), "again");
    assert!(upstream.requests().iter().all(|request| request.body == b"body"));
}

#[test]
fn a_post_whose_connection_broke_is_not_sent_twice() {
    let upstream = breaks_once();
    let tetap = Tetap::to(&[upstream.address()]);
    let answer = tetap.client().post("/", b"pay");
    assert_eq!(answer.verdict(), (502, "upstream_reset".to_string()));
    assert_eq!(upstream.count(), 1);
    assert_eq!(tetap.client().post("/", b"pay").text(), "again", "the next one is served");
}

/// Answers one request per connection, says it keeps the connection, and closes when the next one comes.
fn forgetful() -> Scripted {
    Scripted::start(|talk| {
        talk.request();
        talk.answer("served");
        talk.head();
    })
}

#[test]
fn a_kept_connection_that_turns_out_dead_is_not_noticed() {
    let upstream = forgetful();
    let tetap = Tetap::to(&[upstream.address()]);
    let mut client = tetap.client();
    for round in 0..5 {
        assert_eq!(client.get("/").text(), "served", "round {round}");
    }
}

/// What cannot be sent again, since it is too long to be kept or the last that may be tried, must not meet a connection
/// that may have been closed.
#[test]
fn a_kept_connection_is_no_risk_to_what_can_be_sent_only_once() {
    let long = "x".repeat(100_000);
    let cases = [
        ("too long to be kept", "", format!("Content-Length: 100000\r\n\r\n{long}")),
        ("of unknown length", "", "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n".to_string()),
        ("the only attempt", "retry: {attempts: 1}", "Content-Length: 1\r\n\r\nx".to_string()),
    ];
    for (what, options, body) in cases {
        let upstream = forgetful();
        let tetap = Tetap::with("", &[upstream.address()], options);
        for round in 0..3 {
            let mut client = tetap.client();
            client.send(format!("PUT / HTTP/1.1\r\nHost: t\r\n{body}"));
            assert_eq!(client.read_answer().text(), "served", "{what}, round {round}");
        }
    }
}

/// Two refuse and one resets: waiting for the former must not give the latter more requests than are allowed.
#[test]
fn no_more_requests_are_delivered_than_allowed_however_long_they_waited() {
    let (refusing, resets) = (nobody(), Arc::new(std::sync::atomic::AtomicUsize::new(0)));
    let counted = Arc::clone(&resets);
    let resetting = Scripted::start(move |talk| {
        if talk.request().is_some() {
            counted.fetch_add(1, Ordering::SeqCst);
            talk.reset();
        }
    });
    let options = "retry: {attempts: 3}, limits: {pending_timeout: 2s}, ejection: {max_ejected: 0%}";
    let tetap = Tetap::with("", &[refusing, resetting.address(), nobody()], options);
    for round in 1..=5 {
        assert!(tetap.get("/").status >= 500);
        assert!(resets.load(Ordering::SeqCst) <= 3 * round, "round {round}: {resets:?}");
    }
}

#[test]
fn a_connection_that_the_upstream_has_closed_is_not_used_for_a_post() {
    let upstream = Scripted::start(|talk| {
        talk.request();
        talk.answer("served");
        talk.pause(Duration::from_millis(100));
    });
    let tetap = Tetap::to(&[upstream.address()]);
    for round in 0..4 {
        assert_eq!(tetap.client().post("/", b"pay").text(), "served", "round {round}");
        until("the upstream closes", || upstream.open() == 0);
    }
    assert_eq!(upstream.count(), 4);
}

#[test]
fn a_killed_nginx_is_not_noticed_by_clients() {
    let servers = [Nginx::named("a"), Nginx::named("b"), Nginx::named("c")];
    let tetap = Tetap::to(&servers.each_ref().map(Nginx::address));
    let address = tetap.address("web");
    let stop = Arc::new(AtomicBool::new(false));
    let load: Vec<_> = (0..4).map(|_| (address, Arc::clone(&stop))).collect();
    let load: Vec<_> =
        load.into_iter().map(|(a, stop)| std::thread::spawn(move || ask_until(a, &stop))).collect();
    std::thread::sleep(Duration::from_millis(700)); // the load before the crash, and after it
    servers[1].kill();
    std::thread::sleep(Duration::from_millis(1300));
    stop.store(true, Ordering::SeqCst);
    let (mut good, mut bad) = (0, Vec::new());
    for (count, faults) in load.into_iter().map(|thread| thread.join().unwrap()) {
        good += count;
        bad.extend(faults);
    }
    assert!(
        bad.is_empty(),
        "{} of {} requests failed: {:?}",
        bad.len(),
        good + bad.len(),
        &bad[..bad.len().min(5)]
    );
    assert!(good > 100, "only {good} requests");
}

/// Sends GETs on one connection, every third on a new one; counts the good answers and keeps the others.
fn ask_until(address: std::net::SocketAddr, stop: &AtomicBool) -> (usize, Vec<String>) {
    let (mut good, mut bad) = (0, Vec::new());
    let mut client = Client::connect(address);
    let deadline = Instant::now() + Duration::from_secs(20);
    while !stop.load(Ordering::SeqCst) && Instant::now() < deadline {
        if (good + bad.len()) % 3 == 0 {
            client = Client::connect(address);
        }
        client.send("GET /load HTTP/1.1\r\nHost: t\r\n\r\n");
        match client.try_answer(false) {
            Ok(answer) if answer.status == 200 && ["a", "b", "c"].contains(&answer.text().as_str()) => {
                good += 1
            }
            other => {
                bad.push(format!("{other:?}"));
                client = Client::connect(address);
            }
        }
    }
    (good, bad)
}
