//! The process that stays: it owns the listening sockets, starts workers and buries them.
//!
//! It is process 1 of a container, and what a service manager watches. So it does as little as it can: it speaks no HTTP
//! and reads no configuration, both of which the workers do, in processes of their own. What it knows of the
//! configuration, a worker has told it. What is to be done about what happens, [`handover`](crate::handover) says;
//! here it is done, in one task on one thread, and nothing in that task waits.
//!
//! The sockets are never closed while anybody is to listen on them: a client that comes when there is no worker waits in a
//! queue and is served by the next.

pub mod child;
pub mod control;
pub mod held;
pub mod lent;
pub mod service;
mod signals;
mod state;
mod status;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use log::{error, info, warn};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Duration, Interval, interval, sleep};

use crate::clock::Clock;
use crate::handover::judge::Tally;
use crate::handover::{
    Ask, Deed, Executable, Handover, Happened, Note, Outcome, Policy, Words as Text, WorkerId,
};
use crate::limits::{CONFIG_BYTES, KILL_GRACE, LAST_WORDS, WORDS};
use crate::wire::{Health, History, Order, PROTOCOL, Place, Report, Role, Settings, Wanted, frame};
use child::{Child, Prepared, Program, Word, Words, ending};
use control::{Asked, Control, Reply, Request};
use held::Held;
use lent::Lent;
use service::Service;
use signals::{Caught, Signals};
use state::Waiting;

/// What a supervisor begins with.
#[derive(Debug)]
pub struct Start {
    /// The configuration's file.
    pub config: PathBuf,
    /// What was in it when it was checked.
    pub text: String,
    /// What of it concerns the supervisor.
    pub settings: Settings,
    /// Where commands are taken.
    pub control: PathBuf,
    /// It was said where: without it there is nothing to begin with.
    pub control_needed: bool,
}

/// Supervises until the end; the exit status.
///
/// # Errors
/// It could not even begin.
pub fn run(start: Start) -> io::Result<u8> {
    let lent = Lent::from_environment(); // before the runtime, which may have threads
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { Ok(Supervisor::new(start, lent)?.supervise().await) })
}

/// What comes from elsewhere.
#[derive(Debug)]
enum Event {
    /// Its sockets are open, or one cannot be had.
    Opened(WorkerId, Result<Vec<Held>, (Place, io::Error)>),
    /// Its last words are over.
    LastWords(WorkerId),
    /// It should have ended by now.
    Overdue(WorkerId),
}

struct Supervisor {
    clock: Clock,
    handover: Handover,
    config: PathBuf,
    settings: Settings,
    /// The text that is served by, and the one before it.
    applied: Arc<str>,
    before: Arc<str>,
    programs: BTreeMap<u64, Program>,
    children: BTreeMap<WorkerId, Child>,
    held: Vec<Held>,
    waiting: BTreeMap<Ask, Waiting>,
    history: History,
    /// A reload was asked for by a signal while another change was under way.
    reload_pending: bool,
    asks: u64,
    control: Option<PathBuf>,
    lent: Lent,
    service: Service,
    exit: Option<u8>,
    signals: Signals,
    ticks: Interval,
    words: (Words, mpsc::Receiver<(WorkerId, Word)>),
    asked: mpsc::Receiver<Asked>,
    events: (mpsc::Sender<Event>, mpsc::Receiver<Event>),
}

impl Supervisor {
    fn new(start: Start, lent: Lent) -> io::Result<Supervisor> {
        let Start { config, text, settings, control, control_needed } = start;
        let signals = Signals::new()?;
        let executable = std::env::current_exe()?;
        let program = Program::open(&executable)?;
        let (asking, asked) = mpsc::channel(WORDS);
        let control = open_control(control, control_needed, asking)?;
        let text: Arc<str> = text.into();
        Ok(Supervisor {
            clock: Clock::start(),
            handover: Handover::new(policy(&settings), Executable(0), 0),
            config,
            settings,
            applied: text.clone(),
            before: text,
            programs: BTreeMap::from([(0, program)]),
            children: BTreeMap::new(),
            held: Vec::new(),
            waiting: BTreeMap::new(),
            history: History { reload_stands: true, ..History::default() },
            reload_pending: false,
            asks: 0,
            control,
            lent,
            service: Service::from_environment(),
            exit: None,
            signals,
            ticks: interval(Duration::from_secs(1)),
            words: mpsc::channel(WORDS),
            asked,
            events: mpsc::channel(WORDS),
        })
    }

