//! Every row of what costs what, and what holds for all plans.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::{config, plan};

fn plan(text: &str) -> Plan {
    let loaded = config::from_text("f", text, &|_| None).unwrap();
    plan::compile(&loaded.config).unwrap_or_else(|faults| panic!("{text}\n{}", loaded.place(faults)))
}

/// What is told of a change from one text to another, without the summary.
fn told(old: &str, new: &str) -> Vec<String> {
    let changes = diff(&plan(old), &plan(new));
    let mirrored = diff(&plan(new), &plan(old));
    assert_eq!(places(&changes), places(&mirrored), "there and back\n{changes}\n{mirrored}");
    assert_eq!(changes.cost(), mirrored.cost(), "there and back\n{changes}\n{mirrored}");
    changes.to_string().lines().skip(1).map(str::to_owned).collect()
}

fn places(changes: &Changes) -> Vec<&str> {
    let mut places: Vec<_> = changes.changes.iter().map(|change| &*change.place).collect();
    places.sort_unstable();
    places
}

const LISTENER: &str = "listeners: [{address: '127.0.0.1:80', name: web}]";
const UPSTREAM: &str = "upstreams: {api: {endpoints: ['10.0.0.1:1']}}";
const ROUTE: &str = "routes: [{name: api, upstream: api}]";

#[track_caller]
fn assert_listeners(old: &str, new: &str, expected: &[&str]) {
    let text = |listeners: &str| format!("listeners: {listeners}\n{UPSTREAM}\n{ROUTE}");
    assert_eq!(told(&text(old), &text(new)), expected);
}

#[track_caller]
fn assert_upstream(old: &str, new: &str, details: &str) {
    let text = |upstream: &str| format!("{LISTENER}\nupstreams: {{api: {{{upstream}}}}}\n{ROUTE}");
    let consequence = "what is known of its endpoints is carried over; requests under way end as they began";
    let expected = format!("~ upstreams.api (in place): {details}; {consequence}");
    assert_eq!(told(&text(old), &text(new)), [expected]);
}

/// Keys of an upstream beside its one endpoint.
#[track_caller]
fn assert_upstream_keys(old: &str, new: &str, details: &str) {
    let with = |keys: &str| format!("endpoints: ['10.0.0.1:1'], {keys}");
    assert_upstream(&with(old), &with(new), details);
}

#[track_caller]
fn assert_route(old: &str, new: &str, details: &str) {
    let expected = format!("~ routes.api (in place): {details}; requests under way end as they began");
    assert_eq!(told(&routes(old), &routes(new)), [expected]);
}

fn routes(keys: &str) -> String {
    let upstreams = "upstreams: {api: {endpoints: ['10.0.0.1:1']}, b: {endpoints: ['10.0.0.2:1']}}";
    let others = "{name: b, match: {host: z}, upstream: b}, {name: a, match: {host: y}, upstream: api}";
    format!("{LISTENER}\n{upstreams}\nroutes: [{others}, {{name: api, {keys}}}]")
}

#[track_caller]
fn assert_rest(old: &str, new: &str, expected: &[&str]) {
    let text = |rest: &str| format!("{LISTENER}\n{UPSTREAM}\n{ROUTE}\n{rest}");
    assert_eq!(told(&text(old), &text(new)), expected);
}

#[test]
fn what_only_the_file_says_otherwise_is_no_change() {
    let old = "
listeners: [{address: '127.0.0.1:80'}, {address: '127.0.0.1:81'}]
upstreams: {a: {endpoints: ['10.0.0.1:1']}, b: {endpoints: ['10.0.0.2:1'], retry: {when: [502, 503]}}}
routes:
  - {name: a, match: {host: [x, '*.y'], path: {prefix: /a/}, methods: [GET, PUT], headers: {A: a, B: b}, query: {c: c, d: d}}, upstream: a}
  - {name: b, match: {path: {regex: '/[0-9]'}}, upstream: b, rewrite: {regex: a, with: b}}
trusted_proxies: [10.0.0.0/8, 10.1.0.0/16]";
    let new = "
trusted_proxies: [10.1.0.0/16, 10.0.0.0/8]
upstreams: {b: {endpoints: ['10.0.0.2:1'], retry: {when: [503, 502]}}, a: {endpoints: [{address: '10.0.0.1:1', weight: 1}], balance: round_robin}}
listeners: [{address: '127.0.0.1:81', limits: {connections: 20000}}, {address: '127.0.0.1:80'}]
routes:
  - {name: a, match: {query: {d: d, c: c}, host: ['*.y', x], headers: {B: b, A: a}, methods: [PUT, GET], path: {prefix: /a}}, upstream: a}
  - {name: b, match: {path: {regex: '/[0-9]'}}, upstream: b, rewrite: {regex: a, with: b}, timeouts: {connect: 1000ms}}";
    let changes = diff(&plan(old), &plan(new));
    assert_eq!(
        (changes.to_string().as_str(), changes.is_empty(), changes.cost()),
        ("nothing changes", true, None)
    );
}

