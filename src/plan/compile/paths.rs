//! Paths, patterns and rewrites, in the normal form that routing compares.
//!
//! A route for `/a//b` or `/%61` would never match anything, since requests are brought into normal form first. Such a
//! path is refused, and the one that was meant is told.

use std::sync::Arc;

use regex::Regex;

use crate::config::diagnostic::quoted;
use crate::config::route::{PathMatch, PrefixRewrite, RegexRewrite};
use crate::config::units::{Path, Pattern, pattern};
use crate::config::{Fault, KeyPath, route};
use crate::hygiene::path::normalize;
use crate::plan::Rewrite;
use crate::plan::rewrite::Expression;
use crate::routing::{PathPattern, PathRegex};

/// Which paths; all of them when nothing is said.
pub fn of_match(path: &KeyPath, wanted: Option<&PathMatch>, faults: &mut Vec<Fault>) -> Option<PathPattern> {
    let path = path.key("match").key("path");
    match wanted {
        None => Some(PathPattern::Prefix("/".to_owned())),
        Some(PathMatch { prefix: Some(prefix), exact: None, regex: None }) => {
            normal(path.key("prefix"), prefix, faults).map(PathPattern::Prefix)
        }
        Some(PathMatch { prefix: None, exact: Some(exact), regex: None }) => {
            normal(path.key("exact"), exact, faults).map(PathPattern::Exact)
        }
        Some(PathMatch { prefix: None, exact: None, regex: Some(regex) }) => {
            whole(path.key("regex"), regex, faults).map(PathPattern::Regex)
        }
        Some(_) => {
            faults.push(Fault::new(path, "several of them or none", "exactly one of prefix, exact, regex"));
            None
        }
    }
}

fn normal(at: KeyPath, path: &Path, faults: &mut Vec<Fault>) -> Option<String> {
    let found = quoted(path.as_str());
    let fault = match normalize(path.as_str()) {
        Ok(form) if form == path.as_str() => return Some(form.into_owned()),
        Ok(form) => Fault::new(at, found, "the path in its normal form").suggest(Some(form)),
        Err(error) => Fault::new(at, format!("{found} ({error})"), "a path that a request can have"),
    };
    faults.push(fault);
    None
}

fn whole(at: KeyPath, expression: &Pattern, faults: &mut Vec<Fault>) -> Option<PathRegex> {
    let text = expression.as_str();
    let found = quoted(text);
    let fault = match PathRegex::new(text) {
        Ok(_) if text.trim_start_matches('^').starts_with(|c: char| c.is_ascii_alphanumeric()) => {
            let meant = format!("/{}", text.trim_start_matches('^'));
            Fault::new(at, found, "an expression for the whole path, which begins with /")
                .suggest(Some(meant))
        }
        Ok(regex) => return Some(regex),
        Err(error) => Fault::new(
            at,
            format!("{found} ({})", pattern::reason(&error)),
            "an expression for the whole path",
        ),
    };
    faults.push(fault);
    None
}

/// What a route does to the path; `matched` is what its `match` says about it.
pub fn of_rewrite(
    path: &KeyPath,
    rewrite: &route::Rewrite,
    matched: Option<&PathPattern>,
    faults: &mut Vec<Fault>,
) -> Option<Rewrite> {
    let path = path.key("rewrite");
    match rewrite {
        route::Rewrite::Prefix(PrefixRewrite { prefix }) => {
            let with = normal(path.key("prefix"), prefix, faults)?;
            exchange(path.key("prefix"), matched?, &with, faults)
        }
        route::Rewrite::Regex(RegexRewrite { regex, with }) => {
            let pattern = regex.anywhere();
            let with = replacement(path.key("with"), pattern, with, faults)?;
            Some(Rewrite::Regex { pattern: Expression(pattern.clone()), with })
        }
    }
}

fn exchange(at: KeyPath, matched: &PathPattern, with: &str, faults: &mut Vec<Fault>) -> Option<Rewrite> {
    match matched {
        PathPattern::Prefix(matched) => {
            Some(Rewrite::Prefix { matched: matched.trim_end_matches('/').into(), with: with.into() })
        }
        PathPattern::Exact(_) | PathPattern::Regex(_) => {
            let found = "a prefix to put in place of none";
            faults.push(Fault::new(at, found, "a match by path.prefix, or rewrite.regex"));
            None
        }
    }
}

/// A replacement whose groups exist, and whose text may stand in a path.
fn replacement(at: KeyPath, pattern: &Regex, with: &str, faults: &mut Vec<Fault>) -> Option<Arc<str>> {
    let mut sample = "/".to_owned();
    let mut rest = with;
    while let Some(dollar) = rest.find('$') {
        sample.push_str(&rest[..dollar]);
        let (reference, after) = reference(&rest[dollar..]);
        if let Some(name) = reference {
            if !has_group(pattern, name) {
                faults.push(no_group(at, pattern, name));
                return None;
            }
            sample.push('x');
        }
        rest = after;
    }
    sample.push_str(rest);
    match normalize(&sample) {
        Ok(_) => Some(with.into()),
        Err(error) => {
            let found = format!("{} ({error})", quoted(with));
            faults.push(Fault::new(at, found, "text that may stand in a path"));
            None
        }
    }
}

/// The reference at the beginning of a text, as the `regex` crate reads it, and what follows it.
fn reference(text: &str) -> (Option<&str>, &str) {
    let inside = &text[1..];
    if let Some(rest) = inside.strip_prefix('$') {
        return (None, rest);
    }
    if let Some((name, rest)) = inside.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
        return (Some(name), rest);
    }
    let end = inside.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inside.len());
    if end == 0 { (None, inside) } else { (Some(&inside[..end]), &inside[end..]) }
}

fn has_group(pattern: &Regex, name: &str) -> bool {
    match name.parse::<usize>() {
        Ok(number) => number < pattern.captures_len(),
        Err(_) => pattern.capture_names().flatten().any(|known| known == name),
    }
}

/// `$1x` means the group `1x`, not the group `1` and an `x`: the classic.
fn no_group(at: KeyPath, pattern: &Regex, name: &str) -> Fault {
    let digits = name.len() - name.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, rest) = name.split_at(digits);
    let meant = (digits > 0 && !rest.is_empty() && has_group(pattern, number))
        .then(|| format!("${{{number}}}{rest}"));
    let groups = pattern.captures_len() - 1;
    let named = pattern.capture_names().flatten().map(|name| format!(", {name}")).collect::<String>();
    let expected = match groups {
        0 => "no groups, since the expression has none".to_owned(),
        1 => format!("a group of the expression: 1{named}"),
        more => format!("a group of the expression: 1 to {more}{named}"),
    };
    Fault::new(at, format!("a reference to the group {}", quoted(name)), expected).suggest(meant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_as_the_regex_crate_reads_them() {
        for (text, found) in [
            ("$1/x", (Some("1"), "/x")),
            ("$1x", (Some("1x"), "")),
            ("${1}x", (Some("1"), "x")),
            ("$$1", (None, "1")),
            ("$/", (None, "/")),
            ("$", (None, "")),
            ("${1", (None, "{1")),
        ] {
            assert_eq!(reference(text), found, "{text}");
        }
    }
}
