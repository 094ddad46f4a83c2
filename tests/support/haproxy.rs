//! Debian's haproxy as a proxy to compare with.

mod master;

use std::net::SocketAddr;
use std::process::Command;

use tempfile::TempDir;

pub use master::Master;

use super::process::Process;
use super::{Client, free_port, until};

/// A running haproxy; killed when dropped.
pub struct Haproxy {
    _process: Process,
    address: SocketAddr,
    _dir: TempDir,
}

impl Haproxy {
    /// Starts one that passes everything on to a server, with these lines in its `defaults`.
    pub fn before(server: SocketAddr, options: &str) -> Haproxy {
        let (dir, port) = (TempDir::new().unwrap(), free_port());
        let file = dir.path().join("haproxy.cfg");
        std::fs::write(&file, configuration(port, server, options)).unwrap();
        let mut command = Command::new("haproxy");
        let process = Process::spawn(command.arg("-q").arg("-db").arg("-f").arg(file));
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        until("haproxy listens", || Client::try_connect(address).is_ok());
        Haproxy { _process: process, address, _dir: dir }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Beside the options nothing but the timeouts that it asks for.
fn configuration(port: u16, server: SocketAddr, options: &str) -> String {
    format!(
        "defaults
  mode http
  timeout connect 5s
  timeout client 50s
  timeout server 50s
  {options}
frontend web
  bind 127.0.0.1:{port}
  default_backend servers
backend servers
  server a {server}
"
    )
}
