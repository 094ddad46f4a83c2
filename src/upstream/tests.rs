//! An upstream as a whole: what it shows, and what it leaves.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::balance::{Balance, HashKey, Tried};
use crate::health::{self, ejection::Ejection};
use crate::retry::budget;

fn planned(endpoints: u8) -> plan::Upstream {
    let endpoint =
        |last| plan::Endpoint { address: ([10, 0, 0, last], 80).into(), weight: 1, tier: 0, drained: false };
    let ejection = Ejection {
        consecutive_failures: 1,
        failure_percent: 100,
        window: Duration::from_secs(10),
        min_requests: 100,
        latency: None,
        base: Duration::from_secs(10),
        max_percent: 100,
    };
    plan::Upstream {
        name: "u".into(),
        members: plan::Members::Fixed((1..=endpoints).map(endpoint).collect()),
        balance: Balance::RoundRobin,
        sticky: None,
        check: None,
        health: health::Policy { checks: None, ejection, slow_start: None, panic_percent: 100 },
        budget: budget::Policy { percent: 10, min_per_second: 1 },
        keepalive: plan::Keepalive { idle: Duration::from_secs(1), connections: 1 },
        limits: plan::UpstreamLimits {
            connections: 10,
            requests: 10,
            pending: 10,
            pending_timeout: Duration::from_secs(1),
            adaptive: None,
        },
    }
}

/// One thread ejects, the other brings back, and the first is the last to tell of it.
#[test]
fn what_is_told_late_does_not_stay_in_the_gauges() {
    let upstream = Upstream::new(&planned(2), Clock::start(), &Metrics::new(), None);
    let (tried, now) = (Tried::default(), upstream.clock.now());
    let wanted = Wanted { tried: &tried, key: None, pinned: None, careful: false, bodiless: true };
    let choice = upstream.roster.lock().pick(&wanted, now, &mut fastrand::Rng::with_seed(1)).unwrap();
    let ejected = upstream.roster.lock().end(choice.seat, false, Ended::Silent, now);
    let back = upstream.roster.lock().checked(choice.seat, Ok(()), now);
    assert!(ejected.contains(&Event::Panic(true)) && back.contains(&Event::Fit(choice.seat)));
    upstream.tell(&back);
    upstream.tell(&ejected);
    let shown = (choice.endpoint.metrics().fit.get(), upstream.metrics.panic.get());
    assert_eq!(shown, (1, 0));
}

// ---- handed over

fn discovered(name: &str) -> plan::Upstream {
    let refresh = Duration::from_secs(30);
    let members = plan::Members::Dns { name: name.into(), port: 80, resolver: None, refresh };
    plan::Upstream { members, balance: Balance::Hash(HashKey::Path), ..planned(0) }
}

fn endpoint(last: u8) -> plan::Endpoint {
    plan::Endpoint {
        address: ([10, 0, 0, last], 80).into(),
        weight: u32::from(last),
        tier: 0,
        drained: false,
    }
}

/// Takes the place of another, in a process of its own.
fn heir(planned: &plan::Upstream, of: &Upstream) -> Arc<Upstream> {
    let left = estate::Estate { upstreams: vec![of.bequeath()], ..Default::default() };
    let read = estate::Estate::from_bytes(&left.to_bytes()).unwrap();
    let clock = Clock::start_before(limits::HINDSIGHT);
    Upstream::new(planned, clock, &Metrics::new(), read.upstream(&planned.name))
}

async fn is_ready(upstream: &Upstream) -> bool {
    tokio::time::timeout(Duration::ZERO, upstream.first_round()).await.is_ok()
}

fn pick(upstream: &Arc<Upstream>) -> Option<Lease> {
    let tried = Tried::default();
    let wanted = Wanted { tried: &tried, key: Some(b"k"), pinned: None, careful: false, bodiless: true };
    upstream.pick(&wanted, Instant::now())
}

