//! API servers that are processes of their own, to be killed, stopped, misled and started again.
//!
//! A thread can play a server that resets or lies, but not one that dies: what the kernel does with the sockets of a
//! process that is killed, or stopped in the middle of a request, only a process shows. Each is the example `api_server`,
//! which does nothing but [`process`].
//!
//! Each writes down every request the moment that it has it whole. The file outlives the process, so that a POST which
//! was delivered twice is found even where both who got it are dead.

mod process;
mod slow;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tempfile::TempDir;

pub use process::serve;

use super::process::Process;
use super::{Client, built, free_port, until};

/// What a server does with requests, except for its health check's, which it always answers with 200.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Conduct {
    /// What is wrong with it.
    pub fault: Option<Fault>,
    /// How long each answer takes.
    pub late: Duration,
    /// How long it keeps a connection without a request.
    pub idle: Duration,
    /// Each n-th answer is the last on its connection.
    pub close_every: Option<u64>,
}

/// What can be wrong with a server that accepts connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// Answers 503.
    Unavailable,
    /// Answers with something that is not HTTP.
    Garbage,
    /// Reads the request, and resets.
    Reset,
    /// Ends the answer early, without a word.
    CutByFin,
    /// Breaks the answer off with a reset.
    CutByReset,
    /// Reads the request, and does nothing.
    Silent,
}

impl Conduct {
    /// A server as one would wish it. Five milliseconds are what an answer takes that comes out of a database, and make
    /// sure that, at some hundred requests a second, there is mostly one under way.
    pub const GOOD: Conduct = Conduct {
        fault: None,
        late: Duration::from_millis(5),
        idle: Duration::from_secs(60),
        close_every: None,
    };

    /// A server with just this fault.
    pub fn bad(fault: Fault) -> Conduct {
        Conduct { fault: Some(fault), ..Conduct::GOOD }
    }
}

/// What the process must know.
#[derive(Serialize, Deserialize)]
struct Role {
    name: String,
    port: u16,
    log: PathBuf,
    conduct: Conduct,
}

/// A server, running or not; its process is killed when this is dropped.
pub struct Server {
    role: Role,
    process: Process,
    dir: TempDir,
}

impl Server {
    /// Starts a good one and waits until it serves.
    pub fn start(name: &str) -> Server {
        Self::with(name, Conduct::GOOD)
    }

    /// Starts one and waits until it serves.
    pub fn with(name: &str, conduct: Conduct) -> Server {
        let dir = TempDir::new().unwrap();
        let role = Role { name: name.into(), port: free_port(), log: dir.path().join("received"), conduct };
        let process = launch(&role, &dir);
        let mut server = Server { role, process, dir };
        server.wait_until_it_serves();
        server
    }

    fn wait_until_it_serves(&mut self) {
        let (name, address) = (self.role.name.clone(), self.address());
        until(&format!("server {name} listens"), || {
            let ended = self.process.ended();
            assert!(ended.is_none(), "server {name}: {ended:?}\n{}", self.errors());
            Client::try_connect(address).is_ok()
        });
    }

    fn errors(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("stderr")).unwrap_or_default()
    }

    /// What it calls itself in its answers.
    pub fn name(&self) -> &str {
        &self.role.name
    }

    /// Where it listens, now and after every restart.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.role.port))
    }

    /// Changes what it does from the next request on; connections stay as they are.
    pub fn behave(&self, conduct: Conduct) {
        let told = Client::connect(self.address()).post("/conduct", &serde_json::to_vec(&conduct).unwrap());
        assert_eq!(told.status, 200, "{told:?}");
    }

    /// Ends it as a crash would: the kernel closes what it had open.
    pub fn kill(&mut self) {
        self.process.signal("KILL");
        self.process.wait();
    }

    /// Ends it as an orchestrator would: it accepts nobody any more, finishes what it has begun, and is gone.
    pub fn leave(&mut self) {
        self.process.signal("TERM");
        self.process.wait();
    }

    /// Takes the processor away from it; the kernel goes on accepting in its name.
    pub fn freeze(&self) {
        self.process.signal("STOP");
    }

    /// Gives the processor back.
    pub fn thaw(&self) {
        self.process.signal("CONT");
    }

    /// Starts it again in the same place, and waits until it serves.
    pub fn restart(&mut self) {
        self.process = launch(&self.role, &self.dir);
        self.wait_until_it_serves();
    }

    /// Every request that it has received whole, in all its lives: `POST 17`.
    pub fn received(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.role.log).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

/// The POSTs that these servers received more than once, together: `POST 17`.
pub fn doubled_posts(servers: &[Server]) -> Vec<String> {
    let mut posts: Vec<String> = servers.iter().flat_map(Server::received).collect();
    posts.retain(|request| request.starts_with("POST"));
    posts.sort_unstable();
    let again = posts.windows(2).filter(|pair| pair[0] == pair[1]);
    let mut doubled: Vec<String> = again.map(|pair| pair[0].clone()).collect();
    doubled.dedup();
    doubled
}

fn launch(role: &Role, dir: &TempDir) -> Process {
    let errors = std::fs::File::options().create(true).append(true).open(dir.path().join("stderr"));
    let mut command = Command::new(built("examples/api_server"));
    command.arg(serde_json::to_string(role).unwrap());
    Process::spawn_attached(command.stdout(Stdio::null()).stderr(errors.unwrap()))
}
