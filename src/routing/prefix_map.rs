//! A map of path prefixes, asked for those that a path lies under.
//!
//! Prefixes end on segment borders, so a path lies under as many of them as it has segments, whatever their number:
//! that many lookups, without an allocation.

use std::collections::HashMap;
use std::iter;

/// Values by prefix.
#[derive(Debug)]
pub(super) struct PrefixMap<V> {
    /// Without a slash at their end: the root is the empty text.
    by_prefix: HashMap<Box<str>, V>,
    /// Bytes of the longest prefix. What is longer needs no lookup, so that a path of a thousand segments costs no
    /// more than the deepest prefix.
    longest: usize,
}

impl<V: Default> PrefixMap<V> {
    /// The value of a prefix. A slash at its end says nothing.
    pub fn entry(&mut self, prefix: &str) -> &mut V {
        let prefix = trim(prefix);
        self.longest = self.longest.max(prefix.len());
        self.by_prefix.entry(prefix.into()).or_default()
    }
}

impl<V> PrefixMap<V> {
    /// The values of all prefixes that a path is or lies below, the longest prefix first.
    pub fn above(&self, path: &str) -> impl Iterator<Item = &V> {
        ancestors(path, self.longest).filter_map(|prefix| self.by_prefix.get(prefix))
    }

    /// All values, in no order.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.by_prefix.values()
    }

    /// All values, in no order.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.by_prefix.values_mut()
    }
}

impl<V> Default for PrefixMap<V> {
    fn default() -> PrefixMap<V> {
        PrefixMap { by_prefix: HashMap::new(), longest: 0 }
    }
}

/// The prefixes of a path on segment borders that have at most `longest` bytes, the longest first, each without a
/// slash at its end: `/a/b`, `/a` and the empty text for `/a/b` as for `/a/b/`.
fn ancestors(path: &str, longest: usize) -> impl Iterator<Item = &str> {
    let whole = trim(path);
    let first = if whole.len() <= longest { Some(whole) } else { cut(whole, longest) };
    iter::successors(first, |prefix| memchr::memrchr(b'/', prefix.as_bytes()).map(|border| &prefix[..border]))
}

/// The longest prefix on a segment border with at most `longest` bytes of a path that has more.
fn cut(path: &str, longest: usize) -> Option<&str> {
    let border = path.as_bytes()[..=longest].iter().rposition(|&byte| byte == b'/')?;
    Some(&path[..border])
}

fn trim(prefix: &str) -> &str {
    prefix.strip_suffix('/').unwrap_or(prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ancestors_end_on_segment_borders() {
        let cases: &[(&str, usize, &[&str])] = &[
            ("/", 99, &[""]),
            ("/a", 99, &["/a", ""]),
            ("/a/", 99, &["/a", ""]),
            ("/a/bc/d", 99, &["/a/bc/d", "/a/bc", "/a", ""]),
            ("/a/bc/d", 7, &["/a/bc/d", "/a/bc", "/a", ""]),
            ("/a/bc/d", 6, &["/a/bc", "/a", ""]),
            ("/a/bc/d", 5, &["/a/bc", "/a", ""]),
            ("/a/bc/d", 4, &["/a", ""]),
            ("/a/bc/d", 0, &[""]),
            ("", 9, &[""]),
            ("*", 0, &[]),
        ];
        for (path, longest, expected) in cases {
            assert_eq!(ancestors(path, *longest).collect::<Vec<_>>(), *expected, "{path} {longest}");
        }
    }
}
