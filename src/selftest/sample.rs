//! What clients of this configuration might ask for: for each route a request that is meant for it.
//!
//! A load on `/` alone would test one route of many. A route says of itself whom it is for, so a request can be made of that:
//! the host, or a name below the wildcard; the path, or the shortest one that a pattern takes; the method, headers and query
//! that are wanted. Whether another, more specific route takes it is asked of the routing table itself. Where none of
//! the candidates is this route's own, it is said that it is not covered, and why.

use std::sync::Arc;

use http::{HeaderMap, Method};
use regex_syntax::hir::{Class, Hir, HirKind};

use crate::plan::{Action, Matches, Plan, Route};
use crate::routing::{Found, HostPattern, Lookup, PathPattern, PathRegex, RouteId};

/// Sent where a route takes every host: a name that is nobody's (RFC 2606).
const ANY_HOST: &str = "selftest.invalid";

/// What a request carries that has a body.
const BODY: &str = "selftest";

/// Requests that one route answers.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) route: Arc<str>,
    /// Their heads; none where none could be found.
    pub(super) heads: Vec<Head>,
    pub(super) expected: Expected,
}

/// One request, but for its number.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) method: Method,
    /// For people.
    pub(super) target: String,
    text: Vec<u8>,
}

/// How a route answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Expected {
    /// As our servers do.
    Forwarded,
    /// With this status.
    Status(u16),
}

impl Head {
    /// The whole request of this number.
    pub(super) fn request(&self, id: u64) -> Vec<u8> {
        let body = if has_body(&self.method) { BODY } else { "" };
        let mut request = self.text.clone();
        request.extend(format!("{}: {id}\r\n", super::servers::FIELD).bytes());
        if !body.is_empty() {
            request.extend(format!("Content-Length: {}\r\n", body.len()).bytes());
        }
        request.extend_from_slice(b"\r\n");
        request.extend_from_slice(body.as_bytes());
        request
    }
}

fn has_body(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

/// One for each route, in their order.
pub(super) fn of(plan: &Plan) -> Vec<Sample> {
    plan.routes.iter().enumerate().map(|(number, route)| sample(plan, RouteId(number), route)).collect()
}

fn sample(plan: &Plan, id: RouteId, route: &Route) -> Sample {
    let candidates = candidates(&route.matches);
    let own = |candidate: &Candidate<'_>| plan.table.find(&candidate.lookup()) == Found::Route(id);
    let mut heads: Vec<Head> = Vec::new();
    for candidate in candidates.iter().filter(|candidate| own(candidate)) {
        if heads.iter().all(|head| head.method != candidate.method) {
            heads.push(candidate.head());
        }
    }
    Sample { route: route.name.clone(), heads, expected: expected(&route.action) }
}

fn expected(action: &Action) -> Expected {
    match action {
        Action::Forward(_) => Expected::Forwarded,
        Action::Redirect { status, .. } | Action::Respond { status, .. } => Expected::Status(status.as_u16()),
    }
}

/// A request that a route might be for.
struct Candidate<'m> {
    matches: &'m Matches,
    method: Method,
    host: String,
    path: String,
    query: String,
    headers: HeaderMap,
}

impl Candidate<'_> {
    fn lookup(&self) -> Lookup<'_> {
        let Candidate { method, host, path, query, headers, matches: _ } = self;
        Lookup { host, path, query, method, headers }
    }

    fn head(&self) -> Head {
        let mark = if self.query.is_empty() { "" } else { "?" };
        let target = format!("{}{mark}{}", self.path, self.query);
        let mut text = format!("{} {target} HTTP/1.1\r\nHost: {}\r\n", self.method, self.host).into_bytes();
        for (name, value) in &self.matches.conditions.headers {
            text.extend(format!("{name}: ").bytes());
            text.extend_from_slice(value.as_bytes());
            text.extend_from_slice(b"\r\n");
        }
        Head { method: self.method.clone(), target, text }
    }
}

/// Every combination of a host, a path and a method.
fn candidates(matches: &Matches) -> Vec<Candidate<'_>> {
    let conditions = &matches.conditions;
    let headers: HeaderMap = conditions.headers.iter().cloned().collect();
    let query = conditions.query.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value)));
    let query = query.collect::<Vec<_>>().join("&");
    let paths = paths(&matches.path);
    let mut all = Vec::new();
    for host in matches.hosts.iter().map(host) {
        for path in &paths {
            for method in methods(&conditions.methods) {
                let (host, path, query, headers) =
                    (host.clone(), path.clone(), query.clone(), headers.clone());
                all.push(Candidate { matches, method, host, path, query, headers });
            }
        }
    }
    all
}

