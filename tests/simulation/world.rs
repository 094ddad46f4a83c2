//! The stage: time, endpoints, checks, clients; and what must hold after every step.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::SocketAddr;
use std::time::Duration;

use tetap::balance::{Ring, Tried};
use tetap::clock::Moment;
use tetap::health::ejection::Why;
use tetap::health::probe::{LEAST_PAUSE, Miss, pause};
use tetap::health::tally::Ended;
use tetap::health::{Fitness, Reason};
use tetap::retry::budget::Budget;
use tetap::retry::{Failed, Next, Reached, next};
use tetap::roster::{Choice, Event, Events, Member, Roster, SeatId, Wanted};

use super::scene::{Change, Mood, Scene};

/// What happens at a time.
enum Step {
    Mood(Change),
    Members,
    Check(SeatId, usize),
    Arrival,
    Attempt(u64),
    Ending(u64, Reached),
    Answer(u64),
    GivenUp(u64),
    Left(u64),
    Closed(u64, Duration),
    Refresh,
}

/// A client's request on its way.
struct Request {
    idempotent: bool,
    deadline: Moment,
    /// The deadline is the client's own.
    own_deadline: bool,
    tunnel: bool,
    key: [u8; 2],
    tried: Tried,
    made: u32,
    attempts: u32,
    choice: Option<Choice<usize>>,
    asked: Moment,
    wait_until: Option<Moment>,
    waiting: bool,
    deliveries: u32,
}

struct Endpoint {
    mood: Mood,
    check_lies: bool,
    member: bool,
    /// Since when it has answered in a few milliseconds, if it does.
    quick_since: Option<Moment>,
    /// A check is due then; a nudge brings it forward.
    next_check: Option<Moment>,
}

/// What a play has met.
#[derive(Clone, Copy, Debug, Default)]
pub struct Met {
    pub requests: u64,
    pub deliveries: u64,
    pub retries: u64,
    pub refused: u64,
    pub failed: u64,
    pub ejected: u64,
    pub spared: u64,
    pub trials: u64,
    pub unhealthy: u64,
    pub panics: u64,
    pub waits: u64,
    pub revivals: u64,
    pub departures: u64,
    pub drained: u64,
    pub left: u64,
    pub cut_short: u64,
    pub tunnels: u64,
}

impl Met {
    pub fn add(&mut self, other: &Met) {
        let Met {
            requests,
            deliveries,
            retries,
            refused,
            failed,
            ejected,
            spared,
            trials,
            unhealthy,
            panics,
            waits,
            revivals,
            departures,
            drained,
            left,
            cut_short,
            tunnels,
        } = other;
        self.requests += requests;
        self.deliveries += deliveries;
        self.retries += retries;
        self.refused += refused;
        self.failed += failed;
        self.ejected += ejected;
        self.spared += spared;
        self.trials += trials;
        self.unhealthy += unhealthy;
        self.panics += panics;
        self.waits += waits;
        self.revivals += revivals;
        self.departures += departures;
        self.drained += drained;
        self.left += left;
        self.cut_short += cut_short;
        self.tunnels += tunnels;
    }

    pub fn assert_everything(&self) {
        let counts = [
            self.requests,
            self.retries,
            self.refused,
            self.failed,
            self.ejected,
            self.spared,
            self.trials,
            self.unhealthy,
            self.panics,
            self.waits,
            self.revivals,
            self.departures,
            self.drained,
            self.left,
            self.cut_short,
            self.tunnels,
        ];
        assert!(counts.iter().all(|count| *count >= 20), "{self:?}");
    }
}

pub struct World {
    scene: Scene,
    now: Moment,
    steps: BinaryHeap<Reverse<(Moment, u64)>>,
    due: BTreeMap<u64, Step>,
    next: u64,
    random: fastrand::Rng,
    roster: Roster<usize>,
    budget: Budget,
    endpoints: Vec<Endpoint>,
    requests: BTreeMap<u64, Request>,
    met: Met,
}

/// Who answers within so many milliseconds is quick.
const QUICK: u64 = 20;

/// What a step around the network takes.
const TRIP: Duration = Duration::from_millis(1);

