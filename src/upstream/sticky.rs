//! The cookie that brings a client back to the endpoint that it had; see [`balance::sticky`](crate::balance::sticky).

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::{HeaderMap, HeaderValue};

use crate::balance::sticky::{Signer, Tokens, cookie_values};
use crate::plan;
use crate::roster::SeatId;

/// One upstream's cookie.
#[derive(Debug)]
pub struct Sticky {
    signer: Signer,
    name: Arc<str>,
    attributes: String,
    tokens: ArcSwap<Tokens<SeatId>>,
}

impl Sticky {
    /// A cookie that names nobody yet.
    pub fn new(planned: &plan::Sticky) -> Sticky {
        let plan::Sticky { name, secret, ttl } = planned;
        let age = ttl.map(|ttl| format!("; Max-Age={}", ttl.as_secs().max(1))).unwrap_or_default();
        Sticky {
            signer: Signer::new(secret),
            name: name.clone(),
            attributes: format!("; Path=/; HttpOnly; SameSite=Lax{age}"),
            tokens: ArcSwap::default(),
        }
    }

    pub(super) fn set_members(&self, upstream: &str, members: impl Iterator<Item = (SeatId, SocketAddr)>) {
        self.tokens.store(Arc::new(Tokens::of(&self.signer, upstream, members)));
    }

    /// The place of the endpoint that a request's cookie names, if that is a member.
    pub fn seat(&self, headers: &HeaderMap) -> Option<SeatId> {
        let tokens = self.tokens.load();
        cookie_values(headers, &self.name).find_map(|value| tokens.member(value))
    }

    /// The `Set-Cookie` (RFC 6265, section 4.1) that names an endpoint.
    pub fn set_cookie(&self, upstream: &str, address: SocketAddr, secure: bool) -> Option<HeaderValue> {
        let token = self.signer.token(upstream, address);
        let secure = if secure { "; Secure" } else { "" };
        let text = format!("{}={}{}{secure}", self.name, String::from_utf8_lossy(&token), self.attributes);
        HeaderValue::from_str(&text).ok()
    }
}
