//! The proxy under test: `tetap run` by this executable, as a process of its own.
//!
//! It is in a group of its own, so that Ctrl-C in a terminal reaches only us: its end is ours to order. And it is on a
//! leash: should this process be killed, the kernel tells it to end, and its workers end with it.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::Error;
use super::interrupt::Interrupt;
use super::shadow::Shadow;
use crate::supervisor::control::{self, Reply, Request};
use crate::supervisor::service;

/// How long it may take to settle after an event, beyond what the configuration allows.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks at how it is.
const LOOK: Duration = Duration::from_millis(25);

/// How long it may take to end at once.
const END: Duration = Duration::from_secs(5);

/// How many of its last lines are shown where it does not serve.
const LAST_LINES: usize = 20;

/// The running proxy; it ends when this is dropped.
pub(super) struct Proxy {
    process: Child,
    control: PathBuf,
    log: PathBuf,
    /// Files that an upgrade must not succeed with are put here.
    pub(super) folder: PathBuf,
    pub(super) interrupt: Arc<Interrupt>,
}

impl Proxy {
    /// Starts it, and waits until it serves; that may take `ready` and some more.
    ///
    /// # Errors
    /// It cannot be started, or does not serve.
    pub(super) fn start(
        shadow: &Shadow,
        folder: &Path,
        ready: Duration,
        interrupt: Arc<Interrupt>,
    ) -> Result<Proxy, Error> {
        let (config, log) = (folder.join("tetap.yaml"), folder.join("log"));
        fs::write(&config, &shadow.text)?;
        let process = spawn(&config, File::create(&log)?)?;
        interrupt.takes(i32::try_from(process.id()).ok().and_then(Pid::from_raw));
        let (control, folder) = (shadow.control.clone(), folder.to_owned());
        let mut proxy = Proxy { process, control, log, folder, interrupt };
        proxy.begin(ready + PATIENCE)?;
        Ok(proxy)
    }

    fn begin(&mut self, patience: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + patience;
        while self.settled().is_none() {
            self.go_on()?;
            if self.process.try_wait()?.is_some() || Instant::now() > deadline {
                return Err(Error::NotReady(self.last_words()));
            }
            sleep(LOOK);
        }
        Ok(())
    }

    /// Has it do something; what came of it.
    ///
    /// # Errors
    /// Somebody interrupts.
    pub(super) fn ask(&self, request: &Request) -> Result<Reply, Error> {
        let reply = control::ask(&self.control, request);
        self.go_on()?;
        Ok(match reply {
            Ok(Some(reply)) => reply,
            Ok(None) => Reply::refused("it has ended without an answer"),
            Err(error) => Reply::refused(format!("it takes no commands: {error}")),
        })
    }

    /// Waits until one worker serves, which is not `gone`, and there is no other. Whether it came to that.
    ///
    /// # Errors
    /// Somebody interrupts.
    pub(super) fn settle(&self, gone: Option<i32>) -> Result<bool, Error> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            self.go_on()?;
            if self.settled().is_some_and(|pid| Some(pid) != gone) {
                return Ok(true);
            }
            sleep(LOOK);
        }
        Ok(false)
    }

    /// The only worker's process, where that serves and nothing is under way. No answer is none: it may be on its way to
    /// another program.
    pub(super) fn settled(&self) -> Option<i32> {
        let report = control::ask(&self.control, &Request::Status).ok()??.report;
        let workers = report.get("workers")?.as_array()?;
        let [worker] = workers.as_slice() else { return None };
        let serves = worker.get("state")?.as_str()? == "serving";
        let is_changing = report.get("changing").and_then(Value::as_bool).unwrap_or_default();
        if serves && !is_changing { i32::try_from(worker.get("pid")?.as_i64()?).ok() } else { None }
    }

    /// How it is, and what it has last said, for people.
    pub(super) fn story(&self) -> String {
        let reply = control::ask(&self.control, &Request::Status).ok().flatten();
        let status = reply.map_or_else(|| "no answer".to_owned(), |reply| reply.message);
        format!("{status}\n{}", self.last_words())
    }

    /// Waits a while.
    ///
    /// # Errors
    /// Somebody interrupts.
    pub(super) fn rest(&self, time: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + time;
        while Instant::now() < deadline {
            self.go_on()?;
            sleep(LOOK.min(time));
        }
        Ok(())
    }

    fn go_on(&self) -> Result<(), Error> {
        if self.interrupt.is_asked() { Err(Error::Interrupted) } else { Ok(()) }
    }

    fn last_words(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.interrupt.takes(None);
        if let Some(pid) = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::INT); // gone already is as good
        }
        let deadline = Instant::now() + END;
        while Instant::now() < deadline && matches!(self.process.try_wait(), Ok(None)) {
            sleep(LOOK);
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(config: &Path, log: File) -> io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["run", "--leashed", "--config"]).arg(config).process_group(0);
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    for name in service::PRIVATE {
        command.env_remove(name); // what a service manager has lent to us is not for a test
    }
    command.spawn()
}
