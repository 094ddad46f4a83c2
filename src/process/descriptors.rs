//! File descriptors: each connection takes one, and most systems let a process open 1,024 unless it asks for more.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit to the hard one. Where that fails the limit stays, and the log says what it is.
pub fn raise() {
    let now = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: now.maximum, maximum: now.maximum };
    if now.current != now.maximum && setrlimit(Resource::Nofile, wanted).is_err() {
        log::warn!("the limit of open files stays at {:?}", now.current);
    }
}

/// Says so when the configuration lets more connections in and out than the process may open.
pub fn compare(plan: &crate::plan::Plan) {
    let clients: usize = plan.listeners.iter().map(|listener| listener.limits.connections).sum();
    let servers: usize = plan.upstreams.iter().map(|upstream| upstream.limits.connections).sum();
    let (needed, allowed) = (clients + servers, getrlimit(Resource::Nofile).current);
    if allowed.is_some_and(|allowed| (needed as u64) > allowed) {
        let allowed = allowed.unwrap_or(u64::MAX);
        log::warn!("limits add up to {needed} connections, but the process may open only {allowed} files");
    }
}
