//! What there is one of: the admin address, whom to believe, the access log, the processes.

use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;

use crate::plan::diff::details::{Details, Told};
use crate::plan::diff::{Change, Cost, What, changed};
use crate::plan::{AccessLog, AccessLogFormat, AccessLogOutput, Process};

/// The admin address.
pub fn of_admin(old: Option<SocketAddr>, new: Option<SocketAddr>) -> Option<Change> {
    let (what, consequence) = match (old, new) {
        (None, None) => return None,
        (None, Some(_)) => (What::Added, "opens"),
        (Some(_), None) => (What::Removed, "closes; requests under way are answered"),
        (Some(old), Some(new)) => {
            let mut details = Details::default();
            details.told("address", &old, &new);
            return changed("admin", details, Cost::Listener, "closes; another opens");
        }
    };
    Some(Change {
        place: "admin".to_owned(),
        what,
        cost: Cost::Listener,
        consequence: consequence.to_owned(),
    })
}

/// Any of them is believed, so their order means nothing.
pub fn of_trusted_proxies(old: &[IpNet], new: &[IpNet]) -> Option<Change> {
    let mut details = Details::default();
    for network in new.iter().filter(|network| !old.contains(network)) {
        details.line(format!("{network} is believed"));
    }
    for network in old.iter().filter(|network| !new.contains(network)) {
        details.line(format!("{network} no more"));
    }
    changed("trusted_proxies", details, Cost::InPlace, "counts from the next request on")
}

/// The access log.
pub fn of_access_log(old: &AccessLog, new: &AccessLog) -> Option<Change> {
    let AccessLog { format, output } = new;
    let mut details = Details::default();
    details.told("format", &old.format, format);
    details.told("output", &old.output, output);
    let consequence = match &old.output {
        AccessLogOutput::File(_) if old.output != *output => "the old file is closed",
        _ => "counts from the next line on",
    };
    changed("access_log", details, Cost::InPlace, consequence)
}

/// The processes, key by key, since their costs differ so.
pub fn of_process(old: &Process, new: &Process) -> Vec<Change> {
    let Process {
        threads,
        supervise,
        control,
        user,
        watch,
        ready_timeout,
        probation,
        max_generations,
        lame_duck,
        drain_timeout,
    } = new;
    let path = |path: &PathBuf| path.display().to_string();
    let (was, control) = (old.control.as_ref().map(path), control.as_ref().map(path));
    let changes = [
        of_threads(old, *threads, *supervise),
        key("supervise", &old.supervise, supervise, Cost::Restart, PROGRAM),
        key("control", &was, &control, Cost::Restart, PROGRAM),
        key("user", &old.user, user, Cost::Restart, PROGRAM),
        key("watch", &old.watch, watch, Cost::InPlace, "counts from now on"),
        key("ready_timeout", &old.ready_timeout, ready_timeout, Cost::InPlace, NEXT_WORKER),
        key("probation", &old.probation, probation, Cost::InPlace, NEXT_WORKER),
        key("max_generations", &old.max_generations, max_generations, Cost::InPlace, NEXT_WORKER),
        key("lame_duck", &old.lame_duck, lame_duck, Cost::InPlace, NEXT_STOP),
        key("drain_timeout", &old.drain_timeout, drain_timeout, Cost::InPlace, NEXT_STOP),
    ];
    changes.into_iter().flatten().collect()
}

const PROGRAM: &str = "only a restart of the whole program does it";
const NEXT_WORKER: &str = "counts for the next worker that is started";
const NEXT_STOP: &str = "counts for the next worker that stops";
const TAKE_OVER: &str = "another worker process takes over; kept-alive clients are told to reconnect";

/// Threads are made when a worker starts, so it takes another one; and to have another takes a supervisor.
fn of_threads(old: &Process, threads: Option<usize>, supervise: bool) -> Option<Change> {
    let text = |threads: Option<usize>| threads.map_or("one for each core".to_owned(), |n| n.to_string());
    let (cost, consequence) = match old.supervise && supervise {
        true => (Cost::Swap, TAKE_OVER),
        false => (Cost::Restart, PROGRAM),
    };
    key("threads", &text(old.threads), &text(threads), cost, consequence)
}

fn key<T: PartialEq + Told>(key: &str, old: &T, new: &T, cost: Cost, consequence: &str) -> Option<Change> {
    let mut details = Details::default();
    if old != new {
        details.line(format!("{} (was {})", new.told(), old.told()));
    }
    changed(format!("process.{key}"), details, cost, consequence)
}

impl Told for AccessLogFormat {
    fn told(&self) -> String {
        match self {
            AccessLogFormat::Json => "json",
            AccessLogFormat::Text => "text",
        }
        .to_owned()
    }
}

impl Told for AccessLogOutput {
    fn told(&self) -> String {
        match self {
            AccessLogOutput::Stdout => "stdout".to_owned(),
            AccessLogOutput::Stderr => "stderr".to_owned(),
            AccessLogOutput::Off => "off".to_owned(),
            AccessLogOutput::File(path) => path.display().to_string(),
        }
    }
}
