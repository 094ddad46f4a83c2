//! haproxy as it is run in earnest: a master that starts a worker, and another one with each reload.
//!
//! A reload is the master executing its program again, so that an upgrade is the same. A worker that dies
//! takes the master with it: unless it is told `no-exit-on-failure`, and then there is no worker at all, it
//! ends, and systemd is to start it again (Debian's unit says `Restart=always`). So here somebody plays
//! systemd.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::super::lifecycle::{Lifecycle, wait_for};
use super::super::process::{Guard, Process};
use super::super::{Client, free_port, proc, until};

/// systemd's default of `RestartSec`.
const RESTART_DELAY: Duration = Duration::from_millis(100);

/// A running haproxy; ended when dropped.
pub struct Master {
    guard: Guard, // before the process: its worker is to be told, not left
    process: Process,
    address: SocketAddr,
    restarts: usize,
    dir: TempDir,
}

impl Master {
    /// Starts one that passes everything on to these servers.
    pub fn before(servers: &[SocketAddr]) -> Master {
        let (dir, port) = (TempDir::new().unwrap(), free_port());
        std::fs::write(dir.path().join("haproxy.cfg"), configuration(port, servers)).unwrap();
        let (process, guard) = launch(&dir);
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let master = Master { guard, process, address, restarts: 0, dir };
        until("haproxy serves", || master.is_serving());
        master
    }

    /// How often its master has ended and had to be started again.
    pub fn restarts(&self) -> usize {
        self.restarts
    }

    /// The processes that take new connections, by the master's own account; none while it executes itself.
    pub fn workers(&self) -> Vec<u32> {
        let told = self.ask("show proc").unwrap_or_default();
        let Some((_, rest)) = told.split_once("# workers") else { return Vec::new() };
        let current = rest.lines().skip(1).take_while(|line| !line.starts_with('#'));
        current.filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect()
    }

    fn ask(&self, question: &str) -> std::io::Result<String> {
        let mut socket = UnixStream::connect(self.dir.path().join("master.sock"))?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        socket.write_all(format!("{question}\n").as_bytes())?;
        socket.shutdown(Shutdown::Write)?; // it waits for more questions otherwise
        let mut answer = String::new();
        socket.read_to_string(&mut answer).map(|_| answer)
    }

    fn is_serving(&self) -> bool {
        !self.workers().is_empty() && Client::try_connect(self.address).is_ok()
    }

    fn has_workers_but(&self, old: &[u32]) -> bool {
        let workers = self.workers();
        !workers.is_empty() && workers.iter().all(|id| !old.contains(id))
    }

    fn restart(&mut self) {
        self.guard.dismiss();
        std::thread::sleep(RESTART_DELAY);
        (self.process, self.guard) = launch(&self.dir);
        self.restarts += 1;
    }
}

impl Lifecycle for Master {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn reload(&mut self) -> Result<(), String> {
        let old = self.workers();
        self.process.signal("USR2");
        wait_for("a new worker serves", || self.has_workers_but(&old))
    }

    fn upgrade(&mut self) -> Result<(), String> {
        self.reload()
    }

    fn crash(&mut self) -> Result<(), String> {
        let workers = self.workers();
        let victim = workers.first().ok_or("there is no worker")?;
        proc::signal(*victim, "KILL");
        let mut has_ended = false;
        wait_for("the master has noticed", || {
            has_ended = self.process.ended().is_some();
            has_ended || self.has_workers_but(&[*victim])
        })?;
        if has_ended {
            self.restart();
        }
        wait_for("it serves again", || self.is_serving())
    }
}

fn launch(dir: &TempDir) -> (Process, Guard) {
    let file = |name: &str| -> PathBuf { dir.path().join(name) };
    let errors = std::fs::File::options().create(true).append(true).open(file("stderr")).unwrap();
    let mut command = Command::new("haproxy");
    command.arg("-W").arg("-S").arg(file("master.sock")).arg("-f").arg(file("haproxy.cfg"));
    let process = Process::spawn(command.stdout(Stdio::null()).stderr(errors));
    let guard = Guard::over(process.id());
    (process, guard)
}

/// Beside what every manual says nothing but two threads: what is compared has two workers, or two threads,
/// too.
fn configuration(port: u16, servers: &[SocketAddr]) -> String {
    let servers: String =
        servers.iter().enumerate().map(|(number, server)| format!("  server s{number} {server}\n")).collect();
    format!(
        "global
  nbthread 2
defaults
  mode http
  timeout connect 5s
  timeout client 50s
  timeout server 50s
  timeout tunnel 1h
frontend web
  bind 127.0.0.1:{port}
  default_backend servers
backend servers
{servers}"
    )
}
