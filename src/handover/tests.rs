//! Hand-overs played through in virtual time: single ones as stories, and thousands with random faults.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};

use super::*;

const OLD: Executable = Executable(1);
const NEW: Executable = Executable(2);

fn policy() -> Policy {
    Policy { ready_timeout: secs(30), probation: secs(10), drain_timeout: secs(60), max_generations: 2 }
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A supervisor without processes.
struct Play {
    handover: Handover,
    now: Moment,
    told: Vec<(Ask, Outcome)>,
    notes: Vec<Note>,
    settled: Vec<Executable>,
    exit: Option<u8>,
    /// From which program a worker was started, and with which words.
    started: BTreeMap<WorkerId, (Executable, Words)>,
    killed: BTreeSet<WorkerId>,
    drained: Vec<(WorkerId, bool)>,
    cut: Vec<WorkerId>,
    adopted: Vec<WorkerId>,
}

impl Play {
    fn new() -> Play {
        let mut play = Play {
            handover: Handover::new(policy(), OLD, 0),
            now: Moment::ORIGIN,
            told: Vec::new(),
            notes: Vec::new(),
            settled: Vec::new(),
            exit: None,
            started: BTreeMap::new(),
            killed: BTreeSet::new(),
            drained: Vec::new(),
            cut: Vec::new(),
            adopted: Vec::new(),
        };
        play.happens(Happened::Begun);
        play
    }

    /// One worker serves.
    fn serving() -> Play {
        let mut play = Play::new();
        play.comes(1);
        play
    }

    fn happens(&mut self, happened: Happened) {
        for deed in self.handover.handle(happened, self.now) {
            match deed {
                Deed::Spawn { worker, executable, words, .. } => {
                    assert!(
                        self.started.insert(worker, (executable, words)).is_none(),
                        "a number used twice"
                    );
                }
                Deed::Accept(id) => assert!(!self.killed.contains(&id)),
                Deed::Adopt(id) => self.adopted.push(id),
                Deed::Drain { worker, last } => self.drained.push((worker, last)),
                Deed::Cut(id) => self.cut.push(id),
                Deed::Kill(id) => assert!(self.killed.insert(id), "killed twice"),
                Deed::Tell(ask, outcome) => self.told.push((ask, outcome)),
                Deed::Settle(executable) => self.settled.push(executable),
                Deed::Note(note) => self.notes.push(note),
                Deed::Exit(code) => assert!(self.exit.replace(code).is_none(), "ended twice"),
            }
        }
    }

    /// A worker gets ready and serves.
    fn comes(&mut self, id: u64) {
        self.happens(Happened::Prepared(WorkerId(id)));
        self.happens(Happened::Serving(WorkerId(id)));
    }

    fn goes(&mut self, id: u64, how: &str) {
        self.happens(Happened::Gone(WorkerId(id), how.into()));
    }

    fn is(&mut self, id: u64, well: bool, requests: u64, failures: u64) {
        self.happens(Happened::Health(WorkerId(id), well, Tally { requests, failures }));
    }

    /// Second by second; those who serve are well.
    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now = self.now + secs(1);
            let serving: Vec<_> =
                self.handover.workers.iter().filter(|w| w.stand == Stand::Serving).cloned().collect();
            for worker in serving {
                self.happens(Happened::Health(worker.id, true, worker.tally));
            }
            self.happens(Happened::Time);
        }
    }

    fn stands(&self) -> Vec<(u64, Stand)> {
        self.handover.workers().map(|(id, stand)| (id.0, stand)).collect()
    }

    fn upgrade(&mut self, ask: u64) {
        self.happens(Happened::Upgrade(Ask(ask), NEW));
    }

    fn outcome(&self, ask: u64) -> Option<&Outcome> {
        let mut all = self.told.iter().filter(|(of, _)| of.0 == ask).map(|(_, outcome)| outcome);
        let first = all.next();
        assert!(all.next().is_none(), "told twice");
        first
    }
}

fn failed(why: &str) -> Outcome {
    Outcome::Failed(why.into(), false)
}

#[test]
fn the_first_one_serves_with_the_text_that_was_checked() {
    let play = Play::serving();
    assert_eq!(play.started[&WorkerId(1)], (OLD, Words::Applied));
    assert_eq!(play.stands(), [(1, Stand::Serving)]);
    assert_eq!(play.adopted, [WorkerId(1)]);
}