#[test]
fn a_listener_opens_and_closes() {
    let one = "[{address: '127.0.0.1:80', name: web}]";
    let two = "[{address: 'unix:/run/a', name: local}, {address: '127.0.0.1:80', name: web}]";
    assert_listeners(one, two, &["+ listeners.local (listener): opens"]);
    assert_listeners(two, one, &["- listeners.local (listener): closes; its connections are drained"]);
}

#[test]
fn a_listener_with_other_limits_lets_its_connections_go() {
    let old = "[{address: '127.0.0.1:80', name: web}]";
    let new = "[{address: '127.0.0.1:80', name: web, limits: {connections: 1, connections_per_ip: 2, backlog: 3, header: 4KiB, header_count: 5,
        uri: 6KiB, body: 7KiB}, timeouts: {header: 1s, idle: 2s, read: 3s, write: 4s}}]";
    let expected = "~ listeners.web (listener): limits.connections 1 (was 20000), limits.connections_per_ip 2 (was none), \
        limits.backlog 3 (was 4096), limits.header 4KiB (was 32KiB), limits.header_count 5 (was 100), limits.uri 6KiB (was 8KiB), \
        limits.body 7KiB (was none), timeouts.header 1s (was 10s), timeouts.idle 2s (was 75s), timeouts.read 3s (was 30s), \
        timeouts.write 4s (was 30s); connections that are open keep the old limits and are told to go with their next answer; \
        new ones get the new";
    assert_listeners(old, new, &[expected]);
}

#[test]
fn a_listener_that_moves_is_another_socket() {
    let expected = "~ listeners.web (listener): address 127.0.0.1:81 (was 127.0.0.1:80); closes, and its connections are \
        drained; another opens";
    assert_listeners(
        "[{address: '127.0.0.1:80', name: web}]",
        "[{address: '127.0.0.1:81', name: web}]",
        &[expected],
    );
}

#[test]
fn a_listener_under_another_name_is_the_same() {
    let expected = "~ listeners.127.0.0.1:80 (listener): name web (was api); connections that are open keep the old name \
        and are told to go with their next answer; new ones get the new";
    assert_listeners(
        "[{address: '127.0.0.1:80', name: api}]",
        "[{address: '127.0.0.1:80', name: web}]",
        &[expected],
    );
}

/// The name goes with the socket that has it now; the other is gone, not moved.
#[test]
fn a_listener_that_takes_the_name_of_another_is_still_the_one_on_its_socket() {
    let old = "[{address: '127.0.0.1:80', name: web}, {address: '127.0.0.1:81', name: api}]";
    let new = "[{address: '127.0.0.1:81', name: web}]";
    let of = told(
        &format!("listeners: {old}\n{UPSTREAM}\n{ROUTE}"),
        &format!("listeners: {new}\n{UPSTREAM}\n{ROUTE}"),
    );
    assert!(of[0].starts_with("~ listeners.127.0.0.1:81 (listener): name web (was api); "), "{of:?}");
    assert_eq!(of[1..], ["- listeners.web (listener): closes; its connections are drained"]);
}

/// Any free port is one address for several listeners.
#[test]
fn listeners_on_any_port_are_told_apart_by_name() {
    let any =
        |names: [&str; 2]| names.map(|name| format!("{{address: '127.0.0.1:0', name: {name}}}")).join(", ");
    let (old, new) = (format!("[{}]", any(["a", "b"])), format!("[{}]", any(["b", "a"])));
    assert_listeners(&old, &new, &[]);
}