fn address(endpoint: usize) -> SocketAddr {
    ([10, 0, 0, endpoint as u8 + 1], 80).into()
}

impl World {
    pub fn new(scene: Scene) -> World {
        let now = Moment::ORIGIN + Duration::from_secs(100);
        let endpoint = |_| Endpoint {
            mood: Mood::Well(5),
            check_lies: false,
            member: true,
            quick_since: Some(now),
            next_check: None,
        };
        World {
            now,
            steps: BinaryHeap::new(),
            due: BTreeMap::new(),
            next: 0,
            random: fastrand::Rng::with_seed(scene.seed ^ 0x5eed),
            roster: Roster::new(&scene.balance, scene.policy.clone()),
            budget: Budget::new(scene.budget),
            endpoints: (0..scene.endpoints).map(endpoint).collect(),
            requests: BTreeMap::new(),
            met: Met::default(),
            scene,
        }
    }

    /// Plays to the end.
    pub fn play(mut self) -> Met {
        let start = self.now;
        self.set_members();
        self.prepare(start);
        let end = start + self.scene.end;
        while let Some(Reverse((at, id))) = self.steps.pop() {
            assert!(at >= self.now, "time goes on");
            self.now = at;
            let step = self.due.remove(&id).expect("a step is taken once");
            let over = at > end;
            self.take(step, over);
            self.assert_enough_are_left();
            if over && self.requests.is_empty() {
                break;
            }
        }
        self.assert_all_is_well(start);
        self.met
    }

    fn prepare(&mut self, start: Moment) {
        for change in std::mem::take(&mut self.scene.changes) {
            self.at(start + change.at, Step::Mood(change));
        }
        for (from, to, _) in [&self.scene.absences[..], &self.scene.drains].concat() {
            self.at(start + from, Step::Members);
            self.at(start + to, Step::Members);
        }
        self.at(start + self.scene.trouble, Step::Members);
        self.at(start, Step::Arrival);
        self.at(start, Step::Refresh);
    }

    fn at(&mut self, at: Moment, step: Step) {
        self.next += 1;
        self.steps.push(Reverse((at, self.next)));
        self.due.insert(self.next, step);
    }

    fn after(&mut self, span: Duration, step: Step) {
        self.at(self.now + span, step);
    }

    fn take(&mut self, step: Step, over: bool) {
        match step {
            Step::Mood(change) => self.change(change),
            Step::Members => self.set_members(),
            Step::Check(seat, endpoint) if !over => self.check(seat, endpoint),
            Step::Arrival if !over => self.arrive(),
            Step::Refresh if !over => self.refresh(),
            Step::Check(..) | Step::Arrival | Step::Refresh => {}
            Step::Attempt(id) => self.attempt(id),
            Step::Answer(id) => self.answer(id),
            Step::Ending(id, reached) => self.fail_attempt(id, reached),
            Step::GivenUp(id) => self.give_up_waiting(id),
            Step::Left(id) => self.leave(id),
            Step::Closed(id, latency) => self.close_tunnel(id, latency),
        }
    }

    fn change(&mut self, change: Change) {
        let Change { at: _, endpoint, mood, check_lies } = change;
        let quick_since = match mood {
            Mood::Well(..=QUICK) => self.endpoints[endpoint].quick_since.or(Some(self.now)),
            _ => None,
        };
        let changed = &mut self.endpoints[endpoint];
        (changed.mood, changed.check_lies, changed.quick_since) = (mood, check_lies, quick_since);
    }

    // ---- members and checks