#[test]
fn a_first_one_that_cannot_serve_ends_the_process() {
    for (usage, code) in [(true, 2), (false, 1)] {
        let mut play = Play::new();
        play.happens(Happened::Failed(WorkerId(1), "no".into(), usage));
        play.goes(1, "exit status 1");
        assert_eq!(play.exit, Some(code));
    }
    let mut play = Play::new();
    play.pass(31);
    assert_eq!((play.exit, play.killed.len()), (Some(1), 1));
}

#[test]
fn the_old_one_is_told_to_go_only_when_the_new_one_serves() {
    let mut play = Play::serving();
    play.upgrade(7);
    assert_eq!(play.started[&WorkerId(2)], (NEW, Words::File));
    play.happens(Happened::Prepared(WorkerId(2)));
    assert_eq!((play.drained.len(), play.outcome(7)), (0, None));
    play.happens(Happened::Serving(WorkerId(2)));
    assert_eq!(play.drained, [(WorkerId(1), false)]);
    play.pass(9);
    assert_eq!(play.outcome(7), None, "on probation");
    play.pass(1);
    assert_eq!((play.outcome(7), &play.settled[..]), (Some(&Outcome::Done), &[NEW][..]));
    play.goes(1, "exit status 0");
    assert_eq!(play.stands(), [(2, Stand::Serving)]);
    play.goes(2, "signal 9");
    assert_eq!(play.started[&WorkerId(3)], (NEW, Words::Applied));
}

#[test]
fn whatever_a_candidate_does_the_old_one_serves_on() {
    type Fault = fn(&mut Play);
    let faults: [(Fault, Outcome); 6] = [
        (|play| play.goes(2, "exit status 0"), failed("exit status 0")),
        (
            |play| play.happens(Happened::Failed(WorkerId(2), "line 3".into(), true)),
            Outcome::Failed("line 3".into(), true),
        ),
        (|play| play.pass(30), failed("it was not ready within 30s")),
        (
            |play| {
                play.happens(Happened::Prepared(WorkerId(2)));
                play.goes(2, "signal 11");
            },
            failed("signal 11"),
        ),
        (
            |play| {
                play.happens(Happened::Prepared(WorkerId(2)));
                play.pass(30);
            },
            failed("it was not ready within 30s"),
        ),
        (|play| play.happens(Happened::Serving(WorkerId(2))), failed("")), // without having been asked
    ];
    for (nth, (fault, outcome)) in faults.into_iter().enumerate() {
        let mut play = Play::serving();
        play.upgrade(7);
        fault(&mut play);
        if nth < 5 {
            assert_eq!(play.outcome(7), Some(&outcome));
        }
        assert_eq!((play.stands()[0], play.drained.len()), ((1, Stand::Serving), 0));
        assert!(play.settled.is_empty());
    }
}

#[test]
fn on_probation_a_crash_brings_the_old_executable_back() {
    let mut play = Play::serving();
    play.upgrade(7);
    play.comes(2);
    play.pass(3);
    play.goes(2, "signal 6");
    assert_eq!(play.started[&WorkerId(3)], (OLD, Words::Before), "the new words may be too new for it");
    assert_eq!(play.outcome(7), None);
    play.comes(3);
    assert_eq!(play.outcome(7), Some(&Outcome::RolledBack("signal 6".into())));
    play.goes(3, "signal 9");
    assert_eq!(play.started[&WorkerId(4)], (OLD, Words::Applied));
    assert!(play.settled.is_empty());
}

#[test]
fn on_probation_who_answers_worse_is_followed_by_the_old_executable_and_serves_until_then() {
    let mut play = Play::serving();
    play.is(1, true, 1000, 10);
    play.upgrade(7);
    play.comes(2);
    play.is(2, true, 100, 2);
    assert!(!play.started.contains_key(&WorkerId(3)));
    play.is(2, true, 200, 60);
    assert_eq!((play.stands()[1], play.started[&WorkerId(3)].0), ((2, Stand::Serving), OLD));
    play.is(2, true, 300, 200);
    play.comes(3);
    assert!(matches!(play.outcome(7), Some(Outcome::RolledBack(why)) if why.starts_with("60 of 200")));
    assert_eq!(play.drained, [(WorkerId(1), false), (WorkerId(2), false)]);
}

#[test]
fn an_upstream_that_failed_before_is_no_reason_to_go_back() {
    let mut play = Play::serving();
    play.is(1, true, 1000, 500);
    play.upgrade(7);
    play.comes(2);
    play.is(2, true, 1000, 520);
    play.pass(10);
    assert_eq!(play.outcome(7), Some(&Outcome::Done));
}

