//! Which route a request belongs to.
//!
//! Routes overlap: `/` is for everything, `/orders/` for a part of it, `/orders/` with `X-Preview: 1` for a part of
//! that. A proxy that takes the first match makes the meaning of a file depend on the order of its lines; one that
//! tries rule after rule gets slower with each. Here **the most specific rule wins**, by one total order, and finding
//! it is a handful of hash lookups, whether there are ten rules or a hundred thousand.
//!
//! # Precedence
//!
//! Of all rules that match a request *wholly*, with host, path and every condition, the first by this order wins:
//!
//! 1. **Host**: exact, then wildcard (the longest first), then any.
//! 2. **Path**: exact, then regex, then prefix (the longest first).
//! 3. **Conditions**: more before fewer. `methods` count as one, each header and each query parameter as one.
//! 4. **Regexes** only: the longer pattern text.
//! 5. A rule that names `HEAD` before one that takes it because it names `GET`.
//! 6. The place in the file.
//!
//! The first three are what an operator has to know. Two rules for one host and one path with equally many conditions
//! are a [`Conflict`], and an error, unless their conditions exclude each other. So the place in the file decides in two
//! corners only: between regexes of equal length, and when a client sends one header or parameter twice and means two
//! rules at once.
//!
//! # Meanings
//!
//! - A **prefix** matches whole segments, as in the Kubernetes Gateway API: `/orders` and `/orders/` are one and the
//!   same prefix, for the path `/orders` and all below `/orders/`, never for `/ordersX`. An **exact** path is itself
//!   only: `/orders/` is not `/orders`. A **regex** matches the whole path.
//! - A **method** `GET` takes `HEAD` too: to the client they are one resource (RFC 9110, section 9.3.2), and every
//!   server must know both (section 9.1).
//! - A **header** condition holds when one of the field's lines is that value; a **query** condition when one of the
//!   parameter's occurrences is, percent-decoded and with `+` as a space.
//! - When nothing matches, but something would with another method, the answer is the list of those methods.
//!
//! Hosts and paths, of rules as of requests, come in normal form: [`host`] and [`hygiene::path`](crate::hygiene::path).
//!
//! # Cost
//!
//! One lookup for an exact host, one per label for wildcards; at each host one lookup for an exact path, one per
//! segment for prefixes, of a path no longer than the longest of them. No allocation. One by one are tried only regexes
//! of one host that begin with the same literal, and rules of one host and path that differ in their conditions.

mod conditions;
mod conflict;
pub mod host;
#[cfg(test)]
mod notation;
mod pattern;
mod prefix_map;
mod query;
#[cfg(test)]
mod reference;
mod site;

use std::collections::HashMap;
use std::iter;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

pub use pattern::PathRegex;
pub use query::parameter;

use site::{Candidate, Site};

/// A route's place in the plan's list of routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteId(pub usize);

/// Hosts that a rule is for, in the normal form of [`host::normalize_host`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// This very name or address (`api.example.com`, `10.0.0.1`, `[::1]`).
    Exact(String),
    /// `*.example.com`, kept as `example.com`: any name below it, at any depth, but not the name itself.
    Wildcard(String),
    /// Any host, or none.
    Any,
}

/// Paths that a rule is for, in the normal form of [`hygiene::path::normalize`](crate::hygiene::path::normalize).
#[derive(Clone, Debug, PartialEq)]
pub enum PathPattern {
    /// This very path.
    Exact(String),
    /// This path and what is below it. A slash at its end says nothing: `/a` and `/a/` are the same prefix.
    Prefix(String),
    /// Paths that match wholly.
    Regex(PathRegex),
}

/// Conditions beside host and path. All must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Any of these; empty means every method. `GET` takes `HEAD` too.
    pub methods: Vec<Method>,
    /// Each with this very value on one of its lines.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Each parameter with this very value in one of its occurrences, after percent-decoding.
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

/// What a table cannot decide, found when it is built. Numbers are places in the list of rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// A request can match both, and neither is more specific.
    Tie {
        /// The earliest rule that `second` ties with.
        first: usize,
        /// The later rule. It stands in one tie only, even if it ties with more.
        second: usize,
    },
    /// No request can ever reach `rule`, because `by` takes them all.
    Shadowed {
        /// Unreachable.
        rule: usize,
        /// More specific, and a match for everything at this host.
        by: usize,
    },
}

/// What routing sees of a request.
#[derive(Clone, Copy, Debug)]
pub struct Lookup<'a> {
    /// In normal form, without port; empty when the request names none.
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
    /// Some rule matches but for its methods: these would be allowed (sorted, no doubles; `HEAD` beside every `GET`).
    MethodNotAllowed(Vec<Method>),
    /// Nothing.
    Nothing,
}

