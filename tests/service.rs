//! A service manager's side: what it is told, the sockets that it lends, and the unit that it is given.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/lib.rs"]
mod support;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::process::Process;
use support::{Client, PATIENCE, built, free_port, until};
use tempfile::TempDir;

/// The manager's socket, and the folder of a proxy that reports to it.
struct Manager {
    socket: UnixDatagram,
    dir: TempDir,
}

impl Manager {
    fn new() -> Manager {
        let dir = TempDir::new().unwrap();
        let socket = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Manager { socket, dir }
    }

    /// A command that runs the proxy by this configuration.
    fn run(&self, yaml: &str) -> Command {
        fs::write(self.config(), yaml).unwrap();
        let mut command = Command::new(built("tetap"));
        command.args(["run", "--config"]).arg(self.config());
        self.surround(&mut command);
        command
    }

    /// As a manager sets the environment up.
    fn surround(&self, command: &mut Command) {
        command.env("NOTIFY_SOCKET", self.dir.path().join("notify"));
        command.env("RUNTIME_DIRECTORY", self.dir.path().join("run"));
        command.stdout(Stdio::null()).stderr(fs::File::create(self.dir.path().join("log")).unwrap());
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("tetap.yaml")
    }

    /// The next message, without what is only for the eye; its first line.
    fn hear(&self) -> (String, String) {
        let mut bytes = [0; 1024];
        let length = self.socket.recv(&mut bytes).unwrap_or_else(|error| panic!("{error}: {}", self.log()));
        let message = String::from_utf8_lossy(&bytes[..length]).into_owned();
        let first = message.lines().next().unwrap_or_default().to_owned();
        (first, message)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn reload(&self) -> bool {
        self.command("reload") == Some(0)
    }

    /// A command's exit status.
    fn command(&self, name: &str) -> Option<i32> {
        let mut command = Command::new(built("tetap"));
        command.args([name, "--config"]).arg(self.config());
        command.env("RUNTIME_DIRECTORY", self.dir.path().join("run"));
        command.output().unwrap().status.code()
    }
}

fn quick(address: SocketAddr) -> String {
    format!(
        "listeners: [{{address: \"{address}\"}}]
access_log: {{output: off}}
routes: [{{match: {{path: {{prefix: /}}}}, respond: {{body: quick}}}}]\n"
    )
}

fn somewhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

#[test]
fn a_manager_hears_of_start_reload_and_end_in_that_order() {
    let manager = Manager::new();
    let address = somewhere();
    let mut proxy = Process::spawn(&mut manager.run(&quick(address)));
    assert_eq!(manager.hear().0, "READY=1");
    assert_eq!(Client::connect(address).get("/").text(), "quick");
    assert!(manager.reload());
    let (first, whole) = manager.hear();
    assert_eq!(first, "RELOADING=1");
    let time = whole.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).expect(&whole);
    assert!(time.parse::<u64>().unwrap() > 0);
    assert_eq!(manager.hear().0, "READY=1");
    proxy.signal("TERM");
    assert_eq!(manager.hear().0, "STOPPING=1");
    assert!(proxy.wait().success());
}

#[test]
fn a_reload_that_is_refused_ends_all_the_same() {
    let manager = Manager::new();
    let _proxy = Process::spawn(&mut manager.run(&quick(somewhere())));
    assert_eq!(manager.hear().0, "READY=1");
    fs::write(manager.config(), "listeners: 7\n").unwrap();
    assert!(!manager.reload());
    assert_eq!([manager.hear().0, manager.hear().0], ["RELOADING=1", "READY=1"]);
}

#[test]
fn a_health_check_without_an_admin_address_asks_the_supervisor() {
    let manager = Manager::new();
    let mut proxy = Process::spawn(&mut manager.run(&quick(somewhere())));
    assert_eq!(manager.hear().0, "READY=1");
    assert_eq!(manager.command("healthcheck"), Some(0));
    fs::write(manager.config(), "spoilt").unwrap();
    assert_eq!(manager.command("healthcheck"), Some(0), "the proxy is as well as before");
    proxy.signal("TERM");
    proxy.wait();
    assert_eq!(manager.command("healthcheck"), Some(1));
}

#[test]
fn the_watchdog_is_fed_at_half_its_time() {
    let manager = Manager::new();
    let _proxy = Process::spawn(manager.run(&quick(somewhere())).env("WATCHDOG_USEC", "400000"));
    let beat = || until("a beat", || manager.hear().0 == "WATCHDOG=1");
    beat();
    let began = Instant::now();
    (0..5).for_each(|_| beat());
    assert!(began.elapsed() > Duration::from_millis(700), "{:?}", began.elapsed());
}

