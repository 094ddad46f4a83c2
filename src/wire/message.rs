//! The messages themselves.
//!
//! Fields that came later than the first version have a default, so that who does not know them can be understood. Where
//! a message is too long for one frame's descriptors, the sockets come before it, in messages of their own.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::place::{Place, Wanted};
use crate::history::History;

/// The key that names a message's kind.
pub(super) const KIND: &str = "is";

/// Why a worker is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Nobody serves: it takes over at once.
    #[default]
    First,
    /// Another one serves, until this one is ready.
    Successor,
}

/// What of the configuration concerns the supervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// How long a new worker may take until it is ready.
    pub ready_timeout: Duration,
    /// How long an upgraded worker is watched.
    pub probation: Duration,
    /// How long a worker that drains waits for its clients.
    pub drain_timeout: Duration,
    /// How long a stopping worker goes on accepting, while `/ready` says that it will not for long.
    pub lame_duck: Duration,
    /// Most workers that drain at a time.
    pub max_generations: usize,
    /// The configuration file is looked at, and reloaded when it has changed.
    pub watch: bool,
    /// Who workers run as.
    pub user: Option<String>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            ready_timeout: Duration::from_secs(30),
            probation: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(60),
            lame_duck: Duration::ZERO,
            max_generations: 3,
            watch: false,
            user: None,
        }
    }
}

/// How a worker is, and what it has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Health {
    /// It has answered a request of its own.
    pub well: bool,
    /// Requests that it has answered.
    pub requests: u64,
    /// Those of them that failed: 5xx, or no answer at all.
    pub failures: u64,
    /// Open client connections.
    pub connections: u64,
}

/// How a drain has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Drained {
    /// Connections that ended by themselves.
    pub drained: u64,
    /// Connections that were cut because their time was over.
    pub forced: u64,
    /// How long it took.
    pub took: Duration,
}

/// What became of a wish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// It was done; this is what there is to say, as JSON.
    Done(serde_json::Value),
    /// It cannot be done by this worker, but by another one beside it.
    NeedsSwap,
    /// It was not done, and everything is as before. `usage`: the fault is in the configuration.
    Refused {
        /// Why, for people.
        reason: String,
        /// Whether the operator's words are to blame.
        #[serde(default)]
        usage: bool,
    },
}

/// From the supervisor to a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Order {
    /// Sockets, in the order of their places; they come before the message that needs them.
    Sockets {
        /// Where they listen.
        places: Vec<Place>,
    },
    /// Begin. Beside it: the configuration's text if `has_text`, then the estate if `has_estate`.
    Begin {
        /// Its number.
        generation: u64,
        /// The configuration's file.
        config: PathBuf,
        /// Why it is there.
        #[serde(default)]
        role: Role,
        /// Read this text instead of the file.
        #[serde(default)]
        has_text: bool,
        /// What was known before it.
        #[serde(default)]
        has_estate: bool,
        /// Sockets that belong to somebody else, who goes on listening when nobody here does.
        #[serde(default)]
        lent: Vec<Place>,
        /// Somebody has served by this text before: serve, even if not all of it can be done.
        #[serde(default)]
        has_served: bool,
        /// What has happened so far, for the metrics.
        #[serde(default)]
        history: History,
    },
    /// All sockets that were wanted have been sent, or one cannot be had, and none was opened.
    Bound {
        /// Which one, and why not.
        #[serde(default)]
        failed: Option<(Place, String)>,
    },
    /// Take in clients.
    Accept,
    /// Say how you are.
    Ask {
        /// Comes back with the answer.
        id: u64,
    },
    /// Say what you know, for those who come after you.
    Bequeath {
        /// Comes back with the answer.
        id: u64,
    },
    /// Read the configuration again. Beside it: its text if `has_text`.
    Reload {
        /// Comes back with the answer.
        id: u64,
        /// The number of what it is to serve by then.
        #[serde(default)]
        generation: u64,
        /// Use this text instead of the file.
        #[serde(default)]
        has_text: bool,
    },
    /// Say what a reload would change.
    Plan {
        /// Comes back with the answer.
        id: u64,
    },
    /// The reload is known of: what it has left, nobody is to listen on any more.
    Release,
    /// What has happened, for the metrics.
    News {
        /// So far.
        history: History,
    },
    /// Take in nobody more, finish what is under way, and end.
    Drain {
        /// Nobody follows: `/ready` fails, and after this time so do new connections.
        #[serde(default)]
        lame_duck: Option<Duration>,
        /// Sockets that nobody will listen on any more.
        #[serde(default)]
        closing: Vec<Place>,
    },
    /// End now; whoever is connected has so long to hear of it.
    Cut {
        /// Nothing where it is at once.
        #[serde(default)]
        within: Duration,
    },
}

/// From a worker to the supervisor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Report {
    /// The first word.
    Hello {
        /// What it speaks.
        protocol: u32,
        /// Which build it is.
        version: String,
    },
    /// It needs these sockets beside those that it has.
    Bind {
        /// All or none.
        wanted: Vec<Wanted>,
    },
    /// It could serve. Beside it: the configuration's text.
    Prepared {
        /// The sockets that it uses.
        places: Vec<Place>,
        /// What concerns the supervisor.
        settings: Settings,
    },
    /// It serves.
    Serving,
    /// It will not serve, and ends.
    Failed {
        /// Why, for people.
        reason: String,
        /// Whether the operator's words are to blame.
        #[serde(default)]
        usage: bool,
    },
    /// How it is.
    Answer {
        /// Of the question.
        id: u64,
        /// How it is.
        health: Health,
    },
    /// What it knows. Beside it: a file with the estate.
    Estate {
        /// Of the question.
        id: u64,
    },
    /// What became of a reload. Beside it, where it was done: the configuration's text.
    Reloaded {
        /// Of the wish.
        id: u64,
        /// What became of it.
        found: Found,
        /// The sockets that it uses now.
        #[serde(default)]
        places: Vec<Place>,
        /// What concerns the supervisor, where it was done.
        #[serde(default)]
        settings: Option<Settings>,
    },
    /// The answer to a plan.
    Told {
        /// Of the question.
        id: u64,
        /// What there is to say.
        found: Found,
    },
    /// Nobody will be accepted any more: the sockets can be closed.
    Closed,
    /// The last connection is gone.
    Drained {
        /// How it went.
        drained: Drained,
    },
}
