//! Traffic in bursts, and a server whose patience ends between two of them; see [`stale`](super::stale).

use std::net::SocketAddr;
use std::time::Duration;

use crate::support::load::{Load, Report};
use crate::support::server::Conduct;
use crate::support::{Relay, Server};

/// There and back again: 10 ms.
const ONE_WAY: Duration = Duration::from_millis(5);

/// 2,100 requests, all of whose connections rest for about as long as the server lets them.
fn bursts() -> Load {
    Load::bursts(50, 42, 290..=310).with_posts(60)
}

/// A server that closes what has been idle for so long.
pub fn impatient(idle_ms: u64) -> Conduct {
    Conduct { idle: Duration::from_millis(idle_ms), ..Conduct::GOOD }
}

/// The same, and the network before it.
pub fn distant(idle_ms: u64) -> (Server, Relay) {
    let server = Server::with("a", impatient(idle_ms));
    let relay = Relay::start(server.address(), ONE_WAY);
    (server, relay)
}

/// The bursts through this proxy, while something happens to the server.
pub fn play(scenario: &str, server: Server, proxy: SocketAddr, script: impl FnOnce(&Server)) -> Report {
    let running = bursts().start(proxy);
    script(&server);
    let report = Report::new(scenario, running.finish(), &[server]);
    report.publish();
    report
}
