//! Routes: which requests are answered otherwise from the next one on.
//!
//! A request keeps the route that it was given to its end, so no change of routes costs anything. A route goes by its name
//! (one without a name by its place in the file: to put another before it is to change both), and leads to an upstream by
//! name, for the places of upstreams shift when one is added.

use std::collections::HashSet;

use crate::config::diagnostic::quoted;
use crate::config::units::Size;
use crate::limit::Priority;
use crate::plan::diff::details::{Details, Told};
use crate::plan::diff::{Change, Cost, Pair, What, by_name, changed};
use crate::plan::{Action, Forward, HeaderEdits, Matches, Rewrite, Route, Timeouts, Upstream, UpstreamId};
use crate::retry::backoff::Backoff;
use crate::retry::{Policy, When};
use crate::routing::{Conditions, HostPattern, PathPattern};

/// Routes, and the upstreams of the same plan.
type Side<'p> = (&'p [Route], &'p [Upstream]);

/// What becomes of each, and last of their order.
pub fn changes(old: Side<'_>, new: Side<'_>) -> Vec<Change> {
    let pairs = by_name(old.0, new.0, |route| &route.name);
    let change = |pair| match pair {
        Pair::Both { old: route, new: now } => change((route, old.1), (now, new.1)),
        Pair::Added(new) => Some(whole(new, What::Added, "takes requests from now on")),
        Pair::Removed(old) => Some(whole(old, What::Removed, "requests under way are finished")),
    };
    let mut changes: Vec<_> = pairs.into_iter().filter_map(change).collect();
    changes.extend(order(old.0, new.0));
    changes
}

fn whole(route: &Route, what: What, consequence: &str) -> Change {
    Change { place: place(route), what, cost: Cost::InPlace, consequence: consequence.to_owned() }
}

fn place(route: &Route) -> String {
    format!("routes.{}", route.name)
}

/// The place in the file decides in few corners only (see [`routing`](crate::routing)), but in those it does.
fn order(old: &[Route], new: &[Route]) -> Option<Change> {
    let names = |routes: &[Route]| routes.iter().map(|route| route.name.clone()).collect::<Vec<_>>();
    let (mut old, mut new) = (names(old), names(new));
    let (were, are): (HashSet<_>, HashSet<_>) =
        (old.iter().cloned().collect(), new.iter().cloned().collect());
    old.retain(|name| are.contains(name));
    new.retain(|name| were.contains(name));
    let mut details = Details::default();
    details.named("their order", &old, &new);
    changed("routes", details, Cost::InPlace, "it decides only between routes that are equally specific")
}

/// A route, and the upstreams of its plan.
type Placed<'p> = (&'p Route, &'p [Upstream]);

fn change(old: Placed<'_>, new: Placed<'_>) -> Option<Change> {
    let ((old, old_upstreams), (new, upstreams)) = (old, new);
    // The name is what they have in common.
    let Route { name: _, matches, action, body_bytes, request_headers, response_headers } = new;
    let mut details = Details::default();
    of_matches(&old.matches, matches, &mut details);
    of_action((&old.action, old_upstreams), (action, upstreams), &mut details);
    details.told("limits.body", &old.body_bytes.map(Size::from_bytes), &body_bytes.map(Size::from_bytes));
    of_headers("request_headers", &old.request_headers, request_headers, &mut details);
    of_headers("response_headers", &old.response_headers, response_headers, &mut details);
    changed(place(new), details, Cost::InPlace, "requests under way end as they began")
}

fn of_matches(old: &Matches, new: &Matches, details: &mut Details) {
    let Matches { hosts, path, conditions } = new;
    let Conditions { methods, headers, query } = conditions;
    details.told("match.host", &old.hosts, hosts);
    details.told("match.path", &old.path, path);
    details.told("match.methods", &old.conditions.methods, methods);
    details.named("match.headers", &old.conditions.headers, headers);
    details.named("match.query", &old.conditions.query, query);
}

/// What a route does, and the upstreams of its plan.
type Done<'p> = (&'p Action, &'p [Upstream]);

fn of_action(old: Done<'_>, new: Done<'_>, details: &mut Details) {
    match (old.0, new.0) {
        (Action::Forward(was), Action::Forward(now)) => {
            details.told("upstream", &name(was.upstream, old.1), &name(now.upstream, new.1));
            of_forward(was, now, details);
        }
        (Action::Redirect { to, status }, Action::Redirect { to: new_to, status: new_status }) => {
            details.named("redirect.to", to, new_to);
            details.told("redirect.status", &status.as_u16(), &new_status.as_u16());
        }
        (
            Action::Respond { status, body, content_type },
            Action::Respond { status: new_status, body: new_body, content_type: new_type },
        ) => {
            details.told("respond.status", &status.as_u16(), &new_status.as_u16());
            details.named("respond.body", body, new_body);
            details.named("respond.content_type", content_type, new_type);
        }
        (Action::Forward(_) | Action::Redirect { .. } | Action::Respond { .. }, _) => {
            details.line(format!("{} (was {})", action(new), action(old)));
        }
    }
}

