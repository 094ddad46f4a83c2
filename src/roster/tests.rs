//! What the roster does when endpoints fail, in virtual time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::health::ejection::Ejection;
use crate::health::probe::Thresholds;

const POLICY: Policy = Policy {
    checks: None,
    ejection: Ejection {
        consecutive_failures: 3,
        failure_percent: 50,
        window: Duration::from_secs(10),
        min_requests: 20,
        latency: None,
        base: Duration::from_secs(10),
        max_percent: 50,
    },
    slow_start: None,
    panic_percent: 0,
};
const CHECKED: Policy = Policy {
    checks: Some(Thresholds { healthy: 2, unhealthy: 2 }),
    slow_start: Some(Duration::from_secs(30)),
    ..POLICY
};

/// A roster at a moment; endpoints are known by the last part of their address.
struct Play {
    roster: Roster<u8>,
    now: Moment,
    random: fastrand::Rng,
}

fn member(last: u8) -> Member {
    Member { address: ([10, 0, 0, last], 80).into(), weight: 1, tier: 0, drained: false }
}

impl Play {
    fn new(balance: &Balance, policy: Policy, members: &[Member]) -> Play {
        let mut play = Play {
            roster: Roster::new(balance, policy),
            now: Moment::ORIGIN + Duration::from_secs(1000),
            random: fastrand::Rng::with_seed(1),
        };
        play.set_members(members);
        play
    }

    fn round_robin(policy: Policy, count: u8) -> Play {
        Play::new(&Balance::RoundRobin, policy, &(1..=count).map(member).collect::<Vec<_>>())
    }

    fn set_members(&mut self, members: &[Member]) -> (Vec<SeatId>, Events) {
        let last = |_: SeatId, member: &Member| member.address.to_string().as_bytes()[7] - b'0';
        self.roster.set_members(members, Ring::default(), last, self.now)
    }

    fn pass(&mut self, span: Duration) -> Events {
        self.now = self.now + span;
        self.roster.refresh(self.now)
    }

    fn seat(&self, last: u8) -> SeatId {
        self.roster.members().find(|(_, seat)| *seat.endpoint() == last).expect("a member").0
    }

    fn fitness(&self, last: u8) -> Fitness {
        self.roster.member(self.seat(last)).unwrap().fitness()
    }

    fn pick_as(&mut self, careful: bool, tried: &Tried) -> Option<Choice<u8>> {
        let wanted = Wanted { tried, key: None, pinned: None, careful, bodiless: true };
        self.roster.pick(&wanted, self.now, &mut self.random)
    }

    fn get(&mut self) -> Option<Choice<u8>> {
        self.pick_as(false, &Tried::default())
    }

    fn end(&mut self, choice: Choice<u8>, ended: Ended) -> Events {
        if let Ended::Well(latency) = ended {
            self.roster.spoke(choice.seat, latency, self.now);
        }
        self.roster.end(choice.seat, choice.trial, ended, self.now)
    }

    /// Requests until one has met this endpoint; the others are answered.
    fn meet(&mut self, last: u8, ended: Ended) -> Events {
        for _ in 0..100 {
            let choice = self.get().expect("somebody to ask");
            if choice.endpoint == last {
                return self.end(choice, ended);
            }
            self.end(choice, WELL);
        }
        panic!("{last} is not asked");
    }

    fn fail(&mut self, last: u8, times: usize) -> Events {
        (0..times).map(|_| self.meet(last, Ended::Badly)).last().unwrap_or_default()
    }

    fn check(&mut self, last: u8, result: Result<(), Miss>) -> Events {
        self.roster.checked(self.seat(last), result, self.now)
    }

    fn check_all_well(&mut self) {
        let seats: Vec<_> = self.roster.members().map(|(id, _)| id).collect();
        for id in seats {
            self.roster.checked(id, Ok(()), self.now);
        }
    }

    /// Whom so many requests meet, each answered well.
    fn met(&mut self, requests: usize) -> Vec<u8> {
        let mut met: Vec<u8> = (0..requests).filter_map(|_| self.asked()).collect();
        met.sort_unstable();
        met.dedup();
        met
    }

    fn asked(&mut self) -> Option<u8> {
        let choice = self.get()?;
        self.end(choice, WELL);
        Some(choice.endpoint)
    }
}

const WELL: Ended = Ended::Well(Duration::from_millis(1));

