//! `tetap demo`: one command, no files, and a proxy with something behind it to break.
//!
//! Nothing here is a special case for the proxy: the demo writes a configuration as an operator would, and hands it to
//! the same [`config`], [`plan::compile`](crate::plan::compile()) and [`process::run`] as `tetap run` does. Only its ports give
//! way when they are taken.

mod ports;
pub mod sample;
mod servers;
mod welcome;

use std::fmt;
use std::io::{self, Write};
use std::net::SocketAddr;

use crate::config::{self, Report};
use crate::plan::{self, Plan};
use crate::process::{self, RunError};
use servers::{Server, Servers};

/// Where the demo would like to be.
const PROXY_PORT: u16 = 8080;
const ADMIN_PORT: u16 = 9901;

/// Between looking for a free port and listening on it, somebody else may take it: then it is looked for again.
const TRIES: usize = 3;

/// Why there is no demo.
#[derive(Debug)]
pub enum Error {
    /// A sample server cannot be started, or there is no port.
    Start(io::Error),
    /// The demo's own configuration is wrong, which a test rules out.
    Configuration(Report),
    /// As for `tetap run`.
    Run(RunError),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Start(error) => write!(f, "the demo cannot start: {error}"),
            Error::Configuration(report) => report.fmt(f),
            Error::Run(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

/// Runs until it is stopped, and takes the sample servers with it.
///
/// # Errors
/// Something could not be started, or the proxy failed.
pub fn run() -> Result<(), Error> {
    let servers = Servers::start(say).map_err(Error::Start)?;
    for _ in 1..TRIES {
        match serve(&servers.all) {
            Err(Error::Run(RunError::Listen { .. })) => {}
            done => return done,
        }
    }
    serve(&servers.all)
}

fn serve(servers: &[Server]) -> Result<(), Error> {
    let proxy = choose("proxy", PROXY_PORT).map_err(Error::Start)?;
    let admin = choose("admin", ADMIN_PORT).map_err(Error::Start)?;
    let plan = compile(&configuration(proxy, admin, servers)).map_err(Error::Configuration)?;
    let welcome = welcome::text(proxy, admin, servers);
    process::run(plan, &mut |_| say(&welcome)).map_err(Error::Run)
}

fn choose(what: &str, usual: u16) -> io::Result<SocketAddr> {
    let chosen = ports::free(usual)?;
    if chosen.port() != usual {
        say(&format!("port {usual} is taken, so the {what} is on {}", chosen.port()));
    }
    Ok(chosen)
}

/// What an operator would write for these servers.
fn configuration(proxy: SocketAddr, admin: SocketAddr, servers: &[Server]) -> String {
    let endpoints: Vec<_> = servers.iter().map(|server| format!("\"{}\"", server.address)).collect();
    format!(
        r#"listeners: [{{name: demo, address: "{proxy}"}}]
admin: {{address: "{admin}"}}
upstreams:
  api:
    endpoints: [{}]
routes:
  - {{name: api, match: {{path: {{prefix: /}}}}, upstream: api}}
access_log: {{format: text}}
process: {{drain_timeout: 5s}}
"#,
        endpoints.join(", ")
    )
}

fn compile(text: &str) -> Result<Plan, Report> {
    let loaded = config::from_text("demo", text, &|_| None)?;
    plan::compile(&loaded.config).map_err(|faults| loaded.place(faults))
}

/// A terminal that is gone is no reason to end.
fn say(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}