/// All rules, arranged so that finding one does not depend on how many there are.
#[derive(Debug, Default)]
pub struct Table {
    exact: HashMap<Box<str>, Site>,
    wildcards: HashMap<Box<str>, Site>,
    any: Site,
}

impl Table {
    /// Arranges the rules. Takes time in proportion to their number.
    ///
    /// # Errors
    /// All conflicts, in the order of the rules that they are found at (the later rule of a tie).
    pub fn build(rules: Vec<Rule>) -> Result<Table, Vec<Conflict>> {
        let table = Table::arrange(rules);
        let conflicts = conflict::among(table.sites());
        if conflicts.is_empty() { Ok(table) } else { Err(conflicts) }
    }

    /// The route of a request.
    pub fn find(&self, request: &Lookup<'_>) -> Found {
        match self.candidates(request).find(|candidate| candidate.conditions().hold(request)) {
            Some(candidate) => Found::Route(candidate.route),
            None => self.refuse(request),
        }
    }

    fn arrange(rules: Vec<Rule>) -> Table {
        let mut table = Table::default();
        for (place, Rule { host, path, conditions, route }) in rules.into_iter().enumerate() {
            table.site(host).insert(path, Candidate::new(place, conditions, route));
        }
        table.sites_mut().for_each(Site::sort);
        table
    }

    fn site(&mut self, host: HostPattern) -> &mut Site {
        match host {
            HostPattern::Exact(name) => self.exact.entry(name.into()).or_default(),
            HostPattern::Wildcard(parent) => self.wildcards.entry(parent.into()).or_default(),
            HostPattern::Any => &mut self.any,
        }
    }

    fn sites(&self) -> impl Iterator<Item = &Site> {
        self.exact.values().chain(self.wildcards.values()).chain(iter::once(&self.any))
    }

    fn sites_mut(&mut self) -> impl Iterator<Item = &mut Site> {
        self.exact.values_mut().chain(self.wildcards.values_mut()).chain(iter::once(&mut self.any))
    }

    /// Every rule that matches host and path, the most specific first. Lazy: what is not asked for is not looked up.
    fn candidates<'a>(&'a self, request: &Lookup<'a>) -> impl Iterator<Item = &'a Candidate> + use<'a> {
        self.sites_of(request.host).flat_map(|site| site.candidates(request.path))
    }

    fn sites_of(&self, host: &str) -> impl Iterator<Item = &Site> {
        let wildcards = parents(host).filter_map(|parent| self.wildcards.get(parent));
        self.exact.get(host).into_iter().chain(wildcards).chain(iter::once(&self.any))
    }

    /// Nothing matches wholly: would another method?
    #[cold]
    fn refuse(&self, request: &Lookup<'_>) -> Found {
        let refused =
            self.candidates(request).filter(|candidate| candidate.conditions().hold_but_for_method(request));
        let mut methods: Vec<Method> =
            refused.flat_map(|candidate| candidate.conditions().allowed()).collect();
        methods.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        methods.dedup();
        if methods.is_empty() { Found::Nothing } else { Found::MethodNotAllowed(methods) }
    }
}

/// The names above a host, the longest first: `b.c` and `c` for `a.b.c`.
fn parents(host: &str) -> impl Iterator<Item = &str> {
    iter::successors(parent(host), |name| parent(name))
}

