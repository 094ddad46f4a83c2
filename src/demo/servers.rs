//! The sample servers' processes.
//!
//! Each is this very program under another command, in a process group of its own: Ctrl-C in the terminal is for the proxy, which
//! first finishes what is under way. A server lives while the pipe to its standard input is open.

use std::io::{self, BufRead, BufReader, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Names of the servers, which is what their answers differ in.
const NAMES: [&str; 3] = ["a", "b", "c"];

/// One sample server; it ends when this is dropped.
pub(super) struct Server {
    pub(super) name: &'static str,
    pub(super) pid: u32,
    pub(super) address: SocketAddr,
    _lifeline: Option<ChildStdin>,
}

/// All of them.
pub(super) struct Servers {
    pub(super) all: Vec<Server>,
    ending: Arc<AtomicBool>,
}

impl Servers {
    /// Starts one for each name. `lost` hears of a server that ends before it should.
    ///
    /// # Errors
    /// A process cannot be started, or does not say where it listens.
    pub(super) fn start(lost: fn(&str)) -> io::Result<Servers> {
        let ending = Arc::new(AtomicBool::new(false));
        let all = NAMES.iter().map(|name| start(name, ending.clone(), lost)).collect::<io::Result<_>>()?;
        Ok(Servers { all, ending })
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Release);
    }
}

fn start(name: &'static str, ending: Arc<AtomicBool>, lost: fn(&str)) -> io::Result<Server> {
    let mut child = spawn(name)?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port(&mut child)?));
    let server = Server { name, pid: child.id(), address, _lifeline: child.stdin.take() };
    thread::Builder::new().name(format!("sample-{name}")).spawn(move || watch(name, child, &ending, lost))?;
    Ok(server)
}

fn spawn(name: &str) -> io::Result<Child> {
    Command::new(std::env::current_exe()?)
        .args(["demo-server", "--name", name])
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
}

/// The server's first line says `port N`.
fn port(child: &mut Child) -> io::Result<u16> {
    let mut line = String::new();
    if let Some(output) = &mut child.stdout {
        BufReader::new(output).read_line(&mut line)?;
    }
    let said = line.trim_end().strip_prefix("port ").and_then(|port| port.parse().ok());
    said.ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "a sample server did not say its port"))
}

fn watch(name: &str, mut child: Child, ending: &AtomicBool, lost: fn(&str)) {
    let pid = child.id();
    let how = child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
    if !ending.load(Ordering::Acquire) {
        lost(&format!("sample server {name} (PID {pid}) is gone: {how}"));
    }
}
