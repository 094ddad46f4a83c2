//! Routes: names become indices, and what a route leaves out comes from its upstream.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;

use crate::config::route::{self, Priority, Redirect, Respond, RouteLimits};
use crate::config::units::Name;
use crate::config::{Fault, KeyPath};
use crate::limit;
use crate::plan::compile::headers::{self, Way};
use crate::plan::compile::upstreams::Directory;
use crate::plan::compile::{Names, deadlines, matching, paths, retries};
use crate::plan::{Action, Forward, HeaderEdits, Matches, Route};
use crate::routing::{PathPattern, RouteId, Rule};

/// Routes and their rules, as far as they could be made.
#[derive(Default)]
pub struct Routes {
    /// Every name, by place: also of routes that have a fault, since others may conflict with them.
    pub names: Vec<Arc<str>>,
    /// Those without a fault, in order.
    pub planned: Vec<Route>,
    /// Of every route whose path could be read.
    pub rules: Vec<Rule>,
}

/// Every route of the file.
pub fn compile(routes: &[route::Route], upstreams: &Directory<'_>, faults: &mut Vec<Fault>) -> Routes {
    let mut names = Names::default();
    let mut out = Routes::default();
    for (index, route) in routes.iter().enumerate() {
        let path = KeyPath::root().key("routes").index(index);
        let name = route.name.as_ref().map_or_else(|| format!("route-{}", index + 1).into(), Name::shared);
        names.add(&name, path.clone(), faults);
        let matched = paths::of_match(&path, route.r#match.path.as_ref(), faults);
        let matches = matched.map(|path| matching::of_route(&route.r#match, path));
        out.rules.extend(matches.iter().flat_map(|matches| matching::rules(RouteId(index), matches)));
        out.names.push(name.clone());
        let mut desk = Desk { path, route, upstreams, faults };
        out.planned.extend(desk.plan(name, matches));
    }
    out
}

/// One route under work.
struct Desk<'a> {
    path: KeyPath,
    route: &'a route::Route,
    upstreams: &'a Directory<'a>,
    faults: &'a mut Vec<Fault>,
}

impl Desk<'_> {
    fn plan(&mut self, name: Arc<str>, matches: Option<Matches>) -> Option<Route> {
        let route = self.route;
        let request_headers =
            headers::of_route(&self.path, &route.request_headers, Way::Request, self.faults);
        let response_headers =
            headers::of_route(&self.path, &route.response_headers, Way::Response, self.faults);
        let action = self.action(matches.as_ref().map(|matches| &matches.path), &request_headers)?;
        let RouteLimits { body } = &route.limits;
        let body_bytes = body.map(|size| size.bytes());
        let matches = Box::new(matches?);
        Some(Route { name, matches, action, body_bytes, request_headers, response_headers })
    }

    fn action(&mut self, matched: Option<&PathPattern>, request_headers: &HeaderEdits) -> Option<Action> {
        match (&self.route.upstream, &self.route.redirect, &self.route.respond) {
            (Some(upstream), None, None) => {
                self.forward(upstream, matched).map(Box::new).map(Action::Forward)
            }
            (None, Some(to), None) => {
                self.refuse_what_is_for_upstreams(request_headers);
                redirect(to)
            }
            (None, None, Some(answer)) => {
                self.refuse_what_is_for_upstreams(request_headers);
                self.respond(answer)
            }
            _ => {
                let expected = "exactly one of upstream, redirect, respond";
                self.faults.push(Fault::new(self.path.clone(), "several of them or none", expected));
                None
            }
        }
    }

    fn forward(&mut self, name: &Name, matched: Option<&PathPattern>) -> Option<Forward> {
        let route = self.route;
        let rewrite = route.rewrite.as_ref();
        let rewrite = rewrite.map(|rewrite| paths::of_rewrite(&self.path, rewrite, matched, self.faults));
        let Some((id, upstream)) = self.upstreams.find(name) else {
            self.faults.push(self.upstreams.dangling(self.path.key("upstream"), name));
            return None;
        };
        let own = (route.retry.as_ref(), route.timeouts.as_ref());
        deadlines::of_attempt(&self.path, own, upstream, self.faults);
        Some(Forward {
            upstream: id,
            rewrite: rewrite.flatten(),
            timeouts: deadlines::of_route(&self.path, route.timeouts.as_ref(), upstream, self.faults),
            retry: retries::of_route(&self.path, route.retry.as_ref(), &upstream.retry, self.faults),
            priority: priority(route.priority),
            deadline_header: upstream.deadline_header.as_ref().map(|header| header.name.clone()),
        })
    }

    /// A route that answers by itself has no use for what shapes the way to an upstream.
    fn refuse_what_is_for_upstreams(&mut self, request_headers: &HeaderEdits) {
        let keys = [
            ("rewrite", self.route.rewrite.is_some()),
            ("request_headers", !request_headers.is_empty()),
            ("retry", self.route.retry.is_some()),
            ("timeouts", self.route.timeouts.is_some()),
            ("priority", self.route.priority != Priority::default()),
        ];
        for (key, _) in keys.iter().filter(|(_, is_there)| *is_there) {
            let found = "this on a route that answers by itself";
            self.faults.push(Fault::new(self.path.key(key), found, "it beside upstream only").at_key());
        }
    }

    fn respond(&mut self, respond: &Respond) -> Option<Action> {
        let Respond { status, body, content_type } = respond;
        let status = StatusCode::from_u16(*status).ok()?;
        if is_bodiless(status) && !body.is_empty() {
            let path = self.path.key("respond").key("body");
            let found = format!("a body for status {}", status.as_u16());
            self.faults.push(Fault::new(path, found, "none, or another status"));
        }
        Some(Action::Respond {
            status,
            body: Bytes::from(body.clone()),
            content_type: content_type.0.clone(),
        })
    }
}

fn priority(priority: Priority) -> limit::Priority {
    match priority {
        Priority::High => limit::Priority::High,
        Priority::Normal => limit::Priority::Normal,
        Priority::Low => limit::Priority::Low,
    }
}

fn redirect(redirect: &Redirect) -> Option<Action> {
    let Redirect { to, status } = redirect;
    let status = StatusCode::from_u16(*status).ok()?;
    Some(Action::Redirect { to: to.header(), status })
}

/// RFC 9110, sections 15.3.5, 15.3.6 and 15.4.5.
fn is_bodiless(status: StatusCode) -> bool {
    [StatusCode::NO_CONTENT, StatusCode::RESET_CONTENT, StatusCode::NOT_MODIFIED].contains(&status)
}