    fn set_members(&mut self) {
        let elapsed = self.now.since(Moment::ORIGIN + Duration::from_secs(100));
        let trouble = self.scene.trouble;
        let is_in = |spells: &[(Duration, Duration, usize)], endpoint: usize| {
            let now = |(from, to, who): &(Duration, Duration, usize)| {
                *who == endpoint && (*from..*to).contains(&elapsed) && elapsed < trouble
            };
            spells.iter().any(now)
        };
        let absent = |endpoint: &usize| is_in(&self.scene.absences, *endpoint);
        let drained = |endpoint: usize| is_in(&self.scene.drains, endpoint);
        let listed: Vec<usize> = (0..self.endpoints.len()).filter(|endpoint| !absent(endpoint)).collect();
        let tier = |endpoint: usize| if self.scene.tiers { (endpoint % 2) as u8 } else { 0 };
        let members: Vec<Member> = listed
            .iter()
            .map(|endpoint| Member {
                address: address(*endpoint),
                weight: 1,
                tier: tier(*endpoint),
                drained: drained(*endpoint),
            })
            .collect();
        let ring = Ring::of(&members.iter().map(|member| (member.address, 1)).collect::<Vec<_>>());
        let mut joined = Vec::new();
        let admit = |id: SeatId, member: &Member| {
            let endpoint = (0..8).find(|endpoint| address(*endpoint) == member.address).unwrap();
            joined.push((id, endpoint));
            endpoint
        };
        let (left, events) = self.roster.set_members(&members, ring, admit, self.now);
        self.met.departures += left.len() as u64;
        for (index, endpoint) in self.endpoints.iter_mut().enumerate() {
            endpoint.member = listed.contains(&index);
        }
        for (seat, endpoint) in joined {
            self.schedule_check(seat, endpoint, Duration::ZERO);
        }
        self.hear_events(&events);
    }

    fn schedule_check(&mut self, seat: SeatId, endpoint: usize, wait: Duration) {
        let waiting = self.requests.values().any(|request| request.waiting);
        if self.scene.check_interval.is_some() || waiting {
            let at = self.now + wait;
            self.endpoints[endpoint].next_check = Some(at);
            self.at(at, Step::Check(seat, endpoint));
        }
    }

    /// As the prober does; a check that a nudge has brought forward makes the one before void.
    fn check(&mut self, seat: SeatId, endpoint: usize) {
        if self.roster.member(seat).is_none() || self.endpoints[endpoint].next_check != Some(self.now) {
            return;
        }
        let found = self.look_at(endpoint);
        let events = self.roster.checked(seat, found, self.now);
        let in_doubt = self.roster.member(seat).is_some_and(|seat| seat.is_in_doubt());
        let waiting = self.requests.values().any(|request| request.waiting);
        let wait = match self.scene.check_interval {
            _ if waiting => LEAST_PAUSE,
            Some(interval) => pause(interval, in_doubt, self.random.f64()),
            None => Duration::ZERO,
        };
        self.endpoints[endpoint].next_check = None;
        self.schedule_check(seat, endpoint, wait);
        self.hear_events(&events);
    }

    fn look_at(&self, endpoint: usize) -> Result<(), Miss> {
        let Endpoint { mood, check_lies, .. } = &self.endpoints[endpoint];
        let glance = self.scene.check_interval.is_none();
        match mood {
            Mood::Dead => Err(Miss::NoConnection),
            _ if *check_lies || glance => Ok(()),
            Mood::Well(_) => Ok(()),
            Mood::Hung => Err(Miss::TimedOut),
            Mood::Busy => Err(Miss::Status(503)),
            Mood::Resetting => Err(Miss::Broken),
        }
    }

    fn nudge(&mut self, seat: SeatId) {
        let Some(endpoint) = self.roster.member(seat).map(|seat| *seat.endpoint()) else { return };
        let soon = self.now + LEAST_PAUSE;
        if self.scene.check_interval.is_some()
            && self.endpoints[endpoint].next_check.is_none_or(|at| at > soon)
        {
            self.schedule_check(seat, endpoint, LEAST_PAUSE);
        }
    }

    fn hurry(&mut self) {
        let seats: Vec<_> = self.roster.members().map(|(id, seat)| (id, *seat.endpoint())).collect();
        for (seat, endpoint) in seats {
            let soon = self.now + LEAST_PAUSE;
            if self.endpoints[endpoint].next_check.is_none_or(|at| at > soon) {
                self.schedule_check(seat, endpoint, LEAST_PAUSE);
            }
        }
    }

    fn refresh(&mut self) {
        let events = self.roster.refresh(self.now);
        self.hear_events(&events);
        self.after(Duration::from_millis(100), Step::Refresh);
    }