#[tokio::test]
async fn members_that_were_found_before_are_there_at_once() {
    let first = Upstream::new(&discovered("a.test"), Clock::start(), &Metrics::new(), None);
    assert!(!is_ready(&first).await && pick(&first).is_none());
    first.set_members(&[endpoint(1), endpoint(2)]);
    let second = heir(&discovered("a.test"), &first);
    assert!(is_ready(&second).await && pick(&second).is_some());
    let members = |upstream: &Upstream| {
        upstream.look(|roster, _| roster.members().map(|(_, seat)| *seat.member()).collect::<Vec<_>>())
    };
    assert_eq!(members(&second), members(&first));
}

#[tokio::test]
async fn members_of_another_name_have_to_be_found_anew() {
    let first = Upstream::new(&discovered("a.test"), Clock::start(), &Metrics::new(), None);
    first.set_members(&[endpoint(1)]);
    let second = heir(&discovered("b.test"), &first);
    assert!(!is_ready(&second).await && pick(&second).is_none());
    let fixed = heir(&planned(2), &first);
    assert_eq!(fixed.seats().len(), 2);
}

#[test]
fn an_ejection_a_budget_and_a_limit_are_inherited() {
    let mut planned = planned(2);
    planned.limits.adaptive = Some(crate::limit::adaptive::Policy { min: 2, start: 9, max: 10 });
    let first = Upstream::new(&planned, Clock::start(), &Metrics::new(), None);
    pick(&first).unwrap().end(Ended::Badly, Instant::now());
    (0..100).for_each(|_| first.requested());
    (0..20).for_each(|_| assert!(first.may_retry()));
    assert!(!first.may_retry());
    planned.limits.adaptive = Some(crate::limit::adaptive::Policy { min: 2, start: 3, max: 10 });
    let second = heir(&planned, &first);
    let fit = |upstream: &Upstream| {
        upstream.look(|roster, _| roster.members().map(|(_, seat)| seat.fitness()).collect::<Vec<_>>())
    };
    assert_eq!(fit(&second), fit(&first));
    assert!(fit(&second).iter().any(|fitness| *fitness != Fitness::Fit));
    assert!(!second.may_retry());
    assert_eq!(second.metrics.limit.get(), 9);
}

/// In one process: the old one finishes its requests, and what becomes of them is not shown.
#[test]
fn the_gauges_are_those_of_the_one_that_took_over() {
    let metrics = Metrics::new();
    let planned = planned(2);
    let first = Upstream::new(&planned, Clock::start(), &metrics, None);
    let leases = [pick(&first).unwrap(), pick(&first).unwrap()];
    let second = Upstream::new(&planned, first.clock, &metrics, Some(&first.bequeath()));
    leases.into_iter().for_each(|lease| lease.end(Ended::Badly, Instant::now()));
    let shown = |upstream: &Upstream| upstream.seats().iter().map(|(_, seat)| seat.metrics().fit.get()).sum();
    let sums: [i64; 2] = [&*first, &*second].map(shown);
    assert_eq!((sums, second.metrics.panic.get()), ([2, 2], 0));
    drop(first);
    assert!(metrics.encode().contains("10.0.0.1:80"));
    drop(second);
    assert!(!metrics.encode().contains("10.0.0.1:80"), "the last has gone");
}

// ---- whatever is left

/// A real estate: of four endpoints one is ejected, one is down, and some requests were tried again.
fn real(planned: &plan::Upstream) -> estate::Estate {
    let upstream = Upstream::new(planned, Clock::start(), &Metrics::new(), None);
    if !matches!(planned.members, plan::Members::Fixed(_)) {
        upstream.set_members(&[1, 2, 3, 4].map(endpoint));
    }
    for (nth, (id, _)) in upstream.seats().into_iter().enumerate() {
        upstream.checked(id, if nth == 1 { Err(Miss::Status(500)) } else { Ok(()) });
    }
    for ended in [Ended::Silent, Ended::Well(Duration::from_millis(3))] {
        pick(&upstream).unwrap().end(ended, Instant::now());
    }
    upstream.requested();
    upstream.may_retry();
    estate::Estate { upstreams: vec![upstream.bequeath()], ..Default::default() }
}

