//! Does the time of a lookup depend on the number of rules?
//!
//! `cargo bench --bench routing` builds tables of 10, 1,000 and 100,000 rules (hosts × paths, exact and prefix mixed,
//! some with conditions) and looks requests up in random order, most of which match. It prints nanoseconds per lookup
//! and the ratio to the smallest table, then the same for regexes. A large table does not fit into the processor's
//! caches, so its ratio is not 1 but that of memory to cache.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::hint::black_box;
use std::time::Instant;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tetap::routing::{Conditions, Found, HostPattern, Lookup, PathPattern, PathRegex, RouteId, Rule, Table};

/// Rules per host: half of them prefixes, half exact paths.
const PATHS_PER_HOST: usize = 10;
/// Lookups per round: few, so that most rounds are not interrupted by whatever else the machine does.
const LOOKUPS: usize = 2_000;
/// Rounds; together they go through all requests several times.
const ROUNDS: usize = 250;
/// Requests drawn beforehand.
const REQUESTS: usize = 100_000;

fn main() {
    println!("{:>9} rules  {:>9}  {:>6}  {:>9}", "", "ns/lookup", "ratio", "build ms");
    let mut smallest = None;
    for rules in [10, 1_000, 100_000] {
        let (nanos, build_millis) = measure(hosts_and_paths(rules), &requests(rules));
        let ratio = nanos / *smallest.get_or_insert(nanos);
        println!("{rules:>9} rules  {nanos:>9.0}  {ratio:>6.2}  {build_millis:>9.1}");
    }
    for (kind, pattern) in [("apart", apart as fn(usize) -> String), ("alike", alike)] {
        for regexes in [1, 10, 100, 1_000] {
            let (nanos, _) = measure(patterns(regexes, pattern), &requests(10));
            println!("{regexes:>9} regexes {kind} {nanos:>9.0}");
        }
    }
}

/// Nanoseconds per lookup, and milliseconds to build the table.
fn measure(rules: Vec<Rule>, requests: &[(String, String)]) -> (f64, f64) {
    let start = Instant::now();
    let table = Table::build(rules).unwrap();
    let build_millis = start.elapsed().as_secs_f64() * 1e3;
    let mut requests = requests.iter().cycle();
    let mut rounds: Vec<f64> = (0..ROUNDS).map(|_| round(&table, requests.by_ref().take(LOOKUPS))).collect();
    rounds.sort_by(f64::total_cmp);
    (rounds[ROUNDS / 4], build_millis)
}

/// Nanoseconds per lookup.
fn round<'a>(table: &Table, requests: impl Iterator<Item = &'a (String, String)>) -> f64 {
    let headers =
        HeaderMap::from_iter([(HeaderName::from_static("x-version"), HeaderValue::from_static("1"))]);
    let start = Instant::now();
    for (host, path) in requests {
        let request = Lookup { host, path, query: "page=2", method: &Method::GET, headers: &headers };
        black_box::<Found>(table.find(black_box(&request)));
    }
    start.elapsed().as_secs_f64() * 1e9 / LOOKUPS as f64
}

fn hosts_and_paths(rules: usize) -> Vec<Rule> {
    (0..rules).map(|place| rule(HostPattern::Exact(host(place)), path(place), place)).collect()
}

fn rule(host: HostPattern, path: PathPattern, place: usize) -> Rule {
    let methods = if place.is_multiple_of(3) { vec![Method::GET, Method::POST] } else { Vec::new() };
    Rule { host, path, conditions: Conditions { methods, ..Conditions::default() }, route: RouteId(place) }
}

fn host(place: usize) -> String {
    format!("tenant-{}.api.example.com", place / PATHS_PER_HOST)
}

fn path(place: usize) -> PathPattern {
    let path = format!("/v1/resource-{}", place % PATHS_PER_HOST);
    if place.is_multiple_of(2) { PathPattern::Prefix(path) } else { PathPattern::Exact(path) }
}

/// Requests spread over all rules. Below an exact path and at an eighth of the hosts there is nothing.
fn requests(rules: usize) -> Vec<(String, String)> {
    let mut random = fastrand::Rng::with_seed(1);
    let mut request = || {
        let place = random.usize(0..rules + rules / 8);
        let below = if place % 4 < 2 { "/items/42" } else { "" };
        (host(place), format!("/v1/resource-{}{below}", place % PATHS_PER_HOST))
    };
    (0..REQUESTS).map(|_| request()).collect()
}

/// Patterns at one host. The requests match none, so that all are tried that have to be.
fn patterns(regexes: usize, pattern: impl Fn(usize) -> String) -> Vec<Rule> {
    let path = |place| PathPattern::Regex(PathRegex::new(&pattern(place)).unwrap());
    (0..regexes).map(|place| rule(HostPattern::Any, path(place), place)).collect()
}

/// Told apart by what they begin with.
fn apart(place: usize) -> String {
    format!("/v1/collection-{place}/[0-9a-f]+(/items)?")
}

/// All begin with `/v1/`, as the requests do, and are tried one by one: the worst case.
fn alike(place: usize) -> String {
    format!("/v1/[a-z]+{place}/[0-9a-f]+(/items)?")
}
