//! Every metric there is, in one place.
//!
//! Two things go wrong with metrics in a proxy. The label values come from the request (a path, a host, a header), and
//! a scanner fills the memory of the monitoring system; or each request looks its series up by text, and the map's lock
//! becomes the slowest part of the fast path. So label values here come from the configuration only, and whoever counts
//! asks once, when a snapshot is built, for a handle ([`RouteMetrics`], [`ListenerMetrics`], …) that is a few pointers to
//! atomics. The same name gives the same series again, so a counter lasts as long as the process.
//!
//! | series | type | says |
//! |---|---|---|
//! | `tetap_requests_total{route,code}` | counter | answered requests by status class; `route=""` where none matched |
//! | `tetap_request_duration_seconds{route}` | histogram | first byte of the request to last byte of the answer |
//! | `tetap_failures_total{cause}` | counter | exchanges that did not end with an upstream's own answer |
//! | `tetap_connections{listener}` | gauge | open client connections |
//! | `tetap_connections_total{listener}` | counter | accepted client connections |
//! | `tetap_connections_refused_total{listener,reason}` | counter | connections over a limit: `listener`, `client_ip` |
//! | `tetap_attempts_total{upstream,endpoint,outcome}` | counter | requests sent, or tried to be, to one endpoint |
//! | `tetap_upstream_connections_opened_total{upstream,endpoint}` | counter | connections that were not reused |
//! | `tetap_upstream_in_flight{upstream}` | gauge | requests that an endpoint is working on |
//! | `tetap_upstream_pending{upstream}` | gauge | requests that wait for one of those to end |
//! | `tetap_upstream_limit{upstream}` | gauge | requests that it is given at a time; moves with `limits.adaptive` |
//! | `tetap_access_log_dropped_total` | counter | access log lines lost to a slow or full disk |
//! | `tetap_draining` | gauge | 1 while the process is stopping |
//! | `tetap_build_info{version}` | gauge | always 1 |

use std::sync::Arc;
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use crate::failure::Cause;

/// Upper bounds of the duration histogram, in seconds.
///
/// Steps of 2 to 2.5, so that a quantile read between two bounds is never wrong by more than that. The lowest is what a
/// proxy in the same rack takes for a small answer; the highest is the default `timeouts.request`, past which requests end.
pub const DURATION_BOUNDS: [f64; 15] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// The values of `code`: status classes, since single statuses times routes would be too many series.
const CODES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// How one attempt at one endpoint ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// An answer came, whatever its status.
    Ok,
    /// No connection: refused or unreachable.
    ConnectFailed,
    /// Something did not come in time: the connection, the answer, or its next byte.
    Timeout,
    /// The endpoint closed or reset the connection.
    Reset,
    /// The answer was not well-formed HTTP.
    Invalid,
    /// The client went away, or the proxy gave up, before the endpoint had a fair chance.
    Cancelled,
}

impl Outcome {
    /// Every outcome, in the order of the enum.
    pub const ALL: [Outcome; 6] = [
        Outcome::Ok,
        Outcome::ConnectFailed,
        Outcome::Timeout,
        Outcome::Reset,
        Outcome::Invalid,
        Outcome::Cancelled,
    ];

    /// The word that stands in the metrics and the access log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::ConnectFailed => "connect_failed",
            Outcome::Timeout => "timeout",
            Outcome::Reset => "reset",
            Outcome::Invalid => "invalid",
            Outcome::Cancelled => "cancelled",
        }
    }
}

/// Which limit a client connection ran into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// `limits.connections` of the listener.
    Listener,
    /// `limits.connections_per_ip` of the listener.
    ClientIp,
}

impl Refusal {
    /// Every refusal, in the order of the enum.
    pub const ALL: [Refusal; 2] = [Refusal::Listener, Refusal::ClientIp];

    /// The value of the label `reason`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Refusal::Listener => "listener",
            Refusal::ClientIp => "client_ip",
        }
    }
}

/// One unit of a gauge, given back by drop.
#[derive(Debug)]
#[must_use = "the gauge goes down again when this is dropped"]
pub struct Held(IntGauge);