/// Half may be ejected; so somebody is always asked where no check says otherwise.
fn robust(mut planned: plan::Upstream, checked: bool) -> plan::Upstream {
    planned.health.ejection.max_percent = 50;
    planned.health.ejection.latency = Some(Duration::from_millis(1));
    planned.health.slow_start = Some(Duration::from_secs(30));
    planned.health.checks = checked.then_some(health::probe::Thresholds { healthy: 2, unhealthy: 1 });
    planned.limits.adaptive = Some(crate::limit::adaptive::Policy { min: 2, start: 9, max: 10 });
    planned
}

/// Lives for a while with what was left, and leaves it again.
fn live(planned: &plan::Upstream, left: &estate::Estate, metrics: &Arc<Metrics>) {
    let clock = Clock::start_before(Duration::from_secs(5));
    let upstream = Upstream::new(planned, clock, metrics, left.upstream(&planned.name));
    let served = |ended| {
        let lease = pick(&upstream);
        let serves = lease.is_some();
        lease.into_iter().for_each(|lease| lease.end(ended, Instant::now()));
        serves
    };
    let is_found = !matches!(planned.members, plan::Members::Fixed(_)); // and may have been found drained
    for ended in [Ended::Well(Duration::from_secs(1)), Ended::Badly, Ended::Silent].repeat(4) {
        assert!(served(ended) || planned.health.checks.is_some() || is_found);
        upstream.may_retry();
        upstream.refresh();
    }
    for (id, _) in upstream.seats() {
        for result in [Ok(()), Err(Miss::Body), Ok(()), Ok(())] {
            upstream.checked(id, result);
        }
    }
    assert!(served(Ended::Well(Duration::ZERO)) || is_found, "after good checks in any case");
    let permit = upstream.gate().try_admit();
    permit.unwrap().answered(Duration::from_millis(1));
    upstream.bequeath();
}

/// One value somewhere in it becomes another.
fn mutate(value: &mut serde_json::Value, random: &mut fastrand::Rng) {
    use serde_json::{Value, json};
    let inner: Vec<&mut Value> = match value {
        Value::Array(values) => values.iter_mut().collect(),
        Value::Object(values) => values.values_mut().collect(),
        _ => Vec::new(),
    };
    let depth = inner.len();
    let chosen = inner.into_iter().nth(random.usize(0..=depth));
    match chosen {
        Some(inner) => mutate(inner, random),
        None if depth > 0 && random.u8(0..10) > 0 => mutate(value, random),
        None => {
            let others = [
                json!(0),
                json!(1),
                json!(u32::MAX),
                json!(u64::MAX),
                json!(-1),
                json!(1e300),
                json!(null),
                json!(true),
                json!([]),
                json!({}),
                json!("x"),
                json!("10.0.0.1:80"),
                json!({"up": {"bad": u32::MAX}}),
                json!({"open": {"left": u64::MAX, "why": {"trial": {"answered": false}}}}),
            ];
            *value = others[random.usize(0..others.len())].clone();
        }
    }
}

fn plans() -> Vec<plan::Upstream> {
    let kinds = [(planned(4), true), (planned(4), false), (discovered("a.test"), false)];
    kinds.into_iter().map(|(planned, checked)| robust(planned, checked)).collect()
}

#[test]
fn an_upstream_serves_with_whatever_was_left_to_it() {
    let metrics = Metrics::new();
    let mut random = fastrand::Rng::with_seed(17);
    for planned in plans() {
        let real = serde_json::to_value(real(&planned)).unwrap();
        for _ in 0..1500 {
            let mut value = real.clone();
            (0..random.usize(0..6)).for_each(|_| mutate(&mut value["upstreams"], &mut random));
            let bytes = value.to_string().into_bytes();
            let read = estate::Estate::from_bytes(&bytes).unwrap_or_default();
            live(&planned, &read, &metrics);
        }
    }
}

proptest::proptest! {
    #[test]
    fn bytes_that_are_no_estate_do_no_harm(bytes: Vec<u8>, at: proptest::sample::Index, byte: u8) {
        let _ = estate::Estate::from_bytes(&bytes);
        let planned = robust(planned(4), false);
        let mut real = real(&planned).to_bytes();
        let at = at.index(real.len());
        real[at] = byte;
        let read = estate::Estate::from_bytes(&real).unwrap_or_default();
        live(&planned, &read, &Metrics::new());
    }
}
