//! What operators ask for: another configuration, another executable. One at a time.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::oneshot;

use super::child::{Prepared, Program};
use super::control::Reply;
use super::state::{Trial, Waiting};
use super::{Reloading, Succession, Supervisor};
use crate::clock::{Duration, Instant};
use crate::handover::{Ask, Deed, Executable, Happened, Outcome, Words, WorkerId};
use crate::limits::{EXAMINATION_TIME, RELOAD_TIME, RETURN_PAUSE};
use crate::wire::{Found, Order, frame};

impl Supervisor {
    pub(super) fn is_changing(&self) -> bool {
        self.reloading.is_some() || self.handover.is_changing()
    }

    /// Why nothing can be changed now.
    pub(super) fn objection(&self) -> Option<&'static str> {
        self.handover.objection().or(self.reloading.is_some().then_some("a reload is under way"))
    }

    /// Why there can be no other executable now.
    fn objection_to_upgrade(&self) -> Option<&'static str> {
        self.objection().or(self.trial.is_some().then_some("a reload waits to be confirmed"))
    }

    /// `confirm`: it is gone back from, unless it is confirmed so soon.
    pub(super) fn reload(&mut self, confirm: Option<Duration>, reply: Option<oneshot::Sender<Reply>>) {
        let waiting = Waiting::reload(reply);
        let last_confirmed = || self.trial.as_ref().map_or(&self.applied, |trial| &trial.text).clone();
        let waiting = match confirm {
            Some(span) => waiting.on_trial(span, last_confirmed()),
            None => waiting,
        };
        self.watch.read(&self.config);
        self.have_reloaded(waiting, None);
    }

    /// `text`: by this, and not by what the file says.
    fn have_reloaded(&mut self, waiting: Waiting, text: Option<Arc<str>>) {
        let ask = self.ask();
        self.waiting.insert(ask, waiting);
        self.service.reloading();
        match (self.objection(), self.handover.active()) {
            (None, Some(worker)) => {
                self.generation += 1;
                let (id, generation, has_text) = (ask.0, self.generation, text.is_some());
                let file =
                    text.map(|text| frame::in_memory("tetap-configuration", text.as_bytes())).transpose();
                let Ok(file) = file else {
                    return self.tell(ask, Outcome::Failed("there is no memory left".into(), false));
                };
                let until = Instant::now() + RELOAD_TIME;
                self.reloading = Some(Reloading { worker, ask, generation, until });
                if let Some(child) = self.children.get(&worker) {
                    let beside = file.into_iter().map(OwnedFd::from).collect();
                    child.order(Order::Reload { id, generation, has_text }, beside);
                }
            }
            (why, _) => self.decline(ask, why.unwrap_or("no worker serves")),
        }
    }

    /// What was done by a reload is kept for the time being, or is to be gone back from again. A reload that says nothing of
    /// it changes nothing of a trial: it may be a signal that something else has sent.
    pub(super) fn note_trial(&mut self, waiting: &Waiting, outcome: &Outcome) {
        match (outcome, waiting.return_text()) {
            (Outcome::Done, _) => self.trial = waiting.trial().or(self.trial.take()),
            (_, Some(text)) => self.trial = Some(Trial { until: Instant::now() + RETURN_PAUSE, text }),
            _ => {}
        }
    }

    /// Not even begun, and so neither done nor refused.
    pub(super) fn decline(&mut self, ask: Ask, why: &str) {
        let waiting = self.waiting.remove(&ask);
        if let Some(text) = waiting.as_ref().and_then(Waiting::return_text) {
            self.trial = Some(Trial { until: Instant::now() + RETURN_PAUSE, text });
        }
        waiting.into_iter().for_each(|waiting| waiting.decline(why));
        if self.waiting.is_empty() {
            self.service.reloaded();
        }
    }

    /// Nobody waits for a worker for ever that answers, but not this.
    pub(super) fn give_up(&mut self) {
        let now = Instant::now();
        if let Some(reload) = self.reloading.take_if(|reload| now >= reload.until) {
            let why =
                format!("the worker has not answered within {RELOAD_TIME:?}, and may still go over to it");
            self.tell(reload.ask, Outcome::Failed(why, false));
        }
        let (late, waiting) =
            std::mem::take(&mut self.questions).into_iter().partition(|(_, (_, until, _))| now >= *until);
        self.questions = waiting;
        let late: BTreeMap<_, _> = late;
        for (_, _, reply) in late.into_values() {
            let _ = reply.send(Reply::refused("the worker has not answered in time")); // who asked may have gone
        }
        if let Succession::Examined(examiner, since) = &self.succession
            && now.duration_since(*since) >= EXAMINATION_TIME
            && let Some(examiner) = i32::try_from(*examiner).ok().and_then(Pid::from_raw)
        {
            let _ = kill_process(examiner, Signal::KILL); // it has not been buried yet
        }
    }

    pub(super) fn confirm(&mut self) -> Reply {
        match self.trial.take() {
            Some(_) => Reply { done: true, message: "confirmed".into(), ..Reply::default() },
            None => Reply::refused("there is nothing to confirm"),
        }
    }

    /// Goes back, when the time for it has come, and nothing else is under way.
    pub(super) fn end_trial(&mut self) {
        let is_over = |trial: &mut Trial| Instant::now() >= trial.until;
        if self.objection().is_none()
            && let Some(trial) = self.trial.take_if(is_over)
        {
            self.before = trial.text.clone(); // for the case that it takes another process
            self.have_reloaded(Waiting::return_from_trial(trial.text.clone()), Some(trial.text));
        }
    }

    /// Has the worker say what a reload would change.
    pub(super) fn question(&mut self, reply: oneshot::Sender<Reply>) {
        let id = self.ask().0;
        match self.handover.active().filter(|_| self.objection().is_none()) {
            Some(worker) => {
                self.questions.insert(id, (worker, Instant::now() + RELOAD_TIME, reply));
                self.order(worker, Order::Plan { id });
            }
            None => {
                let why = self.objection().unwrap_or("no worker serves");
                let _ = reply.send(Reply::refused(why)); // who asked may have gone
            }
        }
    }

    pub(super) fn answer_question(&mut self, question: u64, found: Found) {
        let Some((_, _, reply)) = self.questions.remove(&question) else { return };
        let answer = match found {
            Found::Done(told) => {
                let message = told["text"].as_str().unwrap_or_default().to_owned();
                Reply { done: true, message, report: told["report"].clone(), usage: false }
            }
            Found::NeedsSwap => Reply::refused("it is not known"),
            Found::Refused { reason, usage } => Reply { usage, ..Reply::refused(reason) },
        };
        let _ = reply.send(answer); // who asked may have gone
    }

    /// The worker says what came of it.
    pub(super) fn reloaded(&mut self, id: WorkerId, question: u64, found: Found, prepared: Option<Prepared>) {
        let asked = self.reloading.take_if(|reload| reload.worker == id && reload.ask.0 == question);
        let Some(Reloading { ask, generation, .. }) = asked else {
            // It was given up, but done all the same. Of one that was followed since, it does not matter.
            if let (Found::Done(_), Some(prepared)) = (found, prepared)
                && self.handover.active() == Some(id)
            {
                self.go_over(id, prepared, self.generation);
            }
            return;
        };
        match (found, prepared) {
            (Found::Done(changes), Some(prepared)) => {
                self.go_over(id, prepared, generation);
                self.waiting.get_mut(&ask).into_iter().for_each(|waiting| waiting.say(changes.clone()));
                self.tell(ask, Outcome::Done);
            }
            (Found::Done(_), None) => {
                self.tell(ask, Outcome::Failed("it does not say what it serves by".into(), false));
            }
            (Found::NeedsSwap, _) => {
                let words = self.waiting.get(&ask).map_or(Words::File, Waiting::words);
                self.happen(Happened::Swap(ask, words));
            }
            (Found::Refused { reason, usage }, _) => {
                if let Some(child) = self.children.get_mut(&id) {
                    child.opened.clear();
                }
                self.tell(ask, Outcome::Failed(reason, usage));
            }
        }
    }

    /// A worker serves by another configuration than before.
    pub(super) fn go_over(&mut self, id: WorkerId, prepared: Prepared, generation: u64) {
        let Some(child) = self.children.get_mut(&id) else { return };
        child.prepared = Some(prepared);
        child.generation = generation;
        self.adopt(id);
        self.order(id, Order::Release);
    }

    pub(super) fn upgrade(&mut self, binary: Option<PathBuf>, reply: Option<oneshot::Sender<Reply>>) {
        let ask = self.ask();
        self.waiting.insert(ask, Waiting::upgrade(reply));
        self.service.reloading();
        if let Some(why) = self.objection_to_upgrade() {
            return self.decline(ask, why);
        }
        let path = binary.unwrap_or_else(|| self.home());
        match Program::open(&path) {
            Ok(program) => {
                let number = self.programs.keys().last().map_or(0, |last| last + 1);
                self.programs.insert(number, program);
                self.waiting.entry(ask).and_modify(|waiting| waiting.set_program(number));
                self.happen(Happened::Upgrade(ask, Executable(number)));
            }
            Err(error) => {
                let why = format!("{}: {error}", path.display());
                self.perform(Deed::Tell(ask, Outcome::Failed(why, false)));
            }
        }
    }

    /// Where the executable that runs came from.
    pub(super) fn home(&self) -> PathBuf {
        self.programs.first_key_value().map(|(_, program)| program.path().to_owned()).unwrap_or_default()
    }
}
