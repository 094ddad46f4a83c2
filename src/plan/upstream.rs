//! Upstreams: who they are, how one of them is chosen, and how they are watched.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use regex::bytes::Regex;

use crate::balance::Balance;
use crate::health;
use crate::limit::adaptive;
use crate::retry::budget;

/// A named group of endpoints that answer the same requests.
#[derive(Clone, Debug, PartialEq)]
pub struct Upstream {
    /// From the configuration.
    pub name: Arc<str>,
    /// Which endpoints there are.
    pub members: Members,
    /// How one of them is chosen.
    pub balance: Balance,
    /// Sends clients back to the endpoint that they had.
    pub sticky: Option<Sticky>,
    /// How endpoints are asked how they are, if they are.
    pub check: Option<Check>,
    /// What takes an endpoint out, and how it comes back.
    pub health: health::Policy,
    /// How much load retries may add.
    pub budget: budget::Policy,
    /// Idle connections that are kept.
    pub keepalive: Keepalive,
    /// What the upstream is asked to bear at most.
    pub limits: UpstreamLimits,
}

/// Which endpoints there are.
#[derive(Clone, Debug, PartialEq)]
pub enum Members {
    /// These; at least one.
    Fixed(Vec<Endpoint>),
    /// The addresses of a name.
    Dns {
        /// Without the final dot.
        name: String,
        /// Of every endpoint.
        port: u16,
        /// Asked instead of the system's.
        resolver: Option<SocketAddr>,
        /// Asked again after so long at most.
        refresh: Duration,
    },
    /// The SRV records of a name.
    Srv {
        /// Without the final dot.
        name: String,
        /// Asked instead of the system's.
        resolver: Option<SocketAddr>,
        /// Asked again after so long at most.
        refresh: Duration,
    },
    /// The list in a file; see [`compile::endpoints`](super::compile::endpoints).
    File {
        /// Where it is.
        path: PathBuf,
        /// Looked at this often.
        refresh: Duration,
    },
}

impl Members {
    /// In words, where they are found; two that are the same find the same. Empty where they are fixed. How often is looked
    /// makes no difference.
    pub fn source(&self) -> String {
        match self {
            Members::Fixed(_) => String::new(),
            Members::Dns { name, port, resolver, refresh: _ } => format!("dns {name} {port} {resolver:?}"),
            Members::Srv { name, resolver, refresh: _ } => format!("srv {name} {resolver:?}"),
            Members::File { path, refresh: _ } => format!("file {}", path.display()),
        }
    }
}

/// One server of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Where it is.
    pub address: SocketAddr,
    /// Its share beside its siblings', 1 to 1000.
    pub weight: u32,
    /// Its rank: what tier 0 cannot carry goes to tier 1, and so on.
    pub tier: u8,
    /// It finishes what it has, and gets nothing more.
    pub drained: bool,
}

/// A signed cookie that says which endpoint a client had.
#[derive(Clone, PartialEq)]
pub struct Sticky {
    /// What it is called.
    pub name: Arc<str>,
    /// Signs it.
    pub secret: Arc<[u8]>,
    /// How long a client keeps it; `None` until it is closed.
    pub ttl: Option<Duration>,
}

impl std::fmt::Debug for Sticky {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sticky").field("name", &self.name).finish_non_exhaustive() // the secret stays one
    }
}

/// How an endpoint is asked how it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// What is asked.
    pub kind: CheckKind,
    /// Asked at this port instead of the one that serves.
    pub port: Option<u16>,
    /// Between two checks, give or take.
    pub interval: Duration,
    /// For a check as a whole.
    pub timeout: Duration,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum CheckKind {
    /// A request.
    Http(Box<HttpCheck>),
    /// A connection.
    Tcp,
    /// `grpc.health.v1.Health/Check`.
    Grpc {
        /// The service; empty for the server as a whole.
        service: Arc<str>,
    },
}

/// A request, and what its answer has to be.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpCheck {
    /// Of the request.
    pub method: Method,
    /// Begins with `/`.
    pub path: String,
    /// `None` stands for the endpoint's address.
    pub host: Option<String>,
    /// Further headers.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Good statuses, from one to another; at least one.
    pub expect: Vec<(u16, u16)>,
    /// What the beginning of a good answer's body has in it.
    pub contains: Option<String>,
    /// What it matches.
    pub matches: Option<Pattern>,
}

/// A regular expression. Two are the same when they are written in the same way.
#[derive(Clone, Debug)]
pub struct Pattern(pub Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

/// Idle connections to an upstream.
#[derive(Clone, Debug, PartialEq)]
pub struct Keepalive {
    /// Closed after this long without use.
    pub idle: Duration,
    /// At most so many per upstream; 0 keeps none.
    pub connections: usize,
}

/// Bounds of an upstream.
#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamLimits {
    /// Open connections, busy and idle.
    pub connections: usize,
    /// Requests under way.
    pub requests: usize,
    /// Requests that wait for one of those to end, or for an endpoint to come back.
    pub pending: usize,
    /// How long one of them waits.
    pub pending_timeout: Duration,
    /// Finds out how many requests the upstream bears.
    pub adaptive: Option<adaptive::Policy>,
}
