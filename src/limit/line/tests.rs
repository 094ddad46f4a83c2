//! The line in virtual time: its order, its ends, its pace, and that no place is ever lost.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::Priority::{High, Low, Normal};
use super::*;

fn at(millis: u64) -> Moment {
    Moment::ORIGIN + Duration::from_millis(millis)
}

/// Late enough for all that happens here.
const LATE: u64 = 1_000_000;

/// A line of `places` that are all taken.
fn full(places: usize, most_waiting: usize) -> Line<u32> {
    let mut line = Line::new(places, most_waiting);
    assert!((0..places).all(|_| line.try_enter()));
    line
}

fn join(line: &mut Line<u32>, priority: Priority, deadline: u64, now: u64, token: u32) -> Ticket {
    match line.join(priority, at(deadline), at(now), token).unwrap() {
        Joined::Waiting { ticket, turned_away: None } => ticket,
        other => panic!("{other:?}"),
    }
}

/// One leaves at a time until nobody is let in any more.
fn order(line: &mut Line<u32>, now: u64) -> Vec<u32> {
    std::iter::from_fn(|| {
        line.leave();
        line.admit_next(at(now))
    })
    .collect()
}

#[test]
fn a_free_place_is_taken_at_once_and_the_one_too_many_waits() {
    let mut line = Line::new(2, 1);
    assert_eq!(line.join(Low, at(LATE), at(0), 1), Ok(Joined::Inside));
    assert!(line.try_enter() && !line.try_enter());
    join(&mut line, Normal, LATE, 0, 3);
    assert_eq!((line.inside(), line.waiting()), (2, 1));
    assert_eq!(line.admit_next(at(1)), None, "nobody has left");
}

#[test]
fn nobody_overtakes_those_who_wait() {
    let mut line = full(1, 8);
    join(&mut line, Low, LATE, 0, 1);
    line.leave();
    assert!(!line.try_enter());
    assert_eq!(line.admit_next(at(1)), Some(1));
}

#[test]
fn by_class_and_within_a_class_in_order_of_arrival() {
    let mut line = full(1, 8);
    for (token, priority) in [Low, Normal, High, Low, High, Normal].into_iter().enumerate() {
        join(&mut line, priority, LATE, 0, token as u32);
    }
    assert_eq!(order(&mut line, 1), [2, 4, 1, 5, 0, 3]);
}

#[test]
fn a_full_line_turns_away_the_youngest_of_the_lowest_class_below() {
    let mut line = full(1, 4);
    for (token, priority) in [Low, Low, Normal, Normal].into_iter().enumerate() {
        join(&mut line, priority, LATE, 0, token as u32);
    }
    let mut came = |priority, token| match line.join(priority, at(LATE), at(1), token) {
        Ok(Joined::Waiting { turned_away, .. }) => turned_away,
        other => panic!("{other:?}"),
    };
    assert_eq!([came(High, 10), came(Normal, 11), came(High, 12)], [Some(1), Some(0), Some(11)]);
    for priority in [Normal, Low] {
        assert_eq!(line.join(priority, at(LATE), at(1), 13), Err(Refused::QueueFull), "{priority:?}");
    }
    assert_eq!(order(&mut line, 2), [10, 12, 2, 3]);
}

#[test]
fn equals_do_not_turn_each_other_away() {
    for priority in Priority::ALL {
        let mut line = full(1, 1);
        join(&mut line, priority, LATE, 0, 1);
        assert_eq!(line.join(priority, at(LATE), at(0), 2), Err(Refused::QueueFull));
    }
}

#[test]
fn where_nobody_may_wait_nobody_does() {
    let mut line = full(1, 0);
    assert_eq!(line.join(High, at(LATE), at(0), 1), Err(Refused::QueueFull));
    assert!(!line.step_aside());
}

#[test]
fn a_place_goes_to_the_first_who_still_has_time() {
    let mut line = full(1, 8);
    join(&mut line, High, 50, 0, 1);
    join(&mut line, Normal, 100, 0, 2);
    join(&mut line, Normal, 101, 0, 3);
    line.leave();
    assert_eq!(line.admit_next(at(100)), Some(3), "at its deadline it is too late");
    assert_eq!((line.inside(), line.waiting()), (1, 0));
}

