//! HTTP/1 messages as the two ends of a test see them: parsed plainly, mended never.

use std::io::{self, ErrorKind, Read, Write};

/// How a message's body ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// As its framing says.
    Whole,
    /// The peer closed (FIN) before it was whole.
    Closed,
    /// The peer reset (RST) before it was whole.
    Reset,
    /// Nothing came any more, but the connection stood.
    Late,
    /// The framing itself is broken.
    Garbled(String),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> End {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => End::Late,
            ErrorKind::UnexpectedEof => End::Closed,
            _ => End::Reset,
        }
    }
}

/// A start line and its fields.
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// Without its line end.
    pub line: String,
    /// In order, names as sent.
    pub fields: Vec<(String, String)>,
}

impl Head {
    /// Parses a head without its final empty line. Panics when it has no form at all.
    pub fn parse(raw: &[u8]) -> Head {
        let text = String::from_utf8_lossy(raw);
        let mut lines = text.split("\r\n");
        let line = lines.next().unwrap_or_default().to_string();
        let fields = lines.filter(|line| !line.is_empty()).map(field).collect();
        Head { line, fields }
    }

    /// Every value of a field, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let named = self.fields.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// The value of a field that stands there once; none when it is absent, a panic when it is doubled.
    pub fn one(&self, name: &str) -> Option<&str> {
        let values = self.all(name);
        assert!(values.len() < 2, "{name} is doubled: {values:?}");
        values.first().copied()
    }

    /// Whether a comma-separated field has this member, in any case.
    pub fn lists(&self, name: &str, member: &str) -> bool {
        let values = self.all(name);
        values.iter().flat_map(|value| value.split(',')).any(|item| item.trim().eq_ignore_ascii_case(member))
    }
}

fn field(line: &str) -> (String, String) {
    let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("a field without a colon: {line:?}"));
    (name.to_string(), value.trim().to_string())
}

/// An answer as the client saw it.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Of the final answer.
    pub status: u16,
    /// Of the final answer.
    pub head: Head,
    /// The 1xx answers before it.
    pub interim: Vec<Head>,
    /// Chunks put together.
    pub body: Vec<u8>,
    /// How the body ended.
    pub end: End,
}

impl Answer {
    /// The body as text; panics when it is not whole.
    pub fn text(&self) -> String {
        assert_eq!(self.end, End::Whole, "{:?}", String::from_utf8_lossy(&self.body));
        String::from_utf8(self.body.clone()).unwrap()
    }

    /// The body as JSON; panics when it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.text()).unwrap_or_else(|error| panic!("{error} in {:?}", self.text()))
    }

    /// The `cause` of a problem document; empty when the answer is none.
    pub fn cause(&self) -> String {
        if self.head.one("content-type") != Some("application/problem+json") {
            return String::new();
        }
        self.json()["cause"].as_str().unwrap_or_default().to_string()
    }

    /// Status and cause, which is what most tests ask for.
    pub fn verdict(&self) -> (u16, String) {
        (self.status, self.cause())
    }
}

/// A request as an upstream saw it.
#[derive(Clone, Debug)]
pub struct Received {
    /// Request line and fields.
    pub head: Head,
    /// Chunks put together.
    pub body: Vec<u8>,
    /// How the body ended.
    pub end: End,
    /// Which connection of the upstream it came on, from 0.
    pub connection: usize,
}

impl Received {
    /// The request target.
    pub fn target(&self) -> &str {
        self.head.line.split(' ').nth(1).unwrap_or_default()
    }

    /// The method.
    pub fn method(&self) -> &str {
        self.head.line.split(' ').next().unwrap_or_default()
    }
}

/// How long a body is (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// None.
    Nothing,
    /// So many bytes.
    Length(usize),
    /// Chunks.
    Chunked,
    /// All until the connection closes.
    UntilClose,
    /// Nobody can say: a length that is no number, or more than one.
    Ambiguous,
}

impl Framing {
    /// Of a request.
    pub fn of_request(head: &Head) -> Framing {
        Self::written(head).unwrap_or(Framing::Nothing)
    }

    /// Of an answer.
    pub fn of_answer(head: &Head, status: u16, to_head: bool) -> Framing {
        if to_head || matches!(status, 100..=199 | 204 | 304) {
            return Framing::Nothing;
        }
        Self::written(head).unwrap_or(Framing::UntilClose)
    }

