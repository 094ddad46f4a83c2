//! The endpoints of one upstream: who is a member, who may be asked, who is asked next.
//!
//! Here the [verdicts](crate::health) about single endpoints meet the [choice](crate::balance) among them. The roster
//! takes in what happens (members come and go, a check ends, a request is answered or fails, time
//! passes) and gives out two things: a [`Choice`] when a request asks for one, and [`Event`]s when something has changed
//! that others have to know. It does no IO and knows no clock, so that years of failing endpoints can be played through
//! in seconds.
//!
//! Beside the verdict there is *doubt*, which is quicker and cheaper: an endpoint whose last request failed a moment ago,
//! or who has been silent for far longer than it usually takes. It may be well, and requests that can be repeated go on
//! finding out. But a request that cannot be repeated, and one that has failed elsewhere already, is *careful*: it goes
//! to an endpoint in doubt only where there is no other.
//!
//! Endpoints sit in slots, which stay theirs for as long as they are members, so that a request can note whom it has tried
//! even while members come and go. A slot's next owner has another serial number: what is said of the one before does
//! not reach it, nor does a cookie that names that one. (Only whom a request has [tried](crate::balance::Tried) is by slot.)

mod seat;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::SocketAddr;

use smallvec::SmallVec;

use crate::balance::{Balance, Loads, Picker, Question, Reason, Ring, Tried};
use crate::clock::{Duration, Moment};
use crate::estate;
use crate::health::ejection::Why;
use crate::health::probe::Miss;
use crate::health::rotation::{Rotation, rotation};
use crate::health::tally::{Ended, is_outlier};
use crate::health::{self, Fitness, Policy};

pub use seat::Seat;

/// What makes an endpoint a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Where it is; no two members are at the same place.
    pub address: SocketAddr,
    /// Its share beside its siblings'.
    pub weight: u32,
    /// Its rank.
    pub tier: u8,
    /// An operator has taken it out: it finishes what it has, and gets nothing more.
    pub drained: bool,
}

/// One member's place. It stays valid when the member has left: then nothing said of it has an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeatId {
    /// The slot.
    pub slot: usize,
    serial: u64,
}

/// What a request wants.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'w> {
    /// Whom it has tried.
    pub tried: &'w Tried,
    /// Its key, where the balance is by key.
    pub key: Option<&'w [u8]>,
    /// Whom its cookie names.
    pub pinned: Option<SeatId>,
    /// It must not meet an endpoint in doubt if that can be helped.
    pub careful: bool,
    /// It is sent whole at once. Of one with a body, [`Roster::sent`] tells when it is.
    pub bodiless: bool,
}

/// Who is asked. The endpoint counts it as under way until [`Roster::end`].
#[derive(Clone, Copy, Debug)]
pub struct Choice<E> {
    /// Its place.
    pub seat: SeatId,
    /// What the roster's owner knows it by.
    pub endpoint: E,
    /// This request decides whether the endpoint is well again.
    pub trial: bool,
    /// Why this one.
    pub reason: Reason,
}

/// Something that others have to know.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event {
    /// From now on it may be asked.
    Fit(SeatId),
    /// From now on it must not be asked, or for another reason than before.
    Unfit(SeatId, health::Reason),
    /// Requests have had it ejected.
    Ejected(SeatId, Why),
    /// It would have been ejected, if there were not too many ejected already.
    Spared(SeatId, Why),
    /// A request failed at it: look at it now.
    Doubted(SeatId),
    /// Health is being ignored, or is no longer.
    Panic(bool),
    /// There is somebody to ask again, or somebody more.
    Revived,
}

/// What has happened at a time: usually nothing.
pub type Events = SmallVec<[Event; 2]>;

/// The endpoints of one upstream; `E` is what the owner knows an endpoint by.
#[derive(Debug)]
pub struct Roster<E> {
    policy: Policy,
    picker: Picker,
    seats: Vec<Option<Seat<E>>>,
    rotation: Rotation,
    /// Slots of endpoints that wait for a trial request.
    trials: Vec<usize>,
    in_flight: usize,
    serial: u64,
    heritage: Option<Heritage>,
}

/// What is known of members that are yet to join.
#[derive(Debug)]
struct Heritage {
    known: HashMap<SocketAddr, estate::Endpoint>,
    /// When it was handed over: ages are counted back from then.
    at: Moment,
}

/// Most endpoints in doubt that one careful request is steered around; after them it takes its chance.
const DETOURS: usize = 8;

