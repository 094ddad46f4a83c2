//! Keys under `listeners` and `admin`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::units::{AdminAddress, Duration, ListenAddress, Name, Size};
use crate::limits;

/// One listening socket.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// What it is called in metrics and logs. Left out, the address.
    #[serde(default)]
    pub name: Option<Name>,
    /// Where it listens: `host:port`, `[v6]:port` (IPv6 only) or `unix:/path`.
    pub address: ListenAddress,
    /// How much one listener, one client, one request may take.
    #[serde(default)]
    pub limits: ListenerLimits,
    /// How long a client may take.
    #[serde(default)]
    pub timeouts: ListenerTimeouts,
}

/// How much one listener, one client, one request may take.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ListenerLimits {
    /// Open connections on this listener. One more is answered 503 and closed.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections: usize,
    /// Open connections from one IPv4 address or one IPv6 /64 network. Left out, no bound.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections_per_ip: Option<usize>,
    /// Connections that the kernel queues until they are accepted; it caps this at `net.core.somaxconn`.
    #[schemars(range(min = 1, max = 65_535))]
    pub backlog: u32,
    /// Request line and header section together. Over it: 431.
    #[schemars(extend("x-min" = 1024, "x-max" = limits::HEADER_BYTES))]
    pub header: Size,
    /// Header lines of a request. Over it: 431.
    #[schemars(range(min = 1, max = limits::HEADER_COUNT))]
    pub header_count: usize,
    /// The request target. Over it: 414.
    #[schemars(extend("x-min" = 64, "x-max" = limits::URI_BYTES))]
    pub uri: Size,
    /// The request body. Over it: 413. Left out, no bound; a route may say otherwise.
    pub body: Option<Size>,
}

impl Default for ListenerLimits {
    fn default() -> ListenerLimits {
        ListenerLimits {
            // An idle connection takes about 3 KiB, a busy one about 40 KiB: 800 MiB if all of them are busy.
            connections: 20_000,
            // Whole offices stand behind one address; only the operator knows the clients.
            connections_per_ip: None,
            // A burst while the accept loop is busy; also the default of net.core.somaxconn since Linux 5.4.
            backlog: 4096,
            // Cookies and bearer tokens of several KiB are common; nginx allows four lines of 8 KiB.
            header: Size::from_bytes(32 * 1024),
            // Browsers send about 20.
            header_count: 100,
            // RFC 9110, section 4.1, recommends at least 8000 octets.
            uri: Size::from_bytes(8 * 1024),
            // Bodies are streamed and cost no memory, and uploads have no natural size.
            body: None,
        }
    }
}

/// How long a client may take.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ListenerTimeouts {
    /// From the first byte of a request to the end of its header section, however slowly the bytes come. After it: 408.
    pub header: Duration,
    /// Between two requests on one connection. After it the connection is closed.
    pub idle: Duration,
    /// Between two reads of a request body. After it: 408.
    pub read: Duration,
    /// Without the client taking any of its answer. After it the connection is cut.
    pub write: Duration,
}

impl Default for ListenerTimeouts {
    fn default() -> ListenerTimeouts {
        ListenerTimeouts {
            // A header fits in a few packets: enough for several retransmissions, too little for a slow-header attack.
            header: Duration::from_secs(10),
            // Longer than the 60 s of common load balancers, so that they close first and never race a request.
            idle: Duration::from_secs(75),
            // A mobile client that changes cells is silent for some seconds.
            read: Duration::from_secs(30),
            write: Duration::from_secs(30),
        }
    }
}

/// Where operators connect.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// Where it listens. There is no password: choose a loopback or internal address.
    pub address: AdminAddress,
}
