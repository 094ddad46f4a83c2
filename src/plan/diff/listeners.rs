//! Listeners: what becomes of each socket, and of the connections that it has.
//!
//! The socket is what clients know, so a listener is the same as long as its address is, even under another name. Its
//! limits and timeouts are those of the loop that accepts on it, and of each connection from its beginning: to change one
//! is to put another loop on the same socket, and to let those connections go.

use crate::config::units::Size;
use crate::plan::diff::details::Details;
use crate::plan::diff::{Change, Cost, What, changed};
use crate::plan::{Listener, ListenerLimits, ListenerTimeouts};

const KEEP_LIMITS: &str = "connections that are open keep the old limits and are told to go with their next answer; new ones get the new";
const KEEP_NAME: &str = "connections that are open keep the old name and are told to go with their next answer; new ones get the new";
const MOVES: &str = "closes, and its connections are drained; another opens";

/// What becomes of each.
pub fn changes(old: &[Listener], new: &[Listener]) -> Vec<Change> {
    let (partners, gone) = pair(old, new);
    let here = new.iter().zip(partners).filter_map(|(new, old)| match old {
        Some(old) => change(old, new),
        None => Some(whole(new, What::Added, "opens")),
    });
    let gone = gone.into_iter().map(|old| whole(old, What::Removed, "closes; its connections are drained"));
    here.chain(gone).collect()
}

type IsSame = fn(&Listener, &Listener) -> bool;

/// The same one first; several may want any free port, and are then told apart by name. Then the one on the same socket,
/// then the one that has moved.
const SAME: [IsSame; 3] = [
    |old, new| old.address == new.address && old.name == new.name,
    |old, new| old.address == new.address,
    |old, new| old.name == new.name,
];

/// For each new listener the old one that it was, if any; and the old ones that are none of them.
fn pair<'p>(old: &'p [Listener], new: &[Listener]) -> (Vec<Option<&'p Listener>>, Vec<&'p Listener>) {
    let mut left: Vec<_> = old.iter().collect();
    let mut partners = vec![None; new.len()];
    for is_same in SAME {
        for (partner, new) in partners.iter_mut().zip(new).filter(|(partner, _)| partner.is_none()) {
            let place = left.iter().position(|old| is_same(old, new));
            *partner = place.map(|place| left.remove(place));
        }
    }
    (partners, left)
}

fn whole(listener: &Listener, what: What, consequence: &str) -> Change {
    Change {
        place: format!("listeners.{}", listener.name),
        what,
        cost: Cost::Listener,
        consequence: consequence.to_owned(),
    }
}

fn change(old: &Listener, new: &Listener) -> Option<Change> {
    let Listener { name, address, limits, timeouts } = new;
    let mut details = Details::default();
    details.told("name", &old.name, name);
    details.told("address", &old.address, address);
    of_limits(&old.limits, limits, &mut details);
    of_timeouts(&old.timeouts, timeouts, &mut details);
    let consequence = match (old.address == *address, old.limits == *limits && old.timeouts == *timeouts) {
        (false, _) => MOVES,
        (true, false) => KEEP_LIMITS,
        (true, true) => KEEP_NAME,
    };
    changed(place(old, new), details, Cost::Listener, consequence)
}

/// By name, or by what stays where the name does not.
fn place(old: &Listener, new: &Listener) -> String {
    if old.name == new.name {
        format!("listeners.{}", new.name)
    } else {
        format!("listeners.{}", new.address)
    }
}

fn of_limits(old: &ListenerLimits, new: &ListenerLimits, details: &mut Details) {
    let ListenerLimits {
        connections,
        connections_per_ip,
        backlog,
        header_bytes,
        header_count,
        uri_bytes,
        body_bytes,
    } = new;
    details.told("limits.connections", &old.connections, connections);
    details.told("limits.connections_per_ip", &old.connections_per_ip, connections_per_ip);
    details.told("limits.backlog", &old.backlog, backlog);
    details.told("limits.header", &size(old.header_bytes), &size(*header_bytes));
    details.told("limits.header_count", &old.header_count, header_count);
    details.told("limits.uri", &size(old.uri_bytes), &size(*uri_bytes));
    details.told("limits.body", &old.body_bytes.map(Size::from_bytes), &body_bytes.map(Size::from_bytes));
}

fn size(bytes: usize) -> Size {
    Size::from_bytes(bytes as u64)
}

fn of_timeouts(old: &ListenerTimeouts, new: &ListenerTimeouts, details: &mut Details) {
    let ListenerTimeouts { header, idle, read, write } = new;
    details.told("timeouts.header", &old.header, header);
    details.told("timeouts.idle", &old.idle, idle);
    details.told("timeouts.read", &old.read, read);
    details.told("timeouts.write", &old.write, write);
}
