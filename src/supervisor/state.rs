//! Who waits for the outcome of what he asked for, and what he is told.

use std::sync::Arc;

use log::{error, info, warn};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::control::Reply;
use crate::clock::{Duration, Instant};
use crate::handover::{Outcome, Words};
use crate::history::History;
use crate::limits::LONGEST_TRIAL;
use crate::wire::Drained;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Reload,
    /// To the configuration before the last.
    Return,
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
    /// It is gone back from, unless confirmed so soon; to this text.
    confirm: Option<(Duration, Arc<str>)>,
    /// It is this that is gone back to.
    back_to: Option<Arc<str>>,
    /// The executable that was opened for it.
    program: Option<u64>,
    /// What the worker has said of it.
    changes: Value,
}

/// A configuration that is served by for the time being.
#[derive(Debug)]
pub struct Trial {
    /// Until then.
    pub until: Instant,
    /// Served by after that.
    pub text: Arc<str>,
}

impl Waiting {
    fn new(what: What, reply: Option<oneshot::Sender<Reply>>) -> Waiting {
        Waiting {
            what,
            reply,
            began: Instant::now(),
            drained: Vec::new(),
            confirm: None,
            back_to: None,
            program: None,
            changes: Value::Null,
        }
    }

    /// For another configuration.
    pub fn reload(reply: Option<oneshot::Sender<Reply>>) -> Waiting {
        Waiting::new(What::Reload, reply)
    }

    /// For another configuration, which is gone back from to this text, unless it is confirmed so soon.
    pub fn on_trial(self, span: Duration, text: Arc<str>) -> Waiting {
        Waiting { confirm: Some((span, text)), ..self }
    }

    /// For the configuration that was there before one that nobody has confirmed.
    pub fn return_from_trial(text: Arc<str>) -> Waiting {
        Waiting { back_to: Some(text), ..Waiting::new(What::Return, None) }
    }

    /// The executable that it is for.
    pub fn program(&self) -> Option<u64> {
        self.program
    }

    /// It is for this executable.
    pub fn set_program(&mut self, program: u64) {
        self.program = Some(program);
    }

    /// The trial that begins if it is done.
    pub fn trial(&self) -> Option<Trial> {
        let (span, text) = self.confirm.as_ref()?;
        Some(Trial { until: Instant::now() + (*span).min(LONGEST_TRIAL), text: text.clone() })
    }

    /// The text that was to be gone back to.
    pub fn return_text(&self) -> Option<Arc<str>> {
        self.back_to.clone()
    }

    /// By which configuration another worker would do it.
    pub fn words(&self) -> Words {
        if self.what == What::Return { Words::Before } else { Words::File }
    }

    /// What the worker says of it.
    pub fn say(&mut self, changes: Value) {
        self.changes = changes;
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
            // Done or not, what is served by is not what the file says.
            (What::Reload | What::Return, _) => {
                history.reloads_refused += 1;
                history.reload_stands = false;
            }
            // It has read the file, and serves by it.
            (What::Upgrade, Outcome::Done) => {
                history.upgrades += 1;
                history.reload_stands = true;
            }
            (What::Upgrade, outcome) => {
                history.upgrades_failed += 1;
                history.rollbacks += u64::from(matches!(outcome, Outcome::RolledBack(_)));
            }
            (What::End, _) => {}
        }
    }

    /// Says that it was not even begun.
    pub fn decline(self, why: &str) {
        let message = self.message(&Outcome::Failed(why.into(), false));
        warn!("{message}");
        if let Some(reply) = self.reply {
            let _ = reply.send(Reply::refused(message)); // who asked may have gone
        }
    }

    /// Says what came of it, to whoever asked and to the log.
    pub fn answer(self, outcome: &Outcome, sockets: usize) {
        let message = self.message(outcome);
        match outcome {
            Outcome::Done => info!("{message}"),
            Outcome::Failed(..) | Outcome::RolledBack(_) | Outcome::Stuck(_) => error!("{message}"),
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
            What::Return => (
                "nobody has confirmed the last reload: the configuration from before serves again",
                "nobody has confirmed the last reload, but it cannot be gone back from",
            ),
            What::Upgrade => ("upgraded", "not upgraded, and nothing has changed"),
            What::End => ("stopped", "not stopped"),
        };
        match outcome {
            Outcome::Done => {
                let mut message = format!("{done} in {:.1?}", self.began.elapsed());
                if let Some(changes) = self.changes["text"].as_str() {
                    message = format!("{message}: {changes}");
                }
                if let Some((span, _)) = &self.confirm {
                    message = format!(
                        "{message}\ngone back from in {span:?}, unless `tetap confirm` is said before"
                    );
                }
                message
            }
            // Diagnostics begin with their file and line, each on a line of its own, so that editors find them.
            Outcome::Failed(why, true) => format!("{undone}:\n{why}"),
            Outcome::Failed(why, false) => format!("{undone}: {why}"),
            Outcome::Stuck(why) => {
                format!("{done}, and what it has gone over to does badly, but cannot be taken back: {why}")
            }
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
            Outcome::Stuck(why) => ("stuck", Some(why)),
        };
        let sum = |part: fn(&Drained) -> u64| self.drained.iter().map(part).sum::<u64>();
        json!({
            "outcome": name,
            "reason": why,
            "changes": self.changes["report"],
            "adopted": sockets,
            "drained": sum(|drained| drained.drained),
            "forced": sum(|drained| drained.forced),
            "seconds": (self.began.elapsed().as_secs_f64() * 1000.0).round() / 1000.0,
        })
    }
}
