//! Paths described by a regular expression.
//!
//! `/users/[0-9]+` is meant for `/users/42`, not for `/admin/users/42/keys`, yet that is what a search finds. And the
//! leftmost match that a search gives is not always the longest: of `/ab`, the pattern `/a|/ab` finds `/a`. So the
//! pattern is anchored when it is made, and matches a whole path or not at all.

use regex::{Error, Regex, RegexBuilder};
use regex_syntax::hir::literal::Extractor;

/// Most bytes of one compiled pattern; the `regex` crate's own bound is 10 MiB. One of ordinary size takes some
/// kilobytes, `[a-z]{1,1000}` some hundred thousand.
const COMPILED_BYTES: usize = 1024 * 1024;

/// A pattern that matches whole paths, in the syntax of the `regex` crate. Time is linear in the path, whatever the
/// pattern.
#[derive(Clone, Debug)]
pub struct PathRegex {
    text: String,
    start: String,
    whole: Regex,
}

impl PathRegex {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// When it is not a pattern, or compiled it is larger than a mebibyte.
    pub fn new(text: &str) -> Result<PathRegex, Error> {
        let start = literal_start(text)?;
        let whole = RegexBuilder::new(&format!("^(?:{text})$")).size_limit(COMPILED_BYTES).build()?;
        Ok(PathRegex { text: text.to_owned(), start, whole })
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the whole path matches.
    pub fn matches(&self, path: &str) -> bool {
        self.whole.is_match(path)
    }

    /// What every path that matches begins with; perhaps nothing.
    pub(super) fn start(&self) -> &str {
        &self.start
    }

    /// Whether the pattern is one of the usual ways to write "every path". No proof: others may match everything too.
    pub(super) fn takes_everything(&self) -> bool {
        let open = ungroup(self.text.trim_start_matches('^').trim_end_matches('$'));
        match open.strip_prefix('/').map(ungroup) {
            Some(below_root) => matches!(below_root, ".*" | ".*?"),
            None => matches!(open, ".*" | ".*?" | ".+" | ".+?"),
        }
    }
}

/// Two are the same when they are written in the same way.
impl PartialEq for PathRegex {
    fn eq(&self, other: &PathRegex) -> bool {
        self.text == other.text
    }
}

/// What stands in the one pair of parentheses around it all, if there is one.
fn ungroup(text: &str) -> &str {
    let group = text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
    group.map_or(text, |group| group.strip_prefix("?:").unwrap_or(group))
}

/// Parses the pattern alone, also because `/a)|(?:/b` is none, and must not become one by what is put around it.
fn literal_start(text: &str) -> Result<String, Error> {
    let pattern = regex_syntax::parse(text).map_err(|error| Error::Syntax(error.to_string()))?;
    let starts = Extractor::new().extract(&pattern);
    let common = starts.longest_common_prefix().and_then(|bytes| std::str::from_utf8(bytes).ok());
    Ok(common.unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn a_pattern_matches_the_whole_path_or_not_at_all() {
        let cases = [
            ("/users/[0-9]+", "/users/42", true),
            ("/users/[0-9]+", "/users/42/keys", false),
            ("/users/[0-9]+", "/admin/users/42", false),
            ("/a|/ab", "/ab", true),
            ("/a|/b", "/b", true),
            ("/a|/b", "/a/b", false),
            ("^/a$", "/a", true),
            ("(?i)/A", "/a", true),
            ("/a(/.*)?", "/a", true),
        ];
        for (text, path, expected) in cases {
            assert_eq!(PathRegex::new(text).unwrap().matches(path), expected, "{text} on {path}");
        }
    }

    #[test]
    fn every_match_begins_with_the_literal_start() {
        let cases = [
            ("/users/[0-9]+", "/users/"),
            ("^/users/[0-9]+", "/users/"),
            ("/users(/me)?", "/users"),
            ("/users?", "/user"),
            ("/users*", "/user"),
            ("/a|/b", "/"),
            ("/x(?:/a|/b)", "/x/"),
            ("/v1\\.0/.*", "/v1.0/"),
            ("(?i)/a", "/"),
            (".*", ""),
            ("[a&&b]", ""),
        ];
        for (text, start) in cases {
            assert_eq!(PathRegex::new(text).unwrap().start(), start, "{text}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in ["(", "/a)|(?:/b", "[", "a{2,1}", "(?<name>", "\\", "(?=a)", "(a{1000}){1000}"] {
            assert!(PathRegex::new(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_usual_ways_to_say_everything_are_known() {
        let everything = [".*", "/.*", "^/.*$", ".+", "(.*)", "/(.*)", "(?:/.*)", "/.*?", "(/(.*))"];
        let less = ["/.+", "(/.+)", "/(/.*)", "/a.*", "/[a-z]*", "", "/", "(.*)/(.*)", "/.*/", ".", "\\.*"];
        for (texts, expected) in [(&everything[..], true), (&less, false)] {
            for text in texts {
                assert_eq!(PathRegex::new(text).unwrap().takes_everything(), expected, "{text}");
            }
        }
    }
}