impl<E: Clone> Roster<E> {
    /// A roster without members.
    pub fn new(balance: &Balance, policy: Policy) -> Roster<E> {
        Roster {
            policy,
            picker: Picker::new(balance),
            seats: Vec::new(),
            rotation: Rotation::default(),
            trials: Vec::new(),
            in_flight: 0,
            serial: 0,
            heritage: None,
        }
    }

    /// What is known of the members.
    pub fn bequeath(&self, now: Moment) -> Vec<estate::Endpoint> {
        let window = self.policy.ejection.window;
        self.seats.iter().flatten().map(|seat| seat.bequeath(window, now)).collect()
    }

    /// What was known of members before there was this roster. It counts for the first that are [set](Roster::set_members),
    /// whenever that is: who is known goes on, and who is not starts as in an upstream that runs already.
    pub fn inherit(&mut self, known: &[estate::Endpoint], now: Moment) {
        let by_address = |known: &estate::Endpoint| (known.address, known.clone());
        let known: HashMap<_, _> = known.iter().map(by_address).collect();
        self.heritage = (!known.is_empty()).then_some(Heritage { known, at: now });
    }

    /// Sets who is a member. Those who stay keep all that is known of them; `admit` makes the owner's side of those who
    /// are new. `ring` is that of `members`, where the balance wants one. Returns those who left.
    pub fn set_members(
        &mut self,
        members: &[Member],
        ring: Ring,
        mut admit: impl FnMut(SeatId, &Member) -> E,
        now: Moment,
    ) -> (Vec<SeatId>, Events) {
        let wanted: HashMap<SocketAddr, &Member> =
            members.iter().map(|member| (member.address, member)).collect();
        let heritage = if members.is_empty() { None } else { self.heritage.take() };
        let first = self.seats.is_empty() && heritage.is_none(); // they start together, so none of them slowly
        let left = self.dismiss(&wanted);
        for member in members {
            match self.seats.iter_mut().flatten().find(|seat| seat.member.address == member.address) {
                Some(seat) => seat.change(*member, now),
                None => self.join(*member, &mut admit, if first { None } else { Some(now) }),
            }
        }
        if let Some(heritage) = heritage {
            self.hand_over(&heritage, now);
        }
        self.readmit_surplus(now);
        let slots = self.seats.iter().enumerate();
        let slots = slots.filter_map(|(slot, seat)| Some((seat.as_ref()?.member.address, slot)));
        self.picker.set_ring(ring, slots);
        let mut events = Events::new();
        self.settle(now, &mut events);
        (left, events)
    }

    fn hand_over(&mut self, heritage: &Heritage, now: Moment) {
        for seat in self.seats.iter_mut().flatten() {
            if let Some(known) = heritage.known.get(&seat.member.address) {
                seat.inherit(known, &self.policy, heritage.at, now);
            }
        }
    }

    fn dismiss(&mut self, wanted: &HashMap<SocketAddr, &Member>) -> Vec<SeatId> {
        let mut left = Vec::new();
        for (slot, place) in self.seats.iter_mut().enumerate() {
            if let Some(seat) = place.take_if(|seat| !wanted.contains_key(&seat.member.address)) {
                self.in_flight -= seat.in_flight;
                left.push(SeatId { slot, serial: seat.serial });
            }
        }
        left
    }

    /// In the first slot that is free. The slow start of one that is `late` is counted from now on; where it takes until
    /// its first check to be asked at all, that is a moment of it.
    fn join(&mut self, member: Member, admit: &mut impl FnMut(SeatId, &Member) -> E, late: Option<Moment>) {
        let free = self.seats.iter().position(Option::is_none);
        let slot = free.unwrap_or_else(|| {
            self.seats.push(None);
            self.seats.len() - 1
        });
        self.serial += 1;
        let id = SeatId { slot, serial: self.serial };
        let checked = self.policy.checks.is_some();
        self.seats[slot] = Some(Seat::new(admit(id, &member), member, self.serial, checked, late));
    }

    /// Where members in service leave, those that are ejected become too many of the rest. To half-open the surplus would not
    /// do: that is still ejected, and one trial at a time carries nobody's load. So its breakers close, those whose time is
    /// over first, and each starts slowly like any that is back. It has proved nothing, though: its ejections are not
    /// forgiven, so that the next one is as long as if this one had run its course.
    fn readmit_surplus(&mut self, now: Moment) {
        let most = self.policy.ejection.most(self.len());
        let seats = self.seats.iter_mut().flatten();
        let mut ejected: Vec<_> = seats.filter_map(|seat| Some((seat.breaker.ends()?, seat))).collect();
        ejected.sort_by_key(|(ends, _)| *ends);
        let surplus = ejected.len().saturating_sub(most);
        ejected.into_iter().take(surplus).for_each(|(_, seat)| seat.readmit(now));
    }