fn host(pattern: &HostPattern) -> String {
    match pattern {
        HostPattern::Exact(name) => name.clone(),
        HostPattern::Wildcard(parent) => format!("selftest.{parent}"),
        HostPattern::Any => ANY_HOST.to_owned(),
    }
}

/// Where every method will do: one that may be repeated, and one that must not be.
fn methods(named: &[Method]) -> Vec<Method> {
    if named.is_empty() { vec![Method::GET, Method::POST] } else { named.to_vec() }
}

/// The likeliest first. What cannot stand in a request line is none.
fn paths(pattern: &PathPattern) -> Vec<String> {
    let paths = match pattern {
        PathPattern::Exact(path) => vec![path.clone()],
        PathPattern::Prefix(prefix) => {
            vec![prefix.clone(), format!("{}/selftest", prefix.trim_end_matches('/'))]
        }
        PathPattern::Regex(pattern) => literal(pattern).into_iter().collect(),
    };
    let sendable = |path: &String| path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic());
    paths.into_iter().filter(sendable).collect()
}

/// A short path that the pattern takes.
fn literal(pattern: &PathRegex) -> Option<String> {
    let hir = regex_syntax::parse(pattern.as_str()).ok()?;
    let mut path = String::new();
    spell(&hir, &mut path)?;
    pattern.matches(&path).then_some(path)
}

/// Appends the shortest text, or nearly, that a pattern takes. Borders and the like are left to the whole pattern's judgement.
fn spell(hir: &Hir, out: &mut String) -> Option<()> {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => out.push_str(std::str::from_utf8(&literal.0).ok()?),
        HirKind::Class(class) => out.push(member(class)?),
        HirKind::Repetition(repetition) => {
            (0..repetition.min.min(LONGEST_RUN)).try_for_each(|_| spell(&repetition.sub, out))?;
        }
        HirKind::Capture(capture) => spell(&capture.sub, out)?,
        HirKind::Concat(parts) => parts.iter().try_for_each(|part| spell(part, out))?,
        HirKind::Alternation(parts) => spell(parts.first()?, out)?,
    }
    Some(())
}

/// A pattern with longer runs than this is left uncovered rather than spelt out.
const LONGEST_RUN: u32 = 64;

/// An ordinary character of a class, if it has one.
fn member(class: &Class) -> Option<char> {
    let Class::Unicode(class) = class else { return None };
    let has = |c: &char| class.iter().any(|range| (range.start()..=range.end()).contains(c));
    ('a'..='z').chain('0'..='9').chain('A'..='Z').chain("-_.~!$&'()*+,;=:@/".chars()).find(has)
}

/// As a form encodes it (WHATWG URL, section 5.2), with nothing but letters and digits left as they are.
fn escaped(text: &str) -> String {
    let one = |byte: u8| match byte.is_ascii_alphanumeric() {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{config, plan};

    fn plan(routes: &str) -> Plan {
        let text = format!(
            "listeners: [{{address: 127.0.0.1:1}}]
upstreams: {{u: {{endpoints: [127.0.0.1:2]}}}}
routes: {routes}"
        );
        plan::compile(&config::from_text("t", &text, &|_| None).unwrap().config).unwrap()
    }

    fn requests(routes: &str) -> Vec<Vec<String>> {
        let text = |head: &Head| String::from_utf8(head.text.clone()).unwrap().replace("\r\n", "|");
        of(&plan(routes)).iter().map(|sample| sample.heads.iter().map(text).collect()).collect()
    }

    #[test]
    fn a_request_is_made_of_what_a_route_is_for() {
        let routes = r#"
          - {match: {host: a.test, path: {exact: /a}, methods: [PUT], headers: {X-V: "2"}, query: {"q b": "1&"}}, upstream: u}
          - {match: {host: "*.b.test"}, respond: {status: 204}}
          - {match: {path: {regex: "/c/[0-9]{3}(-x)?/(d|e)"}, methods: [GET]}, upstream: u}"#;
        let expected: [&[&str]; 3] = [
            &["PUT /a?q%20b=1%26 HTTP/1.1|Host: a.test|x-v: 2|"],
            &["GET / HTTP/1.1|Host: selftest.b.test|", "POST / HTTP/1.1|Host: selftest.b.test|"],
            &["GET /c/000/d HTTP/1.1|Host: selftest.invalid|"],
        ];
        assert_eq!(requests(routes), expected);
    }

    #[test]
    fn what_another_route_takes_is_not_asked_for() {
        let routes = "
          - {match: {path: {prefix: /a}}, upstream: u}
          - {match: {path: {exact: /a}}, respond: {status: 204}}
          - {match: {path: {exact: /a/selftest}, methods: [POST]}, respond: {status: 204}}";
        let taken = requests(routes);
        assert_eq!(taken[0], ["GET /a/selftest HTTP/1.1|Host: selftest.invalid|"]);
    }
}
