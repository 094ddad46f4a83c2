//! The built program, from outside: what is typed, what is printed where, and with which status it ends.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// As long as a shared machine may need for what takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// Everything that is needed, and nothing more.
const GOOD: &str = "
listeners: [{address: 127.0.0.1:8080}]
upstreams: {api: {endpoints: [127.0.0.1:9001]}}
routes:
  - {match: {path: {prefix: /}}, upstream: api}
  - {match: {path: {exact: /old}}, redirect: {to: /new}}
";

/// Two faults, on lines 2 and 5.
const FAULTY: &str = "
listners: [{address: 127.0.0.1:8080}]
listeners: [{address: 127.0.0.1:8080}]
routes:
  - {match: {path: {prefix: /}}, upstreem: api}
";

fn tetap() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tetap"));
    command.env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    tetap().args(arguments).output().unwrap()
}

/// Runs a command on a file with this text.
fn run_on(command: &str, text: &str) -> (Output, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tetap.yaml");
    fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap();
    (run(&[command, "--config", path]), path.to_owned())
}

fn out(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn err(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

fn status(output: &Output) -> i32 {
    output.status.code().expect("no signal ended it")
}

/// The status of a process that ought to end by itself; one that does not is ended here.
fn ended(process: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(status) = process.try_wait().unwrap() {
            return status;
        }
        thread::sleep(Duration::from_millis(5));
    }
    process.kill().unwrap();
    panic!("it did not end")
}

#[test]
fn a_mistyped_command_ends_with_2_and_a_hint() {
    let output = run(&["chekc"]);
    assert_eq!(status(&output), 2);
    assert!(err(&output).contains("'check'"), "{}", err(&output));
    assert_eq!(out(&output), "");
}

#[test]
fn nothing_typed_explains_what_there_is() {
    let output = run(&[]);
    assert_eq!(status(&output), 2);
    for command in ["run", "check", "schema", "demo"] {
        assert!(err(&output).contains(command), "{command}");
    }
    assert!(!err(&output).contains("demo-server"), "what is not for people is not shown");
}

#[test]
fn help_and_version_are_no_failure() {
    assert_eq!(status(&run(&["--help"])), 0);
    let version = run(&["--version"]);
    assert_eq!((status(&version), out(&version)), (0, concat!("tetap ", env!("CARGO_PKG_VERSION"), "\n")));
}

#[test]
fn a_good_file_is_ok_and_counted() {
    let (output, path) = run_on("check", GOOD);
    assert_eq!(err(&output), "");
    assert_eq!(out(&output), format!("{path}: ok (1 listener, 1 upstream, 2 routes)\n"));
    assert_eq!(status(&output), 0);
}

#[test]
fn a_faulty_file_has_all_its_faults_told() {
    for command in ["check", "run"] {
        let (output, path) = run_on(command, FAULTY);
        assert_eq!(status(&output), 2, "{command}");
        assert_eq!(out(&output), "", "{command}");
        for line in [2, 5] {
            assert!(err(&output).contains(&format!("{path}:{line}:")), "{command}: {}", err(&output));
        }
        assert!(err(&output).contains("did you mean"), "{command}: {}", err(&output));
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let output = run(&["check", "--config", "/nowhere/tetap.yaml"]);
    assert_eq!(status(&output), 2);
    assert!(err(&output).contains("/nowhere/tetap.yaml"), "{}", err(&output));
}

#[test]
fn variables_come_from_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tetap.yaml");
    fs::write(&path, GOOD.replace("127.0.0.1:9001", "\"127.0.0.1:${API_PORT}\"")).unwrap();
    let check = |port: Option<&str>| {
        let mut command = tetap();
        command.args(["check", "--config"]).arg(&path).env_remove("API_PORT");
        command.envs(port.map(|port| ("API_PORT", port))).output().unwrap()
    };
    assert_eq!(status(&check(Some("9001"))), 0);
    let unset = check(None);
    assert_eq!(status(&unset), 2);
    assert!(err(&unset).contains("API_PORT"), "{}", err(&unset));
}

#[test]
fn the_schema_is_json() {
    let output = run(&["schema"]);
    assert_eq!(status(&output), 0);
    let schema: serde_json::Value = serde_json::from_str(out(&output)).unwrap();
    assert!(schema["properties"]["listeners"].is_object(), "{schema}");
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = tetap().arg("schema").stdout(full).output().unwrap();
    assert_eq!(status(&output), 1);
    assert!(err(&output).starts_with("tetap: "), "{}", err(&output));
}

#[test]
fn a_sample_server_says_its_port_and_ends_with_its_input() {
    let mut command = tetap();
    command.args(["demo-server", "--name", "x"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut server = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let port: u16 = line.trim_end().strip_prefix("port ").expect("its port").parse().unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains(r#""server":"x""#), "{answer}");
    drop(server.stdin.take());
    assert!(ended(&mut server).success());
}
