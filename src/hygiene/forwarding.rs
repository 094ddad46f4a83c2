//! Who the client is, and how that is told to upstreams.
//!
//! Behind a proxy every connection comes from the proxy, so it writes down whom it speaks for: in `Forwarded`
//! (RFC 7239) and in the older `X-Forwarded-*` fields that most applications read. Anybody can write these
//! fields, and an application that believes a stranger's lets him be whoever he likes.
//!
//! The choices made here:
//!
//! - From a peer that is not a trusted proxy, all of it is dropped and written anew.
//! - From a trusted one, its chain is kept and the peer added. The **client** is found from the right, the
//!   end that trusted proxies wrote: the first address that is not a trusted proxy. What stands left of it is
//!   hearsay; it is passed on, but decides nothing. A member that is not an address ends the walk, and it and
//!   all left of it are dropped.
//! - There is **one chain, spelled twice**. Where `X-Forwarded-For` is there it is the chain; `Forwarded`
//!   only speaks when it is absent. Both outgoing spellings are written from the same addresses, since most
//!   proxies set one and pass the client's own version of the other.
//! - A unix socket's peer has no address, so no network holds it: it is not trusted, and is called `unknown`
//!   (RFC 7239, section 6.2).
//! - A field may come in **disguise**: CGI (RFC 3875, section 4.1.18) and what grew out of it turn `-` into `_`,
//!   so that an application sees `X_Forwarded_For` and `X-Forwarded-For` as one. [`impostors`] names such
//!   fields, from anybody: no honest proxy sends them.

use std::fmt::{self, Write};
use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use smallvec::SmallVec;

use super::field::{is_token, trim};
use super::target::normal_host;
use crate::limits::FORWARDED_HOPS;

/// `X-Forwarded-For`: addresses, the client's first.
pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// `X-Forwarded-Proto`: the scheme that the client used.
pub const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// `X-Forwarded-Host`: the `Host` that the client sent.
pub const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// `X-Forwarded-Port`: the port that the client connected to.
pub const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
/// All fields that are set here.
pub const FIELDS: [HeaderName; 5] =
    [X_FORWARDED_FOR, X_FORWARDED_PROTO, X_FORWARDED_HOST, X_FORWARDED_PORT, header::FORWARDED];

/// What is worth a disguise. `Host` and `Forwarded` have no `-` to write otherwise.
const IMITATED: [&str; 8] = [
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    X_REAL_IP,
    "x-request-id",
    "content-length",
    "transfer-encoding",
];
const X_REAL_IP: &str = "x-real-ip";

/// Fields that an upstream must not get, whatever the proxy itself sets: names that become the one of a field that
/// decides who the client is or where the message ends, once `_` is read as `-`; and from a peer whose word does not
/// count, `X-Real-IP`, the oldest of the forwarding fields, which is set by nobody here.
///
/// Nothing is allocated where there is none.
pub fn impostors(headers: &HeaderMap, is_trusted: bool) -> SmallVec<[HeaderName; 4]> {
    let suspects = headers.keys().filter(|name| is_impostor(name.as_str(), is_trusted));
    suspects.cloned().collect()
}

/// Most names have no underscore, and that is quickly seen.
fn is_impostor(name: &str, is_trusted: bool) -> bool {
    match memchr::memchr(b'_', name.as_bytes()) {
        Some(_) => IMITATED.iter().any(|original| is_disguised(name, original)),
        None => !is_trusted && name == X_REAL_IP,
    }
}

fn is_disguised(name: &str, original: &str) -> bool {
    let undisguised = name.bytes().map(|byte| if byte == b'_' { b'-' } else { byte });
    name.len() == original.len() && undisguised.eq(original.bytes())
}

/// What the client connected by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// In clear.
    Http,
    /// By TLS.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    const fn default_port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }

    fn parse(text: &[u8]) -> Option<Scheme> {
        let is = |scheme: Scheme| text.eq_ignore_ascii_case(scheme.as_str().as_bytes());
        [Scheme::Http, Scheme::Https].into_iter().find(|&scheme| is(scheme))
    }
}

/// How a request came in, as the connection layer knows it.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// Who connected; `None` on a unix socket.
    pub peer: Option<IpAddr>,
    /// What the listener speaks.
    pub scheme: Scheme,
    /// The listener's port; `None` on a unix socket.
    pub port: Option<u16>,
    /// Whose word counts.
    pub trusted: &'a [IpNet],
}