#[test]
fn nobody_is_asked_before_the_first_check_and_one_is_enough() {
    let mut play = Play::round_robin(CHECKED, 2);
    assert!(play.get().is_none() && !play.roster.is_checked());
    assert_eq!(play.fitness(1), Fitness::Unfit(health::Reason::Unchecked));
    let events = play.check(1, Ok(()));
    assert!(events.contains(&Event::Fit(play.seat(1))) && events.contains(&Event::Revived));
    assert_eq!(play.met(5), [1]);
    play.check(2, Err(Miss::NoConnection));
    assert!(play.roster.is_checked());
    assert_eq!(play.met(5), [1]);
}

#[test]
fn a_check_that_fails_puts_in_doubt_and_the_next_takes_out() {
    let mut play = Play::round_robin(CHECKED, 2);
    play.check_all_well();
    play.check(1, Err(Miss::TimedOut));
    assert_eq!(play.met(10), [1, 2]);
    let careful: Vec<_> = (0..10).map(|_| play.pick_as(true, &Tried::default()).unwrap().endpoint).collect();
    assert!(!careful.contains(&1), "careful requests avoid it at once: {careful:?}");
    let events = play.check(1, Err(Miss::TimedOut));
    assert!(events.contains(&Event::Unfit(play.seat(1), health::Reason::Unhealthy(Miss::TimedOut))));
    assert_eq!(play.met(10), [2]);
}

#[test]
fn failures_in_a_row_eject_and_one_trial_readmits() {
    let mut play = Play::round_robin(POLICY, 3);
    let why = Why::Consecutive { failures: 3, answered: true };
    let events = play.fail(2, 3);
    assert!(events.contains(&Event::Ejected(play.seat(2), why)), "{events:?}");
    assert_eq!((play.fitness(2), play.met(20)), (Fitness::Unfit(health::Reason::Ejected(why)), vec![1, 3]));
    play.pass(Duration::from_secs(9));
    assert_eq!(play.met(20), [1, 3]);
    let events = play.pass(Duration::from_secs(1));
    assert!(events.contains(&Event::Revived));
    let trial = play.get().unwrap();
    assert!(trial.trial && trial.endpoint == 2);
    assert_eq!(play.met(20), [1, 3], "one at a time");
    play.end(trial, WELL);
    assert_eq!(play.met(20), [1, 2, 3]);
}

#[test]
fn a_trial_that_fails_costs_more_time_than_the_last() {
    let mut play = Play::round_robin(POLICY, 3);
    play.fail(2, 3);
    play.pass(Duration::from_secs(10));
    let trial = play.get().unwrap();
    play.end(trial, Ended::Silent);
    play.pass(Duration::from_secs(19));
    assert_eq!(play.met(20), [1, 3]);
    play.pass(Duration::from_secs(1));
    assert!(play.get().unwrap().trial);
}

/// The second of three, ejected and half-open: a first trial that is overdue, and the one that follows it.
fn two_trials() -> (Play, Choice<u8>, Choice<u8>) {
    let mut play = Play::round_robin(POLICY, 3);
    play.fail(2, 3);
    play.pass(Duration::from_secs(10));
    let first = play.get().unwrap();
    play.pass(Duration::from_secs(11));
    let second = play.get().unwrap();
    assert!(first.trial && second.trial);
    (play, first, second)
}

/// The first trial has no end, so there is a second, which goes well; what becomes of the first is then one failure.
#[test]
fn a_trial_that_is_late_decides_nothing_any_more() {
    let (mut play, endless, second) = two_trials();
    play.end(second, WELL);
    let events = play.end(endless, Ended::Silent);
    assert!(events.iter().all(|event| !matches!(event, Event::Ejected(..))), "{events:?}");
    assert_eq!(play.fitness(2), Fitness::Fit);
}

/// A tunnel was the first trial, and lasted; a second one has shown that the endpoint is as ill as before.
#[test]
fn a_trial_that_ends_within_the_next_ejection_does_not_end_that() {
    for ended in [WELL, Ended::Silent] {
        let (mut play, tunnel, second) = two_trials();
        play.end(second, Ended::Silent);
        play.pass(Duration::from_secs(19));
        let events = play.end(tunnel, ended);
        assert!(!events.iter().any(|event| matches!(event, Event::Ejected(..))), "nor longer: {events:?}");
        assert_eq!(play.met(20), [1, 3]);
        play.pass(Duration::from_secs(1));
        assert!(play.get().unwrap().trial);
    }
}

#[test]
fn a_trial_that_is_given_up_is_made_again() {
    let mut play = Play::round_robin(POLICY, 3);
    play.fail(2, 3);
    play.pass(Duration::from_secs(10));
    let trial = play.get().unwrap();
    play.end(trial, Ended::Unknown);
    assert!(play.get().unwrap().trial);
}

