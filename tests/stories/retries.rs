//! A request is asked again where that cannot be noticed, and never where it could be done twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::{Client, Nginx, Scripted, Talk, Tetap, nobody};

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
