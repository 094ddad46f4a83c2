//! A proxy's life as an operator leads it, the same for tetap and its neighbours: reloaded, upgraded, its
//! worker killed.
//!
//! Each operation is over when the operator could do the next one, so that a series of them is what it says.
//! What goes wrong is a text and no panic: the load that is under way meanwhile is to be counted in any case.

use std::net::SocketAddr;
use std::time::Instant;

use super::{Client, PATIENCE, Tetap, proc};

/// What can be done to a running proxy.
pub trait Lifecycle {
    /// Where it serves.
    fn address(&self) -> SocketAddr;

    /// Has it read its configuration again; over when what is new serves.
    fn reload(&mut self) -> Result<(), String>;

    /// Has it run its executable anew; over when only that serves.
    fn upgrade(&mut self) -> Result<(), String>;

    /// Kills a worker process with SIGKILL; over when another has taken its place.
    fn crash(&mut self) -> Result<(), String>;
}

/// Polls until `check` holds, or says what did not come true within [`PATIENCE`].
pub fn wait_for(what: &str, mut check: impl FnMut() -> bool) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    while !check() {
        if Instant::now() > deadline {
            return Err(format!("not within {PATIENCE:?}: {what}"));
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    Ok(())
}

/// `tetap run` is a supervisor, its only child the worker; but while an upgrade is under way there are two.
impl Lifecycle for Tetap {
    fn address(&self) -> SocketAddr {
        Tetap::address(self, "web")
    }

    fn reload(&mut self) -> Result<(), String> {
        command(self, "reload")
    }

    fn upgrade(&mut self) -> Result<(), String> {
        command(self, "upgrade")?;
        wait_for("one worker is left", || self.workers().len() == 1)
    }

    fn crash(&mut self) -> Result<(), String> {
        let old = self.workers();
        let victim = old.last().ok_or("`tetap run` has no child that was started as `tetap worker`")?;
        proc::signal(*victim, "KILL");
        let is_replaced = |new: &[u32]| !new.is_empty() && !new.contains(victim);
        wait_for("another worker is ready", || is_replaced(&self.workers()) && is_ready(self))
    }
}

fn command(tetap: &Tetap, name: &str) -> Result<(), String> {
    let output = tetap.command(&[name]);
    let told = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("`tetap {name}`: {}: {}", output.status, told.trim()))
    }
}

fn is_ready(tetap: &Tetap) -> bool {
    let Ok(mut client) = Client::try_connect(Tetap::address(tetap, "admin")) else { return false };
    client.send("GET /ready HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n");
    client.try_answer(false).is_ok_and(|answer| answer.status == 200)
}
