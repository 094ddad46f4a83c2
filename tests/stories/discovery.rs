//! Endpoints come and go, and so do those who know them; the client notices neither.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::dns::{A, Mood, NXDOMAIN, NameServer, SERVFAIL};
use crate::support::{Client, Gate, Scripted, Tetap, free_port, timed, until};

const NAME: &str = "orders.test";

/// A proxy whose upstream `u` is found in this way.
fn tetap(discovery: &str) -> Tetap {
    Tetap::start(&format!(
        "upstreams: {{u: {{discovery: {{{discovery}}}}}}}
routes: [{{match: {{path: {{prefix: /}}}}, upstream: u}}]"
    ))
}

fn by_name(server: &NameServer, port: u16) -> Tetap {
    tetap(&format!("dns: {NAME}, port: {port}, resolver: \"{}\"", server.address()))
}

fn updates(tetap: &Tetap) -> f64 {
    tetap.metrics().sum("tetap_discovery_updates_total", &["upstream=\"u\""])
}

fn errors(tetap: &Tetap) -> f64 {
    tetap.metrics().sum("tetap_discovery_errors_total", &["upstream=\"u\""])
}

/// Clients that never rest.
struct Load {
    stop: Arc<AtomicBool>,
    posts: Arc<AtomicUsize>,
    clients: Vec<std::thread::JoinHandle<usize>>,
}

impl Load {
    fn start(clients: usize, address: SocketAddr) -> Load {
        let (stop, posts) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let clients = (0..clients).map(|_| {
            let (stop, posts) = (stop.clone(), posts.clone());
            std::thread::spawn(move || ask_until(&stop, &posts, address))
        });
        Load { clients: clients.collect(), stop, posts }
    }

    /// How many requests were answered, of which how many were POSTs. Fails if a client has.
    fn end(self) -> (usize, usize) {
        self.stop.store(true, Ordering::SeqCst);
        let answered = self.clients.into_iter().map(|client| client.join().unwrap()).sum();
        (answered, self.posts.load(Ordering::SeqCst))
    }
}

fn ask_until(stop: &AtomicBool, posts: &AtomicUsize, address: SocketAddr) -> usize {
    let mut client = Client::connect(address);
    let mut answered = 0;
    while !stop.load(Ordering::SeqCst) {
        let get = client.get("/get");
        assert_eq!(get.status, 200, "{}", get.text());
        let post = client.post("/post", b"once");
        assert_eq!(post.status, 200, "{}", post.text());
        posts.fetch_add(1, Ordering::SeqCst);
        answered += 2;
    }
    answered
}

#[test]
fn traffic_follows_a_name_and_no_request_fails() {
    let port = free_port();
    let at = |last: usize| format!("127.0.0.{last}");
    let answering = |last| {
        Scripted::start_at(&format!("{}:{port}", at(last)), |talk| {
            while talk.request().is_some_and(|request| talk.answer_to(&request, "well")) {}
        })
    };
    let servers: Vec<Scripted> = (1..=3).map(answering).collect();
    let names = NameServer::start();
    names.set(NAME, 1, &[&at(1)]);
    let tetap = by_name(&names, port);
    let load = Load::start(4, tetap.address("web"));
    let mut before = 0;
    for next in [1, 2, 0, 2, 1] {
        until("the present server is asked", || servers[before].count() > 0);
        names.set(NAME, 1, &[&at(next + 1)]);
        until("only the next server is asked", || {
            let (old, new) = (servers[before].count(), servers[next].count());
            until("somebody is asked", || servers[before].count() > old || servers[next].count() > new + 40);
            servers[before].count() == old
        });
        before = next;
    }
    let (answered, posts) = load.end();
    let received = |method| {
        let of = |server: &Scripted| server.requests().iter().filter(|r| r.method() == method).count();
        servers.iter().map(of).sum::<usize>()
    };
    assert_eq!((answered, received("POST")), (posts * 2, posts), "each POST is delivered once");
    assert_eq!((updates(&tetap), errors(&tetap)), (6.0, 0.0));
    let gone = format!("{}:{port}", at(3));
    assert!(!tetap.metrics().text().contains(&gone), "who has left leaves no series");
}

#[test]
fn a_name_server_that_fails_takes_no_endpoint_away() {
    let server = Scripted::answering("well");
    let names = NameServer::start();
    names.set(NAME, 0, &["127.0.0.1"]);
    let (tetap, took) = timed(|| by_name(&names, server.address().port()));
    assert!(took < tetap::limits::FIRST_ROUND / 2, "ready once the name is known, not after {took:?}");
    assert_eq!((updates(&tetap), errors(&tetap)), (1.0, 0.0));
    let moods = [
        (Mood::Silent, "no answer from the name server"),
        (SERVFAIL, "Server Failure"),
        (NXDOMAIN, "no such name"),
    ];
    for (mood, told) in moods {
        let before = errors(&tetap);
        names.be(mood);
        until(told, || tetap.log().contains(told));
        assert!(errors(&tetap) > before, "{told}");
        assert_eq!(tetap.get("/").text(), "well", "{told}");
    }
    names.be(Mood::Helpful);
    until("all is well again", || tetap.log().contains("its endpoints can be found out again"));
    assert_eq!(tetap.get("/").text(), "well");
    assert_eq!(updates(&tetap), 1.0);
}

