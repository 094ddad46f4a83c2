//! The limit in front of a simulated server, in virtual time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::*;

/// A server with so many workers, and a queue of its own that nobody else sees.
struct Server {
    workers: usize,
    work: Work,
    busy: usize,
    queue: VecDeque<u64>,
}

/// How long one request takes, in microseconds.
#[derive(Clone, Copy)]
enum Work {
    /// Each as long.
    Constant(u64),
    /// Exponentially distributed, with this mean.
    Exponential(u64),
    /// One in so many takes so long, the others this long.
    Mixed(u64, usize, u64),
}

impl Work {
    fn draw(self, random: &mut fastrand::Rng) -> u64 {
        match self {
            Work::Constant(micros) => micros,
            Work::Exponential(micros) => (-(1.0 - random.f64()).ln() * micros as f64) as u64 + 1,
            Work::Mixed(_, one_in, long) if random.usize(0..one_in) == 0 => long,
            Work::Mixed(micros, ..) => micros,
        }
    }
}

/// The world: a limit, a server, and clients that keep as many requests waiting as they like.
struct World {
    limit: Adaptive,
    server: Server,
    random: fastrand::Rng,
    /// Requests that the clients want at a time.
    demand: usize,
    now: u64,
    inside: usize,
    /// Time that workers have spent, in microseconds.
    worked: u64,
    /// When a worker is done, and when the request was let in.
    ends: BinaryHeap<Reverse<(u64, u64)>>,
}

/// What a while came to.
#[derive(Debug)]
struct Seen {
    /// The share of time that workers were busy.
    busy: f64,
    /// On average, in milliseconds, from the moment that they were let in.
    latency: f64,
    limit: usize,
}

impl World {
    fn new(workers: usize, work: Work) -> World {
        Self::from(20, workers, work)
    }

    fn from(start: usize, workers: usize, work: Work) -> World {
        let limit = Adaptive::new(Policy { min: 4, start, max: 1000 }, Moment::ORIGIN);
        let server = Server { workers, work, busy: 0, queue: VecDeque::new() };
        let random = fastrand::Rng::with_seed(7);
        World { limit, server, random, demand: 10_000, now: 0, inside: 0, worked: 0, ends: BinaryHeap::new() }
    }

    fn moment(&self) -> Moment {
        Moment::ORIGIN + Duration::from_micros(self.now)
    }

    fn run(&mut self, seconds: u64) -> Seen {
        let (begin, worked) = (self.now, self.worked);
        let (mut count, mut latency) = (0_u64, 0_u64);
        while self.now < begin + seconds * 1_000_000 {
            latency += self.step();
            count += 1;
        }
        let time = (self.now - begin) * self.server.workers as u64;
        let busy = (self.worked - worked) as f64 / time as f64;
        Seen { busy, latency: latency as f64 / count as f64 / 1000.0, limit: self.limit.limit() }
    }

    /// Until the next answer; what it took in microseconds.
    fn step(&mut self) -> u64 {
        self.let_in();
        let Reverse((end, began)) = self.ends.pop().expect("a worker is busy");
        self.now = end;
        self.limit.note(Ended::Answered(Duration::from_micros(end - began)), self.inside, self.moment());
        self.inside -= 1;
        self.server.busy -= 1;
        end - began
    }

    fn let_in(&mut self) {
        while self.inside < self.limit.limit().min(self.demand) {
            self.inside += 1;
            self.server.queue.push_back(self.now);
        }
        while self.server.busy < self.server.workers {
            let Some(began) = self.server.queue.pop_front() else { return };
            self.server.busy += 1;
            let work = self.server.work.draw(&mut self.random);
            self.worked += work;
            self.ends.push(Reverse((self.now + work, began)));
        }
    }
}

const TEN_MILLIS: Work = Work::Constant(10_000);

#[test]
fn eight_workers_are_kept_busy_and_little_more() {
    let mut world = World::new(8, TEN_MILLIS);
    world.run(2);
    let seen = world.run(20);
    assert!(seen.busy >= 0.95, "{seen:?}");
    assert!(seen.latency <= 20.0, "{seen:?}");
}

#[test]
fn servers_of_all_sizes_and_habits_give_what_they_can() {
    let exponential = Work::Exponential(10_000);
    let mixed = Work::Mixed(5_000, 20, 200_000);
    for work in [TEN_MILLIS, exponential, mixed] {
        for workers in [1, 2, 8, 32, 128, 500] {
            let mut world = World::new(workers, work);
            world.run(5);
            let seen = world.run(25);
            assert!(seen.busy >= 0.9, "{workers} workers: {seen:?}");
            assert!(seen.limit <= workers * 2 + 20, "{workers} workers: {seen:?}");
        }
    }
}

