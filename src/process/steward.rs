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
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;

use super::assignment::{self, Assignment, Refusal};
use super::doors::Unopened;
use super::life::Life;
use super::places;
use super::worker::{RunError, Worker};
use crate::clock::{Duration, Instant};
use crate::plan::{Address, Plan};
use crate::sockets::Unlink;
use crate::wire::{Channel, Drained, Health, Order, Place, Received, Report, Role, Settings, frame};

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
    let Assignment { generation, role, plan, text, sockets, history: _ } = work;
    let places = places::needs(&plan).into_iter().map(|need| need.wanted.place).collect();
    let settings = settings(&plan);
    let unix = unix_files(&plan);
    let worker = Worker::build(plan, sockets, generation)?;
    let life = worker.life.clone();
    Ok((worker, Duty { life, role, text, places, settings, unix }))
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
        threads: process.threads,
        ..Settings::default()
    }
}

fn unix_files(plan: &Plan) -> Vec<PathBuf> {
    let addresses = plan.listeners.iter().map(|listener| &listener.address);
    addresses
        .filter_map(|address| if let Address::Unix(path) = address { Some(path.clone()) } else { None })
        .collect()
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
    text: String,
    places: Vec<Place>,
    settings: Settings,
    unix: Vec<PathBuf>,
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
        let Some(prepared) = or_cut(&channel, self.prepare()).await? else { return Ok(()) };
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
        let text = frame::in_memory("tetap-configuration", self.text.as_bytes())?;
        let (places, settings) = (self.places.clone(), self.settings.clone());
        channel.send(&Report::Prepared { places, settings }, &[text.as_fd()]).await
    }

    /// `None`: it is to end at once.
    async fn serve(&self, channel: &Arc<Channel>) -> io::Result<Option<Farewell>> {
        let mut answering: Option<JoinHandle<()>> = None;
        loop {
            match next(channel).await? {
                Heard::Order(Order::Ask { id }) if answering.as_ref().is_none_or(JoinHandle::is_finished) => {
                    answering = Some(tokio::spawn(answer(self.life.clone(), channel.clone(), id)));
                }
                Heard::Order(Order::Drain { lame_duck, closing }) => {
                    return Ok(Some(Farewell { last: lame_duck, closing }));
                }
                Heard::Order(Order::Cut) => return Ok(None),
                Heard::Order(_) => {}
                Heard::End => {
                    warn!("there is no supervisor any more: finishing what is under way");
                    return Ok(Some(Farewell { last: Some(Duration::ZERO), closing: Vec::new() }));
                }
            }
        }
    }

    async fn drain(&self, channel: &Channel, farewell: Farewell) -> io::Result<()> {
        let Farewell { last, closing } = farewell;
        let life = &self.life;
        match last {
            Some(lame_duck) => {
                life.announce();
                if or_cut(channel, tokio::time::sleep(lame_duck)).await?.is_none() {
                    return Ok(());
                }
                self.unix.iter().cloned().for_each(|path| drop(Unlink(path)));
            }
            None => life.admin.end.cancel(),
        }
        let (began, before) = (Instant::now(), life.connections.len() as u64);
        life.close(&|address| last.is_none() && !closing.contains(&places::place(address))).await;
        life.loops.wait().await;
        let _ = channel.send(&Report::Closed, &[]).await; // without a supervisor nobody needs to know
        let ended = tokio::time::timeout(life.patience, life.drained());
        let Some(ended) = or_cut(channel, ended).await? else { return Ok(()) };
        let forced = life.connections.len() as u64;
        match ended {
            Ok(()) => info!("drained in {:.1?}", began.elapsed()),
            Err(_) => warn!("{forced} connections did not end in {:?} and are cut", life.patience),
        }
        let drained = Drained { drained: before.saturating_sub(forced), forced, took: began.elapsed() };
        let _ = channel.send(&Report::Drained { drained }, &[]).await;
        Ok(())
    }
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
    let (requests, failures) = life.runtime.metrics().totals();
    let connections = life.connections.len() as u64;
    let health = Health { well: well.is_ok(), requests, failures, connections };
    let _ = channel.send(&Report::Answer { id, health }, &[]).await; // who asked may be gone
}

/// What comes from the supervisor.
enum Heard {
    Order(Order),
    End,
}

async fn next(channel: &Channel) -> io::Result<Heard> {
    loop {
        match channel.receive::<Order>().await? {
            Some(Received::Message(order, _)) => return Ok(Heard::Order(order)),
            Some(Received::Unknown(kind)) => {
                warn!("not understood, from a supervisor of another version: {kind}")
            }
            None => return Ok(Heard::End),
        }
    }
}

/// Does something, unless it is told meanwhile to end at once. Once the supervisor is gone, nobody will say so.
async fn or_cut<T>(channel: &Channel, deed: impl Future<Output = T>) -> io::Result<Option<T>> {
    let mut deed = std::pin::pin!(deed);
    loop {
        tokio::select! {
            done = &mut deed => return Ok(Some(done)),
            heard = next(channel) => match heard? {
                Heard::Order(Order::Cut) => return Ok(None),
                Heard::Order(_) => {}
                Heard::End => return Ok(Some(deed.await)),
            },
        }
    }
}

/// False: it is not needed any more.
async fn wait_for_accept(channel: &Channel) -> io::Result<bool> {
    loop {
        match next(channel).await? {
            Heard::Order(Order::Accept) => return Ok(true),
            Heard::Order(Order::Cut | Order::Drain { .. }) | Heard::End => return Ok(false),
            Heard::Order(_) => {}
        }
    }
}
