//! `tetap selftest`: would our clients have noticed?
//!
//! That a reload or an upgrade loses nobody is easily claimed, and true of some configurations: it depends on timeouts, limits,
//! routes, and the machine. Nobody likes to find out on the proxy that serves. So the operator's own file is taken to
//! [`shadow`] ports, with servers of our own behind it; [clients](load) ask whatever its routes are for, while all of it
//! [happens](events) that can happen to a proxy; and what they have lost is [counted](tally) and [told](report).
//!
//! The proxy under test is `tetap run`, by this very executable, as a process of its own: what dies here is what would die
//! there. What differs from the real one, the report says.

mod answer;
mod client;
mod events;
mod folder;
mod interrupt;
mod load;
mod proxy;
mod report;
mod sample;
mod servers;
mod shadow;
mod tally;

use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use crate::config::{self, Report as Diagnostics};
use crate::process::assignment;
use events::Schedule;
use folder::Folder;
use interrupt::Interrupt;
use load::{Load, Rehearsal};
use proxy::Proxy;
use servers::Servers;
use shadow::Shadow;
use tally::Tally;

/// Why nothing was found out.
#[derive(Debug)]
pub enum Error {
    /// The operator's file is wrong.
    Configuration(Diagnostics),
    /// Something that is needed could not be had.
    Io(io::Error),
    /// The shadow does not serve; the last lines of what it said.
    NotReady(String),
    /// No route has a request that is answered as it should be; why, a line for each.
    NothingCovered(String),
    /// It was told to end.
    Interrupted,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Configuration(report) => report.fmt(f),
            Error::Io(error) => write!(f, "the selftest cannot start: {error}"),
            Error::NotReady(log) => {
                write!(f, "the shadow of the proxy does not serve; its last words:\n{log}")
            }
            Error::NothingCovered(why) => write!(f, "no route can be tested:\n{why}"),
            Error::Interrupted => f.write_str("the selftest was interrupted"),
        }
    }
}

impl std::error::Error for Error {}

impl From<Diagnostics> for Error {
    fn from(report: Diagnostics) -> Error {
        Error::Configuration(report)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        Error::Io(error)
    }
}

/// What was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// Each event once only.
    pub brief: bool,
    /// For programs.
    pub json: bool,
}

/// Tries a configuration, and prints what came of it. Whether clients would have lost nothing.
///
/// # Errors
/// The configuration is wrong, or nothing could be found out.
pub fn run(config: &Path, wish: Wish) -> Result<bool, Error> {
    let text = config::read_text(config)?;
    let plan = assignment::compile(config, &text)?;
    let folder = Folder::create()?;
    let interrupt = Arc::new(Interrupt::default());
    let servers = Servers::start(interrupt.clone())?;
    let shadow = Shadow::of(&text, &plan, &servers.addresses, folder.path())?;
    let proxy = Proxy::start(&shadow, folder.path(), plan.process.ready_timeout, interrupt.clone())?;
    let rehearsal = load::rehearse(sample::of(&plan), &shadow.entrances);
    if rehearsal.covered.is_empty() {
        return Err(Error::NothingCovered(rehearsal.reasons()));
    }
    if !wish.json {
        say(&report::preface(config, &shadow, &rehearsal))?;
    }
    let tally = Arc::new(Tally::default());
    under_load(&proxy, &shadow, &rehearsal, &tally, &Schedule::of(wish.brief))?;
    let results = tally.results(servers.seen.twice());
    let printed = match wish.json {
        true => format!("{:#}", report::json(config, &shadow, &rehearsal, &results)),
        false => report::text(&results),
    };
    say(&printed)?;
    Ok(results.passed())
}

/// The load ends before the proxy does: else its end would be counted.
fn under_load(
    proxy: &Proxy,
    shadow: &Shadow,
    rehearsal: &Rehearsal,
    tally: &Arc<Tally>,
    schedule: &Schedule,
) -> Result<(), Error> {
    let load = Load::start(rehearsal.covered.clone(), shadow.entrances.clone(), tally.clone())?;
    let happened = events::perform(proxy, tally, schedule);
    load.finish();
    happened
}

fn say(text: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{text}")
}
