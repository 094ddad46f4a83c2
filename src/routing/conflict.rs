//! Rules between which the order of precedence does not decide, or decides once and for all.
//!
//! Comparing each rule with each other one takes hours for a hundred thousand rules. But only rules for the same host
//! and path can tie; of those, only rules with as many conditions; and of those, if all ask about the same
//! headers and parameters, only rules that want the same values, which is a hash lookup. Where rules of one host and
//! path ask about *different* headers or parameters, they are compared one by one.

use std::collections::{BTreeMap, HashMap};

use super::site::{Candidate, Site};
use super::{Conditions, Conflict};

/// All conflicts, in the order of the rules that they are found at.
pub(super) fn among<'a>(sites: impl Iterator<Item = &'a Site>) -> Vec<Conflict> {
    let mut conflicts = Vec::new();
    for site in sites {
        ties_of_site(site, &mut conflicts);
        shadows_of_site(site, &mut conflicts);
    }
    conflicts.sort_by_key(|conflict| match *conflict {
        Conflict::Tie { first, second } => (second, first),
        Conflict::Shadowed { rule, by } => (rule, by),
    });
    conflicts
}

fn ties_of_site(site: &Site, conflicts: &mut Vec<Conflict>) {
    for list in site.exact.values().chain(site.prefixes.values()) {
        ties_of_path(list.iter(), conflicts);
    }
    let mut by_text: HashMap<&str, Vec<&Candidate>> = HashMap::new();
    for (pattern, candidate) in &site.regexes {
        by_text.entry(pattern.as_str()).or_default().push(candidate);
    }
    for list in by_text.into_values() {
        ties_of_path(list.into_iter(), conflicts);
    }
}

/// Ties among the candidates of one path.
fn ties_of_path<'a>(list: impl ExactSizeIterator<Item = &'a Candidate>, conflicts: &mut Vec<Conflict>) {
    if list.len() < 2 {
        return;
    }
    let mut list: Vec<_> = list.collect();
    list.sort_by_key(|candidate| candidate.place);
    let mut by_count: HashMap<usize, Earlier<'_>> = HashMap::new();
    for candidate in list {
        let earlier = by_count.entry(candidate.conditions().count()).or_default();
        if let Some(first) = earlier.admit(candidate) {
            conflicts.push(Conflict::Tie { first, second: candidate.place });
        }
    }
}

/// Candidates of one path with equally many conditions, seen so far, in the order of their places.
#[derive(Default)]
struct Earlier<'a> {
    list: Vec<(Wanted<'a>, &'a Candidate)>,
    by_wanted: HashMap<Wanted<'a>, Vec<&'a Candidate>>,
    /// Whether some ask about other headers or parameters than others do.
    mixed: bool,
}

impl<'a> Earlier<'a> {
    /// Takes in one more, and says which one it ties with: the place of the earliest.
    fn admit(&mut self, candidate: &'a Candidate) -> Option<usize> {
        let wanted = wanted(candidate.conditions());
        self.mixed |= self.list.first().is_some_and(|(first, _)| first.keys().ne(wanted.keys()));
        let rival =
            if self.mixed { self.compatible(&wanted, candidate) } else { self.equal(&wanted, candidate) };
        self.by_wanted.entry(wanted.clone()).or_default().push(candidate);
        self.list.push((wanted, candidate));
        rival.map(|rival| rival.place)
    }

