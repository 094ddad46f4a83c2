//! Which worker serves, which is to follow it, and what happens when one of them does not do what it should.
//!
//! A worker that is replaced goes through the same steps whatever the reason:
//!
//! ```text
//! spawned ──► starting ──► prepared ──► serving ──► draining ──► gone
//!             reads the config,  could serve;   takes in   finishes what
//!             adopts sockets,    answered a     clients    is under way
//!             checks endpoints   request of
//!                                its own
//! ```
//!
//! What must never happen is that nobody serves because of a hand-over. So the old worker is told to drain only when the
//! new one *serves*; until then anything may go wrong with the new one (it cannot be started, ends, hangs, does not like
//! its configuration) and all that happens is that somebody is told so. After an upgrade there is *probation*: the new
//! worker is looked at closely, and if it ends, does not answer its own requests or fails clearly more requests than the old
//! one did, the old executable is brought back. And whoever serves and ends without having been told to is
//! replaced at once; only one who does so again and again [waits](backoff) a little.
//!
//! This is a decision: what has happened and `now` go in, deeds come out. It knows no process, no socket and no clock.

pub mod backoff;
pub mod judge;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::clock::{Duration, Moment};
use crate::limits::{HANG, HANG_ON_PROBATION, KILL_GRACE, PROBATION_MORE};
use backoff::Backoff;
use judge::{Judge, Tally};

/// One worker; numbers are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub u64);

/// A program that workers can be started from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Executable(pub u64);

/// Somebody who waits for the outcome of what he asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ask(pub u64);

/// How long what may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// From the start of a worker until it could serve.
    pub ready_timeout: Duration,
    /// How long an upgraded worker is looked at closely.
    pub probation: Duration,
    /// How long a draining worker has at most, its lame-duck time included.
    pub drain_timeout: Duration,
    /// Most workers that drain at a time.
    pub max_generations: usize,
}

/// Which configuration a worker reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words {
    /// The file, as it is now.
    File,
    /// The text that was applied last: the file may have been spoilt meanwhile.
    Applied,
    /// The text before the one that came with an upgrade; it is the applied one from now on.
    Before,
}

/// Something has happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Happened {
    /// The process has begun.
    Begun,
    /// A worker could serve.
    Prepared(WorkerId),
    /// A worker serves.
    Serving(WorkerId),
    /// A worker says that it cannot; `usage`: the configuration is to blame.
    Failed(WorkerId, String, bool),
    /// A worker's process has ended, like this.
    Gone(WorkerId, String),
    /// A worker was asked how it is.
    Asked(WorkerId),
    /// A worker has said whether it is well, and what it has done so far.
    Health(WorkerId, bool, Tally),
    /// Somebody wants another executable.
    Upgrade(Ask, Executable),
    /// Somebody wants what a running worker cannot change, with this configuration.
    Swap(Ask, Words),
    /// Finish what is under way, and end. A second time: end at once.
    Stop,
    /// End at once.
    Quit,
    /// Time has passed.
    Time,
}

/// Something is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Deed {
    /// Start a worker.
    Spawn {
        /// Its number.
        worker: WorkerId,
        /// From this program.
        executable: Executable,
        /// With this configuration.
        words: Words,
        /// Another one serves meanwhile.
        beside: bool,
    },
    /// Have it take in clients.
    Accept(WorkerId),
    /// Its sockets and its configuration are the present ones.
    Adopt(WorkerId),
    /// Have it finish. `last`: nobody follows.
    Drain {
        /// Which one.
        worker: WorkerId,
        /// Nobody follows.
        last: bool,
    },
    /// Have it end now, cutting what is under way.
    Cut(WorkerId),
    /// End it.
    Kill(WorkerId),
    /// Say what came of it.
    Tell(Ask, Outcome),
    /// This is the program from now on, for the supervisor too.
    Settle(Executable),
    /// Something that people want to know.
    Note(Note),
    /// The process ends with this status.
    Exit(u8),
}

/// What came of something that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was not; nobody noticed.
    Failed(String, bool),
    /// It was done, and taken back.
    RolledBack(String),
    /// It was done, should have been taken back, and cannot be.
    Stuck(String),
}

