//! Three servers, the proxy before them, and what must be true whatever happens to the servers.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::support::ask::Kind;
use crate::support::load::{Load, Outcome, Report};
use crate::support::{Server, Tetap, eventually};

/// What an operator writes who wants faults to be found soon: health checks on a path of their own, and ejection after
/// three failures in a row.
pub const WATCHED: &str = "health_check: {http: {path: /healthz}, interval: 500ms, timeout: 200ms, healthy_threshold: 1, unhealthy_threshold: 2},
 ejection: {consecutive_failures: 3}";

/// How long all is well, before something happens.
pub const QUIET: Duration = Duration::from_secs(1);

/// How many POSTs may be lost in one test.
const LOST_POSTS: usize = 2;

/// Two scenarios at a time would measure each other. nextest is told so in its configuration; this is for `cargo test`.
static ALONE: Mutex<()> = Mutex::new(());

/// Waits until no other scenario is played. One that failed does not stop the others.
pub fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The load of most scenarios, which are over within three seconds after [`QUIET`].
pub fn usual_load() -> Load {
    Load::steady(300, Duration::from_secs(4))
}

/// Lets time pass that is part of a scenario.
pub fn pause(millis: u64) {
    std::thread::sleep(Duration::from_millis(millis));
}

/// Servers `a`, `b` and `c`, and the proxy before them.
pub struct Stage {
    servers: [Server; 3],
    tetap: Tetap,
    _alone: MutexGuard<'static, ()>,
}

impl Stage {
    /// All well, with these options of the upstream.
    pub fn set(upstream: &str) -> Stage {
        let alone = alone();
        let servers = ["a", "b", "c"].map(Server::start);
        let tetap = Tetap::with("", &servers.each_ref().map(Server::address), upstream);
        Stage { servers, tetap, _alone: alone }
    }

    /// Sends the load, lets it be quiet for a while, and then plays the script.
    pub fn play(&mut self, scenario: &str, load: Load, script: impl FnOnce(&mut [Server; 3])) -> Report {
        let running = load.start(self.tetap.address("web"));
        std::thread::sleep(QUIET);
        script(&mut self.servers);
        let report = Report::new(scenario, running.finish(), &self.servers);
        report.publish();
        report
    }

    /// The promise, where something was wrong with these servers.
    pub fn assert_kept(&self, report: &Report, victims: &[&str]) {
        assert_honest(report);
        none("GETs failed", &report.failed(Kind::Get));
        let lost: Vec<_> = report.all(Kind::Post).filter(|outcome| !outcome.verdict.is_good()).collect();
        assert!(lost.len() <= LOST_POSTS, "{} POSTs are lost: {:#?}", lost.len(), first(&lost));
        for outcome in lost.into_iter().chain(report.cut(Kind::Get)) {
            let asked = self.last_asked(outcome);
            assert!(victims.contains(&asked.as_str()), "{asked:?} was asked last, and was well: {outcome:?}");
        }
    }

    /// The server to which the last attempt at a request went, by the proxy's own account.
    fn last_asked(&self, outcome: &Outcome) -> String {
        let target = outcome.ask.target();
        let line = eventually("the request is logged", || {
            self.tetap.access_log_now().into_iter().find(|line| line["target"] == target.as_str())
        });
        let attempts = line["attempts"].as_array().map_or(&[][..], Vec::as_slice);
        let endpoint = attempts.last().and_then(|attempt| attempt["endpoint"].as_str());
        let server =
            self.servers.iter().find(|server| Some(server.address().to_string().as_str()) == endpoint);
        server.map_or_else(|| line.to_string(), |server| server.name().to_owned())
    }
}

/// What must be true even where everything fails.
pub fn assert_honest(report: &Report) {
    assert!(report.doubled().is_empty(), "delivered twice: {:?}", report.doubled());
    none("answers looked whole and were not", &report.deceived());
    none("POSTs are in nobody's book: the test is wrong", &report.unrecorded());
}

fn none(what: &str, outcomes: &[&Outcome]) {
    assert!(outcomes.is_empty(), "{} {what}: {:#?}", outcomes.len(), first(outcomes));
}

fn first<'a, 'b>(outcomes: &'a [&'b Outcome]) -> &'a [&'b Outcome] {
    &outcomes[..outcomes.len().min(5)]
}