    fn compatible(&self, wanted: &Wanted<'a>, candidate: &Candidate) -> Option<&'a Candidate> {
        let rival = |(other, rival): &&(Wanted<'a>, &'a Candidate)| {
            !exclude(wanted, other) && rival.conditions().share_a_method(candidate.conditions())
        };
        self.list.iter().find(rival).map(|(_, rival)| *rival)
    }

    /// The same, where all ask about the same: then only equals are compatible.
    fn equal(&self, wanted: &Wanted<'a>, candidate: &Candidate) -> Option<&'a Candidate> {
        let mut equals = self.by_wanted.get(wanted)?.iter().copied();
        equals.find(|rival| rival.conditions().share_a_method(candidate.conditions()))
    }
}

/// What a condition is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Subject<'a> {
    Header(&'a str),
    Parameter(&'a str),
}

/// The value that each header and parameter must have.
type Wanted<'a> = BTreeMap<Subject<'a>, &'a [u8]>;

fn wanted(conditions: &Conditions) -> Wanted<'_> {
    let headers =
        conditions.headers.iter().map(|(name, value)| (Subject::Header(name.as_str()), value.as_bytes()));
    let query = conditions.query.iter().map(|(name, value)| (Subject::Parameter(name), value.as_bytes()));
    headers.chain(query).collect()
}

/// Whether one header or parameter would need two values.
fn exclude(one: &Wanted<'_>, other: &Wanted<'_>) -> bool {
    one.iter().any(|(subject, value)| other.get(subject).is_some_and(|wanted| wanted != value))
}

/// A regex that takes everything, without conditions, hides the regexes after it and all prefixes: they come later.
fn shadows_of_site(site: &Site, conflicts: &mut Vec<Conflict>) {
    let takes_all = |(pattern, candidate): &(super::PathRegex, Candidate)| {
        pattern.takes_everything() && candidate.conditions().count() == 0
    };
    let Some(at) = site.regexes.iter().position(takes_all) else { return };
    let (pattern, by) = &site.regexes[at];
    // The same pattern once more is a tie already, and one finding a mistake is enough.
    let regexes = site.regexes[at + 1..].iter().filter(|(later, _)| later.as_str() != pattern.as_str());
    let hidden = regexes.map(|(_, candidate)| candidate).chain(site.prefixes.values().flatten());
    conflicts.extend(hidden.map(|rule| Conflict::Shadowed { rule: rule.place, by: by.place }));
}

#[cfg(test)]
mod tests {
    use super::super::Table;
    use super::super::notation::rules;
    use super::Conflict::{self, Shadowed, Tie};

    fn conflicts(written: &[&str]) -> Vec<Conflict> {
        Table::build(rules(written)).err().unwrap_or_default()
    }

    #[test]
    fn rules_that_nothing_tells_apart_tie() {
        let ties: &[&[&str]] = &[
            &["* /*", "* /*"],
            &["* /a*", "* /a/*"],
            &["* /a", "* /a"],
            &["*.x /a", "*.x /a"],
            &["h ~/a+", "h ~/a+"],
            &["* /a GET", "* /a POST,GET"],
            &["* /a X:1", "* /a X:1"],
            &["* /a X:1", "* /a Y:1"],
            &["* /a X:1", "* /a ?X=1"],
            &["* /a X:1", "* /a GET"],
            &["* /a X:1 ?p=1", "* /a GET ?p=1"],
        ];
        for written in ties {
            assert_eq!(conflicts(written), [Tie { first: 0, second: 1 }], "{written:?}");
        }
    }

    #[test]
    fn rules_that_exclude_each_other_or_differ_in_rank_do_not_tie() {
        let clear: &[&[&str]] = &[
            &["* /a", "* /a/*", "* ~/a", "h /a", "*.h /a"],
            &["* /a", "* /a/"],
            &["* /a GET", "* /a POST,PUT"],
            &["* /a GET", "* /a HEAD"],
            &["* /a X:1", "* /a X:2"],
            &["* /a ?p=1", "* /a ?p=2"],
            &["* /a X:1 Y:1", "* /a X:2 Z:1"],
            &["* /a GET X:1", "* /a POST Y:1"],
            &["* /a", "* /a X:1", "* /a X:1 ?p=1"],
            &["* ~/a+", "* ~/a*", "* ~/a+ X:1"],
        ];
        for written in clear {
            assert_eq!(conflicts(written), [], "{written:?}");
        }
    }

    #[test]
    fn every_later_rule_names_the_earliest_that_it_ties_with() {
        let found = conflicts(&["* /a", "* /b X:1", "* /a", "* /b X:2", "* /a", "* /b Y:1"]);
        assert_eq!(found, [(0, 2), (0, 4), (1, 5)].map(|(first, second)| Tie { first, second }));
    }

    #[test]
    fn a_regex_for_everything_hides_what_comes_after_it_at_its_host() {
        let found =
            conflicts(&["* /a*", "* /b", "* ~.* X:1", "* ~/.*", "h /*", "* ~.*", "* ~/a.*", "* /c* GET"]);
        let hidden = [(0, 3), (5, 3), (7, 3)].map(|(rule, by)| Shadowed { rule, by });
        assert_eq!(found, hidden, "not the exact path, the longer regex or another host");
    }

    #[test]
    fn a_regex_for_everything_with_a_condition_hides_nothing() {
        assert_eq!(conflicts(&["* ~/.* GET", "* /*"]), []);
    }

    #[test]
    fn a_thousand_equals_are_a_thousand_ties_not_a_million() {
        let written = vec!["* /a GET"; 1000];
        assert_eq!(conflicts(&written).len(), 999);
    }
}