/// Something that people want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A worker ended without having been told to.
    Crashed(WorkerId, String),
    /// A worker that drains has ended.
    Drained(WorkerId, String),
    /// A worker has not been heard of for too long.
    Hangs(WorkerId),
    /// More workers drain than may; the oldest is cut.
    TooMany(WorkerId),
    /// A worker serves, and nobody did before.
    Serves(WorkerId),
}

/// Where a worker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stand {
    /// Not ready yet.
    Starting,
    /// It was told to take in clients.
    Accepting,
    /// It does.
    Serving,
    /// It finishes what it has.
    Draining,
    /// It was told to end now.
    Cut,
}

#[derive(Clone, Debug)]
struct Worker {
    id: WorkerId,
    stand: Stand,
    /// When it came to stand there.
    since: Moment,
    /// When it must be gone, if it is to go.
    until: Moment,
    /// How often it was asked since it was last heard to be well.
    unanswered: u32,
    /// How often in a row it was not.
    ill: u32,
    tally: Tally,
    judge: Judge,
}

/// A change of workers that somebody waits for.
#[derive(Clone, Debug)]
struct Change {
    ask: Ask,
    candidate: WorkerId,
    executable: Executable,
    is_upgrade: bool,
    stage: Stage,
}

#[derive(Clone, Debug)]
enum Stage {
    /// The candidate is on its way; the old worker has noticed nothing.
    Coming,
    /// The candidate serves, and is looked at.
    Probation { until: Moment, before: Tally, begun: Tally },
    /// The candidate has failed while it served; one of the old executable is on its way.
    GoingBack { why: String },
}

/// How often in a row a worker on probation may say that it is not well.
const ILL: u32 = 2;

/// Who serves, who follows, who drains.
#[derive(Debug)]
pub struct Handover {
    policy: Policy,
    executable: Executable,
    workers: Vec<Worker>,
    active: Option<WorkerId>,
    change: Option<Change>,
    backoff: Backoff,
    respawn: Option<Moment>,
    has_served: bool,
    stopping: Option<Moment>,
    last: u64,
    ended: bool,
}

impl Handover {
    /// Nobody serves yet; workers are numbered from the one after `last`.
    pub fn new(policy: Policy, executable: Executable, last: u64) -> Handover {
        Handover {
            policy,
            executable,
            workers: Vec::new(),
            active: None,
            change: None,
            backoff: Backoff::default(),
            respawn: None,
            has_served: false,
            stopping: None,
            last,
            ended: false,
        }
    }

    /// Goes on where another supervisor has left: a worker that serves, and others that drain.
    pub fn resume(&mut self, worker: WorkerId, serves: bool, now: Moment) {
        let stand = if serves { Stand::Serving } else { Stand::Draining };
        self.enrol(worker, stand, now);
        self.last = self.last.max(worker.0);
        if serves {
            self.active = Some(worker);
            self.has_served = true;
        }
    }

    /// The number of the last worker.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// The configuration says otherwise.
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// Who serves, or will as soon as it can.
    pub fn active(&self) -> Option<WorkerId> {
        self.active
    }

    /// Who may serve next.
    pub fn candidate(&self) -> Option<WorkerId> {
        self.change
            .as_ref()
            .map(|change| change.candidate)
            .filter(|candidate| Some(*candidate) != self.active)
    }

    /// Whether a hand-over is under way.
    pub fn is_changing(&self) -> bool {
        self.change.is_some()
    }

    /// Whether the end was asked for.
    pub fn is_stopping(&self) -> bool {
        self.stopping.is_some()
    }

    /// Every worker and where it stands.
    pub fn workers(&self) -> impl Iterator<Item = (WorkerId, Stand)> {
        self.workers.iter().map(|worker| (worker.id, worker.stand))
    }

    /// Where a worker stands.
    pub fn stand(&self, id: WorkerId) -> Option<Stand> {
        self.worker(id).map(|worker| worker.stand)
    }

