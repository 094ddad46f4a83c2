//! The door to an upstream: so many requests at a time, and a short line before it.
//!
//! Who is let in, who waits and who is refused is decided by the [`Line`]; how many may be in is fixed, or found out by
//! an [`Adaptive`] limit that learns from how requests end. This file makes them wait: each waiter has a channel through
//! which it gets its [`Permit`], or hears that it was turned away.
//!
//! No place may get lost on that way, whoever goes away when. So what is sent is the permit itself, and a permit gives its
//! place back when it is dropped: in the hands of the request, in a channel that nobody reads any more, or by the sender to
//! whom the channel returns it.
//!
//! With HTTP/1 a request occupies a connection, so the smaller of `limits.requests` and `limits.connections` counts; an
//! adaptive limit stays below both.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot::{self, Receiver, Sender};
use tokio::time::{Instant, timeout};

use crate::clock::{Clock, Moment};
use crate::estate;
use crate::limit::Priority;
use crate::limit::adaptive::{Adaptive, Ended};
pub use crate::limit::line::Refused;
use crate::limit::line::{Joined, Line, Ticket};
use crate::observe::metrics::{Held, UpstreamMetrics};
use crate::plan::UpstreamLimits;

/// The door to an upstream.
#[derive(Debug)]
pub struct Gate {
    state: Mutex<State>,
    /// Its limit moves.
    adapts: bool,
    patience: Duration,
    clock: Clock,
    metrics: UpstreamMetrics,
}

#[derive(Debug)]
struct State {
    line: Line<Sender<Turn>>,
    adaptive: Option<Adaptive>,
}

/// What somebody waits for.
type Turn = Result<Permit, Refused>;

/// A place among the requests under way; free again when dropped.
#[derive(Debug)]
pub struct Permit {
    gate: Arc<Gate>,
}

/// A place among those who wait, for something else than a permit; free again when dropped.
#[derive(Debug)]
pub struct Waiting {
    gate: Arc<Gate>,
    _counted: Held,
}

impl Gate {
    /// An open gate. A limit that moves begins with what is `known` of it.
    pub fn new(
        limits: &UpstreamLimits,
        known: Option<estate::Limit>,
        clock: Clock,
        metrics: UpstreamMetrics,
    ) -> Gate {
        let most = limits.requests.min(limits.connections);
        let adaptive = limits.adaptive.map(|policy| match known {
            Some(known) => Adaptive::inherit(policy, known, clock.now()),
            None => Adaptive::new(policy, clock.now()),
        });
        let limit = adaptive.as_ref().map_or(most, |adaptive| adaptive.limit());
        metrics.limit.set(limit as i64);
        let adapts = adaptive.is_some();
        let state = Mutex::new(State { line: Line::new(limit, limits.pending), adaptive });
        Gate { state, adapts, patience: limits.pending_timeout, clock, metrics }
    }

    /// What was learnt of the limit, if it moves.
    pub fn bequeath(&self) -> Option<estate::Limit> {
        self.state.lock().adaptive.as_ref().map(Adaptive::bequeath)
    }

    /// A place, if one is free and nobody waits for it.
    pub fn try_admit(self: &Arc<Self>) -> Option<Permit> {
        self.state.lock().line.try_enter().then(|| self.permit())
    }

    /// Waits for a place, at most `longest` and never longer than `pending_timeout`.
    ///
    /// # Errors
    /// [`Refused`]: at once, when the queue is full or its end too far away; later, when the time is over, or one who is
    /// more urgent takes the place in the queue.
    pub async fn admit(self: &Arc<Self>, priority: Priority, longest: Duration) -> Result<Permit, Refused> {
        match self.try_admit() {
            Some(permit) => Ok(permit),
            None => self.wait(priority, self.patience.min(longest)).await,
        }
    }

    /// Takes one of the `pending` places for a request that waits for something else. None when there is none left.
    pub fn wait_in_line(self: &Arc<Self>) -> Option<Waiting> {
        let room = self.state.lock().line.step_aside();
        room.then(|| Waiting { gate: self.clone(), _counted: Held::take(&self.metrics.pending) })
    }

    async fn wait(self: &Arc<Self>, priority: Priority, patience: Duration) -> Result<Permit, Refused> {
        let Some((_place, turn)) = self.join(priority, patience)? else { return Ok(self.permit()) };
        match timeout(patience, turn).await {
            Ok(Ok(turn)) => turn,
            // a channel that was dropped is that of a waiter who was passed over because its time had come
            Ok(Err(_)) | Err(_) => Err(Refused::WaitedTooLong),
        }
    }

