//! Going over to another configuration without another process.
//!
//! All of it, or nothing: whatever can fail (reading, compiling, opening sockets and the log, getting to know new
//! endpoints) is done beside what serves. Then the listeners that are new are opened, the snapshot is published in one step, and
//! those that are other than before are replaced, each on the socket that it had. Listeners and upstreams that are planned as
//! before do not notice: their connections live on.
//!
//! What cannot be changed in a running process (its threads) needs another one, and is said to.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::assignment::{self, Orders, Refusal};
use super::doors::Unopened;
use super::life::Life;
use super::places::{self, Need, Socket};
use super::worker::{RunError, open_access_log};
use crate::clock::Duration;
use crate::limits::FIRST_ROUND;
use crate::observe::access_log::AccessLog;
use crate::plan::diff::{Changes, diff};
use crate::plan::{self, AccessLogOutput, Plan};
use crate::runtime::{Snapshot, tasks};
use crate::wire::Channel;

/// A configuration to go over to.
pub struct Reload {
    /// Who goes over.
    pub life: Arc<Life>,
    /// The configuration's file.
    pub config: PathBuf,
    /// Its text, where that is not to be read from the file.
    pub text: Option<String>,
    /// The number of what will be served by.
    pub generation: u64,
}

/// What came of it.
pub enum Outcome {
    /// It is served by.
    Done {
        /// What was read.
        text: String,
        /// What is other than before.
        changes: Changes,
        /// What was made of it.
        next: Arc<Snapshot>,
    },
    /// It takes another process.
    NeedsSwap,
    /// The process is ending, and it was not done.
    Over,
}

/// How much less of the processors the work beside serving gets (nice(2)).
const LESS_URGENT: i32 = 19;

/// How often a snapshot that was followed is looked at, until nobody needs it.
const LEFT: Duration = Duration::from_secs(1);

impl Reload {
    /// Does it.
    ///
    /// # Errors
    /// It cannot be done, and everything is as it was.
    pub async fn perform(self, channel: &Channel, orders: &mut impl Orders) -> Result<Outcome, Refusal> {
        let Reload { life, config, text, generation } = self;
        let (text, plan) = aside(move || read(&config, text)).await??;
        let last = life.runtime.snapshot();
        if needs_swap(last.plan(), &plan) {
            return Ok(Outcome::NeedsSwap);
        }
        let needs = needs(&life, last.plan(), &plan).await;
        let Some(opened) = assignment::gather(channel, orders, &needs, Vec::new()).await? else {
            return Ok(Outcome::Over);
        };
        let access_log = access_log(&life, last.plan(), &plan)?;
        let (before, metrics) = (last.clone(), life.runtime.metrics().clone());
        let succeed = move || {
            let changes = diff(before.plan(), &plan);
            (changes, Arc::new(before.succeed(plan, generation, &metrics)))
        };
        let (changes, next) = aside(succeed).await?;
        life.runtime.prepare(&next);
        tasks::first_round(&next, FIRST_ROUND).await;
        let outcome = go_over(&life, &next, opened, access_log).await;
        if outcome.is_err() {
            life.runtime.abandon(&next);
        }
        outcome?;
        clear_up(last);
        Ok(Outcome::Done { text, changes, next })
    }
}

/// What a reload would change.
///
/// # Errors
/// It would be refused.
pub async fn foresee(life: &Life, config: PathBuf) -> Result<Changes, Refusal> {
    let present = life.runtime.snapshot();
    aside(move || Ok(diff(present.plan(), &read(&config, None)?.1))).await?
}

fn read(config: &Path, text: Option<String>) -> Result<(String, Plan), Refusal> {
    let text = text.map_or_else(|| assignment::read(config), Ok)?;
    let plan = assignment::compile(config, &text)?;
    Ok((text, plan))
}

/// On a thread of its own, which gives way to those that serve.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
    let (sender, done) = tokio::sync::oneshot::channel();
    let modest = move || {
        let _ = rustix::process::nice(LESS_URGENT); // of this thread alone; without it, it is only more of a burden
        let _ = sender.send(work()); // who wanted it may have given up
    };
    std::thread::Builder::new().name("tetap-reload".into()).spawn(modest)?;
    done.await.map_err(|_| Refusal {
        reason: "it has failed within the proxy, as its log says".into(),
        usage: false,
    })
}

/// Threads are there from the beginning of a process to its end.
fn needs_swap(last: &Plan, next: &Plan) -> bool {
    last.process.threads != next.process.threads
}

/// The sockets of listeners that are new or other than before, and the admin address's if that is another.
async fn needs(life: &Life, last: &Plan, next: &Plan) -> Vec<Need> {
    let doors = life.doors.lock().await;
    let lacking = doors.lacking(&next.listeners);
    let mut needs: Vec<Need> = lacking.into_iter().map(places::of_listener).collect();
    if next.admin != last.admin {
        needs.extend(next.admin.map(places::of_admin));
    }
    needs
}

/// Another log, where another is wanted; and a file anew in any case, so that who has moved it gets a new one.
fn access_log(life: &Life, last: &Plan, next: &Plan) -> Result<Option<AccessLog>, Refusal> {
    let is_file = matches!(next.access_log.output, AccessLogOutput::File(_));
    let wanted = is_file || last.access_log != next.access_log;
    Ok(wanted.then(|| open_access_log(&next.access_log, life.runtime.metrics())).transpose()?)
}

async fn go_over(
    life: &Life,
    next: &Arc<Snapshot>,
    opened: Vec<OwnedFd>,
    access_log: Option<AccessLog>,
) -> Result<(), Refusal> {
    let (patience, metrics) = (next.plan().process.drain_timeout, life.runtime.metrics());
    let mut doors = life.doors.lock().await;
    let mut opened = opened.into_iter();
    let lacking: Vec<plan::Listener> = doors.lacking(&next.plan().listeners).into_iter().cloned().collect();
    let sockets: Vec<(plan::Listener, Socket)> =
        lacking.into_iter().zip(opened.by_ref()).map(places::opened).collect();
    doors.open_all(sockets, patience, metrics).await.map_err(RunError::from)?;
    go_over_admin(life, next, opened.next()).await.map_err(RunError::from)?;
    life.runtime.publish(next.clone());
    doors.replace(patience);
    drop(doors);
    if let Some(access_log) = access_log {
        clear_up(life.runtime.set_access_log(access_log));
    }
    Ok(())
}

async fn go_over_admin(life: &Life, next: &Snapshot, opened: Option<OwnedFd>) -> Result<(), Unopened> {
    let mut admin = life.admin.lock().await;
    match opened {
        Some(socket) => admin.open(socket.into()).await?,
        None if next.plan().admin.is_none() => admin.close(),
        None => {}
    }
    Ok(())
}

/// What has been followed is dropped by the last who holds it, and that should be no thread that serves: ten thousand
/// routes are work.
fn clear_up<T: Send + Sync + 'static>(last: Arc<T>) {
    tokio::spawn(async move {
        while Arc::strong_count(&last) > 1 {
            tokio::time::sleep(LEFT).await;
        }
        let _ = aside(move || drop(last)).await; // where it fails it is dropped here
    });
}
