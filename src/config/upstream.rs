//! Keys under `upstreams`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::units::{Duration, EndpointAddress};
use crate::limits;

/// A group of servers that answer the same requests.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// The servers.
    #[schemars(length(min = 1))]
    pub endpoints: Vec<Endpoint>,
    /// How one of them is chosen for a request.
    #[serde(default)]
    pub balance: Balance,
    /// What the upstream is asked to bear at most.
    #[serde(default)]
    pub limits: UpstreamLimits,
    /// How often a request is tried.
    #[serde(default)]
    pub retry: Retry,
    /// How long each step may take.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// Idle connections that are kept for the next request.
    #[serde(default)]
    pub keepalive: Keepalive,
}

/// One server: its address, or its address and weight.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Endpoint {
    /// Of weight 1.
    Plain(EndpointAddress),
    /// With a weight of its own.
    Weighted(WeightedEndpoint),
}

/// One server with its share.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WeightedEndpoint {
    /// Where it is.
    pub address: EndpointAddress,
    /// Its share beside its siblings'.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub weight: u32,
}

fn one() -> u32 {
    1
}

/// How a server is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// In turn, as often as the weights say. The default: its shares are exact and anyone can follow them.
    #[default]
    RoundRobin,
    /// By chance, as often as the weights say.
    Random,
    /// The less busy of two that chance picks.
    LeastRequests,
}

/// What the upstream is asked to bear at most.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UpstreamLimits {
    /// Open connections, busy and idle.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections: usize,
    /// Requests under way.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests: usize,
    /// Requests that wait for one of those to end. One more is answered 503; 0 lets none wait.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub pending: usize,
    /// How long one of them waits. After it: 503.
    pub pending_timeout: Duration,
}

impl Default for UpstreamLimits {
    fn default() -> UpstreamLimits {
        UpstreamLimits {
            // One HTTP/1 connection carries one request: the two belong together. Far more than a healthy upstream needs,
            // and few enough that one which hangs does not take the proxy's memory and ports with it.
            connections: 1024,
            requests: 1024,
            // A burst of a quarter of that is smoothed over; more is overload, which a queue only makes worse.
            pending: 256,
            pending_timeout: Duration::from_millis(500),
        }
    }
}

/// How often a request is tried. Only a failed connect is tried again, or an idempotent request whose connection broke
/// before an answer.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    /// In all, the first included; 1 means never again.
    #[schemars(range(min = 1, max = limits::ATTEMPTS))]
    pub attempts: u32,
}

impl Default for Retry {
    fn default() -> Retry {
        // Two servers may be down at the same time; if three are, a fourth attempt is load that nobody needs.
        Retry { attempts: 3 }
    }
}

/// How long each step towards an upstream may take.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// For one connection to open. After it the next server is tried.
    pub connect: Duration,
    /// From the last byte of the request to the first of the answer, in one attempt. After it: 504.
    pub response: Duration,
    /// Between two reads or writes once the answer flows. After it the client's connection is cut.
    pub idle: Duration,
    /// From the request's last byte to the answer's first, all attempts and waits together. After it: 504.
    pub request: Duration,
    /// Without a byte either way on an upgraded (WebSocket) connection.
    pub tunnel: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            // One lost SYN is sent again after 1 s; a server in the same network answers in a millisecond.
            connect: Duration::from_secs(1),
            // Slow reports are honest work; beyond this people reload the page.
            response: Duration::from_secs(15),
            // Streams send a heartbeat every 15 to 30 s.
            idle: Duration::from_secs(60),
            // Two slow attempts.
            request: Duration::from_secs(30),
            // WebSocket libraries ping every 20 to 300 s.
            tunnel: Duration::from_secs(600),
        }
    }
}

/// Idle connections that are kept for the next request.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Keepalive {
    /// Closed after this long without use. Keep it below the servers' own timeout.
    pub idle: Duration,
    /// At most so many per upstream; 0 keeps none.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub connections: usize,
}

impl Default for Keepalive {
    fn default() -> Keepalive {
        Keepalive {
            // Below the 60 s of common servers, so that the proxy closes first and never races a request.
            idle: Duration::from_secs(50),
            connections: 256,
        }
    }
}