/// Who the client is. Prints as `X-Forwarded-For` and the access log spell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientAddress {
    /// At this address. IPv4-mapped IPv6 addresses are IPv4 here.
    Ip(IpAddr),
    /// On a unix socket.
    Unknown,
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientAddress::Ip(address) => address.fmt(f),
            ClientAddress::Unknown => f.write_str("unknown"),
        }
    }
}

/// The client, and the fields to set. A field that is `None` is to be removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarding {
    /// Who asked.
    pub client: ClientAddress,
    /// By what, as far as can be believed.
    pub scheme: Scheme,
    /// `X-Forwarded-For`.
    pub x_for: HeaderValue,
    /// `X-Forwarded-Proto`.
    pub x_proto: HeaderValue,
    /// `X-Forwarded-Host`; `None` when the request names no host.
    pub x_host: Option<HeaderValue>,
    /// `X-Forwarded-Port`; `None` when no port is known.
    pub x_port: Option<HeaderValue>,
    /// `Forwarded`: scheme and host stand with the client's element.
    pub forwarded: HeaderValue,
}

impl Forwarding {
    /// Reads what came in (`headers` with a `Host` that has been judged) and decides what goes out.
    pub fn of(arrival: &Arrival<'_>, headers: &HeaderMap) -> Forwarding {
        let peer = arrival.peer.map(|peer| peer.to_canonical());
        match peer.filter(|peer| is_trusted(arrival.trusted, peer)) {
            Some(peer) => Told::by_trusted(arrival, headers, Chain::through(headers, arrival.trusted, peer)),
            None => Told::afresh(arrival, headers, Chain::of_peer(peer)),
        }
    }
}

impl Forwarding {
    /// The fields as lines of a head, each with its end.
    pub fn lines(&self) -> Vec<u8> {
        let Forwarding { client: _, scheme: _, x_for, x_proto, x_host, x_port, forwarded } = self;
        let fields = [
            (&b"X-Forwarded-For: "[..], Some(x_for)),
            (b"X-Forwarded-Proto: ", Some(x_proto)),
            (b"X-Forwarded-Host: ", x_host.as_ref()),
            (b"X-Forwarded-Port: ", x_port.as_ref()),
            (b"Forwarded: ", Some(forwarded)),
        ];
        let mut lines = Vec::with_capacity(256);
        for (name, value) in fields.into_iter().filter_map(|(name, value)| Some((name, value?))) {
            lines.extend_from_slice(name);
            lines.extend_from_slice(value.as_bytes());
            lines.extend_from_slice(b"\r\n");
        }
        lines
    }
}

/// Whether the word of somebody at `address` counts. It does not change while a connection lasts.
pub fn is_trusted(trusted: &[IpNet], address: &IpAddr) -> bool {
    trusted.iter().any(|network| network.contains(address))
}

/// What is told of the client beside its address.
#[derive(Debug)]
struct Told {
    scheme: Scheme,
    host: Option<HeaderValue>,
    port: Option<u16>,
}

impl Told {
    fn afresh(arrival: &Arrival<'_>, headers: &HeaderMap, chain: Chain) -> Forwarding {
        Told { scheme: arrival.scheme, host: named_host(headers), port: arrival.port }.spelled(&chain)
    }

    /// What a trusted proxy says counts where it is sound; what it leaves out is what we see ourselves. A
    /// scheme without a port means that scheme's own port: ours is not the one that the client used.
    fn by_trusted(arrival: &Arrival<'_>, headers: &HeaderMap, mut chain: Chain) -> Forwarding {
        let client = &mut chain.elements[chain.client];
        let scheme = only(headers, &X_FORWARDED_PROTO).and_then(|value| Scheme::parse(value.as_bytes()));
        let scheme = scheme.or(client.scheme);
        let host = only(headers, &X_FORWARDED_HOST).filter(|value| is_host(value)).cloned();
        let port = only(headers, &X_FORWARDED_PORT).and_then(port);
        let told = Told {
            scheme: scheme.unwrap_or(arrival.scheme),
            host: host.or_else(|| client.host.take()).or_else(|| named_host(headers)),
            port: port.or(scheme.map(Scheme::default_port)).or(arrival.port),
        };
        told.spelled(&chain)
    }

