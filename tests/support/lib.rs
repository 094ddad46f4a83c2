//! What the black-box tests stand on: the built binary, real and scripted upstreams, and a client that sees bytes.
//!
//! A proxy is judged from its two ends. A test that goes through an HTTP library sees what the library makes of the
//! bytes, and libraries repair: they drop a second `Content-Length`, reconnect on a reset, pad a short body's error into
//! a retry. So both ends here are blocking sockets and threads, and nothing is mended: the client sends exactly the
//! bytes of the test and reports how the answer ended, the scripted upstream records exactly what arrived.
//!
//! Where it matters what the kernel does with a server that dies or stops, the servers are processes ([`server`]); where
//! the distance matters, there is a [`relay`]; and where it matters how many notice, a [`load`], or
//! [`traffic`] of many kinds of clients.
//!
//! Every wait has a deadline ([`PATIENCE`]) and no test sleeps to wait for a result: [`eventually`] polls. Everything
//! listens on 127.0.0.1, on ports that [`free_port`] keeps apart between tests that run at the same time.
#![allow(
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

pub mod ask;
pub mod client;
pub mod dns;
pub mod grpc;
pub mod haproxy;
pub mod lifecycle;
pub mod load;
pub mod message;
pub mod metrics;
pub mod nginx;
pub mod parcel;
pub mod port;
pub mod proc;
pub mod process;
pub mod python;
pub mod relay;
pub mod scripted;
pub mod server;
pub mod tetap;
pub mod traffic;
pub mod websocket;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub use client::Client;
pub use grpc::Grpc;
pub use haproxy::Haproxy;
pub use message::{Answer, End, Received};
pub use nginx::Nginx;
pub use port::free_port;
pub use python::Python;
pub use relay::Relay;
pub use scripted::{Scripted, Talk};
pub use server::Server;
pub use tetap::Tetap;
pub use traffic::Traffic;

/// Where everything is built: of a test or example, three folders above.
pub fn target_folder() -> PathBuf {
    std::env::current_exe().unwrap().ancestors().nth(3).unwrap().into()
}

/// A program that was built beside this one, in the same profile: `tetap`, or `examples/…`.
pub fn built(name: &str) -> PathBuf {
    let program = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join(name);
    assert!(program.exists(), "{} is missing: `cargo build --bins --examples` makes it", program.display());
    program
}

/// How long anything may take that is expected to happen. Generous, since tests share two cores; a test that passes
/// never waits for it.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// Polls until `check` yields something; panics with `what` when [`PATIENCE`] is over.
pub fn eventually<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(result) = check() {
            return result;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Polls until `check` holds.
pub fn until(what: &str, mut check: impl FnMut() -> bool) {
    eventually(what, || check().then_some(()));
}

/// What `work` yields, and how long it took.
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed())
}

/// An address of 127.0.0.1 where nobody listens.
pub fn nobody() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

/// Something that scripts wait for until the test says so.
#[derive(Clone, Default)]
pub struct Gate(Arc<AtomicBool>);

impl Gate {
    /// Lets everybody through who waits, now and later.
    pub fn open(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Waits until it is open.
    pub fn wait(&self) {
        until("the gate is opened", || self.0.load(Ordering::SeqCst));
    }
}

/// The standard output of a command that succeeds.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = std::process::Command::new(program).args(arguments).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {arguments:?}: {}\n{stdout}{stderr}", output.status);
    stdout.into_owned()
}

/// Lets this process and its children open so many files, as far as the machine allows.
pub fn allow_files(count: usize) {
    let own = std::process::id().to_string();
    run("prlimit", &["--pid", &own, &format!("--nofile={count}:")]);
}
