//! Where a redirect leads.

use http::{HeaderValue, Uri};

use crate::config::units::{Misfit, Unit, as_text};

/// An absolute `http` or `https` URL, or an absolute path, ready to stand in `Location` (RFC 9110, section 10.2.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location(HeaderValue);

impl Location {
    /// The header's value.
    pub fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl Unit for Location {
    const FORMAT: &'static str = "tetap-location";
    const EXPECTED: &'static str =
        "an absolute URL such as https://example.com/new, or a path that begins with /";
    const PATTERN: &'static str = "(/|https?://).*";

    fn read(text: &str) -> Result<Location, Misfit> {
        // `//host/path` looks like a path and leads to another host.
        let is_path = text.starts_with('/') && !text.starts_with("//");
        if !is_path && !is_url(text) {
            return Err(guess(text));
        }
        if !text.bytes().all(|byte| (0x21..=0x7e).contains(&byte) && !b"\"<>\\^`{|}".contains(&byte)) {
            return Err(Misfit::because("a byte in it has to be percent-encoded"));
        }
        HeaderValue::from_str(text).map(Location).map_err(|_| Misfit::plain())
    }

    fn write(&self) -> String {
        self.0.to_str().unwrap_or_default().to_owned()
    }
}

as_text!(Location);

fn is_url(text: &str) -> bool {
    let Ok(uri) = text.split('#').next().unwrap_or_default().parse::<Uri>() else { return false };
    matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
}

fn guess(text: &str) -> Misfit {
    let meant = format!("https://{}", text.trim_start_matches("//"));
    match text.contains('.') && !text.contains("://") && is_url(&meant) {
        true => Misfit::plain().suggest(meant),
        false => Misfit::plain(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::units::assert_reads;

    #[test]
    fn locations() {
        assert_reads::<Location>(
            &[
                ("/new", "/new"),
                ("https://example.com/new?a=b#c", "https://example.com/new?a=b#c"),
                ("http://[::1]:80", "http://[::1]:80"),
            ],
            &[
                "",
                "new",
                "//example.com/",
                "ftp://a/",
                "https://",
                "/a b",
                "/a\r\nX: y",
                "/ä",
                "javascript:alert(1)",
            ],
        );
        assert_eq!(guess("example.com/new").suggestion.as_deref(), Some("https://example.com/new"));
    }
}
