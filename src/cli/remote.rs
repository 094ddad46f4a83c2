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
    let tree: Value = serde_yaml::from_str(text).ok()?;
    Some(tree.get("process")?.get("control")?.as_str()?.into())
}
