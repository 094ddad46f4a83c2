//! Where a body ends, followed byte by byte as it passes.
//!
//! Chunked bodies are read by many parsers on the road, and each that takes a chunk-size of `0x5`, a bare LF behind an
//! extension or a blank before the line's end differs from one that does not. [`BodyScanner`] watches the bytes that pass
//! without copying or holding any of them, and says where the message ends or that it has more than one reading.
//!
//! The choice made here: RFC 9112, section 7.1, to the letter, but for two freedoms that have one reading: white space
//! before a chunk extension's `;` (section 7.1.1), and the extension's own grammar, of which only the bytes are judged.

use super::field::{Fault, is_control, is_tchar};
use super::framing::Framing;
use crate::limits::{CHUNK_LINE_BYTES, TRAILER_BYTES};

/// Most hex digits of a chunk's size: more do not fit 64 bits, leading zeros included.
const SIZE_DIGITS: u32 = 16;

/// What of a slice belongs to the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed {
    /// All of it, and more is to come.
    All,
    /// So many bytes from its front, and the message has ended with them. What follows is another message.
    End(usize),
    /// The framing is broken, and where the message ends is not known. Says why: lower case but for names, no full stop.
    Broken(&'static str),
}

/// Follows one body from its first byte to its end.
#[derive(Clone, Debug)]
pub struct BodyScanner {
    at: At,
    /// Bytes of the present chunk line or trailer section.
    line_bytes: usize,
    payload_bytes: u64,
}

/// What the next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// One of so many bytes of a body with a length.
    Length(u64),
    /// A digit of a chunk's size, or what ends it; so many digits have been read.
    Size { size: u64, digits: u32 },
    /// White space behind the size, which only a `;` may end.
    Blank { size: u64 },
    /// Within an extension, which is read and forgotten.
    Extension { size: u64 },
    /// The LF of a chunk line.
    SizeEnd { size: u64 },
    /// One of so many bytes of a chunk.
    Data(u64),
    /// The CR behind a chunk.
    DataCr,
    /// The LF behind a chunk.
    DataLf,
    /// The first byte of a trailer line, or the CR that ends the body.
    TrailerStart,
    /// Within a trailer's name.
    TrailerName,
    /// Within a trailer's value.
    TrailerValue,
    /// The LF of a trailer line.
    TrailerLf,
    /// The very last LF.
    LastLf,
    /// Of another message.
    End,
    /// Of nothing that can be read.
    Broken(Fault),
}

impl BodyScanner {
    /// Before the first byte of a body.
    pub fn new(framing: Framing) -> BodyScanner {
        let at = match framing {
            Framing::None | Framing::Length(0) => At::End,
            Framing::Length(length) => At::Length(length),
            Framing::Chunked => At::Size { size: 0, digits: 0 },
        };
        BodyScanner { at, line_bytes: 0, payload_bytes: 0 }
    }

    /// Bytes of content so far: without chunk lines and trailers.
    pub fn payload_bytes(&self) -> u64 {
        self.payload_bytes
    }

    /// Whether the message has ended. A body without bytes has ended before any are fed.
    pub fn is_complete(&self) -> bool {
        self.at == At::End
    }

    /// Follows the next slice of the stream.
    pub fn feed(&mut self, bytes: &[u8]) -> Passed {
        let mut passed = 0;
        while passed < bytes.len() {
            match self.at {
                At::End => return Passed::End(passed),
                At::Broken(fault) => return Passed::Broken(fault),
                At::Length(left) => passed += self.content(left, &bytes[passed..], At::Length, At::End),
                At::Data(left) => passed += self.content(left, &bytes[passed..], At::Data, At::DataCr),
                at => {
                    self.at = self.frame(at, bytes[passed]).unwrap_or_else(At::Broken);
                    passed += 1;
                }
            }
        }
        self.verdict(passed)
    }

