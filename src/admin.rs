//! What operators and their machines ask the process, at an address of its own.
//!
//! The admin address must answer when nothing else does: while the process starts, drains, or has no room for clients. So it
//! shares no limit and no thread of decisions with the traffic, only what it reads. It is meant for the operator's own network, and
//! still bounded (see [`listener`]), for it must not be the way to exhaust the process either.
//!
//! | request | answers |
//! |---|---|
//! | `GET /live` | 200 as long as the process can answer at all |
//! | `GET /ready` | 200 `ready`, or 503 with `starting` or `draining`: send no new work |
//! | `GET /metrics` | all [series](crate::observe::metrics) in Prometheus' text format |
//! | `GET /api/v1/upstreams` | every endpoint of every upstream, whether it may be asked, and why not; JSON |

mod listener;
mod problem;
pub mod readiness;
mod status;
mod upstreams;

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::runtime::Runtime;
use readiness::Readiness;

/// What the answers are read from.
#[derive(Clone, Debug)]
pub struct Sources {
    /// For `/ready`.
    pub readiness: Readiness,
    /// For all the rest.
    pub runtime: Arc<Runtime>,
}

/// Every path of the admin address.
pub fn router(sources: Sources) -> Router {
    Router::new()
        .route("/live", get(status::live))
        .route("/ready", get(status::ready))
        .route("/metrics", get(status::metrics))
        .route("/api/v1/upstreams", get(upstreams::list))
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .with_state(sources)
}

/// Answers until `shutdown` completes and the requests under way are answered.
///
/// # Errors
/// None while running; the result is that of the server's own end.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    axum::serve(listener::Bounded::new(listener), router).with_graceful_shutdown(shutdown).await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use crate::clock::Clock;
    use crate::estate::Estate;
    use crate::observe::access_log::{AccessLog, Format, Output};
    use crate::observe::metrics::Metrics;
    use crate::plan::{self, Plan};
    use crate::runtime::Snapshot;
    use std::net::SocketAddr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::oneshot;

    struct Admin {
        address: SocketAddr,
        sources: Sources,
        stop: oneshot::Sender<()>,
        served: tokio::task::JoinHandle<io::Result<()>>,
    }

    /// One that serves nobody.
    fn runtime() -> Arc<Runtime> {
        let metrics = Metrics::new();
        let plan = Plan {
            listeners: Vec::new(),
            admin: None,
            upstreams: Vec::new(),
            routes: Vec::new(),
            table: crate::routing::Table::build(Vec::new()).unwrap(),
            trusted_proxies: Vec::new(),
            access_log: plan::AccessLog {
                format: plan::AccessLogFormat::Json,
                output: plan::AccessLogOutput::Off,
            },
            process: plan::Process::default(),
        };
        let log = AccessLog::open(Format::Json, &Output::Off, metrics.access_log_dropped().clone()).unwrap();
        Runtime::new(Snapshot::build(plan, 7, Clock::start(), &metrics, &Estate::default()), metrics, log)
    }

    impl Admin {
        async fn start() -> Admin {
            let sources = Sources { readiness: Readiness::new(), runtime: runtime() };
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let (stop, stopped) = oneshot::channel();
            let shutdown = async move { drop(stopped.await) };
            let served = tokio::spawn(serve(listener, router(sources.clone()), shutdown));
            Admin { address, sources, stop, served }
        }

        async fn ask(&self, method: &str, path: &str) -> String {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            let request = format!("{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        }
    }

    fn assert_answer(answer: &str, status: &str, body: &str) {
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.split_once("\r\n\r\n").is_some_and(|(_, after)| after.contains(body)), "{answer}");
    }

    #[tokio::test]
    async fn ready_says_why_not() {
        let admin = Admin::start().await;
        assert_answer(&admin.ask("GET", "/ready").await, "503", "starting\n");
        admin.sources.readiness.ready();
        assert_answer(&admin.ask("GET", "/ready").await, "200", "ready\n");
        admin.sources.readiness.drain();
        assert_answer(&admin.ask("GET", "/ready").await, "503", "draining\n");
        assert_answer(&admin.ask("GET", "/live").await, "200", "live\n");
    }

    #[tokio::test]
    async fn metrics_are_in_the_text_format() {
        let admin = Admin::start().await;
        admin.sources.runtime.metrics().route("orders");
        let answer = admin.ask("GET", "/metrics").await;
        assert_answer(&answer, "200", "tetap_requests_total{code=\"2xx\",route=\"orders\"} 0\n");
        assert!(answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{answer}");
    }

    #[tokio::test]
    async fn the_list_of_upstreams_names_its_generation() {
        let admin = Admin::start().await;
        let answer = admin.ask("GET", "/api/v1/upstreams").await;
        assert_answer(&answer, "200", r#"{"generation":7,"upstreams":[]}"#);
        assert!(answer.contains("content-type: application/json\r\n"), "{answer}");
    }

    #[tokio::test]
    async fn other_paths_and_methods_are_problems() {
        let admin = Admin::start().await;
        let missing = admin.ask("GET", "/nothing").await;
        assert_answer(&missing, "404", r#""status":404"#);
        assert!(missing.contains("content-type: application/problem+json\r\n"), "{missing}");
        let wrong = admin.ask("POST", "/ready").await;
        assert_answer(&wrong, "405", r#""status":405"#);
        assert!(wrong.to_lowercase().contains("allow: get"), "{wrong}");
    }

    #[tokio::test]
    async fn an_idle_connection_does_not_hold_up_the_end() {
        let admin = Admin::start().await;
        let _idle = TcpStream::connect(admin.address).await.unwrap();
        admin.ask("GET", "/live").await;
        admin.stop.send(()).unwrap();
        let ended = tokio::time::timeout(std::time::Duration::from_secs(20), admin.served).await;
        ended.expect("the server ends").unwrap().unwrap();
    }
}
