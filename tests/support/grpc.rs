//! A gRPC server with the standard health service: Python's grpcio, which nobody here has written.
//!
//! `tests/run` installs the modules into `target/tools/python`, where the system has none.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use super::process::Process;
use super::{Client, free_port, until};

/// Where `tests/run` puts Python modules.
const MODULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/python");

/// A running server; killed when dropped.
pub struct Grpc {
    process: Process,
    orders: SocketAddr,
}

impl Grpc {
    /// Starts one at `address`. The server as a whole is serving, and no service of it is known.
    pub fn start(address: SocketAddr) -> Grpc {
        Self::launch(address, "health")
    }

    /// Starts one that was not given the health service.
    pub fn without_health(address: SocketAddr) -> Grpc {
        Self::launch(address, "none")
    }

    fn launch(address: SocketAddr, health: &str) -> Grpc {
        let orders = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let mut command = Command::new("python3");
        command.args(["-I", "-c", include_str!("grpc_health.py")]);
        command.args([&address.to_string(), &orders.to_string(), MODULES, health]);
        let mut process = Process::spawn(&mut command);
        until("the gRPC server takes orders", || {
            assert!(process.ended().is_none(), "it has ended; tests/run installs the modules that it needs");
            Client::try_connect(orders).is_ok()
        });
        Grpc { process, orders }
    }

    /// From now on it says of `service` that it is `SERVING`, `NOT_SERVING`, `UNKNOWN` or `SERVICE_UNKNOWN`.
    pub fn says(&self, service: &str, status: &str) {
        let mut client = Client::connect(self.orders);
        client.send(format!("PUT /{status}/{service} HTTP/1.1\r\nHost: t\r\n\r\n"));
        assert_eq!(client.read_answer().status, 200, "{service}: {status}");
    }

    /// Sends a signal.
    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }
}
