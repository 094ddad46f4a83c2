//! A worker's process, and the conversation with it.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use log::warn;
use nix::unistd::User;
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::held::Held;
use super::{service, succession::Worker};
use crate::clock::Instant;
use crate::handover::WorkerId;
use crate::limits::ORDERS;
use crate::wire::{self, Channel, Drained, Health, Order, Place, Received, Report, Role, Settings};

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
        // Nobody is waited for at the other end of a pipe.
        let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
        let file = File::options().read(true).custom_flags(nonblocking).open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        Ok(Program { file, path: path.to_owned() })
    }

    /// Where it was.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// One that is open.
    pub fn held(file: OwnedFd, path: PathBuf) -> Program {
        Program { file: file.into(), path }
    }

    /// Its descriptor.
    pub fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// A path that leads to it for as long as it is open, in this process and in its children.
    pub fn link(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.file.as_raw_fd()).into()
    }

    /// A process of this program; the other end of the socket is its standard input.
    fn spawn(&self, config: &Path, user: Option<Who>, socket: OwnedFd) -> io::Result<Pid> {
        let mut command = Command::new(self.link());
        // A group of its own: what a terminal sends to this process is not meant for its workers.
        command.arg0("tetap").arg("worker").arg(config).stdin(Stdio::from(socket)).process_group(0);
        if let Some(user) = user {
            command.uid(user.uid).gid(user.gid); // and in no other group
        }
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

/// Who a worker is to run as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    uid: u32,
    gid: u32,
}

/// A user of this machine.
///
/// # Errors
/// There is no such user.
pub fn user(name: &str) -> io::Result<Who> {
    let found = User::from_name(name)?.map(|user| Who { uid: user.uid.as_raw(), gid: user.gid.as_raw() });
    found.ok_or_else(|| io::Error::other(format!("process.user: there is no user {name:?} on this machine")))
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

/// Where what workers say goes.
pub type Ears = mpsc::Sender<(WorkerId, Word)>;

/// An order, and the descriptors beside it.
pub type Parcel = (Order, Vec<OwnedFd>);

/// A worker's process.
#[derive(Debug)]
pub struct Child {
    /// Its process.
    pub pid: Pid,
    /// Which build it is.
    pub version: String,
    /// Why it is there.
    pub role: Role,
    /// It was told what another knew.
    pub inherits: bool,
    /// The number of the configuration that it serves by.
    pub generation: u64,
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
    /// The conversation, for a supervisor that follows.
    socket: OwnedFd,
    /// Orders that were not sent yet.
    unsent: Arc<AtomicUsize>,
    _talk: [AbortOnDropHandle<()>; 2],
}

impl Child {
    /// Starts a worker, and a conversation with it.
    ///
    /// # Errors
    /// It is nothing that can be started.
    pub fn start(
        id: WorkerId,
        program: &Program,
        config: &Path,
        user: Option<Who>,
        ears: Ears,
    ) -> io::Result<Child> {
        let (here, there) = wire::pair()?;
        let pid = program.spawn(config, user, there)?;
        Child::converse(id, pid, here, ears)
    }

    /// Goes on talking to a worker that was started before.
    ///
    /// # Errors
    /// There are no descriptors left, or this is no socket.
    pub fn resume(left: Worker, text: Arc<str>, socket: OwnedFd, ears: Ears) -> io::Result<Child> {
        let Worker { id, pid, serves: _, version, generation, closed, drained, places, settings } = left;
        let prepared = Prepared { places, settings, text };
        let pid = Pid::from_raw(pid).ok_or_else(|| io::Error::other("0 is no process"))?;
        let child = Child::converse(WorkerId(id), pid, socket, ears)?;
        Ok(Child { version, generation, closed, drained, prepared: Some(prepared), ..child })
    }

    fn converse(id: WorkerId, pid: Pid, socket: OwnedFd, ears: Ears) -> io::Result<Child> {
        let channel = Arc::new(Channel::new(socket.try_clone()?)?);
        let (orders, ordered) = mpsc::channel(ORDERS);
        let unsent = Arc::new(AtomicUsize::new(0));
        let talk = [
            AbortOnDropHandle::new(tokio::spawn(tell(channel.clone(), ordered, unsent.clone()))),
            AbortOnDropHandle::new(tokio::spawn(hear(id, channel, ears))),
        ];
        Ok(Child {
            pid,
            version: String::new(),
            role: Role::Successor,
            inherits: false,
            generation: 0,
            prepared: None,
            opened: Vec::new(),
            drained: None,
            closed: false,
            health: Health::default(),
            since: Instant::now(),
            reaped: None,
            silent: false,
            orders,
            socket,
            unsent,
            _talk: talk,
        })
    }

    /// The conversation.
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// All that it was told is on its way.
    pub fn is_told(&self) -> bool {
        self.unsent.load(Ordering::Acquire) == 0
    }

    fn push(&self, order: Order, beside: Vec<OwnedFd>) -> bool {
        let pushed = self.orders.try_send((order, beside)).is_ok();
        self.unsent.fetch_add(usize::from(pushed), Ordering::AcqRel);
        pushed
    }

    /// Has it do something. Who does not listen for so long that there is no room for another order is of no use.
    pub fn order(&self, order: Order, beside: Vec<OwnedFd>) {
        if !self.push(order, beside) && !self.silent {
            warn!("the worker with process id {} does not listen, and is killed", self.pid);
            self.kill();
        }
    }

    /// Asks it how it is, if it listens.
    pub fn ask(&self, id: u64) {
        self.push(Order::Ask { id }, Vec::new()); // if it does not, it has been asked already
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

async fn tell(channel: Arc<Channel>, mut orders: mpsc::Receiver<Parcel>, unsent: Arc<AtomicUsize>) {
    while let Some((order, beside)) = orders.recv().await {
        let beside: Vec<_> = beside.iter().map(AsFd::as_fd).collect();
        let sent = channel.send(&order, &beside).await;
        unsent.fetch_sub(1, Ordering::AcqRel);
        match sent {
            Ok(()) => {}
            Err(gone) if matches!(gone.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => return,
            Err(error) => warn!("an order was not given: {error}"), // what depends on it has a deadline
        }
    }
}

async fn hear(id: WorkerId, channel: Arc<Channel>, ears: Ears) {
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
        if ears.send((id, word)).await.is_err() {
            return; // nobody listens any more: the process is ending
        }
    }
    let _ = ears.send((id, Word::End)).await;
}
