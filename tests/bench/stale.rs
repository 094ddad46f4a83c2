//! What stale keep-alive connections cost: tetap beside Debian's nginx and haproxy, the same bursts through each, in front
//! of the same server, which closes what is idle for 300 ms behind a round trip of 10 ms. `tests/faults/stale.rs` tells why.
//!
//! haproxy loses little once it is told to ask again after an empty answer; but then it asks again whatever the method,
//! and a server that read the POST before it broke off has it twice.
//!
//! Prints the lines of the table; they are also in `target/faults.tsv`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "../support/lib.rs"]
mod support;

#[path = "../faults/bursts.rs"]
mod bursts;

use bursts::{distant, play};
use support::{Haproxy, Nginx, Tetap};

fn main() {
    let (server, relay) = distant(300);
    let tetap = Tetap::to(&[relay.address()]);
    play("idle close at 300 ms: tetap", server, tetap.address("web"), |_| {});
    let (server, relay) = distant(300);
    let nginx = Nginx::before(relay.address());
    play("idle close at 300 ms: nginx", server, nginx.address(), |_| {});
    for (name, options) in [("haproxy", ""), ("haproxy, retry-on", "retry-on conn-failure empty-response")] {
        let (server, relay) = distant(300);
        let haproxy = Haproxy::before(relay.address(), options);
        play(&format!("idle close at 300 ms: {name}"), server, haproxy.address(), |_| {});
    }
}