    /// What is to be done about what has happened, in this order.
    pub fn handle(&mut self, happened: Happened, now: Moment) -> Vec<Deed> {
        let mut deeds = Vec::new();
        match happened {
            Happened::Begun => self.spawn_active(Words::Applied, now, &mut deeds),
            Happened::Prepared(id) => self.prepared(id, now, &mut deeds),
            Happened::Serving(id) => self.serving(id, now, &mut deeds),
            Happened::Failed(id, why, usage) => self.dismiss(id, &why, usage, now, &mut deeds),
            Happened::Gone(id, how) => self.lose(id, &how, false, now, &mut deeds),
            Happened::Asked(id) => self.asked(id, now, &mut deeds),
            Happened::Health(id, well, tally) => self.hear(id, well, tally, now, &mut deeds),
            Happened::Upgrade(ask, executable) => {
                self.change(ask, executable, (true, Words::File), now, &mut deeds)
            }
            Happened::Swap(ask, words) => self.change(ask, self.executable, (false, words), now, &mut deeds),
            Happened::Stop => self.stop(now, &mut deeds),
            Happened::Quit => self.quit(now, &mut deeds),
            Happened::Time => self.pass(now, &mut deeds),
        }
        self.thin_out(now, &mut deeds);
        self.end(&mut deeds);
        deeds
    }

    fn spawn(
        &mut self,
        executable: Executable,
        words: Words,
        now: Moment,
        deeds: &mut Vec<Deed>,
    ) -> WorkerId {
        self.last += 1;
        let worker = WorkerId(self.last);
        let beside = self.workers.iter().any(|worker| worker.stand == Stand::Serving);
        self.enrol(worker, Stand::Starting, now);
        deeds.push(Deed::Spawn { worker, executable, words, beside });
        worker
    }

    fn enrol(&mut self, id: WorkerId, stand: Stand, now: Moment) {
        let (tally, judge) = (Tally::default(), Judge::default());
        let until = now + self.policy.drain_timeout;
        self.workers.push(Worker { id, stand, since: now, until, unanswered: 0, ill: 0, tally, judge });
    }

    fn spawn_active(&mut self, words: Words, now: Moment, deeds: &mut Vec<Deed>) {
        self.respawn = None;
        self.active = Some(self.spawn(self.executable, words, now, deeds));
    }

    fn prepared(&mut self, id: WorkerId, now: Moment, deeds: &mut Vec<Deed>) {
        let expected = self.active == Some(id) || self.candidate() == Some(id);
        if expected && self.step(id, Stand::Starting, Stand::Accepting, now) {
            deeds.push(Deed::Accept(id));
        }
    }

    fn serving(&mut self, id: WorkerId, now: Moment, deeds: &mut Vec<Deed>) {
        if !self.step(id, Stand::Accepting, Stand::Serving, now) {
            return;
        }
        deeds.push(Deed::Adopt(id));
        match self.change.take() {
            Some(change) if change.candidate == id => self.take_over(change, now, deeds),
            other => {
                self.change = other;
                self.has_served = true;
                self.backoff.served(now);
                deeds.push(Deed::Note(Note::Serves(id)));
            }
        }
    }

    /// The candidate serves: the one before it can go.
    fn take_over(&mut self, change: Change, now: Moment, deeds: &mut Vec<Deed>) {
        let before = self.active.and_then(|old| self.worker(old)).map(|old| old.judge.recent());
        let old = self.active.replace(change.candidate);
        self.respawn = None;
        if let Some(old) = old {
            self.retire(old, now, deeds);
        }
        match change.stage {
            Stage::GoingBack { why } => deeds.push(Deed::Tell(change.ask, Outcome::RolledBack(why))),
            _ if change.is_upgrade => {
                let until = now + self.policy.probation;
                let begun = self.worker(change.candidate).map(|worker| worker.tally).unwrap_or_default();
                let stage = Stage::Probation { until, before: before.unwrap_or_default(), begun };
                self.change = Some(Change { stage, ..change });
            }
            _ => deeds.push(Deed::Tell(change.ask, Outcome::Done)),
        }
    }

    /// One that serves finishes; one that does not even do that is of no use.
    fn retire(&mut self, id: WorkerId, now: Moment, deeds: &mut Vec<Deed>) {
        if self.step(id, Stand::Serving, Stand::Draining, now) {
            deeds.push(Deed::Drain { worker: id, last: false });
        } else if self.remove(id).is_some() {
            deeds.push(Deed::Kill(id));
        }
    }

