//! The process that stays: it owns the listening sockets, starts workers and buries them.
//!
//! It is process 1 of a container, and what a service manager watches. So it does as little as it can: it speaks no HTTP
//! and reads no configuration, both of which the workers do, in processes of their own. What it knows of the
//! configuration, a worker has told it. What is to be done about what happens, [`handover`](crate::handover) says;
//! here it is done, in one task on one thread, and nothing in that task waits.
//!
//! The sockets are never closed while anybody is to listen on them: a client that comes when there is no worker waits in a
//! queue and is served by the next.

mod change;
pub mod child;
pub mod control;
pub mod held;
pub mod lent;
pub mod service;
mod signals;
mod state;
mod status;
mod succeed;
pub mod succession;
mod watch;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use log::{error, info, warn};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Duration, Interval, MissedTickBehavior, interval, sleep};

use crate::clock::{Clock, Instant};
use crate::handover::judge::Tally;
use crate::handover::{
    Ask, Deed, Executable, Handover, Happened, Note, Outcome, Policy, Stand, Words, WorkerId,
};
use crate::history::History;
use crate::limits::{BEQUEATH_EVERY, BEQUEATH_TIME, CONFIG_BYTES, EVENTS, KILL_GRACE, LAST_CALL, LAST_WORDS};
use crate::wire::{Health, Order, PROTOCOL, Place, Report, Role, Settings, Wanted, frame};
use child::{Child, Ears, Prepared, Program, Who, Word, ending};
use control::{Asked, Control, Reply, Request};
use held::Held;
use lent::Lent;
use service::Service;
use signals::{Caught, Signals};
use state::{Trial, Waiting};
use watch::Watch;

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
    supervise(|| Supervisor::new(start, lent), Supervisor::begin)
}

/// Goes on where another program has left, in the same process; what it has left is behind this socket.
///
/// # Errors
/// It has left nothing that is understood.
pub fn resume(socket: &OwnedFd) -> io::Result<u8> {
    supervise(|| Supervisor::resume(socket), |_| {})
}

fn supervise(
    make: impl FnOnce() -> io::Result<Supervisor>,
    begin: impl FnOnce(&mut Supervisor),
) -> io::Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut supervisor = make()?;
        begin(&mut supervisor);
        Ok(supervisor.supervise().await)
    })
}

/// What comes from elsewhere.
#[derive(Debug)]
enum Event {
    /// Its sockets are open, or one cannot be had.
    Opened(WorkerId, Vec<Place>, Result<Vec<Held>, (Place, io::Error)>),
    /// Its last words are over.
    LastWords(WorkerId),
    /// It should have ended by now.
    Overdue(WorkerId),
    /// It has waited long enough for what another knows.
    Begin(WorkerId),
}

/// A reload that a worker is about to do.
#[derive(Debug)]
struct Reloading {
    worker: WorkerId,
    ask: Ask,
    generation: u64,
    until: Instant,
}

/// How far the way is to another program in this process.
#[derive(Debug, Default)]
enum Succession {
    /// There is none to go.
    #[default]
    None,
    /// The other program is asked, by this process, whether it understands the state.
    Examined(u32, Instant),
    /// It does.
    Understood,
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
    /// Somebody has served by the present text.
    has_served: bool,
    /// Why the last worker was lost.
    trouble: Option<String>,
    /// What the worker that serves has last said that it knows: a file, which is not looked at.
    estate: Option<OwnedFd>,
    /// How often it was told.
    learnt: u64,
    /// Workers that are about to begin, and by which text, if not by the file.
    beginning: BTreeMap<WorkerId, Option<Arc<str>>>,
    /// The history that workers know.
    told: History,
    /// A reload that a worker is about to do.
    reloading: Option<Reloading>,
    /// A configuration that is gone back from, unless it is confirmed.
    trial: Option<Trial>,
    /// Questions that a worker is to answer.
    questions: BTreeMap<u64, (WorkerId, Instant, oneshot::Sender<Reply>)>,
    /// The configuration's file, where it is watched.
    watch: Watch,
    /// A reload was asked for by a signal while another change was under way.
    reload_pending: bool,
    asks: u64,
    /// Since the beginning, in ticks.
    seconds: u64,
    /// The number of the last configuration that something was to serve by.
    generation: u64,
    control: Option<Control>,
    /// Sockets that the service manager lends.
    lent: Lent,
    /// Who workers run as, if not as this process.
    user: Option<Who>,
    /// Whoever manages services.
    service: Service,
    /// Whether this process is to go over to another program, too.
    succession: Succession,
    exit: Option<u8>,
    signals: Signals,
    ticks: Interval,
    words: (Ears, mpsc::Receiver<(WorkerId, Word)>),
    asked: (mpsc::Sender<Asked>, mpsc::Receiver<Asked>),
    events: (mpsc::Sender<Event>, mpsc::Receiver<Event>),
}