    fn hear_events(&mut self, events: &Events) {
        for event in events {
            match *event {
                Event::Ejected(seat, why) => {
                    self.met.ejected += 1;
                    self.assert_deserved(seat, why);
                }
                Event::Spared(..) => self.met.spared += 1,
                Event::Unfit(_, Reason::Unhealthy(_)) => self.met.unhealthy += 1,
                Event::Unfit(_, Reason::Drained) => self.met.drained += 1,
                Event::Panic(true) => self.met.panics += 1,
                Event::Doubted(seat) => self.nudge(seat),
                Event::Revived => self.revive(),
                Event::Fit(_) | Event::Unfit(..) | Event::Panic(false) => {}
            }
        }
    }

    fn ejected(&self) -> usize {
        let out = |seat: &&tetap::roster::Seat<usize>| {
            matches!(seat.fitness(), Fitness::Unfit(Reason::Ejected(_) | Reason::OnTrial(_)))
        };
        self.roster.members().map(|(_, seat)| seat).filter(out).count()
    }

    fn assert_enough_are_left(&self) {
        let (ejected, most) = (self.ejected(), self.scene.policy.ejection.most(self.roster.len()));
        assert!(ejected <= most, "{ejected} ejected, {most} may be");
    }

    // ---- requests

    fn arrive(&mut self) {
        let id = self.next;
        self.met.requests += 1;
        self.budget.deposit(1, self.now);
        let tunnel = self.is_trouble() && self.random.f64() < self.scene.clients.tunnels;
        let own_deadline = self.random.f64() < self.scene.clients.with_deadline;
        let patience = if own_deadline { self.patience() } else { self.scene.deadline };
        if !tunnel && self.random.f64() < self.scene.clients.impatient {
            let patience = self.patience();
            self.after(patience, Step::Left(id));
        }
        let request = Request {
            idempotent: tunnel || self.random.f64() < 0.6,
            deadline: self.now + patience.min(self.scene.deadline),
            own_deadline,
            tunnel,
            key: [self.random.u8(..), self.random.u8(..)],
            tried: Tried::default(),
            made: 0,
            attempts: 0,
            choice: None,
            asked: self.now,
            wait_until: None,
            waiting: false,
            deliveries: 0,
        };
        self.requests.insert(id, request);
        self.attempt(id);
        let mean = 1_000_000 / self.scene.requests_per_second;
        let pause = self.random.u64(0..2 * mean);
        self.after(Duration::from_micros(pause), Step::Arrival);
    }

    fn is_trouble(&self) -> bool {
        self.now < Moment::ORIGIN + Duration::from_secs(100) + self.scene.trouble
    }

    /// Of a client: less than an answer takes, or so much that the endpoint is to blame.
    fn patience(&mut self) -> Duration {
        let most = if self.random.bool() { 20 } else { 2_000 };
        Duration::from_micros(self.random.u64(500..most * 1_000))
    }

    fn attempt(&mut self, id: u64) {
        let Some(request) = self.requests.get_mut(&id) else { return };
        let wanted = Wanted {
            tried: &request.tried,
            key: Some(&request.key),
            pinned: None,
            careful: !request.idempotent || request.attempts > 0,
            bodiless: true,
        };
        match self.roster.pick(&wanted, self.now, &mut self.random) {
            Some(choice) => self.ask(id, choice),
            None if !request.tried.is_empty() => {
                request.tried = Tried::default();
                self.attempt(id);
            }
            None => self.wait(id),
        }
    }

    fn ask(&mut self, id: u64, choice: Choice<usize>) {
        self.assert_may_be_asked(&choice);
        self.met.trials += u64::from(choice.trial);
        let request = self.requests.get_mut(&id).unwrap();
        request.tried.insert(choice.seat.slot);
        request.made += 1;
        request.attempts += 1;
        request.asked = self.now;
        request.choice = Some(choice);
        let idempotent = request.idempotent;
        let delivered = self.endpoints[choice.endpoint].mood != Mood::Dead;
        request.deliveries += u32::from(delivered);
        assert!(idempotent || request.deliveries <= 1, "a POST was delivered twice");
        assert!(
            request.deliveries <= self.scene.retry.attempts,
            "a GET was delivered more often than allowed"
        );
        self.met.deliveries += u64::from(delivered);
        self.meet(id, choice.endpoint);
    }

