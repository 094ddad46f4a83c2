//! Back to the endpoint that a client had.
//!
//! Some servers keep a client's session in their memory. A cookie brings the client back: it names the endpoint by a
//! keyed digest of its address (HMAC-SHA-256, RFC 2104, cut to 128 bits). Who has no key can neither read an address in it nor
//! make one up, and a proxy that shares the secret understands it. Nothing is stored: an endpoint's name follows from
//! its address, and when it is gone, the client is simply given another one's.

use std::collections::HashMap;
use std::net::SocketAddr;

use ring::hmac;

/// Bytes of a digest that are kept; 128 bits are not found by trying.
const BYTES: usize = 16;

/// How an endpoint is named in cookies.
pub type Token = [u8; BYTES * 2];

/// Names endpoints.
#[derive(Clone)]
pub struct Signer(hmac::Key);

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer")
    }
}

impl Signer {
    /// A signer with this secret.
    pub fn new(secret: &[u8]) -> Signer {
        Signer(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The name of the endpoint at an address of an upstream.
    pub fn token(&self, upstream: &str, address: SocketAddr) -> Token {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digest = hmac::sign(&self.0, format!("{upstream}\0{address}").as_bytes());
        let mut token = [0; BYTES * 2];
        for (pair, byte) in token.chunks_exact_mut(2).zip(digest.as_ref()) {
            pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        token
    }
}

/// The names of all members; `M` is what their owner knows one by.
#[derive(Clone, Debug)]
pub struct Tokens<M> {
    members: HashMap<Token, M>,
}

impl<M: Copy> Tokens<M> {
    /// Of the members, each with its address.
    pub fn of(signer: &Signer, upstream: &str, members: impl Iterator<Item = (M, SocketAddr)>) -> Tokens<M> {
        let named = members.map(|(member, address)| (signer.token(upstream, address), member));
        Tokens { members: named.collect() }
    }

    /// Whom a cookie's value names, if it is a member.
    pub fn member(&self, value: &[u8]) -> Option<M> {
        self.members.get(value).copied()
    }
}

impl<M> Default for Tokens<M> {
    fn default() -> Tokens<M> {
        Tokens { members: HashMap::new() }
    }
}

/// The values of a cookie in the `Cookie` fields of a request (RFC 6265, section 4.2.1), in order.
pub fn cookie_values<'h>(headers: &'h http::HeaderMap, name: &'h str) -> impl Iterator<Item = &'h [u8]> {
    let pairs = headers
        .get_all(http::header::COOKIE)
        .iter()
        .flat_map(|field| field.as_bytes().split(|byte| *byte == b';'));
    pairs.filter_map(move |pair| {
        let pair = pair.trim_ascii();
        let value = pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use http::{HeaderMap, HeaderValue, header::COOKIE};

    fn address(last: u8) -> SocketAddr {
        ([10, 0, 0, last], 80).into()
    }

    #[test]
    fn a_token_names_its_endpoint_and_no_other() {
        let signer = Signer::new(b"secret");
        let tokens = Tokens::of(&signer, "u", [(0, address(1)), (7, address(2))].into_iter());
        assert_eq!(tokens.member(&signer.token("u", address(2))), Some(7));
        assert_eq!(tokens.member(&signer.token("u", address(3))), None, "no member");
        assert_eq!(tokens.member(&signer.token("v", address(2))), None, "of another upstream");
        assert_eq!(tokens.member(&Signer::new(b"other").token("u", address(2))), None, "of another secret");
        assert_eq!(tokens.member(b""), None);
    }

    #[test]
    fn a_token_shows_no_address() {
        let token = Signer::new(b"secret").token("u", address(1));
        assert!(token.iter().all(u8::is_ascii_hexdigit));
        assert!(!String::from_utf8_lossy(&token).contains("10.0.0.1"));
    }

    #[test]
    fn cookies_are_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_static("a=1; id=x; idea=2"));
        headers.append(COOKIE, HeaderValue::from_static("id=\"y\";id=; Id=z"));
        let values: Vec<_> = cookie_values(&headers, "id").collect();
        assert_eq!(values, [&b"x"[..], b"y", b""]);
        assert_eq!(cookie_values(&headers, "none").count(), 0);
    }
}
