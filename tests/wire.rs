//! Bytes in, bytes out: what a client sends against what an upstream receives, and the other way round.
//!
//! A request that two parsers read differently is the root of smuggling, so these tables name every byte. Each row says
//! which section of which RFC it holds the proxy to; a row that must be refused also says that nothing of it ever
//! reached the upstream. One proxy serves a whole table, each row has a connection of its own, and all rows that fail
//! are printed together.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/lib.rs"]
mod support;

mod wire {
    mod actions;
    mod answers;
    mod connections;
    mod fields;
    mod forwarding;
    mod framing;
    mod limits;
    mod row;
    mod targets;
    mod tunnels;
}
