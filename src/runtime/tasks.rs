//! What happens beside the requests.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::Runtime;
use crate::clock::Instant;
use crate::upstream::Upstream;
use crate::upstream::persistence::persist;

/// How often time is seen to pass: idle connections are looked through, ejections end, slow starts go on. A tenth of what
/// any of these lasts, or less; and little work, as long as nothing has happened.
const TICK: Duration = Duration::from_millis(100);

/// Lets time pass for the upstreams of the present snapshot, for as long as it is polled.
pub async fn tick(runtime: Arc<Runtime>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = Instant::now();
        for upstream in runtime.snapshot().upstreams() {
            upstream.pool().sweep(now);
            upstream.refresh();
        }
    }
}

/// Finds and checks the endpoints of every upstream of the present snapshot, for as long as it is polled.
pub async fn keep(runtime: Arc<Runtime>) {
    let mut keepers = JoinSet::new();
    for upstream in runtime.snapshot().upstreams() {
        keepers.spawn(keep_up(upstream.clone()));
    }
    while keepers.join_next().await.is_some() {}
    std::future::pending::<()>().await; // none has anything (left) to do
}

async fn keep_up(upstream: Arc<Upstream>) {
    let what = format!("upstream {}: what finds its endpoints", upstream.name());
    persist(what, || upstream.clone().keep()).await;
}

/// Ready when every upstream's endpoints are known and were checked once, or when that has taken too long.
pub async fn first_round(runtime: Arc<Runtime>, longest: Duration) {
    let all = async {
        for upstream in runtime.snapshot().upstreams() {
            upstream.first_round().await;
        }
    };
    if tokio::time::timeout(longest, all).await.is_err() {
        log::warn!("some endpoints are not known after {longest:?}: serving with the others");
    }
}