    /// Chooses an endpoint and counts a request as under way there. `None`: there is nobody (left) to ask.
    pub fn pick(
        &mut self,
        wanted: &Wanted<'_>,
        now: Moment,
        random: &mut fastrand::Rng,
    ) -> Option<Choice<E>> {
        let (slot, reason) = self
            .trial(wanted, now)
            .or_else(|| self.pinned(wanted, now))
            .or_else(|| self.balanced(wanted, now, random))
            .or_else(|| self.reserve(wanted))?;
        let seat = self.seats.get_mut(slot)?.as_mut()?;
        seat.ask((reason == Reason::Trial).then_some(now), wanted.bodiless.then_some(now));
        self.in_flight += 1;
        Some(Choice {
            seat: SeatId { slot, serial: seat.serial },
            endpoint: seat.endpoint.clone(),
            trial: reason == Reason::Trial,
            reason,
        })
    }

    /// The first request that may be repeated finds out. Where there is nobody else to ask, or nobody has come for a while
    /// who may be repeated, it may be any.
    fn trial(&self, wanted: &Wanted<'_>, now: Moment) -> Option<(usize, Reason)> {
        if self.trials.is_empty() {
            return None; // as it nearly always is
        }
        let nobody =
            || self.rotation.shares.iter().all(|share| *share == 0) && self.rotation.reserve.is_empty();
        let base = self.policy.ejection.base;
        let waits =
            |seat: &Seat<E>| seat.awaits_trial(now, if wanted.careful { base } else { Duration::ZERO });
        let due = |slot: &usize| {
            let seat = self.seats[*slot].as_ref();
            !wanted.tried.contains(*slot)
                && seat
                    .is_some_and(|seat| waits(seat) || (seat.awaits_trial(now, Duration::ZERO) && nobody()))
        };
        self.trials.iter().copied().find(due).map(|slot| (slot, Reason::Trial))
    }

    fn pinned(&self, wanted: &Wanted<'_>, now: Moment) -> Option<(usize, Reason)> {
        let id = wanted.pinned.filter(|id| !wanted.tried.contains(id.slot))?;
        let seat = self.member(id)?;
        let fit = seat.fitness == Fitness::Fit && !(wanted.careful && seat.is_doubtful(now));
        fit.then_some((id.slot, Reason::Pinned))
    }

    fn balanced(
        &mut self,
        wanted: &Wanted<'_>,
        now: Moment,
        random: &mut fastrand::Rng,
    ) -> Option<(usize, Reason)> {
        let (slot, reason) = self.by_picker(wanted, wanted.tried, now, random)?;
        if !(wanted.careful && self.is_doubtful(slot, now)) {
            return Some((slot, reason));
        }
        let mut avoided = wanted.tried.clone();
        avoided.insert(slot);
        for _ in 0..DETOURS {
            let Some((other, reason)) = self.by_picker(wanted, &avoided, now, random) else { break };
            if !self.is_doubtful(other, now) {
                return Some((other, reason));
            }
            avoided.insert(other);
        }
        Some((slot, reason))
    }

    fn by_picker(
        &mut self,
        wanted: &Wanted<'_>,
        tried: &Tried,
        now: Moment,
        random: &mut fastrand::Rng,
    ) -> Option<(usize, Reason)> {
        let loads = Present { seats: &self.seats, in_flight: self.in_flight, now };
        let pick = self.picker.pick(&Question { tried, key: wanted.key }, &loads, random)?;
        Some((pick.slot, pick.reason))
    }

    fn reserve(&self, wanted: &Wanted<'_>) -> Option<(usize, Reason)> {
        let slot = self.rotation.reserve.iter().find(|slot| !wanted.tried.contains(**slot))?;
        Some((*slot, Reason::Reserve))
    }

    /// Whether there is somebody to ask that was not tried.
    pub fn has_others(&self, tried: &Tried) -> bool {
        let shares = self.rotation.shares.iter().enumerate();
        let mut open = shares.filter(|(_, share)| **share > 0).map(|(slot, _)| slot);
        open.any(|slot| !tried.contains(slot))
            || self.rotation.reserve.iter().any(|slot| !tried.contains(*slot))
    }

    /// A request at an endpoint was sent to its last byte: from now on it is the endpoint's turn to speak.
    pub fn sent(&mut self, id: SeatId, now: Moment) {
        if let Some(seat) = self.seat(id) {
            seat.unheard_since.get_or_insert(now);
        }
    }

