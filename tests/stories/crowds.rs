//! Limits: what happens to the one too many.

use std::net::{IpAddr, Ipv4Addr};
use std::thread;
use std::time::Duration;

use crate::support::{Answer, Client, Gate, Scripted, Tetap, allow_files, eventually, timed, until};

const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

#[test]
fn the_connection_limit_answers_503() {
    let upstream = Scripted::answering("in");
    let tetap = Tetap::with("limits: {connections: 2}", &[upstream.address()], "");
    let mut held = [tetap.client(), tetap.client()];
    assert!(held.iter_mut().all(|client| client.get("/").status == 200));
    let mut third = tetap.client();
    let answer = third.get("/");
    assert_eq!(answer.verdict(), (503, "overloaded".to_string()));
    assert_eq!((answer.head.one("retry-after"), answer.head.one("connection")), (Some("1"), Some("close")));
    assert!(third.is_closed());
    tetap.wait_for_metric("tetap_connections_refused_total", &["reason=\"listener\""], 1.0);
    drop(held);
    until("there is room again", || tetap.get("/").status == 200);
}

#[test]
fn a_refused_client_that_sends_nothing_is_answered_too() {
    let upstream = Scripted::answering("in");
    let tetap = Tetap::with("limits: {connections: 1}", &[upstream.address()], "");
    let mut held = tetap.client();
    assert_eq!(held.get("/").status, 200);
    assert_eq!(tetap.client().read_answer().verdict(), (503, "overloaded".to_string()));
}

#[test]
fn one_address_cannot_take_all_connections() {
    let upstream = Scripted::answering("in");
    let tetap = Tetap::with("limits: {connections_per_ip: 2}", &[upstream.address()], "");
    let from_other = || Client::connect_from(OTHER, tetap.address("web"));
    let mut held = [from_other(), from_other()];
    assert!(held.iter_mut().all(|client| client.get("/").status == 200));
    assert_eq!(from_other().get("/").verdict(), (503, "overloaded".to_string()));
    assert_eq!(tetap.get("/").status, 200, "everybody else is served");
    tetap.wait_for_metric("tetap_connections_refused_total", &["reason=\"client_ip\""], 1.0);
    drop(held);
    until("the address may come back", || from_other().get("/").status == 200);
}

/// An upstream that answers when the gate opens.
fn gated() -> (Gate, Scripted) {
    let gate = Gate::default();
    let waiting = gate.clone();
    let upstream = Scripted::start(move |talk| {
        while talk.request().is_some() {
            waiting.wait();
            talk.answer("done");
        }
    });
    (gate, upstream)
}

/// The same behind a limit of one request.
fn narrow(limits: &str) -> (Gate, Scripted, Tetap) {
    let (gate, upstream) = gated();
    let tetap = Tetap::with("", &[upstream.address()], &format!("limits: {{{limits}}}"));
    (gate, upstream, tetap)
}

#[test]
fn the_pending_queue_is_bounded_and_timed() {
    let (gate, upstream, tetap) = narrow("requests: 1, pending: 1, pending_timeout: 600ms");
    let (mut first, mut second) = (tetap.client(), tetap.client());
    first.send("GET /1 HTTP/1.1\r\nHost: t\r\n\r\n");
    until("the first is at the upstream", || upstream.count() == 1);
    second.send("GET /2 HTTP/1.1\r\nHost: t\r\n\r\n");
    tetap.wait_for_metric("tetap_upstream_pending", &["upstream=\"u\""], 1.0);
    let (third, took) = timed(|| tetap.get("/3"));
    assert_eq!(third.verdict(), (503, "overloaded".to_string()));
    assert!(took < Duration::from_millis(450), "one too many is told at once, not after {took:?}");
    assert_eq!(
        second.read_answer().verdict(),
        (503, "overloaded".to_string()),
        "who waited too long is told"
    );
    gate.open();
    assert_eq!(first.read_answer().text(), "done");
    assert_eq!(upstream.count(), 1, "the others never got there");
}

#[test]
fn who_waits_gets_the_place_of_the_first_who_leaves() {
    let (gate, upstream, tetap) = narrow("requests: 1, pending: 8, pending_timeout: 10s");
    let mut clients: Vec<_> = (0..5).map(|_| tetap.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(format!("GET /{number} HTTP/1.1\r\nHost: t\r\n\r\n"));
    }
    tetap.wait_for_metric("tetap_upstream_pending", &["upstream=\"u\""], 4.0);
    until("one is at the upstream", || upstream.count() == 1);
    gate.open();
    assert!(clients.iter_mut().all(|client| client.read_answer().text() == "done"));
    tetap.wait_for_metric("tetap_upstream_pending", &["upstream=\"u\""], 0.0);
    tetap.wait_for_metric("tetap_upstream_in_flight", &["upstream=\"u\""], 0.0);
}

