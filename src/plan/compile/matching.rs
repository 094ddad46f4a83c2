//! The table of routes, and what it says about routes that get in each other's way.

use std::collections::HashSet;
use std::sync::Arc;

use crate::config::route::{self, Hosts};
use crate::config::units::{Host, Method};
use crate::config::{Fault, KeyPath};
use crate::plan::Matches;
use crate::routing::{Conditions, Conflict, HostPattern, PathPattern, RouteId, Rule, Table};

/// Which requests a route is for, without what only the order of the file's lines says.
pub fn of_route(wanted: &route::Match, path: PathPattern) -> Matches {
    // The path comes from the caller, in normal form.
    let route::Match { host, path: _, methods, headers, query } = wanted;
    let mut conditions = Conditions {
        methods: methods.iter().flatten().map(|Method(method)| method.clone()).collect(),
        headers: headers.iter().map(|(name, value)| (name.name.clone(), value.0.clone())).collect(),
        query: query.0.clone(),
    };
    conditions.methods.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    conditions.headers.sort_by(|(a, _), (b, _)| a.as_str().cmp(b.as_str()));
    conditions.query.sort();
    Matches { hosts: hosts(host.as_ref()), path: without_last_slash(path), conditions }
}

fn hosts(wanted: Option<&Hosts>) -> Vec<HostPattern> {
    let mut hosts: Vec<_> = wanted.map_or(&[][..], Hosts::as_slice).iter().map(pattern).collect();
    hosts.sort();
    if hosts.is_empty() { vec![HostPattern::Any] } else { hosts }
}

/// `/a/` and `/a` are the same prefix.
fn without_last_slash(path: PathPattern) -> PathPattern {
    match path {
        PathPattern::Prefix(mut prefix) if prefix.len() > 1 && prefix.ends_with('/') => {
            prefix.pop();
            PathPattern::Prefix(prefix)
        }
        other => other,
    }
}

/// One rule for each host of a route.
pub fn rules(id: RouteId, matches: &Matches) -> impl Iterator<Item = Rule> {
    let Matches { hosts, path, conditions } = matches;
    hosts.iter().map(move |host| Rule {
        host: host.clone(),
        path: path.clone(),
        conditions: conditions.clone(),
        route: id,
    })
}

fn pattern(host: &Host) -> HostPattern {
    match host {
        Host::Exact(host) => HostPattern::Exact(host.clone()),
        Host::Below(domain) => HostPattern::Wildcard(domain.clone()),
    }
}

/// Arranges the rules. Routes that conflict with several rules are told once.
pub fn table(rules: Vec<Rule>, names: &[Arc<str>], faults: &mut Vec<Fault>) -> Option<Table> {
    let of_rule: Vec<_> = rules.iter().map(|rule| rule.route).collect();
    let conflicts = match Table::build(rules) {
        Ok(table) => return Some(table),
        Err(conflicts) => conflicts,
    };
    let mut told = HashSet::new();
    for conflict in conflicts {
        let (later, earlier, tie) = match conflict {
            Conflict::Tie { first, second } => (of_rule[second], of_rule[first], true),
            Conflict::Shadowed { rule, by } => (of_rule[rule], of_rule[by], false),
        };
        if told.insert((later, earlier, tie)) {
            faults.push(fault(later, earlier, tie, &names[earlier.0]));
        }
    }
    None
}

fn fault(route: RouteId, other: RouteId, tie: bool, name: &str) -> Fault {
    let path = |id: RouteId| KeyPath::root().key("routes").index(id.0);
    let at = path(route).key("match");
    if route == other {
        return Fault::new(at.key("host"), "two spellings of one host", "each host once");
    }
    let fault = match tie {
        true => Fault::new(
            at,
            format!("requests that {name} matches just as well"),
            "hosts, paths or conditions that tell the two apart",
        ),
        false => Fault::new(
            at,
            format!("no request that {name} would not take first"),
            "a route that can be reached",
        ),
    };
    fault.elsewhere(path(other))
}