    /// Ends a worker that is of no use, and goes on without it.
    fn dismiss(&mut self, id: WorkerId, why: &str, usage: bool, now: Moment, deeds: &mut Vec<Deed>) {
        if self.worker(id).is_some() {
            deeds.push(Deed::Kill(id));
            self.lose(id, why, usage, now, deeds);
        }
    }

    fn lose(&mut self, id: WorkerId, how: &str, usage: bool, now: Moment, deeds: &mut Vec<Deed>) {
        let Some(worker) = self.remove(id) else { return };
        if matches!(worker.stand, Stand::Draining | Stand::Cut) || self.stopping.is_some() {
            deeds.push(Deed::Note(Note::Drained(id, how.to_owned())));
            return;
        }
        let was_active = self.active == Some(id);
        if was_active {
            self.active = None;
            deeds.push(Deed::Note(Note::Crashed(id, how.to_owned())));
        }
        match self.change.take() {
            Some(change) if change.candidate == id => {
                self.lose_candidate(change, was_active, how, usage, now, deeds)
            }
            other => self.change = other,
        }
        if was_active && !self.is_going_back() {
            self.replace(usage, now, deeds);
        }
    }

    fn is_going_back(&self) -> bool {
        matches!(&self.change, Some(Change { stage: Stage::GoingBack { .. }, .. }))
    }

    fn lose_candidate(
        &mut self,
        change: Change,
        served: bool,
        how: &str,
        usage: bool,
        now: Moment,
        deeds: &mut Vec<Deed>,
    ) {
        match change.stage {
            Stage::Probation { .. } if served => self.go_back(change, how.to_owned(), now, deeds),
            Stage::GoingBack { why } => {
                let outcome = match self.active {
                    Some(_) => Outcome::Stuck(format!("{why}; the executable from before: {how}")),
                    None => Outcome::RolledBack(why),
                };
                deeds.push(Deed::Tell(change.ask, outcome));
                if self.active.is_none() {
                    self.replace(usage, now, deeds);
                }
            }
            _ => deeds.push(Deed::Tell(change.ask, Outcome::Failed(how.to_owned(), usage))),
        }
    }

    /// Brings the old executable back. Whoever serves goes on until that one does.
    fn go_back(&mut self, change: Change, why: String, now: Moment, deeds: &mut Vec<Deed>) {
        let candidate = self.spawn(self.executable, Words::Before, now, deeds);
        let executable = self.executable;
        self.change = Some(Change { candidate, executable, stage: Stage::GoingBack { why }, ..change });
    }

    /// Somebody has to serve. The first one ever that cannot is the operator's to mend.
    fn replace(&mut self, usage: bool, now: Moment, deeds: &mut Vec<Deed>) {
        if !self.has_served {
            self.ended = true;
            deeds.push(Deed::Exit(if usage { 2 } else { 1 }));
            return;
        }
        let pause = self.backoff.crashed(now);
        if pause.is_zero() {
            self.spawn_active(Words::Applied, now, deeds);
        } else {
            self.respawn = Some(now + pause);
        }
    }

    /// Who does not answer hangs. Questions are counted, and not the time: where the whole machine stood still, nobody was
    /// asked.
    fn asked(&mut self, id: WorkerId, now: Moment, deeds: &mut Vec<Deed>) {
        let most = if self.is_on_probation(id) { HANG_ON_PROBATION } else { HANG };
        let serving = |worker: &&mut Worker| worker.id == id && worker.stand == Stand::Serving;
        let Some(worker) = self.workers.iter_mut().find(serving) else { return };
        worker.unanswered += 1;
        if worker.unanswered > most {
            let why = format!("it was asked {most} times, and has not been well since");
            deeds.push(Deed::Note(Note::Hangs(id)));
            self.dismiss(id, &why, false, now, deeds);
        }
    }

    fn is_on_probation(&self, id: WorkerId) -> bool {
        let of_it =
            |change: &Change| change.candidate == id && matches!(change.stage, Stage::Probation { .. });
        self.change.as_ref().is_some_and(of_it)
    }