/// Requests that wait for somebody to come back slept on, though one of them could have been the trial.
#[test]
fn who_waits_hears_that_a_trial_can_be_made_again() {
    let mut play = Play::round_robin(POLICY, 3);
    play.fail(2, 3);
    play.pass(Duration::from_secs(10));
    let given_up = play.get().unwrap();
    let events = play.end(given_up, Ended::GivenUp(Duration::from_millis(50)));
    assert!(given_up.trial && events.contains(&Event::Revived), "{events:?}");
    let endless = play.get().unwrap();
    assert!(endless.trial && !play.pass(Duration::from_secs(9)).contains(&Event::Revived));
    assert!(play.pass(Duration::from_secs(2)).contains(&Event::Revived));
    assert!(!play.pass(Duration::from_secs(20)).contains(&Event::Revived), "once");
}

/// They would all fail at once for want of descriptors, instead of waiting for a while.
#[test]
fn nobody_is_woken_for_a_trial_that_the_proxy_could_not_make() {
    let mut play = Play::round_robin(POLICY, 3);
    play.fail(2, 3);
    play.pass(Duration::from_secs(10));
    let trial = play.get().unwrap();
    let events = play.end(trial, Ended::Unmade);
    assert!(trial.trial && events.is_empty(), "{events:?}");
    assert!(play.get().unwrap().trial, "but the next may try");
}

#[test]
fn a_request_that_cannot_be_repeated_is_no_trial_unless_no_other_comes() {
    let mut play = Play::round_robin(POLICY, 3);
    play.fail(2, 3);
    play.pass(Duration::from_secs(10));
    assert!(!play.pick_as(true, &Tried::default()).unwrap().trial);
    play.pass(Duration::from_secs(10));
    assert!(play.pick_as(true, &Tried::default()).unwrap().trial);
}

#[test]
fn where_all_others_are_out_a_trial_may_be_any_request() {
    let mut play = Play::round_robin(POLICY, 2);
    play.fail(2, 3);
    play.set_members(&[Member { drained: true, ..member(1) }, member(2)]);
    assert!(play.get().is_none());
    play.pass(Duration::from_secs(10));
    assert!(play.pick_as(true, &Tried::default()).unwrap().trial);
    assert!(play.get().is_none(), "it is under way");
}

/// Where no checks are made, one is made only because requests wait for anybody who is there.
#[test]
fn who_is_there_when_nobody_else_is_need_not_wait_for_the_end_of_its_ejection() {
    let mut play = Play::round_robin(POLICY, 3);
    play.fail(2, 3);
    let events = play.check(2, Ok(()));
    assert!(events.contains(&Event::Revived) && play.fitness(2) == Fitness::Fit, "{events:?}");
    let mut checked = Play::round_robin(CHECKED, 3);
    checked.check_all_well();
    checked.fail(2, 3);
    checked.check(2, Ok(()));
    assert_ne!(checked.fitness(2), Fitness::Fit, "a green check is no reason where requests fail");
}

/// Requests found that nobody was there before the checks did; now the checks find that somebody is.
#[test]
fn who_was_ejected_for_silence_gets_its_trial_when_its_checks_are_good_again() {
    let mut play = Play::round_robin(CHECKED, 2);
    play.check_all_well();
    (0..3).for_each(|_| drop(play.meet(1, Ended::Silent)));
    (0..2).for_each(|_| drop(play.check(1, Err(Miss::NoConnection))));
    play.roster.checked(play.seat(1), Ok(()), play.now);
    let events = play.check(1, Ok(()));
    assert!(events.contains(&Event::Revived), "{events:?}");
    let trial = play.pick_as(true, &Tried::default());
    assert!(!trial.unwrap().trial, "a careful one is none while there is another");
    (0..2).for_each(|_| drop(play.check(2, Err(Miss::NoConnection))));
    assert!(play.pick_as(true, &Tried::default()).unwrap().trial, "and is where there is not");
}

#[test]
fn no_more_are_ejected_than_may_be() {
    let mut play = Play::round_robin(POLICY, 3);
    play.fail(1, 3);
    let events = play.fail(2, 3);
    assert!(matches!(events[..], [.., Event::Spared(seat, _)] if seat == play.seat(2)), "{events:?}");
    assert_eq!(play.met(20), [2, 3]);
    let mut alone = Play::round_robin(POLICY, 1);
    alone.fail(1, 10);
    assert_eq!(alone.met(3), [1]);
}

