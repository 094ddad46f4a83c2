//! The one normal form of a path.
//!
//! `/admin`, `/%61dmin`, `/x/../admin` and `//admin` are four spellings of one path to most servers, and four paths to
//! a proxy that compares bytes. Whoever may ask for `/x/` but not for `/admin` then asks for `/x/%2e%2e/admin`: the
//! proxy sees a path below `/x/`, the upstream one below `/admin`. The only cure is to have one spelling: every path
//! is brought into its normal form **before** it is routed, and **that form is what is forwarded**.
//!
//! The normal form (RFC 3986, section 6.2.2, and a little more):
//!
//! 1. Escapes of unreserved characters (`A-Z a-z 0-9 - . _ ~`) are decoded, all others written in upper case: `%7e` is
//!    `~`, `%2f` is `%2F`. `%2F` is never a `/`: only the upstream knows what it means there. Nothing is decoded twice.
//! 2. `` ^ ` { | } ``, which RFC 3986 does not allow but clients send, become escapes.
//! 3. Runs of `/` become one, and they do so **before** dot segments go, as in a file system: in `/a//../b` the `..`
//!    takes `a` away, not the nothing between the slashes, and `/b` remains.
//! 4. The segments `.` and `..`, however they were spelt, are removed (RFC 3986, section 5.2.4). `..` above the root
//!    stays at the root. At the end they leave a slash: `/a/.` is `/a/`, `/a/b/..` is `/a/`.
//!
//! Segment parameters are part of their segment: `/a;v=1` and `/..;/` pass as they are. What has no normal form is
//! refused: a path that is not absolute, a byte that no client may send raw, a broken escape, `%00`.

use std::borrow::Cow;
use std::fmt;

/// Why a path has no normal form. The client's fault, always: `400`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathError {
    /// It does not begin with `/`.
    NotAbsolute,
    /// It holds a raw byte outside 0x21 to 0x7E, or one of `" # < > ? \`.
    IllegalByte,
    /// A `%` without two hexadecimal digits after it.
    BadEscape,
    /// `%00`, at which many a server would end the path.
    EscapedNul,
}

impl PathError {
    /// One phrase for a log line or a diagnostic.
    pub const fn as_str(self) -> &'static str {
        match self {
            PathError::NotAbsolute => "the path does not begin with `/`",
            PathError::IllegalByte => "a byte in the path must be percent-encoded",
            PathError::BadEscape => "a `%` in the path is not followed by two hexadecimal digits",
            PathError::EscapedNul => "the path contains `%00`",
        }
    }
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for PathError {}

/// The normal form of `path`, which is a path alone, without a query. Borrowed when it is in normal form already:
/// that costs one scan and no allocation.
///
/// # Errors
/// When it has none; see [`PathError`].
pub fn normalize(path: &str) -> Result<Cow<'_, str>, PathError> {
    if is_normal(path.as_bytes()) { Ok(Cow::Borrowed(path)) } else { rewrite(path).map(Cow::Owned) }
}

/// Whether there is nothing to change and nothing to refuse.
fn is_normal(path: &[u8]) -> bool {
    path.first() == Some(&b'/')
        && path.iter().enumerate().all(|(at, &byte)| match CLASS[byte as usize] {
            Class::Plain => true,
            Class::Slash => !opens_foreign_segment(&path[at + 1..]),
            Class::Percent => is_normal_escape(&path[at + 1..]),
            Class::Escaped | Class::Illegal => false,
        })
}

/// Whether what follows a slash is another slash or a dot segment. A dot spelt `%2e` is caught as an escape.
fn opens_foreign_segment(rest: &[u8]) -> bool {
    match rest {
        [b'/', ..] => true,
        [b'.', rest @ ..] => matches!(rest, [] | [b'/', ..] | [b'.'] | [b'.', b'/', ..]),
        _ => false,
    }
}

fn is_normal_escape(digits: &[u8]) -> bool {
    let upper = digits.iter().take(2).all(|digit| !digit.is_ascii_lowercase());
    upper && decode(digits).is_ok_and(|byte| byte != 0 && !is_unreserved(byte))
}

/// The slow road, segment by segment: linear, since each byte is written once and taken back at most once.
fn rewrite(path: &str) -> Result<String, PathError> {
    let segments = path.strip_prefix('/').ok_or(PathError::NotAbsolute)?;
    let mut normal = String::with_capacity(path.len());
    let mut ends_in_name = false;
    for segment in segments.split('/') {
        ends_in_name = append(segment, &mut normal)?;
    }
    if !ends_in_name {
        normal.push('/');
    }
    Ok(normal)
}

