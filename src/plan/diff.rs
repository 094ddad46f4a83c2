//! What a reload would change in the running proxy, and what each change costs.
//!
//! An operator who has edited a file knows which lines he has touched, not what they do to those who are being served: a new
//! weight is noticed by nobody, a new address closes a socket, and another number of threads takes a new worker. To find
//! out by reloading is to find out too late. So two plans are compared beforehand: the one that runs, and the one that
//! the file would make.
//!
//! Plans, not files: what is said in another order, in another spelling, or is a default now written out, is no change.
//! Things are the same by what clients and connections know them by: a listener by its address, whatever it is called, and
//! upstreams and routes by their names, wherever they stand. A place among the upstreams means nothing in another plan, so
//! none is compared.
//!
//! Every struct is taken apart whole, so that a new key does not compile until somebody has thought of what it costs.

mod details;
mod listeners;
mod process;
mod routes;
mod upstreams;

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use crate::plan::Plan;
use details::Details;

/// What is different in `new`, in the order of the file: listeners, admin, upstreams, routes and the rest; in each, first
/// what `new` has, as it stands there, then what it has no more.
pub fn diff(old: &Plan, new: &Plan) -> Changes {
    // The table is made of the routes, each of which says what it matches.
    let Plan { listeners, admin, upstreams, routes, table: _, trusted_proxies, access_log, process } = new;
    let mut changes = listeners::changes(&old.listeners, listeners);
    changes.extend(process::of_admin(old.admin, *admin));
    changes.extend(upstreams::changes(&old.upstreams, upstreams));
    changes.extend(routes::changes((&old.routes, &old.upstreams), (routes, upstreams)));
    changes.extend(process::of_trusted_proxies(&old.trusted_proxies, trusted_proxies));
    changes.extend(process::of_access_log(&old.access_log, access_log));
    changes.extend(process::of_process(&old.process, process));
    Changes { changes }
}

/// All that is different. Shown, it is a summary and one line a change; in JSON, an object with `cost` (null where nothing
/// changes) and `changes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// In the order of the file.
    pub changes: Vec<Change>,
}

impl Changes {
    /// Whether a reload would change nothing.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// That of the dearest change; `None` where nothing changes.
    pub fn cost(&self) -> Option<Cost> {
        self.changes.iter().map(|change| change.cost).max()
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.changes.len(), self.cost()) {
            (_, None) => f.write_str("nothing changes")?,
            (1, Some(cost)) => write!(f, "1 change: {cost}")?,
            (several, Some(cost)) => write!(f, "{several} changes; the dearest: {cost}")?,
        }
        self.changes.iter().try_for_each(|change| write!(f, "\n{change}"))
    }
}

impl Serialize for Changes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Changes", 2)?;
        out.serialize_field("cost", &self.cost())?;
        out.serialize_field("changes", &self.changes)?;
        out.end()
    }
}

/// One thing that is different.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Its key, with its name where there are several: `listeners.web`, `process.threads`. A listener that is called
    /// otherwise now goes by its address, which is what stays.
    pub place: String,
    /// What became of it.
    #[serde(flatten)]
    pub what: What,
    /// How deep it goes.
    pub cost: Cost,
    /// What those who are being served notice of it.
    pub consequence: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Change { place, what, cost, consequence } = self;
        let sign = match what {
            What::Added => '+',
            What::Removed => '-',
            What::Changed(_) => '~',
        };
        write!(f, "{sign} {place} ({cost}): ")?;
        if let What::Changed(details) = what {
            write!(f, "{}; ", details.join(", "))?;
        }
        f.write_str(consequence)
    }
}

/// What became of a thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "what", content = "details", rename_all = "snake_case")]
pub enum What {
    /// It was not there.
    Added,
    /// It is not there any more.
    Removed,
    /// These parts of it are different; at least one.
    Changed(Vec<String>),
}

/// How deep a change goes; the dearest is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cost {
    /// Nobody notices.
    InPlace,
    /// A socket is opened or closed, or its loop replaced: clients of that listener are sent on, one by one.
    Listener,
    /// Another worker takes over: all kept-alive clients are told to reconnect.
    Swap,
    /// Only a restart of the whole program does it.
    Restart,
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cost::InPlace => "in place",
            Cost::Listener => "listener",
            Cost::Swap => "swap",
            Cost::Restart => "restart",
        })
    }
}

/// A change of some details; none where there are none.
fn changed(place: impl Into<String>, details: Details, cost: Cost, consequence: &str) -> Option<Change> {
    let details = details.into_lines();
    (!details.is_empty()).then(|| Change {
        place: place.into(),
        what: What::Changed(details),
        cost,
        consequence: consequence.to_owned(),
    })
}

/// What two lists have in common, and what not.
enum Pair<'p, T> {
    Both { old: &'p T, new: &'p T },
    Added(&'p T),
    Removed(&'p T),
}

/// The things of two lists, those of `new` in its order, then what only `old` has. Names are unique in each.
fn by_name<'p, T>(old: &'p [T], new: &'p [T], name: fn(&T) -> &str) -> Vec<Pair<'p, T>> {
    let known: HashMap<_, _> = old.iter().map(|old| (name(old), old)).collect();
    let kept: HashSet<_> = new.iter().map(name).collect();
    let here = new.iter().map(|new| match known.get(name(new)) {
        Some(&old) => Pair::Both { old, new },
        None => Pair::Added(new),
    });
    let gone = old.iter().filter(|old| !kept.contains(name(old))).map(Pair::Removed);
    here.chain(gone).collect()
}

#[cfg(test)]
mod tests;