#[test]
fn the_admin_address_is_a_listener() {
    let (one, two) = ("admin: {address: '127.0.0.1:9'}", "admin: {address: '127.0.0.1:8'}");
    assert_rest("", one, &["+ admin (listener): opens"]);
    assert_rest(one, "", &["- admin (listener): closes; requests under way are answered"]);
    assert_rest(
        one,
        two,
        &["~ admin (listener): address 127.0.0.1:8 (was 127.0.0.1:9); closes; another opens"],
    );
}

#[test]
fn an_upstream_comes_and_goes() {
    let text = |names: &[&str]| {
        let upstreams: Vec<_> =
            names.iter().map(|name| format!("{name}: {{endpoints: ['10.0.0.1:1']}}")).collect();
        let routes: Vec<_> = names
            .iter()
            .map(|name| format!("{{name: r, match: {{host: {name}}}, upstream: {name}}}"))
            .collect();
        let routes = routes.join(", ").replace("name: r, match: {host: a}", "name: ra, match: {host: a}");
        format!("{LISTENER}\nupstreams: {{{}}}\nroutes: [{routes}]", upstreams.join(", "))
    };
    // Its route comes with it; the one of the upstream behind it has not changed, though its place has.
    let (one, two) = (text(&["b"]), text(&["a", "b"]));
    assert_eq!(
        told(&one, &two),
        [
            "+ upstreams.a (in place): its endpoints are checked before it is used",
            "+ routes.ra (in place): takes requests from now on"
        ]
    );
    assert_eq!(
        told(&two, &one),
        [
            "- upstreams.a (in place): requests under way are finished",
            "- routes.ra (in place): requests under way are finished"
        ]
    );
}

#[test]
fn endpoints_join_leave_and_change() {
    assert_upstream(
        "endpoints: ['10.0.0.1:1', '10.0.0.2:1', '10.0.0.3:1']",
        "endpoints: ['10.0.0.4:1', {address: '10.0.0.3:1', weight: 2, tier: 1, drain: true}, '10.0.0.1:1']",
        "10.0.0.4:1 joins, 10.0.0.3:1 weight 2 (was 1), 10.0.0.3:1 tier 1 (was 0), 10.0.0.3:1 drain true (was false), \
         10.0.0.2:1 leaves",
    );
    assert_upstream(
        "endpoints: ['10.0.0.1:1', '10.0.0.2:1']",
        "endpoints: ['10.0.0.2:1', '10.0.0.1:1']",
        "endpoints in another order",
    );
}

#[test]
fn endpoints_are_found_otherwise() {
    assert_upstream(
        "endpoints: ['10.0.0.1:1', '10.0.0.2:1']",
        "discovery: {dns: a.b, port: 80}",
        "endpoints by discovery.dns a.b port 80 (was [10.0.0.1:1, 10.0.0.2:1])",
    );
    assert_upstream(
        "discovery: {srv: a.b}",
        "discovery: {file: e.yaml}",
        "endpoints by discovery.file e.yaml (was by discovery.srv a.b)",
    );
    assert_upstream(
        "discovery: {dns: a.b, port: 80}",
        "discovery: {dns: a.c, port: 81, resolver: '10.0.0.9:53', refresh: 5s}",
        "discovery.dns a.c (was a.b), discovery.port 81 (was 80), discovery.resolver 10.0.0.9:53 (was none), \
         discovery.refresh 5s (was 5m)",
    );
    assert_upstream(
        "discovery: {srv: a.b}",
        "discovery: {srv: a.c, resolver: '10.0.0.9:53', refresh: 5s}",
        "discovery.srv a.c (was a.b), discovery.resolver 10.0.0.9:53 (was none), discovery.refresh 5s (was 5m)",
    );
    assert_upstream(
        "discovery: {file: e.yaml}",
        "discovery: {file: f.yaml, refresh: 5s}",
        "discovery.file f.yaml (was e.yaml), discovery.refresh 5s (was 1s)",
    );
}