/// Appends `/` and the segment, and says so; or does what a dot segment asks for.
fn append(segment: &str, normal: &mut String) -> Result<bool, PathError> {
    let parent = normal.len();
    normal.push('/');
    respell(segment.as_bytes(), normal)?;
    match &normal[parent + 1..] {
        "" | "." => normal.truncate(parent),
        ".." => {
            normal.truncate(parent);
            normal.truncate(normal.rfind('/').unwrap_or(0));
        }
        _ => return Ok(true),
    }
    Ok(false)
}

/// Appends a segment with each character in its one spelling.
fn respell(mut segment: &[u8], normal: &mut String) -> Result<(), PathError> {
    while let [byte, rest @ ..] = segment {
        segment = rest;
        match CLASS[*byte as usize] {
            Class::Plain | Class::Slash => normal.push(char::from(*byte)),
            Class::Escaped => push_escape(*byte, normal),
            Class::Illegal => return Err(PathError::IllegalByte),
            Class::Percent => {
                push_decoded(decode(rest)?, normal)?;
                segment = &rest[2..];
            }
        }
    }
    Ok(())
}

fn push_decoded(byte: u8, normal: &mut String) -> Result<(), PathError> {
    match byte {
        0 => return Err(PathError::EscapedNul),
        _ if is_unreserved(byte) => normal.push(char::from(byte)),
        _ => push_escape(byte, normal),
    }
    Ok(())
}

fn push_escape(byte: u8, normal: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    normal.push('%');
    normal.push(char::from(DIGITS[usize::from(byte >> 4)]));
    normal.push(char::from(DIGITS[usize::from(byte & 15)]));
}

