//! What happens to the proxy meanwhile, and whether it went as it should.
//!
//! Each event is over only when one worker serves alone again, so that what is lost is counted where it belongs.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::Error;
use super::proxy::Proxy;
use super::tally::{Event, Tally};
use crate::supervisor::control::Request;

/// How long the load is watched while nothing happens, first.
const CALM: Duration = Duration::from_secs(1);

/// After each event, so that connections are made and kept again before the next.
const PAUSE: Duration = Duration::from_millis(200);

/// Programs that end at once, on most systems.
const FALSE: [&str; 2] = ["/bin/false", "/usr/bin/false"];

/// How often each happens.
pub(super) struct Schedule([(Event, usize); 4]);

impl Schedule {
    /// The usual one, or each only once.
    pub(super) fn of(brief: bool) -> Schedule {
        let usual = [(Event::Reload, 10), (Event::Upgrade, 3), (Event::FailedUpgrade, 2), (Event::Kill, 2)];
        Schedule(if brief { usual.map(|(event, _)| (event, 1)) } else { usual })
    }
}

/// Does it all. What does not go as it should is noted, and it goes on.
///
/// # Errors
/// Somebody interrupts, or a file cannot be written.
pub(super) fn perform(proxy: &Proxy, tally: &Tally, schedule: &Schedule) -> Result<(), Error> {
    let bad = bad_programs(&proxy.folder)?;
    tally.enter(Event::Calm);
    proxy.rest(CALM)?;
    for (event, count) in schedule.0 {
        for number in 0..count {
            tally.enter(event);
            if let Err(why) = happen(proxy, event, &bad[number % bad.len()])? {
                tally.fail(event, &why);
            }
            proxy.rest(PAUSE)?;
        }
    }
    Ok(())
}

/// Whether it went as it should, and if not, why.
type Went = Result<(), String>;

fn happen(proxy: &Proxy, event: Event, bad: &Path) -> Result<Went, Error> {
    let victim = proxy.settled();
    let went = match event {
        Event::Calm => Ok(()),
        Event::Reload => done(proxy, &Request::Reload { confirm: None })?,
        Event::Upgrade => done(proxy, &Request::Upgrade { binary: Some(std::env::current_exe()?) })?,
        Event::FailedUpgrade => refused(proxy, bad)?,
        Event::Kill => kill(victim),
    };
    let gone = victim.filter(|_| event == Event::Kill);
    match proxy.settle(gone)? {
        true => Ok(went),
        false => Ok(went.and(Err(format!("then there is not one worker that serves:\n{}", proxy.story())))),
    }
}

fn done(proxy: &Proxy, request: &Request) -> Result<Went, Error> {
    let reply = proxy.ask(request)?;
    Ok(if reply.done { Ok(()) } else { Err(reply.message) })
}

fn refused(proxy: &Proxy, binary: &Path) -> Result<Went, Error> {
    let reply = proxy.ask(&Request::Upgrade { binary: Some(binary.to_owned()) })?;
    let stayed = format!("it went over to {}", binary.display());
    Ok(if reply.done { Err(stayed) } else { Ok(()) })
}

fn kill(worker: Option<i32>) -> Went {
    let pid = worker.and_then(Pid::from_raw).ok_or("there is no worker to kill")?;
    kill_process(pid, Signal::KILL).map_err(|error| error.to_string())
}

/// One that is no program at all, and one that ends at once; where the system has none of those, one of no known format.
fn bad_programs(folder: &Path) -> io::Result<[PathBuf; 2]> {
    let (none, unknown) = (folder.join("no-program"), folder.join("unknown-program"));
    fs::write(&none, "nothing\n")?;
    fs::write(&unknown, "nothing\n")?;
    fs::set_permissions(&unknown, Permissions::from_mode(0o700))?;
    let ends = FALSE.into_iter().map(PathBuf::from).find(|path| path.is_file());
    Ok([none, ends.unwrap_or(unknown)])
}
