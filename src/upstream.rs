//! The living side of an upstream: its endpoints, who is asked next, how many may ask, and the idle connections.
//!
//! Who is asked is the [roster](crate::roster)'s decision. Here is what it takes to make it happen: the lock around it,
//! the clock, the log and the metrics; the [`keeper`] who finds the endpoints and has them checked; and the place where
//! requests wait when there is nobody to ask.
//!
//! Everything that a request takes here (a place in the [`Gate`], a [`Lease`] on an endpoint, a connection) is given
//! back when the value that stands for it is dropped, whichever way the request ends.

pub mod call;
pub mod check;
pub mod discovery;
pub mod endpoint;
pub mod gate;
pub mod keeper;
pub mod persistence;
pub mod pool;
pub mod prober;
mod shortage;
pub mod sticky;
pub mod stream;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

pub use endpoint::{Endpoint, Lease};
pub use gate::{Gate, Permit, Refused, Waiting};
pub use pool::Pool;
pub use sticky::Sticky;

use crate::balance::Ring;
use crate::clock::{Clock, Duration, Instant, Moment};
use crate::estate;
use crate::health::Fitness;
use crate::health::probe::Miss;
use crate::health::tally::Ended;
use crate::limits;
use crate::observe::metrics::{Metrics, UpstreamMetrics};
use crate::plan;
use crate::retry::budget::Budget;
use crate::roster::{Event, Events, Member, Roster, Seat, SeatId, Wanted};

/// One upstream of a snapshot.
#[derive(Debug)]
pub struct Upstream {
    plan: plan::Upstream,
    clock: Clock,
    roster: Mutex<Roster<Arc<Endpoint>>>,
    budget: Mutex<Budget>,
    /// That have come since the budget heard of any.
    requests: AtomicU64,
    gate: Arc<Gate>,
    pool: Arc<Pool>,
    sticky: Option<Sticky>,
    keeping: keeper::Keeping,
    /// Counts up whenever there is somebody to ask again.
    revived: watch::Sender<u64>,
    metrics: UpstreamMetrics,
    registry: Arc<Metrics>,
}

/// Why a request waited in vain for an endpoint to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unrevived {
    /// As many wait already as may wait.
    QueueFull,
    /// Its time is over.
    TimeOver,
}

impl Upstream {
    /// Brings a planned upstream to life, with what the one before it has learnt, if there was one. Where its members have
    /// to be found out, and that one leaves none, there are none until somebody [keeps](Upstream::keep) it.
    pub fn new(
        planned: &plan::Upstream,
        clock: Clock,
        metrics: &Arc<Metrics>,
        heritage: Option<&estate::Upstream>,
    ) -> Arc<Upstream> {
        let nothing = estate::Upstream::default();
        let heritage = heritage.unwrap_or(&nothing);
        let (members, now) = (first_members(&planned.members, heritage), clock.now());
        let mut roster = Roster::new(&planned.balance, planned.health.clone());
        roster.inherit(&heritage.endpoints, now);
        let upstream_metrics = metrics.upstream(&planned.name);
        let upstream = Arc::new(Upstream {
            roster: Mutex::new(roster),
            budget: Mutex::new(Budget::inherit(planned.budget, &heritage.budget, now)),
            requests: AtomicU64::new(0),
            gate: Arc::new(Gate::new(&planned.limits, heritage.limit, clock, upstream_metrics.clone())),
            pool: Arc::new(Pool::new(&planned.keepalive, planned.limits.connections)),
            sticky: planned.sticky.as_ref().map(Sticky::new),
            keeping: keeper::Keeping::new(planned, members.is_some()),
            revived: watch::Sender::new(0),
            metrics: upstream_metrics,
            registry: metrics.clone(),
            plan: planned.clone(),
            clock,
        });
        if let Some(members) = members {
            upstream.set_members(&members);
        }
        upstream
    }

    /// What it leaves to the one that takes its place.
    pub fn bequeath(&self) -> estate::Upstream {
        let (discovered, endpoints) =
            self.look(|roster, now| (self.discovered(roster), roster.bequeath(now)));
        let now = self.clock.now();
        estate::Upstream {
            name: self.plan.name.to_string(),
            source: self.plan.members.source(),
            discovered,
            endpoints,
            budget: self.budget(now).bequeath(now),
            limit: self.gate.bequeath(),
        }
    }

    fn discovered(&self, roster: &Roster<Arc<Endpoint>>) -> Vec<estate::Member> {
        let member = |(_, seat): (SeatId, &Seat<_>)| {
            let Member { address, weight, tier, drained } = *seat.member();
            estate::Member { address, weight, tier, drained }
        };
        match self.plan.members {
            plan::Members::Fixed(_) => Vec::new(),
            _ => roster.members().map(member).collect(),
        }
    }

