//! What the demo says first: where things are, what to try, and how to break it.

use std::fmt::Write;
use std::net::SocketAddr;

use super::servers::Server;

/// The text, for the addresses of proxy and admin. `servers` is not empty.
pub(super) fn text(proxy: SocketAddr, admin: SocketAddr, servers: &[Server]) -> String {
    let mut text = addresses(proxy, admin);
    for Server { name, pid, address, .. } in servers {
        let _ = writeln!(text, "  sample server {name}  http://{address}   PID {pid}");
    }
    text + &things_to_try(proxy, admin, servers.last().map_or(0, |server| server.pid))
}

fn addresses(proxy: SocketAddr, admin: SocketAddr) -> String {
    format!(
        "
tetap demo: three sample API servers behind one proxy.

  proxy            http://{proxy}
  admin            http://{admin}
"
    )
}

fn things_to_try(proxy: SocketAddr, admin: SocketAddr, victim: u32) -> String {
    format!(
        "
Three things to try, in another terminal:

  1. Ask the API a few times, and see the servers take turns:
       curl http://{proxy}/hello

  2. Kill a server while a loop runs, and nobody notices:
       while sleep 0.1; do curl -s -o /dev/null -w '%{{http_code}} ' http://{proxy}/orders; done
       kill {victim}

  3. See what happened, in numbers here and request by request in the access log below:
       curl -s http://{admin}/metrics | grep tetap_attempts_total

Ctrl-C ends the demo and everything it has started.

"
    )
}