fn parent(name: &str) -> Option<&str> {
    name.split_once('.').map(|(_, parent)| parent)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::notation::{request, rules};
    use super::*;

    /// Rules, then requests with the number of the rule that wins.
    type Story = (&'static [&'static str], &'static [(&'static str, usize)]);

    fn check((written, expected): &Story) {
        let table = Table::build(rules(written)).unwrap();
        for (asked, winner) in *expected {
            let found = request(asked, |lookup| table.find(lookup));
            assert_eq!(found, Found::Route(RouteId(*winner)), "{asked} in {written:?}");
        }
    }

    fn found(written: &[&str], asked: &str) -> Found {
        request(asked, |lookup| Table::build(rules(written)).unwrap().find(lookup))
    }

    fn allowed(methods: &[&str]) -> Found {
        Found::MethodNotAllowed(methods.iter().map(|method| method.parse().unwrap()).collect())
    }

    #[test]
    fn hosts_exact_then_longest_wildcard_then_any() {
        check(&(
            &["* /*", "*.x /*", "*.b.x /*", "a.b.x /*"],
            &[
                ("GET a.b.x /", 3),
                ("GET c.b.x /", 2),
                ("GET d.c.b.x /", 2),
                ("GET b.x /", 1),
                ("GET bb.x /", 1),
                ("GET x /", 0),
                ("GET y /", 0),
                ("GET - /", 0),
            ],
        ));
    }

    #[test]
    fn paths_exact_then_regex_then_longest_prefix() {
        check(&(
            &["* /*", "* /a/*", "* /a/b/*", "* ~/a/[bc]+", "* /a/b", "* /a"],
            &[
                ("GET h /a/b", 4),
                ("GET h /a/bc", 3),
                ("GET h /a/b/", 2),
                ("GET h /a/b/c/d", 2),
                ("GET h /a/x", 1),
                ("GET h /a/", 1),
                ("GET h /a", 5),
                ("GET h /ab", 0),
                ("GET h /", 0),
            ],
        ));
    }

    #[test]
    fn a_prefix_is_for_the_path_itself_and_all_below_it() {
        for prefix in ["* /orders/*", "* /orders*"] {
            assert_eq!(found(&[prefix], "GET h /orders"), Found::Route(RouteId(0)), "{prefix}");
            assert_eq!(found(&[prefix], "GET h /orders/"), Found::Route(RouteId(0)), "{prefix}");
            assert_eq!(found(&[prefix], "GET h /orders/1/x"), Found::Route(RouteId(0)), "{prefix}");
            assert_eq!(found(&[prefix], "GET h /ordersX"), Found::Nothing, "{prefix}");
            assert_eq!(found(&[prefix], "GET h /orders%2F1"), Found::Nothing, "{prefix}");
        }
    }

    #[test]
    fn a_wildcard_is_not_for_the_name_itself() {
        assert_eq!(found(&["*.x /*"], "GET x /"), Found::Nothing);
        assert_eq!(found(&["*.b.x /*"], "GET ab.x /"), Found::Nothing);
    }

    #[test]
    fn more_conditions_before_fewer_wherever_they_stand() {
        check(&(
            &["* /*", "* /* X:1", "* /* X:1 ?p=1", "* /* GET,PUT X:1 ?p=1"],
            &[
                ("GET h /", 0),
                ("GET h / X:1", 1),
                ("GET h / ?p=1", 0),
                ("POST h / X:1 ?p=1", 2),
                ("PUT h / X:1 ?p=1", 3),
                ("GET h / X:2 X:1 ?p=2&p=1", 3),
            ],
        ));
    }

    #[test]
    fn a_longer_path_beats_more_conditions_and_an_exact_host_beats_both() {
        check(&(
            &["* /a/*", "* /* X:1", "h /*"],
            &[("GET i /a X:1", 0), ("GET i /b X:1", 1), ("GET h /a X:1", 2)],
        ));
    }

    #[test]
    fn what_does_not_match_at_the_best_host_is_looked_for_at_the_next() {
        check(&(
            &["a.x /a/*", "*.x /b/* X:1", "* /b/*"],
            &[("GET a.x /a", 0), ("GET a.x /b X:1", 1), ("GET a.x /b", 2)],
        ));
    }

    #[test]
    fn regexes_by_conditions_then_length_then_place() {
        check(&(
            &["* ~/a.*", "* ~/aa.*", "* ~/.* X:1", "* ~/(b).*", "* ~/(.)b.*"],
            &[("GET h /ab", 4), ("GET h /aab", 1), ("GET h /aa X:1", 2), ("GET h /bb", 4), ("GET h /b", 3)],
        ));
        check(&(&["* ~/.b", "* ~/a."], &[("GET h /ab", 0)]));
        check(&(&["* ~/a.", "* ~/.b"], &[("GET h /ab", 0)]));
    }

    #[test]
    fn get_takes_head_unless_another_rule_names_it() {
        check(&(&["* /* GET"], &[("HEAD h /", 0)]));
        check(&(&["* /* GET", "* /* HEAD"], &[("HEAD h /", 1), ("GET h /", 0)]));
        check(&(&["* /* HEAD", "* /* GET"], &[("HEAD h /", 0), ("GET h /", 1)]));
    }

    #[test]
    fn a_request_that_means_two_rules_gets_the_first_in_the_file() {
        check(&(&["* /* X:2", "* /* X:1"], &[("GET h / X:1 X:2", 0)]));
    }

    #[test]
    fn another_method_would_do() {
        let written = ["* /a GET", "* /a PUT,GET", "* /a/* DELETE", "* /a POST X:1", "a.x /a PATCH"];
        let unique = [&written[1..], &["* /b/* GET"]].concat();
        assert_eq!(found(&unique, "POST h /a"), allowed(&["DELETE", "GET", "HEAD", "PUT"]));
        assert_eq!(
            found(&unique, "OPTIONS a.x /a X:1"),
            allowed(&["DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"])
        );
        assert_eq!(found(&unique, "GET h /c"), Found::Nothing);
        assert_eq!(
            found(&["* /a POST X:1"], "GET h /a"),
            Found::Nothing,
            "without its header it is not there"
        );
    }

    #[test]
    fn an_empty_table_has_nothing() {
        assert_eq!(found(&[], "GET h /"), Found::Nothing);
    }
}
