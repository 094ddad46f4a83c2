//! What was lost, and while what was happening.
//!
//! A loss is counted where it is noticed: a request that was sent in a quiet moment and cut by the reload after it is the
//! reload's. What was under way in a worker at the moment when it is killed is lost with it, whatever anybody does; that is
//! shown, and is no failure. A client that is refused is one even then: the sockets are to outlive the workers.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::client::{Kind, Loss};

/// Losses that are told one by one; more than these only repeat it.
const EXAMPLES: usize = 10;

/// What is happening to the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Nothing.
    Calm,
    /// Its configuration is read again.
    Reload,
    /// It goes over to this executable.
    Upgrade,
    /// It is to go over to what is none, and does not.
    FailedUpgrade,
    /// Its worker is killed.
    Kill,
}

impl Event {
    /// All of them, in the order of the report.
    pub(super) const ALL: [Event; 5] =
        [Event::Calm, Event::Reload, Event::Upgrade, Event::FailedUpgrade, Event::Kill];

    /// For people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Event::Calm => "calm",
            Event::Reload => "reload",
            Event::Upgrade => "upgrade",
            Event::FailedUpgrade => "failed upgrade",
            Event::Kill => "worker killed",
        }
    }

    /// Whether nothing can be done about such a loss.
    fn excuses(self, kind: Kind) -> bool {
        self == Event::Kill && matches!(kind, Kind::Dropped | Kind::ClosedUnder | Kind::Cut)
    }
}

/// All times of one event together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Row {
    pub(super) times: u32,
    pub(super) requests: u64,
    /// By [`Kind::ALL`].
    pub(super) lost: [u64; 7],
    pub(super) slowest: Duration,
    pub(super) took: Duration,
}

#[derive(Debug)]
struct State {
    event: Event,
    since: Instant,
    rows: [Row; 5],
    examples: Vec<String>,
    failures: Vec<String>,
}

/// Counts, from all clients.
#[derive(Debug)]
pub(super) struct Tally(Mutex<State>);

impl Default for Tally {
    fn default() -> Tally {
        let (rows, examples, failures) = ([Row::default(); 5], Vec::new(), Vec::new());
        Tally(Mutex::new(State { event: Event::Calm, since: Instant::now(), rows, examples, failures }))
    }
}

impl Tally {
    /// From now on, this happens.
    pub(super) fn enter(&self, event: Event) {
        let state = &mut *self.0.lock();
        state.close();
        state.event = event;
        state.rows[event as usize].times += 1;
    }

    /// A request has ended; `what` it was is told of those that were lost.
    pub(super) fn note(&self, took: Duration, outcome: Result<(), Loss>, what: impl FnOnce() -> String) {
        let state = &mut *self.0.lock();
        let event = state.event;
        let row = &mut state.rows[event as usize];
        row.requests += 1;
        row.slowest = row.slowest.max(took);
        let Err(loss) = outcome else { return };
        row.lost[loss.kind as usize] += 1;
        if state.examples.len() < EXAMPLES && !event.excuses(loss.kind) {
            state.examples.push(example(event, &loss, &what()));
        }
    }

    /// Something did not happen as it should have.
    pub(super) fn fail(&self, event: Event, why: &str) {
        self.0.lock().failures.push(format!("{}: {why}", event.name()));
    }

    /// What there is by now. `twice` are requests that reached a server again.
    pub(super) fn results(&self, twice: Vec<u64>) -> Results {
        let state = &mut *self.0.lock();
        state.close();
        let State { rows, examples, failures, event: _, since: _ } = state;
        Results { rows: *rows, examples: examples.clone(), failures: failures.clone(), twice }
    }
}

impl State {
    fn close(&mut self) {
        let now = Instant::now();
        self.rows[self.event as usize].took += now - self.since;
        self.since = now;
    }
}

fn example(event: Event, loss: &Loss, what: &str) -> String {
    let detail = if loss.detail.is_empty() { String::new() } else { format!(" ({})", loss.detail) };
    format!("{}: {what}: {}{detail}", event.name(), loss.kind.name())
}

/// What was found out.
#[derive(Clone, Debug)]
pub(super) struct Results {
    /// By [`Event::ALL`].
    pub(super) rows: [Row; 5],
    /// Some of the losses.
    pub(super) examples: Vec<String>,
    /// Events that went otherwise than they should.
    pub(super) failures: Vec<String>,
    /// Requests that must be done once, and reached a server again.
    pub(super) twice: Vec<u64>,
}

impl Results {
    /// Whether clients would have noticed nothing that could be helped.
    pub(super) fn passed(&self) -> bool {
        self.lost() == 0 && self.failures.is_empty() && self.twice.is_empty()
    }

    /// Requests in all.
    pub(super) fn requests(&self) -> u64 {
        self.rows.iter().map(|row| row.requests).sum()
    }

    /// Those that were lost without an excuse.
    pub(super) fn lost(&self) -> u64 {
        self.by_kind(|event, kind| !event.excuses(kind)).iter().sum()
    }

    /// Those that nothing could be done about.
    pub(super) fn excused(&self) -> u64 {
        self.by_kind(Event::excuses).iter().sum()
    }

    /// How many of each kind were lost without an excuse.
    pub(super) fn kinds(&self) -> [u64; 7] {
        self.by_kind(|event, kind| !event.excuses(kind))
    }

    fn by_kind(&self, counts: impl Fn(Event, Kind) -> bool) -> [u64; 7] {
        Kind::ALL.map(|kind| {
            let counted = Event::ALL.into_iter().filter(|event| counts(*event, kind));
            counted.map(|event| self.rows[event as usize].lost[kind as usize]).sum()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(losses: &[(Event, Kind)]) -> Results {
        let tally = Tally::default();
        for (event, kind) in losses {
            tally.enter(*event);
            tally.note(Duration::ZERO, Err(Loss { kind: *kind, detail: String::new() }), || "GET /".into());
        }
        tally.results(Vec::new())
    }

    #[test]
    fn only_what_was_under_way_in_a_killed_worker_is_excused() {
        for event in Event::ALL {
            for kind in Kind::ALL {
                let excused =
                    event == Event::Kill && [Kind::Dropped, Kind::ClosedUnder, Kind::Cut].contains(&kind);
                let results = results(&[(event, kind)]);
                assert_eq!(results.passed(), excused, "{event:?} {kind:?}");
                assert_eq!((results.lost(), results.excused()), if excused { (0, 1) } else { (1, 0) });
                assert_eq!(results.examples.is_empty(), excused, "{:?}", results.examples);
            }
        }
    }

    #[test]
    fn a_failed_event_and_a_second_answer_are_failures() {
        let tally = Tally::default();
        assert!(tally.results(Vec::new()).passed());
        assert!(!tally.results(vec![7]).passed());
        tally.fail(Event::Reload, "no");
        assert!(!tally.results(Vec::new()).passed());
    }
}
