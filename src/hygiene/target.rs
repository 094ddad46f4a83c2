//! What a request line points at.
//!
//! RFC 9112, section 3.2, knows four forms, and which one is legal depends on the method. A proxy that takes
//! any form with any method, or that routes by `Host` when the target names another authority, lets a client
//! pick the route by one and the application by the other. Here every target becomes an authority (or none),
//! a path in normal form and a query, and a target that is not one of the forms that its method allows is
//! refused.

use std::borrow::Cow;

use http::Method;

use super::field::Fault;
use super::path::{PathError, normalize};
use crate::routing::host::normalize_host;

/// Which form of RFC 9112, section 3.2, the target was sent in. The authority form belongs to CONNECT, which
/// is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetForm {
    /// `/path?query`.
    Origin,
    /// `http://host/path?query`: its authority stands in for `Host`.
    Absolute,
    /// `*`, or an absolute form without path and query, with OPTIONS: the server itself is asked, not a
    /// resource.
    Asterisk,
}

/// A target taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target<'b> {
    pub(super) form: TargetForm,
    /// Of an absolute form, not yet judged.
    pub(super) authority: Option<&'b str>,
    /// In normal form; `*` for the asterisk form.
    pub(super) path: Cow<'b, str>,
    /// As sent, without the `?`.
    pub(super) query: Option<&'b str>,
}

impl<'b> Target<'b> {
    /// Takes a target apart. Its bytes are already known to be visible ASCII.
    pub(super) fn parse(method: &Method, target: &'b str) -> Result<Target<'b>, Fault> {
        if target.starts_with('/') {
            return resource(TargetForm::Origin, None, target);
        }
        if target == "*" {
            return asterisk(method, None);
        }
        let (authority, rest) = absolute(target)?;
        match rest {
            "" if method == Method::OPTIONS => asterisk(method, Some(authority)),
            _ => resource(TargetForm::Absolute, Some(authority), rest),
        }
    }
}

/// `*` asks about the server as a whole, which only OPTIONS can (RFC 9112, section 3.2.4).
fn asterisk<'b>(method: &Method, authority: Option<&'b str>) -> Result<Target<'b>, Fault> {
    match *method == Method::OPTIONS {
        true => Ok(Target { form: TargetForm::Asterisk, authority, path: Cow::Borrowed("*"), query: None }),
        false => Err("the target * is for OPTIONS only"),
    }
}

/// Authority, and what follows it (RFC 9112, section 3.2.2; RFC 9110, section 4.2).
fn absolute(target: &str) -> Result<(&str, &str), Fault> {
    let (scheme, rest) = target.split_once("://").ok_or("the target is neither a path nor a URI")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err("the target's scheme is not http or https");
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    Ok(rest.split_at(end))
}

fn resource<'b>(form: TargetForm, authority: Option<&'b str>, rest: &'b str) -> Result<Target<'b>, Fault> {
    let (path, query) = match memchr::memchr(b'?', rest.as_bytes()) {
        Some(at) => (&rest[..at], Some(&rest[at + 1..])),
        None => (rest, None),
    };
    if query.is_some_and(has_bad_escape) {
        return Err("a broken percent-escape in the query");
    }
    let path = normalize(if path.is_empty() { "/" } else { path }).map_err(PathError::as_str)?;
    Ok(Target { form, authority, path, query })
}

/// Whether a `%` is not followed by two hex digits, or stands for NUL, which ends strings in less careful
/// places.
fn has_bad_escape(query: &str) -> bool {
    let bytes = query.as_bytes();
    memchr::memchr_iter(b'%', bytes).any(|at| match bytes.get(at + 1..at + 3) {
        Some(b"00") | None => true,
        Some(escape) => !escape.iter().all(u8::is_ascii_hexdigit),
    })
}

/// Whether a byte may stand in a target at all: visible ASCII but the marks that no part of a URI has and
/// that parsers read in their own ways (RFC 3986, appendix A; `#` begins a fragment, which is never sent).
pub(super) const fn is_target_byte(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e) && !matches!(byte, b'"' | b'#' | b'<' | b'>' | b'\\')
}

/// A host that a request can be for, in normal form, and its port.
///
/// Stricter than the grammar of a URI by two: a name must be there, since http has no resource without one
/// (RFC 9110, section 4.2.1), and a comma may not, since a list of two hosts is one name to one parser and
/// two to another.
pub(super) fn normal_host(text: &str) -> Option<(Cow<'_, str>, Option<u16>)> {
    normalize_host(text)
        .filter(|(host, _)| !host.is_empty() && memchr::memchr(b',', host.as_bytes()).is_none())
}