    fn hear(&mut self, id: WorkerId, well: bool, tally: Tally, now: Moment, deeds: &mut Vec<Deed>) {
        let Some(worker) = self.workers.iter_mut().find(|worker| worker.id == id) else { return };
        worker.tally = tally;
        worker.judge.note(tally, now);
        worker.ill = if well { 0 } else { worker.ill + 1 };
        if well {
            worker.unanswered = 0;
        }
        if let Some(why) = self.fault_on_probation(id) {
            self.condemn(why, now, deeds);
        }
    }

    fn fault_on_probation(&self, id: WorkerId) -> Option<String> {
        let change = self.change.as_ref().filter(|change| change.candidate == id)?;
        let Stage::Probation { before, begun, .. } = change.stage else { return None };
        let worker = self.worker(id)?;
        if worker.ill >= ILL {
            return Some("it does not answer its own requests".into());
        }
        judge::is_worse(before, worker.tally.since(begun))
    }

    /// The candidate serves badly: back to the old executable.
    fn condemn(&mut self, why: String, now: Moment, deeds: &mut Vec<Deed>) {
        if let Some(change) = self.change.take() {
            self.go_back(change, why, now, deeds);
        }
    }

    fn change(
        &mut self,
        ask: Ask,
        executable: Executable,
        (is_upgrade, words): (bool, Words),
        now: Moment,
        deeds: &mut Vec<Deed>,
    ) {
        if let Some(why) = self.objection() {
            deeds.push(Deed::Tell(ask, Outcome::Failed(why.into(), false)));
            return;
        }
        let candidate = self.spawn(executable, words, now, deeds);
        self.change = Some(Change { ask, candidate, executable, is_upgrade, stage: Stage::Coming });
    }

