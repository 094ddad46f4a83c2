//! `tetap demo` does what it says it does: the servers take turns, one can be killed, and nothing outlives it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// As long as a shared machine may need for what takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// A demo that has said where everything is.
struct Demo {
    process: Child,
    welcome: String,
}

impl Demo {
    fn start() -> Demo {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tetap"));
        let mut process = command.arg("demo").stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut welcome = String::new();
        while !welcome.contains("Ctrl-C") {
            assert!(output.read_line(&mut welcome).unwrap() > 0, "the demo ended: {welcome}");
        }
        thread::spawn(move || output.read_to_end(&mut Vec::new()));
        Demo { process, welcome }
    }

    /// What stands behind a label's last place, up to the next blank.
    fn find(&self, label: &str) -> String {
        let (_, after) =
            self.welcome.rsplit_once(label).unwrap_or_else(|| panic!("{label} in {}", self.welcome));
        after.split_whitespace().next().unwrap().trim_start_matches("http://").to_owned()
    }

    fn proxy(&self) -> String {
        self.find("  proxy ")
    }

    fn servers(&self) -> Vec<String> {
        ["a", "b", "c"].map(|name| self.find(&format!("sample server {name} "))).into()
    }

    fn ended(&mut self) -> ExitStatus {
        eventually("the demo ends", || self.process.try_wait().unwrap())
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn eventually<T>(what: &str, mut try_it: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = try_it() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn signal(signal: &str, pid: &str) {
    assert!(Command::new("kill").args([signal, pid]).status().unwrap().success());
}

fn ask(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes())
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn assert_nobody_listens(addresses: &[String]) {
    for address in addresses {
        eventually(&format!("{address} is closed"), || TcpStream::connect(address).is_err().then_some(()));
    }
}

#[test]
fn one_server_is_killed_and_nobody_notices() {
    let demo = Demo::start();
    let proxy = demo.proxy();
    let answers: String = (0..3).map(|_| ask(&proxy, "/hello")).collect();
    for name in ["a", "b", "c"] {
        assert!(answers.contains(&format!(r#""server":"{name}""#)), "{answers}");
    }
    for round in 0..60 {
        if round == 20 {
            signal("-TERM", &demo.find("       kill "));
        }
        let answer = ask(&proxy, "/orders");
        assert!(answer.starts_with("HTTP/1.1 200 "), "round {round}: {answer}");
    }
    assert!(ask(&demo.find("  admin "), "/metrics").contains("tetap_attempts_total"));
}

#[test]
fn stopping_the_demo_stops_everything() {
    let mut demo = Demo::start();
    let admin = demo.find("  admin ");
    eventually("it is ready", || ask(&admin, "/ready").starts_with("HTTP/1.1 200 ").then_some(()));
    signal("-TERM", &demo.process.id().to_string());
    assert!(demo.ended().success());
    assert_nobody_listens(&demo.servers());
}

#[test]
fn a_demo_that_is_killed_leaves_no_server_behind() {
    let mut demo = Demo::start();
    signal("-KILL", &demo.process.id().to_string());
    assert!(!demo.ended().success());
    assert_nobody_listens(&demo.servers());
}

/// Another demo gives the port back soon; a stranger who keeps it serves the test as well.
fn take(port: u16) -> Option<TcpListener> {
    (0..400).find_map(|_| {
        let taken = TcpListener::bind(("127.0.0.1", port)).ok();
        if taken.is_none() {
            thread::sleep(Duration::from_millis(5));
        }
        taken
    })
}

#[test]
fn a_taken_port_is_said_and_another_used() {
    let _taken = [8080, 9901].map(take);
    let demo = Demo::start();
    for line in ["port 8080 is taken, so the proxy is on ", "port 9901 is taken, so the admin is on "] {
        let port = demo.find(line);
        assert!(demo.welcome.contains(&format!("http://127.0.0.1:{port}\n")), "{}", demo.welcome);
    }
    assert!(ask(&demo.proxy(), "/hello").starts_with("HTTP/1.1 200 "));
}
