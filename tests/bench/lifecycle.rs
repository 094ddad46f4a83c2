//! What clients notice when a proxy is reloaded, upgraded, or loses a worker: tetap beside Debian's nginx and
//! haproxy.
//!
//! The same traffic of mixed clients through each, in front of the same two servers;
//! `tests/support/traffic.rs` tells who they are, and what counts as noticed. Each proxy is asked in its own
//! words: tetap by its commands, nginx and haproxy by signals to the master, as their manuals say. The
//! seconds are those until the next event could follow: for an upgrade of nginx, until its former master has
//! gone with the last of its connections. Where a proxy ends with its worker, as haproxy does, it is started
//! again after 100 ms, as systemd would.
//!
//! Arguments choose proxies by name; without any, all are measured. What went wrong is told in words on
//! standard error.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "../support/lib.rs"]
mod support;

use std::net::SocketAddr;

use support::lifecycle::Lifecycle;
use support::server::{Server, doubled_posts};
use support::traffic::{Events, Harm, Traffic};
use support::{Tetap, haproxy, nginx};

/// A proxy's name, and how to start it in front of these servers.
type Candidate = (&'static str, fn(&[SocketAddr]) -> Box<dyn Lifecycle>);

const CANDIDATES: [Candidate; 3] = [
    ("tetap", |servers| Box::new(Tetap::supervised_to(servers, "probation: 1s"))),
    ("nginx", |servers| Box::new(nginx::Master::before(servers))),
    ("haproxy", |servers| Box::new(haproxy::Master::before(servers))),
];

/// An event's name, how often it happens, and what it is.
type Event = (&'static str, usize, fn(&mut dyn Lifecycle) -> Result<(), String>);

const EVENTS: [Event; 3] = [
    ("reload", 50, |proxy| proxy.reload()),
    ("upgrade", 20, |proxy| proxy.upgrade()),
    ("worker crash", 10, |proxy| proxy.crash()),
];

fn main() {
    let chosen: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    print_row(&HEADINGS.map(str::to_owned));
    for (name, start) in CANDIDATES {
        if chosen.is_empty() || chosen.iter().any(|word| word == name) {
            measure(name, start);
        }
    }
}

/// Every event on a proxy of its own, so that none bears the marks of the one before.
fn measure(name: &str, start: fn(&[SocketAddr]) -> Box<dyn Lifecycle>) {
    for (event, times, act) in EVENTS {
        let servers = ["a", "b"].map(Server::start);
        let mut proxy = start(&servers.each_ref().map(Server::address));
        let events = Traffic::mixed().during(proxy.address(), times, || act(proxy.as_mut()));
        print_row(&row(name, event, times, &events, doubled_posts(&servers).len()));
        eprintln!("{name}, {event}: {events}");
    }
}

const HEADINGS: [&str; 13] = [
    "proxy",
    "event",
    "count",
    "sent",
    "failed",
    "refused",
    "dropped",
    "closed under",
    "WebSockets cut",
    "transfers cut",
    "POSTs twice",
    "slowest ms",
    "seconds",
];

/// Failures of other kinds are in the sum, and in words on standard error.
fn row(name: &str, event: &str, times: usize, events: &Events, doubled: usize) -> [String; 13] {
    let Events { toll, took, broken } = events;
    let count = if broken.is_some() { format!("{} of {times}", took.len()) } else { times.to_string() };
    let slowest = toll.latency().max.as_secs_f64() * 1e3;
    [
        name.into(),
        event.into(),
        count,
        toll.sent.to_string(),
        toll.failed().to_string(),
        toll.count(Harm::Refused).to_string(),
        toll.count(Harm::Dropped).to_string(),
        toll.count(Harm::ClosedUnder).to_string(),
        toll.count(Harm::WebSocketCut).to_string(),
        (toll.count(Harm::UploadCut) + toll.count(Harm::DownloadCut)).to_string(),
        doubled.to_string(),
        format!("{slowest:.0}"),
        format!("{:.1}", events.seconds()),
    ]
}

fn print_row(cells: &[String; 13]) {
    let [name, event, numbers @ ..] = cells;
    let numbers: String = numbers.iter().map(|cell| format!(" {cell:>14}")).collect();
    println!("{name:<8} {event:<12}{numbers}");
}