    /// An endpoint has begun to answer a request, so long after that was sent. Whether it ends well is not known yet.
    pub fn spoke(&mut self, id: SeatId, latency: Duration, now: Moment) {
        if let Some(seat) = self.seat(id) {
            seat.speak(latency, now);
        }
    }

    /// A request at an endpoint has been answered to the last byte, has failed, or was given up.
    pub fn end(&mut self, id: SeatId, trial: bool, ended: Ended, now: Moment) -> Events {
        let mut events = Events::new();
        let Some(seat) = seat_of(&mut self.seats, id) else { return events };
        let ended = seat.interpret(ended, &self.policy.ejection, now);
        let trial = trial && seat.breaker.is_half_open(); // another may have decided meanwhile
        seat.release();
        self.in_flight -= 1;
        let why = seat.hear(ended, &self.policy.ejection, now);
        if matches!(ended, Ended::Badly | Ended::Silent) {
            events.push(Event::Doubted(id));
        }
        match (trial, ended, why) {
            (true, Ended::Unmade, _) => seat.breaker.abandon_trial(), // waking others would only have them fail, too
            (true, Ended::Unknown, _) => {
                seat.breaker.abandon_trial();
                events.extend(seat.awaits_trial(now, Duration::ZERO).then_some(Event::Revived));
            }
            (true, ..) => self.end_trial(id, ended, now, &mut events),
            (false, Ended::Well(latency), _) => self.weigh(id, latency, now, &mut events),
            (false, _, Some(why)) => self.eject(id, why, now, &mut events),
            (false, _, None) => {}
        }
        events
    }

    fn end_trial(&mut self, id: SeatId, ended: Ended, now: Moment, events: &mut Events) {
        let base = self.policy.ejection.base;
        let Some(seat) = self.seat(id) else { return };
        match ended {
            Ended::Well(_) => seat.readmit(now),
            _ => {
                let why = Why::Trial { answered: ended == Ended::Badly };
                seat.breaker.open(why, base, now);
                events.push(Event::Ejected(id, why));
            }
        }
        self.settle(now, events);
    }

    /// Whether an endpoint that answers takes so long that it does not count. Looked at only where an answer was slow.
    fn weigh(&mut self, id: SeatId, latency: Duration, now: Moment, events: &mut Events) {
        let Some(threshold) = self.policy.ejection.latency.filter(|threshold| latency > *threshold) else {
            return;
        };
        let (window, least) = (self.policy.ejection.window, self.policy.ejection.min_requests);
        let own = self.seat(id).map(|seat| seat.tally.sum(window, now));
        let Some(average) = own.filter(|sum| sum.all() >= least).and_then(|sum| sum.average()) else {
            return;
        };
        let siblings = self.seats.iter().flatten().filter(|seat| seat.serial != id.serial);
        let mut siblings: Vec<Duration> =
            siblings.filter_map(|seat| seat.tally.sum(window, now).average()).collect();
        if is_outlier(average, &mut siblings, threshold) {
            self.eject(id, Why::Slow { average }, now, events);
        }
    }

    fn eject(&mut self, id: SeatId, why: Why, now: Moment, events: &mut Events) {
        let ejection = &self.policy.ejection;
        let (base, most) = (ejection.base, ejection.most(self.len()));
        let ejected = self.seats.iter().flatten().filter(|seat| seat.breaker.is_ejected()).count();
        let Some(seat) = self.seat(id).filter(|seat| !seat.breaker.is_ejected()) else { return };
        if ejected >= most {
            events.push(Event::Spared(id, why));
            return;
        }
        seat.breaker.open(why, base, now);
        events.push(Event::Ejected(id, why));
        self.settle(now, events);
    }

    /// A check of an endpoint has ended. Where no checks are made, one may still have been made because nobody could be
    /// reached: then it says just that somebody can.
    pub fn checked(&mut self, id: SeatId, result: Result<(), Miss>, now: Moment) -> Events {
        let mut events = Events::new();
        let thresholds = self.policy.checks;
        let Some(seat) = self.seat(id) else { return events };
        seat.check(result, thresholds, now);
        if seat.is_misjudged() {
            self.settle(now, &mut events); // looks at everybody, so not for a check that says nothing new
        }
        let open =
            |seat: &mut Seat<E>| seat.fitness == Fitness::Fit || seat.awaits_trial(now, Duration::ZERO);
        if result.is_ok() && self.seat(id).is_some_and(open) && !events.contains(&Event::Revived) {
            events.push(Event::Revived);
        }
        events
    }