#[test]
fn on_probation_who_does_not_answer_its_own_requests_is_replaced() {
    let mut play = Play::serving();
    play.upgrade(7);
    play.comes(2);
    play.is(2, false, 0, 0);
    assert!(!play.started.contains_key(&WorkerId(3)), "once is chance");
    play.is(2, false, 0, 0);
    play.comes(3);
    assert!(matches!(play.outcome(7), Some(Outcome::RolledBack(_))));
}

#[test]
fn who_hangs_is_killed_and_replaced() {
    let mut play = Play::serving();
    for _ in 0..HANG {
        play.happens(Happened::Asked(WorkerId(1)));
    }
    assert!(play.killed.is_empty());
    play.happens(Happened::Asked(WorkerId(1)));
    assert!(play.killed.contains(&WorkerId(1)) && play.notes.contains(&Note::Hangs(WorkerId(1))));
    assert_eq!(play.stands(), [(2, Stand::Starting)]);
}

#[test]
fn a_machine_that_stood_still_has_no_worker_that_hangs() {
    let mut play = Play::serving();
    for _ in 0..3 {
        play.happens(Happened::Asked(WorkerId(1)));
        play.now = play.now + secs(3600);
        play.happens(Happened::Time);
        play.happens(Happened::Health(WorkerId(1), true, Tally::default()));
    }
    assert!(play.killed.is_empty());
}

#[test]
fn who_drains_has_the_time_that_it_was_promised() {
    let mut play = Play::serving();
    play.happens(Happened::Swap(Ask(7), Words::File));
    play.comes(2);
    play.handover.set_policy(Policy { drain_timeout: secs(5), ..policy() });
    play.now = play.now + secs(60);
    play.happens(Happened::Time);
    assert!(play.killed.is_empty());
    play.now = play.now + secs(5);
    play.happens(Happened::Time);
    assert!(play.killed.contains(&WorkerId(1)));
}

#[test]
fn a_crash_while_a_candidate_is_coming_is_made_good_by_whoever_is_first() {
    let mut play = Play::serving();
    play.upgrade(7);
    play.goes(1, "signal 9");
    assert_eq!(play.started[&WorkerId(3)], (OLD, Words::Applied));
    play.comes(3);
    assert_eq!(play.outcome(7), None);
    play.comes(2);
    assert_eq!(play.drained, [(WorkerId(3), false)]);
    let mut play = Play::serving();
    play.upgrade(7);
    play.goes(1, "signal 9");
    play.comes(2);
    assert!(play.killed.contains(&WorkerId(3)), "it is not needed any more");
    play.pass(10);
    assert_eq!(play.outcome(7), Some(&Outcome::Done));
}

#[test]
fn a_replacement_that_dies_too_is_replaced() {
    let mut play = Play::serving();
    play.upgrade(7);
    play.comes(2);
    play.goes(2, "signal 6");
    play.goes(3, "signal 6");
    assert!(matches!(play.outcome(7), Some(Outcome::RolledBack(_))));
    assert_eq!(play.started[&WorkerId(4)].0, OLD);
    play.goes(4, "signal 6");
    assert_eq!(play.stands(), [(1, Stand::Draining)]);
    play.pass(1);
    assert_eq!(play.stands(), [(1, Stand::Draining), (5, Stand::Starting)]);
}

#[test]
fn two_changes_at_a_time_are_one_too_many() {
    let mut play = Play::serving();
    play.upgrade(7);
    play.upgrade(8);
    assert_eq!(play.outcome(8), Some(&failed("another hand-over is under way")));
    play.comes(2);
    play.happens(Happened::Swap(Ask(9), Words::File));
    assert_eq!(play.outcome(9), Some(&failed("another hand-over is under way")));
}

#[test]
fn a_swap_is_over_when_the_new_one_serves() {
    let mut play = Play::serving();
    play.happens(Happened::Swap(Ask(7), Words::File));
    assert_eq!(play.started[&WorkerId(2)], (OLD, Words::File));
    play.comes(2);
    assert_eq!(play.outcome(7), Some(&Outcome::Done));
    assert!(play.settled.is_empty());
}

#[test]
fn old_workers_do_not_pile_up() {
    let mut play = Play::serving();
    for nth in 2..6 {
        play.happens(Happened::Swap(Ask(nth), Words::File));
        play.comes(nth);
    }
    assert_eq!(play.cut, [WorkerId(1), WorkerId(2)]);
    play.pass(5);
    assert_eq!(play.killed, BTreeSet::from([WorkerId(1), WorkerId(2)]));
    play.pass(60);
    assert_eq!(play.stands(), [(5, Stand::Serving)], "whoever does not end is killed");
}

