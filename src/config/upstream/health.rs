//! How it is found out that a server is ill: `health_check` and `ejection`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::map::Map;
use crate::config::units::{
    Duration, HeaderName, HeaderValue, Host, Method, Path, Pattern, Ratio, StatusRange,
};

/// Asks every server how it is: exactly one of `http`, `tcp` and `grpc`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [
    {"required": ["http"]},
    {"required": ["tcp"]},
    {"required": ["grpc"]},
]))]
pub struct Check {
    /// By a request whose answer is looked at.
    #[serde(default)]
    pub http: Option<HttpCheck>,
    /// By opening a connection.
    #[serde(default)]
    pub tcp: Option<TcpCheck>,
    /// By `grpc.health.v1.Health/Check`.
    #[serde(default)]
    pub grpc: Option<GrpcCheck>,
    /// Asks at this port instead of the one that serves.
    #[serde(default)]
    #[schemars(range(min = 1, max = 65_535))]
    pub port: Option<u16>,
    /// Between two checks, give or take a tenth; a tenth of it while a verdict is in doubt.
    #[serde(default = "interval")]
    pub interval: Duration,
    /// For a check as a whole.
    #[serde(default = "timeout")]
    pub timeout: Duration,
    /// So many good checks in a row bring a server back. The very first check decides alone.
    #[serde(default = "healthy_threshold")]
    #[schemars(range(min = 1, max = 100))]
    pub healthy_threshold: u32,
    /// So many bad ones in a row take it out.
    #[serde(default = "unhealthy_threshold")]
    #[schemars(range(min = 1, max = 100))]
    pub unhealthy_threshold: u32,
}

/// A server that dies is out after 2 s and two quick checks.
fn interval() -> Duration {
    Duration::from_secs(2)
}

/// Ten times what a health check should take.
fn timeout() -> Duration {
    Duration::from_millis(500)
}

/// One good check may be luck.
fn healthy_threshold() -> u32 {
    2
}

/// One bad check may be a lost packet, two a pause of its garbage collector.
fn unhealthy_threshold() -> u32 {
    3
}

/// A request whose answer is looked at.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HttpCheck {
    /// What is asked for. Left out, `/`.
    pub path: Option<Path>,
    /// Left out, GET.
    pub method: Option<Method>,
    /// The `Host`. Left out, the server's address.
    pub host: Option<Host>,
    /// Further headers.
    pub headers: Map<HeaderName, HeaderValue>,
    /// Statuses that are good: numbers and ranges. Left out, 200-299.
    #[schemars(length(min = 1))]
    pub expect: Option<Vec<Status>>,
    /// A good answer has this text in its first 64 KiB.
    #[schemars(length(min = 1))]
    pub body_contains: Option<String>,
    /// A good answer's first 64 KiB match this regular expression.
    pub body_matches: Option<Pattern>,
}

/// A status or a range of them.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Status {
    /// Just one.
    One(#[schemars(range(min = 200, max = 599))] u16),
    /// From one to another.
    Range(StatusRange),
}

/// Opening a connection.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TcpCheck {}

/// `grpc.health.v1.Health/Check`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GrpcCheck {
    /// The service that is asked about. Left out, the server as a whole.
    pub service: String,
}

/// Takes a server out for a while that fails or dawdles on real requests. A failure is a connection that could not be
/// made, broke or timed out, an answer that is not HTTP, and the statuses 502, 503 and 504.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ejection {
    /// So many failures in a row take a server out.
    #[schemars(range(min = 1, max = 1000))]
    pub consecutive_failures: u32,
    /// Such a share of failures within `window` takes it out, too, if there were `min_requests`.
    pub failure_ratio: Ratio,
    /// What `failure_ratio` and `latency` look back on.
    pub window: Duration,
    /// Fewer requests than this within `window` say nothing.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub min_requests: u32,
    /// A server whose average wait for an answer is above this, and above three times its siblings', is out. Left out,
    /// slowness is no reason.
    pub latency: Option<Duration>,
    /// For how long, the first time; twice as long the second, and so on up to ten times.
    pub r#for: Duration,
    /// At most this share of an upstream's servers, rounded down, is out for these reasons at a time. 0% takes out none.
    pub max_ejected: Ratio,
}

impl Default for Ejection {
    fn default() -> Ejection {
        Ejection {
            // Five in a row by chance need a server that fails half of its requests three times in a hundred.
            consecutive_failures: 5,
            failure_ratio: Ratio::from_percent(50),
            window: Duration::from_secs(10),
            // Below it a ratio is an anecdote.
            min_requests: 20,
            latency: None,
            // Longer than a crash takes to mend, shorter than an operator takes to look.
            r#for: Duration::from_secs(10),
            // More than half of the servers are not all wrong: then it is the requests.
            max_ejected: Ratio::from_percent(50),
        }
    }
}