#[test]
fn who_has_no_time_at_all_does_not_wait() {
    let mut line = full(1, 8);
    assert_eq!(line.join(High, at(5), at(5), 1), Err(Refused::NoTime));
    assert_eq!(line.waiting(), 0);
}

#[test]
fn who_abandons_leaves_the_others_in_order() {
    let mut line = full(1, 2);
    let first = join(&mut line, Normal, LATE, 0, 1);
    join(&mut line, Normal, LATE, 0, 2);
    assert_eq!(line.abandon(first), Some(1));
    assert_eq!(line.abandon(first), None, "it is not there any more");
    join(&mut line, Normal, LATE, 0, 3);
    assert_eq!(order(&mut line, 1), [2, 3]);
    assert_eq!(line.abandon(first), None);
}

#[test]
fn those_aside_count_as_waiting_and_are_never_turned_away() {
    let mut line = full(1, 2);
    assert!(line.step_aside());
    join(&mut line, Low, LATE, 0, 1);
    assert!(!line.step_aside());
    assert!(matches!(line.join(High, at(LATE), at(0), 2), Ok(Joined::Waiting { turned_away: Some(1), .. })));
    assert_eq!(line.join(High, at(LATE), at(0), 3), Err(Refused::QueueFull));
    line.step_back();
    assert_eq!(line.waiting(), 1);
    join(&mut line, High, LATE, 0, 3);
}

#[test]
fn a_limit_that_rises_lets_waiters_in_and_one_that_falls_waits_for_leavers() {
    let mut line = full(2, 8);
    for token in 1..=4 {
        join(&mut line, Normal, LATE, 0, token);
    }
    line.set_limit(4);
    assert_eq!(
        [line.admit_next(at(1)), line.admit_next(at(1)), line.admit_next(at(1))],
        [Some(1), Some(2), None]
    );
    line.set_limit(2);
    assert_eq!(order(&mut line, 2), [] as [u32; 0], "still three inside");
    assert_eq!(line.inside(), 3);
    assert_eq!((line.leave(), line.admit_next(at(2))), ((), None));
    assert_eq!((line.leave(), line.admit_next(at(2))), ((), Some(3)));
}

/// A line whose server has served one each `pace` ms until `now`, with one who waits all the time.
fn paced(pace: u64, turns: u64) -> (Line<u32>, u64) {
    let mut line = full(1, 1000);
    join(&mut line, Normal, LATE, 0, 0);
    for turn in 1..=turns {
        join(&mut line, Normal, LATE, (turn - 1) * pace, 0);
        line.leave();
        assert!(line.admit_next(at(turn * pace)).is_some());
    }
    (line, turns * pace)
}

/// How many newcomers of a class, each with so much time, are let wait.
fn let_wait(line: &mut Line<u32>, priority: Priority, time: u64, now: u64) -> usize {
    let before = line.waiting();
    let joined = |_: &usize| line.join(priority, at(now + time), at(now), 9).is_ok();
    let count = (0..2000_usize).take_while(joined).count();
    assert_eq!(line.waiting(), before + count);
    count
}

#[test]
fn whose_turn_would_come_too_late_is_told_at_once() {
    let (mut line, now) = paced(5, 100);
    assert_eq!(line.waiting(), 1);
    assert_eq!(let_wait(&mut line, Normal, 500, now), 99, "a hundred turns of 5 ms in 500 ms");
    assert_eq!(line.join(Normal, at(now + 500), at(now), 1), Err(Refused::NoTime));
    assert_eq!(let_wait(&mut line, High, 50, now), 10, "only those ahead count: nobody waits above Normal");
    assert!(line.join(Normal, at(now + 600), at(now), 1).is_ok(), "one with more time may wait");
}

