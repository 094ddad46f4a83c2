//! Servers that take a request and then take their time, or for ever.
//!
//! A server that is dead says so; one that hangs looks like one that is thinking. What is known about it is known after the
//! first requests have waited in vain, so these are the only ones that may; and since nothing else tells how busy a silent
//! server is, it must not be sent more than the others while they wait. That is what `least_requests` and `ewma` are for.

use std::time::Duration;

use super::stage::{QUIET, Stage, WATCHED, pause, usual_load};
use crate::support::ask::Kind;
use crate::support::load::{Load, Report};
use crate::support::server::{Conduct, Fault};

const PER_TRY: Duration = Duration::from_millis(250);

/// The `consecutive_failures` of [`WATCHED`].
const FAILURES: u32 = 3;

/// For a machine that is busy.
const SLACK: Duration = Duration::from_millis(250);

/// `balance`, and how long one attempt may wait.
fn impatient(balance: &str) -> String {
    format!("balance: {balance}, {WATCHED}, retry: {{per_try_timeout: 250ms}}")
}

/// A POST that waits in vain is lost, since nobody knows whether it was read. So how many are lost depends on how many POSTs
/// are among the first few requests; with one in five, chance would now and then send three of them.
fn few_posts() -> Load {
    usual_load().with_posts(5)
}

/// Only the first requests wait for a silent server, and no GET waits longer than for one attempt and a quick second one.
fn assert_only_the_first_waited(report: &Report) {
    let detected = QUIET + PER_TRY * FAILURES + SLACK; // at worst one failure after the other
    let late: Vec<_> = report.within(detected..).into_iter().filter(|o| o.took >= PER_TRY).collect();
    assert!(late.is_empty(), "{} waited after the first: {:?}", late.len(), late.first());
    let slowest = report.latency(..).max;
    assert!(slowest < PER_TRY + SLACK, "somebody waited for {slowest:?}");
}

#[test]
fn one_hangs_and_its_health_check_is_green() {
    let mut stage = Stage::set(&impatient("least_requests"));
    let report = stage.play("one accepts and never answers", few_posts(), |[_, b, _]| {
        b.behave(Conduct::bad(Fault::Silent));
    });
    stage.assert_kept(&report, &["b"]);
    assert_only_the_first_waited(&report);
}

/// The kernel goes on accepting; and when the server goes on, it finds the requests that were given up meanwhile.
#[test]
fn one_is_stopped_and_continued() {
    let mut stage = Stage::set(&impatient("least_requests"));
    let report = stage.play("one is stopped for two seconds (SIGSTOP)", few_posts(), |[_, b, _]| {
        b.freeze();
        pause(2000);
        b.thaw();
    });
    stage.assert_kept(&report, &["b"]);
    assert_only_the_first_waited(&report);
}

/// There is no fault here: it answers, and in time. Only the balance can help.
#[test]
fn one_is_slower_than_its_siblings() {
    let mut stage = Stage::set(&format!("balance: ewma, {WATCHED}"));
    let report = stage.play("one is 800 ms slower than the others", usual_load(), |[_, b, _]| {
        b.behave(Conduct { late: Duration::from_millis(800), ..Conduct::GOOD });
    });
    stage.assert_kept(&report, &[]);
    assert!(report.failed(Kind::Post).is_empty(), "{:?}", report.failed(Kind::Post));
    let settled = report.latency(QUIET + Duration::from_secs(1)..);
    assert!(settled.p99 < Duration::from_millis(100), "a second later: {settled:?}");
}