    /// From the configuration.
    pub fn name(&self) -> &Arc<str> {
        &self.plan.name
    }

    /// What it was made from.
    pub fn plan(&self) -> &plan::Upstream {
        &self.plan
    }

    /// Where requests wait for their turn.
    pub fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// The idle connections.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Sends clients back to the endpoint that they had, if it does.
    pub fn sticky(&self) -> Option<&Sticky> {
        self.sticky.as_ref()
    }

    /// Chooses an endpoint and takes a lease on it. None when there is nobody (left) to ask.
    pub fn pick(self: &Arc<Self>, wanted: &Wanted<'_>, now: Instant) -> Option<Lease> {
        let now = self.clock.at(now);
        let choice = self.roster.lock().pick(wanted, now, &mut fastrand::Rng::new())?;
        log::debug!("upstream {}: {}: {}", self.plan.name, choice.endpoint.name(), choice.reason);
        Some(Lease::take(self.clone(), choice))
    }

    /// Whether there is somebody to ask who is not among the `tried` ones.
    pub fn has_others(&self, tried: &crate::balance::Tried) -> bool {
        self.roster.lock().has_others(tried)
    }

    /// A request has come: it adds to what may be tried again. The budget hears of it when it is asked, or soon.
    pub fn requested(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes one retry out of the budget, if there is one.
    pub fn may_retry(&self) -> bool {
        let granted = self.budget(self.clock.now()).withdraw(self.clock.now());
        let counter = if granted { &self.metrics.retries } else { &self.metrics.retries_refused };
        counter.inc();
        granted
    }

    /// How often so far there was somebody to ask again.
    pub fn revivals(&self) -> u64 {
        *self.revived.borrow()
    }

    /// Waits until there is somebody to ask again, at most until `until`; not at all if there was since
    /// [`Upstream::revivals`] had told `since`. Meanwhile endpoints are checked at once.
    ///
    /// # Errors
    /// [`Unrevived`]: there is no room to wait, or the time is over.
    pub async fn revival(&self, since: u64, until: Instant) -> Result<(), Unrevived> {
        let mut revived = self.revived.subscribe();
        let _place = self.gate.wait_in_line().ok_or(Unrevived::QueueFull)?;
        let _hurry = self.keeping.hurry();
        let again = revived.wait_for(|count| *count != since);
        let waited = tokio::time::timeout_at(until.into(), again).await;
        if matches!(waited, Ok(Ok(_))) { Ok(()) } else { Err(Unrevived::TimeOver) }
    }

    /// Sets who is a member. Those who leave finish what they have under way; their connections are closed.
    pub fn set_members(&self, endpoints: &[plan::Endpoint]) {
        let member = |endpoint: &plan::Endpoint| {
            let plan::Endpoint { address, weight, tier, drained } = *endpoint;
            Member { address, weight, tier, drained }
        };
        let members: Vec<Member> = endpoints.iter().map(member).collect();
        let ring = match self.plan.balance.wants_ring() {
            true => {
                Ring::of(&members.iter().map(|member| (member.address, member.weight)).collect::<Vec<_>>())
            }
            false => Ring::default(),
        };
        let admit = |_: SeatId, member: &Member| {
            Endpoint::new(&self.plan.name, member.address, self.pool.shelf(), &self.registry)
        };
        let before = self.seats();
        let (left, events) = self.roster.lock().set_members(&members, ring, admit, self.clock.now());
        let gone = before.iter().filter(|(id, _)| left.contains(id));
        gone.for_each(|(_, endpoint)| endpoint.shelf().close());
        if let Some(sticky) = &self.sticky {
            let seats = self.seats().into_iter().map(|(id, endpoint)| (id, endpoint.address()));
            sticky.set_members(&self.plan.name, seats);
        }
        self.tell(&events);
        self.show_state();
    }

    /// Every member and its place.
    pub fn seats(&self) -> Vec<(SeatId, Arc<Endpoint>)> {
        self.roster.lock().members().map(|(id, seat)| (id, seat.endpoint().clone())).collect()
    }

    /// Looks at the roster. The lock is held meanwhile: be brief.
    pub fn look<T>(&self, at: impl FnOnce(&Roster<Arc<Endpoint>>, Moment) -> T) -> T {
        at(&self.roster.lock(), self.clock.now())
    }

    fn budget(&self, now: Moment) -> MutexGuard<'_, Budget> {
        let mut budget = self.budget.lock();
        budget.deposit(self.requests.swap(0, Ordering::Relaxed), now);
        budget
    }

    /// Time has passed. Called a few times a second.
    pub fn refresh(&self) {
        drop(self.budget(self.clock.now()));
        let events = self.roster.lock().refresh(self.clock.now());
        self.tell(&events);
    }

