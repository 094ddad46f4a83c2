//! A worker under a supervisor: it does what it is told, in this order.
//!
//! ```text
//! worker      Hello ─► Bind ─► Prepared ─►         Serving ─► Answer … ─►       Closed ─► Drained ─► (ends)
//! supervisor      Sockets, Begin ─► Bound ─► Accept ─►    Ask … ─►      Drain ─►
//! ```
//!
//! Signals are the supervisor's affair: a service manager that sends TERM to every process of the group, or a terminal
//! that does so with INT, must not end a worker whose successor does not serve yet. What a worker hears of instead is the
//! end of its conversation: then there is no supervisor any more, and it finishes what it has, leaving the addresses
//! to whoever comes next.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use log::{error, info, warn};
use parking_lot::Mutex;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::error::Elapsed;
use tokio_util::task::AbortOnDropHandle;

use super::assignment::{self, Assignment, Orders, Parcel, Refusal};
use super::doors::Unopened;
use super::life::Life;
use super::places;
use super::reload::{self, Outcome, Reload};
use super::worker::{RunError, Worker};
use crate::clock::{Duration, Instant};
use crate::limits::{CONTROL_CONNECTIONS, DRAIN_NEWS, ORDERS};
use crate::plan::diff::Changes;
use crate::plan::{Address, Plan};
use crate::sockets::Unlink;
use crate::wire::{Channel, Drained, Found, Health, Order, Place, Report, Role, Settings, frame};

/// Serves as the supervisor at the other end says, until it says that it is over.
///
/// # Errors
/// There is no supervisor.
pub fn work(socket: OwnedFd) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let socket = rustix::io::fcntl_dupfd_cloexec(&socket, 0)?;
    let (taken, socket) = runtime.block_on(async {
        let channel = Channel::new(socket)?;
        let taken = assignment::take_up(&channel).await;
        Ok::<_, io::Error>((taken, channel.into_inner()?))
    })?;
    match taken.and_then(|work| work.map(begin).transpose()) {
        Ok(None) => {}
        Ok(Some((worker, duty))) => worker.serve(Steward { socket: Mutex::new(Some(socket)), duty }),
        Err(refusal) => runtime.block_on(async {
            let Refusal { reason, usage } = refusal;
            Channel::new(socket)?.send(&Report::Failed { reason, usage }, &[]).await
        })?,
    }
    Ok(())
}

fn begin(work: Assignment) -> Result<(Worker, Duty), Refusal> {
    let Assignment { generation, role, config, plan, text, sockets, heritage, lent, has_served, history } =
        work;
    let worker = Worker::build(plan, sockets, generation, &heritage, has_served)?;
    let life = worker.life.clone();
    life.runtime.metrics().tell(&history);
    Ok((worker, Duty { life, role, config, text, lent }))
}

/// What of a plan concerns the supervisor.
pub fn settings(plan: &Plan) -> Settings {
    let process = &plan.process;
    Settings {
        ready_timeout: process.ready_timeout,
        probation: process.probation,
        drain_timeout: process.drain_timeout,
        lame_duck: process.lame_duck,
        max_generations: process.max_generations,
        watch: process.watch,
        user: process.user.clone(),
    }
}

fn places_of(plan: &Plan) -> Vec<Place> {
    places::needs(plan).into_iter().map(|need| need.wanted.place).collect()
}

/// Listens to the supervisor.
struct Steward {
    socket: Mutex<Option<OwnedFd>>,
    duty: Duty,
}

#[async_trait]
impl ShutdownSignalWatch for Steward {
    async fn recv(&self) -> ShutdownSignal {
        let ignored = [
            SignalKind::terminate(),
            SignalKind::interrupt(),
            SignalKind::hangup(),
            SignalKind::user_defined2(),
        ];
        let _ignored: Vec<_> = ignored.map(signal).into_iter().collect();
        let socket = self.socket.lock().take();
        let channel = socket.map(Channel::new).unwrap_or_else(|| Err(io::Error::other("it is taken")));
        let outcome = match channel {
            Ok(channel) => self.duty.attend(Arc::new(channel)).await,
            Err(error) => Err(error),
        };
        if let Err(lost) = outcome {
            error!("the conversation with the supervisor has failed: {lost}");
        }
        ShutdownSignal::FastShutdown
    }
}

/// What a worker has to do, and what it tells.
struct Duty {
    life: Arc<Life>,
    role: Role,
    config: PathBuf,
    text: String,
    /// Sockets that belong to somebody else, who goes on listening when nobody here does.
    lent: Vec<Place>,
}

