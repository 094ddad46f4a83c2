//! What a service manager is told, by the protocol of `sd_notify(3)`.
//!
//! A manager that only sees that a process is there starts what depends on it too early, takes a reload for done before it
//! is, and keeps a process that has come to a standstill. So it is told: when the first worker serves, when a change
//! begins and ends, when the end begins, and, where it wants to hear it (`WatchdogSec=`), that the supervisor's own task
//! still goes round. Workers are not the manager's business: they are watched from here.
//!
//! Each message is one datagram. Where no manager listens (`NOTIFY_SOCKET` is not set), all of this does nothing; and
//! where one does not take it, the proxy goes on as ever: it serves clients, not the manager.

use std::env;
use std::ffi::OsStr;
use std::future::pending;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use log::{debug, warn};
use rustix::time::{ClockId, clock_gettime};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::limits::NOTIFY_TIME;

/// What of the environment is meant for this process alone, and not for those that it starts.
pub const PRIVATE: [&str; 6] =
    ["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];

/// What the manager believes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Starting,
    Ready,
    Reloading,
    Stopping,
}

/// The service manager, if there is one.
#[derive(Debug)]
pub struct Service {
    manager: Option<(UnixDatagram, SocketAddr)>,
    stage: Stage,
    watchdog: Option<Interval>,
}

impl Service {
    /// The manager that the environment names. To be called in a runtime of tokio, whose clock the watchdog goes by.
    pub fn from_environment() -> Service {
        let manager = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()).and_then(|name| {
            let reached = reach(&name);
            reached.inspect_err(|error| warn!("NOTIFY_SOCKET: {}: {error}", name.display())).ok()
        });
        let half = watchdog(number("WATCHDOG_USEC"), number("WATCHDOG_PID"), std::process::id());
        let watchdog = half.filter(|_| manager.is_some()).map(|half| {
            let mut beats = interval(half);
            beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
            beats
        });
        Service { manager, stage: Stage::Starting, watchdog }
    }

    /// The same manager, for a program that goes on where another has left in the same process: it knows that clients are
    /// served.
    pub fn resumed() -> Service {
        Service { stage: Stage::Ready, ..Service::from_environment() }
    }

    /// Clients are served.
    pub fn ready(&mut self) {
        if self.stage != Stage::Stopping {
            self.stage = Stage::Ready;
            self.tell("READY=1\nSTATUS=serving");
        }
    }

    /// A change begins. Before anybody is served, it is part of the start.
    pub fn reloading(&mut self) {
        if self.stage == Stage::Ready {
            self.stage = Stage::Reloading;
            // By this time the manager tells the answer to its own reload from the end of one before.
            let now = clock_gettime(ClockId::Monotonic);
            let microseconds = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
            self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={microseconds}\nSTATUS=changing over"));
        }
    }

    /// The change is over, whatever came of it: the one from before serves, or the new one.
    pub fn reloaded(&mut self) {
        if self.stage == Stage::Reloading {
            self.ready();
        }
    }

    /// The end has begun.
    pub fn stopping(&mut self) {
        if self.stage != Stage::Stopping {
            self.stage = Stage::Stopping;
            self.tell("STOPPING=1\nSTATUS=finishing what is under way");
        }
    }

    /// How it is, in words; a line, so that no word of it can be taken for a message.
    pub fn status(&self, text: &str) {
        self.tell(&format!("STATUS={}", text.replace(['\n', '\r'], " ")));
    }

    /// When the next [`beat`](Service::beat) is due; never, where nobody wants it. Nothing is lost where this is dropped before.
    pub async fn due(&mut self) {
        match &mut self.watchdog {
            Some(beats) => drop(beats.tick().await),
            None => pending().await,
        }
    }

    /// The supervisor still goes round.
    pub fn beat(&self) {
        self.tell("WATCHDOG=1");
    }

    fn tell(&self, message: &str) {
        if let Some((socket, manager)) = &self.manager
            && let Err(error) = socket.send_to_addr(message.as_bytes(), manager)
        {
            debug!("the service manager does not listen: {error}");
        }
    }
}

/// A socket to send from, and the address to send to. Nothing is connected: a manager that is started anew listens at a
/// new socket in the old place.
fn reach(name: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let socket = UnixDatagram::unbound()?;
    // Not without waiting at all: a READY=1 that is dropped because the manager is busy would be missed for ever.
    socket.set_write_timeout(Some(NOTIFY_TIME))?;
    Ok((socket, address(name)?))
}

/// `/path`, or `@name` for a socket without a file.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        [b'/', ..] => SocketAddr::from_pathname(name),
        _ => Err(io::Error::other("neither a path nor @ and a name")),
    }
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

/// How often the manager is to hear a beat: at half the time after which it gives up. `None` where it waits for none, or for
/// another process's.
fn watchdog(microseconds: Option<u64>, whose: Option<u64>, own: u32) -> Option<Duration> {
    let is_ours = whose.is_none_or(|whose| whose == u64::from(own));
    let half = Duration::from_micros(microseconds? / 2);
    (is_ours && !half.is_zero()).then_some(half)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_beat_is_due_at_half_the_time_and_only_if_it_is_ours() {
        let second = Some(1_000_000);
        assert_eq!(watchdog(second, None, 7), Some(Duration::from_millis(500)));
        assert_eq!(watchdog(second, Some(7), 7), Some(Duration::from_millis(500)));
        assert_eq!(watchdog(second, Some(8), 7), None);
        assert_eq!(watchdog(Some(1), None, 7), None);
        assert_eq!(watchdog(None, Some(7), 7), None);
    }

    #[test]
    fn managers_are_at_paths_and_at_names_without_a_file() {
        assert_eq!(address(OsStr::new("/run/m")).unwrap().as_pathname().unwrap(), "/run/m");
        assert_eq!(address(OsStr::new("@m/1")).unwrap().as_abstract_name().unwrap(), b"m/1");
        assert!(address(OsStr::new("vsock:2:1234")).is_err());
    }

    #[test]
    fn a_manager_hears_each_stage_once_and_nothing_of_a_reload_that_is_part_of_the_start() {
        let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name()).unwrap()).unwrap();
        manager.set_nonblocking(true).unwrap();
        let at = [b"@", name().as_slice()].concat();
        let reached = reach(OsStr::from_bytes(&at)).unwrap();
        let mut service = Service { manager: Some(reached), stage: Stage::Starting, watchdog: None };
        service.reloading();
        service.reloaded();
        service.ready();
        service.reloading();
        service.reloading();
        service.reloaded();
        service.status("a\nREADY=1");
        service.stopping();
        service.stopping();
        service.ready();
        let heard: Vec<String> = std::iter::from_fn(|| receive(&manager)).collect();
        let first: Vec<&str> = heard.iter().filter_map(|message| message.lines().next()).collect();
        assert_eq!(first, ["READY=1", "RELOADING=1", "READY=1", "STATUS=a READY=1", "STOPPING=1"]);
    }

    fn name() -> Vec<u8> {
        format!("tetap-test-{}", std::process::id()).into_bytes()
    }

    fn receive(manager: &UnixDatagram) -> Option<String> {
        let mut message = [0; 512];
        let length = manager.recv(&mut message).ok()?;
        Some(String::from_utf8_lossy(&message[..length]).into_owned())
    }
}