    fn meet(&mut self, id: u64, endpoint: usize) {
        let left = self.requests[&id].deadline.since(self.now);
        let patience = self.scene.retry.per_try.unwrap_or(left).min(left);
        let (span, step) = match self.endpoints[endpoint].mood {
            Mood::Dead => (TRIP, Step::Ending(id, Reached::Nothing)),
            Mood::Resetting => (TRIP, Step::Ending(id, Reached::Upstream)),
            Mood::Busy => (TRIP, Step::Ending(id, Reached::Status(503))),
            Mood::Well(millis) if Duration::from_millis(millis) < patience => {
                (Duration::from_millis(millis), Step::Answer(id))
            }
            Mood::Well(_) | Mood::Hung => (patience, Step::Ending(id, Reached::Silence)),
        };
        self.after(span, step);
    }

    /// The answer comes, unless the endpoint has died meanwhile.
    fn answer(&mut self, id: u64) {
        let Some(request) = self.requests.get(&id) else { return };
        let (choice, latency) = (request.choice.unwrap(), self.now.since(request.asked));
        match self.endpoints[choice.endpoint].mood {
            Mood::Dead | Mood::Resetting => return self.fail_attempt(id, Reached::Upstream),
            _ => {}
        }
        self.roster.spoke(choice.seat, latency, self.now);
        if self.requests[&id].tunnel {
            let seconds = 1 << self.random.u64(0..8);
            return self.after(Duration::from_secs(seconds), Step::Closed(id, latency));
        }
        self.close(choice, Ended::Well(latency));
        self.requests.remove(&id);
    }

    /// By one side or the other; nobody's fault.
    fn close_tunnel(&mut self, id: u64, latency: Duration) {
        self.met.tunnels += 1;
        let request = self.requests.remove(&id).unwrap();
        let ended = if self.random.bool() { Ended::Well(latency) } else { Ended::Unknown };
        self.close(request.choice.unwrap(), ended);
    }

    /// The client goes away, unless it has its answer.
    fn leave(&mut self, id: u64) {
        let Some(request) = self.requests.remove(&id) else { return };
        self.met.left += 1;
        let Some(choice) = request.choice else { return };
        let was_sent = self.endpoints[choice.endpoint].mood != Mood::Dead;
        let waited = self.now.since(request.asked);
        self.close(choice, if was_sent { Ended::GivenUp(waited) } else { Ended::Unknown });
    }

    fn close(&mut self, choice: Choice<usize>, ended: Ended) {
        let events = self.roster.end(choice.seat, choice.trial, ended, self.now);
        self.hear_events(&events);
    }

    fn fail_attempt(&mut self, id: u64, reached: Reached) {
        let Some(choice) = self.requests.get_mut(&id).map(|request| request.choice.take().unwrap()) else {
            return;
        };
        let ended = match reached {
            Reached::Status(_) => Ended::Badly,
            Reached::Silence if self.was_cut_short(id) => {
                self.met.cut_short += 1;
                Ended::GivenUp(self.now.since(self.requests[&id].asked))
            }
            _ => Ended::Silent,
        };
        self.close(choice, ended);
        let request = &self.requests[&id];
        let failed = Failed {
            policy: &self.scene.retry,
            reached,
            idempotent: request.idempotent,
            replayable: true,
            made: request.made,
            delivered: request.deliveries,
            left: request.deadline.since(self.now),
            others: self.roster.has_others(&request.tried),
        };
        let (budget, now) = (&mut self.budget, self.now);
        let mut asked = None;
        let withdraw = || *asked.insert(budget.withdraw(now));
        let next = next(&failed, withdraw, self.random.f64());
        self.met.retries += u64::from(asked == Some(true));
        self.met.refused += u64::from(asked == Some(false));
        match next {
            Next::Now => self.attempt(id),
            Next::After(wait) => self.after(wait, Step::Attempt(id)),
            Next::Wait => self.wait(id),
            Next::Enough(_) => self.end_badly(id),
        }
    }