    fn sent(&self, seat: SeatId, now: Instant) {
        self.roster.lock().sent(seat, self.clock.at(now));
    }

    fn spoke(&self, seat: SeatId, latency: Duration, now: Instant) {
        self.roster.lock().spoke(seat, latency, self.clock.at(now));
    }

    fn begin(&self) {
        self.metrics.in_flight.inc();
    }

    fn end(&self, seat: SeatId, trial: bool, ended: Ended, now: Instant) {
        self.metrics.in_flight.dec();
        let events = self.roster.lock().end(seat, trial, ended, self.clock.at(now));
        self.tell(&events);
    }

    /// A check has ended. Whether its verdict is in doubt now.
    fn checked(&self, seat: SeatId, result: Result<(), Miss>) -> bool {
        let mut roster = self.roster.lock();
        let events = roster.checked(seat, result, self.clock.now());
        let in_doubt = roster.member(seat).is_some_and(|seat| seat.is_in_doubt());
        drop(roster);
        self.tell(&events);
        in_doubt
    }

    /// Says what has changed: to the log, the metrics, those who check and those who wait. The roster's lock is free by now,
    /// and two threads may come here in another order than what they tell of has happened. So what stays, the gauges,
    /// shows not the event but the present state, and is set under the lock: whoever comes last, it is right.
    fn tell(&self, events: &Events) {
        for event in events {
            match *event {
                Event::Revived => self.revived.send_modify(|count| *count += 1),
                Event::Panic(on) => self.panics(on),
                Event::Fit(id) => self.of(id, |endpoint| {
                    log::info!("upstream {}: {} is in", self.plan.name, endpoint.name());
                }),
                Event::Unfit(id, reason) => self.of(id, |endpoint| {
                    log::warn!("upstream {}: {} is out: {reason}", self.plan.name, endpoint.name());
                }),
                Event::Ejected(id, why) => self.of(id, |endpoint| endpoint.metrics().ejected(why.as_str())),
                Event::Spared(id, why) => self.of(id, |endpoint| {
                    log::debug!(
                        "upstream {}: {} stays, as too many are out: {why}",
                        self.plan.name,
                        endpoint.name()
                    );
                }),
                Event::Doubted(id) => self.of(id, Endpoint::nudge),
            }
        }
    }

    fn panics(&self, on: bool) {
        self.look(|roster, _| self.metrics.panic.set(i64::from(roster.is_panic())));
        match on {
            true => log::warn!(
                "upstream {}: too few endpoints are fit: all that answer are asked",
                self.plan.name
            ),
            false => log::info!("upstream {}: enough endpoints are fit again", self.plan.name),
        }
    }

    /// Shows the fitness of an endpoint that something has befallen, and then, without the lock, does what is to be done.
    fn of(&self, id: SeatId, act: impl FnOnce(&Endpoint)) {
        let shown = |seat: &Seat<Arc<Endpoint>>| {
            show(seat);
            seat.endpoint().clone()
        };
        let endpoint = self.look(|roster, _| roster.member(id).map(shown));
        if let Some(endpoint) = endpoint {
            act(&endpoint);
        }
    }

    /// Of what was so from the beginning there was no event.
    fn show_state(&self) {
        self.look(|roster, _| {
            self.metrics.panic.set(i64::from(roster.is_panic()));
            roster.members().for_each(|(_, seat)| show(seat));
        });
    }

    /// How long a request waits at most for somebody to come back.
    pub fn patience(&self) -> Duration {
        self.plan.limits.pending_timeout
    }
}

/// The members to begin with, where they are known: those of the plan, or those that the one before has found in the same
/// place. `None`: they have to be found out first.
fn first_members(planned: &plan::Members, heritage: &estate::Upstream) -> Option<Vec<plan::Endpoint>> {
    match planned {
        plan::Members::Fixed(endpoints) => Some(endpoints.clone()),
        found => {
            let is_same = heritage.source == found.source() && !heritage.discovered.is_empty();
            is_same.then(|| heritage.discovered.iter().map(found_before).collect())
        }
    }
}

/// Within the bounds of those that are found anew, since it may come from anywhere.
fn found_before(member: &estate::Member) -> plan::Endpoint {
    let estate::Member { address, weight, tier, drained } = *member;
    plan::Endpoint { address, weight: weight.clamp(1, 1000), tier: tier.min(limits::TIERS - 1), drained }
}

/// Sets its gauge. The caller has the roster's lock, so that what is shown last is what is true.
fn show(seat: &Seat<Arc<Endpoint>>) {
    seat.endpoint().metrics().fit.set(i64::from(seat.fitness() == Fitness::Fit));
}