/// How it is told to go.
struct Farewell {
    /// Nobody follows; and for how long new clients are served still.
    last: Option<Duration>,
    /// Nobody will listen there any more.
    closing: Vec<Place>,
}

impl Duty {
    async fn attend(&self, channel: Arc<Channel>) -> io::Result<()> {
        let Ended::Done(prepared) = or_cut(&channel, self.prepare()).await? else { return Ok(()) };
        if let Err(unopened) = prepared {
            return fail(&channel, unopened).await;
        }
        self.tell_prepared(&channel).await?;
        if !wait_for_accept(&channel).await? {
            return Ok(());
        }
        if let Err(unopened) = self.open().await {
            return fail(&channel, unopened).await;
        }
        channel.send(&Report::Serving, &[]).await?;
        match self.serve(&channel).await? {
            Some(farewell) => self.drain(&channel, farewell).await,
            None => Ok(()),
        }
    }

    /// Where nobody serves, whoever asks `/ready` is told that it is coming; where somebody does, that one answers.
    async fn prepare(&self) -> Result<(), Unopened> {
        if self.role == Role::First {
            self.life.open_admin().await?;
        }
        self.life.prepare().await
    }

    async fn open(&self) -> Result<(), Unopened> {
        self.life.open_admin().await?;
        self.life.open().await
    }

    async fn tell_prepared(&self, channel: &Channel) -> io::Result<()> {
        let snapshot = self.life.runtime.snapshot();
        let (places, settings) = (places_of(snapshot.plan()), settings(snapshot.plan()));
        let text = as_file(&self.text)?;
        channel.send(&Report::Prepared { places, settings }, &[text.as_fd()]).await
    }

    /// `None`: it is to end at once.
    async fn serve(&self, channel: &Arc<Channel>) -> io::Result<Option<Farewell>> {
        let mut tasks = Tasks::default();
        let mut orders: &Channel = channel;
        while let Some((order, beside)) = orders.next().await? {
            match order {
                Order::Ask { id } => tasks.answer(&self.life, channel, id),
                Order::Reload { id, generation, has_text } => {
                    let text = has_text.then(|| assignment::text_of(beside.into_iter().next())).transpose();
                    self.reload(id, generation, text, channel, &mut tasks).await?;
                }
                Order::Bequeath { id } => tasks.bequeath(&self.life, channel, id),
                Order::Plan { id } => tasks.plan(self, channel, id),
                order @ (Order::Sockets { .. } | Order::Bound { .. }) => tasks.pass_on((order, beside)),
                Order::Release => self.release().await,
                Order::News { history } => self.life.runtime.metrics().tell(&history),
                Order::Drain { lame_duck, closing } => {
                    return Ok(Some(Farewell { last: lame_duck, closing }));
                }

                Order::Cut { .. } => return Ok(None),
                _ => {}
            }
        }
        warn!("there is no supervisor any more: finishing what is under way");
        Ok(Some(Farewell { last: Some(Duration::ZERO), closing: Vec::new() }))
    }

    async fn reload(
        &self,
        id: u64,
        generation: u64,
        text: io::Result<Option<String>>,
        channel: &Arc<Channel>,
        tasks: &mut Tasks,
    ) -> io::Result<()> {
        let (life, config) = (self.life.clone(), self.config.clone());
        let reload = text.map(|text| Reload { life, config, text, generation });
        match reload.map(|reload| tasks.reload(id, reload, channel)) {
            Ok(true) => Ok(()),
            Ok(false) => refuse(channel, id, "another reload is under way".into()).await,
            Err(error) => refuse(channel, id, error.to_string()).await,
        }
    }

    /// What the present plan does not listen on any more, nobody will.
    async fn release(&self) {
        let (snapshot, patience) = (self.life.runtime.snapshot(), self.life.patience());
        let is_lent = |address: &Address| self.lent.contains(&places::place(address));
        self.life.doors.lock().await.release(&snapshot.plan().listeners, patience, &is_lent);
    }

