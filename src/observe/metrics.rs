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
//! | `tetap_upstream_panic{upstream}` | gauge | 1 while too few endpoints are fit and all that answer are asked |
//! | `tetap_retries_total{upstream}` | counter | attempts that were made again and count as load |
//! | `tetap_retries_refused_total{upstream}` | counter | attempts that the retry budget did not allow |
//! | `tetap_endpoint_fit{upstream,endpoint}` | gauge | 1 while the endpoint may be asked |
//! | `tetap_ejections_total{upstream,endpoint,reason}` | counter | times that failed requests took an endpoint out |
//! | `tetap_health_checks_total{upstream,endpoint,result}` | counter | checks that went `well` or `badly` |
//! | `tetap_discovery_updates_total{upstream}` | counter | times that other endpoints were found than before |
//! | `tetap_discovery_errors_total{upstream}` | counter | times that endpoints could not be found out |
//! | `tetap_upstream_limit{upstream}` | gauge | requests that it is given at a time, at most; moves where `limits.adaptive` is set |
//! | `tetap_access_log_dropped_total` | counter | access log lines lost to a slow or full disk |
//! | `tetap_reloads_total{outcome}` | counter | reloads that were `done` or `refused`; this and the next four come from the supervisor |
//! | `tetap_config_last_reload_successful` | gauge | 1 unless the last reload was refused |
//! | `tetap_upgrades_total{outcome}` | counter | upgrades that were `done`, `failed` unnoticed, or were `rolled_back` |
//! | `tetap_worker_crashes_total` | counter | workers that ended without having been told to |
//! | `tetap_workers_draining` | gauge | workers that were followed, and finish what they have |
//! | `tetap_draining` | gauge | 1 while the process is stopping |
//! | `tetap_build_info{version}` | gauge | always 1 |

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use super::shown::{Board, Shown};
use crate::failure::Cause;
use crate::history::History;

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
    /// An answer came, but another endpoint is asked for a better one.
    Rejected,
    /// The client went away, or the proxy gave up, before the endpoint had a fair chance.
    Cancelled,
}