    /// The request's deadline came before the attempt's: the client's own one, or what other attempts had left of it.
    fn was_cut_short(&self, id: u64) -> bool {
        let request = &self.requests[&id];
        let asked_for = self.now.since(request.asked);
        let whole = self.scene.retry.per_try.unwrap_or(self.scene.deadline);
        (request.own_deadline || request.attempts > 1) && asked_for < whole
    }

    /// Waits for somebody to come back.
    fn wait(&mut self, id: u64) {
        self.met.waits += 1;
        let request = self.requests.get_mut(&id).unwrap();
        let left = request.deadline.since(self.now);
        let until = *request.wait_until.get_or_insert(self.now + self.scene.pending_timeout.min(left));
        if until <= self.now {
            return self.end_badly(id);
        }
        request.waiting = true;
        self.at(until, Step::GivenUp(id));
        self.hurry();
    }

    fn revive(&mut self) {
        let waiting: Vec<u64> =
            self.requests.iter().filter(|(_, request)| request.waiting).map(|(id, _)| *id).collect();
        for id in waiting {
            self.met.revivals += 1;
            let request = self.requests.get_mut(&id).unwrap();
            request.waiting = false;
            request.tried = Tried::default();
            request.made = 0;
            self.after(Duration::from_micros(10), Step::Attempt(id));
        }
    }

    fn give_up_waiting(&mut self, id: u64) {
        if self.requests.get(&id).is_some_and(|request| request.waiting) {
            self.end_badly(id);
        }
    }

    fn end_badly(&mut self, id: u64) {
        let request = self.requests.remove(&id).unwrap();
        assert!(self.now <= request.deadline + TRIP * 2, "it ends by its deadline");
        self.met.failed += 1;
        let mended = Moment::ORIGIN + Duration::from_secs(98) + self.scene.end;
        let in_time = !request.own_deadline || self.now < request.deadline;
        assert!(self.now < mended || !in_time, "a request failed although all is well");
    }

    // ---- what must hold

    fn assert_may_be_asked(&self, choice: &Choice<usize>) {
        let seat = self.roster.member(choice.seat).expect("a member");
        assert!(!seat.member().drained, "{:?} was asked though drained", choice.seat);
        let Fitness::Unfit(reason) = seat.fitness() else { return };
        let trial = choice.trial && matches!(reason, Reason::OnTrial(_));
        let panic = self.roster.is_panic() && reason.answers();
        assert!(trial || panic, "{:?} was asked though {reason}", choice.seat);
    }

    /// Who has been quick for so long that nothing else of it is under way or remembered is ejected by nobody's haste.
    fn assert_deserved(&self, seat: SeatId, why: Why) {
        let endpoint = *self.roster.member(seat).expect("a member").endpoint();
        let memory = self.scene.policy.ejection.window + self.scene.deadline;
        let quick_since = self.endpoints[endpoint].quick_since.filter(|_| !matches!(why, Why::Slow { .. }));
        let quick = quick_since.is_some_and(|since| self.now.since(since) > memory);
        assert!(!quick, "{endpoint} was ejected though quick: {why}");
    }

    fn assert_all_is_well(&self, start: Moment) {
        assert!(self.requests.is_empty(), "every request ends");
        assert!(self.roster.members().all(|(_, seat)| seat.in_flight() == 0), "what was taken is given back");
        let last_attempt = self.now.min(start + self.scene.end + self.scene.deadline);
        let seconds = last_attempt.since(start).as_secs() + 11;
        let floor = u64::from(self.scene.budget.min_per_second) * seconds;
        let most = self.met.requests + self.met.requests * u64::from(self.scene.budget.percent) / 100 + floor;
        assert!(
            self.met.deliveries <= most,
            "{} delivered, {most} may be: {:?}",
            self.met.deliveries,
            self.met
        );
        let unfit: Vec<_> =
            self.roster.members().filter(|(_, seat)| seat.fitness() != Fitness::Fit).collect();
        assert!(unfit.is_empty(), "all is well, but not {unfit:?}");
        let shares = self.roster.shares().iter().filter(|share| **share > 0).count();
        assert!(shares > 0, "somebody is asked");
    }
}
