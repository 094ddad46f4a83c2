//! Debian's nginx as an upstream, or as a proxy to compare with, from a directory of its own.

mod master;

use std::net::SocketAddr;
use std::process::Command;

use tempfile::TempDir;

pub use master::Master;

use super::process::Process;
use super::{Client, free_port, until};

/// A running nginx; killed when dropped.
pub struct Nginx {
    process: Process,
    address: SocketAddr,
    _dir: TempDir,
}

impl Nginx {
    /// Starts one that serves `locations`, the inside of a `server` block.
    pub fn start(locations: &str) -> Nginx {
        Self::start_on(free_port(), locations)
    }

    /// The same on a given port.
    pub fn start_on(port: u16, locations: &str) -> Nginx {
        Self::launch(port, "", locations)
    }

    /// Starts one that passes everything on to a server, and keeps connections to it, as its manual says.
    pub fn before(server: SocketAddr) -> Nginx {
        let upstream = format!("upstream u {{ server {server}; keepalive 256; }}");
        let pass = "proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection \"\";";
        Self::launch(free_port(), &upstream, &format!("location / {{ {pass} }}"))
    }

    fn launch(port: u16, upstream: &str, locations: &str) -> Nginx {
        let dir = TempDir::new().unwrap();
        let prefix = dir.path().to_str().unwrap();
        std::fs::write(dir.path().join("nginx.conf"), configuration(prefix, port, upstream, locations))
            .unwrap();
        let mut command = Command::new("nginx");
        command.args(["-p", prefix, "-c", "nginx.conf", "-e", "error.log"]);
        let process = Process::spawn(&mut command);
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        until("nginx listens", || Client::try_connect(address).is_ok());
        Nginx { process, address, _dir: dir }
    }

    /// Answers every request with its own name.
    pub fn named(name: &str) -> Nginx {
        Self::start(&format!("location / {{ default_type text/plain; return 200 \"{name}\"; }}"))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it at once, as a crash would.
    pub fn kill(&self) {
        self.process.signal("KILL");
    }
}

fn configuration(prefix: &str, port: u16, upstream: &str, locations: &str) -> String {
    format!(
        "daemon off; master_process off; pid {prefix}/pid; worker_processes 1;
         events {{ worker_connections 1024; }}
         http {{
             access_log off; keepalive_requests 1000000; client_max_body_size 0;
             client_body_temp_path {prefix}/body; proxy_temp_path {prefix}/proxy; fastcgi_temp_path {prefix}/fastcgi;
             uwsgi_temp_path {prefix}/uwsgi; scgi_temp_path {prefix}/scgi;
             {upstream}
             server {{ listen 127.0.0.1:{port}; {locations} }}
         }}"
    )
}
