//! Commands to a running proxy.

use std::io;
use std::path::{Path, PathBuf};

use serde_yaml::Value;

use super::failure::Failure;
use super::{Target, print};
use crate::process::assignment;
use crate::supervisor::control::{self, Reply, Request};

/// Asks, waits, and says what came of it.
///
/// # Errors
/// It was not done, or nobody is there.
pub(super) fn ask(target: &Target, request: &Request) -> Result<(), Failure> {
    let path = target.control.clone().unwrap_or_else(|| whereabouts(&target.config));
    let unreachable = |error: io::Error| Failure::Unreachable { path: path.clone(), error };
    match control::ask(&path, request).map_err(unreachable)? {
        Some(reply) => tell(target, reply),
        None if *request == Request::Stop => {
            tell(target, Reply { done: true, message: "stopped".into(), ..Reply::default() })
        }
        None => Err(Failure::Refused(Reply::refused("the proxy has ended without an answer"))),
    }
}

/// The same for another executable; whom we ask may stand in another folder.
///
/// # Errors
/// As [`ask`].
pub(super) fn upgrade(target: &Target, binary: Option<PathBuf>) -> Result<(), Failure> {
    let binary = binary.map(std::path::absolute).transpose()?;
    ask(target, &Request::Upgrade { binary })
}

fn tell(target: &Target, reply: Reply) -> Result<(), Failure> {
    match (target.json, reply.done) {
        (true, _) => print(&format!("{:#}", reply.report))?,
        (false, true) => print(&reply.message)?,
        (false, false) => {}
    }
    if reply.done { Ok(()) } else { Err(Failure::Refused(reply)) }
}

/// Where the proxy that runs by this file takes commands. The file may have been spoilt since: that is when one wants to
/// ask. So if it cannot be read as a whole, this one key of it may be legible still.
pub(super) fn whereabouts(config: &Path) -> PathBuf {
    let text = crate::config::read_text(config).unwrap_or_default();
    let said = match assignment::compile(config, &text) {
        Ok(plan) => plan.process.control,
        Err(_) => legible(&text),
    };
    said.unwrap_or_else(|| control::default_path(config))
}

fn legible(text: &str) -> Option<PathBuf> {
    let whole = || -> Option<PathBuf> {
        let tree: Value = serde_yaml::from_str(text).ok()?;
        Some(tree.get("process")?.get("control")?.as_str()?.into())
    };
    whole().or_else(|| scanned(text))
}

/// What follows the last `control:`, up to what ends a value. No other key has this name.
fn scanned(text: &str) -> Option<PathBuf> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let value = lines.filter_map(|line| line.split_once("control:")).next_back()?.1.trim_start();
    let value = match value.strip_prefix(['"', '\'']) {
        Some(quoted) => quoted.split(['"', '\'']).next()?,
        None => value.split([',', '}', '#', ' ']).next()?.trim(),
    };
    (!value.is_empty()).then(|| value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_commands_go_is_legible_in_a_file_that_is_not() {
        for (text, path) in [
            ("process: {control: /run/a.sock}\n", Some("/run/a.sock")),
            ("process: {control: /run/a.sock, probation: 1s}\n  bad: [\n", Some("/run/a.sock")),
            ("process:\n  control: \"/run/a b.sock\" # here\nbad: [\n", Some("/run/a b.sock")),
            ("process:\n  control: /run/a.sock # here\nbad: [\n", Some("/run/a.sock")),
            ("# control: /run/a.sock\nbad: [\n", None),
            ("bad: [\n", None),
        ] {
            assert_eq!(legible(text), path.map(PathBuf::from), "{text}");
        }
    }
}
