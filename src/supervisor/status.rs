//! How it is, in a few lines.

use std::fmt::Write;

use serde_json::{Value, json};

use super::Supervisor;
use super::control::Reply;
use crate::clock::Instant;
use crate::handover::{Stand, WorkerId};

pub(super) fn reply(supervisor: &Supervisor) -> Reply {
    let report = report(supervisor);
    Reply { done: true, usage: false, message: text(&report), report }
}

fn report(supervisor: &Supervisor) -> Value {
    let workers: Vec<Value> =
        supervisor.handover.workers().map(|(id, stand)| worker(supervisor, id, stand)).collect();
    let sockets: Vec<String> = supervisor.held.iter().map(|held| held.place.to_string()).collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "config": supervisor.config,
        "control": supervisor.control.as_ref().map(|control| &control.path),
        "sockets": sockets,
        "workers": workers,
        "trouble": supervisor.serving().next().is_none().then_some(&supervisor.trouble),
        "confirm_within": supervisor.trial.as_ref().map(|trial| trial.until.saturating_duration_since(Instant::now()).as_secs()),
        "changing": supervisor.is_changing(),
        "stopping": supervisor.handover.is_stopping(),
        "learnt": supervisor.learnt,
        "history": supervisor.history,
    })
}

fn worker(supervisor: &Supervisor, id: WorkerId, stand: Stand) -> Value {
    let state = match stand {
        Stand::Starting | Stand::Accepting => "starting",
        Stand::Serving => "serving",
        Stand::Draining => "draining",
        Stand::Cut => "ending",
    };
    let child = supervisor.children.get(&id);
    json!({
        "worker": id.0,
        "generation": child.map(|child| child.generation),
        "state": state,
        "pid": child.map(|child| child.pid.as_raw_nonzero().get()),
        "version": child.map(|child| child.version.clone()),
        "well": child.map(|child| child.health.well),
        "requests": child.map(|child| child.health.requests),
        "connections": child.map(|child| child.health.connections),
        "seconds": child.map(|child| child.since.elapsed().as_secs()),
    })
}

fn text(report: &Value) -> String {
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut text = format!(
        "tetap {}, process {}, {}",
        plain(&report["version"]),
        report["pid"],
        plain(&report["config"])
    );
    for worker in report["workers"].as_array().into_iter().flatten() {
        let _ = write!(
            text,
            "\n  worker {} (process {}, version {}, generation {}): {}, {} requests, {} connections, for {} s",
            worker["worker"],
            worker["pid"],
            plain(&worker["version"]),
            worker["generation"],
            plain(&worker["state"]),
            worker["requests"],
            worker["connections"],
            worker["seconds"],
        );
    }
    if let Some(trouble) = report["trouble"].as_str() {
        let _ = write!(text, "\n  nobody serves: {trouble}");
    }
    if let Some(seconds) = report["confirm_within"].as_u64() {
        let _ = write!(text, "\n  gone back from in {seconds} s, unless `tetap confirm` is said before");
    }
    for socket in report["sockets"].as_array().into_iter().flatten() {
        let _ = write!(text, "\n  listening on {}", plain(socket));
    }
    text
}