/// The byte that the two hexadecimal digits at the start of `digits` stand for.
fn decode(digits: &[u8]) -> Result<u8, PathError> {
    let digit = |at: usize| digits.get(at).and_then(|&digit| char::from(digit).to_digit(16));
    match (digit(0), digit(1)) {
        (Some(high), Some(low)) => Ok((high * 16 + low) as u8),
        _ => Err(PathError::BadEscape),
    }
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// What a raw byte of a path asks for.
#[derive(Clone, Copy)]
enum Class {
    /// Stays as it is.
    Plain,
    /// Parts segments.
    Slash,
    /// Opens an escape.
    Percent,
    /// Is written as an escape.
    Escaped,
    /// Refused.
    Illegal,
}

/// The class of every byte, looked up once per byte of every request.
const CLASS: [Class; 256] = {
    let mut classes = [Class::Illegal; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = class(byte as u8);
        byte += 1;
    }
    classes
};

const fn class(byte: u8) -> Class {
    match byte {
        b'/' => Class::Slash,
        b'%' => Class::Percent,
        b'^' | b'`' | b'{' | b'|' | b'}' => Class::Escaped,
        b'"' | b'#' | b'<' | b'>' | b'?' | b'\\' => Class::Illegal,
        0x21..=0x7E => Class::Plain,
        _ => Class::Illegal,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;

    /// Input, normal form, and why.
    const CASES: &[(&str, &str, &str)] = &[
        ("/", "/", "the root"),
        ("/a/b", "/a/b", "normal already"),
        ("/a/b/", "/a/b/", "a trailing slash is another path"),
        ("/%7Euser", "/~user", "RFC 3986 6.2.2.2: unreserved characters are decoded"),
        ("/%7euser", "/~user", "in either case"),
        ("/%41%2D%5f", "/A-_", "letters and marks too"),
        ("/a%2fb", "/a%2Fb", "RFC 3986 6.2.2.1: escapes are written in upper case"),
        ("/a%2Fb", "/a%2Fb", "an escaped slash is not a slash"),
        ("/..%2Fb", "/..%2Fb", "so this is one segment, and not a dot segment"),
        ("/%c3%A9", "/%C3%A9", "whatever the encoding behind them"),
        ("/%252e%252e/a", "/%252e%252e/a", "nothing is decoded twice"),
        ("/%25", "/%25", "a percent sign stays escaped"),
        ("/a/./b", "/a/b", "RFC 3986 5.2.4"),
        ("/a/b/../c", "/a/c", "RFC 3986 5.2.4"),
        ("/a/b/c/./../../g", "/a/g", "the example of RFC 3986 5.2.4"),
        ("/../../a", "/a", "above the root is the root"),
        ("/..", "/", "also at the end"),
        ("/.", "/", "also at the end"),
        ("/a/.", "/a/", "a dot at the end leaves the slash"),
        ("/a/b/..", "/a/", "two dots as well"),
        ("/a/%2e%2E/b", "/b", "RFC 3986 6.2.2.3 after 6.2.2.2: escaped dots are dots"),
        ("/a/.%2e/b", "/b", "mixed as well"),
        ("/a/%2e", "/a/", "one dot as well"),
        ("//a///b//", "/a/b/", "runs of slashes are one"),
        ("//", "/", "even alone"),
        ("/a//../b", "/b", "slashes are merged before dot segments go"),
        ("/a/.//../b", "/b", "wherever they came from"),
        ("/a/...", "/a/...", "three dots are a name"),
        ("/a/..b/.c/d.", "/a/..b/.c/d.", "dots in names are names"),
        ("/a;v=1/b;x", "/a;v=1/b;x", "parameters are left alone"),
        ("/a/..;/b", "/a/..;/b", "and make a name of two dots"),
        ("/a^b`c{d|e}f", "/a%5Eb%60c%7Bd%7Ce%7Df", "illegal but harmless characters are escaped"),
        ("/a%5e%7b", "/a%5E%7B", "and these two spellings are one"),
        ("/a!$&'()*+,;=:@[]", "/a!$&'()*+,;=:@[]", "delimiters stay"),
        ("/a%21%3A", "/a%21%3A", "and, escaped, mean something else (RFC 3986 2.2)"),
        ("/a%0D%0Ab", "/a%0D%0Ab", "an escaped line end ends no line"),
    ];

    #[test]
    fn every_path_has_one_spelling() {
        for (path, normal, why) in CASES {
            assert_eq!(normalize(path).as_deref(), Ok(*normal), "{path}: {why}");
        }
    }

    #[test]
    fn a_normal_path_is_not_copied() {
        for (_, normal, why) in CASES {
            assert!(matches!(normalize(normal), Ok(Cow::Borrowed(_))), "{normal}: {why}");
        }
    }

    #[test]
    fn what_has_no_normal_form_is_refused() {
        let refused: &[(PathError, &[&str])] = &[
            (PathError::NotAbsolute, &["", "a", "*", "../a", "%2Fa"]),
            (
                PathError::IllegalByte,
                &["/ ", "/a\tb", "/\0", "/é", "/\u{7f}", "/\"", "/<", "/>", "/\\", "/#", "/?"],
            ),
            (PathError::BadEscape, &["/%", "/%4", "/%4/", "/%zz", "/%+1", "/%%41", "/%4\u{e9}"]),
            (PathError::EscapedNul, &["/%00", "/a/%00/../b"]),
        ];
        for (error, paths) in refused {
            for path in *paths {
                assert_eq!(normalize(path), Err(*error), "{path:?}");
            }
        }
    }

    /// Paths made of what matters here: slashes, dots, escapes in both cases, characters of every class.
    fn tricky_path() -> impl Strategy<Value = String> {
        const PIECES: &[&str] = &[
            "/", "//", ".", "..", "%2e", "%2E", "%2f", "%2F", "%25", "%41", "%7e", "%5c", "%c3", "a", "b",
            ";", "^", "|", "~", "%3b", "%252e", "[",
        ];
        let piece = proptest::sample::select(PIECES);
        proptest::collection::vec(piece, 0..16).prop_map(|pieces| format!("/{}", pieces.concat()))
    }

    fn assert_is_normal(normal: &str) {
        assert!(normal.starts_with('/') && !normal.contains("//"), "{normal}");
        assert!(!normal.split('/').any(|segment| matches!(segment, "." | "..")), "{normal}");
        for (at, _) in normal.match_indices('%') {
            let digits = &normal[at + 1..at + 3];
            let byte = u8::from_str_radix(digits, 16).unwrap();
            assert!(!is_unreserved(byte) && digits.to_ascii_uppercase() == digits, "{normal}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_normal_form_is_normal(path in tricky_path()) {
            let normal = normalize(&path).unwrap().into_owned();
            assert_is_normal(&normal);
            prop_assert!(matches!(normalize(&normal), Ok(Cow::Borrowed(same)) if same == normal));
        }

        #[test]
        fn no_input_panics(path in "\\PC{0,24}") {
            if let Ok(normal) = normalize(&path) {
                assert_is_normal(&normal);
            }
        }

        #[test]
        fn an_upstream_sees_the_segments_that_were_sent(path in tricky_path()) {
            let normal = normalize(&path).unwrap();
            prop_assert_eq!(walk(&path), walk(&normal));
            prop_assert!(!decoded_segments(&normal).any(|name| matches!(&name[..], b"." | b"..")));
        }
    }

    /// Where a server that decodes each segment ends up, written the slow and obvious way.
    fn walk(path: &str) -> Vec<Vec<u8>> {
        let mut names = Vec::new();
        for name in decoded_segments(path) {
            match &name[..] {
                b"." => {}
                b".." => drop(names.pop()),
                _ => names.push(name),
            }
        }
        names
    }

    fn decoded_segments(path: &str) -> impl Iterator<Item = Vec<u8>> {
        path.split('/').filter(|segment| !segment.is_empty()).map(decoded)
    }

    fn decoded(segment: &str) -> Vec<u8> {
        let mut parts = segment.split('%');
        let mut bytes = parts.next().unwrap().as_bytes().to_vec();
        for part in parts {
            bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
            bytes.extend_from_slice(&part.as_bytes()[2..]);
        }
        bytes
    }
}
