//! The built binary, started on a configuration of the test's own.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};

use serde_json::Value;
use tempfile::TempDir;

use super::client::Client;
use super::message::Answer;
use super::metrics::Metrics;
use super::process::Process;
use super::{built, eventually, free_port, proc, until};

/// A running proxy; killed when dropped. When the test fails, its program log is printed.
pub struct Tetap {
    process: Process,
    place: Place,
}

impl Tetap {
    /// Starts the proxy and waits until it is ready.
    ///
    /// In the text, `{port:NAME}` stands for a free port, the same one for the same name, and `{dir}` for a directory
    /// of the test's own. Where the text has no `admin`, one is added on `{port:admin}`; where it has no `access_log`,
    /// it goes to `{dir}/access.log`; where it has no `listeners`, one named `web` is added on `{port:web}`.
    pub fn start(yaml: &str) -> Tetap {
        Self::start_in(Place::new(), yaml)
    }

    /// The same with ports that are already known.
    pub fn start_in(mut place: Place, yaml: &str) -> Tetap {
        let process = place.launch(yaml);
        let mut tetap = Tetap { process, place };
        tetap.wait_until_ready();
        tetap
    }

    /// The same with a supervisor. Without one the process that is started is the one that serves, so that a test can
    /// stop it, and look at its memory.
    pub fn supervised(yaml: &str) -> Tetap {
        Self::start_in(Place::new().supervised(), yaml)
    }

    /// Starts the proxy with everything routed to one upstream `u` with these endpoints.
    pub fn to(endpoints: &[SocketAddr]) -> Tetap {
        Self::with("", endpoints, "")
    }

    /// The same with a supervisor, and with options of `process`.
    pub fn supervised_to(endpoints: &[SocketAddr], process: &str) -> Tetap {
        let yaml = format!("process: {{{process}}}\n{}", routed_to("", endpoints, ""));
        Self::supervised(&yaml)
    }

    /// Starts the proxy with options of the listener and of the upstream (`retry: {attempts: 2}, balance: random`).
    pub fn with(listener: &str, endpoints: &[SocketAddr], upstream: &str) -> Tetap {
        Self::start(&routed_to(listener, endpoints, upstream))
    }

    /// Starts the proxy on a configuration that must fail, and waits for its end.
    pub fn try_start(yaml: &str) -> Failure {
        Self::try_start_in(Place::new(), yaml)
    }

    /// The same with ports that are already known.
    pub fn try_start_in(mut place: Place, yaml: &str) -> Failure {
        let status = place.launch(yaml).wait();
        Failure { status, stderr: place.read("stderr.log"), stdout: place.read("stdout.log") }
    }

    fn wait_until_ready(&mut self) {
        let admin = self.place.address("admin");
        eventually("the proxy is ready", || {
            if let Some(status) = self.process.ended() {
                panic!("ended with {status} before it was ready:\n{}", self.log());
            }
            ready(admin).then_some(())
        });
    }

    /// Where a name's port is.
    pub fn address(&self, name: &str) -> SocketAddr {
        self.place.address(name)
    }

    /// The test's own directory.
    pub fn dir(&self) -> &Path {
        self.place.dir.path()
    }

    /// A connection to the listener on `{port:web}`.
    pub fn client(&self) -> Client {
        Client::connect(self.address("web"))
    }

    /// A GET on a connection of its own.
    pub fn get(&self, target: &str) -> Answer {
        self.client().get(target)
    }

    /// A GET on the admin address.
    pub fn admin(&self, target: &str) -> Answer {
        Client::connect(self.address("admin")).get(target)
    }

    /// A scrape.
    pub fn metrics(&self) -> Metrics {
        Metrics::new(self.admin("/metrics").text())
    }

    /// Waits until a sum of series has a value.
    pub fn wait_for_metric(&self, name: &str, labels: &[&str], value: f64) {
        until(&format!("{name}{labels:?} is {value}"), || self.metrics().sum(name, labels) == value);
    }

    /// The access log, once it has at least so many lines.
    pub fn access_log(&self, lines: usize) -> Vec<Value> {
        eventually(&format!("{lines} access log lines"), || {
            let entries = self.access_log_now();
            (entries.len() >= lines).then_some(entries)
        })
    }

    /// The access log as it stands.
    pub fn access_log_now(&self) -> Vec<Value> {
        let text = self.place.read("access.log");
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
            .collect()
    }

    /// The program log, that is, standard error.
    pub fn log(&self) -> String {
        self.place.read("stderr.log")
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Writes another configuration, as [`start`](Tetap::start) does.
    pub fn configure(&mut self, yaml: &str) {
        self.place.configure(yaml);
    }

    /// Runs a command on the proxy: `reload`, `upgrade --binary X`, …
    pub fn command(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(built("tetap"));
        let (name, rest) = arguments.split_first().expect("a command");
        command.arg(name).arg("--config").arg(self.place.path("tetap.yaml")).args(rest);
        command.env("RUNTIME_DIRECTORY", self.place.path("control")).output().unwrap()
    }

    /// The worker processes, oldest first.
    pub fn workers(&self) -> Vec<u32> {
        let mut children = proc::children(self.id());
        children.retain(|id| proc::arguments(*id).iter().skip(1).any(|argument| argument == "worker"));
        children.sort_unstable();
        children
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Sends a signal.
    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Waits for its end and returns the exit status.
    pub fn wait(&mut self) -> Option<i32> {
        self.process.wait().code()
    }
}

impl Drop for Tetap {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- program log\n{}\n---", self.log());
        }
    }
}