#[test]
fn a_trouble_that_stays_is_counted_each_time_and_logged_once() {
    let server = Scripted::answering("well");
    let names = NameServer::start();
    names.set(NAME, 0, &["127.0.0.1"]);
    let tetap = by_name(&names, server.address().port());
    names.be(SERVFAIL);
    until("it is counted again", || errors(&tetap) >= 3.0);
    let told = tetap.log().matches("the 1 endpoint known so far stays: A of orders.test").count();
    assert_eq!(told, 1, "{}", tetap.log());
}

/// Answers each request on a connection of its own, so that who stops listening is gone.
fn uncommitted(address: &str, body: &'static str) -> Scripted {
    Scripted::start_at(address, move |talk| {
        if talk.request().is_some() {
            let length = body.len();
            talk.write(format!(
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
            ));
        }
    })
}

#[test]
fn priorities_of_services_become_tiers_and_weights_shares() {
    let names = NameServer::start();
    let listening = |address: &str, body| {
        let server = uncommitted(&format!("{address}:0"), body);
        names.set(&format!("{body}.test"), 60, &[address]);
        server
    };
    let [a, b, backup] =
        [listening("127.0.0.1", "a"), listening("127.0.0.2", "b"), listening("127.0.0.3", "backup")];
    let service =
        |priority, weight, server: &Scripted, target| (priority, weight, server.address().port(), target);
    let services = [
        service(20, 0, &backup, "backup.test"),
        service(10, 30, &a, "a.test"),
        service(10, 10, &b, "b.test"),
    ];
    names.set_services("_http._tcp.orders.test", 60, &services);
    let tetap = tetap(&format!("srv: _http._tcp.orders.test, resolver: \"{}\"", names.address()));
    assert!((0..40).all(|_| tetap.get("/").status == 200));
    assert_eq!((a.count(), b.count(), backup.count()), (30, 10, 0));
    drop((a, b));
    until("the backup is asked", || tetap.get("/").text() == "backup");
    assert!((0..20).all(|_| tetap.get("/").text() == "backup"));
}

#[test]
fn a_file_of_endpoints_is_followed() {
    let gate = Gate::default();
    let opened = gate.clone();
    let old = Scripted::start(move |talk| {
        while let Some(request) = talk.request() {
            if request.target() == "/slow" {
                opened.wait();
            }
            talk.answer_to(&request, "old");
        }
    });
    let new = Scripted::answering("new");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("endpoints.yaml");
    let list = |text: String| {
        fs::write(dir.path().join("next"), text).unwrap();
        fs::rename(dir.path().join("next"), &path).unwrap();
    };
    list(format!("- {}\n", old.address()));
    let tetap = tetap(&format!("file: {}, refresh: 50ms", path.display()));
    assert_eq!(tetap.get("/").text(), "old");
    let mut waiting = tetap.client();
    waiting.send("GET /slow HTTP/1.1\r\nHost: t\r\n\r\n");
    until("a request is under way", || old.requests().iter().any(|request| request.target() == "/slow"));

    list(format!("- {}\n", new.address()));
    until("the new endpoint is used", || tetap.get("/").text() == "new");
    assert!((0..20).all(|_| tetap.get("/").text() == "new"), "and the old one no longer");
    gate.open();
    assert_eq!(waiting.read_answer().text(), "old", "what was under way is finished");

    list("- {address: 127.0.0.1:80, tear: 1}\n".to_owned());
    let told =
        format!("the 1 endpoint known so far stays: {}:1:27: [0].tear: found an unknown key", path.display());
    until("the file is refused", || tetap.log().contains(&told));
    assert!(errors(&tetap) >= 1.0);
    assert!((0..20).all(|_| tetap.get("/").text() == "new"));
    assert_eq!(updates(&tetap), 2.0);
}

#[test]
fn a_name_server_that_is_silent_at_the_start_holds_nobody_up_for_long() {
    let server = Scripted::answering("well");
    let names = NameServer::start();
    names.set(NAME, 60, &["127.0.0.1"]);
    names.be(Mood::Silent);
    let (tetap, took) = timed(|| by_name(&names, server.address().port()));
    let longest = tetap::limits::FIRST_ROUND;
    assert!(took < longest + Duration::from_secs(3), "ready after {took:?}");
    assert_eq!(tetap.get("/").verdict(), (503, "no_endpoint".to_string()));
    assert!(names.count(A) > 0);
    names.be(Mood::Helpful);
    until("it serves as soon as it knows whom to ask", || tetap.get("/").status == 200);
}

#[test]
fn endpoints_that_are_found_are_checked_until_they_leave() {
    let stays = Scripted::answering("well");
    let port = stays.address().port();
    let leaves = Scripted::start_at(&format!("127.0.0.2:{port}"), |talk| {
        while talk.request().is_some_and(|request| talk.answer_to(&request, "well")) {}
    });
    let names = NameServer::start();
    names.set(NAME, 1, &["127.0.0.1", "127.0.0.2"]);
    let discovery = format!("dns: {NAME}, port: {port}, resolver: \"{}\"", names.address());
    let tetap = Tetap::start(&format!(
        "upstreams: {{u: {{discovery: {{{discovery}}}, health_check: {{http: {{}}, interval: 200ms}}}}}}
routes: [{{match: {{path: {{prefix: /}}}}, upstream: u}}]"
    ));
    until("both are checked", || stays.opened() >= 3 && leaves.opened() >= 3);
    names.set(NAME, 1, &["127.0.0.1"]);
    until("one is a member no longer", || updates(&tetap) == 2.0);
    let (others, before) = (stays.opened(), leaves.opened());
    until("the other is still checked", || stays.opened() >= others + 5);
    assert!(leaves.opened() <= before + 1, "who has left is not checked");
}
