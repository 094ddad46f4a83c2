//! An answer, read strictly: whatever a sloppy reader would forgive, some client would not.
//!
//! HTTP/1.1 as RFC 9112 frames it: by `Content-Length`, by chunks, or by the end of the connection. What matters here is how an
//! answer fails to come, since that tells apart who is to blame: not a byte of it, a part of it, or something else.

use std::io::{self, BufRead, ErrorKind, Read};

/// Most bytes of a line, and most lines of a head.
const LINE_BYTES: u64 = 64 * 1024;
const LINES: usize = 256;

/// A whole answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Names in lower case.
    pub(super) fields: Fields,
    pub(super) body: Vec<u8>,
    /// The connection has ended, or will.
    pub(super) is_last: bool,
}

impl Answer {
    /// A field's first line.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// Why there is no whole answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Broken {
    /// The connection has ended, and nothing had come.
    Unanswered,
    /// The connection has ended in the middle.
    Cut,
    /// Nothing more came for too long.
    Late,
    /// It is no answer.
    Malformed(String),
}

/// Reads one; to a `HEAD` it has no body.
///
/// # Errors
/// It did not come, or not whole.
pub(super) fn read(input: &mut impl BufRead, to_head: bool) -> Result<Answer, Broken> {
    input.fill_buf().map_err(|error| fault(&error, Broken::Unanswered)).and_then(|first| match first {
        [] => Err(Broken::Unanswered),
        _ => Ok(()),
    })?;
    let (mut status, mut fields) = head(input)?;
    while status < 200 {
        (status, fields) = head(input)?; // an interim answer, before the one that counts
    }
    let is_last = tokens(&fields, "connection").any(|token| token == "close");
    let mut answer = Answer { status, fields, body: Vec::new(), is_last };
    if !(to_head || status == 204 || status == 304) {
        body(input, &mut answer)?;
    }
    Ok(answer)
}

type Fields = Vec<(String, String)>;
type Head = (u16, Fields);

