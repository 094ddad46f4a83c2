//! What happens beside the requests.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;

use super::{Runtime, Snapshot};
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

/// Finds and checks the endpoints of the upstreams that the runtime keeps, for as long as it is polled.
pub async fn keep(runtime: Arc<Runtime>) {
    let mut kept = runtime.kept.subscribe();
    let mut keepers: HashMap<usize, Keeper> = HashMap::new();
    loop {
        let wanted = kept.borrow_and_update().clone();
        let staying: HashSet<usize> = wanted.iter().map(address).collect();
        keepers.retain(|upstream, _| staying.contains(upstream));
        for upstream in wanted {
            keepers.entry(address(&upstream)).or_insert_with(|| Keeper::of(upstream));
        }
        let _ = kept.changed().await; // the sender is in the runtime that is held here
    }
}

/// Tells upstreams apart, of which two may have the same name.
fn address(upstream: &Arc<Upstream>) -> usize {
    Arc::as_ptr(upstream).addr()
}

/// A task, and the upstream that it keeps: as long as that is held, its address is nobody else's.
struct Keeper {
    _task: AbortOnDropHandle<()>,
    _upstream: Arc<Upstream>,
}

impl Keeper {
    fn of(upstream: Arc<Upstream>) -> Keeper {
        let task = AbortOnDropHandle::new(tokio::spawn(keep_up(upstream.clone())));
        Keeper { _task: task, _upstream: upstream }
    }
}

async fn keep_up(upstream: Arc<Upstream>) {
    let what = format!("upstream {}: what finds its endpoints", upstream.name());
    persist(what, || upstream.clone().keep()).await;
}

/// Ready when the endpoints of each of a snapshot's upstreams are known and were checked once, or when that has taken too
/// long.
pub async fn first_round(snapshot: &Snapshot, longest: Duration) {
    let all = async {
        for upstream in snapshot.upstreams() {
            upstream.first_round().await;
        }
    };
    if tokio::time::timeout(longest, all).await.is_err() {
        log::warn!("some endpoints are not known after {longest:?}: serving with the others");
    }
}
