//! What the admin address says.

use std::collections::BTreeSet;

use crate::support::{Scripted, Tetap, metrics::Metrics, nobody, until};

fn keys(metrics: &Metrics) -> BTreeSet<String> {
    metrics.series().map(|(key, _)| key.to_string()).collect()
}

#[test]
fn metrics_have_no_label_from_the_client() {
    let upstream = Scripted::answering("");
    let tetap = Tetap::to(&[upstream.address()]);
    tetap.get("/");
    tetap.client().send("nonsense\r\n\r\n").read_answer();
    let before = keys(&tetap.metrics());
    for number in 0..50 {
        let (word, host) = (format!("Made-up-{number}"), format!("made-up-{number}.test"));
        let mut client = tetap.client();
        client.send(format!(
            "{word} /{word}?{word} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {word}\r\n{word}: 1\r\n\r\n"
        ));
        assert_eq!(client.read_answer().status, 200);
        tetap.client().send(format!("{word}\r\n\r\n")).read_answer();
    }
    let after = keys(&tetap.metrics());
    let new: Vec<_> = after.difference(&before).collect();
    assert!(new.is_empty(), "{new:?}");
    assert!(!tetap.metrics().text().to_lowercase().contains("made-up"));
}

#[test]
fn everything_that_happens_is_counted_where_it_belongs() {
    let upstream = Scripted::answering("");
    let dead = nobody();
    let tetap = Tetap::start(&format!(
        "upstreams: {{good: {{endpoints: [\"{}\"]}}, bad: {{endpoints: [\"{dead}\"], retry: {{attempts: 1}}}}}}
routes:
  - {{name: good, match: {{path: {{prefix: /good}}}}, upstream: good}}
  - {{name: bad, match: {{path: {{prefix: /bad}}}}, upstream: bad}}",
        upstream.address()
    ));
    for target in ["/good", "/good", "/bad", "/nowhere"] {
        tetap.get(target);
    }
    let endpoint = format!("endpoint=\"{}\"", upstream.address());
    for (name, labels, value) in [
        ("tetap_requests_total", vec!["route=\"good\"", "code=\"2xx\""], 2.0),
        ("tetap_requests_total", vec!["route=\"bad\"", "code=\"5xx\""], 1.0),
        ("tetap_request_duration_seconds_count", vec!["route=\"good\""], 2.0),
        ("tetap_failures_total", vec!["cause=\"connect_failed\""], 1.0),
        ("tetap_failures_total", vec!["cause=\"no_route\""], 1.0),
        ("tetap_attempts_total", vec!["upstream=\"good\"", "outcome=\"ok\"", &endpoint], 2.0),
        ("tetap_attempts_total", vec!["upstream=\"bad\"", "outcome=\"connect_failed\""], 1.0),
        ("tetap_connections_total", vec!["listener=\"web\""], 4.0),
        ("tetap_connections", vec!["listener=\"web\""], 0.0),
        ("tetap_upstream_in_flight", vec!["upstream=\"good\""], 0.0),
        ("tetap_upstream_pending", vec![], 0.0),
        ("tetap_upstream_limit", vec!["upstream=\"good\""], 1024.0),
        ("tetap_draining", vec![], 0.0),
        ("tetap_build_info", vec!["version="], 1.0),
    ] {
        tetap.wait_for_metric(name, &labels, value);
    }
}

#[test]
fn the_admin_address_answers_what_it_knows() {
    let tetap = Tetap::start("routes: [{match: {path: {prefix: /}}, respond: {body: x}}]");
    assert_eq!((tetap.admin("/live").status, tetap.admin("/ready").status), (200, 200));
    let metrics = tetap.admin("/metrics");
    assert!(metrics.head.one("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    assert_eq!(tetap.admin("/nothing").status, 404);
    let mut post = crate::support::Client::connect(tetap.address("admin"));
    assert_eq!(post.post("/metrics", b"").status, 405);
}

#[test]
fn a_connection_counts_as_long_as_it_is_open() {
    let tetap = Tetap::start("routes: [{match: {path: {prefix: /}}, respond: {body: x}}]");
    let open = || tetap.metrics().sum("tetap_connections", &["listener=\"web\""]);
    let held: Vec<_> = (0..5).map(|_| tetap.client()).collect();
    until("five are open", || open() == 5.0);
    drop(held);
    until("none is open", || open() == 0.0);
}