    async fn supervise(mut self) -> u8 {
        self.happen(Happened::Begun);
        loop {
            if let Some(exit) = self.exit {
                return exit;
            }
            let now = self.clock.now();
            let due = self.handover.due().map_or(Duration::MAX, |due| due.since(now));
            tokio::select! {
                caught = self.signals.next() => self.catch(caught),
                Some((id, word)) = self.words.1.recv() => self.hear(id, word),
                Some(event) = self.events.1.recv() => self.note(event),
                Some((request, reply)) = self.asked.recv() => self.requested(request, reply),
                _ = self.ticks.tick() => self.ask_all(),
                () = self.service.due() => self.service.beat(),
                () = sleep(due) => self.happen(Happened::Time),
            }
        }
    }

    fn catch(&mut self, caught: Caught) {
        match caught {
            Caught::Stop => {
                info!("told to stop");
                self.happen(Happened::Stop);
            }
            Caught::Quit => {
                info!("told to stop at once");
                self.happen(Happened::Quit);
            }
            Caught::Reload if self.handover.is_changing() => self.reload_pending = true,
            Caught::Reload => self.reload(None),
            Caught::Upgrade => self.upgrade(None, None),
            Caught::Ended => self.reap(),
        }
    }

    fn requested(&mut self, request: Request, reply: oneshot::Sender<Reply>) {
        match request {
            Request::Status => drop(reply.send(self.status())),
            Request::Stop => {
                info!("told to stop");
                // Never answered: it is done when the process is gone, and with it the connection.
                let ask = self.ask();
                self.waiting.insert(ask, Waiting::for_the_end(reply));
                self.happen(Happened::Stop);
            }
            Request::Reload => self.reload(Some(reply)),
            Request::Upgrade { binary } => self.upgrade(binary, Some(reply)),
        }
    }

    fn ask(&mut self) -> Ask {
        self.asks += 1;
        Ask(self.asks)
    }

    fn reload(&mut self, reply: Option<oneshot::Sender<Reply>>) {
        let ask = self.ask();
        self.waiting.insert(ask, Waiting::reload(reply));
        self.service.reloading();
        self.happen(Happened::Swap(ask));
    }

    fn upgrade(&mut self, binary: Option<PathBuf>, reply: Option<oneshot::Sender<Reply>>) {
        let ask = self.ask();
        self.waiting.insert(ask, Waiting::upgrade(reply));
        self.service.reloading();
        let path = binary.unwrap_or_else(|| self.home());
        match Program::open(&path) {
            Ok(program) => {
                let number = self.programs.keys().last().map_or(0, |last| last + 1);
                self.programs.insert(number, program);
                self.happen(Happened::Upgrade(ask, Executable(number)));
            }
            Err(error) => {
                let why = format!("{}: {error}", path.display());
                self.perform(Deed::Tell(ask, Outcome::Failed(why, false)));
            }
        }
    }

    /// Where the executable that runs came from.
    fn home(&self) -> PathBuf {
        self.programs.first_key_value().map(|(_, program)| program.path().to_owned()).unwrap_or_default()
    }

    fn reap(&mut self) {
        // All of them, also those who were adopted because this is process 1.
        while let Ok(Some((pid, status))) = rustix::process::wait(rustix::process::WaitOptions::NOHANG) {
            let Some((id, child)) = self.children.iter_mut().find(|(_, child)| child.pid == pid) else {
                continue;
            };
            child.reaped = Some(ending(status.as_raw()));
            let id = *id;
            if child.silent {
                self.bury(id);
            } else {
                self.later(LAST_WORDS, Event::LastWords(id));
            }
        }
    }

    /// It is gone, and has said all that it had to say.
    fn bury(&mut self, id: WorkerId) {
        let Some(child) = self.children.remove(&id) else { return };
        let mut how = child.reaped.unwrap_or_else(|| "it could not be started".into());
        if let Some(drained) = child.drained {
            how = format!(
                "{} connections ended, {} were cut, in {:.1?}",
                drained.drained, drained.forced, drained.took
            );
        }
        self.happen(Happened::Gone(id, how));
    }

