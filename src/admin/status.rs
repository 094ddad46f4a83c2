//! The answers for machines: probes and scrapers.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;

use super::Sources;
use super::readiness;

/// The media type of the text format, as Prometheus asks for it.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Says only that the process runs and answers: whoever restarts it on failure must not look at more.
pub(super) async fn live() -> &'static str {
    "live\n"
}

/// Whether to send new work, and why not.
pub(super) async fn ready(State(sources): State<Sources>) -> (StatusCode, &'static str) {
    match sources.readiness.state() {
        readiness::State::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        readiness::State::Ready => (StatusCode::OK, "ready\n"),
        readiness::State::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
    }
}

/// Every series there is.
pub(super) async fn metrics(State(sources): State<Sources>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, TEXT_FORMAT)], sources.runtime.metrics().encode())
}