fn head(input: &mut impl BufRead) -> Result<Head, Broken> {
    let first = line(input)?;
    let status = first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    let status =
        status.ok_or_else(|| Broken::Malformed(format!("found {first:?}, expected a status line")))?;
    let mut fields = Vec::new();
    for _ in 0..LINES {
        let line = line(input)?;
        if line.is_empty() {
            return Ok((status, fields));
        }
        let field = line.split_once(':').filter(|(name, _)| !name.is_empty() && !name.contains(' '));
        let (name, value) =
            field.ok_or_else(|| Broken::Malformed(format!("found {line:?}, expected a field")))?;
        fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    Err(Broken::Malformed(format!("found more than {LINES} fields")))
}

fn body(input: &mut impl BufRead, answer: &mut Answer) -> Result<(), Broken> {
    let is_chunked = tokens(&answer.fields, "transfer-encoding").eq(["chunked"]);
    match (is_chunked, answer.field("content-length")) {
        (true, None) => chunks(input, &mut answer.body),
        (false, Some(length)) => {
            let wrong = || Broken::Malformed(format!("found {length:?}, expected a length"));
            let length = length.parse().map_err(|_| wrong())?;
            exactly(input, length, &mut answer.body)
        }
        (false, None) => {
            answer.is_last = true;
            input.read_to_end(&mut answer.body).map(drop).map_err(|error| fault(&error, Broken::Cut))
        }
        (true, Some(_)) => Err(Broken::Malformed("found two lengths".into())),
    }
}

fn chunks(input: &mut impl BufRead, body: &mut Vec<u8>) -> Result<(), Broken> {
    loop {
        let line = line(input)?;
        let digits = line.split(';').next().unwrap_or_default().trim_end();
        let size = u64::from_str_radix(digits, 16);
        let size = size.map_err(|_| Broken::Malformed(format!("found {line:?}, expected a chunk's size")))?;
        if size == 0 {
            return trailers(input);
        }
        exactly(input, size, body)?;
        ended_by(input, "")?;
    }
}

fn trailers(input: &mut impl BufRead) -> Result<(), Broken> {
    for _ in 0..LINES {
        if line(input)?.is_empty() {
            return Ok(());
        }
    }
    Err(Broken::Malformed(format!("found more than {LINES} trailers")))
}

fn ended_by(input: &mut impl BufRead, expected: &str) -> Result<(), Broken> {
    let found = line(input)?;
    let wrong = || Broken::Malformed(format!("found {found:?}, expected the end of a chunk"));
    (found == expected).then_some(()).ok_or_else(wrong)
}

fn exactly(input: &mut impl BufRead, count: u64, out: &mut Vec<u8>) -> Result<(), Broken> {
    let read = input.take(count).read_to_end(out).map_err(|error| fault(&error, Broken::Cut))?;
    if read as u64 == count { Ok(()) } else { Err(Broken::Cut) }
}

/// One line, without its end, which is CR LF.
fn line(input: &mut impl BufRead) -> Result<String, Broken> {
    let mut bytes = Vec::new();
    input.take(LINE_BYTES).read_until(b'\n', &mut bytes).map_err(|error| fault(&error, Broken::Cut))?;
    if !bytes.ends_with(b"\n") {
        return Err(Broken::Cut);
    }
    let line = bytes.strip_suffix(b"\r\n").and_then(|line| std::str::from_utf8(line).ok());
    line.map(str::to_owned).ok_or_else(|| Broken::Malformed("found a line that does not end in CR LF".into()))
}

fn tokens<'a>(fields: &'a Fields, name: &'a str) -> impl Iterator<Item = String> + 'a {
    let lines = fields.iter().filter(move |(found, _)| found == name);
    lines.flat_map(|(_, value)| value.split(',').map(|token| token.trim().to_ascii_lowercase()))
}

/// A reset is an end, too; so all that is told apart is whether it came in time.
fn fault(error: &io::Error, ended: Broken) -> Broken {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Broken::Late,
        _ => ended,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(bytes: &str) -> Result<(u16, String, bool), Broken> {
        let answer = read(&mut bytes.as_bytes(), false)?;
        Ok((answer.status, String::from_utf8_lossy(&answer.body).into_owned(), answer.is_last))
    }

    #[test]
    fn a_whole_answer_is_one_however_it_is_framed() {
        for (bytes, expected) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", (200, "hi", false)),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nhi\r\n0\r\nA: b\r\n\r\n",
                (200, "hi", false),
            ),
            ("HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 0\r\n\r\n", (200, "", true)),
            ("HTTP/1.1 200 OK\r\n\r\nhi", (200, "hi", true)),
            ("HTTP/1.1 204 No Content\r\n\r\n", (204, "", false)),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 308 x\r\nContent-Length: 0\r\n\r\n", (308, "", false)),
        ] {
            let (status, body, is_last) = expected;
            assert_eq!(read_all(bytes), Ok((status, body.to_owned(), is_last)), "{bytes}");
        }
    }

    #[test]
    fn what_ends_too_early_is_cut() {
        for bytes in [
            "HTTP/1.1 200 OK\r\nContent-Le",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n",
        ] {
            assert_eq!(read_all(bytes), Err(Broken::Cut), "{bytes}");
        }
        assert_eq!(read_all(""), Err(Broken::Unanswered));
    }

    #[test]
    fn what_is_no_answer_is_malformed() {
        for bytes in [
            "HTTP/1.0 200 OK\r\n\r\n",
            "hello\r\n\r\n",
            "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi!\r\n0\r\n\r\n",
        ] {
            assert!(matches!(read_all(bytes), Err(Broken::Malformed(_))), "{bytes}: {:?}", read_all(bytes));
        }
    }

    #[test]
    fn an_answer_to_head_has_no_body() {
        let bytes = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(read(&mut bytes.as_bytes(), true).map(|answer| answer.body), Ok(Vec::new()));
    }
}
