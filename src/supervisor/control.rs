//! Where commands reach the supervisor: a unix socket, one line of JSON each way.
//!
//! Whoever can write to it can stop the proxy and have it run another executable. So it lies in a folder that only its
//! owner can enter (mode 0700), and a folder that is anything else is refused rather than trusted.

use std::env;
use std::fs::{self, DirBuilder};
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use crate::limits::{
    CONTROL_ANSWER_TIME, CONTROL_BACKLOG, CONTROL_CONNECTIONS, CONTROL_LINE_BYTES, CONTROL_LINE_TIME,
    CONTROL_REST,
};
use crate::sockets::{self, Unlink};

/// What can be asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Request {
    /// How it is.
    Status,
    /// Finish what is under way, and end. Answered by the end.
    Stop,
    /// Read the configuration again.
    Reload {
        /// Go back from it, unless it is confirmed so soon.
        #[serde(default)]
        confirm: Option<Duration>,
    },
    /// Stay with the configuration that was last reloaded.
    Confirm,
    /// What a reload would change.
    Plan,
    /// Run another executable.
    Upgrade {
        /// Which one; left out, the one that is now at the path that the running one came from.
        #[serde(default)]
        binary: Option<PathBuf>,
    },
}

impl Request {
    /// How long the answer may take; `None` where that depends on clients and the configuration.
    fn patience(&self) -> Option<Duration> {
        match self {
            Request::Status | Request::Confirm => Some(CONTROL_ANSWER_TIME),
            Request::Stop | Request::Reload { .. } | Request::Upgrade { .. } | Request::Plan => None,
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reply {
    /// It was done.
    pub done: bool,
    /// It was not, and what the operator wrote is to blame.
    pub usage: bool,
    /// For people.
    pub message: String,
    /// For programs.
    pub report: serde_json::Value,
}

impl Reply {
    /// It was not done.
    pub fn refused(message: impl Into<String>) -> Reply {
        Reply { message: message.into(), ..Reply::default() }
    }
}

/// A request, and where the answer goes.
pub type Asked = (Request, oneshot::Sender<Reply>);

/// Asks the supervisor whose socket this is. `None`: it has ended without an answer, or there is nobody.
///
/// # Errors
/// It cannot be reached.
pub fn ask(path: &Path, request: &Request) -> io::Result<Option<Reply>> {
    let mut stream = StdStream::connect(path)?;
    stream.set_read_timeout(request.patience())?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    match BufReader::new(stream).read_line(&mut answer) {
        Ok(0) => Ok(None),
        Err(reset) if reset.kind() == io::ErrorKind::ConnectionReset => Ok(None),
        Ok(_) => serde_json::from_str(&answer).map(Some).map_err(io::Error::other),
        Err(error) => Err(error),
    }
}

/// Where the socket of a configuration is when that does not say it: in the folder that the service manager made, or else
/// in the system's or the user's own; with a name after the configuration's path, so that two proxies do not meet.
pub fn default_path(config: &Path) -> PathBuf {
    let whole = fs::canonicalize(config).unwrap_or_else(|_| config.to_owned());
    let digest = ring::digest::digest(&ring::digest::SHA256, whole.as_os_str().as_encoded_bytes());
    let name: String = digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    folder().join(format!("{name}.sock"))
}

fn folder() -> PathBuf {
    let uid = rustix::process::geteuid().as_raw();
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    match (set("RUNTIME_DIRECTORY"), set("XDG_RUNTIME_DIR")) {
        (Some(folder), _) => folder,
        (None, _) if uid == 0 => "/run/tetap".into(),
        (None, Some(folder)) => folder.join("tetap"),
        (None, None) => env::temp_dir().join(format!("tetap-{uid}")),
    }
}

/// The socket for commands, open.
#[derive(Debug)]
pub struct Control {
    /// Where it is.
    pub path: PathBuf,
    _file: Unlink,
    socket: OwnedFd,
    /// Free places for commands.
    places: Arc<Semaphore>,
    serving: Option<AbortOnDropHandle<()>>,
}

impl Control {
    /// Opens it, and its folder if that is missing.
    ///
    /// # Errors
    /// The folder is not ours alone, or another supervisor listens there.
    pub fn open(path: &Path) -> io::Result<Control> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        private(folder)?;
        Ok(Control::held(path.to_owned(), sockets::unix(path, CONTROL_BACKLOG)?))
    }

    /// One that is open.
    pub fn held(path: PathBuf, socket: OwnedFd) -> Control {
        let places = Arc::new(Semaphore::new(CONTROL_CONNECTIONS));
        Control { _file: Unlink::of(&path), path, socket, places, serving: None }
    }

    /// Its descriptor.
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Nobody is being answered.
    pub fn is_idle(&self) -> bool {
        self.places.available_permits() == CONTROL_CONNECTIONS
    }

    /// Answers whoever connects, until this is dropped.
    ///
    /// # Errors
    /// It cannot be watched.
    pub fn serve(&mut self, asked: mpsc::Sender<Asked>) -> io::Result<()> {
        let listener = UnixListener::from_std(self.socket.try_clone()?.into())?;
        self.serving =
            Some(AbortOnDropHandle::new(tokio::spawn(serve(listener, self.places.clone(), asked))));
        Ok(())
    }
}

async fn serve(listener: UnixListener, places: Arc<Semaphore>, asked: mpsc::Sender<Asked>) {
    loop {
        let accepted = listener.accept().await;
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match accepted {
            Ok((stream, _)) => {
                let asked = asked.clone();
                tokio::spawn(async move {
                    let _ = answer(stream, asked).await; // whoever asked has gone
                    drop(place);
                });
            }
            Err(_) => tokio::time::sleep(CONTROL_REST).await, // no descriptors left, for the moment
        }
    }
}

fn private(folder: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(folder)?;
    let (mode, owner) = (found.mode() & 0o777, found.uid());
    let us = rustix::process::geteuid().as_raw();
    if found.is_dir() && mode & 0o077 == 0 && owner == us {
        return Ok(());
    }
    let place = folder.display();
    Err(io::Error::other(format!(
        "the folder {place} must be user {us}'s alone (mode 0700), and is user {owner}'s with {mode:04o}"
    )))
}

async fn answer(mut stream: UnixStream, asked: mpsc::Sender<Asked>) -> io::Result<()> {
    let reply = match tokio::time::timeout(CONTROL_LINE_TIME, request(&mut stream)).await {
        Ok(Ok(request)) => {
            let (sender, reply) = oneshot::channel();
            if asked.send((request, sender)).await.is_err() {
                return Ok(());
            }
            let Ok(reply) = reply.await else { return Ok(()) };
            reply
        }
        Ok(Err(error)) => Reply::refused(format!("not understood: {error}")),
        Err(_) => Reply::refused("nothing was asked in time"),
    };
    let mut line = serde_json::to_vec(&reply)?;
    line.push(b'\n');
    // Whoever asks and does not read keeps nobody else from asking.
    let written = tokio::time::timeout(CONTROL_LINE_TIME, stream.write_all(&line)).await;
    written.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn request(stream: &mut UnixStream) -> io::Result<Request> {
    let mut line = Vec::new();
    let mut bounded = tokio::io::BufReader::new(stream).take(CONTROL_LINE_BYTES);
    bounded.read_until(b'\n', &mut line).await?;
    Ok(serde_json::from_slice(&line)?)
}
