//! The API server of the tests: `api_server ROLE`, the role as `support::Server` writes it.
#![allow(clippy::expect_used)]

#[path = "../lib.rs"]
mod support;

fn main() {
    let role = std::env::args().nth(1).expect("usage: api_server ROLE");
    support::server::serve(&role);
}