/// Ten, of which five are out; then the five that served leave, and nobody was left to serve.
#[test]
fn members_that_leave_do_not_leave_only_ejected_ones_behind() {
    let policy = Policy { slow_start: Some(Duration::from_secs(30)), ..POLICY };
    let mut play = Play::round_robin(policy, 9);
    for last in 1..=4 {
        play.fail(last, 3);
        play.pass(Duration::from_millis(10));
    }
    let (_, events) = play.set_members(&[1, 2, 3, 4, 5].map(member));
    let ejected = |play: &Play| {
        let seats = play.roster.members().map(|(_, seat)| seat);
        seats.filter(|seat| seat.fitness != Fitness::Fit).map(|seat| seat.endpoint).collect::<Vec<_>>()
    };
    assert_eq!(ejected(&play), [3, 4], "the surplus is in, the oldest first");
    assert!(events.contains(&Event::Fit(play.seat(1))) && events.contains(&Event::Revived), "{events:?}");
    assert_eq!(play.roster.shares()[..5], [1, 1, 0, 0, 10], "it starts slowly");
    play.set_members(&[3, 4].map(member));
    assert_eq!(ejected(&play), [4]);
}

/// Else an endpoint that is broken for good would begin with the shortest ejection each time that members leave.
#[test]
fn who_is_readmitted_because_others_left_is_not_forgiven() {
    let mut play = Play::round_robin(POLICY, 4);
    play.fail(1, 3);
    play.fail(2, 3);
    play.set_members(&[1, 2, 3].map(member));
    assert_eq!((play.fitness(1), play.met(9)), (Fitness::Fit, vec![1, 3]));
    play.set_members(&[1, 2, 3, 4, 5].map(member));
    play.fail(1, 3);
    play.pass(Duration::from_secs(10));
    play.asked();
    assert!(matches!(play.fitness(1), Fitness::Unfit(health::Reason::Ejected(_))), "twice as long");
}

#[test]
fn an_outlier_is_ejected_only_beside_quicker_ones() {
    let ejection = Ejection { latency: Some(Duration::from_millis(100)), ..POLICY.ejection };
    let mut play = Play::round_robin(Policy { ejection: ejection.clone(), ..POLICY }, 3);
    for _ in 0..20 {
        play.meet(2, Ended::Well(Duration::from_millis(800)));
    }
    assert_eq!(play.met(20), [1, 3]);
    let mut slow = Play::round_robin(Policy { ejection, ..POLICY }, 3);
    for _ in 0..100 {
        let choice = slow.get().unwrap();
        slow.end(choice, Ended::Well(Duration::from_millis(800)));
    }
    assert_eq!(slow.met(20), [1, 2, 3], "they are all slow");
}

#[test]
fn a_careful_request_avoids_who_has_just_failed() {
    let mut play = Play::round_robin(POLICY, 3);
    let events = play.fail(2, 1);
    assert!(events.contains(&Event::Doubted(play.seat(2))));
    let careful = |play: &mut Play| -> Vec<u8> {
        let mut ask = |_| {
            let choice = play.pick_as(true, &Tried::default()).unwrap();
            play.end(choice, Ended::Unknown);
            choice.endpoint
        };
        (0..9).map(&mut ask).collect()
    };
    assert!(!careful(&mut play).contains(&2));
    assert_eq!(play.met(9), [1, 2, 3], "others find out");
    assert!(careful(&mut play).contains(&2), "and have found out");
    play.fail(2, 1);
    play.pass(Duration::from_secs(1));
    assert!(careful(&mut play).contains(&2), "a doubt does not last");
}

#[test]
fn a_careful_request_avoids_who_is_silent() {
    let mut play = Play::round_robin(POLICY, 2);
    assert_eq!(play.met(4), [1, 2]);
    let silent = play.get().unwrap();
    play.pass(Duration::from_millis(30));
    for _ in 0..4 {
        let choice = play.pick_as(true, &Tried::default()).unwrap();
        assert_ne!(choice.endpoint, silent.endpoint);
        play.end(choice, WELL);
    }
    play.end(silent, WELL);
    let choices: Vec<_> = (0..4).map(|_| play.pick_as(true, &Tried::default()).unwrap().endpoint).collect();
    assert!(choices.contains(&silent.endpoint), "it has spoken");
}

#[test]
fn who_is_left_by_clients_that_waited_long_is_ejected_and_by_others_not() {
    let mut play = Play::round_robin(POLICY, 3);
    for (waited, out) in [(900, false), (1_100, true)] {
        for _ in 0..3 {
            play.meet(2, Ended::GivenUp(Duration::from_millis(waited)));
        }
        assert_eq!(play.fitness(2) != Fitness::Fit, out, "{waited} ms");
    }
    let mut slow = Play::round_robin(POLICY, 3);
    slow.meet(2, Ended::Well(Duration::from_secs(1)));
    for _ in 0..3 {
        slow.meet(2, Ended::GivenUp(Duration::from_secs(5)));
    }
    assert_eq!(slow.fitness(2), Fitness::Fit, "it often takes that long");
}

