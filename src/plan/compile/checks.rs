//! How endpoints are watched: health checks and ejection.

use http::Method;
use http::header::HOST;

use crate::config::units::{HeaderName, Pattern, Unit};
use crate::config::upstream::health::{self, GrpcCheck, TcpCheck};
use crate::config::upstream::{self, Status};
use crate::config::{Fault, KeyPath};
use crate::health::ejection::Ejection;
use crate::health::probe::Thresholds;
use crate::plan::compile::headers;
use crate::plan::{Check, CheckKind, HttpCheck};

/// The check; none if there is a fault in it.
pub fn plan(path: &KeyPath, check: &upstream::Check, faults: &mut Vec<Fault>) -> Option<Check> {
    // The thresholds are of the verdict, not of the check.
    let upstream::Check {
        http,
        tcp,
        grpc,
        port,
        interval,
        timeout,
        healthy_threshold: _,
        unhealthy_threshold: _,
    } = check;
    let kind = match (http, tcp, grpc) {
        (Some(http), None, None) => {
            plan_http(&path.key("http"), http, faults).map(Box::new).map(CheckKind::Http)
        }
        (None, Some(TcpCheck {}), None) => Some(CheckKind::Tcp),
        (None, None, Some(GrpcCheck { service })) => {
            Some(CheckKind::Grpc { service: service.as_str().into() })
        }
        _ => {
            faults.push(Fault::new(
                path.clone(),
                "several of them or none",
                "exactly one of http, tcp, grpc",
            ));
            None
        }
    };
    Some(Check { kind: kind?, port: *port, interval: interval.as_std(), timeout: timeout.as_std() })
}

/// How many results turn a verdict.
pub fn thresholds(check: &upstream::Check) -> Thresholds {
    Thresholds { healthy: check.healthy_threshold, unhealthy: check.unhealthy_threshold }
}

fn plan_http(path: &KeyPath, check: &health::HttpCheck, faults: &mut Vec<Fault>) -> Option<HttpCheck> {
    let health::HttpCheck { path: target, method, host, headers: extra, expect, body_contains, body_matches } =
        check;
    let method = method.as_ref().map_or(Method::GET, |method| method.0.clone());
    let target = target.as_ref().map_or("/", |target| target.as_str());
    let looks = body_contains.is_some() || body_matches.is_some();
    if method == Method::HEAD && looks {
        let key = if body_contains.is_some() { "body_contains" } else { "body_matches" };
        faults
            .push(Fault::new(path.key(key), "this beside method HEAD", "it where there is a body").at_key());
    }
    faults.extend(headers::doubles(&path.key("headers"), extra));
    faults.extend(extra.iter().filter_map(|(name, _)| ours(&path.key("headers"), name)));
    let matches = match body_matches {
        Some(pattern) => Some(crate::plan::Pattern(as_bytes(&path.key("body_matches"), pattern, faults)?)),
        None => None,
    };
    Some(HttpCheck {
        method,
        path: target.to_owned(),
        host: host.as_ref().map(Unit::write),
        headers: extra.iter().map(|(name, value)| (name.name.clone(), value.0.clone())).collect(),
        expect: expect
            .as_deref()
            .map_or_else(|| vec![(200, 299)], |expect| expect.iter().map(range).collect()),
        contains: body_contains.clone(),
        matches,
    })
}

/// What the check itself sends.
fn ours(path: &KeyPath, header: &HeaderName) -> Option<Fault> {
    let expected = match &header.name {
        name if *name == HOST => "the key host instead",
        name if headers::is_of_the_connection(name) => {
            "no header that belongs to the connection or frames the message"
        }
        _ => return None,
    };
    Some(Fault::new(path.key(&header.written), format!("the header {}", header.name), expected).at_key())
}

fn range(status: &Status) -> (u16, u16) {
    match status {
        Status::One(status) => (*status, *status),
        Status::Range(range) => (range.first, range.last),
    }
}

/// A body need not be text.
fn as_bytes(path: &KeyPath, pattern: &Pattern, faults: &mut Vec<Fault>) -> Option<regex::bytes::Regex> {
    let built = regex::bytes::Regex::new(pattern.as_str());
    let fault = |error: &regex::Error| Fault::new(path.clone(), error.to_string(), "a regular expression");
    built.inspect_err(|error| faults.push(fault(error))).ok()
}

/// What takes an endpoint out because of requests.
pub fn plan_ejection(path: &KeyPath, ejection: &upstream::Ejection, faults: &mut Vec<Fault>) -> Ejection {
    let upstream::Ejection {
        consecutive_failures,
        failure_ratio,
        window,
        min_requests,
        latency,
        r#for: base,
        max_ejected,
    } = ejection;
    if failure_ratio.percent() == 0 {
        let expected = "above 0%, or max_ejected: 0% to eject none";
        faults.push(Fault::new(path.key("failure_ratio"), "0%, which every request would exceed", expected));
    }
    Ejection {
        consecutive_failures: *consecutive_failures,
        failure_percent: failure_ratio.percent(),
        window: window.as_std(),
        min_requests: *min_requests,
        latency: latency.map(|latency| latency.as_std()),
        base: base.as_std(),
        max_percent: max_ejected.percent(),
    }
}
