//! Where a body ends, followed byte by byte as it passes.
//!
//! Chunked bodies are read by many parsers on the road, and each that takes a chunk-size of `0x5`, a bare LF
//! behind an extension or a blank before the line's end differs from one that does not. [`BodyScanner`]
//! watches the bytes that pass without copying or holding any of them, and says where the message ends or
//! that it has more than one reading. Whoever wants to read the body is shown the content between the framing.
//!
//! The choice made here: RFC 9112, section 7.1, to the letter, but for two freedoms that have one reading:
//! white space before a chunk extension's `;` (section 7.1.1), and the extension's own grammar, of which only
//! the bytes are judged.

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
    /// The framing is broken, and where the message ends is not known. Says why: lower case but for names, no
    /// full stop.
    Broken(&'static str),
}

/// Follows one body from its first byte to its end.
#[derive(Clone, Debug)]
pub struct BodyScanner {
    at: At,
    /// Bytes of the present chunk line or trailer section.
    line_bytes: usize,
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
        BodyScanner { at, line_bytes: 0 }
    }

    /// Follows the next slice of the stream.
    pub fn feed(&mut self, bytes: &[u8]) -> Passed {
        self.feed_to(bytes, |_| ())
    }

    /// The same, and shows what is content, piece by piece: without the lines between chunks, without trailers.
    pub fn feed_to(&mut self, bytes: &[u8], mut reader: impl FnMut(&[u8])) -> Passed {
        let mut passed = 0;
        while passed < bytes.len() {
            let rest = &bytes[passed..];
            let content = match self.at {
                At::End => return Passed::End(passed),
                At::Broken(fault) => return Passed::Broken(fault),
                At::Length(left) => self.content(left, rest, At::Length, At::End),
                At::Data(left) => self.content(left, rest, At::Data, At::DataCr),
                at => {
                    self.at = self.frame(at, bytes[passed]).unwrap_or_else(At::Broken);
                    passed += 1;
                    continue;
                }
            };
            reader(&rest[..content]);
            passed += content;
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;

    /// Verdict on a whole input.
    fn whole(framing: Framing, bytes: &[u8]) -> Passed {
        BodyScanner::new(framing).feed(bytes)
    }

    /// The same of an input in slices, counted from its beginning.
    fn sliced<'b>(framing: Framing, slices: impl IntoIterator<Item = &'b [u8]>) -> Passed {
        let mut scanner = BodyScanner::new(framing);
        let (mut before, mut verdict) = (0, scanner.feed(b""));
        for slice in slices {
            if verdict != Passed::All {
                break;
            }
            verdict = match scanner.feed(slice) {
                Passed::End(len) => Passed::End(before + len),
                other => other,
            };
            before += slice.len();
        }
        verdict
    }

    #[test]
    fn a_length_is_counted_down() {
        assert_eq!(whole(Framing::Length(5), b"hel"), Passed::All);
        assert_eq!(whole(Framing::Length(5), b"hello"), Passed::End(5));
        assert_eq!(whole(Framing::Length(5), b"helloGET /"), Passed::End(5));
        assert_eq!(whole(Framing::Length(u64::MAX), b"hello"), Passed::All);
    }

    #[test]
    fn no_body_has_ended_before_it_began() {
        for framing in [Framing::None, Framing::Length(0)] {
            assert_eq!(whole(framing, b""), Passed::End(0));
            assert_eq!(whole(framing, b"GET /"), Passed::End(0));
        }
    }

    /// RFC section, body.
    const SOUND: &[(&str, &str)] = &[
        ("9112 7.1 the last chunk alone", "0\r\n\r\n"),
        ("9112 7.1 two chunks", "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"),
        ("9112 7.1 hex in both cases", "a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n"),
        ("9112 7.1 leading zeros", "0000000000000005\r\nhello\r\n000\r\n\r\n"),
        ("9112 7.1 content that looks like framing", "5\r\n0\r\n\r\n\r\n0\r\n\r\n"),
        ("9112 7.1.1 an extension", "5;a=b\r\nhello\r\n0;last\r\n\r\n"),
        ("9112 7.1.1 white space around it", "5 \t; a = \"b;c\" ;d\r\nhello\r\n0\r\n\r\n"),
        ("9112 7.1.2 trailers", "0\r\nExpires: never\r\nX-Sum:\t1 2\r\n\r\n"),
        ("9112 7.1.2 an empty trailer value", "0\r\nX:\r\n\r\n"),
    ];

    #[test]
    fn chunks_are_followed_to_their_end() {
        for (rule, body) in SOUND {
            let stream = format!("{body}GET / HTTP/1.1\r\n");
            let want = Passed::End(body.len());
            assert_eq!(whole(Framing::Chunked, stream.as_bytes()), want, "{rule}");
            assert_eq!(sliced(Framing::Chunked, stream.as_bytes().chunks(1)), want, "{rule}");
        }
    }

    const BROKEN: &[(&str, &str)] = &[
        ("9112 7.1 no size", "\r\n"),
        ("9112 7.1 a sign", "+5\r\nhello\r\n0\r\n\r\n"),
        ("9112 7.1 a negative size", "-5\r\nhello\r\n0\r\n\r\n"),
        ("9112 7.1 0x", "0x5\r\nhello\r\n0\r\n\r\n"),
        ("9112 7.1 an underscore", "1_0\r\n0123456789abcdef\r\n0\r\n\r\n"),
        ("9112 7.1 not hex", "g\r\n"),
        ("9112 7.1 white space before it", " 5\r\nhello\r\n0\r\n\r\n"),
        ("9112 7.1 white space behind it", "5 \r\nhello\r\n0\r\n\r\n"),
        ("9112 7.1 two sizes", "5 5\r\nhello\r\n0\r\n\r\n"),
        ("9112 7.1 17 digits", "00000000000000005\r\nhello\r\n0\r\n\r\n"),
        ("9112 7.1 more than 64 bits", "10000000000000000\r\n"),
        ("9112 7.1 bare LF behind the size", "5\nhello\r\n0\r\n\r\n"),
        ("9112 7.1 bare CR behind the size", "5\rhello\r\n0\r\n\r\n"),
        ("9112 7.1 another byte for the LF", "5\rxhello\r\n0\r\n\r\n"),
        ("9112 7.1 CR twice", "5\r\r\nhello\r\n0\r\n\r\n"),
        ("9112 7.1 a chunk longer than its size", "5\r\nhello!\r\n0\r\n\r\n"),
        ("9112 7.1 bare LF behind the chunk", "5\r\nhello\n0\r\n\r\n"),
        ("9112 7.1 nothing behind the chunk", "5\r\nhello0\r\n\r\n"),
        ("9112 7.1 bare LF at the end", "0\r\n\n"),
        ("9112 7.1 bare LF behind the last chunk", "0\n\r\n"),
        ("9112 7.1.1 bare LF in an extension", "5;a\nb\r\nhello\r\n0\r\n\r\n"),
        ("9112 7.1.1 NUL in an extension", "5;\0\r\nhello\r\n0\r\n\r\n"),
        ("9112 7.1.1 bare CR in an extension", "5;a\rb\r\nhello\r\n0\r\n\r\n"),
        ("9112 7.1.2 a trailer without a name", "0\r\n: x\r\n\r\n"),
        ("9112 7.1.2 a trailer without a colon", "0\r\nx\r\n\r\n"),
        ("9112 7.1.2 a folded trailer", "0\r\nx: y\r\n z\r\n\r\n"),
        ("9112 7.1.2 white space before the colon", "0\r\nx : y\r\n\r\n"),
        ("9112 7.1.2 bare LF behind a trailer", "0\r\nx: y\n\r\n"),
        ("9112 7.1.2 a control byte in a trailer", "0\r\nx: \u{1}\r\n\r\n"),
        ("9112 7.1.2 another request for a trailer", "0\r\nGET / HTTP/1.1\r\n\r\n"),
    ];

    #[test]
    fn chunks_with_two_readings_are_broken() {
        for (rule, body) in BROKEN {
            for verdict in [
                whole(Framing::Chunked, body.as_bytes()),
                sliced(Framing::Chunked, body.as_bytes().chunks(1)),
            ] {
                assert!(matches!(verdict, Passed::Broken(_)), "{rule}: {verdict:?}");
            }
        }
    }

    #[test]
    fn content_is_shown_without_its_framing() {
        let rows = [
            (Framing::Chunked, "5;a=b\r\nhello\r\n6\r\n world\r\n0\r\nX: y\r\n\r\nGET /"),
            (Framing::Length(11), "hello worldGET /"),
        ];
        for (framing, stream) in rows {
            for size in 1..=stream.len() {
                let mut scanner = BodyScanner::new(framing);
                let mut content = Vec::new();
                for slice in stream.as_bytes().chunks(size) {
                    scanner.feed_to(slice, |piece| content.extend_from_slice(piece));
                }
                assert_eq!(content, b"hello world", "{framing:?} in slices of {size}");
            }
        }
    }

    #[test]
    fn what_is_broken_stays_so() {
        let mut scanner = BodyScanner::new(Framing::Chunked);
        let verdict = scanner.feed(b"x");
        assert_eq!(scanner.feed(b"0\r\n\r\n"), verdict);
        assert!(matches!(verdict, Passed::Broken(_)));
    }

    #[test]
    fn lines_and_trailers_are_bounded() {
        let chunk = |length: usize| format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(length - 4));
        assert!(matches!(whole(Framing::Chunked, chunk(CHUNK_LINE_BYTES).as_bytes()), Passed::End(_)));
        assert!(matches!(whole(Framing::Chunked, chunk(CHUNK_LINE_BYTES + 1).as_bytes()), Passed::Broken(_)));

        let trailers = |length: usize| format!("0\r\nX: {}\r\n\r\n", "x".repeat(length - 7));
        assert!(matches!(whole(Framing::Chunked, trailers(TRAILER_BYTES).as_bytes()), Passed::End(_)));
        assert!(matches!(whole(Framing::Chunked, trailers(TRAILER_BYTES + 1).as_bytes()), Passed::Broken(_)));
    }

    /// The end and the content of a whole chunked body, read the slow and obvious way; `None` when it is broken or cut
    /// off.
    fn reference(mut rest: &str) -> Option<(usize, String)> {
        let whole = rest.len();
        let mut content = String::new();
        loop {
            let (line, after) = rest.split_once("\r\n")?;
            let (size, extension) = line.split_at(line.find([' ', '\t', ';']).unwrap_or(line.len()));
            let is_extension = extension.trim_start_matches([' ', '\t']).starts_with(';');
            if !(extension.is_empty() || is_extension)
                || extension.contains(|char: char| char != '\t' && char < ' ')
            {
                return None;
            }
            let is_hex = (1..=16).contains(&size.len()) && size.bytes().all(|byte| byte.is_ascii_hexdigit());
            let size = usize::from_str_radix(size, 16).ok().filter(|_| is_hex)?;
            if size == 0 {
                return Some((whole - reference_trailers(after)?.len(), content));
            }
            content += after.get(..size)?;
            rest = after.get(size..)?.strip_prefix("\r\n")?;
        }
    }

    fn reference_trailers(mut rest: &str) -> Option<&str> {
        loop {
            let (line, after) = rest.split_once("\r\n")?;
            rest = after;
            if line.is_empty() {
                return Some(rest);
            }
            let (name, value) = line.split_once(':')?;
            let is_name = !name.is_empty() && name.bytes().all(is_tchar);
            if !is_name || value.bytes().any(is_control) {
                return None;
            }
        }
    }

    fn tricky_body() -> impl Strategy<Value = String> {
        const SOUND: &[&str] =
            &["5\r\nhello\r\n", "1;x=\"y\"\r\n\n\r\n", "00b ;z\r\nhello world\r\n", "2\r\n\r\n\r\n"];
        const ODD: &[&str] = &["5", "\r\n", "\n", "0", "\r", ";", " ", "x", "0\r\n\r\n", "f\r\n", "a: b\r\n"];
        const ENDS: &[&str] = &["0\r\n\r\n", "0\r\n\r\nGET /", "0;x\r\nA: b\r\n\r\n", "0\r\nA b\r\n\r\n", ""];
        let piece = prop_oneof![4 => prop::sample::select(SOUND), 1 => prop::sample::select(ODD)];
        (prop::collection::vec(piece, 0..6), prop::sample::select(ENDS))
            .prop_map(|(pieces, end)| pieces.concat() + end)
    }

    proptest! {
        #[test]
        fn the_obvious_reader_agrees(body in tricky_body()) {
            let mut content = Vec::new();
            let passed = BodyScanner::new(Framing::Chunked)
                .feed_to(body.as_bytes(), |piece| content.extend_from_slice(piece));
            match passed {
                Passed::End(len) => {
                    prop_assert_eq!(reference(&body), Some((len, String::from_utf8(content).unwrap())));
                }
                _ => prop_assert_eq!(reference(&body), None),
            }
        }

        #[test]
        fn slices_do_not_matter(body in tricky_body(), cuts in prop::collection::vec(1..8usize, 40)) {
            let mut rest = body.as_bytes();
            let slices = cuts.iter().map(|&cut| {
                let (slice, after) = rest.split_at(cut.min(rest.len()));
                rest = after;
                slice
            });
            let slices: Vec<_> = slices.collect();
            let sliced = sliced(Framing::Chunked, slices.into_iter().chain([rest]));
            prop_assert_eq!(sliced, whole(Framing::Chunked, body.as_bytes()));
        }

        #[test]
        fn arbitrary_bytes_never_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            length in any::<u64>(),
        ) {
            let _ = whole(Framing::Chunked, &bytes);
            let want = match usize::try_from(length) {
                Ok(length) if length <= bytes.len() => Passed::End(length),
                _ => Passed::All,
            };
            prop_assert_eq!(whole(Framing::Length(length), &bytes), want);
        }
    }
}
