//! The rules of one host.
//!
//! A path meets at most one entry of a map of exact paths, and one per segment of a map of prefixes: what makes
//! looking them up independent of how many there are. Regexes have no such order and are tried one by one.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::iter;

use super::{Conditions, PathPattern, PathRegex, RouteId};

/// A rule without host and path: those say where it is kept.
#[derive(Debug)]
pub(super) struct Candidate {
    /// Its rule's place in the list of rules.
    pub place: usize,
    /// What else must hold.
    pub conditions: Conditions,
    /// Leads here.
    pub route: RouteId,
}

impl Candidate {
    /// Its place among candidates for the same host and path, the smallest first.
    fn rank(&self) -> impl Ord + use<> {
        (Reverse(self.conditions.count()), Reverse(self.conditions.name_head()), self.place)
    }
}

/// All candidates of one host, by path. Each list is sorted by precedence.
#[derive(Debug, Default)]
pub(super) struct Site {
    pub exact: HashMap<String, Vec<Candidate>>,
    pub regexes: Vec<(PathRegex, Candidate)>,
    /// Without a slash at their end: the root is the empty text.
    pub prefixes: HashMap<String, Vec<Candidate>>,
    /// Bytes of the longest prefix. What is longer needs no lookup, so that a path of a thousand segments costs no
    /// more than the deepest rule.
    longest_prefix: usize,
}

impl Site {
    /// Takes in one rule. [`Site::sort`] is due afterwards.
    pub fn insert(&mut self, path: PathPattern, candidate: Candidate) {
        match path {
            PathPattern::Exact(path) => self.exact.entry(path).or_default().push(candidate),
            PathPattern::Regex(pattern) => self.regexes.push((pattern, candidate)),
            PathPattern::Prefix(prefix) => self.insert_prefix(trim(&prefix), candidate),
        }
    }

    fn insert_prefix(&mut self, prefix: &str, candidate: Candidate) {
        self.longest_prefix = self.longest_prefix.max(prefix.len());
        self.prefixes.entry(prefix.to_owned()).or_default().push(candidate);
    }

    /// Brings every list into the order of precedence.
    pub fn sort(&mut self) {
        for list in self.exact.values_mut().chain(self.prefixes.values_mut()) {
            list.sort_by_key(Candidate::rank);
        }
        self.regexes.sort_by_key(|(pattern, candidate)| {
            let length = pattern.as_str().len();
            (Reverse(candidate.conditions.count()), Reverse(length), candidate.rank())
        });
    }

    /// Every candidate for a path, in the order of precedence.
    pub fn candidates(&self, path: &str) -> impl Iterator<Item = &Candidate> {
        let exact = self.exact.get(path).into_iter().flatten();
        let regexes = self.regexes.iter().filter(move |(pattern, _)| pattern.matches(path));
        let prefixes = ancestors(path, self.longest_prefix).filter_map(|prefix| self.prefixes.get(prefix));
        exact.chain(regexes.map(|(_, candidate)| candidate)).chain(prefixes.flatten())
    }
}

/// The prefixes of a path on segment borders that have at most `longest` bytes, the longest first, each without a
/// slash at its end: `/a/b`, `/a` and the empty text for `/a/b` as for `/a/b/`.
fn ancestors(path: &str, longest: usize) -> impl Iterator<Item = &str> {
    let whole = trim(path);
    let first = if whole.len() <= longest { Some(whole) } else { cut(whole, longest) };
    iter::successors(first, |prefix| prefix.rfind('/').map(|border| &prefix[..border]))
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
