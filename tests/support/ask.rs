//! What is asked for, and what must come back.
//!
//! A test that looks only at statuses takes half an answer for an answer, and one that looks only at lengths takes the
//! second half of somebody else's. So every byte of every answer is foreseeable: its lines name the server that wrote
//! them, the request that they belong to, and their own place. The client builds the answer that it must get and compares.

use super::message::Head;

/// Whether it may be sent twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Yes.
    Get,
    /// No: whoever gets it twice has done it twice.
    Post,
}

/// How the answer says where it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `Content-Length`.
    Length,
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// With its connection.
    UntilClose,
}

const SHAPES: [(Shape, &str); 3] =
    [(Shape::Length, "length"), (Shape::Chunked, "chunked"), (Shape::UntilClose, "close")];

/// One request, told apart from all others by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// GET or POST.
    pub kind: Kind,
    /// Never given to another request of the test.
    pub id: u64,
    /// How many there must be in the answer's body.
    pub bytes: usize,
    /// How they are to be sent.
    pub shape: Shape,
}

impl Ask {
    /// The method as it is written.
    pub fn method(&self) -> &'static str {
        match self.kind {
            Kind::Get => "GET",
            Kind::Post => "POST",
        }
    }

    /// Everything about it but the method.
    pub fn target(&self) -> String {
        let (_, shape) = SHAPES.iter().find(|(shape, _)| *shape == self.shape).unwrap();
        format!("/items/{}?bytes={}&shape={shape}", self.id, self.bytes)
    }

    /// The whole request; a POST has a body that is its own.
    pub fn request(&self) -> String {
        let (method, target, body) = (self.method(), self.target(), self.body());
        let length = match self.kind {
            Kind::Get => String::new(),
            Kind::Post => format!("Content-Length: {}\r\n", body.len()),
        };
        format!("{method} {target} HTTP/1.1\r\nHost: test\r\n{length}\r\n{body}")
    }

    fn body(&self) -> String {
        match self.kind {
            Kind::Get => String::new(),
            Kind::Post => format!("pay for item {}", self.id),
        }
    }

    /// The request that came with this head and body; none when they are not such a one, whole and unchanged.
    pub fn received(head: &Head, body: &[u8]) -> Option<Ask> {
        let mut words = head.line.split(' ');
        let kind = match words.next()? {
            "GET" => Kind::Get,
            "POST" => Kind::Post,
            _ => return None,
        };
        let (path, query) = words.next()?.split_once('?')?;
        let id = path.strip_prefix("/items/")?.parse().ok()?;
        let ask = Ask { kind, id, bytes: value(query, "bytes=")?.parse().ok()?, shape: shape(query)? };
        (ask.body().as_bytes() == body).then_some(ask)
    }

    /// The body that this server must answer with.
    pub fn answer_of(&self, server: &str) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.bytes + 64);
        while body.len() < self.bytes {
            let line = format!("{server} {} {}\n", self.id, body.len());
            body.extend_from_slice(line.as_bytes());
        }
        body.truncate(self.bytes);
        body
    }
}

fn shape(query: &str) -> Option<Shape> {
    let word = value(query, "shape=")?;
    SHAPES.iter().find(|(_, written)| *written == word).map(|(shape, _)| *shape)
}

fn value<'a>(query: &'a str, key: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| pair.strip_prefix(key))
}