    fn later(&self, pause: Duration, event: Event) {
        let events = self.events.0.clone();
        tokio::spawn(async move {
            sleep(pause).await;
            let _ = events.send(event).await; // the process may be ending
        });
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::Opened(id, opened) => self.opened(id, opened),
            Event::LastWords(id) => self.bury(id),
            Event::Overdue(id) => {
                if let Some(child) = self.children.get(&id) {
                    child.kill();
                }
            }
        }
    }

    fn hear(&mut self, id: WorkerId, word: Word) {
        let Some(child) = self.children.get_mut(&id) else { return };
        let (report, beside) = match word {
            Word::Said(report, beside) => (*report, beside),
            Word::End => {
                child.silent = true;
                if child.is_gone() {
                    self.bury(id);
                } else {
                    self.later(KILL_GRACE, Event::Overdue(id));
                }
                return;
            }
        };
        match report {
            Report::Hello { protocol, version } => self.greet(id, protocol, version),
            Report::Bind { wanted } => self.open_for(id, wanted),
            Report::Prepared { places, settings } => self.prepared(id, places, settings, beside),
            Report::Serving => self.happen(Happened::Serving(id)),
            Report::Failed { reason, usage } => self.happen(Happened::Failed(id, reason, usage)),
            Report::Answer { health, .. } => self.answered(id, health),
            Report::Closed => child.closed = true,
            Report::Drained { drained } => {
                child.drained = Some(drained);
                self.waiting.values_mut().for_each(|waiting| waiting.add(drained));
            }
            Report::Estate { .. } | Report::Reloaded { .. } | Report::Told { .. } => {}
        }
    }

    fn greet(&mut self, id: WorkerId, protocol: u32, version: String) {
        if protocol > PROTOCOL {
            let why = format!(
                "tetap {version} speaks protocol {protocol} with its supervisor, and this one {PROTOCOL}: it needs a restart"
            );
            self.happen(Happened::Failed(id, why, false));
        } else if let Some(child) = self.children.get_mut(&id) {
            child.version = version;
        }
    }

    fn open_for(&mut self, id: WorkerId, mut wanted: Vec<Wanted>) {
        let is_leaving = |(other, child): (&WorkerId, &Child)| *other != id && !child.closed;
        let patient = self.children.iter().any(is_leaving);
        let events = self.events.0.clone();
        let lent = self.lent.give(&mut wanted);
        tokio::spawn(async move {
            let opened = async {
                let mut opened = lent?;
                opened.extend(held::open(&wanted, patient).await?);
                Ok(opened)
            };
            let opened = opened.await;
            let _ = events.send(Event::Opened(id, opened)).await; // the process may be ending
        });
    }

    fn opened(&mut self, id: WorkerId, opened: Result<Vec<Held>, (Place, io::Error)>) {
        let Some(child) = self.children.get_mut(&id) else { return };
        match opened.and_then(|opened| {
            let parcels = held::handed(&opened);
            let parcels = parcels.map_err(|error| (Place::Unix(PathBuf::new()), error))?;
            Ok((opened, parcels))
        }) {
            Ok((opened, parcels)) => {
                parcels.into_iter().for_each(|(order, beside)| child.order(order, beside));
                child.opened.extend(opened);
                child.order(Order::Bound { failed: None }, Vec::new());
            }
            Err((place, error)) => {
                child.order(Order::Bound { failed: Some((place, error.to_string())) }, Vec::new());
            }
        }
    }

    fn prepared(&mut self, id: WorkerId, places: Vec<Place>, settings: Settings, beside: Vec<OwnedFd>) {
        let text = beside.into_iter().next().map(|file| frame::contents(file, CONFIG_BYTES));
        let text = text.and_then(Result::ok).and_then(|text| String::from_utf8(text).ok());
        let Some(text) = text else {
            return self.happen(Happened::Failed(id, "it does not say what it serves by".into(), false));
        };
        if let Some(child) = self.children.get_mut(&id) {
            child.prepared = Some(Prepared { places, settings, text: text.into() });
        }
        self.happen(Happened::Prepared(id));
    }

    fn answered(&mut self, id: WorkerId, health: Health) {
        if let Some(child) = self.children.get_mut(&id) {
            child.health = health;
        }
        let tally = Tally { requests: health.requests, failures: health.failures };
        self.happen(Happened::Health(id, health.well, tally));
    }

    fn ask_all(&mut self) {
        self.asks += 1;
        for (id, stand) in self.handover.workers() {
            if stand == crate::handover::Stand::Serving
                && let Some(child) = self.children.get(&id)
            {
                child.ask(self.asks);
            }
        }
    }

    fn happen(&mut self, happened: Happened) {
        if matches!(happened, Happened::Stop | Happened::Quit) {
            self.service.stopping();
        }
        for deed in self.handover.handle(happened, self.clock.now()) {
            self.perform(deed);
        }
        if self.reload_pending && !self.handover.is_changing() && self.exit.is_none() {
            self.reload_pending = false;
            self.reload(None);
        }
    }

    fn perform(&mut self, deed: Deed) {
        match deed {
            Deed::Spawn { worker, executable, words, beside } => {
                self.spawn(worker, executable, words, beside)
            }
            Deed::Accept(id) => self.order(id, Order::Accept),
            Deed::Adopt(id) => self.adopt(id),
            Deed::Drain { worker, last } => self.drain(worker, last),
            Deed::Cut(id) => self.order(id, Order::Cut),
            Deed::Kill(id) => self.children.get(&id).into_iter().for_each(Child::kill),
            Deed::Tell(ask, outcome) => self.tell(ask, outcome),
            Deed::Settle(executable) => self.settle(executable),
            Deed::Note(note) => self.remark(&note),
            Deed::Exit(status) => self.exit = Some(status),
        }
    }

    fn order(&self, id: WorkerId, order: Order) {
        if let Some(child) = self.children.get(&id) {
            child.order(order, Vec::new());
        }
    }

    fn spawn(&mut self, id: WorkerId, executable: Executable, words: Text, beside: bool) {
        if words == Text::Before {
            self.applied = self.before.clone();
        }
        let text = (words != Text::File).then(|| self.applied.clone());
        if let Err(error) = self.try_spawn(id, executable, text, beside) {
            let gone = self.children.remove(&id).map(|child| child.kill());
            debug_assert!(gone.is_none() || error.kind() != io::ErrorKind::NotFound);
            self.happen(Happened::Gone(id, format!("it cannot be started: {error}")));
        }
    }

    fn try_spawn(
        &mut self,
        id: WorkerId,
        executable: Executable,
        text: Option<Arc<str>>,
        beside: bool,
    ) -> io::Result<()> {
        let program = self.programs.get(&executable.0).ok_or(io::ErrorKind::NotFound)?;
        let child = Child::start(id, program, &self.config, self.words.0.clone())?;
        let child = self.children.entry(id).or_insert(child);
        for (order, beside) in held::handed(&self.held)? {
            child.order(order, beside);
        }
        let has_text = text.is_some();
        let text = text.map(|text| frame::in_memory("tetap-configuration", text.as_bytes())).transpose()?;
        let begin = Order::Begin {
            generation: id.0,
            config: self.config.clone(),
            role: if beside { Role::Successor } else { Role::First },
            has_text,
            has_estate: false,
            history: self.history,
        };
        child.order(begin, text.into_iter().map(OwnedFd::from).collect());
        Ok(())
    }

    /// Its sockets and its configuration are the present ones.
    fn adopt(&mut self, id: WorkerId) {
        let Some(child) = self.children.get_mut(&id) else { return };
        let opened = std::mem::take(&mut child.opened);
        let Some(prepared) = &child.prepared else { return };
        let Prepared { places, settings, text } = prepared.clone();
        self.held.extend(opened);
        self.held.retain(|held| places.contains(&held.place));
        self.before = std::mem::replace(&mut self.applied, text);
        self.handover.set_policy(policy(&settings));
        self.settings = settings;
    }

    fn drain(&self, id: WorkerId, last: bool) {
        let Some(child) = self.children.get(&id) else { return };
        let is_left = |place: &&Place| !self.held.iter().any(|held| held.place == **place);
        let closing = match &child.prepared {
            Some(prepared) if !last => prepared.places.iter().filter(is_left).cloned().collect(),
            _ => Vec::new(),
        };
        child.order(Order::Drain { lame_duck: last.then_some(self.settings.lame_duck), closing }, Vec::new());
    }

    fn tell(&mut self, ask: Ask, outcome: Outcome) {
        let Some(waiting) = self.waiting.remove(&ask) else { return };
        waiting.count(&outcome, &mut self.history);
        let sockets = self.held.len();
        waiting.answer(&outcome, sockets);
        if self.waiting.is_empty() {
            self.service.reloaded();
        }
        self.children
            .values()
            .for_each(|child| child.order(Order::News { history: self.history }, Vec::new()));
    }

    /// The supervisor's own program is this one from now on.
    fn settle(&mut self, executable: Executable) {
        self.programs.retain(|number, _| *number == executable.0);
    }

    fn remark(&mut self, note: &Note) {
        match note {
            Note::Crashed(..) => {
                self.history.crashes += 1;
                error!("{note}");
                self.service.status(&note.to_string());
            }
            Note::Serves(_) => {
                info!("{note} by {}", self.config.display());
                self.service.ready();
            }
            Note::Drained(..) => info!("{note}"),
            Note::Hangs(_) | Note::TooMany(_) => warn!("{note}"),
        }
    }

    fn status(&self) -> Reply {
        status::reply(self)
    }
}

fn open_control(path: PathBuf, needed: bool, asking: mpsc::Sender<Asked>) -> io::Result<Option<PathBuf>> {
    match Control::open(&path) {
        Ok(control) => {
            tokio::spawn(async move {
                if let Err(error) = control.serve(asking).await {
                    error!("commands cannot be taken: {error}");
                }
            });
            Ok(Some(path))
        }
        Err(error) if needed => {
            Err(io::Error::other(format!("process.control: {}: {error}", path.display())))
        }
        Err(error) => {
            warn!("commands cannot be taken at {}: {error}", path.display());
            Ok(None)
        }
    }
}

fn policy(settings: &Settings) -> Policy {
    Policy {
        ready_timeout: settings.ready_timeout,
        probation: settings.probation,
        drain_timeout: settings.drain_timeout + settings.lame_duck,
        max_generations: settings.max_generations,
    }
}
