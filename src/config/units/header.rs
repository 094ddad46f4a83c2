//! Header names, header values and methods: the words of HTTP itself.

use http::header;

use crate::config::suggest;
use crate::config::units::{Misfit, Unit, as_text};

/// The name of a header field. Case makes no difference, but is kept for messages.
#[derive(Clone, Debug)]
pub struct HeaderName {
    /// What it means.
    pub name: header::HeaderName,
    /// How it was written.
    pub written: String,
}

impl Unit for HeaderName {
    const FORMAT: &'static str = "tetap-header-name";
    const EXPECTED: &'static str = "a header name such as X-Team";
    const PATTERN: &'static str = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";

    fn read(text: &str) -> Result<HeaderName, Misfit> {
        match header::HeaderName::from_bytes(text.as_bytes()) {
            Ok(name) => Ok(HeaderName { name, written: text.to_owned() }),
            Err(_) => Err(guess_name(text)),
        }
    }

    fn write(&self) -> String {
        self.written.clone()
    }
}

as_text!(HeaderName);

fn guess_name(text: &str) -> Misfit {
    let bare = text.trim().trim_end_matches(':').replace(' ', "-");
    match header::HeaderName::from_bytes(bare.as_bytes()) {
        Ok(_) => Misfit::plain().suggest(bare),
        Err(_) => Misfit::plain(),
    }
}

/// The value of a header field: one line of visible ASCII.
///
/// RFC 9110, section 5.5, allows more for the sake of the past, and forbids what would let a value end its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderValue(pub header::HeaderValue);

impl Unit for HeaderValue {
    const FORMAT: &'static str = "tetap-header-value";
    const EXPECTED: &'static str = "a header value: one line of ASCII, without spaces around it";
    const PATTERN: &'static str = "[^\\r\\n]*";

    fn read(text: &str) -> Result<HeaderValue, Misfit> {
        if text != text.trim() || !text.is_ascii() {
            return Err(Misfit::plain());
        }
        header::HeaderValue::from_str(text).map(HeaderValue).map_err(|_| Misfit::plain())
    }

    fn write(&self) -> String {
        self.0.to_str().unwrap_or_default().to_owned()
    }
}

as_text!(HeaderValue);

/// A request method. Case matters (RFC 9110, section 9.1), and all registered ones are in upper case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Method(pub http::Method);

const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

impl Unit for Method {
    const FORMAT: &'static str = "tetap-method";
    const EXPECTED: &'static str = "a method such as GET or POST, in upper case";
    const PATTERN: &'static str = "[A-Z][A-Z0-9_-]*";

    fn read(text: &str) -> Result<Method, Misfit> {
        if text == "CONNECT" || text == "TRACE" {
            return Err(Misfit::because("always answered by the proxy itself, with 405"));
        }
        let inside = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
        let looks = text.starts_with(|c: char| c.is_ascii_uppercase()) && text.bytes().all(inside);
        let method = http::Method::from_bytes(text.as_bytes()).ok().filter(|_| looks);
        method.map(Method).ok_or_else(|| guess_method(text))
    }

    fn write(&self) -> String {
        self.0.to_string()
    }
}

as_text!(Method);

fn guess_method(text: &str) -> Misfit {
    match suggest::nearest(text, KNOWN) {
        Some(method) => Misfit::plain().suggest(method),
        None => Misfit::plain(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::units::assert_reads;

    #[test]
    fn header_names() {
        assert_reads::<HeaderName>(
            &[("X-Team", "X-Team"), ("etag", "etag")],
            &["", "X Team", "X:", "ä", "a\n"],
        );
        assert_eq!(guess_name("X Team:").suggestion.as_deref(), Some("X-Team"));
    }

    #[test]
    fn header_values_cannot_end_their_line() {
        let good = [("a b", "a b"), ("", ""), ("a\tb", "a\tb")];
        assert_reads::<HeaderValue>(&good[..2], &["a\r\nX: y", "a\nb", "a\0", " a", "a ", "ä"]);
    }

    #[test]
    fn methods() {
        assert_reads::<Method>(
            &[("GET", "GET"), ("M-SEARCH", "M-SEARCH")],
            &["", "get", "G T", "CONNECT", "TRACE"],
        );
        assert_eq!(guess_method("get").suggestion.as_deref(), Some("GET"));
        assert_eq!(guess_method("DELTE").suggestion.as_deref(), Some("DELETE"));
    }
}
