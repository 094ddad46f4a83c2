//! Bytes of a stranger, made safe to stand between quotes on one line.
//!
//! A client chooses its target, `Host`, `User-Agent` and `Referer`. Written as they come, a line feed in one of them
//! forges a whole line, a quote forges fields, and an escape sequence takes over the terminal of whoever reads the log.
//! So what is written is always valid UTF-8 without quotes, backslashes or control characters of its own, in the notation of
//! JSON strings (RFC 8259, section 7). Nearly every value needs nothing of this, which one pass over it tells.

/// Appends the value as it stands inside a JSON string, without the quotes around it.
pub(super) fn append(out: &mut Vec<u8>, value: &[u8]) {
    if is_plain(value) {
        out.extend_from_slice(value);
    } else {
        append_escaped(out, value);
    }
}

/// Printable ASCII without quote and backslash. Written without an early end, so that it runs over many bytes at once.
fn is_plain(value: &[u8]) -> bool {
    value.iter().fold(true, |plain, &byte| plain & is_plain_byte(byte))
}

fn is_plain_byte(byte: u8) -> bool {
    (0x20..0x7f).contains(&byte) & (byte != b'"') & (byte != b'\\')
}

#[cold]
fn append_escaped(out: &mut Vec<u8>, value: &[u8]) {
    for chunk in value.utf8_chunks() {
        chunk.valid().chars().for_each(|character| append_char(out, character));
        if !chunk.invalid().is_empty() {
            append_char(out, char::REPLACEMENT_CHARACTER);
        }
    }
}

fn append_char(out: &mut Vec<u8>, character: char) {
    match character {
        '"' => out.extend_from_slice(br#"\""#),
        '\\' => out.extend_from_slice(br"\\"),
        '\n' => out.extend_from_slice(br"\n"),
        '\r' => out.extend_from_slice(br"\r"),
        '\t' => out.extend_from_slice(br"\t"),
        other if ends_or_steers_a_line(other) => append_code(out, other),
        other => out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// C0 and C1 controls, and the two separators that some readers take for a line's end.
fn ends_or_steers_a_line(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}')
}

/// `\u` and four digits: enough, since all that are escaped so lie below U+10000.
fn append_code(out: &mut Vec<u8>, character: char) {
    out.extend_from_slice(br"\u");
    for shift in [12, 8, 4, 0] {
        out.push(b"0123456789abcdef"[(character as usize >> shift) & 0xf]);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use proptest::prelude::*;

    fn escaped(value: &[u8]) -> String {
        let mut out = Vec::new();
        append(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_kind_of_byte() {
        let table: &[(&[u8], &str)] = &[
            (b"", ""),
            (b"/orders?a=1 ~", "/orders?a=1 ~"),
            (b"a\"b\\c", r#"a\"b\\c"#),
            (b"a\r\n\tb", r"a\r\n\tb"),
            (b"\0\x1b[2J\x7f", r"\u0000\u001b[2J\u007f"),
            ("grüße 🦀".as_bytes(), "grüße 🦀"),
            (b"a\xff\xc3b", "a\u{fffd}\u{fffd}b"),
            ("\u{85}\u{9b}\u{2028}\u{2029}".as_bytes(), r"\u0085\u009b\u2028\u2029"),
        ];
        for (value, expected) in table {
            assert_eq!(escaped(value), *expected, "{value:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_a_json_reader_gets_the_same_text(value in prop::collection::vec(any::<u8>(), 0..64)) {
            let read: String = serde_json::from_str(&format!("\"{}\"", escaped(&value))).unwrap();
            prop_assert_eq!(read, String::from_utf8_lossy(&value));
        }

        #[test]
        fn nothing_that_ends_or_steers_a_line_is_left(value in ".*") {
            prop_assert!(!escaped(value.as_bytes()).chars().any(ends_or_steers_a_line));
        }
    }
}
