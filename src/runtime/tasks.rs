//! What happens beside the requests.

use std::sync::Arc;
use std::time::Duration;

use super::Runtime;
use crate::clock::Instant;

/// How often idle connections are looked through.
const SWEEP: Duration = Duration::from_secs(1);

/// Closes idle upstream connections whose time is over, for as long as it is polled.
pub async fn sweep_pools(runtime: Arc<Runtime>) {
    let mut ticks = tokio::time::interval(SWEEP);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = Instant::now();
        for upstream in runtime.snapshot().upstreams() {
            upstream.pool().sweep(now);
        }
    }
}
