//! `tetap selftest` finds nothing where nothing is lost, and finds it where something is.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// A little of everything that a route or an upstream can be.
const RICH: &str = r#"
listeners:
  - {name: web, address: 0.0.0.0:8080, limits: {connections: 10}}
  - {name: side, address: "unix:/run/tetap/side.sock", limits: {connections_per_ip: 1}}
upstreams:
  a:
    endpoints: [192.0.2.1:80, {address: 192.0.2.2:80, tier: 1, weight: 3}]
    balance: ewma
    health_check: {http: {path: /healthz}}
  b:
    discovery: {dns: b.invalid, port: 80}
    limits: {requests: 2}
    sticky_cookie: {name: s, secret: 0123456789012345678901234567890123}
routes:
  - {name: root, upstream: a}
  - name: below
    match: {host: "*.x.test", path: {prefix: /p}, methods: [POST, GET]}
    upstream: b
    rewrite: {prefix: /}
    request_headers: {set: {X-Team: "${TEAM:-none}"}}
  - {name: pattern, match: {path: {regex: "/r/[0-9]+(/x)?"}, query: {q: "1 2"}, headers: {X-V: "2"}}, upstream: b}
  - {name: heads, match: {path: {exact: /heads}, methods: [HEAD]}, upstream: a}
  - {name: moved, match: {path: {exact: /old}}, redirect: {to: /new}}
  - {name: gone, match: {path: {prefix: /gone}}, respond: {status: 410, body: gone}}
  - {name: nothing, match: {path: {exact: /nothing}}, respond: {status: 204}}
access_log: {output: /nowhere/access.log}
process: {watch: true, drain_timeout: 5m}
"#;

/// A folder of the test's own: for a configuration, and for what a selftest puts into the system's.
struct Place(TempDir);

