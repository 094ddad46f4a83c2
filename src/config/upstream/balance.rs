//! How a server is chosen: `balance` and `sticky_cookie`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::units::{CookieName, Duration, HeaderName, Secret};

/// How a server is chosen: a word, or `{hash: …}`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Balance {
    /// Without regard to what is asked.
    Word(BalanceWord),
    /// The same server for the same key.
    Hash(HashBy),
}

impl Default for Balance {
    fn default() -> Balance {
        Balance::Word(BalanceWord::RoundRobin)
    }
}

/// How a server is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BalanceWord {
    /// In turn, as often as the weights say. The default: its shares are exact and anyone can follow them.
    RoundRobin,
    /// By chance, as often as the weights say.
    Random,
    /// The less busy of two that chance picks.
    LeastRequests,
    /// The one of two that is likely to answer first: its latest latencies, times the requests that it has.
    Ewma,
}

/// The same server for the same key, as long as it serves; when one goes, only its own keys move.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HashBy {
    /// What the key is.
    pub hash: HashKey,
}

/// Exactly one of `header`, `cookie`, `query`, `client_ip` and `path`. A request without it is sent by chance.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [
    {"required": ["header"]},
    {"required": ["cookie"]},
    {"required": ["query"]},
    {"required": ["client_ip"]},
    {"required": ["path"]},
]))]
pub struct HashKey {
    /// The value of this header.
    #[serde(default)]
    pub header: Option<HeaderName>,
    /// The value of this cookie.
    #[serde(default)]
    pub cookie: Option<CookieName>,
    /// The value of this query parameter.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub query: Option<String>,
    /// The client's address, behind trusted proxies the one that they name. Only `true` makes sense.
    #[serde(default)]
    pub client_ip: Option<bool>,
    /// The path, without the query. Only `true` makes sense.
    #[serde(default)]
    pub path: Option<bool>,
}

/// A signed cookie that says which server a client had.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StickyCookie {
    /// What it is called.
    pub name: CookieName,
    /// Signs it, so that no client can choose its server. The same for all proxies in front of the same servers.
    pub secret: Secret,
    /// How long a client keeps it. Left out, until it is closed.
    #[serde(default)]
    pub ttl: Option<Duration>,
}