fn action((action, upstreams): Done<'_>) -> String {
    match action {
        Action::Forward(forward) => format!("upstream {}", name(forward.upstream, upstreams).told()),
        Action::Redirect { .. } => "redirect".to_owned(),
        Action::Respond { .. } => "respond".to_owned(),
    }
}

fn name(UpstreamId(place): UpstreamId, upstreams: &[Upstream]) -> Option<&str> {
    upstreams.get(place).map(|upstream| &*upstream.name)
}

fn of_forward(old: &Forward, new: &Forward, details: &mut Details) {
    // Upstreams are compared by name, and were.
    let Forward { upstream: _, rewrite, timeouts, retry, priority, deadline_header } = new;
    if !is_same_rewrite(old.rewrite.as_ref(), rewrite.as_ref()) {
        details.line(format!("rewrite {} (was {})", rewrite.told(), old.rewrite.told()));
    }
    of_timeouts(&old.timeouts, timeouts, details);
    of_retry(&old.retry, retry, details);
    details.told("priority", &old.priority, priority);
    details.told("deadline_header", &old.deadline_header, deadline_header);
}

/// What a prefix stands in place of is what is matched, and told there.
fn is_same_rewrite(old: Option<&Rewrite>, new: Option<&Rewrite>) -> bool {
    match (old, new) {
        (Some(Rewrite::Prefix { matched: _, with }), Some(Rewrite::Prefix { matched: _, with: new })) => {
            with == new
        }
        _ => old == new,
    }
}

fn of_timeouts(old: &Timeouts, new: &Timeouts, details: &mut Details) {
    let Timeouts { connect, response, idle, request, tunnel } = new;
    details.told("timeouts.connect", &old.connect, connect);
    details.told("timeouts.response", &old.response, response);
    details.told("timeouts.idle", &old.idle, idle);
    details.told("timeouts.request", &old.request, request);
    details.told("timeouts.tunnel", &old.tunnel, tunnel);
}

fn of_retry(old: &Policy, new: &Policy, details: &mut Details) {
    let Policy { attempts, when, per_try, backoff, idempotency_key } = new;
    let Backoff { base, max } = backoff;
    details.told("retry.attempts", &old.attempts, attempts);
    details.told("retry.when", &words(&old.when), &words(when));
    details.told("retry.per_try_timeout", &old.per_try, per_try);
    details.told("retry.backoff.base", &old.backoff.base, base);
    details.told("retry.backoff.max", &old.backoff.max, max);
    details.told("retry.idempotency_key", &old.idempotency_key, idempotency_key);
}

/// Statuses in order, for theirs means nothing.
fn words(when: &When) -> Vec<String> {
    let When { connect, reset, timeout, statuses } = when;
    let words = [("connect", connect), ("reset", reset), ("timeout", timeout)];
    let mut statuses = statuses.clone();
    statuses.sort_unstable();
    let words = words.into_iter().filter(|(_, is_on)| **is_on).map(|(word, _)| word.to_owned());
    words.chain(statuses.iter().map(u16::to_string)).collect()
}

/// Names only: the value may be a password for the upstream.
fn of_headers(key: &str, old: &HeaderEdits, new: &HeaderEdits, details: &mut Details) {
    let HeaderEdits { remove, set, add } = new;
    details.named(&format!("{key}.remove"), &old.remove, remove);
    details.named(&format!("{key}.set"), &old.set, set);
    details.named(&format!("{key}.add"), &old.add, add);
}

impl Told for HostPattern {
    fn told(&self) -> String {
        match self {
            HostPattern::Exact(host) => host.clone(),
            HostPattern::Wildcard(parent) => format!("*.{parent}"),
            HostPattern::Any => "any".to_owned(),
        }
    }
}

impl Told for PathPattern {
    fn told(&self) -> String {
        match self {
            PathPattern::Exact(path) => format!("exact {path}"),
            PathPattern::Prefix(path) => format!("prefix {path}"),
            PathPattern::Regex(regex) => format!("regex {}", quoted(regex.as_str())),
        }
    }
}

impl Told for Rewrite {
    fn told(&self) -> String {
        match self {
            Rewrite::Prefix { matched: _, with } => format!("prefix {with}"),
            Rewrite::Regex { pattern, with } => {
                format!("regex {} with {}", quoted(pattern.0.as_str()), quoted(with))
            }
        }
    }
}

impl Told for Priority {
    fn told(&self) -> String {
        match self {
            Priority::High => "high",
            Priority::Normal => "normal",
            Priority::Low => "low",
        }
        .to_owned()
    }
}
