//! Where operators ask, and from when to when they are answered there.
//!
//! The address can be another one after a reload, and during a hand-over two workers have a socket for the same one: then the
//! one that is to serve begins to answer when the other ceases to.

use std::io;
use std::net::TcpListener;

use async_trait::async_trait;
use pingora::server::{ListenFds, ShutdownWatch};
use pingora::services::Service;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::doors::Unopened;
use crate::admin::{self, Sources};
use crate::limits::CALLS;

/// A socket to answer at.
#[derive(Debug)]
pub struct Call {
    listener: TcpListener,
    end: CancellationToken,
    opened: oneshot::Sender<io::Result<()>>,
}

/// The address, which may be closed.
#[derive(Debug)]
pub struct AdminAddress {
    calls: mpsc::Sender<Call>,
    open: Option<CancellationToken>,
}

impl AdminAddress {
    /// Closed, and where the service gets its calls from.
    pub fn new() -> (AdminAddress, mpsc::Receiver<Call>) {
        let (calls, called) = mpsc::channel(CALLS);
        (AdminAddress { calls, open: None }, called)
    }

    /// Answers there from now on, and nowhere else.
    ///
    /// # Errors
    /// The socket cannot be watched; nothing has changed.
    pub async fn open(&mut self, listener: TcpListener) -> Result<(), Unopened> {
        let end = CancellationToken::new();
        let (opened, told) = oneshot::channel();
        let gone = || io::Error::other("the service that answers has ended");
        let outcome = match self.calls.send(Call { listener, end: end.clone(), opened }).await {
            Ok(()) => told.await.unwrap_or_else(|_| Err(gone())),
            Err(_) => Err(gone()),
        };
        outcome.map_err(|source| Unopened { name: "admin".into(), source })?;
        self.close();
        self.open = Some(end);
        Ok(())
    }

    /// Answers nowhere, once what is under way is answered.
    pub fn close(&mut self) {
        self.open.take().into_iter().for_each(|open| open.cancel());
    }
}

/// Answers, on a thread of its own: also when the traffic's threads are busy.
pub struct Admin {
    /// Where.
    pub calls: mpsc::Receiver<Call>,
    /// What.
    pub sources: Sources,
}

#[async_trait]
impl Service for Admin {
    async fn start_service(&mut self, _: Option<ListenFds>, mut shutdown: ShutdownWatch, _: usize) {
        let mut answering = JoinSet::new();
        loop {
            tokio::select! {
                _ = shutdown.changed() => return, // the runtime ends with this service
                Some(call) = self.calls.recv() => {
                    let Some((listener, end)) = watched(call) else { continue };
                    let router = admin::router(self.sources.clone());
                    answering.spawn(admin::serve(listener, router, end.cancelled_owned()));
                }
                Some(_) = answering.join_next() => {}
            }
        }
    }

    fn name(&self) -> &str {
        "tetap-admin"
    }

    fn threads(&self) -> Option<usize> {
        Some(1)
    }
}

/// Joins the present runtime, and tells whether it could.
fn watched(call: Call) -> Option<(tokio::net::TcpListener, CancellationToken)> {
    let Call { listener, end, opened } = call;
    match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => {
            let _ = opened.send(Ok(())); // whoever asked may have given up
            Some((listener, end))
        }
        Err(failed) => {
            let _ = opened.send(Err(failed));
            None
        }
    }
}
