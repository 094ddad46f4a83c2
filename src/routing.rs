//! Which route a request belongs to.

pub mod host;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

/// A route's place in the plan's list of routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteId(pub usize);

/// Hosts that a rule is for. Lower case, without port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// This very name or address (`api.example.com`, `10.0.0.1`, `[::1]`).
    Exact(String),
    /// `*.example.com`, kept as `example.com`: any name below it, at any depth, but not the name itself.
    Wildcard(String),
    /// Any host, or none.
    Any,
}

/// Paths that a rule is for, in normal form.
#[derive(Clone, Debug)]
pub enum PathPattern {
    /// This very path.
    Exact(String),
    /// This path and what is below it, on segment borders: `/a` and `/a/` both match `/a` ... see `routing.rs`.
    Prefix(String),
    /// The whole path matches.
    Regex(regex::Regex),
}

/// Conditions beside host and path. All must hold.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    /// Any of these; empty means every method.
    pub methods: Vec<Method>,
    /// Each with this very value.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Each parameter with this very value, after percent-decoding.
    pub query: Vec<(String, String)>,
}

/// One host, one path, and conditions: a route with three hosts makes three rules.
#[derive(Clone, Debug)]
pub struct Rule {
    /// For these hosts.
    pub host: HostPattern,
    /// For these paths.
    pub path: PathPattern,
    /// Under these conditions.
    pub conditions: Conditions,
    /// Leads here.
    pub route: RouteId,
}

/// What a table cannot decide, found when it is built. Indices are places in the list of rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// A request can match both, and neither is more specific.
    Tie { first: usize, second: usize },
    /// No request can ever reach `rule`, because `by` takes them all.
    Shadowed { rule: usize, by: usize },
}

/// What routing sees of a request.
#[derive(Clone, Copy, Debug)]
pub struct Lookup<'a> {
    /// Lower case, without port; empty when the request names none.
    pub host: &'a str,
    /// In normal form.
    pub path: &'a str,
    /// Without `?`; empty when there is none.
    pub query: &'a str,
    /// As sent.
    pub method: &'a Method,
    /// As sent.
    pub headers: &'a HeaderMap,
}

/// The answer of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// This route.
    Route(RouteId),
    /// Some rule matches but for its methods: these would be allowed (sorted, no doubles).
    MethodNotAllowed(Vec<Method>),
    /// Nothing.
    Nothing,
}

/// All rules, arranged so that finding one does not depend on how many there are.
#[derive(Debug)]
pub struct Table {}

impl Table {
    /// Arranges the rules, or says which of them conflict (all conflicts, in the order of the rules).
    pub fn build(_rules: Vec<Rule>) -> Result<Table, Vec<Conflict>> {
        todo!()
    }

    /// The route of a request.
    pub fn find(&self, _request: &Lookup<'_>) -> Found {
        todo!()
    }
}
