//! How much one client may take, and how much one upstream is given.
//!
//! Two things run out: connections on the client's side, requests at a time on the upstream's. For the latter, [`mod@line`]
//! says who is let in and who waits, and [`adaptive`] finds out how many an upstream bears.
//!
//! One client that opens all the connections a listener allows shuts everybody else out. A [`Census`] counts open
//! connections per client and refuses the one too many. A client is an IPv4 address, or a /64 network of IPv6: that is
//! what one subscriber is usually given (RFC 6177), so counting single IPv6 addresses would count nothing.
//!
//! Its memory is bounded by the number of open connections: an entry leaves with its last one.

pub mod adaptive;
pub mod line;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

/// Who is let in first when there is no room for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Before all others.
    High,
    /// The default.
    #[default]
    Normal,
    /// After all others, and the first to be turned away.
    Low,
}

impl Priority {
    /// The highest first.
    pub const ALL: [Priority; 3] = [Priority::High, Priority::Normal, Priority::Low];
}

/// What counts as one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Client {
    /// One address, IPv4 (also when it comes mapped into IPv6).
    V4(std::net::Ipv4Addr),
    /// One /64 network.
    V6(u64),
}

impl Client {
    /// The client behind an address.
    pub fn of(address: IpAddr) -> Client {
        match address {
            IpAddr::V4(address) => Client::V4(address),
            IpAddr::V6(address) => Client::of_v6(address),
        }
    }

    fn of_v6(address: Ipv6Addr) -> Client {
        match address.to_ipv4_mapped() {
            Some(address) => Client::V4(address),
            None => Client::V6((u128::from(address) >> 64) as u64),
        }
    }
}

/// Open connections per client.
#[derive(Debug, Default)]
pub struct Census {
    open: HashMap<Client, usize>,
}

impl Census {
    /// Counts one more connection of `client`, or refuses it when `most` are open already.
    pub fn admit(&mut self, client: Client, most: usize) -> bool {
        let open = self.open.entry(client).or_insert(0);
        let admitted = *open < most;
        *open += usize::from(admitted);
        if *open == 0 {
            self.open.remove(&client);
        }
        admitted
    }

    /// Takes back what [`Census::admit`] counted.
    pub fn leave(&mut self, client: Client) {
        let Some(open) = self.open.get_mut(&client) else { return };
        *open = open.saturating_sub(1);
        if *open == 0 {
            self.open.remove(&client);
        }
    }

    /// Clients with open connections.
    pub fn clients(&self) -> usize {
        self.open.len()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn client(address: &str) -> Client {
        Client::of(address.parse().unwrap())
    }

    #[test]
    fn the_one_too_many_is_refused_and_a_place_given_back_is_free() {
        let mut census = Census::default();
        assert!(census.admit(client("192.0.2.1"), 2));
        assert!(census.admit(client("192.0.2.1"), 2));
        assert!(!census.admit(client("192.0.2.1"), 2));
        assert!(census.admit(client("192.0.2.2"), 2), "another client is not concerned");
        census.leave(client("192.0.2.1"));
        assert!(census.admit(client("192.0.2.1"), 2));
    }

    #[test]
    fn nothing_is_kept_of_clients_that_left() {
        let mut census = Census::default();
        for last in 0..=255 {
            assert!(census.admit(client(&format!("192.0.2.{last}")), 1));
            census.leave(client(&format!("192.0.2.{last}")));
        }
        assert!(!census.admit(client("192.0.2.1"), 0));
        assert_eq!(census.clients(), 0);
    }

    #[test]
    fn a_network_of_ipv6_is_one_client_and_mapped_ipv4_is_ipv4() {
        assert_eq!(client("2001:db8::1"), client("2001:db8::ffff:2"));
        assert_ne!(client("2001:db8::1"), client("2001:db8:0:1::1"));
        assert_eq!(client("::ffff:192.0.2.1"), client("192.0.2.1"));
    }
}
