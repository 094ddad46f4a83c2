//! Configuration in, plan or all of its faults out.
//!
//! The check of the configuration has looked at each key alone. Here the keys meet: names are looked up, addresses and
//! routes compared, defaults of the upstream overlaid with those of the route. Every step goes on after a fault, so that
//! one run finds them all; what it yields then is thrown away.

mod balance;
mod checks;
mod deadlines;
mod headers;
mod listeners;
mod matching;
mod paths;
mod retries;
mod routes;
mod upstreams;

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::units::{Network, Output};
use crate::config::{self, Config, Env, Fault, KeyPath, Report, process};
use crate::plan::compile::upstreams::Directory;
use crate::plan::{AccessLog, AccessLogFormat, AccessLogOutput, Endpoint, Plan, Process};

/// The plan of a configuration.
///
/// # Errors
///
/// Everything that is wrong with it, in no particular order; [`Loaded::place`](crate::config::Loaded::place) sorts.
pub fn compile(config: &Config) -> Result<Plan, Vec<Fault>> {
    let Config { listeners, admin, upstreams, routes, trusted_proxies, access_log, process } = config;
    let mut faults = Vec::new();
    let listeners = listeners::compile(listeners, admin.as_ref(), &mut faults);
    let directory = Directory::new(upstreams);
    let upstreams = upstreams::compile(upstreams, &mut faults);
    let routes = routes::compile(routes, &directory, &mut faults);
    let table = matching::table(routes.rules, &routes.names, &mut faults);
    let process = plan_process(&KeyPath::root().key("process"), process, &mut faults);
    match (table, faults.is_empty()) {
        (Some(table), true) => Ok(Plan {
            listeners,
            admin: admin.as_ref().map(|admin| admin.address.0),
            upstreams,
            routes: routes.planned,
            table,
            trusted_proxies: trusted_proxies.iter().map(|Network(network)| *network).collect(),
            access_log: plan_access_log(access_log),
            process,
        }),
        _ => Err(faults),
    }
}

/// The endpoints of a file that has a list of them, in the form of the configuration's `endpoints`. `name` stands for the
/// file in diagnostics.
///
/// # Errors
///
/// Everything that is wrong with it.
pub fn endpoints(name: &str, text: &str, env: Env<'_>) -> Result<Vec<Endpoint>, Report> {
    let listed = config::endpoints_from_text(name, text, env)?;
    let mut faults = Vec::new();
    let planned = upstreams::plan_endpoints(&KeyPath::root(), &listed.config.0, &mut faults);
    if faults.is_empty() { Ok(planned) } else { Err(listed.place(faults)) }
}

fn plan_access_log(log: &process::AccessLog) -> AccessLog {
    let process::AccessLog { format, output } = log;
    let format = match format {
        process::Format::Json => AccessLogFormat::Json,
        process::Format::Text => AccessLogFormat::Text,
    };
    let output = match output {
        Output::Stdout => AccessLogOutput::Stdout,
        Output::Stderr => AccessLogOutput::Stderr,
        Output::Off => AccessLogOutput::Off,
        Output::File(path) => AccessLogOutput::File(path.clone()),
    };
    AccessLog { format, output }
}

fn plan_process(path: &KeyPath, process: &process::Process, faults: &mut Vec<Fault>) -> Process {
    let process::Process {
        threads,
        supervise,
        control,
        user,
        watch,
        ready_timeout,
        probation,
        max_generations,
        lame_duck,
        drain_timeout,
    } = process;
    let needs_supervisor = [("control", control.is_some()), ("user", user.is_some()), ("watch", *watch)];
    for (key, _) in needs_supervisor.into_iter().filter(|(_, is_set)| *is_set && !supervise) {
        let fault = Fault::new(path.key(key), "this without a supervisor", "it with supervise: true");
        faults.push(fault.at_key());
    }
    Process {
        threads: *threads,
        supervise: *supervise,
        control: control.as_ref().map(|path| path.0.clone()),
        user: user.clone(),
        watch: *watch,
        ready_timeout: ready_timeout.as_std(),
        probation: probation.as_std(),
        max_generations: *max_generations,
        lame_duck: lame_duck.map(|duration| duration.as_std()).unwrap_or_default(),
        drain_timeout: drain_timeout.as_std(),
    }
}

/// Names that metrics and logs tell things apart by.
#[derive(Default)]
struct Names(HashMap<Arc<str>, KeyPath>);

