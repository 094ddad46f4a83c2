//! Who waits for the outcome of what he asked for, and what he is told.

use log::{error, info};
use serde_json::json;
use tokio::sync::oneshot;

use super::control::Reply;
use crate::clock::Instant;
use crate::handover::Outcome;
use crate::wire::{Drained, History};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Reload,
    Upgrade,
    End,
}

/// Somebody who waits; a signal waits for nothing, but the log wants to know.
#[derive(Debug)]
pub struct Waiting {
    what: What,
    reply: Option<oneshot::Sender<Reply>>,
    began: Instant,
    drained: Vec<Drained>,
}

impl Waiting {
    fn new(what: What, reply: Option<oneshot::Sender<Reply>>) -> Waiting {
        Waiting { what, reply, began: Instant::now(), drained: Vec::new() }
    }

    /// For another configuration.
    pub fn reload(reply: Option<oneshot::Sender<Reply>>) -> Waiting {
        Waiting::new(What::Reload, reply)
    }

    /// For another executable.
    pub fn upgrade(reply: Option<oneshot::Sender<Reply>>) -> Waiting {
        Waiting::new(What::Upgrade, reply)
    }

    /// For the end, which is the answer.
    pub fn for_the_end(reply: oneshot::Sender<Reply>) -> Waiting {
        Waiting::new(What::End, Some(reply))
    }

    /// A worker has finished meanwhile.
    pub fn add(&mut self, drained: Drained) {
        self.drained.push(drained);
    }

    /// What this means for what has happened so far.
    pub fn count(&self, outcome: &Outcome, history: &mut History) {
        match (self.what, outcome) {
            (What::Reload, Outcome::Done) => {
                history.reloads += 1;
                history.reload_stands = true;
            }
            (What::Reload, _) => {
                history.reloads_refused += 1;
                history.reload_stands = false;
            }
            (What::Upgrade, Outcome::Done) => history.upgrades += 1,
            (What::Upgrade, outcome) => {
                history.upgrades_failed += 1;
                history.rollbacks += u64::from(matches!(outcome, Outcome::RolledBack(_)));
            }
            (What::End, _) => {}
        }
    }

    /// Says what came of it, to whoever asked and to the log.
    pub fn answer(self, outcome: &Outcome, sockets: usize) {
        let message = self.message(outcome);
        match outcome {
            Outcome::Done => info!("{message}"),
            Outcome::Failed(..) | Outcome::RolledBack(_) => error!("{message}"),
        }
        let report = self.report(outcome, sockets);
        let usage = matches!(outcome, Outcome::Failed(_, true));
        if let Some(reply) = self.reply {
            let done = *outcome == Outcome::Done;
            let _ = reply.send(Reply { done, usage, message, report }); // who asked may have gone
        }
    }

    fn message(&self, outcome: &Outcome) -> String {
        let (done, undone) = match self.what {
            What::Reload => ("reloaded", "not reloaded, and nothing has changed"),
            What::Upgrade => ("upgraded", "not upgraded, and nothing has changed"),
            What::End => ("stopped", "not stopped"),
        };
        match outcome {
            Outcome::Done => format!("{done} in {:.1?}", self.began.elapsed()),
            // Diagnostics begin with their file and line, each on a line of its own, so that editors find them.
            Outcome::Failed(why, true) => format!("{undone}:\n{why}"),
            Outcome::Failed(why, false) => format!("{undone}: {why}"),
            Outcome::RolledBack(why) => {
                format!(
                    "{done}, and taken back: {why}; the executable and the configuration from before serve again"
                )
            }
        }
    }

    fn report(&self, outcome: &Outcome, sockets: usize) -> serde_json::Value {
        let (name, why) = match outcome {
            Outcome::Done => ("done", None),
            Outcome::Failed(why, _) => ("failed", Some(why)),
            Outcome::RolledBack(why) => ("rolled_back", Some(why)),
        };
        let sum = |part: fn(&Drained) -> u64| self.drained.iter().map(part).sum::<u64>();
        json!({
            "outcome": name,
            "reason": why,
            "adopted": sockets,
            "drained": sum(|drained| drained.drained),
            "forced": sum(|drained| drained.forced),
            "seconds": (self.began.elapsed().as_secs_f64() * 1000.0).round() / 1000.0,
        })
    }
}
