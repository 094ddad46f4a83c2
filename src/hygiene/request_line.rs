//! The first line of a request: method, target and version (RFC 9112, section 3).
//!
//! Exactly two spaces part three words. Parsers that take any white space, or that look for the version from
//! the right and the method from the left, disagree about `GET /a HTTP/1.1 /b HTTP/1.1`; so no other space is
//! allowed, and every word's bytes are judged.

use http::{Method, Version};

use super::field::{Fault, Span, is_tchar, is_token};
use super::request_head::{HeadLimits, Refusal};
use super::target::is_target_byte;
use crate::failure::Cause;

/// Longest method. The longest one registered, `UPDATEREDIRECTREF`, has 17 bytes.
const METHOD_BYTES: usize = 32;

const NOT_A_METHOD: Fault = "the method is not a token of at most 32 bytes";

pub(super) const TARGET_TOO_LONG: Refusal =
    Refusal { cause: Cause::UriTooLong, detail: "the request target is too long" };

/// A sound request line. Whether its target is of a form that the method allows is not yet known.
#[derive(Clone, Debug)]
pub(super) struct RequestLine {
    pub(super) span: Span,
    pub(super) method: Method,
    pub(super) target: Span,
    pub(super) version: Version,
}

impl RequestLine {
    pub(super) fn parse(bytes: &[u8], span: Span, limits: &HeadLimits) -> Result<RequestLine, Refusal> {
        let line = span.of(bytes);
        let (first, last) = outer_spaces(line)?;
        let target = Span { start: span.start + first + 1, end: span.start + last };
        if target.len() > limits.uri_bytes {
            return Err(TARGET_TOO_LONG);
        }
        let method = method(&line[..first])?;
        let version = version(&line[last + 1..])?;
        check_method_is_served(&method)?;
        check_target_bytes(target.of(bytes))?;
        Ok(RequestLine { span, method, target, version })
    }
}

/// The first and the last space. There may be no other, which the check of the target's bytes finds.
fn outer_spaces(line: &[u8]) -> Result<(usize, usize), Fault> {
    match (memchr::memchr(b' ', line), memchr::memrchr(b' ', line)) {
        (Some(first), Some(last)) if first < last => Ok((first, last)),
        _ => Err("the request line is not a method, a target and a version"),
    }
}

fn method(bytes: &[u8]) -> Result<Method, Fault> {
    let sound = bytes.len() <= METHOD_BYTES && is_token(bytes);
    let method = sound.then(|| Method::from_bytes(bytes).ok()).flatten();
    method.ok_or(NOT_A_METHOD)
}

/// RFC 9112, section 2.3: upper case, one digit, a dot, one digit.
fn version(bytes: &[u8]) -> Result<Version, Refusal> {
    match bytes {
        b"HTTP/1.1" => Ok(Version::HTTP_11),
        b"HTTP/1.0" => Ok(Version::HTTP_10),
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
            Err(Refusal { cause: Cause::VersionNotSupported, detail: "neither HTTP/1.0 nor HTTP/1.1" })
        }
        _ => Err("the request line does not end in an HTTP version".into()),
    }
}

/// CONNECT would make the proxy a way into its own network; TRACE echoes what the client cannot see
/// otherwise.
fn check_method_is_served(method: &Method) -> Result<(), Refusal> {
    match *method == Method::CONNECT || *method == Method::TRACE {
        true => Err(Refusal { cause: Cause::MethodNotAllowed, detail: "CONNECT and TRACE are not served" }),
        false => Ok(()),
    }
}

fn check_target_bytes(target: &[u8]) -> Result<(), Fault> {
    match !target.is_empty() && target.iter().all(|&byte| is_target_byte(byte)) {
        true => Ok(()),
        false => Err("the request target is empty or holds an illegal byte"),
    }
}

/// Refuses what more bytes cannot mend. Without this, a client that speaks TLS or nonsense to a clear-text
/// port would be listened to until its deadline.
pub(super) fn check_unfinished(bytes: &[u8], limits: &HeadLimits) -> Result<(), Refusal> {
    let method = memchr::memchr(b' ', bytes).unwrap_or(bytes.len());
    check_unfinished_method(bytes, method)?;
    let rest = bytes.get(method + 1..).unwrap_or_default();
    let target = memchr::memchr(b' ', rest).unwrap_or(rest.len());
    if target > limits.uri_bytes { Err(TARGET_TOO_LONG) } else { Ok(()) }
}

/// The first byte tells nearly all nonsense. It may be the CR of an empty line.
fn check_unfinished_method(bytes: &[u8], length: usize) -> Result<(), Fault> {
    let begins_well = bytes.first().is_none_or(|&byte| byte == b'\r' || is_tchar(byte));
    if begins_well && length <= METHOD_BYTES { Ok(()) } else { Err(NOT_A_METHOD) }
}
