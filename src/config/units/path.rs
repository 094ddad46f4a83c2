//! Paths that are matched, or put in place of what was matched.
//!
//! Whether a path is in the normal form that routing compares is a question of the domain, so it is asked later, by the
//! plan; here it only has to look like a path.

use std::fmt;

use crate::config::units::{Misfit, Unit, as_text};

/// Text that begins with `/`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Path(String);

impl Path {
    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Unit for Path {
    const FORMAT: &'static str = "tetap-path";
    const EXPECTED: &'static str = "a path that begins with /";
    const PATTERN: &'static str = "/[^?#]*";

    fn read(text: &str) -> Result<Path, Misfit> {
        if text.contains('?') {
            return Err(Misfit::because("the query is no part of the path"));
        }
        if text.contains('#') {
            return Err(Misfit::because("what follows a # is never sent"));
        }
        if text.ends_with('*') && text.starts_with('/') {
            return Err(Misfit::because("a prefix needs no *").suggest(text.trim_end_matches('*')));
        }
        match text.starts_with('/') {
            true => Ok(Path(text.to_owned())),
            false => Err(Misfit::plain().suggest(format!("/{}", text.trim_start()))),
        }
    }

    fn write(&self) -> String {
        self.0.clone()
    }
}

as_text!(Path);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::units::assert_reads;

    #[test]
    fn paths() {
        assert_reads::<Path>(&[("/", "/"), ("/a/b", "/a/b")], &["", "a", "/a?b=c", "/a#b", "/a/*"]);
    }
}
