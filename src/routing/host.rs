//! The one spelling of a host.
//!
//! `API.Example.com:8080`, `api.example.com.` and `api.example.com` are one host to DNS; a table of routes, which
//! compares bytes, must see one name. What is no host name is refused here, before anything is looked up, so that the
//! table never meets user information, an empty label, or a name so long that walking its labels is work.

use std::borrow::Cow;
use std::net::Ipv6Addr;

/// Longest host: a DNS name has at most 253 bytes (RFC 1035, section 2.3.4), an address fewer.
const HOST_BYTES: usize = 255;

/// Host and port of a `Host` header or of an absolute-form target (`uri-host [ ":" port ]`; RFC 9110, section 7.2).
///
/// The host is in lower case, without port, without the one dot that may end a DNS name; an IPv6 address stands in
/// brackets in the spelling of RFC 5952. It is borrowed when it was written so. An empty text is an empty host, which
/// a client sends whose target has no authority (RFC 9112, section 3.2); an empty port is no port.
///
/// `None` when it is none: user information, a byte outside the `reg-name` of RFC 3986 (section 3.2.2), an empty label,
/// more than 255 bytes, a future IP version or a zone, a port above 65535. Percent-escapes are refused too, though a
/// `reg-name` may have them: no DNS name needs one, and decoding would forward another host than was matched.
pub fn normalize_host(text: &str) -> Option<(Cow<'_, str>, Option<u16>)> {
    if text.is_empty() {
        return Some((Cow::Borrowed(""), None));
    }
    let (host, port) = split_port(text)?;
    let host = if host.starts_with('[') { normalize_address(host) } else { normalize_name(host) };
    Some((host?, port))
}

/// The host as it stands, and the port read.
fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    let find = |mark| memchr::memchr(mark, text.as_bytes());
    let end = if text.starts_with('[') { find(b']')? + 1 } else { find(b':').unwrap_or(text.len()) };
    let (host, rest) = text.split_at(end);
    match rest.strip_prefix(':') {
        Some("") => Some((host, None)),
        Some(port) => Some((host, Some(parse_port(port)?))),
        None => rest.is_empty().then_some((host, None)),
    }
}

/// Digits only: `parse` alone would let a sign pass.
fn parse_port(digits: &str) -> Option<u16> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// An IPv6 address in brackets, in the one spelling that `Ipv6Addr` prints.
fn normalize_address(host: &str) -> Option<Cow<'_, str>> {
    let address: Ipv6Addr = host.strip_prefix('[')?.strip_suffix(']')?.parse().ok()?;
    let normal = format!("[{address}]");
    Some(if normal == host { Cow::Borrowed(host) } else { Cow::Owned(normal) })
}

fn normalize_name(host: &str) -> Option<Cow<'_, str>> {
    if is_normal(host.as_bytes()) {
        return Some(Cow::Borrowed(host));
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    if name.len() > HOST_BYTES || !name.bytes().all(is_name_byte) || name.split('.').any(str::is_empty) {
        return None;
    }
    let lower = !name.bytes().any(|byte| byte.is_ascii_uppercase());
    Some(if lower { Cow::Borrowed(name) } else { Cow::Owned(name.to_ascii_lowercase()) })
}

/// Whether nothing is to be done, as with nearly every host; one pass. A name that fails it may still be sound.
fn is_normal(name: &[u8]) -> bool {
    let mut before = b'.';
    let goes_on = |byte: &u8| {
        let good = matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-') || (*byte == b'.' && before != b'.');
        before = *byte;
        good
    };
    name.len() <= HOST_BYTES && name.iter().all(goes_on) && before != b'.'
}

/// `unreserved` and `sub-delims` of RFC 3986; a dot parts labels.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_host_has_one_spelling() {
        let cases: &[(&str, &str, Option<u16>)] = &[
            ("", "", None),
            ("example.com", "example.com", None),
            ("API.Example.COM", "api.example.com", None),
            ("example.com.", "example.com", None),
            ("example.com:80", "example.com", Some(80)),
            ("example.com:", "example.com", None),
            ("Example.com.:0080", "example.com", Some(80)),
            ("10.0.0.1:65535", "10.0.0.1", Some(65535)),
            ("my_host~1", "my_host~1", None),
            ("[::1]", "[::1]", None),
            ("[0:0:0:0:0:0:0:1]:8080", "[::1]", Some(8080)),
            ("[2001:DB8::A]", "[2001:db8::a]", None),
            ("[::FFFF:1.2.3.4]:", "[::ffff:1.2.3.4]", None),
        ];
        for (text, host, port) in cases {
            assert_eq!(normalize_host(text), Some((Cow::Borrowed(*host), *port)), "{text}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let refused = [
            "user@example.com",
            "a b",
            "a/b",
            "a?b",
            "a#b",
            "a\\b",
            "a%2eb",
            "a%",
            "é.de",
            "a\0",
            "<a>",
            "a\"",
            ".",
            "..",
            "a..b",
            ".a",
            "a..",
            ":80",
            "a:b",
            "a:65536",
            "a:+80",
            "a:-1",
            "a:80:80",
            "::1",
            "[::1",
            "[]",
            "[::1]80",
            "[::1]]",
            "[fe80::1%25eth0]",
            "[v1.x]",
            "[1.2.3.4]",
            "a[::1]",
            "a, b",
            "[::1].",
        ];
        for text in refused {
            assert_eq!(normalize_host(text), None, "{text}");
        }
    }

    #[test]
    fn a_host_longer_than_any_name_is_refused() {
        let label = "a.".repeat(127);
        assert!(normalize_host(&format!("{label}a")).is_some());
        assert!(normalize_host(&format!("{label}aa")).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_normal_host_is_not_copied(text in "\\[?[a-zA-Z0-9:.*%@-]{0,12}\\]?(:[0-9]{0,5})?|\\PC{0,12}") {
            if let Some((host, _)) = normalize_host(&text) {
                prop_assert!(matches!(normalize_host(&host), Some((Cow::Borrowed(same), None)) if same == host));
            }
        }
    }
}
