//! Keys under `routes`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::map::Map;
use crate::config::units::{
    Duration, HeaderName, HeaderValue, Host, Location, Method, Name, Path, Pattern, Size,
};
use crate::config::upstream::{Backoff, RetryOn};
use crate::limits;

/// Which requests, and what happens to them: exactly one of `upstream`, `redirect` and `respond`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [
    {"required": ["upstream"]},
    {"required": ["redirect"]},
    {"required": ["respond"]},
]))]
pub struct Route {
    /// What it is called in metrics and logs. Left out, `route-N`, counted from 1.
    #[serde(default)]
    pub name: Option<Name>,
    /// Which requests. Left out, all.
    #[serde(default)]
    pub r#match: Match,
    /// Forwards to this upstream.
    #[serde(default)]
    pub upstream: Option<Name>,
    /// Sends the client elsewhere.
    #[serde(default)]
    pub redirect: Option<Redirect>,
    /// Answers from here.
    #[serde(default)]
    pub respond: Option<Respond>,
    /// Changes the path on its way to the upstream.
    #[serde(default)]
    pub rewrite: Option<Rewrite>,
    /// Changes the request's headers on their way to the upstream, in the order remove, set, add.
    #[serde(default)]
    pub request_headers: HeaderEdits,
    /// Changes the answer's headers on their way to the client, in the order remove, set, add.
    #[serde(default)]
    pub response_headers: HeaderEdits,
    /// Instead of the upstream's own, key by key.
    #[serde(default)]
    pub retry: Option<RouteRetry>,
    /// Instead of the upstream's own, key by key.
    #[serde(default)]
    pub timeouts: Option<RouteTimeouts>,
    /// Instead of the listener's own, key by key.
    #[serde(default)]
    pub limits: RouteLimits,
    /// Who is let in first when the upstream is at its limit.
    #[serde(default)]
    pub priority: Priority,
}

/// Which requests: all of the conditions hold.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Match {
    /// One of these hosts. `*.example.com` means every name below, at any depth, but not `example.com` itself.
    pub host: Option<Hosts>,
    /// The path, without the query, compared in normal form: escapes of ordinary characters decoded, `.` and `..`
    /// resolved, runs of `/` merged.
    pub path: Option<PathMatch>,
    /// One of these methods.
    #[schemars(length(min = 1), extend("uniqueItems" = true))]
    pub methods: Option<Vec<Method>>,
    /// Each of these headers, with this very value.
    pub headers: Map<HeaderName, HeaderValue>,
    /// Each of these query parameters, with this very value.
    pub query: Map<String, String>,
}

/// One host or a list of them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Hosts {
    /// Just one.
    One(Host),
    /// Any of these.
    Many(#[schemars(length(min = 1), extend("uniqueItems" = true))] Vec<Host>),
}

impl Hosts {
    /// All of them.
    pub fn as_slice(&self) -> &[Host] {
        match self {
            Hosts::One(host) => std::slice::from_ref(host),
            Hosts::Many(hosts) => hosts,
        }
    }
}

/// Exactly one of `prefix`, `exact` and `regex`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [
    {"required": ["prefix"]},
    {"required": ["exact"]},
    {"required": ["regex"]},
]))]
pub struct PathMatch {
    /// This path and everything below it: `/a` and `/a/` both mean `/a` and `/a/b`, never `/ab`.
    #[serde(default)]
    pub prefix: Option<Path>,
    /// This very path.
    #[serde(default)]
    pub exact: Option<Path>,
    /// The whole path matches this regular expression.
    #[serde(default)]
    pub regex: Option<Pattern>,
}

/// A change of path.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Rewrite {
    /// Of what the route's `prefix` matched.
    Prefix(PrefixRewrite),
    /// Of what a regular expression matches.
    Regex(RegexRewrite),
}

/// Puts another prefix in place of the one that was matched.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PrefixRewrite {
    /// What stands in its place: with `prefix: /` under a match of `/orders/`, `/orders/7` becomes `/7`.
    pub prefix: Path,
}

/// Replaces every match of a regular expression.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RegexRewrite {
    /// What is replaced, anywhere in the path.
    pub regex: Pattern,
    /// The replacement. `$1` or `${1}` stands for a group, and `$${name}` for a named one (`${name}` would be a variable
    /// of the environment).
    pub with: String,
}

/// Sends the client elsewhere.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Redirect {
    /// Where to.
    pub to: Location,
    /// 307 and 308 keep method and body, 301 and 302 may not, 303 means GET; 301 and 308 are remembered by clients.
    #[serde(default = "permanent")]
    #[schemars(extend("enum" = [301, 302, 303, 307, 308]))]
    pub status: u16,
}

fn permanent() -> u16 {
    308
}

/// Answers from the configuration.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Respond {
    /// The status; 204 and 304 have no body.
    #[schemars(range(min = 200, max = 599))]
    pub status: u16,
    /// The body.
    pub body: String,
    /// Its `Content-Type`.
    pub content_type: HeaderValue,
}

impl Default for Respond {
    fn default() -> Respond {
        let content_type = HeaderValue(http::HeaderValue::from_static("text/plain; charset=utf-8"));
        Respond { status: 200, body: String::new(), content_type }
    }
}

/// Changes to a header section, in the order remove, set, add.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HeaderEdits {
    /// Put in place of what is there.
    pub set: Map<HeaderName, HeaderValue>,
    /// Put beside what is there.
    pub add: Map<HeaderName, HeaderValue>,
    /// Taken out.
    #[schemars(extend("uniqueItems" = true))]
    pub remove: Vec<HeaderName>,
}

/// When and how often a request of this route is tried again; see the upstream's `retry`, whose budget counts.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RouteRetry {
    /// How often it is sent, the first time included; 1 means never again.
    #[schemars(range(min = 1, max = limits::ATTEMPTS))]
    pub attempts: Option<u32>,
    /// What is tried again.
    #[schemars(extend("uniqueItems" = true))]
    pub when: Option<Vec<RetryOn>>,
    /// How long one attempt may wait for the head of its answer.
    pub per_try_timeout: Option<Duration>,
    /// How long to wait before an attempt that would come too soon.
    pub backoff: Option<Backoff>,
    /// Whether a request with an `Idempotency-Key` counts as idempotent.
    pub idempotency_key: Option<bool>,
}

/// Who is let in first when an upstream is at its limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Before all others.
    High,
    /// The default.
    #[default]
    Normal,
    /// After all others, and the first to be turned away.
    Low,
}

/// How long each step of a request of this route may take; see the upstream's `timeouts`.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RouteTimeouts {
    /// For one connection to open.
    pub connect: Option<Duration>,
    /// From the last byte of the request to the end of the answer's head, in one attempt.
    pub response: Option<Duration>,
    /// Between two reads or writes once the answer flows.
    pub idle: Option<Duration>,
    /// From the request's last byte to the end of the answer's head, all attempts and waits together.
    pub request: Option<Duration>,
    /// Without a byte either way on an upgraded (WebSocket) connection.
    pub tunnel: Option<Duration>,
}

/// How much one request of this route may take.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RouteLimits {
    /// The request body. Over it: 413.
    pub body: Option<Size>,
}