    /// Time has passed: ejections end, trials are overdue, slow starts go on. Called a few times a second.
    pub fn refresh(&mut self, now: Moment) -> Events {
        let mut events = Events::new();
        let slow_start = self.policy.slow_start;
        let (mut woken, mut warming) = (false, false);
        for seat in self.seats.iter_mut().flatten() {
            woken |= seat.breaker.wake(now) || seat.breaker.expire_trial(now);
            warming |= seat.is_warming(slow_start, now);
        }
        if woken || warming {
            self.settle(now, &mut events);
        }
        if woken {
            events.push(Event::Revived);
        }
        events
    }

    /// Brings verdicts and shares up to date with all that is known, and notes what that changes.
    fn settle(&mut self, now: Moment, events: &mut Events) {
        let slow_start = self.policy.slow_start;
        for (slot, seat) in self.seats.iter_mut().enumerate() {
            let Some(seat) = seat else { continue };
            let id = SeatId { slot, serial: seat.serial };
            events.extend(seat.judge().map(|fitness| match fitness {
                Fitness::Fit => Event::Fit(id),
                Fitness::Unfit(reason) => Event::Unfit(id, reason),
            }));
        }
        let on_trial = |seat: &Seat<E>| matches!(seat.fitness, Fitness::Unfit(health::Reason::OnTrial(_)));
        let seats = self.seats.iter().enumerate();
        self.trials = seats.filter_map(|(slot, seat)| on_trial(seat.as_ref()?).then_some(slot)).collect();
        let stands: Vec<_> =
            self.seats.iter().map(|seat| seat.as_ref().map(|seat| seat.stand(slow_start, now))).collect();
        let next = rotation(&stands, self.policy.panic_percent, slow_start);
        if next == self.rotation {
            return;
        }
        if next.panic != self.rotation.panic {
            events.push(Event::Panic(next.panic));
        }
        if gains(&self.rotation, &next) {
            events.push(Event::Revived);
        }
        self.picker.set_shares(&next.shares);
        self.rotation = next;
    }

    /// The present shares of the load, by slot.
    pub fn shares(&self) -> &[u32] {
        &self.rotation.shares
    }

    /// Whether health is being ignored.
    pub fn is_panic(&self) -> bool {
        self.rotation.panic
    }

    /// Whether every member's first check has ended, or none are made.
    pub fn is_checked(&self) -> bool {
        self.seats.iter().flatten().all(Seat::is_checked)
    }

    /// Members.
    pub fn len(&self) -> usize {
        self.seats.iter().flatten().count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All members with their places.
    pub fn members(&self) -> impl Iterator<Item = (SeatId, &Seat<E>)> {
        let seats = self.seats.iter().enumerate();
        seats
            .filter_map(|(slot, seat)| seat.as_ref().map(|seat| (SeatId { slot, serial: seat.serial }, seat)))
    }

    /// What is known of one member.
    pub fn member(&self, id: SeatId) -> Option<&Seat<E>> {
        self.seats.get(id.slot)?.as_ref().filter(|seat| seat.serial == id.serial)
    }

    fn seat(&mut self, id: SeatId) -> Option<&mut Seat<E>> {
        seat_of(&mut self.seats, id)
    }

    fn is_doubtful(&self, slot: usize, now: Moment) -> bool {
        self.seats.get(slot).and_then(Option::as_ref).is_some_and(|seat| seat.is_doubtful(now))
    }
}

fn seat_of<E>(seats: &mut [Option<Seat<E>>], id: SeatId) -> Option<&mut Seat<E>> {
    seats.get_mut(id.slot)?.as_mut().filter(|seat| seat.serial == id.serial)
}

/// Whether somebody may be asked who might not before.
fn gains(before: &Rotation, after: &Rotation) -> bool {
    let asked = |rotation: &Rotation, slot: usize| {
        rotation.shares.get(slot).is_some_and(|share| *share > 0) || rotation.reserve.contains(&slot)
    };
    (0..after.shares.len()).any(|slot| asked(after, slot) && !asked(before, slot))
}

/// What the picker may know.
struct Present<'r, E> {
    seats: &'r [Option<Seat<E>>],
    in_flight: usize,
    now: Moment,
}

impl<E> Loads for Present<'_, E> {
    fn in_flight(&self, slot: usize) -> usize {
        self.seats.get(slot).and_then(Option::as_ref).map_or(usize::MAX, |seat| seat.in_flight)
    }

    fn total(&self) -> usize {
        self.in_flight
    }

    fn latency(&self, slot: usize) -> Duration {
        self.seats.get(slot).and_then(Option::as_ref).map_or(Duration::MAX, |seat| seat.expected(self.now))
    }
}
