//! What listeners, upstreams and routes are called.
//!
//! Names stand in metrics, log lines and messages; one that needs quoting somewhere would be a trap everywhere.

use std::fmt;
use std::sync::Arc;

use crate::config::units::{Misfit, Unit, as_text};

/// 1 to 64 letters, digits, `.`, `_` and `-`, beginning with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<str>);

impl Name {
    /// The name, shared.
    pub fn shared(&self) -> Arc<str> {
        self.0.clone()
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Unit for Name {
    const FORMAT: &'static str = "tetap-name";
    const EXPECTED: &'static str = "a name of at most 64 letters, digits, dots, hyphens and underscores";
    const PATTERN: &'static str = "[A-Za-z0-9][A-Za-z0-9._-]{0,63}";

    fn read(text: &str) -> Result<Name, Misfit> {
        let inside = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let starts = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        match starts && text.len() <= 64 && text.bytes().all(inside) {
            true => Ok(Name(text.into())),
            false => Err(Misfit::plain()),
        }
    }

    fn write(&self) -> String {
        self.0.to_string()
    }
}

as_text!(Name);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::units::assert_reads;

    #[test]
    fn names() {
        let longest = "x".repeat(64);
        let too_long = "x".repeat(65);
        assert_reads::<Name>(
            &[("orders", "orders"), ("web-1.b_c", "web-1.b_c"), ("7", "7"), (&longest, &longest)],
            &["", "-a", ".a", "a b", "a\"", "ä", "a/b", &too_long],
        );
    }
}
