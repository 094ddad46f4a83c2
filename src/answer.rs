//! Answers that the proxy makes itself when something went wrong: problem documents (RFC 9457).
//!
//! There are two ways to a client: through Pingora's session, once there is one, and straight onto the connection, when
//! a head was refused before Pingora saw it. Both take the document from here, so that a client never sees two kinds.

use http::StatusCode;

use crate::failure::Cause;

/// `Content-Type` of a problem document.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// What stands in `Via`, both ways (RFC 9110, section 7.6.3): the version that we speak, and our name.
pub const VIA: &str = "1.1 tetap";

/// What `OPTIONS *` answers: the methods that are in general understood (RFC 9110, section 9.3.7).
pub const ALLOW_IN_GENERAL: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// The document. `request_id` was checked when it was taken over and needs no escaping; nor has `detail`, a word of our
/// own.
pub fn problem(cause: Cause, detail: Option<&str>, request_id: &str) -> String {
    let detail = detail.map(|detail| format!(r#""detail":"{detail}","#)).unwrap_or_default();
    format!(
        r#"{{"type":"about:blank","title":"{}","status":{},{detail}"cause":"{}","request_id":"{request_id}"}}"#,
        cause.title(),
        cause.status().as_u16(),
        cause.as_str(),
    )
}

/// A whole HTTP/1.1 answer with a problem document, after which the connection is closed.
pub fn problem_on_the_wire(cause: Cause, detail: Option<&str>, request_id: &str, date: &str) -> Vec<u8> {
    let body = problem(cause, detail, request_id);
    let retry = cause.retry_after_seconds().map(|seconds| format!("Retry-After: {seconds}\r\n"));
    let allow = (cause == Cause::MethodNotAllowed).then(|| format!("Allow: {ALLOW_IN_GENERAL}\r\n"));
    format!(
        "{}Content-Type: {PROBLEM_JSON}\r\nContent-Length: {}\r\n{}{}X-Request-Id: {request_id}\r\n\
         Via: {VIA}\r\nDate: {date}\r\nConnection: close\r\n\r\n{body}",
        status_line(cause.status()),
        body.len(),
        retry.unwrap_or_default(),
        allow.unwrap_or_default(),
    )
    .into_bytes()
}

/// A whole answer to `OPTIONS *` (RFC 9110, section 9.3.7).
pub fn options_on_the_wire(request_id: &str, date: &str, keep_alive: bool) -> Vec<u8> {
    let connection = if keep_alive { "keep-alive" } else { "close" };
    format!(
        "{}Allow: {ALLOW_IN_GENERAL}\r\nX-Request-Id: {request_id}\r\nVia: {VIA}\r\nDate: {date}\r\n\
         Connection: {connection}\r\n\r\n",
        status_line(StatusCode::NO_CONTENT),
    )
    .into_bytes()
}

fn status_line(status: StatusCode) -> String {
    format!("HTTP/1.1 {} {}\r\n", status.as_u16(), status.canonical_reason().unwrap_or(""))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_problem_is_a_json_document_with_the_cause() {
        for cause in Cause::ALL {
            let document: serde_json::Value =
                serde_json::from_str(&problem(cause, Some("too late"), "id-1")).unwrap();
            assert_eq!(document["status"], cause.status().as_u16());
            assert_eq!(document["cause"], cause.as_str());
            assert_eq!(document["request_id"], "id-1");
            assert_eq!(document["detail"], "too late");
        }
    }

    #[test]
    fn on_the_wire_the_length_is_right_and_the_connection_ends() {
        let wire = String::from_utf8(problem_on_the_wire(Cause::Overloaded, None, "id", "today")).unwrap();
        let (head, body) = wire.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{head}");
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
        assert!(head.contains("Retry-After: 1\r\n") && head.ends_with("Connection: close"), "{head}");
    }
}
