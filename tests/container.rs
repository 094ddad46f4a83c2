//! The image, in a real engine: the supervisor as process 1, without a shell, without root, on a read-only file system.
//!
//! Process 1 of a container is special: signals that it does not handle are dropped, it inherits whoever is left without a
//! parent, and with its end everything ends. None of that shows outside one.
//!
//! Where there is no Docker, this says so and passes. Where no registry answers, the base image is made here from Debian's
//! packages (`debootstrap`), kept under `target/tools`, and goes by the name in the Dockerfile only while a test runs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/lib.rs"]
mod support;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use support::{Client, built, free_port, target_folder, timed, until};
use tempfile::TempDir;

#[test]
fn a_container_serves_upgrades_buries_and_ends_well() {
    let Some(image) = Image::build() else { return };
    let container = Container::start(&image);
    container.is_process_one_with_one_worker();
    container.upgrades_under_load();
    container.replaces_a_worker_that_is_killed();
    container.buries_orphans();
    container.finishes_a_slow_request_on_stop();
}

const CONFIG: &str = "/etc/tetap/tetap.yaml";

/// One route that is answered at once, and one by a server beside the proxy that takes its time.
const YAML: &str = "listeners: [{address: 0.0.0.0:8080}]
admin: {address: 127.0.0.1:9901}
process: {threads: 1, probation: 1s, drain_timeout: 30s}
access_log: {output: off}
upstreams: {slow: {endpoints: [127.0.0.1:9000]}}
routes:
  - {match: {path: {prefix: /slow}}, upstream: slow}
  - {match: {path: {prefix: /}}, respond: {body: quick}}
";

/// That server. Perl is in every Debian.
const SLOW: &str = r#"use IO::Socket::INET;
my $s = IO::Socket::INET->new(LocalAddr => "127.0.0.1:9000", Listen => 9, ReuseAddr => 1) or die;
while (my $c = $s->accept) { while (<$c>) { last if /^\r?$/ } sleep 2;
  print $c "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nslow"; close $c }"#;

/// An image with the binary that was just built.
struct Image {
    name: String,
    runtime: String,
    _base: Base,
}

impl Image {
    /// `None`: it cannot be had here, and that was said.
    fn build() -> Option<Image> {
        let base = skipped(Base::at_hand())?;
        let id = std::process::id();
        let image =
            Image { name: format!("tetap-test:{id}"), runtime: format!("tetap-runtime:{id}"), _base: base };
        let dir = TempDir::new().unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        // The stage of the Dockerfile that needs no toolchain, and the binary on top of it, as users with a binary do.
        build(&image.runtime, &root.join("docker/Dockerfile"), dir.path(), &["--target", "runtime"]);
        let binary = dir.path().join("tetap");
        fs::copy(built("tetap"), &binary).unwrap();
        let _ = Command::new("strip").arg("--strip-debug").arg(&binary).status(); // smaller is quicker; missing is no harm
        let above = format!("FROM {}\nCOPY tetap /usr/local/bin/tetap\n", image.runtime);
        fs::write(dir.path().join("Dockerfile"), above).unwrap();
        build(&image.name, &dir.path().join("Dockerfile"), dir.path(), &[]);
        skipped(image.runs().map(|()| image))
    }

