//! The rules of one host.
//!
//! A path meets at most one entry of a map of exact paths, and one per segment of a map of prefixes: what makes
//! looking them up independent of how many there are. Regexes have no such order, but most begin with a literal: they
//! are kept under the prefix that it gives, and only those above the path are tried, one by one.
//!
//! A large table does not fit into a processor's cache, and then time is the number of places in memory that are
//! looked at. So the one candidate that most paths have stands in the map itself, and conditions elsewhere, since few
//! have any.

use std::cmp::Reverse;
use std::collections::HashMap;

use smallvec::SmallVec;

use super::prefix_map::PrefixMap;
use super::{Conditions, PathPattern, PathRegex, RouteId};

/// A rule without host and path: those say where it is kept.
#[derive(Debug)]
pub(super) struct Candidate {
    /// Its rule's place in the list of rules.
    pub place: usize,
    /// Leads here.
    pub route: RouteId,
    conditions: Option<Box<Conditions>>,
}

impl Candidate {
    pub fn new(place: usize, conditions: Conditions, route: RouteId) -> Candidate {
        let conditions = (conditions.count() > 0).then(|| Box::new(conditions));
        Candidate { place, route, conditions }
    }

    /// What else must hold.
    pub fn conditions(&self) -> &Conditions {
        const NONE: &Conditions = &Conditions { methods: Vec::new(), headers: Vec::new(), query: Vec::new() };
        self.conditions.as_deref().unwrap_or(NONE)
    }

    /// Its place among candidates for the same host and path, the smallest first.
    fn rank(&self) -> impl Ord + use<> {
        (Reverse(self.conditions().count()), Reverse(self.conditions().name_head()), self.place)
    }
}

/// The candidates of one path, by precedence.
pub(super) type Candidates = SmallVec<[Candidate; 1]>;

/// All candidates of one host, by path.
#[derive(Debug, Default)]
pub(super) struct Site {
    pub exact: HashMap<Box<str>, Candidates>,
    pub prefixes: PrefixMap<Candidates>,
    /// By precedence.
    pub regexes: Vec<(PathRegex, Candidate)>,
    /// Places in `regexes`, by the last segment border in the literal that a regex begins with.
    regexes_below: PrefixMap<Vec<usize>>,
}

impl Site {
    /// Takes in one rule. [`Site::sort`] is due afterwards.
    pub fn insert(&mut self, path: PathPattern, candidate: Candidate) {
        match path {
            PathPattern::Exact(path) => self.exact.entry(path.into()).or_default().push(candidate),
            PathPattern::Prefix(prefix) => self.prefixes.entry(&prefix).push(candidate),
            PathPattern::Regex(pattern) => self.regexes.push((pattern, candidate)),
        }
    }

    /// Brings everything into the order of precedence.
    pub fn sort(&mut self) {
        for list in self.exact.values_mut().chain(self.prefixes.values_mut()) {
            list.sort_by_key(|candidate| candidate.rank());
        }
        self.regexes.sort_by_key(|(pattern, candidate)| {
            let length = pattern.as_str().len();
            (Reverse(candidate.conditions().count()), Reverse(length), candidate.rank())
        });
        for (place, (pattern, _)) in self.regexes.iter().enumerate() {
            let border = pattern.start().rfind('/').unwrap_or(0);
            self.regexes_below.entry(&pattern.start()[..border]).push(place);
        }
    }

    /// Every candidate for a path, in the order of precedence. Lazy: regexes wait until no exact path will do.
    pub fn candidates<'a>(&'a self, path: &'a str) -> impl Iterator<Item = &'a Candidate> {
        let exact = self.exact.get(path).into_iter().flatten();
        let regexes = (!self.regexes.is_empty()).then_some(path); // most hosts have none
        let regexes = regexes.into_iter().flat_map(|path| self.regexes_for(path));
        let prefixes = self.prefixes.above(path).flatten();
        exact.chain(regexes).chain(prefixes)
    }

    fn regexes_for<'a>(&'a self, path: &'a str) -> impl Iterator<Item = &'a Candidate> {
        let mut places: SmallVec<[usize; 16]> = self.regexes_below.above(path).flatten().copied().collect();
        places.sort_unstable();
        let regexes = places.into_iter().map(|place| &self.regexes[place]);
        regexes.filter(|(pattern, _)| pattern.matches(path)).map(|(_, candidate)| candidate)
    }
}
