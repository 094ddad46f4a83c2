//! Child processes that end with the test, and only they.

use std::path::PathBuf;
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

/// Ends processes that have children of their own, or are nobody's children here: with TERM, so that they
/// end their own, when it is dropped, and also when the test's process is killed.
pub struct Guard {
    shell: Child,
}

impl Guard {
    /// Over one process, which is this one's child.
    pub fn over(id: u32) -> Guard {
        Self::waiting_to(&format!("kill -TERM {id}"))
    }

    /// Over the processes whose ids are in these files, at the time; the files may be missing. Waits until
    /// they are gone, but not for ever.
    pub fn over_ids_in(files: &[PathBuf]) -> Guard {
        let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
        let gone = "n=0; while kill -0 $id && [ $n -lt 500 ]; do sleep 0.01; n=$((n + 1)); done";
        Self::waiting_to(&format!("for id in $(cat {}); do kill -TERM $id; {gone}; done", files.join(" ")))
    }

    /// A shell whose input ends when this process does, which the kernel sees to.
    fn waiting_to(end: &str) -> Guard {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("exec 2>/dev/null; cat; {end}")]);
        Guard { shell: shell.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap() }
    }

    /// Lets those alone that it was over: they have ended, and their ids may be others' by now.
    pub fn dismiss(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}
