//! Keys under `upstreams`.

pub mod balance;
pub mod discovery;
pub mod health;
pub mod limits;
pub mod retry;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use balance::{Balance, BalanceWord, HashBy, HashKey, StickyCookie};
pub use discovery::{Discovery, Endpoint, FullEndpoint};
pub use health::{Check, Ejection, Status};
pub use limits::{AdaptiveLimit, UpstreamLimits};
pub use retry::{Backoff, Budget, Retry, RetryOn, RetryWord};

use crate::config::units::{Duration, HeaderName, Ratio};
use crate::limits::ENDPOINTS;

/// A group of servers that answer the same requests: exactly one of `endpoints` and `discovery`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [
    {"required": ["endpoints"]},
    {"required": ["discovery"]},
]))]
pub struct Upstream {
    /// The servers.
    #[serde(default)]
    #[schemars(length(min = 1, max = ENDPOINTS))]
    pub endpoints: Option<Vec<Endpoint>>,
    /// Where the list of servers comes from.
    #[serde(default)]
    pub discovery: Option<Discovery>,
    /// How one of them is chosen for a request: a word, or `{hash: …}`.
    #[serde(default)]
    pub balance: Balance,
    /// Sends a client that was given this cookie back to the server that it had before, while that one serves.
    #[serde(default)]
    pub sticky_cookie: Option<StickyCookie>,
    /// Asks every server, whether or not there are requests, how it is. Left out, only requests tell.
    #[serde(default)]
    pub health_check: Option<Check>,
    /// Takes a server out for a while that fails or dawdles on real requests.
    #[serde(default)]
    pub ejection: Ejection,
    /// How long a server that comes (back) takes to get its full share. Left out, it has it at once.
    #[serde(default)]
    pub slow_start: Option<Duration>,
    /// Below this share of servers in good health, those that at least answer are asked as well, rather than melt the
    /// rest. 0% never does.
    #[serde(default = "panic_threshold")]
    pub panic_threshold: Ratio,
    /// What the upstream is asked to bear at most.
    #[serde(default)]
    pub limits: UpstreamLimits,
    /// When and how often a request is tried again.
    #[serde(default)]
    pub retry: Retry,
    /// How long each step may take.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// A header that tells the server how many milliseconds it has left. Left out, none; `grpc-timeout` is always kept
    /// up to date where a client sends it.
    #[serde(default)]
    pub deadline_header: Option<HeaderName>,
    /// Idle connections that are kept for the next request.
    #[serde(default)]
    pub keepalive: Keepalive,
}

/// Half of them: when more than half seem ill, it may be the question that is wrong.
fn panic_threshold() -> Ratio {
    Ratio::from_percent(50)
}

/// How long each step towards an upstream may take.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// For one connection to open. After it the next server is tried.
    pub connect: Duration,
    /// From the last byte of the request to the end of the answer's head, in one attempt. After it: 504.
    pub response: Duration,
    /// Between two reads or writes once the answer flows. After it the client's connection is cut.
    pub idle: Duration,
    /// From the request's last byte to the end of the answer's head, all attempts and waits together. After it: 504.
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
