//! Connections that the server closes at the very moment when they are used again.
//!
//! Every HTTP/1 server closes a connection that was idle for long enough, and no HTTP/1 client can know about it until the
//! news arrives. A request that is sent meanwhile is lost with the connection: a GET can be sent again, a POST cannot,
//! since nobody knows whether it was read. Traffic in bursts meets that moment again and again where the pause between
//! bursts is as long as the server's patience, and a network of 10 ms makes the moment ten milliseconds long.
//!
//! There is nothing wrong with any of the parties, so nothing may fail.

use std::time::Duration;

use super::bursts::{distant, impatient, play};
use super::stage::{alone, assert_honest};
use crate::support::Tetap;
use crate::support::ask::Kind;
use crate::support::load::Report;

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