    /// What is built against a newer C library than the image's cannot be tried in it.
    fn runs(&self) -> Result<(), String> {
        let output = docker(&["run", "--rm", &self.name, "--version"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if said.contains("GLIBC_") {
            return Err(format!("the binary was built for another system than the image: {said}"));
        }
        assert!(output.status.success(), "{said}");
        Ok(())
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        docker(&["image", "rm", "--force", &self.name, &self.runtime]);
    }
}

fn skipped<T>(outcome: Result<T, String>) -> Option<T> {
    outcome.inspect_err(|why| eprintln!("skipped: {why}")).ok()
}

fn build(name: &str, file: &Path, context: &Path, options: &[&str]) {
    let mut command = Command::new("docker");
    // The builder that every engine has.
    command.env("DOCKER_BUILDKIT", "0").args(["build", "--quiet", "--tag", name]).args(options);
    let output = command.arg("--file").arg(file).arg(context).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The image that the Dockerfile's first stage begins with.
struct Base {
    /// Its name, where it was made here: nobody else is to build on what only a test has made.
    made: Option<String>,
}

impl Base {
    fn at_hand() -> Result<Base, String> {
        let version = Command::new("docker").arg("version").stdin(Stdio::null()).output();
        if !version.is_ok_and(|output| output.status.success()) {
            return Err("no Docker engine answers (docker version)".into());
        }
        let name = base_name();
        let is_there = docker(&["image", "inspect", &name]).status.success();
        // An archive from before: no registry answered then, and to ask it again takes long.
        if is_there || (!kept().exists() && pull(&name)) {
            return Ok(Base { made: None });
        }
        let archive = archive()?;
        succeed(&["import", archive.to_str().unwrap(), &name]);
        Ok(Base { made: Some(name) })
    }
}

impl Drop for Base {
    fn drop(&mut self) {
        if let Some(name) = &self.made {
            docker(&["image", "rm", "--force", name]);
        }
    }
}

fn base_name() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docker/Dockerfile");
    let text = fs::read_to_string(path).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("FROM ")?.strip_suffix(" AS runtime"));
    line.expect("a stage named runtime").to_owned()
}

fn pull(name: &str) -> bool {
    let pulled = Command::new("timeout").args(["40", "docker", "pull", "--quiet", name]).output();
    pulled.is_ok_and(|output| output.status.success())
}

fn kept() -> PathBuf {
    target_folder().join("tools/bookworm.tar")
}

/// The smallest Debian, made once.
fn archive() -> Result<PathBuf, String> {
    let (tools, archive) = (target_folder().join("tools"), kept());
    if archive.exists() {
        return Ok(archive);
    }
    fs::create_dir_all(&tools).unwrap();
    let made = tools.join(format!("bookworm.{}", std::process::id()));
    let root = tools.join("bookworm");
    if !root.join("etc/debian_version").exists() {
        debootstrap(&root)?;
    }
    support::run("tar", &["-C", root.to_str().unwrap(), "-cf", made.to_str().unwrap(), "."]);
    fs::rename(&made, &archive).unwrap();
    fs::remove_dir_all(&root).unwrap();
    Ok(archive)
}

fn debootstrap(root: &Path) -> Result<(), String> {
    let mut command = Command::new("debootstrap");
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let made = command.env("PATH", path).args(["--variant=minbase", "bookworm"]).arg(root).output();
    match made {
        Ok(output) if output.status.success() => Ok(()),
        outcome => {
            let _ = fs::remove_dir_all(root); // half a system is none
            let why = outcome.map_or_else(|error| error.to_string(), |output| text(&output));
            Err(format!(
                "no registry answers, and debootstrap (which needs root) has made no base image: {why}"
            ))
        }
    }
}

/// A running container; removed when dropped.
struct Container {
    name: String,
    address: SocketAddr,
    _config: TempDir,
}

impl Container {
    fn start(image: &Image) -> Container {
        let config = TempDir::new().unwrap();
        // Like the folder of a user: the image's own user reads it.
        support::run("chmod", &["755", config.path().to_str().unwrap()]);
        fs::write(config.path().join("tetap.yaml"), YAML).unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let name = format!("tetap-test-{}", std::process::id());
        let container = Container { name, address, _config: config };
        let (published, mounted) =
            (format!("{address}:8080"), format!("{}:/etc/tetap:ro", container._config.path().display()));
        let tmpfs = "/run/tetap:uid=65532,gid=65532,mode=0700";
        succeed(&[
            "run",
            "--detach",
            "--name",
            &container.name,
            "--read-only",
            "--tmpfs",
            tmpfs,
            "--cap-drop",
            "ALL",
            "--security-opt",
            "no-new-privileges",
            "--publish",
            &published,
            "--volume",
            &mounted,
            &image.name,
        ]);
        until("it is healthy", || {
            assert!(container.inspect("{{.State.Running}}") == "true", "{}", container.log());
            container.inspect("{{.State.Health.Status}}") == "healthy"
        });
        container
    }

    fn is_process_one_with_one_worker(&self) {
        assert_eq!(self.processes()[0].name, "tetap");
        assert_eq!(self.workers().len(), 1);
        assert_eq!(Client::connect(self.address).get("/").text(), "quick");
        assert_eq!(self.exec(&["id", "-u"]).trim(), "65532");
        assert!(self.exec(&["tetap", "status", "--config", CONFIG]).contains("process 1,"));
        assert_eq!(self.exec(&["tetap", "healthcheck", "--address", "127.0.0.1:9901"]).trim(), "ready");
        let nobody = docker(&["exec", &self.name, "tetap", "healthcheck", "--address", "127.0.0.1:9"]);
        assert_eq!(nobody.status.code(), Some(1), "{}", text(&nobody));
    }

    fn upgrades_under_load(&self) {
        let (first, workers) = (self.processes()[0].clone(), self.workers());
        let load = Load::on(self.address);
        self.exec(&["tetap", "upgrade", "--config", CONFIG, "--binary", "/usr/local/bin/tetap"]);
        until("the old worker has gone", || self.workers().len() == 1);
        let (answered, failed) = load.end();
        assert!(failed.is_empty() && answered > 20, "{answered} answered, {}: {failed:?}", failed.len());
        assert_eq!(self.processes()[0], first, "process 1 is the same one");
        assert_ne!(self.workers(), workers);
    }

    fn replaces_a_worker_that_is_killed(&self) {
        let workers = self.workers();
        self.shell(&format!("kill -9 {}", workers[0]));
        until("another worker", || self.workers().first().is_some_and(|worker| *worker != workers[0]));
        assert_eq!(Client::connect(self.address).get("/").text(), "quick");
        until("nobody is left unburied", || self.dead() == 0);
    }