#[test]
fn a_slow_upload_is_no_silence_of_the_endpoint() {
    let mut play = Play::round_robin(POLICY, 1);
    let tried = Tried::default();
    let wanted = Wanted { tried: &tried, key: None, pinned: None, careful: true, bodiless: false };
    let upload = play.roster.pick(&wanted, play.now, &mut play.random).unwrap();
    play.pass(Duration::from_secs(60));
    assert!(!play.roster.member(upload.seat).unwrap().is_doubtful(play.now));
    play.roster.sent(upload.seat, play.now);
    play.pass(Duration::from_secs(1));
    assert!(play.roster.member(upload.seat).unwrap().is_doubtful(play.now));
}

#[test]
fn where_all_are_in_doubt_a_careful_request_is_served_all_the_same() {
    let mut play = Play::round_robin(POLICY, 2);
    play.fail(1, 1);
    play.fail(2, 1);
    assert!(play.pick_as(true, &Tried::default()).is_some());
}

#[test]
fn what_was_tried_is_not_asked_and_then_the_reserve() {
    let backup = Member { tier: 1, ..member(3) };
    let mut play = Play::new(&Balance::RoundRobin, POLICY, &[member(1), member(2), backup]);
    assert_eq!(play.met(20), [1, 2]);
    let mut tried = Tried::default();
    for expected in [true, true, false] {
        let choice = play.pick_as(true, &tried).unwrap();
        assert_eq!(choice.endpoint != 3, expected);
        tried.insert(choice.seat.slot);
    }
    assert!(play.pick_as(true, &tried).is_none() && !play.roster.has_others(&tried));
}

#[test]
fn the_next_tier_takes_over_and_gives_back() {
    let backup = Member { tier: 1, ..member(2) };
    let mut play = Play::new(&Balance::RoundRobin, CHECKED, &[member(1), backup]);
    play.check_all_well();
    assert_eq!(play.met(10), [1]);
    (0..2).for_each(|_| drop(play.check(1, Err(Miss::NoConnection))));
    assert_eq!(play.met(10), [2]);
    (0..2).for_each(|_| drop(play.check(1, Ok(()))));
    assert_eq!(play.met(10), [1]);
}

#[test]
fn who_comes_back_starts_slowly() {
    let mut play = Play::round_robin(CHECKED, 2);
    play.check_all_well();
    assert_eq!(play.roster.shares(), [1, 1], "all start together");
    (0..2).for_each(|_| drop(play.check(1, Err(Miss::NoConnection))));
    (0..2).for_each(|_| drop(play.check(1, Ok(()))));
    assert_eq!(play.roster.shares(), [1, 10]);
    play.pass(Duration::from_secs(15));
    assert_eq!(play.roster.shares(), [11, 20]);
    play.pass(Duration::from_secs(15));
    assert_eq!(play.roster.shares(), [1, 1]);
}

#[test]
fn a_drained_endpoint_is_out_whatever_else_is_known() {
    let mut play = Play::round_robin(POLICY, 2);
    let (_, events) = play.set_members(&[Member { drained: true, ..member(1) }, member(2)]);
    assert!(events.contains(&Event::Unfit(play.seat(1), health::Reason::Drained)));
    assert_eq!(play.met(10), [2]);
    let (_, events) = play.set_members(&[member(1), member(2)]);
    assert!(events.contains(&Event::Revived));
    assert_eq!(play.met(10), [1, 2]);
}

/// It had its full share at once, with cold caches.
#[test]
fn who_is_no_longer_drained_starts_slowly() {
    let policy = Policy { slow_start: Some(Duration::from_secs(30)), ..POLICY };
    let mut play = Play::round_robin(policy, 2);
    play.set_members(&[Member { drained: true, ..member(1) }, member(2)]);
    play.pass(Duration::from_secs(60));
    play.set_members(&[member(1), member(2)]);
    assert_eq!(play.roster.shares(), [1, 10]);
    play.pass(Duration::from_secs(15));
    play.set_members(&[Member { weight: 2, ..member(1) }, member(2)]);
    assert_eq!(play.roster.shares(), [11, 10], "other changes begin nothing anew");
}