#[test]
fn a_start_far_too_high_is_found_out() {
    let mut world = World::from(500, 8, TEN_MILLIS);
    world.run(5);
    let seen = world.run(10);
    assert!(seen.busy >= 0.9 && seen.latency <= 20.0, "{seen:?}");
}

#[test]
fn it_does_not_creep_up_under_lasting_overload() {
    let mut world = World::new(8, Work::Exponential(10_000));
    let latencies: Vec<f64> = (0..60).map(|_| world.run(10).latency).collect();
    let slow = latencies.iter().filter(|latency| **latency > 25.0).count();
    assert!(slow <= 6, "{latencies:?}");
}

#[test]
fn a_limit_that_is_not_reached_does_not_grow() {
    for demand in [3, 12, 19] {
        let mut world = World::new(100, TEN_MILLIS);
        world.demand = demand;
        assert_eq!(world.run(30).limit, 20, "{demand} at a time");
    }
    let mut world = World::new(100, TEN_MILLIS);
    world.demand = 50;
    let seen = world.run(30);
    assert!((50..=54).contains(&seen.limit), "at most a step above what is reached: {seen:?}");
}

#[test]
fn a_server_that_grows_is_followed() {
    let mut world = World::new(8, TEN_MILLIS);
    world.run(5);
    world.server.workers = 64;
    world.run(2);
    let seen = world.run(5);
    assert!(seen.busy >= 0.9 && seen.latency <= 20.0, "{seen:?}");
}

#[test]
fn a_server_that_shrinks_is_followed() {
    let mut world = World::new(64, TEN_MILLIS);
    world.run(5);
    world.server.workers = 4;
    world.run(2);
    let seen = world.run(5);
    assert!(seen.busy >= 0.9 && seen.latency <= 25.0, "{seen:?}");
}

#[test]
fn a_server_that_shrinks_within_a_look_is_not_taken_for_one_without_a_queue() {
    let mut world = World::new(64, TEN_MILLIS);
    world.run(5);
    assert!((0..100_000).any(|_| world.step() > 0 && world.limit.look.is_some()));
    world.server.workers = 16;
    world.run(3);
    let seen = world.run(5);
    assert!(seen.busy >= 0.9 && seen.latency <= 25.0, "{seen:?}");
}

#[test]
fn slow_answers_to_few_requests_are_not_the_limits_doing() {
    let mut world = World::new(100, TEN_MILLIS);
    world.run(5);
    let before = world.limit.limit();
    world.demand = 5;
    world.server.work = Work::Constant(100_000);
    assert_eq!(world.run(5).limit, before);
}

#[test]
fn work_that_takes_longer_is_not_mistaken_for_a_queue() {
    let mut world = World::new(64, TEN_MILLIS);
    world.run(5);
    world.server.work = Work::Constant(30_000);
    world.run(1);
    let seen = world.run(5);
    assert!(seen.busy >= 0.9, "{seen:?}");
    assert!(seen.latency <= 60.0, "{seen:?}");
}

#[test]
fn work_that_takes_less_is_done_at_once_and_its_queue_is_found_at_the_next_look() {
    let mut world = World::new(8, Work::Constant(30_000));
    world.run(5);
    world.server.work = TEN_MILLIS;
    let seen = world.run(5);
    assert!(seen.busy >= 0.9, "{seen:?}");
    world.run(6);
    let seen = world.run(5);
    assert!(seen.busy >= 0.9 && seen.latency <= 20.0, "{seen:?}");
}

fn limit(min: usize, start: usize, max: usize) -> Adaptive {
    Adaptive::new(Policy { min, start, max }, Moment::ORIGIN)
}

fn at(millis: u64) -> Moment {
    Moment::ORIGIN + Duration::from_millis(millis)
}

const QUICK: Ended = Ended::Answered(Duration::from_millis(1));

#[test]
fn time_outs_bring_it_down_to_the_least() {
    let mut limit = limit(4, 100, 1000);
    for nth in 0..2000 {
        limit.note(Ended::TimedOut, limit.limit(), at(10 * nth));
    }
    assert_eq!(limit.limit(), 4);
    for nth in 2000..6000 {
        limit.note(QUICK, limit.limit(), at(10 * nth));
    }
    assert!(limit.limit() > 50, "and answers up again: {limit:?}");
}

