//! A worker: from a plan to a serving process, and to its end.
//!
//! Everything that can fail is done before the first client is accepted: sockets, log, snapshot. A worker that cannot do
//! what its configuration says does not start.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::num::NonZero;
use std::sync::{Arc, mpsc};

use async_trait::async_trait;
use parking_lot::Mutex;
use pingora::server::configuration::ServerConf;
use pingora::server::{ListenFds, RunArgs, Server, ShutdownSignalWatch, ShutdownWatch};
use pingora::services::Service;
use pingora_proxy::http_proxy;

use super::admin_address::{Admin, AdminAddress};
use super::descriptors;
use super::doors::{Doors, Unopened};
use super::life::Life;
use super::places::{self, Sockets};
use super::stop::Stop;
use crate::admin::Sources;
use crate::admin::readiness::Readiness;
use crate::clock::Clock;
use crate::estate::Estate;
use crate::limits::{self, ATTEMPTS_IN_ALL};
use crate::listen::accept::Accept;
use crate::observe::access_log::{self, AccessLog};
use crate::observe::metrics::Metrics;
use crate::plan::{self, Address, Plan};
use crate::proxy::Proxy;
use crate::runtime::{Runtime, Snapshot, tasks};
use crate::wire::Place;

/// Where a worker that has started can be reached.
#[derive(Clone, Debug)]
pub struct Started {
    /// Name and address of every listener.
    pub listeners: Vec<(Arc<str>, Address)>,
    /// The admin address, if there is one.
    pub admin: Option<SocketAddr>,
}

/// Why a worker did not start.
#[derive(Debug)]
pub enum RunError {
    /// A listening socket cannot be opened.
    Listen {
        /// What it is for.
        name: String,
        /// Where.
        place: Place,
        /// Why not.
        source: io::Error,
    },
    /// The access log cannot be opened.
    AccessLog(io::Error),
    /// A socket is open, but the runtime cannot watch it.
    Open {
        /// What it is for.
        name: Arc<str>,
        /// Why not.
        source: io::Error,
    },
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::Listen { name, place, source } => {
                write!(f, "{name}: cannot listen on {place}: {source}")
            }
            RunError::AccessLog(source) => write!(f, "access_log: cannot be opened: {source}"),
            RunError::Open { name, source } => write!(f, "{name}: cannot be watched for clients: {source}"),
        }
    }
}

impl std::error::Error for RunError {}

impl From<Unopened> for RunError {
    fn from(Unopened { name, source }: Unopened) -> RunError {
        RunError::Open { name, source }
    }
}

/// Serves a plan until the process is told to stop. `notice` is called once, when clients are served and signals heard.
///
/// # Errors
/// [`RunError`], before anything was served.
pub fn run(plan: Plan, notice: &mut dyn FnMut(&Started)) -> Result<(), RunError> {
    let sockets = places::open(&plan)?;
    let started = started(&plan, &sockets.listeners, sockets.admin.as_ref());
    let lame_duck = plan.process.lame_duck;
    let (announce, announced) = mpsc::sync_channel(1);
    let worker = Worker::build(plan, sockets, 1, &Estate::default(), false)?;
    let stop = Stop { life: worker.life.clone(), lame_duck, started: announce };
    std::thread::scope(|scope| {
        scope.spawn(|| worker.serve(stop));
        match announced.recv() {
            Ok(outcome) => outcome.map(|()| notice(&started)),
            Err(_) => Ok(()), // told to stop before it had started
        }
    })
}

/// A worker that could serve.
pub struct Worker {
    /// Its parts.
    pub life: Arc<Life>,
    server: Server,
}