    fn spelled(self, chain: &Chain) -> Forwarding {
        Forwarding {
            client: chain.elements[chain.client].address(),
            scheme: self.scheme,
            x_for: value(chain.spell_x_for()),
            x_proto: HeaderValue::from_static(self.scheme.as_str()),
            forwarded: value(self.spell_forwarded(chain)),
            x_port: self.port.map(HeaderValue::from),
            x_host: self.host,
        }
    }

    fn spell_forwarded(&self, chain: &Chain) -> String {
        let mut text = String::with_capacity(64 + 24 * chain.elements.len());
        for (at, element) in chain.elements.iter().enumerate() {
            text.push_str(if at == 0 { "for=" } else { ", for=" });
            spell_node(&mut text, element.address());
            if at == chain.client {
                self.spell_parameters(&mut text);
            }
        }
        text
    }

    fn spell_parameters(&self, text: &mut String) {
        if let Some(host) = self.host.as_ref().and_then(|host| host.to_str().ok()) {
            text.push_str(";host=");
            spell_value(text, host);
        }
        text.push_str(";proto=");
        text.push_str(self.scheme.as_str());
    }
}

fn named_host(headers: &HeaderMap) -> Option<HeaderValue> {
    headers.get(header::HOST).filter(|host| !host.is_empty()).cloned()
}

/// A value that cannot be spelled is one that nobody has sent: every part of it has been judged.
fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("unknown"))
}

/// IPv6 stands in brackets, and brackets in quotes (RFC 7239, section 6).
fn spell_node(text: &mut String, address: ClientAddress) {
    let quotes = matches!(address, ClientAddress::Ip(IpAddr::V6(_)));
    text.push_str(if quotes { "\"[" } else { "" });
    spell(text, address);
    text.push_str(if quotes { "]\"" } else { "" });
}

fn spell(text: &mut String, address: ClientAddress) {
    // Writing to a String does not fail.
    let _ = write!(text, "{address}");
}

/// A token as it is, anything else as a quoted string (RFC 9110, section 5.6.4).
fn spell_value(text: &mut String, value: &str) {
    if is_token(value.as_bytes()) {
        return text.push_str(value);
    }
    text.push('"');
    for char in value.chars() {
        if matches!(char, '"' | '\\') {
            text.push('\\');
        }
        text.push(char);
    }
    text.push('"');
}

/// The value of a field that is there exactly once.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

fn is_host(value: &HeaderValue) -> bool {
    value.to_str().is_ok_and(|host| normal_host(host).is_some())
}

fn port(value: &HeaderValue) -> Option<u16> {
    let text = value.to_str().ok()?;
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&port| plain && port != 0)
}

/// Everybody from the client's side to the peer.
#[derive(Debug)]
struct Chain {
    /// Never empty; the peer is the last.
    elements: Elements,
    /// Which of them is the client.
    client: usize,
}

type Elements = SmallVec<[Element; 4]>;

impl Chain {
    fn of_peer(peer: Option<IpAddr>) -> Chain {
        Chain { elements: std::iter::once(Element::at(peer)).collect(), client: 0 }
    }

    fn through(headers: &HeaderMap, trusted: &[IpNet], peer: IpAddr) -> Chain {
        let mut elements = match headers.contains_key(&X_FORWARDED_FOR) {
            true => x_for_elements(headers),
            false => forwarded_elements(headers),
        };
        elements.push(Element::at(Some(peer)));
        Chain { client: client(&elements, trusted), elements }
    }

    fn spell_x_for(&self) -> String {
        let mut text = String::with_capacity(18 * self.elements.len());
        for (at, element) in self.elements.iter().enumerate() {
            text.push_str(if at == 0 { "" } else { ", " });
            spell(&mut text, element.address());
        }
        text
    }
}

/// From the right, the first that is not a trusted proxy; the last one named when all are.
fn client(elements: &[Element], trusted: &[IpNet]) -> usize {
    let is_stranger = |element: &Element| !element.node.is_some_and(|node| is_trusted(trusted, &node));
    elements.iter().rposition(is_stranger).unwrap_or(0)
}