    /// Why there can be no hand-over now.
    pub fn objection(&self) -> Option<&'static str> {
        match () {
            () if self.is_stopping() => Some("the proxy is stopping"),
            () if self.change.is_some() => Some("another hand-over is under way"),
            () if self.active.and_then(|id| self.stand(id)) != Some(Stand::Serving) => {
                Some("no worker serves at the moment")
            }
            () => None,
        }
    }

    fn stop(&mut self, now: Moment, deeds: &mut Vec<Deed>) {
        if self.stopping.is_some() {
            return self.quit(now, deeds);
        }
        self.stopping = Some(now);
        self.abandon(deeds);
        for id in self.ids() {
            match self.stand(id) {
                Some(Stand::Starting | Stand::Accepting) => {
                    self.remove(id);
                    deeds.push(Deed::Kill(id));
                }
                Some(Stand::Serving) => {
                    self.step(id, Stand::Serving, Stand::Draining, now);
                    deeds.push(Deed::Drain { worker: id, last: true });
                }
                _ => {}
            }
        }
    }

    /// Nobody is waited for any more.
    fn abandon(&mut self, deeds: &mut Vec<Deed>) {
        self.respawn = None;
        if let Some(change) = self.change.take() {
            let outcome = match change.stage {
                Stage::GoingBack { why } => Outcome::RolledBack(why),
                _ => Outcome::Failed("the proxy is stopping".into(), false),
            };
            deeds.push(Deed::Tell(change.ask, outcome));
        }
    }

    fn quit(&mut self, now: Moment, deeds: &mut Vec<Deed>) {
        self.stopping.get_or_insert(now);
        self.abandon(deeds);
        for id in self.ids() {
            self.cut(id, now, deeds);
        }
    }

    fn cut(&mut self, id: WorkerId, now: Moment, deeds: &mut Vec<Deed>) {
        let Some(worker) = self.workers.iter_mut().find(|worker| worker.id == id) else { return };
        if worker.stand != Stand::Cut {
            (worker.stand, worker.since) = (Stand::Cut, now);
            deeds.push(Deed::Cut(id));
        }
    }

    fn pass(&mut self, now: Moment, deeds: &mut Vec<Deed>) {
        for id in self.ids() {
            if let Some(why) = self.overdue(id, now) {
                self.dismiss(id, &why, false, now, deeds);
            }
        }
        if self.respawn.is_some_and(|at| now >= at) {
            self.spawn_active(Words::Applied, now, deeds);
        }
        self.end_probation(now, deeds);
    }

    fn end_probation(&mut self, now: Moment, deeds: &mut Vec<Deed>) {
        let workers = &self.workers;
        let answers = |id: WorkerId| workers.iter().any(|worker| worker.id == id && worker.unanswered <= 1);
        if let Some(Change { stage: Stage::Probation { until, .. }, candidate, .. }) = &mut self.change
            && now >= *until
            && !answers(*candidate)
        {
            *until = now + PROBATION_MORE; // it may hang already: let it answer first, or be found out
        }
        let is_over =
            |change: &Change| matches!(change.stage, Stage::Probation { until, .. } if now >= until);
        if let Some(change) = self.change.take_if(|change| is_over(change)) {
            self.executable = change.executable;
            deeds.push(Deed::Tell(change.ask, Outcome::Done));
            deeds.push(Deed::Settle(change.executable));
        }
    }

    /// Until when a worker must have done what is expected of it.
    fn deadline(&self, worker: &Worker) -> Option<Moment> {
        match worker.stand {
            Stand::Starting | Stand::Accepting => Some(worker.since + self.policy.ready_timeout),
            Stand::Serving => None,
            Stand::Draining => Some(worker.until + KILL_GRACE),
            Stand::Cut => Some(worker.since + KILL_GRACE),
        }
    }

    fn overdue(&self, id: WorkerId, now: Moment) -> Option<String> {
        let worker = self.worker(id)?;
        if now < self.deadline(worker)? {
            return None;
        }
        Some(match worker.stand {
            Stand::Starting | Stand::Accepting => {
                format!("it was not ready within {:?}", self.policy.ready_timeout)
            }
            _ => "it did not end when it was told to".into(),
        })
    }

    /// When time itself makes a difference next.
    pub fn due(&self) -> Option<Moment> {
        let deadlines = self.workers.iter().filter_map(|worker| self.deadline(worker));
        let probation = self.change.as_ref().and_then(|change| match change.stage {
            Stage::Probation { until, .. } => Some(until),
            _ => None,
        });
        deadlines.chain(self.respawn).chain(probation).min()
    }

    /// Old workers must not pile up.
    fn thin_out(&mut self, now: Moment, deeds: &mut Vec<Deed>) {
        let draining = self.workers.iter().filter(|worker| worker.stand == Stand::Draining);
        let oldest: Vec<WorkerId> = draining.map(|worker| worker.id).collect();
        let surplus = oldest.len().saturating_sub(self.policy.max_generations);
        for id in oldest.into_iter().take(surplus).filter(|_| self.stopping.is_none()).collect::<Vec<_>>() {
            deeds.push(Deed::Note(Note::TooMany(id)));
            self.cut(id, now, deeds);
        }
    }

    fn end(&mut self, deeds: &mut Vec<Deed>) {
        if self.stopping.is_some() && self.workers.is_empty() && !self.ended {
            self.ended = true;
            deeds.push(Deed::Exit(0));
        }
    }

    fn step(&mut self, id: WorkerId, from: Stand, to: Stand, now: Moment) -> bool {
        let worker = self.workers.iter_mut().find(|worker| worker.id == id && worker.stand == from);
        // By the policy of this moment: the configuration that follows may be less patient.
        let until = now + self.policy.drain_timeout;
        worker.map(|worker| (worker.stand, worker.since, worker.until) = (to, now, until)).is_some()
    }

    fn worker(&self, id: WorkerId) -> Option<&Worker> {
        self.workers.iter().find(|worker| worker.id == id)
    }

    fn remove(&mut self, id: WorkerId) -> Option<Worker> {
        let at = self.workers.iter().position(|worker| worker.id == id)?;
        Some(self.workers.remove(at))
    }

    fn ids(&self) -> Vec<WorkerId> {
        self.workers.iter().map(|worker| worker.id).collect()
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {}", self.0)
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::Crashed(id, how) => write!(f, "{id} is lost: {how}"),
            Note::Drained(id, how) => write!(f, "{id} has ended: {how}"),
            Note::Hangs(id) => write!(f, "{id} hangs, and is killed"),
            Note::TooMany(id) => write!(f, "too many workers drain, so {id}, the oldest, ends now"),
            Note::Serves(id) => write!(f, "{id} serves"),
        }
    }
}