#[test]
fn a_pace_is_believed_only_after_enough_turns() {
    let (mut line, now) = paced(100, u64::from(ENOUGH) - 1);
    assert_eq!(let_wait(&mut line, Normal, 500, now), 999, "all that may wait");
    let (mut line, now) = paced(100, u64::from(ENOUGH));
    assert_eq!(let_wait(&mut line, Normal, 500, now), 4);
}

#[test]
fn the_first_in_line_is_never_refused_for_the_pace() {
    let (mut line, now) = paced(1000, 100);
    line.leave();
    assert!(line.admit_next(at(now + 1)).is_some());
    assert_eq!(let_wait(&mut line, Normal, 500, now + 2), 1, "somebody has to find out");
}

#[test]
fn a_pace_that_is_a_second_old_is_forgotten() {
    let (mut line, now) = paced(100, 100);
    line.leave();
    assert!(line.admit_next(at(now)).is_some());
    let soon = now + 1000;
    let ticket = join(&mut line, Normal, LATE, soon, 1);
    assert!(line.join(Normal, at(soon + 150), at(soon), 2).is_err());
    line.abandon(ticket);
    let later = soon + 1001;
    join(&mut line, Normal, LATE, later, 1);
    assert!(line.join(Normal, at(later + 150), at(later), 2).is_ok());
}

#[test]
fn time_with_nobody_waiting_is_not_the_servers() {
    let mut line = full(1, 10);
    for turn in 0..100 {
        let now = turn * 500;
        join(&mut line, Normal, LATE, now, 1);
        line.leave();
        assert!(line.admit_next(at(now + 2)).is_some());
    }
    let now = 100 * 500;
    assert_eq!(let_wait(&mut line, Normal, 10, now), 5);
}

#[test]
fn one_stumble_does_not_turn_away_who_comes_after_it() {
    let (mut line, now) = paced(5, 100);
    line.leave();
    assert!(line.admit_next(at(now + 10_000)).is_some());
    assert!(let_wait(&mut line, Normal, 500, now + 10_000) >= 80);
}

#[test]
fn a_server_that_stays_slower_is_believed() {
    let (mut line, mut now) = paced(5, 100);
    for _ in 0..100 {
        join(&mut line, Normal, LATE, now, 0);
        now += 50;
        line.leave();
        assert!(line.admit_next(at(now)).is_some());
    }
    assert!(let_wait(&mut line, Normal, 500, now) <= 12);
    assert!(line.pace.per_turn().is_some_and(|pace| pace < Duration::from_millis(55)));
}

#[test]
fn turns_at_the_same_moment_are_no_pace_for_ever() {
    let mut line = full(0, 1000);
    for token in 0..40 {
        join(&mut line, Normal, LATE, 0, token);
    }
    line.set_limit(40);
    assert_eq!((0..40).filter(|_| line.admit_next(at(0)).is_some()).count(), 40);
    for turn in 1..=200 {
        join(&mut line, Normal, LATE, 100 * (turn - 1), 0);
        line.leave();
        assert!(line.admit_next(at(100 * turn)).is_some());
    }
    assert!(line.pace.per_turn().is_some_and(|pace| pace > Duration::from_millis(90)), "{:?}", line.pace);
}

/// What the line should be, written down as plainly as can be: a list in order of arrival.
#[derive(Default)]
struct Model {
    limit: usize,
    most_waiting: usize,
    inside: usize,
    aside: usize,
    /// Class, deadline, token, ticket.
    list: Vec<(Priority, u64, u32, Ticket)>,
}

impl Model {
    fn first(&self) -> Option<usize> {
        (0..self.list.len()).min_by_key(|place| (self.list[*place].0, *place))
    }

    fn youngest_below(&self, priority: Priority) -> Option<usize> {
        let below = (0..self.list.len()).filter(|place| self.list[*place].0 > priority);
        below.max_by_key(|place| (self.list[*place].0, *place))
    }

    fn admit_next(&mut self, now: u64) -> Option<u32> {
        while self.inside < self.limit {
            let (_, deadline, token, _) = self.list.remove(self.first()?);
            if now < deadline {
                self.inside += 1;
                return Some(token);
            }
        }
        None
    }

    fn is_full(&self) -> bool {
        self.list.len() + self.aside >= self.most_waiting
    }
}

