//! A worker's process, and the conversation with it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;

use log::warn;
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::held::Held;
use super::service;
use crate::clock::Instant;
use crate::handover::WorkerId;
use crate::limits::ORDERS;
use crate::wire::{self, Channel, Drained, Health, Order, Place, Received, Report, Settings};

/// An executable that is kept open: the file at its path may be another one by the time that it is needed again.
#[derive(Debug)]
pub struct Program {
    file: File,
    path: PathBuf,
}

impl Program {
    /// Opens one.
    ///
    /// # Errors
    /// It is not there, or no file.
    pub fn open(path: &Path) -> io::Result<Program> {
        let file = File::open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        Ok(Program { file, path: path.to_owned() })
    }

    /// Where it was.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path that leads to it for as long as it is open, in this process and in its children.
    pub fn link(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.file.as_raw_fd()).into()
    }

    /// A process of this program; the other end of the socket is its standard input.
    fn spawn(&self, config: &Path, socket: OwnedFd) -> io::Result<Pid> {
        let mut command = Command::new(self.link());
        // A group of its own: what a terminal sends to this process is not meant for its workers.
        command.arg0("tetap").arg("worker").arg(config).stdin(Stdio::from(socket)).process_group(0);
        for name in service::PRIVATE {
            command.env_remove(name);
        }
        let child = command.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => io::Error::other("it is a script, or what loads it is missing"),
            _ => error,
        })?;
        let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        id.ok_or_else(|| io::Error::other("it has no process id"))
    }
}

/// What a worker has said of the configuration that it serves by.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The sockets that it uses.
    pub places: Vec<Place>,
    /// What concerns the supervisor.
    pub settings: Settings,
    /// The configuration's text.
    pub text: Arc<str>,
}

/// Something from a worker.
#[derive(Debug)]
pub enum Word {
    /// A message.
    Said(Box<Report>, Vec<OwnedFd>),
    /// It says nothing more.
    End,
}

/// Where words go.
pub type Words = mpsc::Sender<(WorkerId, Word)>;

/// An order, and the descriptors beside it.
pub type Parcel = (Order, Vec<OwnedFd>);

/// A worker's process.
#[derive(Debug)]
pub struct Child {
    /// Its process.
    pub pid: Pid,
    /// Which build it is.
    pub version: String,
    /// What it has said that it serves by.
    pub prepared: Option<Prepared>,
    /// Sockets that were opened for it, and that nobody else uses yet.
    pub opened: Vec<Held>,
    /// How its drain has ended.
    pub drained: Option<Drained>,
    /// It accepts nobody any more.
    pub closed: bool,
    /// How it was when it was last asked.
    pub health: Health,
    /// When it was started.
    pub since: Instant,
    /// How its process ended.
    pub reaped: Option<String>,
    /// It says nothing more.
    pub silent: bool,
    orders: mpsc::Sender<Parcel>,
    _talk: [AbortOnDropHandle<()>; 2],
}

impl Child {
    /// Starts a worker, and a conversation with it.
    ///
    /// # Errors
    /// It is nothing that can be started.
    pub fn start(id: WorkerId, program: &Program, config: &Path, words: Words) -> io::Result<Child> {
        let (here, there) = wire::pair()?;
        let channel = Arc::new(Channel::new(here)?);
        let pid = program.spawn(config, there)?;
        let (orders, ordered) = mpsc::channel(ORDERS);
        let talk = [
            AbortOnDropHandle::new(tokio::spawn(tell(channel.clone(), ordered))),
            AbortOnDropHandle::new(tokio::spawn(hear(id, channel, words))),
        ];
        Ok(Child {
            pid,
            version: String::new(),
            prepared: None,
            opened: Vec::new(),
            drained: None,
            closed: false,
            health: Health::default(),
            since: Instant::now(),
            reaped: None,
            silent: false,
            orders,
            _talk: talk,
        })
    }

    /// Has it do something. Who does not listen for so long that there is no room for another order is of no use.
    pub fn order(&self, order: Order, beside: Vec<OwnedFd>) {
        if self.orders.try_send((order, beside)).is_err() && !self.silent {
            warn!("the worker with process id {} does not listen, and is killed", self.pid);
            self.kill();
        }
    }

    /// Asks it how it is, if it listens.
    pub fn ask(&self, id: u64) {
        let _ = self.orders.try_send((Order::Ask { id }, Vec::new())); // if it does not, it has been asked already
    }

    /// Ends it, whatever it does.
    pub fn kill(&self) {
        if self.reaped.is_none() {
            let _ = kill_process(self.pid, Signal::KILL); // it may have ended just now
        }
    }

    /// It is gone, and there is nothing more that it could have said.
    pub fn is_gone(&self) -> bool {
        self.silent && self.reaped.is_some()
    }
}

/// How a process ended, in words.
pub fn ending(status: i32) -> String {
    let status = ExitStatus::from_raw(status);
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("it ended with status {code}"),
        (None, Some(signal)) => format!("it was ended by signal {signal}"),
        (None, None) => format!("it ended: {status}"),
    }
}

async fn tell(channel: Arc<Channel>, mut orders: mpsc::Receiver<Parcel>) {
    while let Some((order, beside)) = orders.recv().await {
        let beside: Vec<_> = beside.iter().map(AsFd::as_fd).collect();
        if channel.send(&order, &beside).await.is_err() {
            return; // it is gone, as will be heard
        }
    }
}

async fn hear(id: WorkerId, channel: Arc<Channel>, words: Words) {
    loop {
        let word = match channel.receive::<Report>().await {
            Ok(Some(Received::Message(report, beside))) => Word::Said(Box::new(report), beside),
            Ok(Some(Received::Unknown(kind))) => {
                warn!("{id} is of another version, and says what is not understood: {kind}");
                continue;
            }
            Ok(None) => break,
            Err(error) => {
                warn!("{id} does not speak as a worker does: {error}");
                break;
            }
        };
        if words.send((id, word)).await.is_err() {
            return; // nobody listens any more: the process is ending
        }
    }
    let _ = words.send((id, Word::End)).await;
}
