//! The operator's file, in another place.
//!
//! A test on a made-up configuration proves nothing about one's own. So everything stays as it is written, down to `${VAR}`,
//! but for what ties the file to its place in the world: addresses, servers, files. It is the tree that is rewritten and not
//! the text, since a listener is a listener however it is written.
//!
//! A few limits have to give way, because the whole load comes from one address: what is turned away by a limit that is
//! meant for one client says nothing about hand-overs. Every such change is [noted](Shadow::notes), for the report.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_yaml::{Mapping, Value};

use super::load::CLIENTS;
use crate::plan::{Address, Plan};

/// Longest drain: a test that waits for more tests patience.
const LONGEST_DRAIN: Duration = Duration::from_secs(10);

/// The configuration of the proxy under test.
#[derive(Debug)]
pub(super) struct Shadow {
    /// As a file has it.
    pub(super) text: String,
    /// Where its listeners are, in their order.
    pub(super) entrances: Vec<SocketAddr>,
    /// Where it takes commands.
    pub(super) control: PathBuf,
    /// How it differs from the operator's.
    pub(super) notes: Vec<String>,
}

impl Shadow {
    /// Rewrites `text`, which `plan` was made from, for these servers; files are in `folder`.
    ///
    /// # Errors
    /// There are no free ports, or the text is no YAML.
    pub(super) fn of(text: &str, plan: &Plan, servers: &[SocketAddr], folder: &Path) -> io::Result<Shadow> {
        let mut tree: Value = serde_yaml::from_str(text).map_err(io::Error::other)?;
        let mut entrances = free(plan.listeners.len() + 1)?;
        let admin = entrances.remove(0);
        let control = folder.join("control.sock");
        let mut notes = Vec::new();
        listeners(&mut tree, plan, &entrances, &mut notes);
        upstreams(&mut tree, plan, servers, &mut notes);
        set(&mut tree, &["admin", "address"], admin.to_string());
        set(&mut tree, &["access_log", "output"], "off");
        process(&mut tree, plan, &control, &mut notes);
        let text = serde_yaml::to_string(&tree).map_err(io::Error::other)?;
        Ok(Shadow { text, entrances, control, notes })
    }
}

/// Ports of 127.0.0.1 that are free now, though not reserved: all differ, since all are held until the last is found.
fn free(count: usize) -> io::Result<Vec<SocketAddr>> {
    let held: Vec<_> =
        (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<io::Result<_>>()?;
    held.iter().map(TcpListener::local_addr).collect()
}

fn listeners(tree: &mut Value, plan: &Plan, entrances: &[SocketAddr], notes: &mut Vec<String>) {
    let Some(Value::Sequence(written)) = tree.get_mut("listeners") else { return };
    for ((listener, planned), entrance) in written.iter_mut().zip(&plan.listeners).zip(entrances) {
        set(listener, &["address"], entrance.to_string());
        let unix = if matches!(planned.address, Address::Unix(_)) { ", by TCP" } else { "" };
        notes.push(format!("listener {}: on {entrance}{unix}", planned.name));
        if planned.limits.connections_per_ip.is_some() {
            remove(listener, &["limits", "connections_per_ip"]);
            notes.push(format!(
                "listener {}: without connections_per_ip, for all clients have one",
                planned.name
            ));
        }
        if planned.limits.connections < ROOM {
            set(listener, &["limits", "connections"], ROOM as u64);
            notes.push(format!("listener {}: with connections: {ROOM}", planned.name));
        }
    }
}

/// What all clients of the selftest need, and as many again that are about to go.
const ROOM: usize = 4 * CLIENTS;

fn upstreams(tree: &mut Value, plan: &Plan, servers: &[SocketAddr], notes: &mut Vec<String>) {
    let Some(Value::Mapping(written)) = tree.get_mut("upstreams") else { return };
    let endpoints: Vec<Value> = servers.iter().map(|server| server.to_string().into()).collect();
    for (name, upstream) in written.iter_mut() {
        remove(upstream, &["discovery"]);
        set(upstream, &["endpoints"], endpoints.clone());
        let name = name.as_str().unwrap_or_default();
        if remove(upstream, &["health_check"]) {
            notes
                .push(format!("upstream {name}: without health_check, which only the real servers can pass"));
        }
        let planned = plan.upstreams.iter().find(|planned| &*planned.name == name);
        planned.into_iter().for_each(|planned| make_room(upstream, planned, notes));
    }
    if !plan.upstreams.is_empty() {
        notes.push("upstreams: two built-in servers, without tiers and weights".into());
    }
}

fn make_room(upstream: &mut Value, planned: &crate::plan::Upstream, notes: &mut Vec<String>) {
    for (key, limit) in [("connections", planned.limits.connections), ("requests", planned.limits.requests)] {
        if limit < ROOM {
            set(upstream, &["limits", key], ROOM as u64);
            notes.push(format!("upstream {}: with limits.{key}: {ROOM}", planned.name));
        }
    }
}

fn process(tree: &mut Value, plan: &Plan, control: &Path, notes: &mut Vec<String>) {
    let drain = plan.process.drain_timeout.min(LONGEST_DRAIN);
    set(tree, &["process", "control"], control.display().to_string());
    set(tree, &["process", "supervise"], true);
    set(tree, &["process", "probation"], "1s");
    set(tree, &["process", "drain_timeout"], format!("{}ms", drain.as_millis()));
    for key in ["user", "watch"] {
        remove(tree, &["process", key]);
    }
    notes.push(format!(
        "process: with probation: 1s and drain_timeout: {}, without user and watch; no access_log",
        humantime::format_duration(drain)
    ));
}

/// Puts a value at a path of keys; what is missing on the way, or no map, becomes one.
fn set(tree: &mut Value, path: &[&str], value: impl Into<Value>) {
    match (path, tree) {
        ([], place) => *place = value.into(),
        ([key, rest @ ..], Value::Mapping(entries)) => {
            set(entries.entry((*key).into()).or_insert(Value::Null), rest, value.into());
        }
        (_, other) => {
            *other = Mapping::new().into();
            set(other, path, value.into());
        }
    }
}

/// Takes out what is at a path of keys; whether there was anything.
fn remove(tree: &mut Value, path: &[&str]) -> bool {
    match path {
        [] => false,
        [key] => tree.as_mapping_mut().and_then(|entries| entries.remove(*key)).is_some(),
        [key, rest @ ..] => tree.get_mut(*key).is_some_and(|inner| remove(inner, rest)),
    }
}