fn ready(admin: SocketAddr) -> bool {
    let Ok(mut client) = Client::try_connect(admin) else { return false };
    client.send("GET /ready HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n");
    client.try_answer(false).is_ok_and(|answer| answer.status == 200)
}

/// A start that failed.
pub struct Failure {
    /// How it ended.
    pub status: ExitStatus,
    /// Program log and diagnostics.
    pub stderr: String,
    /// Normal output.
    pub stdout: String,
}

/// A directory and named ports: where a proxy runs.
pub struct Place {
    dir: TempDir,
    ports: BTreeMap<String, u16>,
    supervised: bool,
}

impl Place {
    /// A new directory, no ports yet.
    pub fn new() -> Place {
        Place { dir: TempDir::new().unwrap(), ports: BTreeMap::new(), supervised: false }
    }

    /// With a supervisor.
    pub fn supervised(mut self) -> Place {
        self.supervised = true;
        self
    }

    /// A free port under a name, the same one each time.
    pub fn port(&mut self, name: &str) -> u16 {
        *self.ports.entry(name.to_string()).or_insert_with(free_port)
    }

    /// Sets a name's port.
    pub fn with_port(mut self, name: &str, port: u16) -> Place {
        self.ports.insert(name.to_string(), port);
        self
    }

    /// The path of a file in the directory.
    pub fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    fn address(&self, name: &str) -> SocketAddr {
        let port = self.ports.get(name).unwrap_or_else(|| panic!("no {{port:{name}}} in the configuration"));
        SocketAddr::from((Ipv4Addr::LOCALHOST, *port))
    }

    fn read(&self, file: &str) -> String {
        String::from_utf8_lossy(&std::fs::read(self.path(file)).unwrap_or_default()).into_owned()
    }

    /// Starts the proxy and does not wait for anything.
    pub fn launch(&mut self, yaml: &str) -> Process {
        self.configure(yaml);
        let config = self.path("tetap.yaml");
        let log = |file| std::fs::File::create(self.path(file)).unwrap();
        let mut command = Command::new(built("tetap"));
        command.arg("run").arg("--config").arg(config).stdout(log("stdout.log")).stderr(log("stderr.log"));
        Process::spawn(command.env("RUNTIME_DIRECTORY", self.path("control")))
    }

    /// Writes the configuration.
    fn configure(&mut self, yaml: &str) {
        let text = with_defaults(yaml);
        let text = if self.supervised { text } else { unsupervised(&text) };
        std::fs::write(self.path("tetap.yaml"), self.fill_in(&text)).unwrap();
    }

    fn fill_in(&mut self, yaml: &str) -> String {
        let mut text = yaml.replace("{dir}", self.dir.path().to_str().unwrap());
        while let Some(start) = text.find("{port:") {
            let end = start + text[start..].find('}').expect("a closing brace");
            let port = self.port(&text[start + "{port:".len()..end]).to_string();
            text.replace_range(start..=end, &port);
        }
        text
    }
}

/// Everything to one upstream `u`.
pub fn routed_to(listener: &str, endpoints: &[SocketAddr], upstream: &str) -> String {
    let endpoints: Vec<String> = endpoints.iter().map(|address| format!("\"{address}\"")).collect();
    let listed = endpoints.join(", ");
    format!(
        "listeners: [{{name: web, address: \"127.0.0.1:{{port:web}}\", {listener}}}]
upstreams: {{u: {{endpoints: [{listed}], {upstream}}}}}
routes: [{{name: all, match: {{path: {{prefix: /}}}}, upstream: u}}]"
    )
}

/// What a test's configuration gets when it does not say otherwise.
const DEFAULTS: [(&str, &str); 3] = [
    ("listeners:", "listeners: [{name: web, address: \"127.0.0.1:{port:web}\"}]\n"),
    ("admin:", "admin: {address: \"127.0.0.1:{port:admin}\"}\n"),
    ("access_log:", "access_log: {format: json, output: \"{dir}/access.log\"}\n"),
];

fn with_defaults(yaml: &str) -> String {
    let missing = DEFAULTS.iter().filter(|(key, _)| !yaml.lines().any(|line| line.starts_with(key)));
    let added: String = missing.map(|(_, text)| *text).collect();
    added + yaml
}

fn unsupervised(yaml: &str) -> String {
    let one = "process: {supervise: false";
    match yaml.lines().find(|line| line.starts_with("process:")) {
        None => format!("{yaml}\n{one}}}\n"),
        Some(line) if line.starts_with("process: {") => yaml.replace("process: {", &format!("{one}, ")),
        Some(line) => panic!("not written as a flow: {line}"),
    }
}
