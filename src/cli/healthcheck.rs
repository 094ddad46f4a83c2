//! Whether a proxy should be sent clients, for a container's engine: an image has no other program that could ask.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::failure::Failure;
use super::{print, remote};
use crate::process::assignment;
use crate::supervisor::control::{self, Reply, Request};

/// Within the time that engines allow such a command (Kubernetes: one second, Docker: thirty), where nothing is wrong.
const PATIENCE: Duration = Duration::from_secs(2);
/// The head of an answer, and a line of it; who sends more is not asked further.
const ANSWER_BYTES: u64 = 4096;

/// Whom to ask.
#[derive(Debug, Args)]
pub(super) struct Subject {
    /// The configuration that says where the admin address is; where it has none, the supervisor is asked
    #[arg(long, value_name = "FILE", default_value = "conf/tetap.yaml")]
    config: PathBuf,
    /// The admin address
    #[arg(long, value_name = "ADDRESS", conflicts_with = "config")]
    address: Option<SocketAddr>,
}

/// Asks.
///
/// # Errors
/// It should not be sent clients, or nobody answers: exit status 1.
pub(super) fn ask(subject: &Subject) -> Result<(), Failure> {
    match subject.address.or_else(|| admin(&subject.config)) {
        Some(address) => ready(reachable(address)),
        None => supervised(&subject.config),
    }
}

/// A file that cannot be read as a whole may have been spoilt since: the proxy that runs by it may be as well as ever.
fn admin(config: &Path) -> Option<SocketAddr> {
    let text = crate::config::read_text(config).ok()?;
    assignment::compile(config, &text).ok()?.admin
}

/// Who listens at every address, listens at the loopback's.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(any) if any.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(any) if any.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

fn ready(address: SocketAddr) -> Result<(), Failure> {
    let answer =
        fetch(address).map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    if head.starts_with("HTTP/1.1 200 ") {
        return print("ready");
    }
    let said = format!("{address}: {} {}", head.lines().next().unwrap_or("no answer"), body.trim());
    Err(Failure::Refused(Reply::refused(said)))
}

fn fetch(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET /ready HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn supervised(config: &Path) -> Result<(), Failure> {
    let path = remote::whereabouts(config);
    let reply =
        control::ask(&path, &Request::Status).map_err(|error| Failure::Unreachable { path, error })?;
    let report = reply.map(|reply| reply.report).unwrap_or_default();
    let workers = report["workers"].as_array().into_iter().flatten();
    if workers.into_iter().any(|worker| worker["state"] == "serving") && report["stopping"] != true {
        return print("ready");
    }
    Err(Failure::Refused(Reply::refused("no worker serves")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_address_is_asked_at_the_loopback() {
        let asked = |address: &str| reachable(address.parse().unwrap()).to_string();
        assert_eq!(asked("0.0.0.0:9901"), "127.0.0.1:9901");
        assert_eq!(asked("[::]:9901"), "[::1]:9901");
        assert_eq!(asked("10.0.0.1:9901"), "10.0.0.1:9901");
    }
}
