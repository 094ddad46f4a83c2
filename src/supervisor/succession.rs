//! How the supervisor itself becomes another version, and stays the same process.
//!
//! Whoever watches it (a service manager, a container's engine) knows it by its process id, and its workers are its
//! children. So it executes the new program in its own place. What it has in memory it sends to itself first: a message
//! with its [`State`], and before it the descriptors, in messages of their own, into a socket whose other end is the new
//! program's standard input. The kernel keeps both until they are read.
//!
//! After that there is no way back. So the new program is asked first, in a process of its own, whether it understands
//! this very state; and as long as anything is under way that the state does not tell of, it is not done yet. If it is not
//! done at all, nothing is lost: supervisor and workers may be of different versions.
//!
//! Signals that come meanwhile wait: they are blocked until the new program hears them.

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{Child as Process, Command, Stdio};

use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use serde::{Deserialize, Serialize};

use super::child::Who;
use crate::history::History;
use crate::limits::{WIRE_BODY_BYTES, WIRE_DESCRIPTORS};
use crate::wire::{Drained, Place, Settings, frame, pair};

/// The revision of [`State`]. It goes up when a program must not go on from what an older one has left.
const REVISION: u32 = 1;

/// Everything that a supervisor knows, but for its descriptors.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    /// [`REVISION`] of whoever wrote it.
    pub revision: u32,
    /// The configuration's file.
    pub config: PathBuf,
    /// What of it concerns the supervisor.
    pub settings: Settings,
    /// Who workers run as, if not as the supervisor.
    #[serde(default)]
    pub user: Option<Who>,
    /// The text that is served by.
    pub applied: String,
    /// The text before that.
    pub before: String,
    /// Where the executable came from.
    pub program: PathBuf,
    /// Where commands are taken, if they are.
    pub control: Option<PathBuf>,
    /// The number of the last configuration.
    pub generation: u64,
    /// The number of the last worker.
    pub last: u64,
    /// What has happened so far.
    #[serde(default)]
    pub history: History,
    /// Where the sockets listen, in the order of their descriptors.
    pub held: Vec<Place>,
    /// Where those listen that the service manager lends, in the order of their descriptors.
    #[serde(default)]
    pub lent: Vec<Place>,
    /// The workers, in the order of their descriptors.
    pub children: Vec<Worker>,
}

/// A worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Worker {
    /// Its number.
    pub id: u64,
    /// Its process.
    pub pid: i32,
    /// It serves; if not, it drains.
    pub serves: bool,
    /// Which build it is.
    #[serde(default)]
    pub version: String,
    /// The number of its configuration.
    #[serde(default)]
    pub generation: u64,
    /// It accepts nobody any more.
    #[serde(default)]
    pub closed: bool,
    /// How its drain has ended.
    #[serde(default)]
    pub drained: Option<Drained>,
    /// The sockets that it uses.
    pub places: Vec<Place>,
    /// What of its configuration concerns the supervisor.
    #[serde(default)]
    pub settings: Settings,
}

/// The descriptors that belong to a state, in the order in which they are sent.
#[derive(Debug)]
pub struct Descriptors<T> {
    /// Of the program that is to run.
    pub program: T,
    /// Where commands are taken, if they are.
    pub control: Option<T>,
    /// The sockets.
    pub held: Vec<T>,
    /// Those that are lent.
    pub lent: Vec<T>,
    /// The conversations with the workers.
    pub children: Vec<T>,
}

impl State {
    /// As it travels.
    ///
    /// # Errors
    /// It is too large.
    pub fn to_bytes(&self) -> io::Result<Vec<u8>> {
        let bytes = serde_json::to_vec(self)?;
        let fits = bytes.len() <= WIRE_BODY_BYTES;
        if fits { Ok(bytes) } else { Err(io::Error::other("there is too much of it")) }
    }

    /// Of a revision that is known.
    ///
    /// # Errors
    /// It is not understood.
    pub fn from_bytes(bytes: &[u8]) -> io::Result<State> {
        let state: State = serde_json::from_slice(bytes)?;
        match state.revision {
            REVISION => Ok(state),
            other => Err(io::Error::other(format!(
                "a state of revision {other}, and only {REVISION} is known here"
            ))),
        }
    }

    /// The present revision.
    pub fn revision() -> u32 {
        REVISION
    }
}

/// Sends a state into a new socket; its other end.
///
/// # Errors
/// There is no room for it.
pub fn send(state: &[u8], descriptors: &Descriptors<BorrowedFd<'_>>) -> io::Result<OwnedFd> {
    let (here, there) = pair()?;
    let Descriptors { program, control, held, lent, children } = descriptors;
    let rest = [held, lent, children].into_iter().flatten();
    let all: Vec<BorrowedFd<'_>> = [*program].into_iter().chain(*control).chain(rest.copied()).collect();
    for part in all.chunks(WIRE_DESCRIPTORS) {
        frame::send(&here, b"descriptors", part)?;
    }
    frame::send(&here, state, &[])?;
    Ok(there)
}