impl Worker {
    /// Opens the log and brings the plan to life, with what the one before it has left. `has_served`: somebody has served by
    /// this plan before, and it is more important that somebody does again than that all of it can be done.
    ///
    /// # Errors
    /// [`RunError`]: the access log cannot be opened.
    pub fn build(
        plan: Plan,
        sockets: Sockets,
        generation: u64,
        heritage: &Estate,
        has_served: bool,
    ) -> Result<Worker, RunError> {
        descriptors::raise();
        descriptors::compare(&plan);
        let metrics = Metrics::new();
        let readiness = Readiness::new();
        let (doors, calls) = Doors::new();
        let (loops, connections) = doors.trackers();
        let (admin, questions) = AdminAddress::new();
        let access_log = open_access_log(&plan.access_log, &metrics).or_else(|error| match has_served {
            true => without_access_log(&error, &metrics),
            false => Err(error),
        })?;
        let threads = plan.process.threads.unwrap_or_else(cores);
        let clock = Clock::start_before(limits::HINDSIGHT);
        let snapshot = Snapshot::build(plan, generation, clock, &metrics, heritage);
        let runtime = Runtime::new(snapshot, metrics, access_log);
        let life = Arc::new(Life {
            readiness: readiness.clone(),
            runtime: runtime.clone(),
            doors: doors.into(),
            admin: admin.into(),
            sockets: Mutex::new(sockets),
            loops,
            connections,
        });
        let mut server = Server::new_with_opt_and_conf(None, server_conf(threads));
        let app = Arc::new(http_proxy(&server.configuration, Proxy::new(runtime.clone())));
        server.bootstrap();
        server.add_service(Keep(runtime.clone()));
        server.add_service(Accept::new(calls, app, runtime.clone(), threads));
        server.add_service(Admin { calls: questions, sources: Sources { readiness, runtime } });
        Ok(Worker { life, server })
    }

    /// Serves until `end` says that it is over.
    pub fn serve(self, end: impl ShutdownSignalWatch + 'static) {
        self.server.run(RunArgs { shutdown_signal: Box::new(end) });
        self.life.runtime.access_log().close();
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

/// Of Pingora's server only the threads are used; its retry loop must not end before ours.
fn server_conf(threads: usize) -> ServerConf {
    ServerConf { threads, max_retries: ATTEMPTS_IN_ALL + 1, ..ServerConf::default() }
}

fn started(plan: &Plan, sockets: &[places::Socket], admin: Option<&std::net::TcpListener>) -> Started {
    let listeners = plan.listeners.iter().zip(sockets);
    Started {
        listeners: listeners.map(|(listener, (bound, _))| (listener.name.clone(), bound.address())).collect(),
        admin: admin.and_then(|listener| listener.local_addr().ok()),
    }
}

/// Who replaces a worker that has crashed serves all the same: clients need no log.
fn without_access_log(error: &RunError, metrics: &Metrics) -> Result<AccessLog, RunError> {
    log::error!("{error}: served without one, until the next reload");
    let off = plan::AccessLog { output: plan::AccessLogOutput::Off, format: plan::AccessLogFormat::Json };
    open_access_log(&off, metrics)
}

/// Opens the log that a plan wants.
///
/// # Errors
/// The file cannot be written.
pub fn open_access_log(planned: &plan::AccessLog, metrics: &Metrics) -> Result<AccessLog, RunError> {
    let format = match planned.format {
        plan::AccessLogFormat::Json => access_log::Format::Json,
        plan::AccessLogFormat::Text => access_log::Format::Text,
    };
    let output = match &planned.output {
        plan::AccessLogOutput::Stdout => access_log::Output::Stdout,
        plan::AccessLogOutput::Stderr => access_log::Output::Stderr,
        plan::AccessLogOutput::File(path) => access_log::Output::File(path.clone()),
        plan::AccessLogOutput::Off => access_log::Output::Off,
    };
    let dropped = metrics.access_log_dropped().clone();
    AccessLog::open(format, &output, dropped).map_err(RunError::AccessLog)
}

/// Who finds and checks the endpoints, on a thread of its own: a health check must not fail because the traffic's threads
/// are busy.
struct Keep(Arc<Runtime>);

#[async_trait]
impl Service for Keep {
    async fn start_service(&mut self, _: Option<ListenFds>, mut shutdown: ShutdownWatch, _: usize) {
        tokio::select! {
            () = tasks::keep(self.0.clone()) => {}
            _ = shutdown.changed() => {}
        }
    }

    fn name(&self) -> &str {
        "tetap-keep"
    }

    fn threads(&self) -> Option<usize> {
        Some(1)
    }
}