#[test]
fn an_endpoint_is_chosen_otherwise() {
    for (word, told) in [
        ("random", "random"),
        ("least_requests", "least_requests"),
        ("ewma", "ewma"),
        ("{hash: {header: X-A}}", "hash of header x-a"),
        ("{hash: {cookie: a}}", "hash of cookie a"),
        ("{hash: {query: a}}", "hash of query a"),
        ("{hash: {client_ip: true}}", "hash of client_ip"),
        ("{hash: {path: true}}", "hash of path"),
    ] {
        let new = format!("balance: {word}");
        assert_upstream_keys("", &new, &format!("balance {told} (was round_robin)"));
    }
}

#[test]
fn the_secret_of_a_cookie_is_not_told() {
    assert_upstream_keys(
        "",
        "sticky_cookie: {name: a, secret: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}",
        "sticky_cookie a (was none)",
    );
    assert_upstream_keys(
        "sticky_cookie: {name: a, secret: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}",
        "sticky_cookie: {name: b, secret: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb, ttl: 1h}",
        "sticky_cookie.name b (was a), sticky_cookie.secret, sticky_cookie.ttl 1h (was none)",
    );
}

#[test]
fn endpoints_are_checked_otherwise() {
    assert_upstream_keys("", "health_check: {tcp: {}}", "health_check tcp (was none)");
    assert_upstream_keys(
        "health_check: {http: {}}",
        "health_check: {grpc: {}}",
        "health_check grpc (was http)",
    );
    assert_upstream_keys(
        "health_check: {grpc: {}}",
        "health_check: {grpc: {service: a}}",
        "health_check.grpc.service a (was )",
    );
    assert_upstream_keys(
        "health_check: {http: {path: /a}}",
        "health_check: {http: {path: /b, method: HEAD, host: h, headers: {A: b}, expect: [200-204, 304]}, port: 9, interval: 9s, \
         timeout: 800ms, healthy_threshold: 9, unhealthy_threshold: 8}",
        "health_check.http.method HEAD (was GET), health_check.http.path /b (was /a), health_check.http.host h (was none), \
         health_check.http.headers, health_check.http.expect [200-204, 304] (was [200-299]), health_check.port 9 (was none), \
         health_check.interval 9s (was 2s), health_check.timeout 800ms (was 500ms), health_check.healthy_threshold 9 (was 2), \
         health_check.unhealthy_threshold 8 (was 3)",
    );
    assert_upstream_keys(
        "health_check: {http: {path: /a, body_contains: a}}",
        "health_check: {http: {path: /a, body_matches: b}}",
        "health_check.http.body_contains, health_check.http.body_matches \"b\" (was none)",
    );
}

#[test]
fn endpoints_are_judged_otherwise() {
    assert_upstream_keys(
        "slow_start: 2s",
        "slow_start: 1s, panic_threshold: 10%, ejection: {consecutive_failures: 9, failure_ratio: 11%, window: 7s, min_requests: 6, \
         latency: 5s, for: 4s, max_ejected: 12%}",
        "ejection.consecutive_failures 9 (was 5), ejection.failure_ratio 11% (was 50%), ejection.window 7s (was 10s), \
         ejection.min_requests 6 (was 20), ejection.latency 5s (was none), ejection.for 4s (was 10s), \
         ejection.max_ejected 12% (was 50%), slow_start 1s (was 2s), panic_threshold 10% (was 50%)",
    );
}

#[test]
fn an_upstream_is_asked_for_less() {
    assert_upstream_keys(
        "",
        "retry: {budget: {ratio: 1%, min_per_second: 2}}, keepalive: {idle: 3s, connections: 4}, \
         limits: {connections: 50, requests: 60, pending: 70, pending_timeout: 8s, adaptive: {}}",
        "retry.budget.ratio 1% (was 20%), retry.budget.min_per_second 2 (was 10), keepalive.idle 3s (was 50s), \
         keepalive.connections 4 (was 256), limits.connections 50 (was 1024), limits.requests 60 (was 1024), \
         limits.pending 70 (was 256), limits.pending_timeout 8s (was 500ms), limits.adaptive true (was false)",
    );
    assert_upstream_keys(
        "limits: {adaptive: {min: 3, start: 9}}",
        "limits: {adaptive: {min: 4, start: 10}}",
        "limits.adaptive.min 4 (was 3), limits.adaptive.start 10 (was 9)",
    );
}