impl Held {
    /// Takes one.
    pub fn take(gauge: &IntGauge) -> Held {
        gauge.inc();
        Held(gauge.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// What one route counts.
#[derive(Clone, Debug)]
pub struct RouteMetrics {
    /// By status class, `1xx` first.
    pub requests: [IntCounter; 5],
    /// In seconds.
    pub duration: Histogram,
}

impl RouteMetrics {
    /// Counts one request that is over. A status outside 100 to 599 counts as the nearest class.
    pub fn finished(&self, status: u16, took: Duration) {
        let class = usize::from(status / 100).clamp(1, CODES.len()) - 1;
        self.requests[class].inc();
        self.duration.observe(took.as_secs_f64());
    }
}

/// What one listener counts.
#[derive(Clone, Debug)]
pub struct ListenerMetrics {
    /// Open now.
    pub connections: IntGauge,
    /// Accepted so far, the refused ones included.
    pub accepted: IntCounter,
    refused: [IntCounter; 2],
}

impl ListenerMetrics {
    /// Counts a connection as accepted, and as open until the guard is dropped.
    pub fn accept(&self) -> Held {
        self.accepted.inc();
        Held::take(&self.connections)
    }

    /// Counts a connection that is answered 503 and closed.
    pub fn refuse(&self, why: Refusal) {
        self.refused[why as usize].inc();
    }
}

/// What one upstream counts as a whole.
#[derive(Clone, Debug)]
pub struct UpstreamMetrics {
    /// Requests that an endpoint is working on.
    pub in_flight: IntGauge,
    /// Requests that wait for one of those to end.
    pub pending: IntGauge,
    /// Requests that it is given at a time, at most.
    pub limit: IntGauge,
}

/// What one endpoint of an upstream counts.
#[derive(Clone, Debug)]
pub struct EndpointMetrics {
    attempts: [IntCounter; 6],
    /// Connections that were opened, not reused.
    pub opened: IntCounter,
}

impl EndpointMetrics {
    /// Counts one attempt that is over.
    pub fn attempted(&self, outcome: Outcome) {
        self.attempts[outcome as usize].inc();
    }
}

/// All families, and the registry that they are read from.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    duration: HistogramVec,
    failures: [IntCounter; Cause::ALL.len()],
    connections: IntGaugeVec,
    accepted: IntCounterVec,
    refused: IntCounterVec,
    attempts: IntCounterVec,
    opened: IntCounterVec,
    in_flight: IntGaugeVec,
    pending: IntGaugeVec,
    limit: IntGaugeVec,
    access_log_dropped: IntCounter,
    draining: IntGauge,
}

impl Metrics {
    /// A fresh set with a registry of its own.
    pub fn new() -> Arc<Metrics> {
        let family = Families(Registry::new());
        let failures = family.counters(
            "failures_total",
            "Exchanges that did not end with an upstream's own answer",
            &["cause"],
        );
        let build = family.gauges("build_info", "Always 1; the label says which build runs", &["version"]);
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Arc::new(Metrics {
            requests: family.counters(
                "requests_total",
                "Answered requests by status class",
                &["route", "code"],
            ),
            duration: family.durations(
                "request_duration_seconds",
                "From a request's first byte to its answer's last",
                &["route"],
            ),
            failures: Cause::ALL.map(|cause| failures.with_label_values(&[cause.as_str()])),
            connections: family.gauges("connections", "Open client connections", &["listener"]),
            accepted: family.counters("connections_total", "Accepted client connections", &["listener"]),
            refused: family.counters(
                "connections_refused_total",
                "Client connections over a limit",
                &["listener", "reason"],
            ),
            attempts: family.counters(
                "attempts_total",
                "Attempts at one endpoint by outcome",
                &["upstream", "endpoint", "outcome"],
            ),
            opened: family.counters(
                "upstream_connections_opened_total",
                "Connections to endpoints that were not reused",
                &["upstream", "endpoint"],
            ),
            in_flight: family.gauges(
                "upstream_in_flight",
                "Requests that an endpoint is working on",
                &["upstream"],
            ),
            pending: family.gauges(
                "upstream_pending",
                "Requests that wait for one under way to end",
                &["upstream"],
            ),
            limit: family.gauges(
                "upstream_limit",
                "Requests that it is given at a time, at most",
                &["upstream"],
            ),
            access_log_dropped: family.counter("access_log_dropped_total", "Access log lines lost"),
            draining: family.gauge("draining", "1 while the process is stopping"),
            registry: family.0,
        })
    }

    /// The series of a route; the empty name is for requests that match none.
    pub fn route(&self, name: &str) -> RouteMetrics {
        RouteMetrics {
            requests: CODES.map(|code| self.requests.with_label_values(&[name, code])),
            duration: self.duration.with_label_values(&[name]),
        }
    }

    /// The series of a listener.
    pub fn listener(&self, name: &str) -> ListenerMetrics {
        ListenerMetrics {
            connections: self.connections.with_label_values(&[name]),
            accepted: self.accepted.with_label_values(&[name]),
            refused: Refusal::ALL.map(|why| self.refused.with_label_values(&[name, why.as_str()])),
        }
    }

    /// The series of an upstream.
    pub fn upstream(&self, name: &str) -> UpstreamMetrics {
        UpstreamMetrics {
            in_flight: self.in_flight.with_label_values(&[name]),
            pending: self.pending.with_label_values(&[name]),
            limit: self.limit.with_label_values(&[name]),
        }
    }

    /// The series of one endpoint (`ip:port`) of an upstream.
    pub fn endpoint(&self, upstream: &str, endpoint: &str) -> EndpointMetrics {
        let attempts = |outcome: Outcome| [upstream, endpoint, outcome.as_str()];
        EndpointMetrics {
            attempts: Outcome::ALL.map(|outcome| self.attempts.with_label_values(&attempts(outcome))),
            opened: self.opened.with_label_values(&[upstream, endpoint]),
        }
    }

    /// The counter of a cause.
    pub fn cause(&self, cause: Cause) -> &IntCounter {
        &self.failures[cause as usize]
    }

    /// Access log lines lost so far.
    pub fn access_log_dropped(&self) -> &IntCounter {
        &self.access_log_dropped
    }

    /// 1 while the process is stopping.
    pub fn draining(&self) -> &IntGauge {
        &self.draining
    }

    /// All series in Prometheus' text format, version 0.0.4.
    pub fn encode(&self) -> String {
        let encoded = TextEncoder::new().encode_to_string(&self.registry.gather());
        encoded.unwrap_or_else(|error| format!("# {error}\n"))
    }
}

/// Makes families and registers each at once, so that none is forgotten.
struct Families(Registry);

impl Families {
    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.register(IntCounter::with_opts(options(name, help)))
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.register(IntCounterVec::new(options(name, help), labels))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.register(IntGauge::with_opts(options(name, help)))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.register(IntGaugeVec::new(options(name, help), labels))
    }

    fn durations(&self, name: &str, help: &str, labels: &[&str]) -> HistogramVec {
        let options = HistogramOpts::from(options(name, help)).buckets(DURATION_BOUNDS.to_vec());
        self.register(HistogramVec::new(options, labels))
    }

    #[expect(clippy::expect_used, reason = "names, labels and bounds are constants of this file")]
    fn register<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let family = made.expect("a metric's name and labels are valid");
        self.0.register(Box::new(family.clone())).expect("a metric is registered once");
        family
    }
}

