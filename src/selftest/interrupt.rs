//! Being told to end, in the middle of it.
//!
//! The main thread waits for answers of the proxy, some of which take seconds. Who interrupts it has the proxy ended: then
//! whatever it waits for comes to nothing at once, and all is cleaned up on the usual way, by drop.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};

/// Whether somebody has said so.
#[derive(Debug, Default)]
pub(super) struct Interrupt {
    asked: AtomicBool,
    /// The proxy's process; 0 while there is none.
    proxy: AtomicI32,
}

impl Interrupt {
    /// It is to end.
    pub(super) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }

    /// Which process ends with it, from now on.
    pub(super) fn takes(&self, proxy: Option<Pid>) {
        self.proxy.store(proxy.map_or(0, |pid| pid.as_raw_nonzero().get()), Ordering::Release);
    }

    /// Waits for INT or TERM.
    ///
    /// # Errors
    /// The system does not let them be heard.
    pub(super) async fn listen(self: Arc<Self>) -> io::Result<()> {
        let (mut int, mut term) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        tokio::select! {
            _ = int.recv() => {}
            _ = term.recv() => {}
        }
        self.asked.store(true, Ordering::Release);
        if let Some(pid) = Pid::from_raw(self.proxy.load(Ordering::Acquire)) {
            let _ = kill_process(pid, Signal::INT); // gone already is as good
        }
        Ok(())
    }
}
