//! Closing without taking the answer back.
//!
//! When a socket is closed while bytes from the client lie unread in it, the kernel sends a reset, and the reset makes
//! the client's kernel throw away what it had received: the very answer that explains why the connection is closed. So
//! such a connection is closed in two steps (RFC 9112, section 9.6): our side is ended, and what still comes is read and
//! dropped for a short, bounded time. How many connections may be in this state is bounded too.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::task::TaskTracker;

use super::socket::Transport;
use crate::limits;

/// Closes connections in two steps.
#[derive(Debug)]
pub struct Linger {
    lingering: AtomicUsize,
    tracker: TaskTracker,
}

impl Linger {
    /// One whose connections count as open in `tracker`.
    pub fn new(tracker: TaskTracker) -> Arc<Linger> {
        Arc::new(Linger { lingering: AtomicUsize::new(0), tracker })
    }

    /// Closes `transport` in the background; at once where there is no room for one more, or no runtime any more.
    pub fn close(self: &Arc<Self>, transport: Transport) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let Some(place) = self.place() else { return };
        self.tracker.spawn_on(
            async move {
                let _ = tokio::time::timeout(limits::LINGER, drain(transport)).await;
                drop(place);
            },
            &runtime,
        );
    }

    fn place(self: &Arc<Self>) -> Option<Place> {
        let join = |now: usize| (now < limits::LINGERING_CONNECTIONS).then_some(now + 1);
        self.lingering.fetch_update(Ordering::Relaxed, Ordering::Relaxed, join).ok()?;
        Some(Place(self.clone()))
    }
}

struct Place(Arc<Linger>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.lingering.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn drain(mut transport: Transport) {
    let _ = transport.shutdown().await;
    let mut waste = [0; 4096];
    let mut left = limits::LINGER_BYTES;
    while let Ok(count @ 1..) = transport.read(&mut waste).await {
        left = left.saturating_sub(count);
        if left == 0 {
            return;
        }
    }
}
