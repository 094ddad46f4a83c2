//! Ports for a demo that must work on a machine where the usual ones may be taken.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// How many ports after the usual one are tried, before any free one will do.
const NEIGHBOURS: u16 = 20;

/// The usual port of 127.0.0.1 if it is free, else one of the next, else any. It is free now, but not reserved.
///
/// # Errors
/// Nothing can be bound at all.
pub(super) fn free(usual: u16) -> io::Result<SocketAddr> {
    let near = (usual..usual.saturating_add(NEIGHBOURS)).find_map(|port| bind(port).ok());
    near.map_or_else(|| bind(0), Ok)
}

fn bind(port: u16) -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))?.local_addr()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn a_taken_port_is_not_chosen() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let chosen = free(port).unwrap();
        assert_ne!(chosen.port(), port);
        TcpListener::bind(chosen).expect("the chosen port is free");
    }
}
