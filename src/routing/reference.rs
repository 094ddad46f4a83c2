//! Routing as a child would do it: look at every rule, keep those that match, take the first by precedence.
//!
//! Slow, and too short to be wrong in the ways in which the table could be. Random rules and requests must get the
//! same answer from both.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::cmp::Reverse;

use http::Method;
use proptest::prelude::*;

use super::notation::{request, rule};
use super::{Conditions, Conflict, Found, HostPattern, Lookup, PathPattern, RouteId, Rule, Table};

fn find(rules: &[Rule], request: &Lookup<'_>) -> Found {
    let here = || rules.iter().enumerate().filter(|(_, rule)| matches_but_for_method(rule, request));
    let winner = here()
        .filter(|(_, rule)| allows(&rule.conditions, request.method))
        .min_by_key(|(at, rule)| rank(*at, rule));
    if let Some((_, rule)) = winner {
        return Found::Route(rule.route);
    }
    let named: Vec<Method> = here().flat_map(|(_, rule)| rule.conditions.methods.clone()).collect();
    let mut words: Vec<String> = named.iter().map(|method| method.to_string()).collect();
    if named.contains(&Method::GET) {
        words.push("HEAD".to_owned());
    }
    words.sort();
    words.dedup();
    if words.is_empty() {
        return Found::Nothing;
    }
    Found::MethodNotAllowed(words.iter().map(|word| word.parse().unwrap()).collect())
}

fn matches_but_for_method(rule: &Rule, request: &Lookup<'_>) -> bool {
    let host = match &rule.host {
        HostPattern::Exact(name) => request.host == name,
        HostPattern::Wildcard(parent) => request.host.ends_with(&format!(".{parent}")),
        HostPattern::Any => true,
    };
    let path = match &rule.path {
        PathPattern::Exact(path) => request.path == path,
        PathPattern::Regex(pattern) => pattern.matches(request.path),
        PathPattern::Prefix(prefix) => {
            let prefix = prefix.trim_end_matches('/');
            request.path == prefix || request.path.starts_with(&format!("{prefix}/"))
        }
    };
    host && path && fields_match(&rule.conditions, request)
}

fn fields_match(conditions: &Conditions, request: &Lookup<'_>) -> bool {
    let sent: Vec<(String, String)> = request
        .query
        .split('&')
        .map(|parameter| parameter.split_once('=').unwrap_or((parameter, "")))
        .map(|(name, value)| (name.replace("%70", "p"), value.replace('+', " ")))
        .collect();
    conditions.query.iter().all(|parameter| sent.contains(parameter))
        && conditions
            .headers
            .iter()
            .all(|field| request.headers.iter().any(|line| line == (&field.0, &field.1)))
}

fn allows(conditions: &Conditions, method: &Method) -> bool {
    let methods = &conditions.methods;
    methods.is_empty()
        || methods.contains(method)
        || (method == Method::HEAD && methods.contains(&Method::GET))
}

/// The order of precedence, as `routing.rs` states it; the smallest wins.
fn rank(place: usize, rule: &Rule) -> impl Ord + use<> {
    let host = match &rule.host {
        HostPattern::Exact(_) => (0, Reverse(0)),
        HostPattern::Wildcard(parent) => (1, Reverse(parent.len())),
        HostPattern::Any => (2, Reverse(0)),
    };
    let (path, text) = match &rule.path {
        PathPattern::Exact(_) => ((0, Reverse(0)), 0),
        PathPattern::Regex(pattern) => ((1, Reverse(0)), pattern.as_str().len()),
        PathPattern::Prefix(prefix) => ((2, Reverse(prefix.trim_end_matches('/').len())), 0),
    };
    let Conditions { methods, headers, query } = &rule.conditions;
    let conditions = usize::from(!methods.is_empty()) + headers.len() + query.len();
    (host, path, Reverse(conditions), Reverse(text), Reverse(methods.contains(&Method::HEAD)), place)
}

/// The later rules of all ties, by comparing each with each. Written on what is allowed, not on what excludes.
fn tied(rules: &[Rule]) -> Vec<usize> {
    let ties = |at: usize| (0..at).any(|before| tie(&rules[before], &rules[at]));
    (0..rules.len()).filter(|at| ties(*at)).collect()
}