impl Names {
    /// Notes a name. `path` is that of the thing, whose `name` may be left out.
    fn add(&mut self, name: &Arc<str>, path: KeyPath, faults: &mut Vec<Fault>) {
        match self.0.get(name) {
            Some(first) => {
                let fault = Fault::new(
                    path.key("name"),
                    format!("the name {name} a second time"),
                    "a name of its own",
                );
                faults.push(fault.elsewhere(first.clone()));
            }
            None => drop(self.0.insert(name.clone(), path)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::time::Duration;

    use http::{HeaderMap, Method};

    use super::*;
    use crate::config;
    use crate::plan::{Action, Address, Forward, Members, Rewrite, Upstream};
    use crate::routing::{Found, Lookup, RouteId};

    /// What is faulty is in the golden files; here is what comes of the rest.
    fn plan(text: &str) -> Plan {
        let loaded = config::from_text("f", text, &|_| None).unwrap();
        compile(&loaded.config).unwrap_or_else(|faults| panic!("{}", loaded.place(faults)))
    }

    fn fixed(upstream: &Upstream) -> &[Endpoint] {
        match &upstream.members {
            Members::Fixed(endpoints) => endpoints,
            other => panic!("{other:?}"),
        }
    }

    fn forward(plan: &Plan, route: usize) -> &Forward {
        match &plan.routes[route].action {
            Action::Forward(forward) => forward,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_left_out_has_the_documented_default() {
        let plan = plan(
            "listeners: [{address: '[::1]:8080'}]\nupstreams: {api: {endpoints: [127.0.0.1:1]}}\nroutes: [{upstream: api}]",
        );
        let listener = &plan.listeners[0];
        assert_eq!((&*listener.name, listener.limits.connections), ("[::1]:8080", 20_000));
        assert_eq!((listener.limits.header_bytes, listener.limits.uri_bytes), (32 * 1024, 8 * 1024));
        assert_eq!((listener.limits.body_bytes, listener.limits.connections_per_ip), (None, None));
        assert_eq!((listener.limits.header_count, listener.limits.backlog), (100, 4096));
        assert_eq!(listener.timeouts.header, Duration::from_secs(10));
        assert_eq!(listener.timeouts.idle, Duration::from_secs(75));
        assert_eq!(
            (listener.timeouts.read, listener.timeouts.write),
            (Duration::from_secs(30), Duration::from_secs(30))
        );
        let upstream = &plan.upstreams[0];
        assert_eq!(
            (upstream.limits.connections, upstream.limits.requests, upstream.limits.pending),
            (1024, 1024, 256)
        );
        assert_eq!(upstream.limits.pending_timeout, Duration::from_millis(500));
        assert_eq!((upstream.keepalive.idle, upstream.keepalive.connections), (Duration::from_secs(50), 256));
        assert_eq!((fixed(upstream)[0].weight, &upstream.balance), (1, &crate::balance::Balance::RoundRobin));
        let forward = forward(&plan, 0);
        assert_eq!(forward.retry.attempts, 3);
        assert_eq!(forward.timeouts.connect, Duration::from_secs(1));
        assert_eq!(forward.timeouts.response, Duration::from_secs(15));
        assert_eq!(forward.timeouts.idle, Duration::from_secs(60));
        assert_eq!(forward.timeouts.request, Duration::from_secs(30));
        assert_eq!(forward.timeouts.tunnel, Duration::from_secs(600));
        assert_eq!((&*plan.routes[0].name, plan.admin), ("route-1", None));
        assert_eq!(plan.access_log.output, AccessLogOutput::Stdout);
        assert_eq!((plan.process.drain_timeout, plan.process.threads), (Duration::from_secs(60), None));
    }

    #[test]
    fn a_route_overrides_its_upstream_key_by_key() {
        let plan = plan(
            "listeners: [{address: 'unix:/run/a'}]
upstreams:
  other: {endpoints: [127.0.0.1:2]}
  api: {endpoints: [127.0.0.1:1], retry: {attempts: 5}, timeouts: {response: 3s, idle: 4s}}
routes:
  - {match: {host: a}, upstream: api, timeouts: {idle: 9s}}
  - {match: {host: b}, upstream: api, retry: {attempts: 1}, limits: {body: 1KiB}}",
        );
        assert_eq!(plan.listeners[0].address, Address::Unix("/run/a".into()));
        let (first, second) = (forward(&plan, 0), forward(&plan, 1));
        assert_eq!(&*plan.upstreams[first.upstream.0].name, "api");
        assert_eq!(
            (first.timeouts.response, first.timeouts.idle),
            (Duration::from_secs(3), Duration::from_secs(9))
        );
        assert_eq!(
            (second.timeouts.response, second.timeouts.idle),
            (Duration::from_secs(3), Duration::from_secs(4))
        );
        assert_eq!((first.retry.attempts, second.retry.attempts), (5, 1));
        assert_eq!((plan.routes[0].body_bytes, plan.routes[1].body_bytes), (None, Some(1024)));
    }

    #[test]
    fn a_route_carries_what_it_answers_and_changes() {
        let plan = plan(
            "listeners: [{address: 127.0.0.1:0}]
upstreams: {api: {endpoints: [{address: 127.0.0.1:1, weight: 7}]}}
routes:
  - {match: {host: a}, redirect: {to: /new}}
  - {match: {host: b}, respond: {status: 410, body: gone}, response_headers: {set: {X-A: b}, add: {X-C: d}, remove: [X-E]}}
  - {match: {path: {prefix: /a/}}, upstream: api, rewrite: {prefix: /b}}",
        );
        assert!(
            matches!(&plan.routes[0].action, Action::Redirect { to, status } if to == "/new" && *status == 308)
        );
        let Action::Respond { status, body, content_type } = &plan.routes[1].action else { panic!() };
        assert_eq!(
            (status.as_u16(), &body[..], content_type.to_str().unwrap()),
            (410, &b"gone"[..], "text/plain; charset=utf-8")
        );
        let edits = &plan.routes[1].response_headers;
        assert_eq!(
            (edits.set[0].0.as_str(), edits.add[0].0.as_str(), edits.remove[0].as_str()),
            ("x-a", "x-c", "x-e")
        );
        let Some(Rewrite::Prefix { matched, with }) = &forward(&plan, 2).rewrite else { panic!() };
        assert_eq!((&**matched, &**with, fixed(&plan.upstreams[0])[0].weight), ("/a", "/b", 7));
    }

    #[test]
    fn the_table_leads_to_the_route_of_the_file() {
        let plan = plan(
            "listeners: [{address: 127.0.0.1:0}]
routes:
  - {respond: {}}
  - {match: {host: [a, '*.b'], path: {regex: '/[0-9]+'}, methods: [GET], headers: {X-A: x}, query: {q: '1'}}, respond: {}}",
        );
        let headers = HeaderMap::from_iter([("x-a".parse().unwrap(), "x".parse().unwrap())]);
        let lookup =
            |host, path| Lookup { host, path, query: "q=1", method: &Method::GET, headers: &headers };
        assert_eq!(plan.table.find(&lookup("a", "/7")), Found::Route(RouteId(1)));
        assert_eq!(plan.table.find(&lookup("c.b", "/7")), Found::Route(RouteId(1)));
        assert_eq!(plan.table.find(&lookup("a", "/x")), Found::Route(RouteId(0)));
        assert_eq!(plan.table.find(&lookup("b", "/7")), Found::Route(RouteId(0)));
    }

    /// What `compile::endpoints` says of a file's text: addresses with weight and tier, or its diagnostics.
    fn listed(text: &str) -> Result<Vec<(String, u32, u8)>, String> {
        let env = |name: &str| (name == "HOST").then(|| "10.0.0.9".to_owned());
        let listed = endpoints("orders.yaml", text, &env).map_err(|report| report.to_string())?;
        Ok(listed.into_iter().map(|e| (e.address.to_string(), e.weight, e.tier)).collect())
    }

    #[test]
    fn a_file_of_endpoints_has_them_as_the_configuration_does() {
        let text = "# from the inventory
- 10.0.0.1:80
- {address: '[fd00::2]:80', weight: 7, tier: 2}
- address: ${HOST}:80
";
        let expected = [("10.0.0.1:80", 1, 0), ("[fd00::2]:80", 7, 2), ("10.0.0.9:80", 1, 0)]
            .map(|(a, w, t)| (a.to_owned(), w, t));
        assert_eq!(listed(text).unwrap(), expected);
        assert_eq!(listed("['10.0.0.1:80']").unwrap(), listed("[{\"address\": \"10.0.0.1:80\"}]").unwrap());
        assert!(endpoints("f", "[{address: '10.0.0.1:80', drain: true}]", &|_| None).unwrap()[0].drained);
    }

    /// Each with everything that is wrong with it, as an operator reads it in the log.
    #[test]
    fn a_file_of_endpoints_that_is_wrong_says_why_and_where() {
        let cases = [
            ("", "1:1: found an empty list, expected a list with at least one item"),
            ("# all gone\n", "1:1: found an empty list, expected a list with at least one item"),
            ("[]", "1:1: found an empty list, expected a list with at least one item"),
            ("endpoints: [10.0.0.1:80]", "1:1: found a map, expected a list with at least one item"),
            ("10.0.0.1:80", "1:1: found \"10.0.0.1:80\", expected a list with at least one item"),
            (
                "- 10.0.0.1:80\n- [10.0.0.2:80\n",
                "3:1: found a syntax error (while parsing a flow sequence, expected ',' or ']'), expected YAML",
            ),
            (
                "- 10.0.0.1:80\n- {address: 10.0.0.1:80, weight: 2}\n",
                "2:3: [1]: found 10.0.0.1:80 a second time (see line 1), expected each endpoint once; give it a weight instead",
            ),
            (
                "- {address: 10.0.0.1:80, weigth: 2}\n- 10.0.0.2\n",
                "1:26: [0].weigth: found an unknown key, expected one of address, drain, tier, weight (did you mean weight?)
2:3: [1]: found \"10.0.0.2\" (no port), expected an IP address and port such as 10.0.0.11:8080 or [fd00::11]:8080",
            ),
            (
                "- ${NOBODY:-orders}:80\n",
                "1:3: [0]: found \"orders:80\" from \"${NOBODY:-orders}:80\" (names are not looked up), expected an IP address \
                 and port such as 10.0.0.11:8080 or [fd00::11]:8080",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(listed(text).unwrap_err().replace("orders.yaml:", ""), expected, "{text}");
        }
    }
}