/// Takes over a state.
///
/// # Errors
/// There is none, or it is not understood.
pub fn receive(socket: &OwnedFd) -> io::Result<(State, Descriptors<OwnedFd>)> {
    let mut all = Vec::new();
    loop {
        let (body, descriptors) = frame::receive(socket)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if body == b"descriptors" {
            all.extend(descriptors);
            continue;
        }
        let state = State::from_bytes(&body)?;
        let lists = state.held.len() + state.lent.len() + state.children.len();
        let expected = 1 + usize::from(state.control.is_some()) + lists;
        if all.len() != expected {
            return Err(io::Error::other(format!("found {} descriptors, expected {expected}", all.len())));
        }
        let mut all = all.into_iter();
        let mut some = |count: usize| all.by_ref().take(count).collect::<Vec<_>>();
        let program = some(1).pop().ok_or(io::ErrorKind::UnexpectedEof)?;
        let control = some(usize::from(state.control.is_some())).pop();
        let held = some(state.held.len());
        let lent = some(state.lent.len());
        let children = some(state.children.len());
        return Ok((state, Descriptors { program, control, held, lent, children }));
    }
}

/// Asks a program, in a process of its own, whether it understands a state. Its exit status is the answer.
///
/// # Errors
/// It cannot be started.
pub fn examine(program: &Path, state: &[u8]) -> io::Result<Process> {
    let file = frame::in_memory("tetap-state", state)?;
    let mut command = Command::new(program);
    command.args(["run", "--resumed", "--examine"]).stdin(Stdio::from(file));
    command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn()
}

/// The other side of that question.
///
/// # Errors
/// It is not understood.
pub fn understand(input: impl Read) -> io::Result<()> {
    let mut bytes = Vec::new();
    input.take(WIRE_BODY_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    State::from_bytes(&bytes).map(drop)
}

/// The signals that a supervisor hears.
fn heard() -> SigSet {
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR2, Signal::SIGCHLD].into_iter().collect()
}

/// Has signals wait.
///
/// # Errors
/// The system does not.
pub fn block_signals() -> io::Result<()> {
    Ok(pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&heard()), None)?)
}

/// Lets those that have waited come.
///
/// # Errors
/// The system does not.
pub fn unblock_signals() -> io::Result<()> {
    Ok(pthread_sigmask(SigmaskHow::SIG_UNBLOCK, Some(&heard()), None)?)
}

/// Becomes this program, with the socket as standard input. Returns only if that fails.
pub fn become_it(program: &Path, socket: &OwnedFd) -> io::Error {
    let become_it = || -> io::Result<()> {
        let name = |word: OsString| CString::new(word.into_vec()).map_err(io::Error::other);
        let mut words: Vec<OsString> = std::env::args_os().collect();
        if !words.iter().any(|word| word == "--resumed") {
            words.push("--resumed".into());
        }
        let words = words.into_iter().map(name).collect::<io::Result<Vec<_>>>()?;
        let path = name(program.as_os_str().to_owned())?;
        rustix::stdio::dup2_stdin(socket.as_fd())?;
        rustix::io::ioctl_fionbio(std::io::stdin(), false)?;
        nix::unistd::execv(&path, &words)?;
        Ok(())
    };
    let failed = become_it().err().unwrap_or_else(|| io::Error::other("it came back"));
    // What is in the socket, and keeps other sockets open, is to go with it.
    let _ = File::open("/dev/null").and_then(|null| Ok(rustix::stdio::dup2_stdin(null)?));
    failed
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn state(held: usize) -> State {
        State {
            revision: REVISION,
            config: "/a.yaml".into(),
            settings: Settings::default(),
            user: None,
            applied: "a".repeat(1 << 20),
            before: String::new(),
            program: "/bin/tetap".into(),
            control: Some("/run/tetap/a.sock".into()),
            generation: 7,
            last: 3,
            history: History::default(),
            held: (0..held).map(|port| Place::Unix(format!("/{port}").into())).collect(),
            lent: Vec::new(),
            children: Vec::new(),
        }
    }

    #[test]
    fn a_state_with_300_sockets_arrives() {
        let state = state(300);
        let file = frame::in_memory("t", b"x").unwrap();
        let descriptors = Descriptors {
            program: file.as_fd(),
            control: Some(file.as_fd()),
            held: vec![file.as_fd(); 300],
            lent: Vec::new(),
            children: Vec::new(),
        };
        let socket = send(&state.to_bytes().unwrap(), &descriptors).unwrap();
        let (received, descriptors) = receive(&socket).unwrap();
        assert_eq!((received.held.len(), descriptors.held.len(), received.generation), (300, 300, 7));
        assert!(descriptors.control.is_some() && received.applied == state.applied);
    }

    #[test]
    fn what_is_missing_or_unknown_is_no_state() {
        let file = frame::in_memory("t", b"x").unwrap();
        let descriptors = Descriptors {
            program: file.as_fd(),
            control: None,
            held: Vec::new(),
            lent: Vec::new(),
            children: Vec::new(),
        };
        let socket = send(&state(1).to_bytes().unwrap(), &descriptors).unwrap();
        assert!(receive(&socket).unwrap_err().to_string().contains("expected 3"));
        let newer = State { revision: 2, ..state(0) }.to_bytes().unwrap();
        assert!(understand(&newer[..]).unwrap_err().to_string().contains("revision 2"));
        assert!(understand(&b"{}"[..]).is_err());
        assert!(understand(&state(0).to_bytes().unwrap()[..]).is_ok());
    }
}