    /// A place in the line; none where one inside has become free meanwhile.
    fn join(
        &self,
        priority: Priority,
        patience: Duration,
    ) -> Result<Option<(InLine<'_>, Receiver<Turn>)>, Refused> {
        let (sender, turn) = oneshot::channel();
        let now = self.now();
        let joined = self.state.lock().line.join(priority, now + patience, now, sender)?;
        let Joined::Waiting { ticket, turned_away } = joined else { return Ok(None) };
        if let Some(turned_away) = turned_away {
            let _ = turned_away.send(Err(Refused::QueueFull)); // or it has gone by itself
        }
        let place = InLine { gate: self, ticket, _counted: Held::take(&self.metrics.pending) };
        Ok(Some((place, turn)))
    }

    /// For somebody whom the line has counted in.
    fn permit(self: &Arc<Self>) -> Permit {
        Permit { gate: self.clone() }
    }

    fn note(self: &Arc<Self>, ended: Ended) {
        if self.adapts {
            let now = self.now();
            self.change(|state| state.note(ended, now, &self.metrics));
        }
    }

    /// Does what may make places free, and lets in those who wait for them.
    fn change(self: &Arc<Self>, change: impl FnOnce(&mut State)) {
        let somebody_waits = {
            let mut state = self.state.lock();
            change(&mut state);
            state.line.has_waiters()
        };
        if !somebody_waits {
            return; // nearly always, and the time is not asked for
        }
        let now = self.now();
        while let Some(waiter) = self.admit_next(now) {
            let _ = waiter.send(Ok(self.permit())); // whoever has gone meanwhile: the permit comes back and is dropped
        }
    }

    fn admit_next(&self, now: Moment) -> Option<Sender<Turn>> {
        self.state.lock().line.admit_next(now)
    }

    /// By tokio's clock, which the timers go by, and which tests can stop.
    fn now(&self) -> Moment {
        self.clock.at(Instant::now().into_std())
    }
}

impl State {
    fn note(&mut self, ended: Ended, now: Moment, metrics: &UpstreamMetrics) {
        let Some(adaptive) = &mut self.adaptive else { return };
        adaptive.note(ended, self.line.inside(), now);
        self.line.set_limit(adaptive.limit());
        metrics.limit.set(adaptive.limit() as i64);
    }
}

impl Permit {
    /// The answer came, so long after the request: a moving limit learns from it.
    pub fn answered(&self, latency: Duration) {
        self.gate.note(Ended::Answered(latency));
    }

    /// No answer came in time: the same.
    pub fn timed_out(&self) {
        self.gate.note(Ended::TimedOut);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.gate.change(|state| state.line.leave());
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.gate.state.lock().line.step_back();
    }
}