fn tie(one: &Rule, other: &Rule) -> bool {
    let path = |rule: &Rule| match &rule.path {
        PathPattern::Exact(path) => format!("={path}"),
        PathPattern::Regex(pattern) => format!("~{}", pattern.as_str()),
        PathPattern::Prefix(prefix) => format!("^{}", prefix.trim_end_matches('/')),
    };
    let (a, b) = (&one.conditions, &other.conditions);
    let headers = |(name, value)| b.headers.iter().all(|(n, v)| n != name || v == value);
    let query = |(name, value)| b.query.iter().all(|(n, v)| n != name || v == value);
    let methods =
        a.methods.is_empty() || b.methods.is_empty() || a.methods.iter().any(|m| b.methods.contains(m));
    one.host == other.host
        && path(one) == path(other)
        && a.count() == b.count()
        && a.headers.iter().map(|(n, v)| (n, v)).all(headers)
        && a.query.iter().map(|(n, v)| (n, v)).all(query)
        && methods
}

/// One of some words, so few that random rules and requests meet often.
fn word(words: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    proptest::sample::select(words)
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let host = word(&["*", "*", "*.x", "*.b.x", "x", "b.x", "a.b.x"]);
    let path = word(&[
        "/", "/a", "/a/", "/a/b", "/*", "/a*", "/a/*", "/a/b*", "/a/b/c*", "/ab*", "~/a.*", "~/a/[bc]",
        "~(/a)+", "~/[ab]+", "~/.*b",
    ]);
    let methods = word(&["", "", " GET", " HEAD", " POST", " GET,POST", " HEAD,PUT"]);
    let headers = word(&["", "", " X:1", " X:2", " Y:1", " X:1 Y:1"]);
    let query = word(&["", "", " ?p=1", " ?p=2", " ?q=", " ?p=1 ?q="]);
    (host, path, methods, headers, query)
        .prop_map(|(host, path, methods, headers, query)| format!("{host} {path}{methods}{headers}{query}"))
        .prop_map(|text| rule(&text, RouteId(0)))
}

fn any_rules() -> impl Strategy<Value = Vec<Rule>> {
    proptest::collection::vec(any_rule(), 0..40).prop_map(|mut rules| {
        rules.iter_mut().enumerate().for_each(|(place, rule)| rule.route = RouteId(place));
        rules
    })
}

fn any_request() -> impl Strategy<Value = String> {
    let method = word(&["GET", "HEAD", "POST", "PUT", "DELETE"]);
    let host = word(&["-", "x", "b.x", "a.b.x", "c.b.x", "d.c.b.x", "bb.x", "y", "xx"]);
    let path =
        word(&["/", "/a", "/a/", "/ab", "/a/b", "/a/c", "/a/b/", "/a/b/c", "/a/a/a/a", "/b", "/a/bb/c/d"]);
    let headers = word(&["", " X:1", " X:2", " Y:1", " X:1 Y:1", " X:1 X:2", " X:1,2"]);
    let query = word(&["", " ?p=1", " ?p=2", " ?%70=1&q", " ?q=", " ?p=1&p=2&q=1", " ?p=11"]);
    (method, host, path, headers, query)
        .prop_map(|(method, host, path, headers, query)| format!("{method} {host} {path}{headers}{query}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_table_answers_as_the_reference_does(
        rules in any_rules(),
        requests in proptest::collection::vec(any_request(), 20),
    ) {
        let table = Table::arrange(rules.clone());
        for asked in requests {
            let (found, expected) = request(&asked, |lookup| (table.find(lookup), find(&rules, lookup)));
            prop_assert_eq!(found, expected, "{}", asked);
        }
    }

    #[test]
    fn the_ties_are_those_of_the_reference(rules in any_rules()) {
        let conflicts = Table::build(rules.clone()).err().unwrap_or_default();
        let seconds: Vec<usize> = conflicts.iter().filter_map(|conflict| match conflict {
            Conflict::Tie { second, .. } => Some(*second),
            Conflict::Shadowed { .. } => None,
        }).collect();
        prop_assert_eq!(seconds, tied(&rules));
        for conflict in conflicts {
            if let Conflict::Tie { first, second } = conflict {
                prop_assert_eq!((0..second).find(|at| tie(&rules[*at], &rules[second])), Some(first));
            }
        }
    }
}