#[test]
fn a_route_matches_otherwise() {
    assert_route(
        "upstream: api",
        "upstream: api, match: {host: ['*.x', w], path: {prefix: /a}, methods: [PUT, GET]}",
        "match.host [w, *.x] (was [any]), match.path prefix /a (was prefix /), match.methods [GET, PUT] (was none)",
    );
    assert_route(
        "upstream: api, match: {path: {exact: /a}}",
        "upstream: api, match: {path: {regex: '/a+'}}",
        "match.path regex \"/a+\" (was exact /a)",
    );
    assert_route(
        "upstream: api, match: {headers: {A: hunter1}, query: {a: b}}",
        "upstream: api, match: {headers: {A: hunter2}, query: {a: c}}",
        "match.headers, match.query",
    );
}

#[test]
fn a_route_does_something_else() {
    assert_route("upstream: api", "upstream: b", "upstream b (was api)");
    assert_route("upstream: api", "redirect: {to: /a}", "redirect (was upstream api)");
    assert_route("respond: {}", "redirect: {to: /a}", "redirect (was respond)");
    assert_route(
        "redirect: {to: /a}",
        "redirect: {to: /b, status: 302}",
        "redirect.to, redirect.status 302 (was 308)",
    );
    assert_route(
        "respond: {}",
        "respond: {status: 201, body: a, content_type: text/html}",
        "respond.status 201 (was 200), respond.body, respond.content_type",
    );
}

#[test]
fn a_route_forwards_otherwise() {
    assert_route(
        "upstream: api",
        "upstream: api, rewrite: {prefix: /a}, priority: low, limits: {body: 1KiB}",
        "rewrite prefix /a (was none), priority low (was normal), limits.body 1KiB (was none)",
    );
    assert_route(
        "upstream: api, rewrite: {regex: a, with: b}",
        "upstream: api, rewrite: {regex: a, with: c}",
        "rewrite regex \"a\" with \"c\" (was regex \"a\" with \"b\")",
    );
    assert_route(
        "upstream: api, match: {path: {prefix: /a}}, rewrite: {prefix: /}",
        "upstream: api, match: {path: {prefix: /b}}, rewrite: {prefix: /}",
        "match.path prefix /b (was prefix /a)",
    );
    assert_route(
        "upstream: api",
        "upstream: api, timeouts: {connect: 2s, response: 3s, idle: 4s, request: 5s, tunnel: 6s}",
        "timeouts.connect 2s (was 1s), timeouts.response 3s (was 15s), timeouts.idle 4s (was 1m), \
         timeouts.request 5s (was 30s), timeouts.tunnel 6s (was 10m)",
    );
    assert_route(
        "upstream: api, retry: {when: [503, reset]}",
        "upstream: api, retry: {attempts: 2, when: [504, timeout, 502, connect], per_try_timeout: 2s, backoff: {base: 1ms, max: 2ms}, \
         idempotency_key: true}",
        "retry.attempts 2 (was 3), retry.when [connect, timeout, 502, 504] (was [reset, 503]), retry.per_try_timeout 2s (was none), \
         retry.backoff.base 1ms (was 25ms), retry.backoff.max 2ms (was 250ms), retry.idempotency_key true (was false)",
    );
}

#[test]
fn values_of_headers_are_not_told() {
    assert_route(
        "upstream: api, request_headers: {set: {Authorization: Bearer hunter1}}",
        "upstream: api, request_headers: {set: {Authorization: Bearer hunter2}, add: {B: c}, remove: [D]}, response_headers: {set: {A: b}, add: {B: c}, remove: [D]}",
        "request_headers.remove, request_headers.set, request_headers.add, response_headers.remove, response_headers.set, \
         response_headers.add",
    );
}

/// An upstream's own words for its requests are told where they count: by each of its routes.
#[test]
fn an_upstreams_timeouts_are_its_routes() {
    let text = |keys: &str| {
        format!("{LISTENER}\nupstreams: {{api: {{endpoints: ['10.0.0.1:1'], {keys}}}}}\n{ROUTE}")
    };
    assert_eq!(
        told(&text(""), &text("timeouts: {connect: 2s}, deadline_header: X-Left")),
        [
            "~ routes.api (in place): timeouts.connect 2s (was 1s), deadline_header x-left (was none); requests under way end as \
             they began"
        ]
    );
}

