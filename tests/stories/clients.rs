//! Clients and servers that others have written: curl and wrk in front, nginx and Python behind.

use serde_json::Value;

use crate::support::{Nginx, Python, Tetap, run};

fn url(tetap: &Tetap, path: &str) -> String {
    format!("http://{}{path}", tetap.address("web"))
}

fn curl(arguments: &[&str]) -> String {
    run("curl", &[&["-sS", "--fail", "--max-time", "20"], arguments].concat())
}

fn echo(tetap: &Tetap, arguments: &[&str]) -> Value {
    let url = url(tetap, "/echo/x?y=1");
    serde_json::from_str(&curl(&[arguments, &[&url]].concat())).unwrap()
}

#[test]
fn curl_talks_to_python() {
    let python = Python::echo();
    let tetap = Tetap::to(&[python.address()]);
    let get = echo(&tetap, &[]);
    assert_eq!((get["method"].as_str(), get["target"].as_str()), (Some("GET"), Some("/echo/x?y=1")));
    let post = echo(&tetap, &["-d", "a=b"]);
    assert_eq!((post["method"].as_str(), post["body"].as_str()), (Some("POST"), Some("a=b")));
    let chunked = echo(&tetap, &["-H", "Transfer-Encoding: chunked", "-d", "c=d"]);
    assert_eq!(chunked["body"], "c=d");
    let old = echo(&tetap, &["--http1.0", "-d", "e=f"]);
    assert_eq!(old["body"], "e=f");
    assert_eq!(echo(&tetap, &["-X", "DELETE"])["method"], "DELETE");
    let waiting = echo(&tetap, &["-H", "Expect: 100-continue", "--expect100-timeout", "10", "-d", "g=h"]);
    assert_eq!(waiting["body"], "g=h");
    let through = echo(&tetap, &["--proxy", &url(&tetap, "")]);
    assert_eq!(through["target"], "/echo/x?y=1", "an absolute target");
}

#[test]
fn curl_asks_again_on_the_same_connection() {
    let nginx = Nginx::named("n");
    let tetap = Tetap::to(&[nginx.address()]);
    let (one, two) = (url(&tetap, "/1"), url(&tetap, "/2"));
    let said = curl(&["-w", "|%{num_connects}|", &one, &two]);
    assert_eq!(said, "n|1|n|0|");
    let head = curl(&["-I", &one]);
    assert!(head.starts_with("HTTP/1.1 200 OK") && head.contains("Content-Length: 1"), "{head}");
}

#[test]
fn wrk_sees_no_error() {
    let servers = [Nginx::named("a"), Nginx::named("b")];
    let tetap = Tetap::to(&servers.each_ref().map(Nginx::address));
    let report = run("wrk", &["-t1", "-c20", "-d2s", &url(&tetap, "/")]);
    assert!(!report.contains("Socket errors") && !report.contains("Non-2xx"), "{report}");
    let line = report.lines().find(|line| line.contains("requests in")).unwrap_or(&report);
    let count: u64 = line.split_whitespace().next().unwrap().parse().unwrap();
    assert!(count > 100, "{report}");
}