    fn buries_orphans(&self) {
        // Its parent ends first; and what asked for it hears nothing more, or it would wait for it.
        self.shell("sleep 2 >/dev/null 2>&1 & exit 0");
        let orphan = |one: &Inmate| one.name == "sleep" && one.parent == 1 && one.state != "Z";
        until("somebody without a parent", || self.processes().iter().any(orphan));
        until("it has ended", || !self.processes().iter().any(orphan));
        until("and is buried", || self.dead() == 0);
    }

    fn finishes_a_slow_request_on_stop(&self) {
        succeed(&["exec", "--detach", &self.name, "perl", "-e", SLOW]);
        until("the slow server listens", || self.exec(&["cat", "/proc/net/tcp"]).contains(":2328 "));
        let mut client = Client::connect(self.address);
        client.send("GET /slow HTTP/1.1\r\nHost: t\r\n\r\n");
        until("the request is under way", || {
            self.exec(&["cat", "/proc/net/tcp"]).matches(":2328 ").count() > 1
        });
        let (stopped, took) = timed(|| docker(&["stop", "--time", "30", &self.name]));
        assert!(stopped.status.success(), "{}", text(&stopped));
        assert_eq!(client.read_answer().text(), "slow", "{}", self.log());
        assert_eq!(self.inspect("{{.State.ExitCode}}"), "0", "{}", self.log());
        assert!(took < Duration::from_secs(10), "{took:?}");
    }

    fn exec(&self, command: &[&str]) -> String {
        succeed(&[&["exec", self.name.as_str()], command].concat())
    }

    fn shell(&self, script: &str) -> String {
        self.exec(&["sh", "-c", script])
    }

    fn inspect(&self, format: &str) -> String {
        succeed(&["inspect", "--format", format, &self.name]).trim().to_owned()
    }

    fn log(&self) -> String {
        text(&docker(&["logs", &self.name]))
    }

    /// All that are there, in the order of their ids. Those who end meanwhile are no failure.
    fn processes(&self) -> Vec<Inmate> {
        let stats = self.shell("cat /proc/[0-9]*/stat 2>/dev/null || true");
        let mut inmates: Vec<Inmate> = stats.lines().filter_map(Inmate::parse).collect();
        inmates.sort_by_key(|inmate| inmate.id);
        inmates
    }

    fn workers(&self) -> Vec<u32> {
        let processes = self.processes();
        let workers =
            processes.iter().filter(|one| one.parent == 1 && one.name == "tetap" && one.state != "Z");
        workers.map(|worker| worker.id).collect()
    }

    fn dead(&self) -> usize {
        self.processes().iter().filter(|one| one.state == "Z").count()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- program log\n{}\n---", self.log());
        }
        docker(&["rm", "--force", "--volumes", &self.name]);
    }
}

/// A process in the container.
#[derive(Clone, Debug)]
struct Inmate {
    id: u32,
    name: String,
    state: String,
    parent: u32,
    /// In ticks since the machine's start: another process that has come to the same id began later.
    began: u64,
}

impl PartialEq for Inmate {
    fn eq(&self, other: &Inmate) -> bool {
        (self.id, self.began) == (other.id, other.began)
    }
}

impl Inmate {
    /// `ID (name) state parent …`, the beginning as the twenty-second word: proc(5).
    fn parse(line: &str) -> Option<Inmate> {
        let (head, rest) = line.rsplit_once(") ")?;
        let (id, name) = head.split_once(" (")?;
        let words: Vec<&str> = rest.split(' ').collect();
        Some(Inmate {
            id: id.parse().ok()?,
            name: name.to_owned(),
            state: words[0].to_owned(),
            parent: words[1].parse().ok()?,
            began: words[19].parse().ok()?,
        })
    }
}

/// Clients that come, ask once and go, one after the other.
struct Load {
    end: Arc<AtomicBool>,
    clients: JoinHandle<(usize, Vec<String>)>,
}

impl Load {
    fn on(address: SocketAddr) -> Load {
        let end = Arc::new(AtomicBool::new(false));
        let over = end.clone();
        let clients = thread::spawn(move || {
            let (mut answered, mut failed) = (0, Vec::new());
            while !over.load(Ordering::Relaxed) {
                match visit(address) {
                    Ok(()) => answered += 1,
                    Err(how) => failed.push(how),
                }
                thread::sleep(Duration::from_millis(5));
            }
            (answered, failed)
        });
        Load { end, clients }
    }

    /// How many were answered, and what became of the others.
    fn end(self) -> (usize, Vec<String>) {
        self.end.store(true, Ordering::Relaxed);
        self.clients.join().unwrap()
    }
}

fn visit(address: SocketAddr) -> Result<(), String> {
    let mut client = Client::try_connect(address).map_err(|error| error.to_string())?;
    let sent = client.try_send("GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
    sent.map_err(|error| error.to_string())?;
    match client.try_answer(false) {
        Ok(answer) if answer.status == 200 => Ok(()),
        Ok(answer) => Err(answer.status.to_string()),
        Err(end) => Err(format!("{end:?}")),
    }
}

fn docker(arguments: &[&str]) -> Output {
    Command::new("docker").args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn succeed(arguments: &[&str]) -> String {
    let output = docker(arguments);
    assert!(output.status.success(), "docker {arguments:?}: {}", text(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
