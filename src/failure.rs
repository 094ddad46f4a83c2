//! What can go wrong with a request, as one closed list.
//!
//! A proxy fails in many places, and each place is tempted to make up its own words. Then the access log says one
//! thing, the metric another, and the client a third. Here every failure that the proxy itself answers, or that ends an
//! exchange early, is one [`Cause`]; its status and its sentence stand beside it, and nowhere else.
//!
//! The rule for the status: **502** a bad answer came, **503** there was nobody to ask, **504** the answer came too
//! late (RFC 9110, sections 15.6.3 to 15.6.5); 4xx when the client can do better.

use http::StatusCode;

/// Why an exchange did not end with an upstream's own answer.
///
/// The words of [`Cause::as_str`] are a contract: they stand in problem documents, the access log and the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The request breaks RFC 9110 or 9112 so that it must not be forwarded.
    BadRequest,
    /// The request target is longer than `limits.uri`.
    UriTooLong,
    /// The header section has more bytes or more lines than the listener allows.
    HeaderTooLarge,
    /// The body is longer than `limits.body`.
    BodyTooLarge,
    /// Not HTTP/1.0 or HTTP/1.1.
    VersionNotSupported,
    /// The client did not finish its header or body in time.
    RequestTimeout,
    /// No route matches host, path and conditions.
    NoRoute,
    /// A route would match, but for the method.
    MethodNotAllowed,
    /// A limit of the listener or of the upstream is reached.
    Overloaded,
    /// The upstream has no endpoint that may be asked.
    NoEndpoint,
    /// No endpoint could be connected to.
    ConnectFailed,
    /// Connecting, or the upstream's answer, took too long.
    UpstreamTimeout,
    /// The upstream closed or reset the connection before its answer was whole.
    UpstreamReset,
    /// What the upstream answered is not well-formed HTTP, or its end is ambiguous.
    UpstreamInvalid,
    /// The client closed its connection before the answer was whole. Nobody is left to answer.
    ClientClosed,
    /// The proxy is stopping, and what was still under way had to end. Its answer has begun, so nobody is told.
    Drained,
    /// A fault of the proxy itself.
    Internal,
}

impl Cause {
    /// Every cause, in the order of the enum: metrics register one series for each.
    pub const ALL: [Cause; 17] = [
        Cause::BadRequest,
        Cause::UriTooLong,
        Cause::HeaderTooLarge,
        Cause::BodyTooLarge,
        Cause::VersionNotSupported,
        Cause::RequestTimeout,
        Cause::NoRoute,
        Cause::MethodNotAllowed,
        Cause::Overloaded,
        Cause::NoEndpoint,
        Cause::ConnectFailed,
        Cause::UpstreamTimeout,
        Cause::UpstreamReset,
        Cause::UpstreamInvalid,
        Cause::ClientClosed,
        Cause::Drained,
        Cause::Internal,
    ];

    /// The word that stands in problem documents, logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Cause::BadRequest => "bad_request",
            Cause::UriTooLong => "uri_too_long",
            Cause::HeaderTooLarge => "header_too_large",
            Cause::BodyTooLarge => "body_too_large",
            Cause::VersionNotSupported => "version_not_supported",
            Cause::RequestTimeout => "request_timeout",
            Cause::NoRoute => "no_route",
            Cause::MethodNotAllowed => "method_not_allowed",
            Cause::Overloaded => "overloaded",
            Cause::NoEndpoint => "no_endpoint",
            Cause::ConnectFailed => "connect_failed",
            Cause::UpstreamTimeout => "upstream_timeout",
            Cause::UpstreamReset => "upstream_reset",
            Cause::UpstreamInvalid => "upstream_invalid",
            Cause::ClientClosed => "client_closed",
            Cause::Drained => "drained",
            Cause::Internal => "internal",
        }
    }

    /// The status that the client gets; 499 (nginx's word, never sent) where nobody is left to read it.
    pub fn status(self) -> StatusCode {
        match self {
            Cause::BadRequest => StatusCode::BAD_REQUEST,
            Cause::UriTooLong => StatusCode::URI_TOO_LONG,
            Cause::HeaderTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Cause::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Cause::VersionNotSupported => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Cause::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Cause::NoRoute => StatusCode::NOT_FOUND,
            Cause::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Cause::Overloaded | Cause::NoEndpoint | Cause::ConnectFailed | Cause::Drained => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Cause::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
            Cause::UpstreamReset | Cause::UpstreamInvalid => StatusCode::BAD_GATEWAY,
            Cause::ClientClosed => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
            Cause::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The `title` of the problem document (RFC 9457, section 3.1.3): one sentence for a person.
    pub const fn title(self) -> &'static str {
        match self {
            Cause::BadRequest => "The request is not valid HTTP",
            Cause::UriTooLong => "The request target is too long",
            Cause::HeaderTooLarge => "The request header is too large",
            Cause::BodyTooLarge => "The request body is too large",
            Cause::VersionNotSupported => "This HTTP version is not supported",
            Cause::RequestTimeout => "The request was not sent in time",
            Cause::NoRoute => "Nothing is served at this address",
            Cause::MethodNotAllowed => "The method is not allowed here",
            Cause::Overloaded => "The service is at its limit, please try again",
            Cause::NoEndpoint => "No server is available, please try again",
            Cause::ConnectFailed => "No server could be reached, please try again",
            Cause::UpstreamTimeout => "The server did not answer in time",
            Cause::UpstreamReset => "The server broke off its answer",
            Cause::UpstreamInvalid => "The server's answer is not valid HTTP",
            Cause::ClientClosed => "The client closed the connection",
            Cause::Drained => "The service is restarting, please try again",
            Cause::Internal => "The proxy made an error",
        }
    }

    /// Seconds for `Retry-After` (RFC 9110, section 10.2.3), where waiting helps.
    pub const fn retry_after_seconds(self) -> Option<u32> {
        match self {
            Cause::Overloaded | Cause::NoEndpoint | Cause::ConnectFailed | Cause::Drained => Some(1),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_complete_and_every_word_is_its_own() {
        let mut words: Vec<_> = Cause::ALL.iter().map(|cause| cause.as_str()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Cause::ALL.len());
    }

    #[test]
    fn nobody_to_ask_says_when_to_come_back() {
        for cause in Cause::ALL {
            let unavailable = cause.status() == StatusCode::SERVICE_UNAVAILABLE;
            assert_eq!(cause.retry_after_seconds().is_some(), unavailable, "{}", cause.as_str());
        }
    }
}
