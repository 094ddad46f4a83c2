//! Keys under `access_log` and `process`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::units::{Duration, Output};

/// One line a request.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AccessLog {
    /// How a line looks.
    pub format: Format,
    /// Where it goes: `stdout`, `stderr`, `off` or a file's path. A slow disk never delays a request; lines are dropped
    /// and counted instead.
    pub output: Output,
}

impl Default for AccessLog {
    fn default() -> AccessLog {
        // What a container's runtime collects, in the form that log stores read.
        AccessLog { format: Format::Json, output: Output::Stdout }
    }
}

/// How an access log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// One JSON object.
    Json,
    /// For the eye: the request line and `key=value` pairs.
    Text,
}

/// The worker itself.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Process {
    /// Threads that serve traffic. Left out, one for each core.
    #[schemars(range(min = 1, max = 1024))]
    pub threads: Option<usize>,
    /// How long a stopping worker goes on accepting while `/ready` fails already, so that load balancers can take it out
    /// first. Left out, not at all.
    pub lame_duck: Option<Duration>,
    /// How long a stopping worker waits for its clients, once it accepts no more. It ends as soon as the last one is gone.
    /// WebSockets and answers that still go on are ended one by one in the last part of this time.
    pub drain_timeout: Duration,
}

impl Default for Process {
    fn default() -> Process {
        Process {
            threads: None,
            // Only the operator knows how often the balancer asks, if there is one.
            lame_duck: None,
            // Long enough for a slow answer and its retry, shorter than the patience of most orchestrators.
            drain_timeout: Duration::from_secs(60),
        }
    }
}
