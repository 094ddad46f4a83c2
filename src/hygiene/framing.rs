//! Where a message ends.
//!
//! Two fields speak about it, `Content-Length` and `Transfer-Encoding`, and RFC 9112, section 6.3, orders who
//! wins when they disagree. Implementations read that order differently, and every difference is a
//! request-smuggling attack. So nobody wins here: a message says its length once, in one way, in the plainest
//! spelling, or it is refused.

use super::field::{Fault, is_token};

/// How the bytes of a body are delimited, when the message says so itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// `Content-Length`: so many bytes.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

impl Framing {
    /// Whether no byte of body follows the head.
    pub const fn is_empty(self) -> bool {
        matches!(self, Framing::None | Framing::Length(0))
    }
}

/// Gathers what a head says about its body, field by field.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lengths {
    pub(super) length: Option<u64>,
    pub(super) chunked: bool,
}

impl Lengths {
    /// Takes a `Content-Length` (RFC 9110, section 8.6). A second one is refused even if it says the same.
    pub(super) fn content_length(&mut self, value: &[u8]) -> Result<(), Fault> {
        if self.length.is_some() {
            return Err("Content-Length is given twice");
        }
        self.length = Some(digits(value).ok_or("Content-Length is not one number")?);
        self.unambiguous()
    }

    /// Takes a `Transfer-Encoding` (RFC 9112, section 6.1): `chunked`, once, and no other coding.
    pub(super) fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Fault> {
        if self.chunked {
            return Err("Transfer-Encoding is given twice");
        }
        if !value.eq_ignore_ascii_case(b"chunked") {
            return Err(coding_fault(value));
        }
        self.chunked = true;
        self.unambiguous()
    }

    fn unambiguous(self) -> Result<(), Fault> {
        match self.chunked && self.length.is_some() {
            true => Err("both Content-Length and Transfer-Encoding"),
            false => Ok(()),
        }
    }

    /// The framing that was said, if any.
    pub(super) const fn said(self) -> Framing {
        match (self.chunked, self.length) {
            (true, _) => Framing::Chunked,
            (false, Some(length)) => Framing::Length(length),
            (false, None) => Framing::None,
        }
    }
}

fn coding_fault(value: &[u8]) -> Fault {
    match is_token(value) {
        true => "a transfer coding other than chunked",
        false => "Transfer-Encoding is not exactly chunked",
    }
}

/// A number in plain digits. No sign, no blank, no list; more than 64 bits is not a length.
fn digits(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0u64, |number, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}