#[test]
fn a_few_time_outs_count_by_their_share() {
    let after = |one_in: u64| {
        let mut limit = limit(4, 100, 1000);
        for nth in 0..2000 {
            limit.note(if nth % one_in == 0 { Ended::TimedOut } else { QUICK }, limit.limit(), at(10 * nth));
        }
        limit.limit()
    };
    assert!(after(5) < 10 && after(10) < 20, "{} and {}", after(5), after(10));
    assert!(after(500) > 100, "{}", after(500));
}

#[test]
fn time_outs_that_come_all_at_once_count_once() {
    let mut limit = limit(4, 100, 1000);
    for _ in 0..1000 {
        limit.note(Ended::TimedOut, 100, at(15_000));
    }
    assert_eq!(limit.limit(), 55);
}

#[test]
fn a_request_that_began_earlier_says_nothing_of_this_round() {
    let mut limit = limit(4, 20, 1000);
    for _ in 0..1000 {
        limit.note(Ended::Answered(Duration::from_millis(101)), 20, at(100));
    }
    assert_eq!(limit.round.answered, 0);
    limit.note(Ended::Answered(Duration::from_millis(100)), 20, at(100));
    assert_eq!(limit.round.answered, 1);
}

#[test]
fn a_look_is_given_up_when_requests_stop() {
    let mut world = World::new(8, TEN_MILLIS);
    let looks = (0..1000).any(|_| world.step() > 0 && world.limit.look.is_some());
    assert!(looks, "{:?}", world.limit);
    let low = world.limit.limit();
    world.limit.note(QUICK, 1, world.moment() + Duration::from_secs(60));
    assert!(world.limit.look.is_none() && world.limit.limit() > low, "{low}: {:?}", world.limit);
}

#[test]
fn it_stays_within_its_bounds_whatever_comes() {
    for seed in 0..100 {
        let mut random = fastrand::Rng::with_seed(seed);
        let min = random.usize(1..50);
        let max = min + random.usize(0..50);
        let mut limit = limit(min, random.usize(min..=max), max);
        let mut now = 0;
        for _ in 0..5000 {
            now += random.u64(0..20);
            let latency = Duration::from_micros(1 << random.u32(0..25));
            let ended = if random.u8(0..20) == 0 { Ended::TimedOut } else { Ended::Answered(latency) };
            limit.note(ended, random.usize(0..120), at(now));
            assert!((min..=max).contains(&limit.limit()), "seed {seed}: {limit:?}");
        }
    }
}

#[test]
fn what_was_learnt_of_a_server_is_inherited() {
    let mut world = World::new(8, TEN_MILLIS);
    let before = world.run(25);
    world.limit = Adaptive::inherit(world.limit.policy, world.limit.bequeath(), world.moment());
    assert_eq!(world.limit.limit(), before.limit);
    let looks = (0..400).any(|_| world.step() > 0 && world.limit.look.is_some());
    assert!(!looks && world.limit.unloaded.is_some(), "there is no need to look at once: {:?}", world.limit);
    let first = world.run(1);
    assert!(first.busy >= 0.95 && first.latency <= before.latency * 1.2, "{first:?} after {before:?}");
}

/// Not what it was held down to for a moment.
#[test]
fn a_limit_that_is_handed_over_in_the_middle_of_a_look_is_the_one_before() {
    let mut world = World::new(8, TEN_MILLIS);
    let looks = (0..1000).any(|_| world.step() > 0 && world.limit.look.is_some());
    assert!(looks);
    let heir = Adaptive::inherit(world.limit.policy, world.limit.bequeath(), world.moment());
    assert!(heir.limit() > world.limit.limit(), "{heir:?}");
}

#[test]
fn an_inherited_limit_is_within_the_bounds_of_the_new_policy() {
    let policy = Policy { min: 4, start: 20, max: 100 };
    let inherited = |limit, unloaded: Option<Duration>| {
        let known = estate::Limit { limit, unloaded: unloaded.map(Into::into) };
        Adaptive::inherit(policy, known, at(5))
    };
    assert_eq!([0, 50, u32::MAX].map(|limit| inherited(limit, None).limit()), [4, 50, 100]);
    for unloaded in [Duration::ZERO, Duration::from_nanos(1_000), Duration::MAX] {
        let mut limit = inherited(50, Some(unloaded));
        for nth in 1..1000 {
            limit.note(QUICK, limit.limit(), at(10 * nth));
            assert!((4..=100).contains(&limit.limit()), "{limit:?}");
        }
    }
}
