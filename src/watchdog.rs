//! A deadline that is moved far more often than it is met.
//!
//! Every read of a connection moves its deadline. Doing that with a timer means taking it out of tokio's wheel and
//! putting it back, twice a request, although practically none ever fires. A [`Watchdog`] lets the timer stand where it
//! was armed and remembers when it is really due; only when the timer fires too early is it armed again, and only a
//! deadline that comes *earlier* touches it at once.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Sleep, sleep_until};

use crate::clock::Instant;

/// A deadline for polled IO. Not armed until [`Watchdog::set`].
#[derive(Debug, Default)]
pub struct Watchdog {
    due: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Watchdog {
    /// Moves the deadline.
    pub fn set(&mut self, due: Instant) {
        self.due = Some(due);
    }

    /// Moves the deadline, unless there is one.
    pub fn set_if_clear(&mut self, due: impl FnOnce() -> Instant) {
        if self.due.is_none() {
            self.due = Some(due());
        }
    }

    /// Takes the deadline away. The timer stays where it is and does nothing when it fires.
    pub fn clear(&mut self) {
        self.due = None;
    }

    /// Ready once the deadline has passed; otherwise the task is woken when it does. Call this only after the IO itself
    /// was found pending: the first call creates the timer.
    pub fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(due) = self.due else { return Poll::Pending };
        let due = tokio::time::Instant::from_std(due);
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if timer.deadline() > due {
            timer.as_mut().reset(due);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if tokio::time::Instant::now() >= due {
                return Poll::Ready(());
            }
            timer.as_mut().reset(due);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::time::Duration;

    async fn expired(dog: &mut Watchdog) {
        poll_fn(|cx| dog.poll_expired(cx)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_moved_back_is_met_where_it_stands_last() {
        let start = Instant::now();
        let begun = tokio::time::Instant::now();
        let mut dog = Watchdog::default();
        dog.set(start + Duration::from_secs(1));
        assert!(poll_fn(|cx| Poll::Ready(dog.poll_expired(cx))).await.is_pending());
        dog.set(start + Duration::from_secs(60));
        expired(&mut dog).await;
        assert!(begun.elapsed() >= Duration::from_secs(59), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_moved_forward_is_met_in_time() {
        let start = Instant::now();
        let begun = tokio::time::Instant::now();
        let mut dog = Watchdog::default();
        dog.set(start + Duration::from_secs(60));
        assert!(poll_fn(|cx| Poll::Ready(dog.poll_expired(cx))).await.is_pending());
        dog.set(start + Duration::from_secs(1));
        expired(&mut dog).await;
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn no_deadline_never_expires() {
        let mut dog = Watchdog::default();
        let waited = tokio::time::timeout(Duration::from_secs(3600), expired(&mut dog)).await;
        assert!(waited.is_err());
    }
}
