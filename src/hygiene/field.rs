//! Lines and fields, the grammar that request heads, response heads and trailers share.
//!
//! Heads arrive in pieces. A parser that starts over with every piece costs a slow client nothing and the
//! proxy the square of the head's length. [`Lines`] remembers where it stopped, so every byte is looked at
//! once however it came.
//!
//! A line ends with CRLF and nothing else (RFC 9112, section 2.2, allows a recipient to take a bare LF; two
//! recipients that differ on it are the classic way to smuggle). No line holds a control byte but HTAB. That
//! is judged by counting when the head is whole: every line that was handed out ends with two control bytes,
//! and there may be no others. Counting a whole head takes sixteen bytes at a step, which a search in every
//! short line could not.

/// Why a line or a field cannot be taken. A sentence without a full stop, for logs and problem documents.
pub(super) type Fault = &'static str;

/// A range of bytes in a buffer, kept while the buffer itself grows or moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Span {
    /// The bytes themselves; nothing when the span is not of this buffer.
    pub(super) fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start..self.end).unwrap_or_default()
    }

    pub(super) fn len(self) -> usize {
        self.end - self.start
    }

    /// Of a line that [`Lines`] has handed out: the same with its CRLF.
    pub(super) fn with_line_end(self) -> Span {
        Span { start: self.start, end: self.end + 2 }
    }
}

/// Walks a growing buffer line by line.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines {
    /// Where the unfinished line begins: everything before it has been handed out.
    pub(super) start: usize,
    /// The unfinished line's bytes up to here hold no LF.
    searched: usize,
    /// Lines handed out.
    count: usize,
}

impl Lines {
    /// The next whole line without its CRLF, or `None` while its end has not come. It may hold control bytes,
    /// CR among them, until [`Lines::check_controls`] has been asked.
    pub(super) fn next_line(&mut self, bytes: &[u8]) -> Result<Option<Span>, Fault> {
        let unseen = bytes.get(self.searched..).unwrap_or_default();
        match memchr::memchr(b'\n', unseen) {
            Some(at) => self.end_line(bytes, self.searched + at).map(Some),
            None => {
                self.searched = bytes.len();
                Ok(None)
            }
        }
    }

    fn end_line(&mut self, bytes: &[u8], newline: usize) -> Result<Span, Fault> {
        if newline == self.start || bytes[newline - 1] != b'\r' {
            return Err("a line ends with a bare LF");
        }
        let line = Span { start: self.start, end: newline - 1 };
        self.start = newline + 1;
        self.searched = self.start;
        self.count += 1;
        Ok(line)
    }

    /// Refuses what was handed out if it holds a control byte other than HTAB and the CRLFs of its lines.
    pub(super) fn check_controls(&self, bytes: &[u8]) -> Result<(), Fault> {
        match controls(&bytes[..self.start]) == 2 * self.count {
            true => Ok(()),
            false => Err("a control byte, or a CR without LF"),
        }
    }
}

/// How many bytes no field value may hold (RFC 9110, section 5.5: CTL but HTAB). In blocks whose count fits a
/// byte, which is what the compiler needs to see to take many bytes at a step.
fn controls(bytes: &[u8]) -> usize {
    let in_block = |block: &[u8]| block.iter().map(|&byte| u8::from(is_control(byte))).sum::<u8>();
    bytes.chunks(BLOCK).map(|block| usize::from(in_block(block))).sum()
}

const BLOCK: usize = 192;

/// CTL but HTAB.
pub(super) const fn is_control(byte: u8) -> bool {
    (byte < 0x20 && byte != b'\t') || byte == 0x7f
}

/// One field line (RFC 9112, section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field<'b> {
    /// A token, as sent.
    pub(super) name: &'b [u8],
    /// Without the white space around it.
    pub(super) value: &'b [u8],
}

impl<'b> Field<'b> {
    /// Takes a line apart that [`Lines`] has handed out.
    pub(super) fn parse(line: &'b [u8]) -> Result<Field<'b>, Fault> {
        let end = line.iter().position(|&byte| !is_tchar(byte)).unwrap_or(line.len());
        match line.get(end) {
            Some(b':') if end > 0 => Ok(Field { name: &line[..end], value: trim(&line[end + 1..]) }),
            stop => Err(name_fault(end, stop.copied())),
        }
    }
}

fn name_fault(length: usize, stop: Option<u8>) -> Fault {
    match (length, stop) {
        (0, Some(b' ' | b'\t')) => "a folded header line",
        (0, Some(b':')) => "a header line without a name",
        (_, Some(b' ' | b'\t')) => "white space before a header's colon",
        (_, None) => "a header line without a colon",
        _ => "an illegal byte in a header name",
    }
}

/// A value without the optional white space around it (RFC 9110, section 5.6.3: SP and HTAB only).
pub(super) fn trim(mut value: &[u8]) -> &[u8] {
    if let [b' ', inner @ ..] = value
        && let [b'!'..=b'~', .., b'!'..=b'~'] = inner
    {
        return inner; // nearly every value
    }
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// The members of a comma-separated list; empty ones are skipped (RFC 9110, section 5.6.1.2).
pub(super) fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim).filter(|member| !member.is_empty())
}

/// Whether this is a token (RFC 9110, section 5.6.2).
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_tchar(byte))
}

/// Whether this byte may stand in a token.
pub(super) const fn is_tchar(byte: u8) -> bool {
    TCHAR[byte as usize]
}

const TCHAR: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let marks = b"!#$%&'*+-.^_`|~";
    let mut at = 0;
    while at < marks.len() {
        table[marks[at] as usize] = true;
        at += 1;
    }
    table
};