    fn verdict(&self, passed: usize) -> Passed {
        match self.at {
            At::End => Passed::End(passed),
            At::Broken(fault) => Passed::Broken(fault),
            _ => Passed::All,
        }
    }

    /// Steps over content; gives the number of bytes stepped over.
    fn content(&mut self, left: u64, bytes: &[u8], more: fn(u64) -> At, then: At) -> usize {
        let step = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        self.payload_bytes += step as u64;
        self.at = if step as u64 == left { then } else { more(left - step as u64) };
        step
    }

    /// Takes one byte of framing.
    fn frame(&mut self, at: At, byte: u8) -> Result<At, Fault> {
        self.line_bytes += 1;
        match at {
            At::DataCr | At::DataLf => self.chunk_end(at, byte),
            At::Size { .. } | At::Blank { .. } | At::Extension { .. } | At::SizeEnd { .. } => {
                check_room(self.line_bytes, CHUNK_LINE_BYTES, "a chunk line is too long")?;
                self.chunk_line(at, byte)
            }
            _ => {
                check_room(self.line_bytes, TRAILER_BYTES, "the trailer section is too long")?;
                trailer(at, byte)
            }
        }
    }

    fn chunk_end(&mut self, at: At, byte: u8) -> Result<At, Fault> {
        self.line_bytes = 0;
        match (at, byte) {
            (At::DataCr, b'\r') => Ok(At::DataLf),
            (At::DataLf, b'\n') => Ok(At::Size { size: 0, digits: 0 }),
            _ => Err("a chunk does not end with CRLF"),
        }
    }

    fn chunk_line(&mut self, at: At, byte: u8) -> Result<At, Fault> {
        match (at, byte) {
            (At::Size { size, digits: 1.. } | At::Extension { size }, b'\r') => Ok(At::SizeEnd { size }),
            (At::Size { size, digits: 1.. } | At::Blank { size }, b';') => Ok(At::Extension { size }),
            (At::Size { size, digits: 1.. } | At::Blank { size }, b' ' | b'\t') => Ok(At::Blank { size }),
            (At::Size { size, digits }, _) => digit(size, digits, byte),
            (At::Extension { size }, _) if !is_control(byte) => Ok(At::Extension { size }),
            (At::SizeEnd { size }, b'\n') => Ok(self.chunk_begins(size)),
            _ => Err("a chunk line with an illegal byte"),
        }
    }

    fn chunk_begins(&mut self, size: u64) -> At {
        self.line_bytes = 0;
        if size == 0 { At::TrailerStart } else { At::Data(size) }
    }
}

fn check_room(bytes: usize, limit: usize, fault: Fault) -> Result<(), Fault> {
    if bytes > limit { Err(fault) } else { Ok(()) }
}

fn digit(size: u64, digits: u32, byte: u8) -> Result<At, Fault> {
    let digit = char::from(byte).to_digit(16).ok_or("a chunk's size is not a hex number")?;
    if digits == SIZE_DIGITS {
        return Err("a chunk's size has too many digits");
    }
    Ok(At::Size { size: (size << 4) | u64::from(digit), digits: digits + 1 })
}

/// RFC 9112, section 7.1.2. The fields are forgotten, but a recipient may read them, so their form counts.
fn trailer(at: At, byte: u8) -> Result<At, Fault> {
    match (at, byte) {
        (At::TrailerStart, b'\r') => Ok(At::LastLf),
        (At::TrailerStart | At::TrailerName, _) if is_tchar(byte) => Ok(At::TrailerName),
        (At::TrailerName, b':') => Ok(At::TrailerValue),
        (At::TrailerValue, b'\r') => Ok(At::TrailerLf),
        (At::TrailerValue, _) if !is_control(byte) => Ok(At::TrailerValue),
        (At::TrailerLf, b'\n') => Ok(At::TrailerStart),
        (At::LastLf, b'\n') => Ok(At::End),
        _ => Err("a trailer that is not a header line"),
    }
}
