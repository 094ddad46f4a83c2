//! What an operator, a service manager or the kernel says with a signal.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caught {
    /// TERM: finish what is under way.
    Stop,
    /// INT: end at once.
    Quit,
    /// HUP: read the configuration again.
    Reload,
    /// USR2: run the executable anew.
    Upgrade,
    /// CHLD: somebody has ended.
    Ended,
}

/// The signals that are heard.
#[derive(Debug)]
pub struct Signals([(Caught, Signal); 5]);

impl Signals {
    /// From now on they are heard.
    ///
    /// # Errors
    /// The system does not let them be.
    pub fn new() -> io::Result<Signals> {
        Ok(Signals([
            (Caught::Stop, signal(SignalKind::terminate())?),
            (Caught::Quit, signal(SignalKind::interrupt())?),
            (Caught::Reload, signal(SignalKind::hangup())?),
            (Caught::Upgrade, signal(SignalKind::user_defined2())?),
            (Caught::Ended, signal(SignalKind::child())?),
        ]))
    }

    /// The next one. Nothing is lost where this is dropped before.
    pub async fn next(&mut self) -> Caught {
        poll_fn(|context| {
            let mut signals = self.0.iter_mut();
            let said =
                signals.find_map(|(caught, signal)| signal.poll_recv(context).is_ready().then_some(*caught));
            said.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}
