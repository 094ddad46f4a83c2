//! Text to a tree of values, by `serde_yaml`.
//!
//! `serde_yaml` refuses a map with a double key at once, and with it everything else that might be said about the file.
//! The [`outline`](super::outline) has reported such keys already, with both places; so here the first one wins and
//! reading goes on, and the other faults are found in the same run.
//!
//! Only call [`parse`] on text whose outline was drawn: that is what bounds its depth and its anchors.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::{Mapping, Value};

use crate::config::diagnostic::{Diagnostic, KeyPath, Position};

/// The tree of a text. Keys that are not text become their text (`1: a` reads as `"1": a`).
///
/// # Errors
///
/// What `serde_yaml` finds wrong, at its place.
pub fn parse(text: &str) -> Result<Value, Diagnostic> {
    serde_yaml::from_str::<Lenient>(text).map(|Lenient(value)| value).map_err(|error| misread(&error))
}

/// An error of `serde_yaml` as a diagnostic.
pub fn misread(error: &serde_yaml::Error) -> Diagnostic {
    let number = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    let position =
        error.location().map(|at| Position { line: number(at.line()), column: number(at.column()) });
    let text = error.to_string();
    let reason = text.split(" at line ").next().unwrap_or(&text);
    let message = format!("found a syntax error ({reason}), expected YAML");
    Diagnostic { position, path: KeyPath::root(), message }
}

/// A value in which the first of two equal keys wins.
struct Lenient(Value);

impl<'de> Deserialize<'de> for Lenient {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Lenient, D::Error> {
        deserializer.deserialize_any(LenientVisitor)
    }
}

struct LenientVisitor;

impl<'de> Visitor<'de> for LenientVisitor {
    type Value = Lenient;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value without tags")
    }

    fn visit_unit<E>(self) -> Result<Lenient, E> {
        Ok(Lenient(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Lenient, E> {
        Ok(Lenient(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Lenient, E> {
        Ok(Lenient(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Lenient, E> {
        Ok(Lenient(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Lenient, E> {
        Ok(Lenient(value.into()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Lenient, E> {
        Ok(Lenient((value as f64).into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Lenient, E> {
        Ok(Lenient((value as f64).into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Lenient, E> {
        Ok(Lenient(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Lenient, E> {
        Ok(Lenient(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Lenient, A::Error> {
        let mut items = Vec::new();
        while let Some(Lenient(item)) = access.next_element()? {
            items.push(item);
        }
        Ok(Lenient(items.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Lenient, A::Error> {
        let mut entries = Mapping::new();
        while let Some((Lenient(key), Lenient(value))) = access.next_entry()? {
            entries.entry(Value::String(text(&key))).or_insert(value);
        }
        Ok(Lenient(Value::Mapping(entries)))
    }
}

/// A key as the outline names it.
fn text(key: &Value) -> String {
    match key {
        Value::String(text) => text.clone(),
        Value::Null => "~".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Sequence(_) => "[…]".to_owned(),
        Value::Mapping(_) | Value::Tagged(_) => "{…}".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_first_of_two_equal_keys_wins() {
        assert_eq!(parse("{a: 1, a: 2}").unwrap(), serde_yaml::from_str::<Value>("{a: 1}").unwrap());
    }

    #[test]
    fn every_kind_of_value_is_read_as_serde_yaml_reads_it() {
        let text =
            "{a: 1, b: -1, c: 1.5, d: x, e: ~, f: [true, {}], g: 18446744073709551615, h: &h y, i: *h}";
        assert_eq!(parse(text).unwrap(), serde_yaml::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn a_syntax_error_has_its_place() {
        let diagnostic = parse("a: 1\n  b: 2\n").unwrap_err();
        assert_eq!(diagnostic.position, Some(Position { line: 2, column: 4 }));
    }
}
