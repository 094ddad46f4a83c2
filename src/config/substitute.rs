//! `${VAR}` and `${VAR:-default}` in values.
//!
//! One file serves several places when what differs comes from the environment. As in a shell, `:-` gives the value of a
//! variable that is unset or empty; unlike in a shell, an unset variable without a default is a fault, not an empty
//! text: an address that silently becomes `:8080` is how a test setup ends up in production.
//!
//! `$${` stands for a literal `${`. `${1}` is left alone: it is a group of a regular expression, never a variable.

use crate::limits;

/// Answers the value of a variable.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What is wrong with a reference.
#[derive(Debug, PartialEq, Eq)]
pub enum Unresolved {
    /// The variable has no value and the reference no default.
    Unset(String),
    /// `${` without `}`.
    Unclosed,
    /// Between the braces stands something that is no variable's name.
    NotAName(String),
    /// The result is longer than any configuration.
    TooLong,
}

/// Whether a text has anything to replace.
pub fn is_needed(text: &str) -> bool {
    text.contains("${")
}

/// The text with every reference replaced.
pub fn substitute(text: &str, env: Env<'_>) -> Result<String, Unresolved> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, reference) = rest.split_at(at);
        out.push_str(before);
        rest = match before.ends_with('$') {
            true => unescape(reference, &mut out),
            false => replace(reference, &mut out, env)?,
        };
        if out.len() > limits::CONFIG_BYTES {
            return Err(Unresolved::TooLong);
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// `out` ends in the first `$` of `$${`: one is enough.
fn unescape<'t>(reference: &'t str, out: &mut String) -> &'t str {
    out.push('{');
    &reference[2..]
}

/// Appends the value of the reference at the beginning of the text; the rest is what follows it.
fn replace<'t>(reference: &'t str, out: &mut String, env: Env<'_>) -> Result<&'t str, Unresolved> {
    let end = reference.find('}').ok_or(Unresolved::Unclosed)?;
    let inside = &reference[2..end];
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    if is_group(inside) {
        out.push_str(&reference[..=end]);
    } else if is_name(name) {
        out.push_str(&value(name, default, env)?);
    } else {
        return Err(Unresolved::NotAName(inside.to_owned()));
    }
    Ok(&reference[end + 1..])
}

fn value(name: &str, default: Option<&str>, env: Env<'_>) -> Result<String, Unresolved> {
    match (env(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(Unresolved::Unset(name.to_owned())),
    }
}

fn is_group(inside: &str) -> bool {
    !inside.is_empty() && inside.bytes().all(|byte| byte.is_ascii_digit())
}

/// POSIX.1, section 8.1: letters, digits and `_`, not beginning with a digit.
fn is_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("10.0.0.1".to_owned()),
            "EMPTY" => Some(String::new()),
            "LOOP" => Some("${LOOP}".to_owned()),
            "HUGE" => Some("x".repeat(limits::CONFIG_BYTES / 2)),
            _ => None,
        }
    }

    #[test]
    fn references_are_replaced_once() {
        for (text, result) in [
            ("${HOST}:80", "10.0.0.1:80"),
            ("a${EMPTY}b", "ab"),
            ("${EMPTY:-x}", "x"),
            ("${NONE:-x}${NONE:-}", "x"),
            ("${HOST:-x}", "10.0.0.1"),
            ("${NONE:-a:-b}", "a:-b"),
            ("${LOOP}", "${LOOP}"),
            ("$${HOST} $HOST $", "${HOST} $HOST $"),
            ("$$${HOST}", "$${HOST}"),
            ("/${1}x", "/${1}x"),
        ] {
            assert_eq!(substitute(text, &env).as_deref(), Ok(result), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_replaced_is_a_fault() {
        for (text, fault) in [
            ("${NONE}", Unresolved::Unset("NONE".to_owned())),
            ("a${HOST", Unresolved::Unclosed),
            ("${}", Unresolved::NotAName(String::new())),
            ("${A B}", Unresolved::NotAName("A B".to_owned())),
            ("${1A}", Unresolved::NotAName("1A".to_owned())),
            ("${HUGE}${HUGE}${HUGE}", Unresolved::TooLong),
        ] {
            assert_eq!(substitute(text, &env), Err(fault), "{text}");
        }
    }
}
