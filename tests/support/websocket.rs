//! WebSocket frames as bytes (RFC 6455), for both ends.
//!
//! A library answers pings, closes and half frames by itself, and what the proxy did to the connection is
//! gone. Here a frame is a value: either it is whole, or it is not there yet. Fragments and extensions are
//! left out, since nobody here sends them, and a proxy passes bytes on whatever they mean.

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// A message in UTF-8.
    Text,
    /// The last frame of its sender.
    Close,
    /// Asks for a pong.
    Ping,
    /// Answers a ping.
    Pong,
    /// None of these.
    Other(u8),
}

/// The number in the header, by opcode.
const OPCODES: [(Opcode, u8); 4] =
    [(Opcode::Text, 1), (Opcode::Close, 8), (Opcode::Ping, 9), (Opcode::Pong, 10)];

/// Close status codes: the purpose is fulfilled; and the server, or the proxy, is going away.
pub const NORMAL: u16 = 1000;
/// See [`NORMAL`].
pub const GOING_AWAY: u16 = 1001;

/// One whole, final frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it is for.
    pub opcode: Opcode,
    /// Without the mask.
    pub payload: Vec<u8>,
}

impl Frame {
    /// A message.
    pub fn text(text: &str) -> Frame {
        Frame { opcode: Opcode::Text, payload: text.into() }
    }

    /// The end, with its reason.
    pub fn close(status: u16) -> Frame {
        Frame { opcode: Opcode::Close, payload: status.to_be_bytes().into() }
    }

    /// The status of a close frame; none of another, or where it has none.
    pub fn status(&self) -> Option<u16> {
        let status = self.payload.first_chunk().map(|bytes| u16::from_be_bytes(*bytes));
        status.filter(|_| self.opcode == Opcode::Close)
    }

    /// As a client sends it.
    pub fn masked(&self) -> Vec<u8> {
        let mask = fastrand::u32(..).to_be_bytes();
        let mut bytes = self.header(0x80);
        bytes.extend(mask);
        bytes.extend(unmasked(&self.payload, mask));
        bytes
    }

    /// As a server sends it.
    pub fn plain(&self) -> Vec<u8> {
        [self.header(0), self.payload.clone()].concat()
    }

    fn header(&self, mask_bit: u8) -> Vec<u8> {
        let number = match self.opcode {
            Opcode::Other(number) => number,
            known => OPCODES.iter().find(|(opcode, _)| *opcode == known).unwrap().1,
        };
        let length = u16::try_from(self.payload.len()).expect("tests send small frames");
        match length {
            0..126 => vec![0x80 | number, mask_bit | length as u8],
            _ => [&[0x80 | number, mask_bit | 126][..], &length.to_be_bytes()].concat(),
        }
    }

    /// The frame that these bytes begin with, and how many they are; none while it is not whole.
    pub fn parse(bytes: &[u8]) -> Option<(Frame, usize)> {
        let [first, second, rest @ ..] = bytes else { return None };
        let (length, rest) = match second & 0x7f {
            126 => (u16::from_be_bytes(*rest.first_chunk()?).into(), &rest[2..]),
            127 => (usize::try_from(u64::from_be_bytes(*rest.first_chunk()?)).ok()?, &rest[8..]),
            short => (short.into(), rest),
        };
        let is_masked = second & 0x80 != 0;
        let (mask, rest) = if is_masked { (*rest.first_chunk()?, &rest[4..]) } else { ([0; 4], rest) };
        let payload = unmasked(rest.get(..length)?, mask);
        let opcode = OPCODES.iter().find(|(_, number)| *number == first & 0x0f).map(|(opcode, _)| *opcode);
        let frame = Frame { opcode: opcode.unwrap_or(Opcode::Other(first & 0x0f)), payload };
        Some((frame, bytes.len() - rest.len() + length))
    }
}

fn unmasked(payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect()
}

/// A new `Sec-WebSocket-Key`.
pub fn key() -> String {
    base64(&fastrand::u128(..).to_be_bytes())
}

/// The `Sec-WebSocket-Accept` that belongs to a key (section 4.2.2).
pub fn accept_of(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    base64(digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()).as_ref())
}

/// The head of an answer that begins a session.
pub fn welcome(key: &str) -> String {
    let accept = accept_of(key);
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let letter = ALPHABET[(bits >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= group.len() { letter.into() } else { '=' });
        }
    }
    text
}