fn options(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("tetap")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(metrics: &Metrics, series: &str) -> Option<String> {
        let text = metrics.encode();
        let line = text.lines().find(|line| line.rsplit_once(' ').is_some_and(|(name, _)| name == series))?;
        line.rsplit_once(' ').map(|(_, value)| value.to_owned())
    }

    #[test]
    fn a_request_counts_in_its_class_and_its_bucket() {
        let metrics = Metrics::new();
        metrics.route("orders").finished(404, Duration::from_millis(3));
        assert_eq!(
            value(&metrics, r#"tetap_requests_total{code="4xx",route="orders"}"#).as_deref(),
            Some("1")
        );
        let bucket = |le| format!(r#"tetap_request_duration_seconds_bucket{{route="orders",le="{le}"}}"#);
        assert_eq!(value(&metrics, &bucket("0.0025")).as_deref(), Some("0"));
        assert_eq!(value(&metrics, &bucket("0.005")).as_deref(), Some("1"));
    }

    #[test]
    fn statuses_that_nobody_should_send_do_not_crash() {
        let route = Metrics::new().route("");
        for status in [0, 99, 600, u16::MAX] {
            route.finished(status, Duration::ZERO);
        }
        assert_eq!(route.requests[0].get() + route.requests[4].get(), 4);
    }

    #[test]
    fn the_same_name_is_the_same_series() {
        let metrics = Metrics::new();
        metrics.route("orders").finished(200, Duration::ZERO);
        assert_eq!(metrics.route("orders").requests[1].get(), 1);
    }

    #[test]
    fn every_cause_and_outcome_counts_under_its_own_word() {
        let metrics = Metrics::new();
        let endpoint = metrics.endpoint("api", "10.0.0.1:80");
        for cause in Cause::ALL {
            metrics.cause(cause).inc();
            let series = format!(r#"tetap_failures_total{{cause="{}"}}"#, cause.as_str());
            assert_eq!(value(&metrics, &series).as_deref(), Some("1"), "{series}");
        }
        for outcome in Outcome::ALL {
            endpoint.attempted(outcome);
            let labels = format!(r#"endpoint="10.0.0.1:80",outcome="{}",upstream="api""#, outcome.as_str());
            let series = format!("tetap_attempts_total{{{labels}}}");
            assert_eq!(value(&metrics, &series).as_deref(), Some("1"), "{series}");
        }
    }

    #[test]
    fn what_is_held_is_given_back_by_drop() {
        let listener = Metrics::new().listener("web");
        let (first, second) = (listener.accept(), listener.accept());
        assert_eq!(listener.connections.get(), 2);
        drop((first, second));
        assert_eq!((listener.connections.get(), listener.accepted.get()), (0, 2));
    }

    #[test]
    fn label_values_from_the_configuration_are_escaped() {
        let metrics = Metrics::new();
        metrics.upstream("a\"b\nc");
        assert!(metrics.encode().contains(r#"{upstream="a\"b\nc"}"#));
    }
}
