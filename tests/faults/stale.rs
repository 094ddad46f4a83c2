//! Connections that the server closes at the very moment when they are used again.
//!
//! Every HTTP/1 server closes a connection that was idle for long enough, and no HTTP/1 client can know about it until the
//! news arrives. A request that is sent meanwhile is lost with the connection: a GET can be sent again, a POST cannot,
//! since nobody knows whether it was read. Traffic in bursts meets that moment again and again where the pause between
//! bursts is as long as the server's patience, and a network of 10 ms makes the moment ten milliseconds long.
//!
//! There is nothing wrong with any of the parties, so nothing may fail.

use std::net::SocketAddr;
use std::time::Duration;

use super::stage::{alone, assert_honest};
use crate::support::ask::Kind;
use crate::support::load::{Load, Report};
use crate::support::server::Conduct;
use crate::support::{Haproxy, Nginx, Relay, Server, Tetap};

/// There and back again: 10 ms.
const ONE_WAY: Duration = Duration::from_millis(5);

/// 2,100 requests, all of whose connections rest for about as long as the server lets them.
fn bursts() -> Load {
    Load::bursts(50, 42, 290..=310).with_posts(60)
}

fn impatient(idle_ms: u64) -> Conduct {
    Conduct { idle: Duration::from_millis(idle_ms), ..Conduct::GOOD }
}

/// A server that closes what has been idle for so long, and the network before it.
fn distant(idle_ms: u64) -> (Server, Relay) {
    let server = Server::with("a", impatient(idle_ms));
    let relay = Relay::start(server.address(), ONE_WAY);
    (server, relay)
}

/// The bursts through this proxy, while something happens to the server.
fn play(scenario: &str, server: Server, proxy: SocketAddr, script: impl FnOnce(&Server)) -> Report {
    let running = bursts().start(proxy);
    script(&server);
    let report = Report::new(scenario, running.finish(), &[server]);
    report.publish();
    report
}

fn assert_nothing_failed(report: &Report) {
    assert_honest(report);
    for kind in [Kind::Get, Kind::Post] {
        let bad: Vec<_> = report.all(kind).filter(|outcome| !outcome.verdict.is_good()).collect();
        assert!(bad.is_empty(), "{} {kind:?}s failed: {:?}", bad.len(), bad.first());
    }
}

#[test]
fn the_server_closes_what_is_idle_for_as_long_as_the_pauses() {
    let _alone = alone();
    let (server, relay) = distant(300);
    let tetap = Tetap::to(&[relay.address()]);
    let report = play("idle close at 300 ms, bursts every 300 ms", server, tetap.address("web"), |_| {});
    assert_nothing_failed(&report);
}

/// Nobody can know of a change before its first effect. The first burst that meets it may lose POSTs, and teaches; from
/// then on nothing fails.
#[test]
fn the_server_begins_to_close_sooner_than_it_did() {
    let _alone = alone();
    let (server, relay) = distant(2000);
    let tetap = Tetap::to(&[relay.address()]);
    let scenario = "idle close from 2 s to 300 ms at run time";
    let change = Duration::from_secs(4);
    let report = play(scenario, server, tetap.address("web"), |server| {
        std::thread::sleep(change);
        server.behave(impatient(300));
    });
    assert_honest(&report);
    assert!(report.failed(Kind::Get).is_empty(), "{:?}", report.failed(Kind::Get));
    let mut lost: Vec<_> = report.failed(Kind::Post).iter().map(|outcome| outcome.due).collect();
    lost.sort();
    if let (Some(first), Some(last)) = (lost.first(), lost.last()) {
        let taught = Duration::from_millis(100); // less than the pause between two bursts
        assert!(*first + Duration::from_millis(500) > change && *last - *first < taught, "{lost:?}");
    }
}

/// What others make of it. haproxy loses little once it is told to ask again after an empty answer; but then it asks again
/// whatever the method, and a server that read the POST before it broke off has it twice.
#[test]
#[ignore = "a comparison with other proxies, not a test: tests/bench/stale"]
fn the_neighbours() {
    let _alone = alone();
    let (server, relay) = distant(300);
    let nginx = Nginx::before(relay.address());
    play("idle close at 300 ms: nginx", server, nginx.address(), |_| {});
    for (name, options) in [("haproxy", ""), ("haproxy, retry-on", "retry-on conn-failure empty-response")] {
        let (server, relay) = distant(300);
        let haproxy = Haproxy::before(relay.address(), options);
        play(&format!("idle close at 300 ms: {name}"), server, haproxy.address(), |_| {});
    }
}
