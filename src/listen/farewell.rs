//! When connections must be gone.
//!
//! A drain waits for what is under way, but not for ever, and a WebSocket is under way for days. When patience is over,
//! what is left was cut in one moment; then all these clients come back in the same millisecond, each with a TLS
//! handshake, a login and a subscription, to a successor that has just started.
//!
//! So a drain announces its end when it begins, and each connection that is still at a tunnel or an answer then leaves
//! at a moment of its own, drawn by lot, in the last part of that time. Until then it goes on, and one that ends by
//! itself never notices.
//!
//! A connection that waits for bytes would not notice the announcement. To watch a channel would cost every wait of every
//! request; so each connection puts itself on a roll once, when it is accepted, and the announcement wakes all of them,
//! once.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker, ready};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;

use crate::clock::{Duration, Instant};
use crate::limits;
use crate::watchdog::Watchdog;

/// How a drain tells connections when they must be gone; every copy tells the same ones. The listeners of a process share
/// one; a listener that shall drain alone is given one of its own. If it is announced twice, the sooner end counts.
#[derive(Clone, Debug, Default)]
pub struct Farewell(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Asked at every turn of every answer, and false nearly always: so it comes before the window itself.
    is_announced: AtomicBool,
    announced: ArcSwapOption<Window>,
    roll: Mutex<Roll>,
}

/// Who is to be woken.
#[derive(Debug, Default)]
struct Roll {
    next: u64,
    wakers: HashMap<u64, Waker>,
}

/// From when on, and for how long, connections leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    opens: Instant,
    spread: Duration,
}

impl Window {
    /// Of a drain that begins `now`.
    fn of(now: Instant, patience: Duration) -> Window {
        let grace = limits::PARTING_GRACE.min(patience / 8);
        let spread = limits::PARTING_SPREAD.min(patience / 4);
        Window { opens: now + patience.saturating_sub(grace + spread), spread }
    }

    /// The moment for a connection that drew `lot`, from 0 to 1.
    fn moment(self, lot: f64) -> Instant {
        self.opens + self.spread.mul_f64(lot)
    }
}

impl Farewell {
    /// A drain has begun `now`; what is left after `patience` will be cut.
    pub fn announce(&self, now: Instant, patience: Duration) {
        let window = Window::of(now, patience);
        let announced = self.0.announced.load();
        if announced.as_ref().is_some_and(|announced| announced.opens <= window.opens) {
            return;
        }
        self.0.announced.store(Some(Arc::new(window)));
        self.0.is_announced.store(true, Ordering::Release);
        let roll: Vec<Waker> = self.0.roll.lock().wakers.values().cloned().collect();
        roll.into_iter().for_each(Waker::wake);
    }

    /// Puts the present task on the roll, until what is returned is dropped.
    pub(super) async fn enlist(&self) -> Enlisted {
        poll_fn(|cx| Poll::Ready(self.enter(cx.waker().clone()))).await
    }

    fn enter(&self, waker: Waker) -> Enlisted {
        let mut roll = self.0.roll.lock();
        let number = roll.next;
        roll.next += 1;
        roll.wakers.insert(number, waker);
        Enlisted { farewell: self.clone(), number }
    }
}

/// A connection's place on the roll.
#[derive(Debug)]
pub(super) struct Enlisted {
    farewell: Farewell,
    number: u64,
}

impl Drop for Enlisted {
    fn drop(&mut self) {
        self.farewell.0.roll.lock().wakers.remove(&self.number);
    }
}

/// One connection's own moment.
#[derive(Debug)]
pub(super) struct Parting {
    farewell: Farewell,
    /// The window that its moment was drawn from.
    drawn: Option<Window>,
    dog: Watchdog,
}

impl Parting {
    pub(super) fn new(farewell: Farewell) -> Parting {
        Parting { farewell, drawn: None, dog: Watchdog::default() }
    }

    /// Ready from that moment on; otherwise the task is woken when it comes, if it is on the roll.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.farewell.0.is_announced.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        let announced = self.farewell.0.announced.load();
        let Some(window) = announced.as_deref().copied() else { return Poll::Pending };
        if self.drawn != Some(window) {
            self.dog.set(window.moment(fastrand::f64()));
            self.drawn = Some(window);
        }
        ready!(self.dog.poll_expired(cx));
        Poll::Ready(())
    }

    /// Puts it off until then.
    pub(super) fn put_off(&mut self, until: Instant) {
        self.dog.set(until);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_window_is_the_last_part_of_a_drain_and_leaves_time_to_say_goodbye() {
        let now = Instant::now();
        let rows = [
            (60_000, 48_000, 58_000),
            (3_600_000, 3_588_000, 3_598_000),
            (8_000, 5_000, 7_000),
            (800, 500, 700),
            (0, 0, 0),
        ];
        for (patience, first, last) in rows {
            let window = Window::of(now, millis(patience));
            let moments = (window.moment(0.0) - now, window.moment(1.0) - now);
            assert_eq!(moments, (millis(first), millis(last)), "{patience}");
        }
    }

    #[test]
    fn a_goodbye_in_two_steps_fits_behind_the_last_moment() {
        assert!(limits::FRAME_END + limits::CLOSE_REPLY <= limits::PARTING_GRACE);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_something_else_is_woken_and_told_once_the_moment_has_come() {
        let farewell = Farewell::default();
        let mut parting = Parting::new(farewell.clone());
        let (began, start) = (tokio::time::Instant::now(), Instant::now());
        let waiting = async {
            let _enlisted = farewell.enlist().await;
            poll_fn(|cx| parting.poll(cx)).await;
        };
        let announcing = async {
            tokio::task::yield_now().await; // once the other one waits
            farewell.announce(start, millis(80_000));
        };
        tokio::join!(waiting, announcing);
        let took = began.elapsed();
        assert!(took >= millis(67_000) && took <= millis(79_000), "{took:?}");
        assert!(farewell.0.roll.lock().wakers.is_empty(), "whoever has gone is not on the roll");
    }

    #[test]
    fn the_sooner_end_counts() {
        let (farewell, now) = (Farewell::default(), Instant::now());
        let announced = || farewell.0.announced.load().as_deref().copied().unwrap();
        farewell.announce(now, millis(8_000));
        farewell.announce(now, millis(60_000));
        assert_eq!(announced(), Window::of(now, millis(8_000)));
        farewell.announce(now, millis(2_000));
        assert_eq!(announced(), Window::of(now, millis(2_000)));
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_a_moment_far_away_is_given_a_nearer_one() {
        let farewell = Farewell::default();
        let mut parting = Parting::new(farewell.clone());
        let (began, start) = (tokio::time::Instant::now(), Instant::now());
        farewell.announce(start, millis(3_600_000));
        let waiting = async {
            let _enlisted = farewell.enlist().await;
            poll_fn(|cx| parting.poll(cx)).await;
        };
        let announcing = async {
            tokio::task::yield_now().await; // once the other one waits
            farewell.announce(start, millis(2_000));
        };
        tokio::join!(waiting, announcing);
        assert!(began.elapsed() < millis(2_000), "{:?}", began.elapsed());
    }
}
