//! What the operator writes.
//!
//! A configuration is edited in a hurry, by people who do not know this program by heart. So it is read with two aims:
//! nothing that was written is silently ignored, and everything that is wrong is said at once, with its place.
//!
//! ```text
//! bytes ─ source ─► text ─ outline ─► positions, bounds ─ parse ─► tree ─ check ─► tree that fits the schema ─► Config
//! ```
//!
//! The types below mirror the file key by key; their doc comments are the schema's descriptions and their `Default`s the
//! schema's defaults. What a single key can be wrong about is found here; what needs two keys together (a name that
//! dangles, two listeners on one port) is found by [`plan::compile`](crate::plan::compile()), whose faults
//! [`Loaded::place`] puts at their line and column.

pub mod diagnostic;
pub mod listener;
pub mod map;
pub mod process;
pub mod route;
pub mod schema;
pub mod source;
pub mod suggest;
pub mod units;
pub mod upstream;

mod check;
mod outline;
mod parse;
mod shape;
mod substitute;

use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;

pub use diagnostic::{Fault, KeyPath, Report};
pub use schema::schema;
pub use substitute::Env;

use diagnostic::Diagnostic;
use listener::{Admin, Listener};
use map::Map;
use outline::Outline;
use process::{AccessLog, Process};
use route::Route;
use source::Source;
use units::{Name, Network};
use upstream::Upstream;
use upstream::discovery::EndpointList;

/// One configuration file of tetap, an HTTP reverse proxy.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where clients connect.
    #[schemars(length(min = 1))]
    pub listeners: Vec<Listener>,
    /// Where operators connect: `/live`, `/ready` and `/metrics`. Left out, nothing listens.
    #[serde(default)]
    pub admin: Option<Admin>,
    /// Named groups of servers that answer the same requests.
    #[serde(default)]
    pub upstreams: Map<Name, Upstream>,
    /// What happens to which requests. The most specific match wins, whatever the order in the file: host, then path,
    /// then the number of conditions.
    #[schemars(length(min = 1))]
    pub routes: Vec<Route>,
    /// Peers whose `X-Forwarded-*` and `Forwarded` headers are believed. Left out, nobody's are.
    #[serde(default)]
    #[schemars(extend("uniqueItems" = true))]
    pub trusted_proxies: Vec<Network>,
    /// One line a request.
    #[serde(default)]
    pub access_log: AccessLog,
    /// The processes: a supervisor that owns the sockets, and the workers that serve.
    #[serde(default)]
    pub process: Process,
}

/// A file without a fault of its own, and the places of its keys.
#[derive(Debug)]
pub struct Loaded<T = Config> {
    /// What was written.
    pub config: T,
    name: String,
    outline: Outline,
}

impl<T> Loaded<T> {
    /// Puts faults that were found later at their line and column.
    pub fn place(&self, faults: Vec<Fault>) -> Report {
        Report::new(&self.name, self.outline.place(faults))
    }
}

/// Reads a file. `env` answers `${VAR}`; the program passes the process's environment.
///
/// # Errors
///
/// Everything that is wrong with the file, in the order of its lines.
pub fn load(path: &Path, env: Env<'_>) -> Result<Loaded, Report> {
    from_source(&Source::read(path)?, env)
}

/// Reads a file's text, and nothing more.
///
/// # Errors
///
/// It is no text, or too much of it.
pub fn read_text(path: &Path) -> Result<String, Report> {
    Ok(Source::read(path)?.as_str().to_owned())
}

/// As [`load`], from text that is already there; `name` stands for the file in diagnostics.
///
/// # Errors
///
/// As [`load`].
pub fn from_text(name: &str, text: &str, env: Env<'_>) -> Result<Loaded, Report> {
    from_source(&Source::text(name, text)?, env)
}

/// As [`from_text`], of a file that is nothing but a list of endpoints.
///
/// # Errors
///
/// As [`load`].
pub fn endpoints_from_text(name: &str, text: &str, env: Env<'_>) -> Result<Loaded<EndpointList>, Report> {
    from_source(&Source::text(name, text)?, env)
}

fn from_source<T: JsonSchema + DeserializeOwned>(source: &Source, env: Env<'_>) -> Result<Loaded<T>, Report> {
    let (config, outline) = read(source.as_str(), env).map_err(|all| Report::new(source.name(), all))?;
    Ok(Loaded { config, name: source.name().to_owned(), outline })
}

fn read<T: JsonSchema + DeserializeOwned>(text: &str, env: Env<'_>) -> Result<(T, Outline), Vec<Diagnostic>> {
    let (outline, mut diagnostics) = outline::draw(text).map_err(|diagnostic| vec![diagnostic])?;
    let tree = parse::parse(text).map_err(|diagnostic| vec![diagnostic])?;
    let (tree, faults) = check::check(tree, &schema::of::<T>(), env);
    diagnostics.extend(outline.place(faults));
    if !diagnostics.is_empty() {
        return Err(diagnostics);
    }
    let config = serde_yaml::from_value(tree).map_err(|error| vec![parse::misread(&error)])?;
    Ok((config, outline))
}