#[test]
fn a_stop_drains_and_a_second_one_cuts() {
    let mut play = Play::serving();
    play.happens(Happened::Stop);
    assert_eq!((&play.drained[..], play.exit), (&[(WorkerId(1), true)][..], None));
    play.happens(Happened::Stop);
    assert_eq!(play.cut, [WorkerId(1)]);
    play.goes(1, "exit status 0");
    assert_eq!(play.exit, Some(0));
}

#[test]
fn a_stop_in_the_middle_of_an_upgrade_tells_so() {
    let mut play = Play::serving();
    play.upgrade(7);
    play.happens(Happened::Stop);
    assert_eq!(play.outcome(7), Some(&failed("the proxy is stopping")));
    assert!(play.killed.contains(&WorkerId(2)));
    play.upgrade(8);
    assert_eq!(play.outcome(8), Some(&failed("the proxy is stopping")));
    play.goes(1, "exit status 0");
    assert_eq!(play.exit, Some(0));
}

#[test]
fn a_stop_while_nobody_serves_ends_at_once() {
    let mut play = Play::new();
    play.happens(Happened::Stop);
    assert_eq!(play.exit, Some(0));
}

#[test]
fn who_goes_on_for_another_supervisor_knows_who_serves() {
    let mut handover = Handover::new(policy(), NEW, 4);
    handover.resume(WorkerId(3), false, Moment::ORIGIN);
    handover.resume(WorkerId(5), true, Moment::ORIGIN);
    assert_eq!(handover.active(), Some(WorkerId(5)));
    let deeds = handover.handle(Happened::Gone(WorkerId(5), "signal 9".into()), Moment::ORIGIN);
    let next = Deed::Spawn { worker: WorkerId(6), executable: NEW, words: Words::Applied, beside: false };
    assert!(deeds.contains(&next), "{deeds:?}");
}

/// Random faults at random times. As long as it is not stopped, somebody serves, is coming, or is due; nobody is told to
/// go while nobody else serves; and whoever asked is told once.
#[test]
fn whatever_happens_somebody_serves_or_is_on_the_way() {
    for seed in 0..3000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut play = Play::serving();
        let mut asked = 0;
        for _ in 0..120 {
            let drained = play.drained.len();
            let ids: Vec<u64> = play.handover.workers().map(|(id, _)| id.0).collect();
            let some = |random: &mut fastrand::Rng| {
                if ids.is_empty() { 999 } else { ids[random.usize(..ids.len())] }
            };
            match random.u8(0..17) {
                0 => {
                    asked += 1;
                    play.upgrade(asked);
                }
                1 => {
                    asked += 1;
                    play.happens(Happened::Swap(Ask(asked), Words::File));
                }
                2 => play.goes(some(&mut random), "signal 9"),
                3 => play.happens(Happened::Failed(WorkerId(some(&mut random)), "no".into(), random.bool())),
                4 => play.is(some(&mut random), random.bool(), random.u64(0..100), random.u64(0..100)),
                5..9 => play.happens(Happened::Prepared(WorkerId(some(&mut random)))),
                9..13 => play.happens(Happened::Serving(WorkerId(some(&mut random)))),
                13 => (0..random.u32(1..HANG)).for_each(|_| {
                    play.happens(Happened::Asked(WorkerId(ids.first().copied().unwrap_or(999))))
                }),
                _ => play.pass(random.u64(1..20)),
            }
            let stands: BTreeMap<u64, Stand> = play.stands().into_iter().collect();
            let comes = |stand: &Stand| matches!(stand, Stand::Starting | Stand::Accepting | Stand::Serving);
            assert!(
                stands.values().any(comes) || play.handover.respawn.is_some(),
                "seed {seed}: nobody: {stands:?}"
            );
            let serves = stands.values().any(|stand| *stand == Stand::Serving);
            assert!(play.drained.len() == drained || serves, "seed {seed}: sent away, and nobody serves");
            assert!(play.handover.due().is_some() || serves, "seed {seed}: nothing would ever happen");
        }
        play.happens(Happened::Stop);
        for ask in 1..=asked {
            assert!(play.outcome(ask).is_some(), "seed {seed}: {ask} was not told");
        }
        play.pass(200);
        assert_eq!(play.exit, Some(0), "seed {seed}: it never ends");
    }
}
