//! nginx as it is run in earnest: a daemon, its master and its workers, reloaded and upgraded by signals.
//!
//! It has to be a daemon, since a master that runs in the foreground does not upgrade: it ignores USR2 while
//! its parent is the one that it was started by. The children of this process it is not, then; a [`Guard`]
//! sees to its end.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::super::lifecycle::{Lifecycle, wait_for};
use super::super::process::Guard;
use super::super::{Client, free_port, proc, run, until};

/// As many as the machines have cores on which this is measured.
const WORKERS: usize = 2;

/// A running nginx; ended when dropped.
pub struct Master {
    address: SocketAddr,
    guard: Option<Guard>,
    dir: TempDir,
}

impl Master {
    /// Starts one that passes everything on to these servers, WebSockets included.
    pub fn before(servers: &[SocketAddr]) -> Master {
        let (dir, port) = (TempDir::new().unwrap(), free_port());
        let prefix = dir.path().to_str().unwrap().to_owned();
        std::fs::write(dir.path().join("nginx.conf"), configuration(&prefix, port, servers)).unwrap();
        let program = run("sh", &["-c", "command -v nginx"]); // it executes itself by the name it was called by
        let mut command = Command::new(program.trim());
        command.args(["-p", &prefix, "-c", "nginx.conf", "-e", "error.log"]);
        assert!(command.status().unwrap().success(), "{command:?}");
        let guard = Guard::over_ids_in(&[dir.path().join("pid"), dir.path().join("pid.oldbin")]);
        let master = Master { address: SocketAddr::from(([127, 0, 0, 1], port)), guard: Some(guard), dir };
        until("nginx serves", || master.has_workers() && Client::try_connect(master.address).is_ok());
        master
    }

    /// The processes that take new connections.
    pub fn workers(&self) -> Vec<u32> {
        let mut children = self.id().map(proc::children).unwrap_or_default();
        children.retain(|id| proc::arguments(*id).join(" ").trim() == "nginx: worker process");
        children
    }

    /// What it has written about itself.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.file("error.log")).unwrap_or_default()
    }

    fn has_workers(&self) -> bool {
        self.workers().len() == WORKERS
    }

    /// All workers are there, and none of these is among them.
    fn has_workers_but(&self, old: &[u32]) -> bool {
        self.has_workers() && self.workers().iter().all(|id| !old.contains(id))
    }

    /// The master's.
    fn id(&self) -> Option<u32> {
        proc::id_in(&self.file("pid"))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Lifecycle for Master {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn reload(&mut self) -> Result<(), String> {
        let (id, old) = (self.id().ok_or("there is no master")?, self.workers());
        proc::signal(id, "HUP");
        wait_for("a new generation of workers serves", || self.has_workers_but(&old))
    }

    /// As its manual says, under "Upgrading Executable on the Fly". The next one is only possible when the
    /// former master has gone, which it does with the last connection of its workers.
    fn upgrade(&mut self) -> Result<(), String> {
        let (former, old) = (self.id().ok_or("there is no master")?, self.workers());
        proc::signal(former, "USR2");
        wait_for("a new master has workers", || {
            self.id().is_some_and(|id| id != former) && self.has_workers_but(&old)
        })?;
        proc::signal(former, "WINCH");
        proc::signal(former, "QUIT");
        wait_for("the former master is gone", || !proc::is_alive(former))
    }

    fn crash(&mut self) -> Result<(), String> {
        let workers = self.workers();
        let victim = workers.first().ok_or("there is no worker")?;
        proc::signal(*victim, "KILL");
        wait_for("the worker is replaced", || self.has_workers_but(&[*victim]))
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        drop(self.guard.take()); // while its files are there
    }
}

fn configuration(prefix: &str, port: u16, servers: &[SocketAddr]) -> String {
    let servers: String = servers.iter().map(|server| format!("server {server}; ")).collect();
    format!(
        "daemon on; pid {prefix}/pid; worker_processes {WORKERS}; user root;
         events {{ worker_connections 1024; }}
         http {{
             access_log off; client_max_body_size 0;
             client_body_temp_path {prefix}/body; proxy_temp_path {prefix}/proxy;
             fastcgi_temp_path {prefix}/fastcgi; uwsgi_temp_path {prefix}/uwsgi; scgi_temp_path {prefix}/scgi;
             map $http_upgrade $connection_for_upgrade {{ default upgrade; '' ''; }}
             upstream u {{ {servers} keepalive 64; }}
             server {{
                 listen 127.0.0.1:{port};
                 location / {{
                     proxy_pass http://u; proxy_http_version 1.1;
                     proxy_set_header Upgrade $http_upgrade;
                     proxy_set_header Connection $connection_for_upgrade;
                 }}
             }}
         }}"
    )
}
