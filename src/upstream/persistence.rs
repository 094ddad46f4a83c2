//! Tasks that must not end.
//!
//! A task that panics is gone, and nobody notices: an endpoint whose prober is gone keeps its last verdict for ever. There
//! is no known way to make one panic, which is just why nobody would look there. So what must go on is begun again.

use std::fmt::Display;
use std::future::Future;

use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::limits::RESTART_PAUSE;

/// Runs what `make` makes, and makes it anew whenever it panics, after a pause. Ends when it ends; ends it when dropped.
pub async fn persist<F>(what: impl Display, make: impl Fn() -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        let mut task = JoinSet::new(); // aborts what it holds when it is dropped
        task.spawn(make());
        match task.join_next().await {
            Some(Err(error)) if error.is_panic() => {
                log::error!("{what}: {error}; it begins again in {RESTART_PAUSE:?}");
                sleep(RESTART_PAUSE).await;
            }
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic)]
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    struct Alive(Arc<AtomicUsize>);

    impl Drop for Alive {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_panics_begins_again_after_a_pause() {
        let (began, start) = (Arc::new(AtomicUsize::new(0)), tokio::time::Instant::now());
        let task = || {
            let times = began.fetch_add(1, Ordering::SeqCst);
            async move { assert!(times >= 3, "planted") }
        };
        persist("test", task).await;
        assert_eq!(began.load(Ordering::SeqCst), 4);
        assert!(start.elapsed() >= 3 * RESTART_PAUSE && start.elapsed() < 4 * RESTART_PAUSE);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_dropped_ends() {
        let alive = Arc::new(AtomicUsize::new(0));
        let task = || {
            alive.fetch_add(1, Ordering::SeqCst);
            let alive = Alive(alive.clone());
            async move {
                let _alive = alive;
                std::future::pending::<()>().await;
            }
        };
        let held = tokio::time::timeout(RESTART_PAUSE, persist("test", task)).await;
        assert!(held.is_err(), "it goes on");
        tokio::time::sleep(RESTART_PAUSE).await; // an aborted task is dropped when it is next looked at
        assert_eq!(alive.load(Ordering::SeqCst), 0);
    }
}
