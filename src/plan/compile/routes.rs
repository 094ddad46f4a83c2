//! Routes: names become indices, and what a route leaves out comes from its upstream.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;

use crate::config::route::{self, Redirect, Respond, RouteLimits, RouteRetry};
use crate::config::units::Name;
use crate::config::{Fault, KeyPath, upstream};
use crate::plan::compile::headers::Way;
use crate::plan::compile::upstreams::Directory;
use crate::plan::compile::{Names, deadlines, headers, matching, paths};
use crate::plan::{Action, Forward, HeaderEdits, Retry, Route};
use crate::routing::{PathPattern, RouteId, Rule};

/// Each route with its name; without the rest if it has a fault. And the rules of all that can have some.
pub fn compile(
    routes: &[route::Route],
    upstreams: &Directory<'_>,
    faults: &mut Vec<Fault>,
) -> (Vec<(Arc<str>, Option<Route>)>, Vec<Rule>) {
    let mut names = Names::default();
    let mut planned = Vec::with_capacity(routes.len());
    let mut rules = Vec::with_capacity(routes.len());
    for (index, route) in routes.iter().enumerate() {
        let path = KeyPath::root().key("routes").index(index);
        let name = route.name.as_ref().map_or_else(|| format!("route-{}", index + 1).into(), Name::shared);
        names.add(&name, path.clone(), faults);
        let matched = paths::of_match(&path, route.r#match.path.as_ref(), faults);
        planned.push((name.clone(), plan(&path, name, route, matched.as_ref(), upstreams, faults)));
        rules.extend(
            matched.into_iter().flat_map(|matched| matching::rules(RouteId(index), &route.r#match, matched)),
        );
    }
    (planned, rules)
}

fn plan(
    path: &KeyPath,
    name: Arc<str>,
    route: &route::Route,
    matched: Option<&PathPattern>,
    upstreams: &Directory<'_>,
    faults: &mut Vec<Fault>,
) -> Option<Route> {
    let request_headers = headers::of_route(path, &route.request_headers, Way::Request, faults);
    let response_headers = headers::of_route(path, &route.response_headers, Way::Response, faults);
    let RouteLimits { body } = &route.limits;
    let action = match (&route.upstream, &route.redirect, &route.respond) {
        (Some(upstream), None, None) => {
            forward(path, route, upstream, matched, upstreams, faults).map(Action::Forward)
        }
        (None, Some(to), None) => answer(path, route, &request_headers, redirect(to), faults),
        (None, None, Some(what)) => {
            answer(path, route, &request_headers, respond(path, what, faults), faults)
        }
        _ => {
            let expected = "exactly one of redirect, respond, upstream";
            faults.push(Fault::new(path.clone(), "several of them or none", expected));
            None
        }
    };
    let body_bytes = body.map(|size| size.bytes());
    action.map(|action| Route { name, action, body_bytes, request_headers, response_headers })
}

fn forward(
    path: &KeyPath,
    route: &route::Route,
    name: &Name,
    matched: Option<&PathPattern>,
    upstreams: &Directory<'_>,
    faults: &mut Vec<Fault>,
) -> Option<Forward> {
    let rewrite = route.rewrite.as_ref().map(|rewrite| paths::of_rewrite(path, rewrite, matched, faults));
    let found = upstreams.find(path.key("upstream"), name).map_err(|fault| faults.push(fault));
    let (id, upstream) = found.ok()?;
    let upstream::Retry { attempts } = &upstream.retry;
    let own = route.retry.as_ref().and_then(|RouteRetry { attempts }| *attempts);
    Some(Forward {
        upstream: id,
        rewrite: rewrite.flatten(),
        timeouts: deadlines::of_route(path, route.timeouts.as_ref(), upstream, faults),
        retry: Retry { attempts: own.unwrap_or(*attempts) },
    })
}

/// A route that answers by itself has no use for what shapes the way to an upstream.
fn answer(
    path: &KeyPath,
    route: &route::Route,
    request_headers: &HeaderEdits,
    action: Option<Action>,
    faults: &mut Vec<Fault>,
) -> Option<Action> {
    let idle = [
        ("rewrite", route.rewrite.is_some()),
        ("request_headers", !request_headers.is_empty()),
        ("retry", route.retry.is_some()),
        ("timeouts", route.timeouts.is_some()),
    ];
    for (key, _) in idle.iter().filter(|(_, is_there)| *is_there) {
        let fault =
            Fault::new(path.key(key), "this on a route that answers by itself", "it beside upstream only");
        faults.push(fault.at_key());
    }
    action
}

fn redirect(redirect: &Redirect) -> Option<Action> {
    let Redirect { to, status } = redirect;
    let status = StatusCode::from_u16(*status).ok()?;
    Some(Action::Redirect { to: to.header(), status })
}

fn respond(path: &KeyPath, respond: &Respond, faults: &mut Vec<Fault>) -> Option<Action> {
    let Respond { status, body, content_type } = respond;
    let status = StatusCode::from_u16(*status).ok()?;
    if is_bodiless(status) && !body.is_empty() {
        let found = format!("a body for status {}", status.as_u16());
        faults.push(Fault::new(path.key("respond").key("body"), found, "none, or another status"));
    }
    Some(Action::Respond { status, body: Bytes::from(body.clone()), content_type: content_type.0.clone() })
}

/// RFC 9110, sections 15.3.5, 15.3.6 and 15.4.5.
fn is_bodiless(status: StatusCode) -> bool {
    [StatusCode::NO_CONTENT, StatusCode::RESET_CONTENT, StatusCode::NOT_MODIFIED].contains(&status)
}