#[test]
fn who_goes_away_while_waiting_leaves_no_trace() {
    let (gate, upstream, tetap) = narrow("requests: 1, pending: 8, pending_timeout: 25s");
    let mut first = tetap.client();
    first.send("GET /1 HTTP/1.1\r\nHost: t\r\n\r\n");
    until("the first is at the upstream", || upstream.count() == 1);
    let mut second = tetap.client();
    second.send("GET /2 HTTP/1.1\r\nHost: t\r\n\r\n");
    tetap.wait_for_metric("tetap_upstream_pending", &["upstream=\"u\""], 1.0);
    drop(second);
    tetap.wait_for_metric("tetap_upstream_pending", &["upstream=\"u\""], 0.0);
    gate.open();
    assert_eq!(first.read_answer().text(), "done");
    assert_eq!(upstream.count(), 1);
}

const BY_PRIORITY: &str = "routes:
  - {match: {path: {prefix: /high}}, upstream: u, priority: high}
  - {match: {path: {prefix: /normal}}, upstream: u}
  - {match: {path: {prefix: /low}}, upstream: u, priority: low}";

#[test]
fn a_full_queue_sheds_low_priority_first_and_serves_high_priority_first() {
    let (gate, upstream) = gated();
    let limits = "limits: {requests: 1, pending: 2, pending_timeout: 25s}";
    let upstreams = format!("upstreams: {{u: {{endpoints: [\"{}\"], {limits}}}}}", upstream.address());
    let tetap = Tetap::start(&format!("{upstreams}\n{BY_PRIORITY}"));
    let ask = |target: &str| {
        let mut client = tetap.client();
        client.send(format!("GET {target} HTTP/1.1\r\nHost: t\r\n\r\n"));
        client
    };
    let in_line = |count| tetap.wait_for_metric("tetap_upstream_pending", &["upstream=\"u\""], count);
    let overloaded = (503, "overloaded".to_string());

    let mut first = ask("/low/first");
    until("the first is at the upstream", || upstream.count() == 1);
    let mut older = ask("/low/older");
    in_line(1.0);
    let mut younger = ask("/low/younger");
    in_line(2.0);
    assert_eq!(tetap.get("/low/late").verdict(), overloaded, "nobody has to go for an equal");
    let mut normal = ask("/normal");
    assert_eq!(younger.read_answer().verdict(), overloaded);
    let mut high = ask("/high");
    assert_eq!(older.read_answer().verdict(), overloaded);
    assert_eq!(tetap.get("/normal/late").verdict(), overloaded);

    gate.open();
    assert!(
        [&mut first, &mut normal, &mut high].into_iter().all(|client| client.read_answer().status == 200)
    );
    let served: Vec<_> = upstream.requests().iter().map(|request| request.target().to_string()).collect();
    assert_eq!(served, ["/low/first", "/high", "/normal"]);
}

/// So many at once, each on a connection of its own: their answers, and how long each took.
fn all_at_once(tetap: &Tetap, count: usize) -> Vec<(Answer, Duration)> {
    let clients: Vec<_> = (0..count).map(|_| tetap.client()).collect();
    let asked = clients.into_iter().map(|mut client| thread::spawn(move || timed(|| client.get("/"))));
    asked.collect::<Vec<_>>().into_iter().map(|asked| asked.join().unwrap()).collect()
}

#[test]
fn whose_wait_would_be_too_long_is_told_at_once() {
    let upstream = Scripted::start(|talk| {
        while talk.request().is_some() {
            talk.pause(Duration::from_millis(30));
            talk.answer("done");
        }
    });
    let limits = "limits: {requests: 1, pending: 1000, pending_timeout: 2s}";
    let tetap = Tetap::with("", &[upstream.address()], limits);
    let some = all_at_once(&tetap, 40);
    assert!(some.iter().all(|(answer, _)| answer.status == 200), "they take 1.2 s: no reason to refuse any");

    let many = all_at_once(&tetap, 200);
    let done = many.iter().filter(|(answer, _)| answer.status == 200).count();
    assert!((30..=70).contains(&done), "{done}: there are 66 turns in two seconds");
    let at_once = many.iter().filter(|(answer, took)| {
        answer.status == 503 && answer.json()["detail"] == NO_TIME && *took < Duration::from_secs(1)
    });
    let at_once = at_once.count();
    assert!(at_once >= 110, "{at_once} of {}", 200 - done);
}

const NO_TIME: &str = "too many requests are waiting to be served in time";

#[test]
fn two_thousand_parked_connections_are_cheap() {
    const PARKED: u64 = 2000;
    allow_files(8192);
    let upstream = Scripted::answering("parked");
    let mut tetap = Tetap::to(&[upstream.address()]);
    let mut warm: Vec<_> = (0..50).map(|_| tetap.client()).collect();
    assert!(warm.iter_mut().all(|client| client.get("/").status == 200));
    let before = tetap.process().memory_kib("VmRSS");
    let address = tetap.address("web");
    let park = |_| {
        let mut client = Client::connect(address);
        assert_eq!(client.get("/").status, 200);
        client
    };
    let mut idle: Vec<_> = (0..PARKED).map(park).collect();
    let each = eventually("all of them are open", || {
        let open = tetap.metrics().sum("tetap_connections", &["listener=\"web\""]);
        (open >= (PARKED + 50) as f64)
            .then(|| (tetap.process().memory_kib("VmRSS") - before) as f64 / PARKED as f64)
    });
    assert!(each <= 4.0, "{each:.2} KiB each");
    assert!(
        idle.iter_mut().step_by(97).all(|client| client.get("/again").status == 200),
        "they can still be used"
    );
}
