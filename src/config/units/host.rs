//! Which hosts a route is for.
//!
//! What a client sends in `Host` is compared without port and without regard to case (RFC 9110, section 4.2.3), so a
//! pattern has neither: `API.example.com:443` would look right and never match.

use std::net::{IpAddr, Ipv6Addr};

use crate::config::units::{Misfit, Unit, as_text};

/// A host name or address, or every name below a domain.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// This very name or address, in lower case; IPv6 in brackets.
    Exact(String),
    /// `*.example.com`, without the `*.`.
    Below(String),
}

impl Unit for Host {
    const FORMAT: &'static str = "tetap-host";
    const EXPECTED: &'static str =
        "a host such as api.example.com, *.example.com, 10.0.0.1 or [::1], without a port";
    const PATTERN: &'static str = "(\\*\\.)?[^*/ @]+";

    fn read(text: &str) -> Result<Host, Misfit> {
        let lower = text.to_ascii_lowercase();
        let host = match lower.strip_prefix("*.") {
            Some(domain) => name(domain).map(Host::Below),
            None if lower.starts_with('[') => bracketed(&lower).map(Host::Exact),
            None => name(&lower).map(Host::Exact),
        };
        host.ok_or_else(|| guess(&lower))
    }

    fn write(&self) -> String {
        match self {
            Host::Exact(host) => host.clone(),
            Host::Below(domain) => format!("*.{domain}"),
        }
    }
}

as_text!(Host);

/// RFC 1123, section 2.1, and `_`, which is not allowed there and yet in use.
fn name(text: &str) -> Option<String> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    (text.len() <= 253 && text.split('.').all(label)).then(|| text.to_owned())
}

/// In one spelling (RFC 5952), as `Host` headers are compared.
fn bracketed(text: &str) -> Option<String> {
    let address: Ipv6Addr = text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()?;
    Some(format!("[{address}]"))
}

fn guess(text: &str) -> Misfit {
    if text == "*" {
        return Misfit::because("leave `host` out to match every host");
    }
    if !text.is_ascii() {
        return Misfit::because("names are compared in their ASCII form, xn--…");
    }
    if let Ok(IpAddr::V6(address)) = text.parse() {
        return Misfit::plain().suggest(format!("[{address}]"));
    }
    let bare = text.trim_start_matches("https://").trim_start_matches("http://");
    let bare = bare.split(['/', ':']).next().unwrap_or_default().trim_end_matches('.');
    match name(bare.trim_start_matches("*.")) {
        Some(_) if bare != text => Misfit::plain().suggest(bare),
        _ => Misfit::plain(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::units::assert_reads;

    #[test]
    fn hosts() {
        assert_reads::<Host>(
            &[
                ("API.example.com", "api.example.com"),
                ("*.Example.com", "*.example.com"),
                ("10.0.0.1", "10.0.0.1"),
                ("[0:0::1]", "[::1]"),
                ("my_host", "my_host"),
            ],
            &[
                "", "*", "a.*", "a..b", "a.b.", "-a", "a:80", "[::1]:80", "::1", "http://a", "ä.de", "a b",
                "*.",
            ],
        );
        assert!(Host::read(&"a".repeat(64)).is_err());
    }

    #[test]
    fn what_is_too_much_is_cut_off_in_the_suggestion() {
        for (text, meant) in [
            ("api.example.com:443", Some("api.example.com")),
            ("https://api.example.com/x", Some("api.example.com")),
            ("*.example.com:80", Some("*.example.com")),
            ("example.com.", Some("example.com")),
            ("::1", Some("[::1]")),
            ("a b", None),
        ] {
            assert_eq!(guess(text).suggestion.as_deref(), meant, "{text}");
        }
    }
}
