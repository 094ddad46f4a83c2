//! Errors of the admin address, in the same form as those of the traffic (RFC 9457).

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

/// No such path.
pub(super) async fn not_found() -> Response {
    problem(StatusCode::NOT_FOUND)
}

/// The path, but not this method; the router adds `Allow`.
pub(super) async fn method_not_allowed() -> Response {
    problem(StatusCode::METHOD_NOT_ALLOWED)
}

fn problem(status: StatusCode) -> Response {
    let title = status.canonical_reason().unwrap_or("Error");
    let document = serde_json::json!({"type": "about:blank", "title": title, "status": status.as_u16()});
    (status, [(header::CONTENT_TYPE, "application/problem+json")], document.to_string()).into_response()
}
