//! Keys under `access_log` and `process`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::units::{Duration, FilePath, Output};

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

/// The processes: a supervisor that owns the sockets, and the workers that serve.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Process {
    /// Threads that serve traffic. Left out, one for each core.
    #[schemars(range(min = 1, max = 1024))]
    pub threads: Option<usize>,
    /// Serve in a process of its own, under a supervisor that replaces it when it crashes, and that can be told to
    /// reload and to upgrade. If not, everything is one process, which can only be stopped.
    pub supervise: bool,
    /// The unix socket at which commands reach the supervisor. Its folder is the supervisor's alone (mode 0700), and is
    /// made if it is missing. Left out, one in the system's folder for such files, after the configuration's path.
    pub control: Option<FilePath>,
    /// Who the workers run as: a user's name. The supervisor, which opens the sockets, goes on as who started it, and that
    /// must be root. This user must be able to read the configuration and write the access log. Left out, workers run as
    /// the supervisor does.
    #[schemars(length(min = 1, max = 64))]
    pub user: Option<String>,
    /// Reload when this file has changed. It is looked at once a second.
    pub watch: bool,
    /// How long a new worker may take until it is ready. After it, it is ended, and nothing has changed.
    pub ready_timeout: Duration,
    /// How long an upgraded worker is watched. If it crashes meanwhile, does not answer its own requests, or fails clearly
    /// more of its clients' than the one before did, the old executable and configuration come back.
    pub probation: Duration,
    /// Workers that may finish their last clients at the same time. With one more, the oldest is ended.
    #[schemars(range(min = 1, max = 16))]
    pub max_generations: usize,
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
            supervise: true,
            control: None,
            user: None,
            // Who edits a file in place would be surprised.
            watch: false,
            // Endpoints are waited for at most ten seconds; a name server that hangs takes some more.
            ready_timeout: Duration::from_secs(30),
            // What a new version does wrong shows in its first requests; nobody likes to wait longer for a command.
            probation: Duration::from_secs(10),
            // Each holds its memory for as long as its slowest client.
            max_generations: 3,
            // Only the operator knows how often the balancer asks, if there is one.
            lame_duck: None,
            // Long enough for a slow answer and its retry, shorter than the patience of most orchestrators.
            drain_timeout: Duration::from_secs(60),
        }
    }
}
