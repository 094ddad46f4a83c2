//! Edits of header sections.
//!
//! Some fields are not the operator's to edit: they belong to one connection (RFC 9110, section 7.6.1) or say where a
//! message ends. A proxy that lets a route set `Transfer-Encoding` is a request smuggler with a configuration file.

use std::collections::HashMap;

use http::{HeaderName, HeaderValue, header};

use crate::config::map::Map;
use crate::config::route;
use crate::config::units::{HeaderName as Name, HeaderValue as Value};
use crate::config::{Fault, KeyPath};
use crate::plan::HeaderEdits;
use crate::retry::deadline::GRPC_TIMEOUT;
use crate::routing::host::normalize_host;

/// Which way the edited message goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To the upstream.
    Request,
    /// To the client.
    Response,
}

/// The edits of one direction.
pub fn of_route(
    path: &KeyPath,
    edits: &route::HeaderEdits,
    way: Way,
    faults: &mut Vec<Fault>,
) -> HeaderEdits {
    let route::HeaderEdits { set, add, remove } = edits;
    let path = path.key(if way == Way::Request { "request_headers" } else { "response_headers" });
    faults.extend(doubles(&path.key("set"), set));
    for (name, value) in set.iter() {
        let at = path.key("set").key(&name.written);
        faults.extend(refusal(at.clone(), &name.name, way == Way::Request));
        faults.extend(wrong_host(at, &name.name, value));
    }
    for (name, _) in add.iter() {
        faults.extend(refusal(path.key("add").key(&name.written), &name.name, false));
    }
    for (index, name) in remove.iter().enumerate() {
        faults.extend(refusal(path.key("remove").index(index), &name.name, false));
    }
    HeaderEdits {
        remove: remove.iter().map(|name| name.name.clone()).collect(),
        set: plan(set),
        add: plan(add),
    }
}

/// Headers and their values, as they are written.
pub type Edits = Map<Name, Value>;

fn plan(edits: &Edits) -> Vec<(HeaderName, HeaderValue)> {
    edits.iter().map(|(name, value)| (name.name.clone(), value.0.clone())).collect()
}

/// `X-Team` and `x-team` are one header, which cannot be set to two values. To add two is no contradiction.
pub fn doubles(path: &KeyPath, set: &Edits) -> Vec<Fault> {
    let mut seen: HashMap<&HeaderName, &str> = HashMap::new();
    let mut faults = Vec::new();
    for (name, _) in set.iter() {
        if let Some(first) = seen.insert(&name.name, &name.written) {
            let found = format!("the header {} a second time", name.name);
            let fault = Fault::new(path.key(&name.written), found, "each once").at_key();
            faults.push(fault.elsewhere(path.key(first)));
        }
    }
    faults
}

/// A request has exactly one `Host` (RFC 9112, section 3.2), so it may be replaced and nothing else.
fn refusal(at: KeyPath, name: &HeaderName, may_be_host: bool) -> Option<Fault> {
    let expected = match name {
        name if is_of_the_connection(name) => {
            "no header that belongs to the connection or frames the message"
        }
        name if *name == header::HOST && !may_be_host => "Host under request_headers.set only",
        _ => return None,
    };
    Some(Fault::new(at, format!("an edit of {name}"), expected).at_key())
}

/// A host that no server would take is not sent to all of them.
fn wrong_host(at: KeyPath, name: &HeaderName, value: &Value) -> Option<Fault> {
    let good = |text: &str| normalize_host(text).is_some_and(|(host, _)| !host.is_empty());
    if *name != header::HOST || value.0.to_str().is_ok_and(good) {
        return None;
    }
    Some(Fault::new(at, format!("{:?}", value.0), "a host name or address, with or without a port"))
}

/// What is wrong with having a number of milliseconds written into this field.
pub fn not_ours(at: KeyPath, name: &HeaderName) -> Option<Fault> {
    let taken = is_of_the_connection(name) || *name == header::HOST || *name == GRPC_TIMEOUT;
    taken.then(|| {
        Fault::new(at, format!("{name}, which has a meaning of its own"), "a header that has none yet")
    })
}

/// Whether a field is not the operator's to set.
pub fn is_of_the_connection(name: &HeaderName) -> bool {
    const NAMES: [&str; 9] = [
        "connection",
        "content-length",
        "expect",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    NAMES.contains(&name.as_str())
}