fn x_for_elements(headers: &HeaderMap) -> Elements {
    let values = headers.get_all(&X_FORWARDED_FOR).iter().rev();
    let members = values.flat_map(|value| value.as_bytes().rsplit(|&byte| byte == b','));
    let members = members.map(trim).filter(|member| !member.is_empty());
    sound(members.map(|member| Element::at(node(member))))
}

/// RFC 7239, section 4. A field that is not well-formed says nothing at all.
fn forwarded_elements(headers: &HeaderMap) -> Elements {
    let values = headers.get_all(header::FORWARDED).iter();
    let elements: Option<Elements> =
        values.flat_map(|value| split(value.as_bytes(), b',')).map(Element::parse).collect();
    sound(elements.unwrap_or_default().into_iter().rev())
}

/// From the right, until something is not an address or the bound is reached; given back in the order of the
/// field.
fn sound(from_the_right: impl Iterator<Item = Element>) -> Elements {
    let known = from_the_right.take(FORWARDED_HOPS).take_while(|element| element.node.is_some());
    let mut elements: Elements = known.collect();
    elements.reverse();
    elements
}

/// One hop, as far as it is believed.
#[derive(Debug, Default)]
struct Element {
    node: Option<IpAddr>,
    scheme: Option<Scheme>,
    host: Option<HeaderValue>,
}

impl Element {
    fn at(node: Option<IpAddr>) -> Element {
        Element { node, scheme: None, host: None }
    }

    fn address(&self) -> ClientAddress {
        self.node.map_or(ClientAddress::Unknown, ClientAddress::Ip)
    }

    /// `None` when it is not a list of `name=value`.
    fn parse(text: &[u8]) -> Option<Element> {
        let mut element = Element::default();
        for pair in split(text, b';') {
            let (name, value) = pair.split_at_checked(memchr::memchr(b'=', pair)?)?;
            element.take(name, &unquoted(&value[1..])?);
        }
        Some(element)
    }

    fn take(&mut self, name: &[u8], value: &[u8]) {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("for") {
            self.node = node(value);
        } else if is("proto") {
            self.scheme = Scheme::parse(value);
        } else if is("host") {
            self.host = HeaderValue::from_bytes(value).ok().filter(is_host);
        }
    }
}

/// An address as it stands in these fields: `192.0.2.1`, `2001:db8::1`, `[2001:db8::1]`, or with a port (RFC
/// 7239, section 6, wants IPv6 in brackets; `X-Forwarded-For` has it without).
fn node(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let address = text.parse().ok().or_else(|| without_port(text)?.parse().ok());
    address.map(|address: IpAddr| address.to_canonical())
}

fn without_port(text: &str) -> Option<&str> {
    let (address, port) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => text.split_at(text.find(':')?),
    };
    is_port_suffix(port).then_some(address)
}

