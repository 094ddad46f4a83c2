//! Checking one endpoint, again and again.
//!
//! Usually there is time: a check, a pause of about the interval, the next. Two things make it urgent. A *nudge*: a
//! request has just failed here, and it should be known soon whether the endpoint is ill. And *hurry*: requests wait for
//! any endpoint of the upstream to come back, and each check may be the one that lets them go on. In a hurry even an
//! endpoint that nobody wants checked is looked at, by opening a connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::health::probe::{LEAST_PAUSE, Miss, pause};
use crate::limits::HURRIED_ENDPOINTS;

/// Asks for a check of one endpoint.
#[derive(Debug, Default)]
pub struct Nudge(Notify);

impl Nudge {
    /// The next check is made at once.
    pub fn nudge(&self) {
        self.0.notify_one();
    }
}

/// How many requests wait for an endpoint of one upstream to come back.
#[derive(Debug, Default)]
pub struct Hurry {
    waiting: AtomicUsize,
    members: AtomicUsize,
    began: Notify,
}

/// One of them; it has waited when this is dropped.
#[derive(Debug)]
#[must_use = "the hurry is over when this is dropped"]
pub struct Hurried(Arc<Hurry>);

impl Hurry {
    /// One more waits.
    pub fn begin(self: &Arc<Hurry>) -> Hurried {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.began.notify_waiters();
        Hurried(self.clone())
    }

    /// So many endpoints are checked side by side.
    pub fn set_members(&self, members: usize) {
        self.members.store(members, Ordering::Relaxed);
    }

    /// The pause between two checks of one endpoint while requests wait: they notice it, and an endpoint that starts up
    /// bears it. Where there are very many, they share the pace of [`HURRIED_ENDPOINTS`].
    fn pause(&self) -> Duration {
        let members = u32::try_from(self.members.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
        LEAST_PAUSE.max(LEAST_PAUSE * members / HURRIED_ENDPOINTS as u32)
    }

    fn is_on(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Ready once somebody waits.
    async fn begins(&self) {
        let began = self.began.notified();
        tokio::pin!(began);
        began.as_mut().enable(); // before the look, so that none is missed
        if !self.is_on() {
            began.await;
        }
    }
}

impl Drop for Hurried {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Checks for as long as it is polled. `interval`: `None` where checks are only made in a hurry. `check` makes one;
/// `report` takes its result and says whether the verdict is in doubt now.
pub async fn watch<C: Future<Output = Result<(), Miss>>>(
    interval: Option<Duration>,
    nudge: &Nudge,
    hurry: &Hurry,
    mut check: impl FnMut() -> C,
    mut report: impl FnMut(Result<(), Miss>) -> bool,
) {
    loop {
        if interval.is_none() {
            hurry.begins().await;
        }
        let began = Instant::now();
        let in_doubt = report(check().await);
        let Some(interval) = interval else {
            sleep_until(began + hurry.pause()).await;
            continue;
        };
        let usual = Instant::now() + pause(interval, in_doubt, fastrand::f64());
        let soonest = usual.min(began + hurry.pause().min(interval));
        tokio::select! {
            () = sleep_until(usual) => {}
            () = nudge.0.notified() => sleep_until(soonest).await,
            () = hurry.begins() => sleep_until(soonest).await,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use parking_lot::Mutex;

    const SECOND: Duration = Duration::from_secs(1);

    /// A watch in virtual time: when each check was made, and what it finds.
    #[derive(Clone, Default)]
    struct Watch {
        nudge: Arc<Nudge>,
        hurry: Arc<Hurry>,
        made: Arc<Mutex<Vec<Duration>>>,
        doubt: Arc<Mutex<bool>>,
    }

    impl Watch {
        fn start(interval: Option<Duration>) -> Watch {
            let this = Watch::default();
            let (that, began) = (this.clone(), Instant::now());
            tokio::spawn(async move {
                let Watch { nudge, hurry, made, doubt } = that;
                let check = || {
                    made.lock().push(began.elapsed());
                    std::future::ready(Ok(()))
                };
                watch(interval, &nudge, &hurry, check, |_| *doubt.lock()).await;
            });
            this
        }

        /// How many checks are made within a span.
        async fn within(&self, span: Duration) -> usize {
            let before = self.made.lock().len();
            tokio::time::sleep(span).await;
            self.made.lock().len() - before
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_check_is_made_at_once_and_the_others_about_once_an_interval() {
        let watch = Watch::start(Some(SECOND));
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(watch.made.lock().len(), 1);
        let made = watch.within(SECOND * 100).await;
        assert!((91..=111).contains(&made), "{made}");
        let made = watch.made.lock();
        let pauses: Vec<_> = made.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(pauses.iter().all(|pause| (899..=1102).contains(&pause.as_millis())), "{pauses:?}");
        assert!(pauses.iter().any(|pause| *pause < SECOND) && pauses.iter().any(|pause| *pause > SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn in_doubt_checks_come_sooner() {
        let watch = Watch::start(Some(SECOND));
        *watch.doubt.lock() = true;
        assert!((8..=12).contains(&watch.within(SECOND).await));
    }

    #[tokio::test(start_paused = true)]
    async fn a_nudge_brings_one_check_forward_and_a_hundred_nudges_no_hundred() {
        let watch = Watch::start(Some(SECOND * 60));
        watch.within(SECOND).await;
        watch.nudge.nudge();
        assert_eq!(watch.within(Duration::from_millis(10)).await, 1);
        for _ in 0..100 {
            watch.nudge.nudge();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(watch.made.lock().len() <= 2 + 12, "{}", watch.made.lock().len());
    }

    #[test]
    fn very_many_endpoints_share_a_pace() {
        let hurry = Hurry::default();
        let pause = |members| {
            hurry.set_members(members);
            hurry.pause()
        };
        assert_eq!([0, 1, HURRIED_ENDPOINTS].map(pause), [LEAST_PAUSE; 3]);
        assert_eq!(pause(HURRIED_ENDPOINTS * 20), SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn while_somebody_waits_there_is_a_hurry() {
        for interval in [Some(SECOND * 60), None] {
            let watch = Watch::start(interval);
            let quiet = watch.within(SECOND).await;
            assert_eq!(quiet, usize::from(interval.is_some()));
            let hurried = watch.hurry.begin();
            let made = watch.within(SECOND).await;
            assert!((15..=21).contains(&made), "{interval:?}: {made}");
            drop(hurried);
            watch.within(Duration::from_millis(100)).await;
            assert_eq!(watch.within(SECOND * 10).await, 0, "{interval:?}");
        }
    }
}
