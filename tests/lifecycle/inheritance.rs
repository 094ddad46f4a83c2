//! What is known of the servers goes from one configuration, and from one process, to the next.

use serde_json::Value;

use crate::support::lifecycle::Lifecycle;
use crate::support::server::Server;
use crate::support::{Tetap, until};

const SHAPE: &str = "bytes=10&shape=length";

/// One server that is well, one that is nowhere; the second is ejected for a long time by the first request that meets it.
fn ejected() -> (Server, Tetap, impl Fn(&str) -> String) {
    let server = Server::start("a");
    let (well, nowhere) = (server.address(), crate::support::free_port());
    let text = move |more: &str| {
        format!(
            "upstreams: {{u: {{endpoints: [\"{well}\", \"127.0.0.1:{nowhere}\"], balance: round_robin, \
             ejection: {{consecutive_failures: 1, for: 10m, max_ejected: 50%}}, {more}}}}}
routes: [{{match: {{path: {{prefix: /}}}}, upstream: u}}]
process: {{probation: 100ms, drain_timeout: 20s}}"
        )
    };
    let tetap = Tetap::supervised(&text(""));
    until("it is ejected", || {
        assert_eq!(tetap.get(&format!("/items/1?{SHAPE}")).status, 200);
        fit(&tetap) == 1.0
    });
    (server, tetap, text)
}

fn fit(tetap: &Tetap) -> f64 {
    tetap.metrics().sum("tetap_endpoint_fit", &[])
}

/// How often the one that is nowhere is asked, in some requests.
fn tried_in_vain(tetap: &Tetap) -> usize {
    for _ in 0..20 {
        assert_eq!(tetap.get(&format!("/items/77?{SHAPE}")).status, 200);
    }
    let lines = || {
        let mut lines = tetap.access_log_now();
        lines.retain(|line| line["target"].as_str().is_some_and(|target| target.starts_with("/items/77?")));
        lines
    };
    until("all of them are in the log", || lines().len() == 20);
    let attempts = |line: &Value| line["attempts"].as_array().map_or(0, Vec::len);
    lines().iter().filter(|line| attempts(line) > 1).count()
}

#[test]
fn an_ejection_outlasts_a_reload_that_changes_its_upstream() {
    let (_server, mut tetap, text) = ejected();
    tetap.configure(&text("keepalive: {connections: 7}"));
    tetap.reload().unwrap();
    assert_eq!((fit(&tetap), tried_in_vain(&tetap)), (1.0, 0));
}

#[test]
fn an_ejection_outlasts_an_upgrade() {
    let (_server, mut tetap, _) = ejected();
    let old = tetap.workers();
    tetap.upgrade().unwrap();
    assert_ne!(tetap.workers(), old);
    assert_eq!((fit(&tetap), tried_in_vain(&tetap)), (1.0, 0));
}

#[test]
fn an_ejection_of_a_while_ago_outlasts_a_crash() {
    let (_server, mut tetap, _) = ejected();
    let learnt = || {
        let status: Value = serde_json::from_slice(&tetap.command(&["status", "--json"]).stdout).unwrap();
        status["learnt"].as_u64().unwrap()
    };
    let before = learnt();
    until("the worker has said what it knows by now", || learnt() >= before + 2); // the next may be on its way already
    tetap.crash().unwrap();
    assert_eq!((fit(&tetap), tried_in_vain(&tetap)), (1.0, 0));
}