fn is_port_suffix(text: &str) -> bool {
    let digits = text.strip_prefix(':').unwrap_or(text);
    digits.len() <= 5 && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Parts between separators that do not stand in quotes, trimmed, the empty ones left out.
fn split(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    let parts = text.split(move |&byte| {
        let ends = byte == separator && !quoted;
        quoted ^= byte == b'"' && !escaped;
        escaped = byte == b'\\' && quoted && !escaped;
        ends
    });
    parts.map(trim).filter(|part| !part.is_empty())
}

/// The value of a token or a quoted string (RFC 9110, section 5.6.4); `None` when it is neither.
fn unquoted(value: &[u8]) -> Option<SmallVec<[u8; 64]>> {
    match value {
        [b'"', inner @ .., b'"'] => unescaped(inner),
        _ => is_token(value).then(|| SmallVec::from_slice(value)),
    }
}

fn unescaped(inner: &[u8]) -> Option<SmallVec<[u8; 64]>> {
    let mut text = SmallVec::new();
    let mut bytes = inner.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'\\' => text.push(*bytes.next()?),
            b'"' => return None,
            _ => text.push(byte),
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        map
    }

    fn trusted() -> [IpNet; 2] {
        ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]
    }

    /// What is told of a request that came over a clear-text listener on port 8080.
    fn told(peer: &str, fields: &[(&str, &str)]) -> Forwarding {
        let trusted = trusted();
        let peer = (!peer.is_empty()).then(|| peer.parse().unwrap());
        let port = peer.map(|_| 8080);
        Forwarding::of(&Arrival { peer, scheme: Scheme::Http, port, trusted: &trusted }, &headers(fields))
    }

    fn text(value: &Option<HeaderValue>) -> Option<&str> {
        value.as_ref().map(|value| value.to_str().unwrap())
    }

    #[test]
    fn a_stranger_is_who_connects_whatever_it_says() {
        let told = told(
            "192.0.2.7",
            &[
                ("Host", "api.example.com:8080"),
                ("X-Forwarded-For", "10.0.0.1"),
                ("X-Forwarded-Proto", "https"),
                ("X-Forwarded-Host", "evil.example"),
                ("X-Forwarded-Port", "443"),
                ("Forwarded", "for=10.0.0.1;proto=https"),
            ],
        );
        assert_eq!(told.client.to_string(), "192.0.2.7");
        assert_eq!(told.scheme, Scheme::Http);
        assert_eq!(told.x_for, "192.0.2.7");
        assert_eq!(told.x_proto, "http");
        assert_eq!(text(&told.x_host), Some("api.example.com:8080"));
        assert_eq!(text(&told.x_port), Some("8080"));
        assert_eq!(told.forwarded, "for=192.0.2.7;host=\"api.example.com:8080\";proto=http");
    }

    #[test]
    fn an_address_is_spelled_as_rfc_7239_6_says() {
        let host = [("Host", "a")];
        assert_eq!(told("2001:db8::7", &host).forwarded, "for=\"[2001:db8::7]\";host=a;proto=http");
        assert_eq!(told("2001:db8::7", &host).x_for, "2001:db8::7");
        assert_eq!(told("::ffff:192.0.2.7", &host).forwarded, "for=192.0.2.7;host=a;proto=http");
        assert_eq!(told("192.0.2.7", &[]).forwarded, "for=192.0.2.7;proto=http");
        assert_eq!(told("192.0.2.7", &[]).x_host, None);
    }

    #[test]
    fn a_unix_socket_has_no_address_and_no_trust() {
        let told = told("", &[("Host", "a"), ("X-Forwarded-For", "192.0.2.7")]);
        assert_eq!(told.client, ClientAddress::Unknown);
        assert_eq!((told.x_for, told.x_port), (HeaderValue::from_static("unknown"), None));
        assert_eq!(told.forwarded, "for=unknown;host=a;proto=http");
    }

    /// Fields from the trusted peer 10.0.0.9; client, `X-Forwarded-For` to send.
    type Walk = (&'static [(&'static str, &'static str)], &'static str, &'static str);

    const WALKS: &[Walk] = &[
        (&[], "10.0.0.9", "10.0.0.9"),
        (&[("X-Forwarded-For", "192.0.2.7")], "192.0.2.7", "192.0.2.7, 10.0.0.9"),
        (&[("X-Forwarded-For", "192.0.2.7,10.0.0.1")], "192.0.2.7", "192.0.2.7, 10.0.0.1, 10.0.0.9"),
        (
            &[("X-Forwarded-For", "192.0.2.7"), ("X-Forwarded-For", "10.0.0.1")],
            "192.0.2.7",
            "192.0.2.7, 10.0.0.1, 10.0.0.9",
        ),
        (&[("X-Forwarded-For", "198.51.100.1, 192.0.2.7")], "192.0.2.7", "198.51.100.1, 192.0.2.7, 10.0.0.9"),
        (&[("X-Forwarded-For", "10.0.0.5, 192.0.2.7")], "192.0.2.7", "10.0.0.5, 192.0.2.7, 10.0.0.9"),
        (&[("X-Forwarded-For", "10.0.0.2, 10.0.0.1")], "10.0.0.2", "10.0.0.2, 10.0.0.1, 10.0.0.9"),
        (&[("X-Forwarded-For", "192.0.2.7, unknown")], "10.0.0.9", "10.0.0.9"),
        (&[("X-Forwarded-For", "192.0.2.7, x, 10.0.0.1")], "10.0.0.1", "10.0.0.1, 10.0.0.9"),
        (&[("X-Forwarded-For", " , 192.0.2.7:4711 ,, ")], "192.0.2.7", "192.0.2.7, 10.0.0.9"),
        (
            &[("X-Forwarded-For", "[2001:db8::7]:4711, fd00::1")],
            "2001:db8::7",
            "2001:db8::7, fd00::1, 10.0.0.9",
        ),
        (&[("X-Forwarded-For", "192.0.2.7:x")], "10.0.0.9", "10.0.0.9"),
        (&[("X-Forwarded-For", "192.0.2.256")], "10.0.0.9", "10.0.0.9"),
        (&[("X-Forwarded-For", "::ffff:10.0.0.1")], "10.0.0.1", "10.0.0.1, 10.0.0.9"),
        (&[("X-Forwarded-For", "")], "10.0.0.9", "10.0.0.9"),
        (
            &[("X-Forwarded-For", "192.0.2.7"), ("Forwarded", "for=198.51.100.1")],
            "192.0.2.7",
            "192.0.2.7, 10.0.0.9",
        ),
        (&[("Forwarded", "for=192.0.2.7")], "192.0.2.7", "192.0.2.7, 10.0.0.9"),
        (
            &[("Forwarded", "For=\"[2001:db8::7]:47\"; by=x,for=10.0.0.1")],
            "2001:db8::7",
            "2001:db8::7, 10.0.0.1, 10.0.0.9",
        ),
        (&[("Forwarded", "for=192.0.2.7, for=_hidden")], "10.0.0.9", "10.0.0.9"),
        (&[("Forwarded", "for=192.0.2.7, proto=http")], "10.0.0.9", "10.0.0.9"),
        (&[("Forwarded", "for=\"192.0.2.7, for=10.0.0.1")], "10.0.0.9", "10.0.0.9"),
        (&[("Forwarded", "192.0.2.7")], "10.0.0.9", "10.0.0.9"),
        (
            &[("Forwarded", "for=\"a\\\",for=198.51.100.1;x=\\\"\", for=192.0.2.7")],
            "192.0.2.7",
            "192.0.2.7, 10.0.0.9",
        ),
    ];

    #[test]
    fn the_client_is_the_first_from_the_right_that_is_no_trusted_proxy() {
        for (fields, client, x_for) in WALKS {
            let told = told("10.0.0.9", fields);
            assert_eq!(told.client.to_string(), *client, "{fields:?}");
            assert_eq!(told.x_for, *x_for, "{fields:?}");
        }
    }

    #[test]
    fn both_spellings_tell_of_the_same_chain() {
        let told = told("10.0.0.9", &[("Host", "a"), ("X-Forwarded-For", "10.0.0.5, 2001:db8::7")]);
        assert_eq!(told.forwarded, "for=10.0.0.5, for=\"[2001:db8::7]\";host=a;proto=http, for=10.0.0.9");
    }

    #[test]
    fn a_chain_has_an_end() {
        let long = vec!["10.0.0.1"; FORWARDED_HOPS + 5].join(",");
        let told = told("10.0.0.9", &[("X-Forwarded-For", &format!("192.0.2.7,{long}"))]);
        assert_eq!(told.x_for.to_str().unwrap().split(", ").count(), FORWARDED_HOPS + 1);
        assert_eq!(told.client.to_string(), "10.0.0.1");
    }

    /// Fields from the trusted peer beside `Host: a`; scheme, host, port to tell.
    type Words = (&'static [(&'static str, &'static str)], &'static str, &'static str, &'static str);

    const WORDS: &[Words] = &[
        (&[], "http", "a", "8080"),
        (&[("X-Forwarded-Proto", "HTTPS")], "https", "a", "443"),
        (&[("X-Forwarded-Proto", "https"), ("X-Forwarded-Port", "8443")], "https", "a", "8443"),
        (&[("X-Forwarded-Proto", "http")], "http", "a", "80"),
        (&[("X-Forwarded-Proto", "gopher")], "http", "a", "8080"),
        (&[("X-Forwarded-Proto", "https,http")], "http", "a", "8080"),
        (&[("X-Forwarded-Proto", "https"), ("X-Forwarded-Proto", "http")], "http", "a", "8080"),
        (&[("X-Forwarded-Host", "b:1")], "http", "b:1", "8080"),
        (&[("X-Forwarded-Host", "b, c")], "http", "a", "8080"),
        (&[("X-Forwarded-Host", "")], "http", "a", "8080"),
        (&[("X-Forwarded-Port", "0")], "http", "a", "8080"),
        (&[("X-Forwarded-Port", "+80")], "http", "a", "8080"),
        (&[("X-Forwarded-Port", "65536")], "http", "a", "8080"),
        (&[("Forwarded", "for=192.0.2.7;proto=https;host=\"b:1\"")], "https", "b:1", "443"),
        (&[("Forwarded", "for=192.0.2.7;proto=gopher;host=\"b/c\"")], "http", "a", "8080"),
        // The client wrote the first element itself; only what stands with its own address is a trusted
        // proxy's word.
        (&[("Forwarded", "for=10.0.0.1;proto=https;host=evil, for=192.0.2.7")], "http", "a", "8080"),
        (
            &[("X-Forwarded-For", "192.0.2.7"), ("Forwarded", "for=192.0.2.7;proto=https")],
            "http",
            "a",
            "8080",
        ),
    ];

    #[test]
    fn a_trusted_proxy_is_believed_where_what_it_says_is_sound() {
        for (fields, scheme, host, port) in WORDS {
            let fields: Vec<_> = fields.iter().copied().chain([("Host", "a")]).collect();
            let told = told("10.0.0.9", &fields);
            assert_eq!(
                (told.scheme.as_str(), told.x_proto.to_str().unwrap()),
                (*scheme, *scheme),
                "{fields:?}"
            );
            assert_eq!(text(&told.x_host), Some(*host), "{fields:?}");
            assert_eq!(text(&told.x_port), Some(*port), "{fields:?}");
        }
    }

    /// Fields, whether the peer is trusted, and which of them are to be dropped.
    type Disguises = (&'static [&'static str], bool, &'static [&'static str]);

    const DISGUISES: &[Disguises] = &[
        (&["X_Forwarded_For", "x-forwarded_for"], false, &["x_forwarded_for", "x-forwarded_for"]),
        (&["X_Forwarded_Proto", "X_Forwarded_Host"], true, &["x_forwarded_proto", "x_forwarded_host"]),
        (&["X_Forwarded_Port", "X_Request_Id"], false, &["x_forwarded_port", "x_request_id"]),
        (&["Content_Length", "Transfer_Encoding"], true, &["content_length", "transfer_encoding"]),
        (&["X-Real-IP"], false, &["x-real-ip"]),
        (&["X-Real-IP"], true, &[]),
        (&["X_Real_IP"], true, &["x_real_ip"]),
        (&["X_Forwarded_Fo", "X_Forwarded_Fort", "_host", "api_key", "_"], false, &[]),
    ];

    #[test]
    fn a_field_in_disguise_is_found() {
        for (names, trusted, dropped) in DISGUISES {
            let fields: Vec<_> = names.iter().map(|name| (*name, "1")).collect();
            let impostors = impostors(&headers(&fields), *trusted);
            let mut found: Vec<_> = impostors.iter().map(HeaderName::as_str).collect();
            found.sort_unstable();
            let mut wanted = dropped.to_vec();
            wanted.sort_unstable();
            assert_eq!(found, wanted, "{names:?}");
        }
    }

    #[test]
    fn what_the_proxy_sets_or_judges_itself_is_no_impostor() {
        let mut names = FIELDS.to_vec();
        names.extend([header::HOST, header::CONTENT_LENGTH, header::TRANSFER_ENCODING]);
        let fields: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).collect();
        assert!(impostors(&headers(&fields), false).is_empty());
    }

    proptest! {
        #[test]
        fn nothing_that_comes_in_makes_a_chain_that_cannot_be_read_back(
            x_for in prop::option::of("[0-9a-f.:, x\\[\\]\"]{0,40}"),
            forwarded in prop::option::of("(for=|proto=|host=|[0-9.:;,\"\\\\\\[\\] a=]){0,12}"),
        ) {
            let (x_for, forwarded) = (x_for.as_deref(), forwarded.as_deref());
            let fields: Vec<_> = [("X-Forwarded-For", x_for), ("Forwarded", forwarded)]
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?)))
                .collect();
            let first = told("10.0.0.9", &fields);
            for (name, value) in [("X-Forwarded-For", &first.x_for), ("Forwarded", &first.forwarded)] {
                let next = told("10.0.0.8", &[(name, value.to_str().unwrap())]);
                prop_assert_eq!(next.client, first.client);
                let longer = format!("{}, 10.0.0.8", first.x_for.to_str().unwrap());
                prop_assert_eq!(next.x_for.to_str().unwrap(), longer);
            }
        }
    }
}