#[test]
fn workers_are_not_given_what_is_meant_for_the_supervisor() {
    let manager = Manager::new();
    let mut command = manager.run(&quick(somewhere()));
    let proxy = Process::spawn(command.env("WATCHDOG_USEC", "9000000").env("LISTEN_FDNAMES", "web"));
    until("it serves", || manager.hear().0 == "READY=1");
    let workers = support::proc::children(proxy.id());
    let environment =
        String::from_utf8_lossy(&fs::read(format!("/proc/{}/environ", workers[0])).unwrap()).into_owned();
    assert!(environment.contains("RUNTIME_DIRECTORY="));
    for name in ["NOTIFY_SOCKET", "WATCHDOG_", "LISTEN_"] {
        assert!(!environment.contains(name), "{name}"); // only the name: the rest is nobody's business
    }
}

/// Passes its own listening socket on as descriptor 3, as a manager does.
const LAUNCHER: &str = "import os, sys
os.dup2(int(sys.argv[1]), 3, inheritable=True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', LISTEN_FDNAMES='web')
os.execv(sys.argv[2], sys.argv[2:])";

#[test]
fn clients_that_come_before_the_start_are_served_at_a_lent_socket() {
    let manager = Manager::new();
    let lent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = lent.local_addr().unwrap();
    let mut early = Client::connect(address);
    early.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    fs::write(manager.config(), quick(address)).unwrap();
    let mut proxy = launch(&manager, &lent);
    assert_eq!(early.read_answer().text(), "quick");
    assert_eq!(manager.hear().0, "READY=1");
    let worker = support::proc::children(proxy.id())[0];
    support::run("kill", &["-9", &worker.to_string()]);
    assert_eq!(Client::connect(address).get("/").text(), "quick", "from the worker that follows");
    proxy.signal("TERM");
    assert!(proxy.wait().success());
    assert!(Client::try_connect(address).is_ok(), "the manager's socket is open still");
}

/// A worker that was left alone shut the manager's socket for good.
#[test]
fn a_lent_socket_outlives_a_supervisor_that_is_killed() {
    let manager = Manager::new();
    let lent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = lent.local_addr().unwrap();
    fs::write(manager.config(), quick(address)).unwrap();
    let mut proxy = launch(&manager, &lent);
    assert_eq!(manager.hear().0, "READY=1");
    let worker = support::proc::children(proxy.id())[0];
    proxy.signal("KILL");
    proxy.wait();
    support::until("its worker has ended, too", || !support::proc::is_alive(worker));
    let mut early = Client::connect(address);
    early.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    let _proxy = launch(&manager, &lent);
    assert_eq!(early.read_answer().text(), "quick");
}

fn launch(manager: &Manager, lent: &TcpListener) -> Process {
    // A copy that is inherited: the one of the standard library is closed when another program is started.
    let copy = lent.try_clone().unwrap();
    rustix::io::fcntl_setfd(&copy, rustix::io::FdFlags::empty()).unwrap();
    let mut command = Command::new("python3");
    command.args(["-I", "-c", LAUNCHER]).arg(copy.as_raw_fd().to_string());
    command.arg(built("tetap")).args(["run", "--config"]).arg(manager.config());
    manager.surround(&mut command);
    Process::spawn(&mut command)
}

#[test]
fn the_unit_is_one_that_systemd_takes_and_exposes_little() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        return eprintln!("skipped: systemd-analyze is missing (apt-get install systemd)");
    }
    let dir = TempDir::new().unwrap();
    let unit = dir.path().join("tetap.service");
    let text = read("conf/systemd/tetap.service");
    // It wants to see the executable, which is not installed here.
    fs::write(&unit, text.replace("/usr/bin/tetap", built("tetap").to_str().unwrap())).unwrap();
    fs::write(dir.path().join("tetap.socket"), read("conf/systemd/tetap.socket")).unwrap();
    let analyze = |arguments: &[&str]| {
        let mut command = Command::new("systemd-analyze");
        let output = command.args(arguments).arg(&unit).output().unwrap();
        (
            output.status.success(),
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        )
    };
    assert_eq!(analyze(&["verify"]), (true, String::new()));
    let socket = dir.path().join("tetap.socket");
    assert_eq!(analyze(&["verify", socket.to_str().unwrap()]), (true, String::new()));
    let (is_below, report) = analyze(&["security", "--offline=true", "--no-pager", "--threshold=20"]);
    assert!(is_below, "the exposure is above 2.0 of 10:\n{report}");
}

#[test]
fn the_unit_stops_later_than_a_drain_ends() {
    let text = read("conf/systemd/tetap.service");
    let stop = text.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).unwrap();
    let stop: u64 = stop.trim_end_matches('s').parse().unwrap();
    let drain = tetap::wire::Settings::default().drain_timeout; // what the worker of a default configuration says
    assert!(Duration::from_secs(stop) > drain);
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}