#[test]
fn members_that_stay_keep_what_is_known_and_those_that_leave_are_forgotten() {
    let mut play = Play::round_robin(POLICY, 3);
    play.fail(2, 3);
    let under_way = play.get().unwrap();
    let gone = if under_way.endpoint == 1 { 1 } else { 3 };
    let seat = play.seat(gone);
    let stays: Vec<_> = [1, 2, 3].into_iter().filter(|last| *last != gone).map(member).collect();
    let (left, _) = play.set_members(&stays);
    assert_eq!(left, [seat]);
    assert!(matches!(play.fitness(2), Fitness::Unfit(health::Reason::Ejected(_))));
    play.set_members(&[stays[0], stays[1], member(4)]);
    assert_eq!(play.seat(4).slot, seat.slot, "a free slot is used again");
    for _ in 0..10 {
        play.roster.end(seat, false, Ended::Badly, play.now);
    }
    assert_eq!(play.fitness(4), Fitness::Fit, "what is said of the one before is not its own");
    assert_eq!(play.roster.member(play.seat(4)).unwrap().in_flight(), 0);
}

#[test]
fn a_member_that_joins_late_starts_slowly_once_it_is_fit() {
    let mut play = Play::round_robin(CHECKED, 2);
    play.check_all_well();
    play.set_members(&[member(1), member(2), member(3)]);
    play.check(3, Ok(()));
    assert_eq!(play.roster.shares(), [10, 10, 1]);
}

#[test]
fn a_cookie_brings_back_as_long_as_its_endpoint_is_fit() {
    let mut play = Play::round_robin(POLICY, 3);
    let (tried, seat) = (Tried::default(), play.seat(2));
    let wanted = Wanted { tried: &tried, key: None, pinned: Some(seat), careful: false, bodiless: true };
    for _ in 0..5 {
        let choice = play.roster.pick(&wanted, play.now, &mut play.random).unwrap();
        assert_eq!((choice.endpoint, choice.reason), (2, Reason::Pinned));
    }
    play.fail(2, 3);
    assert_ne!(play.roster.pick(&wanted, play.now, &mut play.random).unwrap().endpoint, 2);
    let gone = Wanted { pinned: Some(SeatId { slot: 99, ..seat }), ..wanted };
    assert!(play.roster.pick(&gone, play.now, &mut play.random).is_some());
}

/// The cookie was read, and then its endpoint left and another one joined.
#[test]
fn a_cookie_does_not_bring_to_the_next_owner_of_a_slot() {
    let mut play = Play::round_robin(POLICY, 3);
    let (tried, seat) = (Tried::default(), play.seat(2));
    play.set_members(&[member(1), member(3), member(4)]);
    assert_eq!(play.seat(4).slot, seat.slot);
    let wanted = Wanted { tried: &tried, key: None, pinned: Some(seat), careful: false, bodiless: true };
    let reason = |_| play.roster.pick(&wanted, play.now, &mut play.random).unwrap().reason;
    assert!((0..3).map(reason).all(|reason| reason != Reason::Pinned));
}

#[test]
fn a_slow_endpoint_sheds_its_load_within_a_second() {
    for balance in [Balance::Ewma, Balance::LeastRequests] {
        let mut play = Play::new(&balance, POLICY, &[member(1), member(2), member(3)]);
        let mut under_way: Vec<(Moment, Choice<u8>, Duration)> = Vec::new();
        let mut slow = [0; 2];
        for tick in 0..3000_u64 {
            play.now = play.now + Duration::from_millis(1);
            let now = play.now;
            let (over, open) = under_way.into_iter().partition(|(end, ..)| *end <= now);
            under_way = open;
            for (_, choice, took) in Vec::from_iter::<Vec<_>>(over) {
                play.end(choice, Ended::Well(took));
            }
            if tick % 3 == 0 {
                let choice = play.get().unwrap();
                let is_slow = choice.endpoint == 2 && tick >= 1000;
                let took = Duration::from_millis(if is_slow { 800 } else { 4 });
                slow[usize::from(tick >= 2000)] += usize::from(is_slow);
                under_way.push((now + took, choice, took));
            }
        }
        assert!(slow[1] <= 10, "{balance:?}: {slow:?} of 333 in the first and in the second second");
    }
}

// ---- handed over

/// By another clock, and through the written words.
fn handed_over(play: &Play, balance: &Balance, policy: Policy, members: &[Member]) -> Play {
    let upstream = estate::Upstream { endpoints: play.roster.bequeath(play.now), ..Default::default() };
    let estate = estate::Estate { upstreams: vec![upstream], ..Default::default() };
    let read = estate::Estate::from_bytes(&estate.to_bytes()).unwrap();
    let mut heir = Play {
        roster: Roster::new(balance, policy),
        now: Moment::ORIGIN + Duration::from_secs(86_400),
        random: fastrand::Rng::with_seed(1),
    };
    heir.roster.inherit(&read.upstreams[0].endpoints, heir.now);
    heir.set_members(members);
    heir
}

