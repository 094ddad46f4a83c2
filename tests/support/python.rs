//! Python's own HTTP server as an upstream: another hand's idea of HTTP/1.1.

use std::net::SocketAddr;
use std::process::Command;

use super::process::Process;
use super::{Client, free_port, until};

/// A running server; killed when dropped.
pub struct Python {
    _process: Process,
    address: SocketAddr,
}

impl Python {
    /// Starts a server that answers every request with a JSON document of what it received.
    pub fn echo() -> Python {
        Self::start(include_str!("echo.py"))
    }

    /// Starts a script with the port as its only argument.
    pub fn start(script: &str) -> Python {
        let port = free_port();
        let mut command = Command::new("python3");
        command.args(["-I", "-c", script, &port.to_string()]);
        let process = Process::spawn(&mut command);
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        until("Python listens", || Client::try_connect(address).is_ok());
        Python { _process: process, address }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
