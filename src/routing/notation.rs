//! Rules and requests in one line each, for tests.
//!
//! A rule is `HOST PATH [METHOD,METHOD] [Header:value]… [?name=value]…`: the host `*` or `*.x` or a name, the path
//! `/prefix*`, `~regex` or exact. A request is `METHOD HOST PATH [Header:value]… [?query]`, where `-` is no host.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::{Conditions, HostPattern, Lookup, PathPattern, PathRegex, RouteId, Rule};

/// Each rule leads to the route with its own number.
pub(super) fn rules(written: &[&str]) -> Vec<Rule> {
    written.iter().enumerate().map(|(place, text)| rule(text, RouteId(place))).collect()
}

pub(super) fn rule(text: &str, route: RouteId) -> Rule {
    let mut words = text.split(' ');
    let (host, path) = (words.next().unwrap(), words.next().unwrap());
    let mut conditions = Conditions::default();
    words.for_each(|word| condition(word, &mut conditions));
    Rule { host: host_pattern(host), path: path_pattern(path), conditions, route }
}

fn host_pattern(text: &str) -> HostPattern {
    match text.strip_prefix('*') {
        None => HostPattern::Exact(text.to_owned()),
        Some("") => HostPattern::Any,
        Some(parent) => HostPattern::Wildcard(parent[1..].to_owned()),
    }
}

fn path_pattern(text: &str) -> PathPattern {
    match (text.strip_prefix('~'), text.strip_suffix('*')) {
        (Some(pattern), _) => PathPattern::Regex(PathRegex::new(pattern).unwrap()),
        (None, Some(prefix)) => PathPattern::Prefix(prefix.to_owned()),
        (None, None) => PathPattern::Exact(text.to_owned()),
    }
}

fn condition(word: &str, conditions: &mut Conditions) {
    if let Some(parameter) = word.strip_prefix('?') {
        let (name, value) = parameter.split_once('=').unwrap();
        conditions.query.push((name.to_owned(), value.to_owned()));
    } else if word.contains(':') {
        conditions.headers.push(header(word));
    } else {
        conditions.methods.extend(word.split(',').map(|method| method.parse::<Method>().unwrap()));
    }
}

fn header(word: &str) -> (HeaderName, HeaderValue) {
    let (name, value) = word.split_once(':').unwrap();
    (name.parse().unwrap(), value.parse().unwrap())
}

/// Hands the request to `ask`.
pub(super) fn request<T>(text: &str, ask: impl FnOnce(&Lookup<'_>) -> T) -> T {
    let mut words = text.split(' ');
    let method: Method = words.next().unwrap().parse().unwrap();
    let host = words.next().filter(|host| *host != "-").unwrap_or("");
    let path = words.next().unwrap();
    let (queries, headers): (Vec<&str>, Vec<&str>) = words.partition(|word| word.starts_with('?'));
    let query = queries.first().map_or("", |query| &query[1..]);
    let headers: HeaderMap = headers.into_iter().map(header).collect();
    ask(&Lookup { host, path, query, method: &method, headers: &headers })
}
