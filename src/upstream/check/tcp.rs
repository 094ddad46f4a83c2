//! Does anybody listen? A connection is opened, and that is all.
//!
//! An application that is handed a connection which ends before a word is said has something to complain about: TLS
//! libraries log a failed handshake, MySQL counts the host's errors and in the end locks it out. And the prober, who
//! closes first, would keep every one of these connections in TIME_WAIT.
//!
//! The choice, as HAProxy makes it: the kernel's own answer is enough. The handshake's last packet is held back and a
//! reset sent in its place, so that the application never hears of the connection, and neither side remembers it. Where
//! the kernel does not play along, the application sees a connection that was reset.

use std::io;
use std::net::SocketAddr;

use tokio::time::Instant;

use super::{in_time, socket, unconnected};
use crate::health::probe::Miss;

/// Good once the endpoint's kernel has answered.
pub(super) async fn check(address: SocketAddr, due: Instant) -> Result<(), Miss> {
    in_time(due, async { knock(address).await.map_err(|error| unconnected(&error)) }).await
}

async fn knock(address: SocketAddr) -> io::Result<()> {
    let socket = socket(address)?;
    socket.set_zero_linger()?; // a reset instead of a FIN
    socket.connect(address).await?;
    Ok(())
}