/// Two expressions of one length: the first in the file wins.
#[test]
fn routes_in_another_order_are_a_change() {
    let text = |routes: [&str; 3]| {
        let route = |name| format!("{{name: {name}, match: {{path: {{regex: '/{name}+'}}}}, respond: {{}}}}");
        format!("{LISTENER}\nroutes: [{}]", routes.map(route).join(", "))
    };
    let expected =
        "~ routes (in place): their order; it decides only between routes that are equally specific";
    assert_eq!(told(&text(["a", "b", "c"]), &text(["b", "a", "c"])), [expected]);
    let moved = told(&text(["a", "b", "c"]), &text(["d", "a", "c"]));
    assert!(moved.iter().all(|line| !line.contains("order")), "{moved:?}");
}

#[test]
fn other_proxies_are_believed() {
    assert_rest(
        "trusted_proxies: [10.0.0.0/8, 10.1.0.0/16]",
        "trusted_proxies: [10.2.0.0/16, 10.0.0.0/8]",
        &[
            "~ trusted_proxies (in place): 10.2.0.0/16 is believed, 10.1.0.0/16 no more; counts from the next request on",
        ],
    );
}

#[test]
fn the_log_goes_elsewhere() {
    assert_rest(
        "",
        "access_log: {format: text}",
        &["~ access_log (in place): format text (was json); counts from the next line on"],
    );
    assert_rest(
        "",
        "access_log: {output: /a}",
        &["~ access_log (in place): output /a (was stdout); counts from the next line on"],
    );
    assert_rest(
        "access_log: {output: /a}",
        "access_log: {output: off}",
        &["~ access_log (in place): output off (was /a); the old file is closed"],
    );
}

#[test]
fn each_key_of_the_processes_has_its_own_cost() {
    let worker = "counts for the next worker that is started";
    let stop = "counts for the next worker that stops";
    let program = "only a restart of the whole program does it";
    for (keys, line) in [
        ("ready_timeout: 1s", format!("ready_timeout (in place): 1s (was 30s); {worker}")),
        ("probation: 1s", format!("probation (in place): 1s (was 10s); {worker}")),
        ("max_generations: 1", format!("max_generations (in place): 1 (was 3); {worker}")),
        ("lame_duck: 1s", format!("lame_duck (in place): 1s (was none); {stop}")),
        ("drain_timeout: 1s", format!("drain_timeout (in place): 1s (was 1m); {stop}")),
        ("control: /run/a", format!("control (restart): /run/a (was none); {program}")),
        ("supervise: false", format!("supervise (restart): false (was true); {program}")),
    ] {
        assert_rest("", &format!("process: {{{keys}}}"), &[&format!("~ process.{line}")]);
    }
}

#[test]
fn other_threads_take_another_worker() {
    let expected = "~ process.threads (swap): 4 (was one for each core); another worker process takes over; kept-alive clients \
        are told to reconnect";
    assert_rest("", "process: {threads: 4}", &[expected]);
}

/// A restart is the only way to another worker where nobody is there to start it.
#[test]
fn other_threads_without_a_supervisor_take_a_restart() {
    assert_rest(
        "process: {supervise: false}",
        "process: {supervise: false, threads: 4}",
        &[
            "~ process.threads (restart): 4 (was one for each core); only a restart of the whole program does it",
        ],
    );
}

#[test]
fn the_dearest_is_what_a_reload_costs() {
    assert!(Cost::InPlace < Cost::Listener && Cost::Listener < Cost::Swap && Cost::Swap < Cost::Restart);
    let text = |rest: &str| plan(&format!("{LISTENER}\n{UPSTREAM}\n{ROUTE}\n{rest}"));
    let changes = diff(&text(""), &text("process: {threads: 1}\naccess_log: {output: off}"));
    assert_eq!(changes.cost(), Some(Cost::Swap));
    assert!(changes.to_string().starts_with("2 changes; the dearest: swap\n"), "{changes}");
    let changes = diff(&text(""), &text("access_log: {output: off}"));
    assert!(changes.to_string().starts_with("1 change: in place\n"), "{changes}");
}