    async fn drain(&self, channel: &Arc<Channel>, farewell: Farewell) -> io::Result<()> {
        let Farewell { last, closing } = farewell;
        let life = &self.life;
        match last {
            Some(lame_duck) => {
                life.announce();
                if let Ended::Cut(_) = or_cut(channel, tokio::time::sleep(lame_duck)).await? {
                    return Ok(());
                }
                self.remove_files();
            }
            None => life.admin.lock().await.close(),
        }
        let (began, before) = (Instant::now(), life.connections.len() as u64);
        let _news = AbortOnDropHandle::new(tokio::spawn(tell_what_is_left(life.clone(), channel.clone())));
        let has_successor = |address: &Address| {
            let place = places::place(address);
            self.lent.contains(&place) || (last.is_none() && !closing.contains(&place))
        };
        life.close(&has_successor).await;
        life.loops.wait().await;
        let _ = channel.send(&Report::Closed, &[]).await; // without a supervisor nobody needs to know
        let ended = tokio::time::timeout(life.patience(), life.drained());
        let ended = match or_cut(channel, ended).await? {
            Ended::Done(ended) => ended,
            Ended::Cut(within) => self.hasten(within).await,
        };
        let forced = life.connections.len() as u64;
        match ended {
            Ok(()) => info!("drained in {:.1?}", began.elapsed()),
            Err(_) => warn!("{forced} connections did not end within {:.1?} and are cut", began.elapsed()),
        }
        let drained = Drained { drained: before.saturating_sub(forced), forced, took: began.elapsed() };
        let _ = channel.send(&Report::Drained { drained }, &[]).await;
        Ok(())
    }

    /// Says goodbye to those who are left, where there is time for it.
    async fn hasten(&self, within: Duration) -> Result<(), Elapsed> {
        self.life.doors.lock().await.hasten(within);
        tokio::time::timeout(within, self.life.drained()).await
    }

    /// The way to a unix socket ends before the socket does.
    fn remove_files(&self) {
        for listener in &self.life.runtime.snapshot().plan().listeners {
            if let Address::Unix(path) = &listener.address
                && !self.lent.contains(&Place::Unix(path.clone()))
            {
                drop(Unlink::of(path));
            }
        }
    }
}

/// What is done beside listening to the supervisor; given up when this is dropped.
#[derive(Default)]
struct Tasks {
    answering: Option<AbortOnDropHandle<()>>,
    bequeathing: Option<AbortOnDropHandle<()>>,
    planning: Vec<AbortOnDropHandle<()>>,
    reloading: Option<(mpsc::Sender<Parcel>, AbortOnDropHandle<()>)>,
}

impl Tasks {
    /// Who is asked again before it has answered has nothing to add.
    fn answer(&mut self, life: &Arc<Life>, channel: &Arc<Channel>, id: u64) {
        if self.answering.as_ref().is_none_or(|answering| answering.is_finished()) {
            let answer = answer(life.clone(), channel.clone(), id);
            self.answering = Some(AbortOnDropHandle::new(tokio::spawn(answer)));
        }
    }

    /// As [`answer`](Tasks::answer).
    fn bequeath(&mut self, life: &Arc<Life>, channel: &Arc<Channel>, id: u64) {
        if self.bequeathing.as_ref().is_none_or(|bequeathing| bequeathing.is_finished()) {
            let bequeath = bequeath(life.clone(), channel.clone(), id);
            self.bequeathing = Some(AbortOnDropHandle::new(tokio::spawn(bequeath)));
        }
    }

    /// As many at a time as there can be commands.
    fn plan(&mut self, duty: &Duty, channel: &Arc<Channel>, id: u64) {
        self.planning.retain(|planning| !planning.is_finished());
        if self.planning.len() < CONTROL_CONNECTIONS {
            let plan = plan_and_tell(id, duty.config.clone(), duty.life.clone(), channel.clone());
            self.planning.push(AbortOnDropHandle::new(tokio::spawn(plan)));
        }
    }

    /// Whether it was begun.
    fn reload(&mut self, id: u64, reload: Reload, channel: &Arc<Channel>) -> bool {
        if self.reloading.as_ref().is_some_and(|(_, reloading)| !reloading.is_finished()) {
            return false;
        }
        let (orders, ordered) = mpsc::channel(ORDERS);
        let task = tokio::spawn(reload_and_tell(id, reload, channel.clone(), ordered));
        self.reloading = Some((orders, AbortOnDropHandle::new(task)));
        true
    }

    /// What was asked for by a reload.
    fn pass_on(&self, parcel: Parcel) {
        if let Some((orders, _)) = &self.reloading {
            let _ = orders.try_send(parcel); // it was given up
        }
    }
}

async fn reload_and_tell(id: u64, reload: Reload, channel: Arc<Channel>, mut orders: mpsc::Receiver<Parcel>) {
    let told = match reload.perform(&channel, &mut orders).await {
        Ok(Outcome::Done { text, changes, next }) => {
            tell_reloaded(&channel, id, &text, &changes, next.plan()).await
        }
        Ok(Outcome::NeedsSwap) => tell(&channel, id, Found::NeedsSwap).await,
        Ok(Outcome::Over) => Ok(()),
        Err(Refusal { reason, usage }) => tell(&channel, id, Found::Refused { reason, usage }).await,
    };
    if let Err(lost) = told {
        error!("the supervisor does not hear what came of the reload: {lost}");
    }
}

