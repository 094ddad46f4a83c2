//! Stories: what happens to a client when something goes wrong, told with real listeners and real clocks.
//!
//! Each test is one sentence about the proxy, with an upstream that plays its part and a client that sees bytes.
//! A pause in a script is part of the story; nothing ever sleeps to wait for a result.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/lib.rs"]
mod support;

mod stories {
    mod access_log;
    mod affinity;
    mod balance;
    mod bodies;
    mod clients;
    mod crowds;
    mod deadlines;
    mod discovery;
    mod failover;
    mod grpc;
    mod health;
    mod metrics;
    mod overload;
    mod pool;
    mod retries;
    mod tunnels;
}