/// The line and the model, through the same life.
struct Both {
    line: Line<u32>,
    model: Model,
    random: fastrand::Rng,
    now: u64,
    tokens: u32,
}

impl Both {
    fn new(seed: u64) -> Both {
        let mut random = fastrand::Rng::with_seed(seed);
        let (limit, most_waiting) = (random.usize(0..6), random.usize(0..10));
        let model = Model { limit, most_waiting, ..Model::default() };
        Both { line: Line::new(limit, most_waiting), model, random, now: 0, tokens: 0 }
    }

    fn step(&mut self) {
        self.now += self.random.u64(0..8);
        match self.random.u8(0..100) {
            0..45 => self.join(),
            45..75 => self.leave(),
            75..85 => self.abandon(),
            85..90 => self.step_aside(),
            90..95 => self.step_back(),
            _ => self.set_limit(),
        }
        self.admit();
        assert_eq!(self.line.inside(), self.model.inside);
        assert_eq!(self.line.waiting(), self.model.list.len() + self.model.aside);
        assert!(self.line.waiting() <= self.model.most_waiting);
        assert!(self.model.inside >= self.model.limit || self.model.list.is_empty(), "a place is lost");
    }

    fn join(&mut self) {
        let priority = Priority::ALL[self.random.usize(0..3)];
        let deadline = self.now + self.random.u64(0..200);
        self.tokens += 1;
        let (token, model) = (self.tokens, &mut self.model);
        let ahead = model.list.iter().filter(|waiter| waiter.0 <= priority).count();
        let pace = self.line.pace.per_turn();
        match self.line.join(priority, at(deadline), at(self.now), token) {
            Ok(Joined::Inside) => {
                assert!(model.inside < model.limit && model.list.is_empty());
                model.inside += 1;
            }
            Ok(Joined::Waiting { ticket, turned_away }) => {
                assert!(model.inside >= model.limit && self.now < deadline);
                let went = if model.is_full() { model.youngest_below(priority) } else { None };
                assert_eq!(turned_away, went.map(|place| model.list.remove(place).2));
                model.list.push((priority, deadline, token, ticket));
            }
            Err(Refused::QueueFull) => assert!(model.is_full() && model.youngest_below(priority).is_none()),
            Err(Refused::NoTime) if self.now < deadline => {
                assert!(ahead > 0 && at(self.now) + pace.unwrap() * (ahead as u32 + 1) > at(deadline));
            }
            Err(refused) => assert_eq!(refused, Refused::NoTime),
        }
    }

    fn leave(&mut self) {
        if self.model.inside > 0 {
            self.line.leave();
            self.model.inside -= 1;
        }
    }

    fn abandon(&mut self) {
        if !self.model.list.is_empty() {
            let place = self.random.usize(0..self.model.list.len());
            let (_, _, token, ticket) = self.model.list.remove(place);
            assert_eq!(self.line.abandon(ticket), Some(token));
            assert_eq!(self.line.abandon(ticket), None);
        }
    }

    fn step_aside(&mut self) {
        let room = !self.model.is_full();
        assert_eq!(self.line.step_aside(), room);
        self.model.aside += usize::from(room);
    }

    fn step_back(&mut self) {
        if self.model.aside > 0 {
            self.line.step_back();
            self.model.aside -= 1;
        }
    }

    fn set_limit(&mut self) {
        self.model.limit = self.random.usize(0..6);
        self.line.set_limit(self.model.limit);
    }

    fn admit(&mut self) {
        loop {
            let admitted = self.line.admit_next(at(self.now));
            assert_eq!(admitted, self.model.admit_next(self.now));
            if admitted.is_none() {
                return;
            }
        }
    }
}

#[test]
fn no_place_is_lost_and_no_turn_is_taken_over_random_lives() {
    for seed in 0..200 {
        let mut both = Both::new(seed);
        (0..500).for_each(|_| both.step());
        while both.model.inside > 0 {
            both.leave();
            both.admit();
        }
        assert_eq!(both.line.inside(), 0, "seed {seed}");
    }
}