impl Place {
    fn with(text: &str) -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        fs::write(place.config(), text).unwrap();
        place
    }

    fn config(&self) -> PathBuf {
        self.0.path().join("tetap.yaml")
    }

    fn command(&self, program: &Path, config: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.arg("selftest").args(arguments).arg("--config").arg(config);
        command
            .env("TMPDIR", self.0.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(&tetap(), &self.config(), arguments).output().unwrap()
    }

    /// A selftest whose load is about to begin.
    fn under_way(&self) -> Child {
        let mut child = self.command(&tetap(), &self.config(), &[]).spawn().unwrap();
        let output = BufReader::new(child.stdout.as_mut().unwrap());
        let covered = output.lines().any(|line| line.unwrap().ends_with("routes covered"));
        assert!(covered, "it ended: {:?}", child.wait());
        child
    }

    /// What selftests have left behind.
    fn left(&self) -> Vec<String> {
        let names = fs::read_dir(self.0.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.map(|name| name.into_string().unwrap()).filter(|name| name.starts_with("tetap-")).collect()
    }
}

fn tetap() -> PathBuf {
    env!("CARGO_BIN_EXE_tetap").into()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn everything(output: &Output) -> String {
    format!("{}\n{}{}", output.status, out(output), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn everything_of_a_rich_configuration_is_tried_and_nothing_lost() {
    let place = Place::with(RICH);
    let output = place.run(&[]);
    let all = everything(&output);
    assert_eq!(output.status.code(), Some(0), "{all}");
    for line in ["7 of 7 routes covered", "listener side: on 127.0.0.1:", ", by TCP", "without health_check"]
    {
        assert!(all.contains(line), "{line} in {all}");
    }
    let times =
        [("calm", "1"), ("reload", "10"), ("upgrade", "3"), ("failed upgrade", "2"), ("worker killed", "2")];
    for (event, times) in times {
        let row = all.lines().find_map(|line| line.strip_prefix(&format!("{event:<15} "))).expect(event);
        assert_eq!(row.split_whitespace().next(), Some(times), "{event} in {all}");
    }
    assert!(all.contains("passed: nothing was lost of "), "{all}");
    assert_eq!(place.left(), Vec::<String>::new());
}

#[test]
fn every_sample_configuration_passes() {
    let conf = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf");
    let samples = fs::read_dir(conf.join("examples")).unwrap().map(|entry| entry.unwrap().path());
    let place = Place(tempfile::tempdir().unwrap());
    for config in samples.chain([conf.join("tetap.yaml")]) {
        let output = place.command(&tetap(), &config, &["--brief", "--json"]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}: {}", config.display(), everything(&output));
        let report: Value = serde_json::from_str(&out(&output)).unwrap();
        assert_eq!(report["uncovered"], Value::Array(Vec::new()), "{report:#}");
        assert_eq!((&report["passed"], &report["lost"]), (&true.into(), &0.into()), "{report:#}");
    }
}

#[test]
fn a_worker_that_drops_its_clients_is_found_out() {
    let place = Place::with(RICH);
    let program = place.0.path().join("drops");
    fs::copy(bad_worker(), &program).unwrap();
    let output = place.command(&program, &place.config(), &[]).output().unwrap();
    let all = everything(&output);
    assert_eq!(output.status.code(), Some(1), "{all}");
    let verdict = all.lines().last().unwrap();
    assert!(verdict.starts_with("failed: ") && verdict.contains(" requests were lost: "), "{all}");
    assert!(verdict.contains("closed under") && !verdict.contains("should"), "{all}");
    let losses: Vec<_> = all.lines().filter(|line| line.contains(" of route ")).collect();
    assert!(!losses.is_empty() && losses.iter().all(|line| line.starts_with("upgrade: ")), "{all}");
}

fn bad_worker() -> PathBuf {
    tetap().parent().unwrap().join("examples/bad_worker")
}

#[test]
fn a_faulty_file_is_told_as_check_tells_it() {
    let place = Place::with("listners: []\nroutes: [{upstreem: a}]\n");
    let output = place.run(&[]);
    let check = Command::new(tetap()).args(["check", "--config"]).arg(place.config()).output().unwrap();
    assert_eq!((output.status.code(), out(&output).as_str()), (Some(2), ""), "{}", everything(&output));
    assert_eq!(output.stderr, check.stderr);
}

#[test]
fn a_route_that_does_not_answer_as_it_says_is_named_and_left_out() {
    let routes = "
listeners: [{address: 127.0.0.1:8080}]
upstreams: {a: {endpoints: [192.0.2.1:80]}}
routes:
  - {name: good, match: {path: {prefix: /good}}, upstream: a}
  - {name: late, match: {path: {prefix: /late}}, upstream: a, timeouts: {request: 1ms}, retry: {attempts: 1}}";
    let place = Place::with(routes);
    let all = everything(&place.run(&["--brief"]));
    assert!(all.contains("1 of 2 routes covered"), "{all}");
    assert!(all.contains("not covered: late: "), "{all}");
    assert!(all.contains("error status 504 upstream_timeout"), "{all}");
}

#[test]
fn whoever_ends_it_ends_everything() {
    let place = Place::with(RICH);
    let mut child = place.under_way();
    assert!(!children(&place).is_empty(), "its proxy serves");
    signal("-INT", child.id());
    until("it ends", || child.try_wait().unwrap().is_some());
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_eq!((children(&place), place.left()), (Vec::new(), Vec::new()));
}

#[test]
fn not_even_one_that_is_killed_leaves_a_proxy_behind() {
    let place = Place::with(RICH);
    let mut child = place.under_way();
    assert!(children(&place).len() >= 2, "its proxy serves");
    signal("-KILL", child.id());
    child.wait().unwrap();
    until("its proxy ends", || children(&place).is_empty());
}

/// The processes that serve by a configuration in this place.
fn children(place: &Place) -> Vec<u32> {
    let mark = place.0.path().join("tetap-selftest").into_os_string().into_string().unwrap();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_one = |id: &u32| {
        let words = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&words).contains(&mark)
    };
    ids.filter(is_one).collect()
}

fn signal(signal: &str, pid: u32) {
    assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
