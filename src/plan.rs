//! The plan: a configuration that is valid and resolved.
//!
//! The configuration mirrors what the operator wrote: names, options, values left out. None of that may reach a
//! request, where a missing name would be a crash and a default looked up twice two defaults. [`compile()`] turns it, in
//! one pure step, into types with nothing left open: every name an index, every default filled in, every route in the
//! [`Table`]. `check`, `run` and the tests call the same function.

pub mod compile;
pub mod diff;
pub mod rewrite;
pub mod upstream;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use ipnet::IpNet;

pub use compile::compile;
pub use diff::diff;
pub use rewrite::Rewrite;
pub use upstream::{
    Check, CheckKind, Endpoint, HttpCheck, Keepalive, Members, Pattern, Sticky, Upstream, UpstreamLimits,
};

use crate::limit::Priority;
use crate::retry;
use crate::routing::{Conditions, HostPattern, PathPattern, Table};

/// Everything that the running proxy does, by index.
#[derive(Debug)]
pub struct Plan {
    /// Where clients connect; at least one.
    pub listeners: Vec<Listener>,
    /// Where operators connect, if anywhere.
    pub admin: Option<SocketAddr>,
    /// Indexed by [`UpstreamId`].
    pub upstreams: Vec<Upstream>,
    /// Indexed by [`RouteId`](crate::routing::RouteId).
    pub routes: Vec<Route>,
    /// Which request belongs to which route.
    pub table: Table,
    /// Whose forwarding headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// One line a request.
    pub access_log: AccessLog,
    /// The processes.
    pub process: Process,
}

/// An upstream's place in [`Plan::upstreams`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UpstreamId(pub usize);

/// Where a listener or an endpoint is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// TCP, IPv4 or IPv6.
    Tcp(SocketAddr),
    /// A unix socket's path.
    Unix(PathBuf),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// One listening socket and what its clients may do.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// From the configuration, or the address.
    pub name: Arc<str>,
    /// Where it listens.
    pub address: Address,
    /// How much one listener, one client, one request may take.
    pub limits: ListenerLimits,
    /// How long a client may take.
    pub timeouts: ListenerTimeouts,
}

/// Bounds of a listener.
#[derive(Clone, Debug, PartialEq)]
pub struct ListenerLimits {
    /// Open connections on this listener.
    pub connections: usize,
    /// Open connections from one address (IPv4) or /64 network (IPv6).
    pub connections_per_ip: Option<usize>,
    /// The kernel's queue of connections not yet accepted (capped by `net.core.somaxconn`).
    pub backlog: u32,
    /// Bytes of request line and header section together; over it 431.
    pub header_bytes: usize,
    /// Header lines; over it 431.
    pub header_count: usize,
    /// Bytes of the request target; over it 414.
    pub uri_bytes: usize,
    /// Bytes of a request body, where bounded; over it 413. A route may say otherwise.
    pub body_bytes: Option<u64>,
}

/// Patience of a listener.
#[derive(Clone, Debug, PartialEq)]
pub struct ListenerTimeouts {
    /// From a request's first byte (or the connection's opening) to the end of its header section.
    pub header: Duration,
    /// Between two requests on one connection.
    pub idle: Duration,
    /// Between two reads of a request body.
    pub read: Duration,
    /// Without any progress while an answer is written.
    pub write: Duration,
}

/// One route: what happens to the requests that [`Plan::table`] gives it.
///
/// Equality is for routes of one plan: an [`UpstreamId`] means another upstream in another plan. Those are compared by
/// [`diff()`].
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// From the configuration, or `route-N` by its position.
    pub name: Arc<str>,
    /// Which requests are meant for it. No request looks at this, for [`Plan::table`] has it in a form to search; it is
    /// here to be compared and told, and boxed so as not to stand between what requests do look at.
    pub matches: Box<Matches>,
    /// What happens.
    pub action: Action,
    /// Overrides [`ListenerLimits::body_bytes`].
    pub body_bytes: Option<u64>,
    /// Applied to the request on its way to the upstream.
    pub request_headers: HeaderEdits,
    /// Applied to the answer on its way to the client.
    pub response_headers: HeaderEdits,
}