async fn tell_reloaded(
    channel: &Channel,
    id: u64,
    text: &str,
    changes: &Changes,
    plan: &Plan,
) -> io::Result<()> {
    let (found, places, settings) = (Found::Done(told(changes)), places_of(plan), Some(settings(plan)));
    let text = as_file(text)?;
    channel.send(&Report::Reloaded { id, found, places, settings }, &[text.as_fd()]).await
}

/// Tells what it has learnt. With many endpoints that is some work.
async fn bequeath(life: Arc<Life>, channel: Arc<Channel>, id: u64) {
    let written = move || {
        let bytes = life.runtime.snapshot().bequeath().to_bytes();
        frame::in_memory("tetap-estate", &bytes)
    };
    match tokio::task::spawn_blocking(written).await {
        Ok(Ok(file)) => {
            let _ = channel.send(&Report::Estate { id }, &[file.as_fd()]).await; // who asked may be gone
        }
        _ => warn!("what was learnt cannot be told: there is no memory left"),
    }
}

/// What changes, for people and for programs.
fn told(changes: &Changes) -> Value {
    json!({"text": changes.to_string(), "report": changes})
}

async fn plan_and_tell(id: u64, config: PathBuf, life: Arc<Life>, channel: Arc<Channel>) {
    let found = match reload::foresee(&life, config).await {
        Ok(changes) => Found::Done(told(&changes)),
        Err(Refusal { reason, usage }) => Found::Refused { reason, usage },
    };
    let _ = channel.send(&Report::Told { id, found }, &[]).await; // who asked may be gone
}

async fn refuse(channel: &Channel, id: u64, reason: String) -> io::Result<()> {
    tell(channel, id, Found::Refused { reason, usage: false }).await
}

async fn tell(channel: &Channel, id: u64, found: Found) -> io::Result<()> {
    channel.send(&Report::Reloaded { id, found, places: Vec::new(), settings: None }, &[]).await
}

fn as_file(text: &str) -> io::Result<std::fs::File> {
    frame::in_memory("tetap-configuration", text.as_bytes())
}

async fn fail(channel: &Channel, unopened: Unopened) -> io::Result<()> {
    let reason = RunError::from(unopened).to_string();
    channel.send(&Report::Failed { reason, usage: false }, &[]).await
}

/// Says how it is: whether it answers itself, and what it has done so far.
async fn answer(life: Arc<Life>, channel: Arc<Channel>, id: u64) {
    let itself = life.doors.lock().await.asker();
    let well = itself.ask().await;
    if let Err(unwell) = &well {
        warn!("it does not answer itself: {unwell}");
    }
    let (requests, failures) = life.runtime.snapshot().totals();
    let connections = life.connections.len() as u64;
    let health = Health { well: well.is_ok(), requests, failures, connections };
    let _ = channel.send(&Report::Answer { id, health }, &[]).await; // who asked may be gone
}

/// Whoever waits for the last client wants to know how many there are.
async fn tell_what_is_left(life: Arc<Life>, channel: Arc<Channel>) {
    loop {
        let (requests, failures) = life.runtime.snapshot().totals();
        let connections = life.connections.len() as u64;
        let health = Health { well: true, requests, failures, connections };
        if channel.send(&Report::Answer { id: 0, health }, &[]).await.is_err() {
            return; // nobody wants to know any more
        }
        tokio::time::sleep(DRAIN_NEWS).await;
    }
}

/// How something has ended that can be cut short.
enum Ended<T> {
    /// It was done.
    Done(T),
    /// It is to end, within so long.
    Cut(Duration),
}

/// Does something, unless it is told meanwhile to end at once. Once the supervisor is gone, nobody will say so.
async fn or_cut<T>(mut channel: &Channel, deed: impl Future<Output = T>) -> io::Result<Ended<T>> {
    let mut deed = std::pin::pin!(deed);
    loop {
        tokio::select! {
            done = &mut deed => return Ok(Ended::Done(done)),
            heard = channel.next() => match heard? {
                Some((Order::Cut { within }, _)) => return Ok(Ended::Cut(within)),
                Some(_) => {}
                None => return Ok(Ended::Done(deed.await)),
            },
        }
    }
}

/// False: it is not needed any more.
async fn wait_for_accept(mut channel: &Channel) -> io::Result<bool> {
    while let Some((order, _)) = channel.next().await? {
        match order {
            Order::Accept => return Ok(true),
            Order::Cut { .. } | Order::Drain { .. } => return Ok(false),
            _ => {}
        }
    }
    Ok(false)
}
