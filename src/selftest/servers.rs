//! What stands behind the shadow: two servers that answer everything, and remember what must not come twice.
//!
//! They are in this process, which nothing is done to: whatever a client loses, the proxy has lost. An answer takes some tens of
//! milliseconds, so that at any moment several are under way; a server that answers at once has little to lose.

use std::collections::HashSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, Method};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

use super::interrupt::Interrupt;

/// The field that carries a request's number there and back.
pub(super) const FIELD: &str = "x-selftest";

/// How long an answer takes, in milliseconds.
const THINKING_MS: std::ops::RangeInclusive<u64> = 20..=60;

/// How many there are: with one, an ejected endpoint would leave nobody to ask.
const COUNT: usize = 2;

/// Running servers; they end when this is dropped.
pub(super) struct Servers {
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) seen: Arc<Seen>,
    /// Taken only to be ended: a runtime that is dropped would wait for its last task.
    runtime: Option<Runtime>,
}

/// Numbers of requests that may reach a server once only.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<(HashSet<u64>, Vec<u64>)>);

impl Seen {
    fn note(&self, id: u64) {
        let (seen, twice) = &mut *self.0.lock();
        if !seen.insert(id) {
            twice.push(id);
        }
    }

    /// Those that have come again.
    pub(super) fn twice(&self) -> Vec<u64> {
        self.0.lock().1.clone()
    }
}

impl Servers {
    /// Starts them, on free ports of 127.0.0.1, and hears in the same runtime who interrupts.
    ///
    /// # Errors
    /// No port, or no thread.
    pub(super) fn start(interrupt: Arc<Interrupt>) -> io::Result<Servers> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let seen = Arc::new(Seen::default());
        let one = || runtime.block_on(serve(seen.clone()));
        let addresses = (0..COUNT).map(|_| one()).collect::<io::Result<_>>()?;
        runtime.spawn(interrupt.listen());
        Ok(Servers { addresses, seen, runtime: Some(runtime) })
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn serve(seen: Arc<Seen>) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let router = Router::new().fallback(answer).with_state(seen);
    tokio::spawn(async { axum::serve(listener, router).await });
    Ok(address)
}

type Answer = ([(HeaderName, String); 1], String);

/// The body is read, though nothing is done with it: the proxy is to forward it.
async fn answer(State(seen): State<Arc<Seen>>, method: Method, headers: HeaderMap, _body: Bytes) -> Answer {
    let id = headers.get(FIELD).and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
    if let (true, Ok(number)) = (once_only(&method), id.parse()) {
        seen.note(number);
    }
    tokio::time::sleep(Duration::from_millis(fastrand::u64(THINKING_MS))).await;
    let body = body(&id);
    ([(HeaderName::from_static(FIELD), id)], body)
}

/// Whether a proxy must not repeat it on its own (RFC 9110, section 9.2.2).
fn once_only(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PATCH)
}

/// What the answer to a request of this number says.
pub(super) fn body(id: &str) -> String {
    format!("answer to {id}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_twice_is_noted() {
        let seen = Seen::default();
        [1, 2, 3, 2].into_iter().for_each(|id| seen.note(id));
        assert_eq!(seen.twice(), [2]);
    }
}