/// What a supervisor is made of.
struct Basis {
    signals: Signals,
    program: Program,
    config: PathBuf,
    settings: Settings,
    user: Option<Who>,
    /// That is served by, and the one before it.
    texts: (Arc<str>, Arc<str>),
    control: Option<Control>,
    lent: Lent,
    service: Service,
}

impl Supervisor {
    fn new(start: Start, lent: Lent) -> io::Result<Supervisor> {
        let Start { config, text, settings, control, control_needed } = start;
        let signals = Signals::new()?;
        succession::unblock_signals()?;
        let program = Program::open(&std::env::current_exe()?)?;
        let control = open_control(&control, control_needed)?;
        let text: Arc<str> = text.into();
        let service = Service::from_environment();
        let texts = (text.clone(), text);
        let user = settings.user.as_deref().map(child::user).transpose()?;
        Supervisor::on(Basis { signals, program, config, settings, user, texts, control, lent, service })
    }

    /// Knows nothing but this.
    fn on(basis: Basis) -> io::Result<Supervisor> {
        let Basis { signals, program, config, settings, user, texts, mut control, lent, service } = basis;
        let (applied, before) = texts;
        let (asking, asked) = mpsc::channel(EVENTS);
        let mut ticks = interval(Duration::from_secs(1));
        // After a time in which the machine stood still there is nothing to make up for.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        if let Some(control) = &mut control {
            control.serve(asking.clone())?;
        }
        Ok(Supervisor {
            clock: Clock::start(),
            handover: Handover::new(policy(&settings), Executable(0), 0),
            watch: Watch::of(&config),
            config,
            settings,
            applied,
            before,
            programs: BTreeMap::from([(0, program)]),
            children: BTreeMap::new(),
            held: Vec::new(),
            waiting: BTreeMap::new(),
            history: History::default(),
            told: History::default(),
            has_served: false,
            trouble: None,
            estate: None,
            learnt: 0,
            beginning: BTreeMap::new(),
            reloading: None,
            trial: None,
            questions: BTreeMap::new(),
            reload_pending: false,
            succession: Succession::None,
            asks: 0,
            seconds: 0,
            generation: 0,
            control,
            lent,
            user,
            service,
            exit: None,
            signals,
            ticks,
            words: mpsc::channel(EVENTS),
            asked: (asking, asked),
            events: mpsc::channel(EVENTS),
        })
    }

    fn begin(&mut self) {
        self.happen(Happened::Begun);
    }

    async fn supervise(mut self) -> u8 {
        loop {
            if let Some(exit) = self.exit {
                return exit;
            }
            self.succeed().await;
            let now = self.clock.now();
            let due = self.handover.due().map_or(Duration::MAX, |due| due.since(now));
            tokio::select! {
                caught = self.signals.next() => self.catch(caught),
                Some((id, word)) = self.words.1.recv() => self.hear(id, word),
                Some(event) = self.events.1.recv() => self.note(event),
                Some((request, reply)) = self.asked.1.recv() => self.requested(request, reply),
                _ = self.ticks.tick() => self.tick(),
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
            // And only once, however often it is said.
            Caught::Reload if self.is_changing() || self.is_without() => self.reload_pending = true,
            Caught::Reload => self.reload(None, None),
            Caught::Upgrade => self.upgrade(None, None),
            Caught::Ended => self.reap(),
        }
    }

    fn requested(&mut self, request: Request, reply: oneshot::Sender<Reply>) {
        match request {
            Request::Status => drop(reply.send(self.status())),
            Request::Stop => {
                // Never answered: it is done when the process is gone, and with it the connection.
                let ask = self.ask();
                self.waiting.insert(ask, Waiting::for_the_end(reply));
                // Who says it again waits, too. To cut what is under way takes a signal.
                if !self.handover.is_stopping() {
                    info!("told to stop");
                    self.happen(Happened::Stop);
                }
            }
            Request::Reload { confirm } => self.reload(confirm, Some(reply)),
            Request::Confirm => drop(reply.send(self.confirm())),
            Request::Plan => self.question(reply),
            Request::Upgrade { binary } => self.upgrade(binary, Some(reply)),
        }
    }

    fn ask(&mut self) -> Ask {
        self.asks += 1;
        Ask(self.asks)
    }

    /// Buries all who have ended, also those who were adopted because this is process 1.
    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = rustix::process::wait(rustix::process::WaitOptions::NOHANG) {
            let number = u32::try_from(pid.as_raw_nonzero().get()).unwrap_or_default();
            if matches!(self.succession, Succession::Examined(examiner, _) if examiner == number) {
                self.examined(status.exit_status() == Some(0));
            } else if let Some((id, child)) = self.children.iter_mut().find(|(_, child)| child.pid == pid) {
                child.reaped = Some(ending(status.as_raw()));
                let (id, silent) = (*id, child.silent);
                match silent {
                    true => self.bury(id),
                    false => self.later(LAST_WORDS, Event::LastWords(id)),
                }
            }
        }
    }

    /// It is gone, and has said all that it had to say.
    fn bury(&mut self, id: WorkerId) {
        let Some(child) = self.children.remove(&id) else { return };
        self.questions.retain(|_, (worker, ..)| *worker != id);
        if child.prepared.is_none() && child.inherits {
            self.estate = None; // it may be what it could not bear
        }
        let mut how = child.reaped.unwrap_or_else(|| "it could not be started".into());
        if let Some(drained) = child.drained {
            how = format!(
                "{} connections ended, {} were cut, in {:.1?}",
                drained.drained, drained.forced, drained.took
            );
        }
        if let Some(reload) = self.reloading.take_if(|reload| reload.worker == id) {
            self.tell(reload.ask, Outcome::Failed(format!("the worker was lost meanwhile: {how}"), false));
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
            Event::Opened(id, wanted, opened) => self.opened(id, &wanted, opened),
            Event::LastWords(id) => self.bury(id),
            Event::Begin(id) => self.begin_work(id),
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
            Report::Prepared { places, settings } => self.prepared(id, prepared(places, settings, beside)),
            Report::Serving => self.happen(Happened::Serving(id)),
            Report::Failed { reason, usage } => self.happen(Happened::Failed(id, reason, usage)),
            Report::Answer { health, .. } => self.answered(id, health),
            Report::Closed => self.closed(id),
            Report::Drained { drained } => {
                child.drained = Some(drained);
                self.waiting.values_mut().for_each(|waiting| waiting.add(drained));
            }
            Report::Reloaded { id: question, found, places, settings } => {
                let prepared = settings.and_then(|settings| prepared(places, settings, beside));
                self.reloaded(id, question, found, prepared);
            }
            Report::Told { id: question, found } => self.answer_question(question, found),
            Report::Estate { .. } => self.inherit(id, beside),
        }
    }

    /// Once nobody will listen any more, new clients are refused, and not left waiting for the last old one.
    fn closed(&mut self, id: WorkerId) {
        self.children.get_mut(&id).into_iter().for_each(|child| child.closed = true);
        if self.handover.is_stopping() && self.children.values().all(|child| child.closed) {
            self.held.clear();
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

    /// What is there is shared; all else is opened, or nothing is.
    fn open_for(&mut self, id: WorkerId, wanted: Vec<Wanted>) {
        let is_held = |wanted: &Wanted| self.held.iter().any(|held| held.place == wanted.place);
        let (there, mut missing): (Vec<_>, Vec<_>) = wanted.into_iter().partition(is_held);
        let there = there.into_iter().map(|wanted| wanted.place).collect();
        let events = self.events.0.clone();
        let lent = self.lent.give(&mut missing);
        tokio::spawn(async move {
            let opened = async {
                let mut opened = lent?;
                opened.extend(held::open(&missing).await?);
                Ok(opened)
            };
            let opened = opened.await;
            let _ = events.send(Event::Opened(id, there, opened)).await; // the process may be ending
        });
    }

    fn opened(&mut self, id: WorkerId, there: &[Place], opened: Result<Vec<Held>, (Place, io::Error)>) {
        let Some(child) = self.children.get_mut(&id) else { return };
        let failed = match opened {
            Ok(opened) => {
                let there = self.held.iter().filter(|held| there.contains(&held.place));
                let handed = held::handed(there.chain(&opened));
                child.opened.extend(opened);
                handed
                    .map(|parcels| parcels.into_iter().for_each(|(order, beside)| child.order(order, beside)))
                    .err()
            }
            Err((place, error)) => {
                return child.order(Order::Bound { failed: Some((place, error.to_string())) }, Vec::new());
            }
        };
        if let Some(error) = failed {
            // There are no descriptors left. What was asked for will be missed.
            error!("{id} cannot be given its sockets: {error}");
        }
        child.order(Order::Bound { failed: None }, Vec::new());
    }

    fn prepared(&mut self, id: WorkerId, prepared: Option<Prepared>) {
        if prepared.is_none() {
            return self.happen(Happened::Failed(id, "it does not say what it serves by".into(), false));
        }
        if let Some(child) = self.children.get_mut(&id) {
            child.prepared = prepared;
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

    /// Nobody serves at the moment, but somebody will.
    fn is_without(&self) -> bool {
        !self.handover.is_stopping() && self.objection().is_some()
    }

    fn tick(&mut self) {
        self.ask_all();
        self.seconds += 1;
        if self.seconds.is_multiple_of(BEQUEATH_EVERY) {
            self.have_bequeathed();
        }
        self.give_up();
        self.end_trial();
        if self.settings.watch && self.watch.has_changed(&self.config) {
            info!("{} has changed", self.config.display());
            self.catch(Caught::Reload);
        }
    }

    fn ask_all(&mut self) {
        self.asks += 1;
        let serving = self.handover.workers().filter(|(_, stand)| *stand == Stand::Serving);
        for id in serving.map(|(id, _)| id).collect::<Vec<_>>() {
            self.children.get(&id).into_iter().for_each(|child| child.ask(self.asks));
            self.happen(Happened::Asked(id));
        }
    }

    fn happen(&mut self, happened: Happened) {
        if matches!(happened, Happened::Stop | Happened::Quit) {
            self.service.stopping();
        }
        for deed in self.handover.handle(happened, self.clock.now()) {
            self.perform(deed);
        }
        self.catch_up();
    }

    /// Does what had to wait for a change to end, and has workers know what has happened.
    fn catch_up(&mut self) {
        if self.reload_pending && self.objection().is_none() && self.exit.is_none() {
            self.reload_pending = false;
            self.reload(None, None);
        }
        let is_draining = |(_, stand): &(WorkerId, Stand)| *stand == Stand::Draining;
        let draining = self.handover.workers().filter(is_draining).count() as u64;
        let history = History { draining, ..self.history };
        if history != self.told {
            self.told = history;
            self.serving().for_each(|child| child.order(Order::News { history }, Vec::new()));
        }
    }

    fn serving(&self) -> impl Iterator<Item = &Child> {
        let serving = self.handover.workers().filter(|(_, stand)| *stand == Stand::Serving);
        serving.filter_map(|(id, _)| self.children.get(&id))
    }

    fn perform(&mut self, deed: Deed) {
        match deed {
            Deed::Spawn { worker, executable, words, beside } => {
                self.spawn(worker, executable, words, beside)
            }
            Deed::Accept(id) => self.order(id, Order::Accept),
            Deed::Adopt(id) => self.adopt(id),
            Deed::Drain { worker, last } => self.drain(worker, last),
            Deed::Cut(id) => self.order(id, Order::Cut { within: self.last_call() }),
            Deed::Kill(id) => self.children.get(&id).into_iter().for_each(Child::kill),
            Deed::Tell(ask, outcome) => self.tell(ask, outcome),
            Deed::Settle(executable) => self.settle(executable),
            Deed::Note(note) => self.remark(&note),
            Deed::Exit(status) => self.exit = Some(status),
        }
    }

    /// Who only makes room for another says goodbye; who is told to end at once does not.
    fn last_call(&self) -> Duration {
        if self.handover.is_stopping() { Duration::ZERO } else { LAST_CALL }
    }

    fn order(&self, id: WorkerId, order: Order) {
        if let Some(child) = self.children.get(&id) {
            child.order(order, Vec::new());
        }
    }

    fn spawn(&mut self, id: WorkerId, executable: Executable, words: Words, beside: bool) {
        if words == Words::Before {
            self.applied = self.before.clone();
        }
        let text = (words != Words::File).then(|| self.applied.clone());
        if let Err(error) = self.try_spawn(id, executable, text, beside) {
            self.children.remove(&id).into_iter().for_each(|child| child.kill());
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
        let child = Child::start(id, program, &self.config, self.user, self.words.0.clone())?;
        self.generation += 1;
        let child = self.children.entry(id).or_insert(child);
        child.generation = self.generation;
        for (order, beside) in held::handed(&self.held)? {
            child.order(order, beside);
        }
        child.role = if beside { Role::Successor } else { Role::First };
        self.beginning.insert(id, text);
        match beside {
            true => {
                self.have_bequeathed();
                self.later(BEQUEATH_TIME, Event::Begin(id));
            }
            false => self.begin_work(id),
        }
        Ok(())
    }

    /// Has the worker that serves say what it knows: it may be followed at any time.
    fn have_bequeathed(&mut self) {
        let id = self.asks;
        self.serving().last().into_iter().for_each(|child| child.order(Order::Bequeath { id }, Vec::new()));
    }

    fn inherit(&mut self, from: WorkerId, beside: Vec<OwnedFd>) {
        if self.handover.active() == Some(from) {
            self.estate = beside.into_iter().next().or(self.estate.take());
            self.learnt += 1;
        }
        let waiting: Vec<WorkerId> = self.beginning.keys().copied().collect();
        waiting.into_iter().for_each(|id| self.begin_work(id));
    }

    /// Has a worker begin that has not.
    fn begin_work(&mut self, id: WorkerId) {
        let Some(text) = self.beginning.remove(&id) else { return };
        let Some(child) = self.children.get_mut(&id) else { return };
        child.inherits = self.estate.is_some();
        let begun = || -> io::Result<()> {
            let has_served = self.has_served && text.is_some();
            let text =
                text.map(|text| frame::in_memory("tetap-configuration", text.as_bytes())).transpose()?;
            let estate = self.estate.as_ref().map(OwnedFd::try_clone).transpose()?;
            let begin = Order::Begin {
                generation: child.generation,
                config: self.config.clone(),
                role: child.role,
                has_text: text.is_some(),
                has_estate: estate.is_some(),
                lent: self.lent.places(),
                has_served,
                history: self.history,
            };
            child.order(begin, text.into_iter().map(OwnedFd::from).chain(estate).collect());
            Ok(())
        };
        if let Err(error) = begun() {
            self.happen(Happened::Failed(id, format!("it cannot be told what to do: {error}"), false));
        }
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
        self.has_served = true;
        self.handover.set_policy(policy(&settings));
        // Who workers run as was decided at the start, by whoever had the right to.
        let user = self.settings.user.take();
        self.settings = Settings { user, ..settings };
    }

    fn drain(&self, id: WorkerId, last: bool) {
        let Some(child) = self.children.get(&id) else { return };
        let closing = match &child.prepared {
            Some(prepared) if !last => self.left(&prepared.places),
            _ => Vec::new(),
        };
        let lame_duck = last.then_some(self.settings.lame_duck);
        child.order(Order::Drain { lame_duck, closing }, Vec::new());
    }

    /// Where nobody is to listen any more.
    fn left(&self, places: &[Place]) -> Vec<Place> {
        let is_held = |place: &&Place| self.held.iter().any(|held| held.place == **place);
        places.iter().filter(|place| !is_held(place)).cloned().collect()
    }

    fn tell(&mut self, ask: Ask, outcome: Outcome) {
        let Some(waiting) = self.waiting.remove(&ask) else { return };
        if let (Some(program), true) = (waiting.program(), outcome != Outcome::Done) {
            self.programs.remove(&program);
        }
        waiting.count(&outcome, &mut self.history);
        self.note_trial(&waiting, &outcome);
        waiting.answer(&outcome, self.held.len());
        if self.waiting.is_empty() {
            self.service.reloaded();
        }
        self.catch_up();
    }

    fn remark(&mut self, note: &Note) {
        match note {
            Note::Crashed(_, how) => {
                self.history.crashes += 1;
                self.trouble = Some(how.clone());
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

/// What a worker says that it serves by, if it says all of it.
fn prepared(places: Vec<Place>, settings: Settings, beside: Vec<OwnedFd>) -> Option<Prepared> {
    let text = frame::contents(beside.into_iter().next()?, CONFIG_BYTES).ok()?;
    Some(Prepared { places, settings, text: String::from_utf8(text).ok()?.into() })
}

fn open_control(path: &Path, needed: bool) -> io::Result<Option<Control>> {
    match Control::open(path) {
        Ok(control) => Ok(Some(control)),
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
        drain_timeout: settings.drain_timeout.saturating_add(settings.lame_duck),
        max_generations: settings.max_generations,
    }
}
