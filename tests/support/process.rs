//! Child processes that end with the test, and only they.

use std::process::{Child, Command, ExitStatus, Stdio};

use super::eventually;

/// A child that is killed, by its own process id, when dropped.
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts a command with its input closed.
    pub fn spawn(command: &mut Command) -> Process {
        Self::spawn_with(command, Stdio::null())
    }

    /// Starts a command whose input ends when this process does, however that ends.
    pub fn spawn_attached(command: &mut Command) -> Process {
        Self::spawn_with(command, Stdio::piped())
    }

    fn spawn_with(command: &mut Command, input: Stdio) -> Process {
        let child = command.stdin(input).spawn();
        Process { child: child.unwrap_or_else(|error| panic!("starting {command:?}: {error}")) }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits until it ends.
    pub fn wait(&mut self) -> ExitStatus {
        eventually("the process ends", || self.ended())
    }

    /// Sends a signal (`TERM`, `INT`, `KILL`, `STOP`, …).
    pub fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success(), "{kill}");
    }

    /// A number in KiB from `/proc/PID/status`, such as `VmRSS`.
    pub fn memory_kib(&self, key: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(key)).expect("the key");
        line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
