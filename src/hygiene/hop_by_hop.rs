//! Fields that are meant for one connection and must not pass on to the next.
//!
//! RFC 9110, section 7.6.1, has two kinds: a fixed list, and whatever the sender names in `Connection`. The
//! second kind is a lever: a client that names `Authorization` or `X-Forwarded-For` makes a careless proxy
//! strip what the application behind it relies on ("hop-by-hop abuse"), or what the proxy itself has just
//! set.
//!
//! The choice made here: names in `Connection` are obeyed but for the ones in [`is_protected`], which pass as
//! if they had not been named. RFC 9110 allows that: such a nomination is itself against the rule that a
//! connection option must not name a field intended for all recipients. To refuse the message instead would
//! break clients that name a field by mistake and do no harm.
//!
//! `Proxy-Authenticate` and `Proxy-Authorization` are between a client and a proxy that it has chosen (RFC
//! 9110, section 11.7). A reverse proxy is not that proxy, so both are taken out: credentials never reach a
//! server they are not for.

use http::header::{self, HeaderMap, HeaderName};
use smallvec::SmallVec;

use super::field::{is_token, members};

/// Names to take out of a message. Empty, without an allocation, when there are none.
pub type Removals = SmallVec<[HeaderName; 8]>;

/// What must be taken out of a message, request or answer, before it is passed on.
///
/// `Transfer-Encoding` is among them: whoever writes the message on the next connection says anew how it is
/// framed there. `Connection: upgrade` and `Upgrade` are too; a WebSocket handshake sets them anew.
pub fn hop_by_hop(headers: &HeaderMap) -> Removals {
    let mut removals = Removals::new();
    for name in headers.keys() {
        if is_fixed(name) {
            removals.push(name.clone());
        }
    }
    if removals.contains(&header::CONNECTION) {
        nominated(headers, &mut removals);
    }
    removals
}

/// The fixed list: RFC 9110, section 7.6.1, with the older `Keep-Alive` and `Proxy-Connection`, the proxy's
/// own credentials and RFC 7540's `HTTP2-Settings`.
///
/// By length first, since this runs for every field of every message.
fn is_fixed(name: &HeaderName) -> bool {
    is_fixed_name(name.as_str().as_bytes())
}

/// The same for a name as it stands on the wire.
pub(super) fn is_fixed_name(name: &[u8]) -> bool {
    let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
    match name.len() {
        2 => is("te"),
        7 => is("trailer") || is("upgrade"),
        10 => is("connection") || is("keep-alive"),
        14 => is("http2-settings"),
        16 => is("proxy-connection"),
        17 => is("transfer-encoding"),
        18 => is("proxy-authenticate"),
        19 => is("proxy-authorization"),
        _ => false,
    }
}

fn nominated(headers: &HeaderMap, removals: &mut Removals) {
    for value in headers.get_all(header::CONNECTION) {
        for option in members(value.as_bytes()).filter(|option| !says_only_itself(option)) {
            removals.extend(nominee(headers, option).filter(|name| !removals.contains(name)));
        }
    }
}

/// The usual options are no names of fields, or of one that is taken out anyhow.
fn says_only_itself(option: &[u8]) -> bool {
    [&b"keep-alive"[..], b"close"].iter().any(|usual| option.eq_ignore_ascii_case(usual))
}

/// The field that an option names, if the message has it and it may be taken out.
fn nominee(headers: &HeaderMap, option: &[u8]) -> Option<HeaderName> {
    let name = is_token(option).then(|| HeaderName::from_bytes(option).ok()).flatten()?;
    (headers.contains_key(&name) && !is_protected(&name)).then_some(name)
}

/// Fields that decide where a message ends, for whom it is, who sent it and what it may do. Nobody on the way
/// can make the proxy lose them.
fn is_protected(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("x-forwarded-") || PROTECTED.contains(&name)
}

const PROTECTED: [&str; 17] = [
    "authorization",
    "cache-control",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "host",
    "location",
    "range",
    "set-cookie",
    "via",
    "x-real-ip",
    "x-request-id",
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use http::HeaderValue;

    use super::*;

    type Sent<'s> = &'s [(&'s str, &'s str)];

    fn removed(fields: Sent<'_>) -> Vec<String> {
        let mut names: Vec<_> =
            hop_by_hop(&map(fields)).iter().map(|name| name.as_str().to_owned()).collect();
        names.sort_unstable();
        names
    }

    fn map(fields: Sent<'_>) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            map.append(name, HeaderValue::from_str(value).expect("a value"));
        }
        map
    }

    #[test]
    fn an_ordinary_message_loses_nothing_and_costs_no_allocation() {
        let removals = hop_by_hop(&map(&[("Host", "a"), ("Accept", "*/*"), ("X-Team", "orders")]));
        assert!(removals.is_empty());
        assert!(!removals.spilled());
    }

    #[test]
    fn the_fixed_list_goes_without_being_named() {
        let fixed = [
            "connection",
            "http2-settings",
            "keep-alive",
            "proxy-authenticate",
            "proxy-authorization",
            "proxy-connection",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
        ];
        let fields: Vec<_> = fixed.iter().map(|name| (*name, "x")).collect();
        assert_eq!(removed(&fields), fixed);
    }

    #[test]
    fn what_connection_names_goes_too() {
        let rows: [(Sent<'_>, &[&str]); 6] = [
            (&[("Connection", "close, X-Trace"), ("X-Trace", "1")], &["connection", "x-trace"]),
            (
                &[("Connection", "x-a"), ("Connection", "X-B"), ("X-A", "1"), ("X-B", "2")],
                &["connection", "x-a", "x-b"],
            ),
            (&[("Connection", "x-a ,, x-a"), ("X-A", "1"), ("X-A", "2")], &["connection", "x-a"]),
            (&[("Connection", "x-absent")], &["connection"]),
            (&[("Connection", "te"), ("TE", "trailers")], &["connection", "te"]),
            (&[("Connection", "\"x-a\", x a"), ("X-A", "1")], &["connection"]),
        ];
        for (fields, want) in rows {
            assert_eq!(removed(fields), want, "{fields:?}");
        }
    }

    #[test]
    fn what_others_rely_on_stays_however_often_it_is_named() {
        for name in PROTECTED.iter().chain(&["x-forwarded-for", "x-forwarded-proto", "x-forwarded-anything"])
        {
            let fields = [("Connection", *name), (*name, "1")];
            assert_eq!(removed(&fields), ["connection"], "{name}");
        }
    }
}
