//! Servers that answer, and should not have: with an error, with nonsense, with a reset, with half of it.
//!
//! Their health checks stay green: it is the requests that must tell.

use std::time::Duration;

use super::stage::{Stage, WATCHED, assert_honest, usual_load};
use crate::support::ask::{Kind, Shape};
use crate::support::load::Verdict;
use crate::support::server::{Conduct, Fault};

fn one_turns_bad(scenario: &str, fault: Fault) {
    let mut stage = Stage::set(WATCHED);
    let report = stage.play(scenario, usual_load(), |[_, b, _]| b.behave(Conduct::bad(fault)));
    stage.assert_kept(&report, &["b"]);
    assert!(report.cut(Kind::Get).is_empty(), "no answer had begun: {:?}", report.cut(Kind::Get));
}

#[test]
fn one_resets_before_it_answers() {
    one_turns_bad("one resets before it answers", Fault::Reset);
}

#[test]
fn one_answers_503() {
    one_turns_bad("one answers 503", Fault::Unavailable);
}

#[test]
fn one_answers_garbage() {
    one_turns_bad("one answers garbage", Fault::Garbage);
}

fn one_breaks_off(scenario: &str, fault: Fault, shapes: &'static [Shape]) {
    let mut stage = Stage::set(WATCHED);
    let load = usual_load().with_shapes(shapes);
    let report = stage.play(scenario, load, |[_, b, _]| b.behave(Conduct::bad(fault)));
    stage.assert_kept(&report, &["b"]);
}

#[test]
fn a_length_ends_early_by_fin() {
    one_breaks_off("body cut by FIN, Content-Length", Fault::CutByFin, &[Shape::Length]);
}

#[test]
fn a_length_ends_early_by_reset() {
    one_breaks_off("body cut by RST, Content-Length", Fault::CutByReset, &[Shape::Length]);
}

#[test]
fn chunks_end_early_by_fin() {
    one_breaks_off("body cut by FIN, chunked", Fault::CutByFin, &[Shape::Chunked]);
}

#[test]
fn chunks_end_early_by_reset() {
    one_breaks_off("body cut by RST, chunked", Fault::CutByReset, &[Shape::Chunked]);
}

#[test]
fn until_close_ends_early_by_reset() {
    one_breaks_off("body cut by RST, until close", Fault::CutByReset, &[Shape::UntilClose]);
}

/// The one case in which nobody can know: such a body ends with a FIN, so one that ends early is whole by definition
/// (RFC 9112, section 8). What can be asked for is that the client gets just what the server sent, and nothing else.
#[test]
fn until_close_ends_early_by_fin() {
    let mut stage = Stage::set(WATCHED);
    let load = usual_load().with_shapes(&[Shape::UntilClose]);
    let report = stage.play("body cut by FIN, until close (nobody can tell)", load, |[_, b, _]| {
        b.behave(Conduct::bad(Fault::CutByFin));
    });
    assert!(report.doubled().is_empty(), "{:?}", report.doubled());
    for outcome in report.within(..) {
        match &outcome.verdict {
            Verdict::Good { .. } => {}
            Verdict::Short { bytes } => {
                assert!([0, outcome.ask.bytes / 2, outcome.ask.bytes - 1].contains(bytes), "{outcome:?}");
            }
            other => panic!("{other:?} in {outcome:?}"),
        }
    }
}

/// Nobody is left who could do better, so the servers' own answer is the answer; and asking again and again would only
/// bury them.
#[test]
fn all_answer_503() {
    let budget = "retry: {budget: {ratio: 20%, min_per_second: 1}}";
    let mut stage = Stage::set(&format!("{WATCHED}, {budget}"));
    let load = usual_load();
    let report = stage.play("all answer 503", load, |servers| {
        servers.iter().for_each(|server| server.behave(Conduct::bad(Fault::Unavailable)));
    });
    assert_honest(&report);
    for outcome in report.within(..) {
        let honest = match &outcome.verdict {
            Verdict::Good { .. } => outcome.due < Duration::from_secs(2),
            Verdict::Refused { status: 503, by: Some(_), .. } => true,
            _ => false,
        };
        assert!(honest, "the servers' own 503 is the answer: {outcome:?}");
    }
    let floor = 10; // ten seconds' worth of `min_per_second`
    let most = report.requests() * 120 / 100 + floor;
    assert!(report.deliveries() <= most, "{} deliveries, {most} at most", report.deliveries());
}