impl Outcome {
    /// Every outcome, in the order of the enum.
    pub const ALL: [Outcome; 7] = [
        Outcome::Ok,
        Outcome::ConnectFailed,
        Outcome::Timeout,
        Outcome::Reset,
        Outcome::Invalid,
        Outcome::Rejected,
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
            Outcome::Rejected => "rejected",
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

/// A count that somebody else keeps: it goes up to there.
fn raise(counter: &IntCounter, to: u64) {
    counter.inc_by(to.saturating_sub(counter.get()));
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

    /// Those that were answered with a 5xx.
    pub fn failures(&self) -> u64 {
        self.requests[CODES.len() - 1].get()
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
    /// What nobody is told.
    pub fn unseen() -> ListenerMetrics {
        Metrics::new().listener("")
    }

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
    /// Requests that wait for one of those to end, or for an endpoint to come back.
    pub pending: IntGauge,
    /// 1 while too few endpoints are fit.
    pub panic: Shown,
    /// Attempts that were made again.
    pub retries: IntCounter,
    /// Attempts that were not, for want of budget.
    pub retries_refused: IntCounter,
    /// Times that other endpoints were found.
    pub discovery_updates: IntCounter,
    /// Times that they could not be found out.
    pub discovery_errors: IntCounter,
    /// Requests that it is given at a time, at most.
    pub limit: Shown,
}

/// What one endpoint of an upstream counts. Its series go with the last that holds them.
#[derive(Debug)]
pub struct EndpointMetrics {
    attempts: [IntCounter; Outcome::ALL.len()],
    /// Connections that were opened, not reused.
    pub opened: IntCounter,
    /// 1 while it may be asked.
    pub fit: Shown,
    ejections: [IntCounter; EJECTIONS.len()],
    checks: [IntCounter; CHECKS.len()],
    _series: EndpointSeries,
}

/// One holder of an endpoint's series; gives them back by drop.
#[derive(Debug)]
struct EndpointSeries {
    metrics: Arc<Metrics>,
    /// The upstream, and the endpoint.
    key: (String, String),
}

impl Drop for EndpointSeries {
    fn drop(&mut self) {
        self.metrics.forget_endpoint(&self.key);
    }
}

/// What an endpoint's holders share.
#[derive(Debug)]
struct Common {
    holders: usize,
    fit: Arc<Board>,
}

/// The values of `reason` of an ejection.
const EJECTIONS: [&str; 4] = ["consecutive_failures", "failure_ratio", "latency", "trial"];

/// The values of `result` of a health check.
const CHECKS: [&str; 2] = ["well", "badly"];

impl EndpointMetrics {
    /// Counts one attempt that is over.
    pub fn attempted(&self, outcome: Outcome) {
        self.attempts[outcome as usize].inc();
    }

    /// Counts one ejection, by its word.
    pub fn ejected(&self, reason: &str) {
        if let Some(index) = EJECTIONS.iter().position(|word| *word == reason) {
            self.ejections[index].inc();
        }
    }

    /// Counts one health check.
    pub fn checked(&self, well: bool) {
        self.checks[usize::from(!well)].inc();
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
    panic: IntGaugeVec,
    retries: IntCounterVec,
    retries_refused: IntCounterVec,
    discovery_updates: IntCounterVec,
    discovery_errors: IntCounterVec,
    fit: IntGaugeVec,
    ejections: IntCounterVec,
    checks: IntCounterVec,
    /// Who hold the series of an endpoint: one that leaves and joins again, and one whose upstream is replaced, is there
    /// twice, for a while.
    endpoints: Mutex<HashMap<(String, String), Common>>,
    /// The gauges of an upstream that show its state: panic and limit.
    upstreams: Mutex<HashMap<String, [Arc<Board>; 2]>>,
    limit: IntGaugeVec,
    access_log_dropped: IntCounter,
    reloads: IntCounterVec,
    reload_stands: IntGauge,
    upgrades: IntCounterVec,
    crashes: IntCounter,
    workers_draining: IntGauge,
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
        let metrics = Arc::new(Metrics {
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
                "Requests that wait for one under way to end, or for an endpoint to come back",
                &["upstream"],
            ),
            panic: family.gauges("upstream_panic", "1 while too few endpoints are fit", &["upstream"]),
            retries: family.counters("retries_total", "Attempts that were made again", &["upstream"]),
            retries_refused: family.counters(
                "retries_refused_total",
                "Attempts that the retry budget did not allow",
                &["upstream"],
            ),
            discovery_updates: family.counters(
                "discovery_updates_total",
                "Times that other endpoints were found than before",
                &["upstream"],
            ),
            discovery_errors: family.counters(
                "discovery_errors_total",
                "Times that endpoints could not be found out",
                &["upstream"],
            ),
            fit: family.gauges(
                "endpoint_fit",
                "1 while the endpoint may be asked",
                &["upstream", "endpoint"],
            ),
            ejections: family.counters(
                "ejections_total",
                "Times that failed requests took an endpoint out",
                &["upstream", "endpoint", "reason"],
            ),
            checks: family.counters(
                "health_checks_total",
                "Health checks by result",
                &["upstream", "endpoint", "result"],
            ),
            endpoints: Mutex::default(),
            upstreams: Mutex::default(),
            limit: family.gauges(
                "upstream_limit",
                "Requests that it is given at a time, at most",
                &["upstream"],
            ),
            access_log_dropped: family.counter("access_log_dropped_total", "Access log lines lost"),
            reloads: family.counters(
                "reloads_total",
                "Reloads of the configuration by outcome",
                &["outcome"],
            ),
            reload_stands: family.gauge(
                "config_last_reload_successful",
                "1 unless the last reload was refused: what serves is then not what the file says",
            ),
            upgrades: family.counters("upgrades_total", "Upgrades by outcome", &["outcome"]),
            crashes: family.counter("worker_crashes_total", "Workers that ended without having been told to"),
            workers_draining: family
                .gauge("workers_draining", "Worker processes that were followed, and finish what they have"),
            draining: family.gauge("draining", "1 while the process is stopping"),
            registry: family.0,
        });
        metrics.tell(&History::default());
        metrics
    }

    /// The series of a route; the empty name is for requests that match none.
    pub fn route(&self, name: &str) -> RouteMetrics {
        RouteMetrics {
            requests: CODES.map(|code| self.requests.with_label_values(&[name, code])),
            duration: self.duration.with_label_values(&[name]),
        }
    }

    /// Removes the series of a route that there is no more.
    pub fn forget_route(&self, name: &str) {
        for code in CODES {
            let _ = self.requests.remove_label_values(&[name, code]); // what was never made need not be removed
        }
        let _ = self.duration.remove_label_values(&[name]);
    }

    /// Removes the series of an upstream that there is no more. What ends at it still is not seen.
    pub fn forget_upstream(&self, name: &str) {
        self.upstreams.lock().remove(name);
        for gauge in [&self.in_flight, &self.pending, &self.panic, &self.limit] {
            let _ = gauge.remove_label_values(&[name]); // what was never made need not be removed
        }
        for counter in [&self.retries, &self.retries_refused, &self.discovery_updates, &self.discovery_errors]
        {
            let _ = counter.remove_label_values(&[name]);
        }
    }

    /// The same of a listener.
    pub fn forget_listener(&self, name: &str) {
        let _ = self.connections.remove_label_values(&[name]);
        let _ = self.accepted.remove_label_values(&[name]);
        for why in Refusal::ALL {
            let _ = self.refused.remove_label_values(&[name, why.as_str()]);
        }
    }

    /// Shows what has happened to the processes so far, as whoever sees all of them counts it.
    pub fn tell(&self, history: &History) {
        let History {
            reloads,
            reloads_refused,
            reload_stands,
            upgrades,
            upgrades_failed,
            rollbacks,
            crashes,
            draining,
        } = *history;
        let failed = upgrades_failed.saturating_sub(rollbacks);
        raise(&self.reloads.with_label_values(&["done"]), reloads);
        raise(&self.reloads.with_label_values(&["refused"]), reloads_refused);
        raise(&self.upgrades.with_label_values(&["done"]), upgrades);
        raise(&self.upgrades.with_label_values(&["failed"]), failed);
        raise(&self.upgrades.with_label_values(&["rolled_back"]), rollbacks);
        raise(&self.crashes, crashes);
        self.reload_stands.set(i64::from(reload_stands));
        self.workers_draining.set(i64::try_from(draining).unwrap_or(i64::MAX));
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
        let [panic, limit] = self.upstream_boards(name);
        UpstreamMetrics {
            in_flight: self.in_flight.with_label_values(&[name]),
            pending: self.pending.with_label_values(&[name]),
            panic: panic.hold(),
            retries: self.retries.with_label_values(&[name]),
            retries_refused: self.retries_refused.with_label_values(&[name]),
            discovery_updates: self.discovery_updates.with_label_values(&[name]),
            discovery_errors: self.discovery_errors.with_label_values(&[name]),
            limit: limit.hold(),
        }
    }

    fn upstream_boards(&self, name: &str) -> [Arc<Board>; 2] {
        let boards =
            || [&self.panic, &self.limit].map(|family| Board::new(family.with_label_values(&[name])));
        self.upstreams.lock().entry(name.to_owned()).or_insert_with(boards).clone()
    }

    /// The series of one endpoint (`ip:port`) of an upstream, for as long as somebody holds them.
    pub fn endpoint(self: &Arc<Metrics>, upstream: &str, endpoint: &str) -> EndpointMetrics {
        let key = (upstream.to_owned(), endpoint.to_owned());
        let fit = self.hold_endpoint(&key);
        let attempts = |outcome: Outcome| [upstream, endpoint, outcome.as_str()];
        EndpointMetrics {
            attempts: Outcome::ALL.map(|outcome| self.attempts.with_label_values(&attempts(outcome))),
            opened: self.opened.with_label_values(&[upstream, endpoint]),
            fit,
            ejections: EJECTIONS.map(|why| self.ejections.with_label_values(&[upstream, endpoint, why])),
            checks: CHECKS.map(|result| self.checks.with_label_values(&[upstream, endpoint, result])),
            _series: EndpointSeries { metrics: self.clone(), key },
        }
    }

    fn hold_endpoint(&self, key: &(String, String)) -> Shown {
        let new = || Common {
            holders: 0,
            fit: Board::new(self.fit.with_label_values(&[key.0.as_str(), key.1.as_str()])),
        };
        let mut endpoints = self.endpoints.lock();
        let common = endpoints.entry(key.clone()).or_insert_with(new);
        common.holders += 1;
        common.fit.hold()
    }

    /// One holder less. With the last go the series: those of all endpoints that ever were would pile up. The lock is held
    /// until they are gone, so that who joins meanwhile does not lose his.
    fn forget_endpoint(&self, key: &(String, String)) {
        let mut endpoints = self.endpoints.lock();
        let Some(common) = endpoints.get_mut(key) else { return };
        common.holders -= 1;
        if common.holders == 0 {
            endpoints.remove(key);
            self.remove_endpoint(&key.0, &key.1);
        }
    }

    fn remove_endpoint(&self, upstream: &str, endpoint: &str) {
        // what was never made need not be removed
        let _ = self.opened.remove_label_values(&[upstream, endpoint]);
        let _ = self.fit.remove_label_values(&[upstream, endpoint]);
        for outcome in Outcome::ALL {
            let _ = self.attempts.remove_label_values(&[upstream, endpoint, outcome.as_str()]);
        }
        for why in EJECTIONS {
            let _ = self.ejections.remove_label_values(&[upstream, endpoint, why]);
        }
        for result in CHECKS {
            let _ = self.checks.remove_label_values(&[upstream, endpoint, result]);
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
    fn what_is_no_longer_planned_leaves_no_series() {
        let metrics = Metrics::new();
        let series =
            |metrics: &Metrics| metrics.encode().lines().filter(|line| line.contains("gone")).count();
        let _held = (metrics.upstream("gone"), metrics.route("gone"), metrics.listener("gone"));
        metrics.route("gone").finished(200, Duration::from_millis(1));
        assert!(series(&metrics) > 10);
        metrics.forget_upstream("gone");
        metrics.forget_route("gone");
        metrics.forget_listener("gone");
        assert_eq!(series(&metrics), 0, "{}", metrics.encode());
    }

    #[test]
    fn an_endpoint_that_is_gone_leaves_no_series() {
        let metrics = Metrics::new();
        let endpoint = metrics.endpoint("api", "10.0.0.1:80");
        for reason in EJECTIONS {
            endpoint.ejected(reason);
        }
        endpoint.checked(true);
        let _other = metrics.endpoint("api", "10.0.0.2:80");
        let again = metrics.endpoint("api", "10.0.0.1:80");
        drop(endpoint);
        assert!(metrics.encode().contains("10.0.0.1:80"), "it has joined again before it was gone");
        drop(again);
        assert!(!metrics.encode().contains("10.0.0.1:80"), "{}", metrics.encode());
        assert!(metrics.encode().contains("10.0.0.2:80"));
    }

    #[test]
    fn who_is_replaced_counts_on_but_shows_nothing_any_more() {
        let metrics = Metrics::new();
        let series = r#"{endpoint="10.0.0.1:80",upstream="api"}"#;
        let shown = |name: &str| value(&metrics, &format!("tetap_{name}{series}"));
        let old = metrics.endpoint("api", "10.0.0.1:80");
        old.fit.set(0);
        let young = metrics.endpoint("api", "10.0.0.1:80");
        young.fit.set(1);
        old.fit.set(0);
        [&old, &young].into_iter().for_each(|endpoint| endpoint.opened.inc());
        assert_eq!(shown("endpoint_fit").as_deref(), Some("1"));
        drop(old);
        assert_eq!(shown("endpoint_fit").as_deref(), Some("1"));
        assert_eq!(shown("upstream_connections_opened_total").as_deref(), Some("2"));
    }

    #[test]
    fn of_two_upstreams_with_one_name_the_younger_shows_its_limit() {
        let metrics = Metrics::new();
        let (old, young) = (metrics.upstream("api"), metrics.upstream("api"));
        young.limit.set(20);
        old.limit.set(10);
        assert_eq!(value(&metrics, r#"tetap_upstream_limit{upstream="api"}"#).as_deref(), Some("20"));
    }

    #[test]
    fn label_values_from_the_configuration_are_escaped() {
        let metrics = Metrics::new();
        metrics.upstream("a\"b\nc");
        assert!(metrics.encode().contains(r#"{upstream="a\"b\nc"}"#));
    }
}
