//! The path that an upstream sees in place of the one that the client asked for.
//!
//! A rewrite is a second way to reach a path that routing did not see: `/a/.$1` makes a dot segment out of a harmless
//! group. So it works on the normal form, and what comes out is brought into the normal form again.

use std::borrow::Cow;
use std::sync::Arc;

use regex::Regex;

use crate::hygiene::path::{PathError, normalize};

/// A change of path. The query is never touched.
#[derive(Clone, Debug, PartialEq)]
pub enum Rewrite {
    /// The matched prefix is replaced.
    Prefix {
        /// What the route matched, without a slash at its end; empty for the root.
        matched: Arc<str>,
        /// What stands there instead.
        with: Arc<str>,
    },
    /// Every match of a pattern is replaced.
    Regex {
        /// On the path alone.
        pattern: Expression,
        /// The replacement; `$1` and `${name}` stand for groups.
        with: Arc<str>,
    },
}

/// A regular expression for text. Two are the same when they are written in the same way.
#[derive(Clone, Debug)]
pub struct Expression(pub Regex);

impl PartialEq for Expression {
    fn eq(&self, other: &Expression) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Rewrite {
    /// The path to forward for a path in normal form, again in normal form.
    ///
    /// # Errors
    ///
    /// When the result has no normal form: a pattern that cuts an escape in two can do that.
    pub fn apply(&self, path: &str) -> Result<String, PathError> {
        let changed = match self {
            Rewrite::Prefix { matched, with } => exchange(path, matched, with),
            Rewrite::Regex { pattern, with } => rooted(pattern.0.replace_all(path, &**with)),
        };
        normalize(&changed).map(Cow::into_owned)
    }
}

/// As in the Kubernetes Gateway API (`ReplacePrefixMatch`): between prefix and rest there is exactly one slash.
fn exchange(path: &str, matched: &str, with: &str) -> String {
    match path.strip_prefix(matched) {
        Some("") => with.to_owned(),
        Some(rest) => format!("{}{rest}", with.trim_end_matches('/')),
        None => path.to_owned(),
    }
}

fn rooted(path: Cow<'_, str>) -> String {
    if path.starts_with('/') { path.into_owned() } else { format!("/{path}") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn prefix(matched: &str, with: &str, path: &str) -> String {
        Rewrite::Prefix { matched: matched.into(), with: with.into() }.apply(path).unwrap()
    }

    #[test]
    fn a_prefix_is_exchanged_on_a_segment_border() {
        for (matched, with, path, result) in [
            ("/orders", "/", "/orders/7", "/7"),
            ("/orders", "/", "/orders/", "/"),
            ("/orders", "/", "/orders", "/"),
            ("/orders", "/v2", "/orders", "/v2"),
            ("/orders", "/v2", "/orders/7", "/v2/7"),
            ("/orders", "/v2/", "/orders/7", "/v2/7"),
            ("/orders", "/v2/", "/orders", "/v2/"),
            ("", "/v2", "/", "/v2/"),
            ("", "/v2", "/7", "/v2/7"),
        ] {
            assert_eq!(prefix(matched, with, path), result, "{matched} by {with} in {path}");
        }
    }

    fn pattern(pattern: &str, with: &str, path: &str) -> Result<String, PathError> {
        Rewrite::Regex { pattern: Expression(Regex::new(pattern).unwrap()), with: with.into() }.apply(path)
    }

    #[test]
    fn every_match_is_replaced_and_the_result_is_normal_again() {
        for (expression, with, path, result) in [
            ("^/u/([0-9]+)$", "/users/$1", "/u/7", "/users/7"),
            ("-", "_", "/a-b-c", "/a_b_c"),
            ("^/(?<name>.*)$", "/x/${name}", "/a", "/x/a"),
            ("^/x", "", "/x", "/"),
            ("^/x/", "", "/x/a", "/a"),
            ("^/a", "/b/..", "/a/c", "/c"),
            ("x", ".", "/a/xx/b", "/b"),
        ] {
            assert_eq!(pattern(expression, with, path).as_deref(), Ok(result), "{expression} in {path}");
        }
    }

    #[test]
    fn half_an_escape_is_not_forwarded() {
        assert_eq!(pattern("20", "", "/a%20b"), Err(PathError::BadEscape));
    }
}
