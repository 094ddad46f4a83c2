//! What has happened to the processes: counted by the supervisor, which outlives all others, and shown by whichever worker
//! serves, in its metrics. So it is one thing, in words that both have.

use serde::{Deserialize, Serialize};

/// What has happened to the process as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// Reloads that were done.
    pub reloads: u64,
    /// Reloads that were refused.
    pub reloads_refused: u64,
    /// The last reload was done, or there was none.
    pub reload_stands: bool,
    /// Upgrades that were done.
    pub upgrades: u64,
    /// Upgrades that were not, or were taken back.
    pub upgrades_failed: u64,
    /// Those of them that were taken back after they had served.
    pub rollbacks: u64,
    /// Workers that ended without having been told to.
    pub crashes: u64,
    /// Workers that drain at present.
    pub draining: u64,
}

impl Default for History {
    /// Nothing has happened yet.
    fn default() -> History {
        History {
            reloads: 0,
            reloads_refused: 0,
            reload_stands: true,
            upgrades: 0,
            upgrades_failed: 0,
            rollbacks: 0,
            crashes: 0,
            draining: 0,
        }
    }
}