fn taken_over(play: &Play, policy: Policy, members: u8) -> Play {
    handed_over(play, &Balance::RoundRobin, policy, &(1..=members).map(member).collect::<Vec<_>>())
}

/// Of five: 1 is ejected, 2 is down, 3 is slow, 4 has come back a moment ago.
fn troubled() -> Play {
    let mut play = Play::new(&Balance::Ewma, CHECKED, &[1, 2, 3, 4, 5].map(member));
    play.check_all_well();
    for last in [4, 4, 2, 2] {
        play.check(last, Err(Miss::Status(503)));
    }
    for _ in 0..3 {
        let seat = play.seat(1);
        play.roster.end_unasked(seat, play.now);
    }
    (0..2).for_each(|_| drop(play.check(4, Ok(()))));
    let slow = play.seat(3);
    play.roster.spoke(slow, Duration::from_millis(800), play.now);
    play.pass(Duration::from_secs(4));
    play.random = fastrand::Rng::with_seed(1);
    play
}

impl Roster<u8> {
    /// A request that nobody has chosen this endpoint for, and that fails.
    fn end_unasked(&mut self, id: SeatId, now: Moment) {
        let seat = self.seat(id).unwrap();
        seat.ask(None, None);
        self.in_flight += 1;
        self.end(id, false, Ended::Badly, now);
    }
}

/// A tenth of a second: whom a request meets, and what all verdicts are.
fn moment_of(play: &mut Play, nth: usize) -> (Option<(u8, bool)>, Vec<Fitness>) {
    play.pass(Duration::from_millis(100));
    if (80..82).contains(&nth) {
        play.check(2, Ok(()));
    }
    let choice = play.get();
    if let Some(choice) = choice {
        let millis = if choice.endpoint == 3 { 800 } else { 1 };
        play.end(choice, Ended::Well(Duration::from_millis(millis)));
    }
    let verdicts = (1..=5).map(|last| play.fitness(last)).collect();
    (choice.map(|choice| (choice.endpoint, choice.trial)), verdicts)
}

#[test]
fn who_is_asked_after_a_hand_over_is_who_would_have_been_asked_without() {
    let mut play = troubled();
    let mut heir = handed_over(&play, &Balance::Ewma, CHECKED, &[1, 2, 3, 4, 5].map(member));
    assert!(matches!(heir.fitness(1), Fitness::Unfit(health::Reason::Ejected(_))));
    assert_eq!(heir.fitness(2), Fitness::Unfit(health::Reason::Unhealthy(Miss::Status(503))));
    assert_eq!(heir.roster.shares(), play.roster.shares());
    let (mut trials, mut met) = (0, Vec::new());
    for nth in 0..400 {
        let (own, inherited) = (moment_of(&mut play, nth), moment_of(&mut heir, nth));
        assert_eq!(inherited, own, "after {nth} tenths of a second");
        trials += usize::from(own.0.is_some_and(|(_, trial)| trial));
        met.extend(own.0.map(|(endpoint, _)| endpoint));
    }
    assert_eq!(trials, 1, "it met the end of an ejection");
    assert!([1, 2, 4, 5].iter().all(|endpoint| met.contains(endpoint)), "{met:?}");
    let slow = met.iter().filter(|endpoint| **endpoint == 3).count();
    assert!(slow < 40, "the slow one was avoided: {slow}");
}

#[test]
fn a_hand_over_changes_no_verdict_and_tells_of_none() {
    let play = troubled();
    let mut heir = Roster::<u8>::new(&Balance::Ewma, CHECKED);
    heir.inherit(&play.roster.bequeath(play.now), play.now);
    let (_, events) = heir.set_members(&[1, 2, 3, 4, 5].map(member), Ring::default(), |_, _| 0, play.now);
    let is_verdict = |event: &&Event| matches!(event, Event::Fit(_) | Event::Unfit(..) | Event::Ejected(..));
    assert_eq!(events.iter().find(is_verdict), None);
    assert!(heir.is_checked());
    let doubted: Vec<_> = heir.members().map(|(_, seat)| seat.is_doubtful(play.now)).collect();
    assert_eq!(
        doubted,
        play.roster.members().map(|(_, seat)| seat.is_doubtful(play.now)).collect::<Vec<_>>()
    );
}

