//! When a request is tried again: `retry`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::units::{Duration, Ratio};
use crate::limits;

/// When and how often a request is tried again. Whatever this says, a request that may have reached a server is sent
/// again only if its method is idempotent, and never once a byte of an answer has reached the client.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    /// How often it is sent, the first time included; 1 means never again. Servers that refuse the connection, which cost
    /// nothing, are passed over as often, and then waited for.
    #[schemars(range(min = 1, max = limits::ATTEMPTS))]
    pub attempts: u32,
    /// What is tried again. `connect`: no connection, so that nothing was sent. `reset`: it broke before an answer,
    /// or what came is none. `timeout`: no answer in time. A number: an answer with this status.
    #[schemars(extend("uniqueItems" = true))]
    pub when: Vec<RetryOn>,
    /// How long one attempt may wait for the head of its answer, where that is less than `timeouts.response`.
    pub per_try_timeout: Option<Duration>,
    /// How long to wait before a server is asked for the second time, or after an answer that says that it is busy.
    pub backoff: Backoff,
    /// How many attempts may be made again: what keeps retries from melting what is left.
    pub budget: Budget,
    /// Whether a request with an `Idempotency-Key` counts as idempotent, whatever its method. Only where the servers
    /// really look at it.
    pub idempotency_key: bool,
}

impl Default for Retry {
    fn default() -> Retry {
        use RetryWord::{Connect, Reset, Timeout};
        let words = [Connect, Reset, Timeout].map(RetryOn::Word);
        Retry {
            // Two servers may be down at the same time; if three are, a fourth attempt is load that nobody needs.
            attempts: 3,
            // The statuses by which a gateway or an overloaded server says that another one might do better.
            when: words.into_iter().chain([502, 503, 504].map(RetryOn::Status)).collect(),
            per_try_timeout: None,
            backoff: Backoff::default(),
            budget: Budget::default(),
            idempotency_key: false,
        }
    }
}

/// A reason to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RetryOn {
    /// An answer with this status.
    Status(#[schemars(range(min = 400, max = 599))] u16),
    /// No answer at all.
    Word(RetryWord),
}

/// Why there was no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RetryWord {
    /// No connection.
    Connect,
    /// It broke, or what came is no answer.
    Reset,
    /// It took too long.
    Timeout,
}

/// A random wait between nothing and `base`, twice that the next time, and so on up to `max`: proxies that failed
/// together do not come back together.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Backoff {
    /// The longest first wait.
    pub base: Duration,
    /// The longest wait at all.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Backoff {
        // Shorter than a person notices; ten times that for a server that has to breathe.
        Backoff { base: Duration::from_millis(25), max: Duration::from_millis(250) }
    }
}

/// How many attempts may be made again, over the last ten seconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Budget {
    /// A share of the requests that came.
    pub ratio: Ratio,
    /// And so many a second, however few requests there are.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub min_per_second: u32,
}

impl Default for Budget {
    fn default() -> Budget {
        // A fifth more load is borne by an upstream that has lost one of six.
        Budget { ratio: Ratio::from_percent(20), min_per_second: 10 }
    }
}
