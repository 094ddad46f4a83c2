//! What is printed: how the shadow differs, what is covered, a table of losses, and a verdict in the last line.

use std::fmt::Write;
use std::path::Path;

use serde_json::{Value, json};

use super::client::Kind;
use super::load::Rehearsal;
use super::shadow::Shadow;
use super::tally::{Event, Results, Row};

/// What is known before it begins.
pub(super) fn preface(config: &Path, shadow: &Shadow, rehearsal: &Rehearsal) -> String {
    let mut text = format!("{}, tried on a shadow of its own:\n", config.display());
    for note in &shadow.notes {
        let _ = writeln!(text, "  {note}");
    }
    let (covered, all) = (rehearsal.covered.len(), rehearsal.covered.len() + rehearsal.uncovered.len());
    let _ = writeln!(text, "{covered} of {all} routes covered");
    if !rehearsal.uncovered.is_empty() {
        let _ = writeln!(text, "{}", rehearsal.reasons());
    }
    text
}

/// What was found out, for people.
pub(super) fn text(results: &Results) -> String {
    let mut text = heading();
    for event in Event::ALL {
        text += &line(event, &results.rows[event as usize]);
    }
    text.push('\n');
    for line in results.examples.iter().chain(&results.failures) {
        let _ = writeln!(text, "{line}");
    }
    text + &verdict(results)
}

fn heading() -> String {
    let mut text = format!("{:<15} {:>5} {:>8}", "event", "times", "requests");
    for kind in Kind::ALL {
        let _ = write!(text, "  {}", kind.name());
    }
    text + "  slowest ms  seconds\n"
}

fn line(event: Event, row: &Row) -> String {
    let Row { times, requests, lost, slowest, took } = row;
    let mut text = format!("{:<15} {times:>5} {requests:>8}", event.name());
    for kind in Kind::ALL {
        let _ = write!(text, "  {:>1$}", lost[kind as usize], kind.name().len());
    }
    let _ = writeln!(text, "  {:>10}  {:>7.1}", slowest.as_millis(), took.as_secs_f64());
    text
}

fn verdict(results: &Results) -> String {
    let (lost, requests) = (results.lost(), results.requests());
    let excused = match results.excused() {
        0 => String::new(),
        excused => format!(" but {excused} that were under way in a worker when it was killed"),
    };
    let of_all = match lost {
        0 => format!("nothing was lost of {requests} requests{excused}"),
        _ => format!("{lost} of {requests} requests were lost: {}", kinds(results)),
    };
    let twice = match results.twice.len() {
        0 => String::new(),
        twice => format!("; {twice} reached a server twice that must not"),
    };
    let failures = match results.failures.len() {
        0 => String::new(),
        failures => format!("; {failures} events did not go as they should"),
    };
    let passed = if results.passed() { "passed" } else { "failed" };
    format!("{passed}: {of_all}{twice}{failures}")
}

fn kinds(results: &Results) -> String {
    let counts = results.kinds();
    let some = Kind::ALL.into_iter().filter(|kind| counts[*kind as usize] > 0);
    some.map(|kind| format!("{} {}", counts[kind as usize], kind.name())).collect::<Vec<_>>().join(", ")
}

/// The same, for programs.
pub(super) fn json(config: &Path, shadow: &Shadow, rehearsal: &Rehearsal, results: &Results) -> Value {
    let Results { rows, examples, failures, twice } = results;
    let covered: Vec<&str> = rehearsal.covered.iter().map(|sample| &*sample.route).collect();
    let uncovered: Vec<Value> =
        rehearsal.uncovered.iter().map(|(route, why)| json!({"route": &**route, "why": why})).collect();
    json!({
        "config": config,
        "notes": shadow.notes,
        "covered": covered,
        "uncovered": uncovered,
        "events": Event::ALL.map(|event| json_row(event, &rows[event as usize])),
        "examples": examples,
        "failures": failures,
        "twice": twice.len(),
        "requests": results.requests(),
        "lost": results.lost(),
        "excused": results.excused(),
        "passed": results.passed(),
    })
}

fn json_row(event: Event, row: &Row) -> Value {
    let Row { times, requests, lost, slowest, took } = row;
    let counts = Kind::ALL.map(|kind| (kind.name().replace(' ', "_"), Value::from(lost[kind as usize])));
    json!({
        "event": event.name().replace(' ', "_"),
        "times": times,
        "requests": requests,
        "lost": serde_json::Map::from_iter(counts),
        "slowest_ms": u64::try_from(slowest.as_millis()).unwrap_or(u64::MAX),
        "seconds": took.as_secs_f64(),
    })
}
