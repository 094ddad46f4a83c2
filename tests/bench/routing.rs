//! Does the time of a lookup depend on the number of rules?
//!
//! `cargo bench --bench routing` builds tables of 10, 1,000 and 100,000 rules (hosts × paths, exact and prefix mixed,
//! some with conditions) and looks requests up in random order, three in four that match and one that does not. It
//! prints nanoseconds per lookup and the ratio to the smallest table; regexes, which are tried one by one, apart. A
//! large table does not fit into the processor's caches, so its ratio is not 1 but that of memory to cache.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::hint::black_box;
use std::time::Instant;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tetap::routing::{Conditions, Found, HostPattern, Lookup, PathPattern, PathRegex, RouteId, Rule, Table};

/// Rules per host: half of them prefixes, half exact paths.
const PATHS_PER_HOST: usize = 10;
/// Lookups per round, over requests drawn beforehand.
const LOOKUPS: usize = 1_000_000;
/// Rounds, of which the fastest counts: the others were disturbed.
const ROUNDS: usize = 5;

fn main() {
    println!("{:>9} rules  {:>9}  {:>6}  {:>9}", "", "ns/lookup", "ratio", "build ms");
    let mut smallest = None;
    for rules in [10, 1_000, 100_000] {
        let (nanos, build_millis) = measure(hosts_and_paths(rules), &requests(rules));
        let ratio = nanos / *smallest.get_or_insert(nanos);
        println!("{rules:>9} rules  {nanos:>9.0}  {ratio:>6.2}  {build_millis:>9.1}");
    }
    for regexes in [1, 10, 100, 1_000] {
        let (nanos, build_millis) = measure(patterns(regexes), &requests(10));
        println!("{regexes:>7} regexes  {nanos:>9.0}  {:>6}  {build_millis:>9.1}", "");
    }
}

fn measure(rules: Vec<Rule>, requests: &[(String, String)]) -> (f64, f64) {
    let start = Instant::now();
    let table = Table::build(rules).unwrap();
    let build_millis = start.elapsed().as_secs_f64() * 1e3;
    let fastest = (0..ROUNDS).map(|_| round(&table, requests)).fold(f64::MAX, f64::min);
    (fastest, build_millis)
}

/// Nanoseconds per lookup.
fn round(table: &Table, requests: &[(String, String)]) -> f64 {
    let headers =
        HeaderMap::from_iter([(HeaderName::from_static("x-version"), HeaderValue::from_static("1"))]);
    let start = Instant::now();
    for (host, path) in requests.iter().cycle().take(LOOKUPS) {
        let request = Lookup { host, path, query: "page=2", method: &Method::GET, headers: &headers };
        black_box::<Found>(table.find(black_box(&request)));
    }
    start.elapsed().as_secs_f64() * 1e9 / LOOKUPS as f64
}

fn hosts_and_paths(rules: usize) -> Vec<Rule> {
    (0..rules).map(|place| rule(HostPattern::Exact(host(place)), path(place), place)).collect()
}

fn rule(host: HostPattern, path: PathPattern, place: usize) -> Rule {
    let methods = if place % 3 == 0 { vec![Method::GET, Method::POST] } else { Vec::new() };
    Rule { host, path, conditions: Conditions { methods, ..Conditions::default() }, route: RouteId(place) }
}

fn host(place: usize) -> String {
    format!("tenant-{}.api.example.com", place / PATHS_PER_HOST)
}

fn path(place: usize) -> PathPattern {
    let path = format!("/v1/resource-{}", place % PATHS_PER_HOST);
    if place % 2 == 0 { PathPattern::Prefix(path) } else { PathPattern::Exact(path) }
}

/// Requests spread over all rules. Below an exact path and at an eighth of the hosts there is nothing.
fn requests(rules: usize) -> Vec<(String, String)> {
    let mut random = fastrand::Rng::with_seed(1);
    let mut request = || {
        let place = random.usize(0..rules + rules / 8);
        let below = if place % 4 < 2 { "/items/42" } else { "" };
        (host(place), format!("/v1/resource-{}{below}", place % PATHS_PER_HOST))
    };
    (0..100_000).map(|_| request()).collect()
}

/// Patterns at one host, of which the requests match none: the worst case.
fn patterns(regexes: usize) -> Vec<Rule> {
    let pattern = |place| PathRegex::new(&format!("/v2/collection-{place}/[0-9a-f]+(/items)?")).unwrap();
    (0..regexes).map(|place| rule(HostPattern::Any, PathPattern::Regex(pattern(place)), place)).collect()
}
