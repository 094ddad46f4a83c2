//! What an upstream is asked to bear: `limits`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::units::Duration;

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
    /// Requests that wait for one of those to end, or for a server to come back. One more is answered 503; 0 lets none
    /// wait.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub pending: usize,
    /// How long one of them waits. After it: 503.
    pub pending_timeout: Duration,
    /// Finds out how many requests the upstream bears, and lets in no more. Left out, `requests` alone counts.
    pub adaptive: Option<AdaptiveLimit>,
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
            adaptive: None,
        }
    }
}

/// A limit on requests under way that moves: down while answers take longer than they do without load, up while they do
/// not. It stays between `min` and `requests`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdaptiveLimit {
    /// Never fewer than this.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub min: usize,
    /// Where it begins.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub start: usize,
}

impl Default for AdaptiveLimit {
    fn default() -> AdaptiveLimit {
        // A pool of small servers bears four; twenty is found to be too few or too many within a second or two.
        AdaptiveLimit { min: 4, start: 20 }
    }
}
