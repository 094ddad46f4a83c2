//! Who is asked how often.

use std::time::Duration;

use crate::support::{Scripted, Tetap};

/// Two upstreams, the requests each of them saw.
fn shares(servers: &[Scripted; 2]) -> (usize, usize) {
    (servers[0].count(), servers[1].count())
}

fn pair() -> [Scripted; 2] {
    [Scripted::answering("a"), Scripted::answering("b")]
}

#[test]
fn round_robin_gives_weighted_shares() {
    let servers = pair();
    let [a, b] = servers.each_ref().map(Scripted::address);
    let tetap = Tetap::start(&format!(
        "upstreams: {{u: {{balance: round_robin, endpoints: [{{address: \"{a}\", weight: 3}}, \"{b}\"]}}}}
routes: [{{match: {{path: {{prefix: /}}}}, upstream: u}}]"
    ));
    let mut client = tetap.client();
    assert!((0..40).all(|_| client.get("/").status == 200));
    assert_eq!(shares(&servers), (30, 10));
}

#[test]
fn round_robin_is_the_default() {
    let servers = pair();
    let tetap = Tetap::to(&servers.each_ref().map(Scripted::address));
    let mut client = tetap.client();
    let answers: Vec<_> = (0..6).map(|_| client.get("/").text()).collect();
    assert_eq!(shares(&servers), (3, 3));
    assert!(answers.windows(2).all(|pair| pair[0] != pair[1]), "{answers:?}");
}

#[test]
fn random_is_about_even() {
    let servers = pair();
    let tetap = Tetap::with("", &servers.each_ref().map(Scripted::address), "balance: random");
    let mut client = tetap.client();
    assert!((0..400).all(|_| client.get("/").status == 200));
    let (a, _) = shares(&servers);
    assert!((130..=270).contains(&a), "{a} of 400 is not what chance would do");
}

#[test]
fn least_requests_spares_the_slow_one() {
    let slow = Scripted::start(|talk| {
        while talk.request().is_some() {
            talk.pause(Duration::from_millis(150));
            talk.answer("slow");
        }
    });
    let servers = [slow, Scripted::answering("quick")];
    let tetap = Tetap::with("", &servers.each_ref().map(Scripted::address), "balance: least_requests");
    let address = tetap.address("web");
    let clients: Vec<_> = (0..8)
        .map(|_| {
            std::thread::spawn(move || {
                let mut client = crate::support::Client::connect(address);
                assert!((0..40).all(|_| client.get("/").status == 200));
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    let (slow, quick) = shares(&servers);
    assert_eq!(slow + quick, 320);
    assert!(slow * 4 < quick, "the slow one was asked {slow} times, the quick one {quick}");
}
