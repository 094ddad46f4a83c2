//! Listeners, and that no two of them want the same socket.

use crate::config::listener::{self, Admin};
use crate::config::units::{ListenAddress, Unit};
use crate::config::{Fault, KeyPath};
use crate::plan::compile::Names;
use crate::plan::{Address, Listener, ListenerLimits, ListenerTimeouts};

/// Every listener, and that the admin address is none of theirs.
pub fn compile(
    listeners: &[listener::Listener],
    admin: Option<&Admin>,
    faults: &mut Vec<Fault>,
) -> Vec<Listener> {
    let mut names = Names::default();
    let mut taken: Vec<(Address, KeyPath)> = Vec::new();
    let mut planned = Vec::with_capacity(listeners.len());
    for (index, listener) in listeners.iter().enumerate() {
        let path = KeyPath::root().key("listeners").index(index);
        let named = listener.name.is_some();
        let listener = plan(listener);
        let free = take(&listener.address, path.key("address"), &mut taken, faults);
        // Two listeners on one address without names have one fault, not two.
        if named || free {
            names.add(&listener.name, path, faults);
        }
        planned.push(listener);
    }
    if let Some(Admin { address }) = admin {
        let path = KeyPath::root().key("admin").key("address");
        take(&Address::Tcp(address.0), path, &mut taken, faults);
    }
    planned
}

fn plan(listener: &listener::Listener) -> Listener {
    let listener::Listener { name, address, limits, timeouts } = listener;
    Listener {
        name: name.as_ref().map_or_else(|| address.write().into(), |name| name.shared()),
        address: match address {
            ListenAddress::Tcp(address) => Address::Tcp(*address),
            ListenAddress::Unix(path) => Address::Unix(path.clone()),
        },
        limits: plan_limits(limits),
        timeouts: plan_timeouts(timeouts),
    }
}

fn plan_limits(limits: &listener::ListenerLimits) -> ListenerLimits {
    let listener::ListenerLimits {
        connections,
        connections_per_ip,
        backlog,
        header,
        header_count,
        uri,
        body,
    } = limits;
    ListenerLimits {
        connections: *connections,
        connections_per_ip: *connections_per_ip,
        backlog: *backlog,
        header_bytes: header.bytes() as usize,
        header_count: *header_count,
        uri_bytes: uri.bytes() as usize,
        body_bytes: body.map(|size| size.bytes()),
    }
}

fn plan_timeouts(timeouts: &listener::ListenerTimeouts) -> ListenerTimeouts {
    let listener::ListenerTimeouts { header, idle, read, write } = timeouts;
    ListenerTimeouts {
        header: header.as_std(),
        idle: idle.as_std(),
        read: read.as_std(),
        write: write.as_std(),
    }
}

/// Whether the address was free.
fn take(
    address: &Address,
    path: KeyPath,
    taken: &mut Vec<(Address, KeyPath)>,
    faults: &mut Vec<Fault>,
) -> bool {
    let other = taken.iter().find(|(other, _)| clash(address, other));
    let fault = other.map(|(other, first)| {
        let found = match other == address {
            true => format!("{address}, which is taken"),
            false => format!("{address}, which overlaps {other}"),
        };
        Fault::new(path.clone(), found, "an address of its own").elsewhere(first.clone())
    });
    taken.push((address.clone(), path));
    let free = fault.is_none();
    faults.extend(fault);
    free
}

/// Whether the second bind would fail. `[::]` is IPv6 only here, so it leaves `0.0.0.0` alone; port 0 is a new port
/// each time.
fn clash(one: &Address, other: &Address) -> bool {
    match (one, other) {
        (Address::Tcp(one), Address::Tcp(other)) => {
            let everywhere = one.ip().is_unspecified() || other.ip().is_unspecified();
            one.port() == other.port()
                && one.port() != 0
                && one.is_ipv4() == other.is_ipv4()
                && (everywhere || one.ip() == other.ip())
        }
        (one, other) => one == other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sockets_clash_when_the_kernel_says_so() {
        let tcp = |text: &str| Address::Tcp(text.parse().unwrap());
        for (one, other, clashes) in [
            ("0.0.0.0:80", "0.0.0.0:80", true),
            ("0.0.0.0:80", "1.2.3.4:80", true),
            ("1.2.3.4:80", "0.0.0.0:80", true),
            ("[::]:80", "[::1]:80", true),
            ("[::]:80", "0.0.0.0:80", false),
            ("1.2.3.4:80", "1.2.3.5:80", false),
            ("0.0.0.0:80", "0.0.0.0:81", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
        ] {
            assert_eq!(clash(&tcp(one), &tcp(other)), clashes, "{one} and {other}");
        }
        let unix = |path: &str| Address::Unix(path.into());
        assert!(clash(&unix("/a"), &unix("/a")));
        assert!(!clash(&unix("/a"), &unix("/b")));
    }
}
