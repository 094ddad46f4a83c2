//! Processes that somebody else started: the workers of a proxy, found in `/proc`.

use std::path::Path;
use std::process::{Command, Stdio};

/// The living children of a process, in the order of their ids; those that have ended and wait to be noticed
/// are none.
pub fn children(parent: u32) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut children: Vec<u32> = ids.filter(|id| is_child(*id, parent)).collect();
    children.sort_unstable();
    children
}

/// `ID (name) state parent …`, where the name may contain anything.
fn is_child(id: u32, parent: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let Some((_, rest)) = stat.rsplit_once(") ") else { return false };
    let mut words = rest.split(' ');
    let is_dead = matches!(words.next(), None | Some("Z" | "X"));
    !is_dead && words.next() == Some(&parent.to_string())
}

/// The arguments that a process was started with, or what it has put in their place; none when it is gone.
pub fn arguments(id: u32) -> Vec<String> {
    let bytes = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    text.trim_end_matches('\0').split('\0').map(str::to_owned).collect()
}

/// Whether a process is there and has not ended.
pub fn is_alive(id: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// The process id in a file; none while there is none.
pub fn id_in(file: &Path) -> Option<u32> {
    std::fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// Sends a signal; false when there is nobody to get it.
pub fn signal(id: u32, name: &str) -> bool {
    let kill = format!("kill -{name} {id}");
    let mut command = Command::new("sh");
    command.args(["-c", &kill]).stderr(Stdio::null()).status().unwrap().success()
}