/// Which requests are meant for a route: one of the hosts, the path, and all of the conditions.
///
/// What has no order in its meaning is sorted, so that two that mean the same are the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Matches {
    /// At least one.
    pub hosts: Vec<HostPattern>,
    /// In normal form.
    pub path: PathPattern,
    /// Beside host and path.
    pub conditions: Conditions,
}

/// What a route does.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Ask an upstream.
    Forward(Box<Forward>),
    /// Send the client elsewhere.
    Redirect {
        /// The `Location`.
        to: HeaderValue,
        /// 301, 302, 303, 307 or 308.
        status: StatusCode,
    },
    /// Answer from the configuration.
    Respond {
        /// Any final status.
        status: StatusCode,
        /// May be empty.
        body: Bytes,
        /// `Content-Type`.
        content_type: HeaderValue,
    },
}

/// How a request is forwarded. Upstream defaults and the route's own overrides are already one.
#[derive(Clone, Debug, PartialEq)]
pub struct Forward {
    /// Whom to ask.
    pub upstream: UpstreamId,
    /// Changes the path, if anything.
    pub rewrite: Option<Rewrite>,
    /// How long each step may take.
    pub timeouts: Timeouts,
    /// When and how often to ask again.
    pub retry: retry::Policy,
    /// Who is let in first.
    pub priority: Priority,
    /// Tells the endpoint how many milliseconds it has left.
    pub deadline_header: Option<HeaderName>,
}

/// Deadlines towards an upstream.
#[derive(Clone, Debug, PartialEq)]
pub struct Timeouts {
    /// For one connection to open.
    pub connect: Duration,
    /// From the last byte of the request to the end of the answer's head, in one attempt.
    pub response: Duration,
    /// Between two reads or writes once the answer flows.
    pub idle: Duration,
    /// From the request's last byte to the end of the answer's head, all attempts and waits together.
    pub request: Duration,
    /// Without a byte either way on an upgraded (WebSocket) connection.
    pub tunnel: Duration,
}

/// Changes to a header section, applied in this order: remove, set, add.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HeaderEdits {
    /// Taken out, whoever put them in.
    pub remove: Vec<HeaderName>,
    /// Replace what is there.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Stand beside what is there.
    pub add: Vec<(HeaderName, HeaderValue)>,
}

impl HeaderEdits {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }
}

/// The access log.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessLog {
    /// How a line looks.
    pub format: AccessLogFormat,
    /// Where it goes.
    pub output: AccessLogOutput,
}

/// How an access log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessLogFormat {
    /// One JSON object a line.
    Json,
    /// `key=value` pairs after the request line.
    Text,
}

/// Where access log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLogOutput {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// Appended to a file.
    File(PathBuf),
    /// Nowhere.
    Off,
}

/// The processes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Process {
    /// Threads that serve traffic; `None` is one for each core of the machine that it will run on.
    pub threads: Option<usize>,
    /// Workers are processes of their own, under a supervisor.
    pub supervise: bool,
    /// The supervisor's socket for commands, if it was said where.
    pub control: Option<PathBuf>,
    /// Who workers run as.
    pub user: Option<String>,
    /// The file is reloaded when it has changed.
    pub watch: bool,
    /// From the start of a worker until it could serve.
    pub ready_timeout: Duration,
    /// How long an upgraded worker is looked at closely.
    pub probation: Duration,
    /// Most workers that drain at a time.
    pub max_generations: usize,
    /// How long a stopping worker goes on accepting, while `/ready` fails.
    pub lame_duck: Duration,
    /// How long a stopping worker waits for its clients.
    pub drain_timeout: Duration,
}