#[test]
fn in_json_it_is_an_object() {
    let text = |rest: &str| plan(&format!("{LISTENER}\n{UPSTREAM}\n{ROUTE}\n{rest}"));
    let json = |old: &str, new: &str| serde_json::to_string(&diff(&text(old), &text(new))).unwrap();
    assert_eq!(json("", ""), r#"{"cost":null,"changes":[]}"#);
    assert_eq!(
        json("", "admin: {address: '127.0.0.1:9'}\naccess_log: {format: text}"),
        concat!(
            r#"{"cost":"listener","changes":[{"place":"admin","what":"added","cost":"listener","consequence":"opens"},"#,
            r#"{"place":"access_log","what":"changed","details":["format text (was json)"],"cost":"in_place","#,
            r#""consequence":"counts from the next line on"}]}"#
        )
    );
}

const BEFORE: &str = "
listeners:
  - {name: web, address: 0.0.0.0:8080, limits: {connections: 20000}}
  - {name: old, address: 0.0.0.0:8081}
upstreams:
  legacy: {endpoints: [10.0.9.1:8080]}
  orders:
    endpoints: [10.0.0.11:8080, {address: 10.0.0.12:8080, weight: 2}]
    health_check: {http: {path: /healthz}}
  reports: {endpoints: [10.0.1.11:8080]}
routes:
  - {name: legacy, match: {path: {prefix: /v1}}, upstream: legacy}
  - {name: orders, match: {path: {prefix: /orders}}, upstream: orders}
  - {name: reports, match: {path: {prefix: /reports}}, upstream: reports, timeouts: {response: 2m, request: 2m}}
access_log: {output: /var/log/tetap.log}
process: {threads: 4}
";

const AFTER: &str = "
listeners:
  - {name: web, address: 0.0.0.0:8080, limits: {connections: 40000}}
  - {name: new, address: 0.0.0.0:8082}
admin: {address: 127.0.0.1:9901}
upstreams:
  orders:
    endpoints: [10.0.0.11:8080, 10.0.0.12:8080, 10.0.0.13:8080]
    balance: least_requests
    health_check: {http: {path: /ready}}
  reports: {endpoints: [10.0.1.11:8080]}
  customers: {endpoints: [10.0.2.11:8080]}
routes:
  - {name: orders, match: {path: {prefix: /orders}, methods: [GET, POST]}, upstream: orders}
  - {name: reports, match: {path: {prefix: /reports}}, upstream: reports, timeouts: {response: 2m, request: 2m}}
  - {name: customers, match: {path: {prefix: /customers}}, upstream: customers}
access_log: {output: stdout}
process: {threads: 8, drain_timeout: 5m}
";

const TOLD: &str = "\
13 changes; the dearest: swap
~ listeners.web (listener): limits.connections 40000 (was 20000); connections that are open keep the old limits and are told to go \
with their next answer; new ones get the new
+ listeners.new (listener): opens
- listeners.old (listener): closes; its connections are drained
+ admin (listener): opens
~ upstreams.orders (in place): 10.0.0.12:8080 weight 1 (was 2), 10.0.0.13:8080 joins, balance least_requests (was round_robin), \
health_check.http.path /ready (was /healthz); what is known of its endpoints is carried over; requests under way end as they began
+ upstreams.customers (in place): its endpoints are checked before it is used
- upstreams.legacy (in place): requests under way are finished
~ routes.orders (in place): match.methods [GET, POST] (was none); requests under way end as they began
+ routes.customers (in place): takes requests from now on
- routes.legacy (in place): requests under way are finished
~ access_log (in place): output stdout (was /var/log/tetap.log); the old file is closed
~ process.threads (swap): 8 (was 4); another worker process takes over; kept-alive clients are told to reconnect
~ process.drain_timeout (in place): 5m (was 1m); counts for the next worker that stops";

#[test]
fn an_afternoons_work_is_told_line_by_line() {
    assert_eq!(diff(&plan(BEFORE), &plan(AFTER)).to_string(), TOLD);
    told(BEFORE, AFTER);
}