    fn written(head: &Head) -> Option<Framing> {
        if head.lists("transfer-encoding", "chunked") {
            return Some(Framing::Chunked);
        }
        match head.all("content-length").as_slice() {
            [] => None,
            [length] => Some(length.parse().map_or(Framing::Ambiguous, Framing::Length)),
            _ => Some(Framing::Ambiguous),
        }
    }
}

/// One end of a connection: a stream, and what was read ahead.
pub struct Wire<S> {
    /// The stream itself.
    pub stream: S,
    ahead: Vec<u8>,
}

impl<S: Read + Write> Wire<S> {
    /// Nothing read yet.
    pub fn new(stream: S) -> Self {
        Wire { stream, ahead: Vec::new() }
    }

    /// What has been read and not been asked for.
    pub fn ahead(&self) -> &[u8] {
        &self.ahead
    }

    /// Reads more; `UnexpectedEof` at the end.
    pub fn fill(&mut self) -> io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                self.ahead.extend_from_slice(&buffer[..count]);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => self.fill(), // stopped and continued
            Err(error) => Err(error),
        }
    }

    /// Reads until the mark and returns what stands before it.
    pub fn read_until(&mut self, mark: &[u8]) -> io::Result<Vec<u8>> {
        let mut searched = 0;
        loop {
            if let Some(found) = find(&self.ahead[searched..], mark) {
                let mut line = self.take(searched + found + mark.len());
                line.truncate(line.len() - mark.len());
                return Ok(line);
            }
            searched = self.ahead.len().saturating_sub(mark.len());
            self.fill()?;
        }
    }

    /// Reads exactly so many bytes.
    pub fn read_exact(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.ahead.len() < count {
            self.fill()?;
        }
        Ok(self.take(count))
    }

    /// Reads start line and fields.
    pub fn read_head(&mut self) -> io::Result<Head> {
        Ok(Head::parse(&self.read_until(b"\r\n\r\n")?))
    }

    /// Reads a body; what came before it ended badly is kept.
    pub fn read_body(&mut self, framing: Framing) -> (Vec<u8>, End) {
        let mut body = Vec::new();
        let end = match framing {
            Framing::Nothing => End::Whole,
            Framing::Length(length) => {
                self.read_length(&mut body, length).map_or_else(End::from, |()| End::Whole)
            }
            Framing::Chunked => self.read_chunks(&mut body).unwrap_or_else(End::from),
            Framing::UntilClose => self.read_until_close(&mut body),
            Framing::Ambiguous => End::Garbled("no one length".into()),
        };
        (body, end)
    }

    fn read_length(&mut self, body: &mut Vec<u8>, length: usize) -> io::Result<()> {
        while body.len() < length {
            if self.ahead.is_empty() {
                self.fill()?;
            }
            let count = self.ahead.len().min(length - body.len());
            body.extend(self.take(count));
        }
        Ok(())
    }

    fn read_chunks(&mut self, body: &mut Vec<u8>) -> io::Result<End> {
        loop {
            let line = self.read_until(b"\r\n")?;
            let Some(size) = chunk_size(&line) else {
                return Ok(End::Garbled(format!("chunk header {:?}", String::from_utf8_lossy(&line))));
            };
            if size == 0 {
                return self.skip_trailers();
            }
            self.read_length(body, body.len() + size)?;
            if self.read_exact(2)? != b"\r\n" {
                return Ok(End::Garbled("no line end after a chunk".into()));
            }
        }
    }

    fn skip_trailers(&mut self) -> io::Result<End> {
        while !self.read_until(b"\r\n")?.is_empty() {}
        Ok(End::Whole)
    }

    fn read_until_close(&mut self, body: &mut Vec<u8>) -> End {
        loop {
            body.append(&mut self.ahead);
            match self.fill().map_err(End::from) {
                Ok(()) => continue,
                Err(End::Closed) => return End::Whole,
                Err(end) => return end,
            }
        }
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let rest = self.ahead.split_off(count);
        std::mem::replace(&mut self.ahead, rest)
    }
}

fn chunk_size(line: &[u8]) -> Option<usize> {
    let digits = line.split(|byte| *byte == b';').next()?;
    let digits = std::str::from_utf8(digits).ok()?.trim_end();
    usize::from_str_radix(digits, 16).ok()
}

/// Where `needle` first stands in `haystack`.
pub fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    memchr::memmem::find(haystack, needle)
}