/// A place among those who wait for a permit.
struct InLine<'g> {
    gate: &'g Gate,
    ticket: Ticket,
    _counted: Held,
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.gate.state.lock().line.abandon(self.ticket);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::VecDeque;
    use std::pin::{Pin, pin};
    use std::task::{Context, Waker};

    use super::*;
    use crate::limit::Priority::{High, Low, Normal};
    use crate::limit::adaptive;
    use crate::observe::metrics::Metrics;

    fn limits(requests: usize, pending: usize) -> UpstreamLimits {
        let pending_timeout = Duration::from_millis(500);
        UpstreamLimits { connections: 100, requests, pending, pending_timeout, adaptive: None }
    }

    fn open(limits: &UpstreamLimits) -> Arc<Gate> {
        Arc::new(Gate::new(limits, None, Clock::start(), Metrics::new().upstream("u")))
    }

    fn gate(requests: usize, pending: usize) -> Arc<Gate> {
        open(&limits(requests, pending))
    }

    fn inside(gate: &Gate) -> usize {
        gate.state.lock().line.inside()
    }

    /// Waiters by the line and by the gauge.
    fn waiting(gate: &Gate) -> (usize, i64) {
        (gate.state.lock().line.waiting(), gate.metrics.pending.get())
    }

    const LONG: Duration = Duration::from_secs(60);

    /// Joins the line and stays in it.
    fn polled(waiter: Pin<&mut impl Future<Output = Turn>>) -> bool {
        waiter.poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_finds_the_queue_full_is_refused_at_once() {
        let gate = gate(1, 0);
        let _inside = gate.admit(Normal, LONG).await.unwrap();
        assert_eq!(gate.admit(Normal, LONG).await.unwrap_err(), Refused::QueueFull);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_is_let_in_when_a_place_is_given_back() {
        let gate = gate(1, 1);
        let inside = gate.admit(Normal, LONG).await.unwrap();
        let next = tokio::spawn({
            let gate = gate.clone();
            async move { gate.admit(Normal, LONG).await.is_ok() }
        });
        tokio::task::yield_now().await;
        assert_eq!(waiting(&gate), (1, 1));
        drop(inside);
        assert!(next.await.unwrap());
        assert_eq!(waiting(&gate), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_longer_than_the_timeout_or_the_request_has() {
        let gate = gate(1, 1);
        let _inside = gate.admit(Normal, LONG).await.unwrap();
        let begun = Instant::now();
        assert_eq!(gate.admit(Normal, LONG).await.unwrap_err(), Refused::WaitedTooLong);
        assert!((500..510).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
        let begun = Instant::now();
        assert_eq!(gate.admit(Normal, Duration::from_millis(20)).await.unwrap_err(), Refused::WaitedTooLong);
        assert!((20..30).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
        assert_eq!(gate.admit(Normal, Duration::ZERO).await.unwrap_err(), Refused::NoTime);
        assert_eq!(waiting(&gate), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_more_urgent_takes_the_place_in_the_queue() {
        let gate = gate(1, 1);
        let inside = gate.admit(Low, LONG).await.unwrap();
        let (mut low, mut high) = (pin!(gate.admit(Low, LONG)), pin!(gate.admit(High, LONG)));
        assert!(polled(low.as_mut()) && polled(high.as_mut()));
        assert_eq!(low.await.unwrap_err(), Refused::QueueFull);
        drop(inside);
        assert!(high.await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn the_smaller_of_requests_and_connections_counts() {
        let gate = open(&UpstreamLimits { connections: 2, ..limits(5, 0) });
        let _inside = [gate.admit(Normal, LONG).await.unwrap(), gate.admit(Normal, LONG).await.unwrap()];
        assert!(gate.admit(Normal, LONG).await.is_err());
        assert_eq!(gate.metrics.limit.get(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_something_else_takes_a_place_in_the_queue() {
        let gate = gate(1, 1);
        let _inside = gate.admit(Normal, LONG).await.unwrap();
        let elsewhere = gate.wait_in_line().unwrap();
        assert_eq!(waiting(&gate), (1, 1));
        assert!(gate.wait_in_line().is_none());
        assert_eq!(gate.admit(High, LONG).await.unwrap_err(), Refused::QueueFull);
        drop(elsewhere);
        assert_eq!(waiting(&gate), (0, 0));
        assert!(gate.wait_in_line().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn who_goes_away_while_waiting_leaves_no_trace() {
        let gate = gate(1, 1);
        let inside = gate.admit(Normal, LONG).await.unwrap();
        {
            let mut waiter = pin!(gate.admit(Normal, LONG));
            assert!(polled(waiter.as_mut()));
        }
        assert_eq!(waiting(&gate), (0, 0));
        drop(inside);
        assert_eq!(self::inside(&gate), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_goes_away_at_the_moment_of_being_let_in_loses_no_place() {
        let gate = gate(1, 2);
        let inside = gate.admit(Normal, LONG).await.unwrap();
        let mut second = pin!(gate.admit(Normal, LONG));
        {
            let mut first = pin!(gate.admit(Normal, LONG));
            assert!(polled(first.as_mut()) && polled(second.as_mut()));
            drop(inside); // the permit is in the channel of the first, who never looks
            assert_eq!((self::inside(&gate), waiting(&gate).0), (1, 1));
        }
        let permit = second.await.unwrap();
        assert_eq!((self::inside(&gate), waiting(&gate)), (1, (0, 0)));
        drop(permit);
        assert_eq!(self::inside(&gate), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_permit_for_somebody_who_does_not_listen_any_more_goes_to_the_next() {
        let gate = gate(1, 2);
        let inside = gate.admit(Normal, LONG).await.unwrap();
        let (_place, turn) = gate.join(Normal, LONG).unwrap().unwrap();
        let mut next = pin!(gate.admit(Normal, LONG));
        assert!(polled(next.as_mut()));
        drop(turn); // the first half of going away
        drop(inside);
        drop(next.await.unwrap());
        assert_eq!(self::inside(&gate), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn whose_turn_would_come_too_late_is_refused_at_once() {
        let gate = gate(1, 100);
        let mut inside = gate.admit(Normal, LONG).await.unwrap();
        for _ in 0..50 {
            let mut next = pin!(gate.admit(Normal, LONG));
            assert!(polled(next.as_mut()));
            tokio::time::advance(Duration::from_millis(100)).await;
            drop(inside);
            inside = next.await.unwrap();
        }
        let mut waiters: Vec<_> = (0..5).map(|_| Box::pin(gate.admit(Normal, LONG))).collect();
        assert!(waiters.iter_mut().all(|waiter| polled(waiter.as_mut())), "five turns of 100 ms in 500 ms");
        let begun = Instant::now();
        assert_eq!(gate.admit(Normal, LONG).await.unwrap_err(), Refused::NoTime);
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    fn adaptive(min: usize, start: usize, max: usize) -> Arc<Gate> {
        let adaptive = Some(adaptive::Policy { min, start, max });
        open(&UpstreamLimits { adaptive, pending_timeout: LONG, ..limits(100, 100) })
    }

    /// One leaves each 10 ms, and its answer took as long; so many wait all the time.
    async fn busy(gate: &Arc<Gate>, answers: usize) {
        let (mut inside, mut waiters) = (VecDeque::new(), VecDeque::new());
        while let Ok(permit) = gate.admit(Normal, Duration::ZERO).await {
            inside.push_back(permit);
        }
        for _ in 0..answers {
            while waiters.len() < 40 {
                waiters.push_back(Box::pin(gate.admit(Normal, LONG)));
                assert!(polled(waiters.back_mut().unwrap().as_mut()));
            }
            tokio::time::advance(Duration::from_millis(10)).await;
            let oldest: Permit = inside.pop_front().unwrap();
            oldest.answered(Duration::from_millis(10));
            drop(oldest);
            while self::inside(gate) > inside.len() {
                inside.push_back(waiters.pop_front().unwrap().await.unwrap());
            }
            assert!(inside.len() as i64 >= gate.metrics.limit.get(), "those who wait have a place");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn answers_move_the_limit_and_let_waiters_in() {
        let gate = adaptive(2, 8, 32);
        busy(&gate, 2000).await;
        assert_eq!((gate.metrics.limit.get(), self::inside(&gate)), (32, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn time_outs_take_the_limit_down_to_the_least() {
        let gate = adaptive(2, 20, 100);
        let inside: Vec<_> = (0..20).map(|_| gate.admit(Normal, LONG)).collect();
        let mut permits = Vec::new();
        for admitted in inside {
            permits.push(admitted.await.unwrap());
        }
        for nth in 0..200 {
            tokio::time::advance(Duration::from_millis(10)).await;
            permits[nth % 20].timed_out();
        }
        assert_eq!(gate.metrics.limit.get(), 2);
        permits.truncate(2);
        assert!(gate.admit(Normal, LONG / 60).await.is_err(), "eighteen have left, two are inside");
        permits.truncate(1);
        assert!(gate.admit(Normal, LONG).await.is_ok());
    }

    /// Threads, and waiters that go away at any moment.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn no_place_is_lost_whoever_goes_away_when() {
        let gate = open(&UpstreamLimits { pending_timeout: LONG, ..limits(3, 40) });
        let visits = (0..8000_u64).map(|seed| {
            let gate = gate.clone();
            tokio::spawn(async move {
                let mut random = fastrand::Rng::with_seed(seed);
                let priority = Priority::ALL[random.usize(0..3)];
                let visit = async {
                    let permit = gate.admit(priority, LONG).await;
                    tokio::task::yield_now().await;
                    drop(permit);
                };
                let patience = async {
                    for _ in 0..random.usize(0..6) {
                        tokio::task::yield_now().await;
                    }
                };
                tokio::select! { () = visit => {}, () = patience => {} }
            })
        });
        for visit in visits.collect::<Vec<_>>() {
            visit.await.unwrap();
        }
        assert_eq!((inside(&gate), waiting(&gate)), (0, (0, 0)));
        for _ in 0..3 {
            std::mem::forget(gate.admit(Normal, Duration::ZERO).await.unwrap());
        }
        assert_eq!(gate.admit(Normal, Duration::ZERO).await.unwrap_err(), Refused::NoTime);
    }
}