#[test]
fn a_doubt_is_handed_over_and_ends_in_time() {
    let mut play = Play::round_robin(POLICY, 2);
    play.fail(1, 1);
    play.pass(Duration::from_millis(600));
    let mut heir = taken_over(&play, POLICY, 2);
    let doubtful = |heir: &Play| heir.roster.member(heir.seat(1)).unwrap().is_doubtful(heir.now);
    assert!(doubtful(&heir));
    heir.pass(Duration::from_millis(400));
    assert!(!doubtful(&heir));
}

#[test]
fn who_is_new_in_an_inherited_upstream_starts_as_in_one_that_runs() {
    let mut play = Play::round_robin(CHECKED, 2);
    play.check_all_well();
    let mut heir = taken_over(&play, CHECKED, 3);
    assert_eq!(heir.met(10), [1, 2], "who is known is asked at once");
    assert_eq!(heir.fitness(3), Fitness::Unfit(health::Reason::Unchecked));
    heir.check(3, Ok(()));
    let [first, second, third] = heir.roster.shares() else { panic!("three") };
    assert!(first == second && *third > 0 && third * 5 < *first, "{:?}", heir.roster.shares());
}

#[test]
fn where_nothing_is_known_all_start_together() {
    let empty = Play::round_robin(CHECKED, 0);
    let heir = taken_over(&empty, CHECKED, 2);
    let known = heir.roster.bequeath(heir.now);
    assert!(known.iter().all(|known| known.back.is_none()), "none of them slowly: {known:?}");
}

/// Members that are found out later than the roster is made.
#[test]
fn what_is_known_waits_for_the_first_members_and_goes_on_meanwhile() {
    let mut play = Play::round_robin(POLICY, 3);
    play.fail(2, 3);
    let mut heir = taken_over(&play, POLICY, 0);
    heir.pass(Duration::from_secs(7));
    heir.set_members(&[1, 2, 3].map(member));
    assert_eq!(heir.met(20), [1, 3]);
    heir.pass(Duration::from_secs(3));
    assert!(heir.get().unwrap().trial, "seven seconds of ten were over");
    heir.set_members(&[1, 3].map(member));
    heir.set_members(&[1, 2, 3].map(member));
    assert_eq!(heir.fitness(2), Fitness::Fit, "who leaves and joins again is new");
}

#[test]
fn what_the_new_policy_has_no_use_for_is_dropped() {
    let mut play = Play::round_robin(CHECKED, 2);
    play.check(1, Ok(()));
    (0..2).for_each(|_| drop(play.check(2, Err(Miss::Body))));
    assert_eq!(taken_over(&play, POLICY, 2).met(20), [1, 2], "no checks, no verdict of theirs");
    let known = taken_over(&play, POLICY, 2);
    let anew = taken_over(&known, CHECKED, 2);
    assert_eq!(anew.fitness(1), Fitness::Unfit(health::Reason::Unchecked));
    let mut ejected = Play::round_robin(POLICY, 3);
    ejected.fail(2, 3);
    let never = Policy { ejection: Ejection { max_percent: 0, ..POLICY.ejection }, ..POLICY };
    assert_eq!(taken_over(&ejected, never, 3).met(20), [1, 2, 3]);
}

#[test]
fn a_streak_stays_where_thresholds_change() {
    let mut play = Play::round_robin(CHECKED, 2);
    play.check_all_well();
    play.check(1, Err(Miss::Body));
    let slower = Policy { checks: Some(Thresholds { healthy: 2, unhealthy: 3 }), ..CHECKED };
    let mut heir = taken_over(&play, slower, 2);
    heir.check(1, Err(Miss::Body));
    assert_eq!(heir.fitness(1), Fitness::Fit);
    heir.check(1, Err(Miss::Body));
    assert_eq!(heir.fitness(1), Fitness::Unfit(health::Reason::Unhealthy(Miss::Body)));
}

#[test]
fn whom_the_new_plan_no_longer_drains_comes_back_slowly() {
    let policy = Policy { slow_start: Some(Duration::from_secs(30)), ..POLICY };
    let drained = [Member { drained: true, ..member(1) }, member(2)];
    let play = Play::new(&Balance::RoundRobin, policy.clone(), &drained);
    let back = taken_over(&play, policy.clone(), 2);
    let [first, second] = back.roster.shares() else { panic!("two") };
    assert!(*first > 0 && first * 5 < *second, "{:?}", back.roster.shares());
    let still = handed_over(&play, &Balance::RoundRobin, policy, &drained);
    assert_eq!(still.fitness(1), Fitness::Unfit(health::Reason::Drained));
}
