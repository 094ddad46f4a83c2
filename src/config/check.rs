//! Does the tree fit the schema?
//!
//! `serde` would say the first thing that is wrong; an operator with five slips would need five runs. So the tree is
//! walked beside the schema first, and everything that does not fit is noted, in the order of the file. On the same way
//! `${VAR}` is replaced, since only the schema knows whether `4` out of the environment is a number or a text.
//!
//! What comes back fits the schema if there are no faults; then `serde` makes a [`Config`](super::Config) of it.

use std::collections::HashSet;

use serde_json::Value as Json;
use serde_yaml::{Mapping, Value};

use crate::config::diagnostic::{Fault, KeyPath, quoted};
use crate::config::shape::{Kind, Shape};
use crate::config::substitute::{self, Env, Unresolved};
use crate::config::suggest;
use crate::config::units::{Misfit, Size, Unit};
use crate::limits;

/// The tree with its references to the environment replaced, and everything about it that does not fit. After
/// [`limits::DIAGNOSTICS`] faults the rest is not looked at.
pub fn check(tree: Value, schema: &Json, env: Env<'_>) -> (Value, Vec<Fault>) {
    let mut walk = Walk { env, faults: Vec::new(), path: KeyPath::root(), substituted: 0 };
    let root = Shape::root(schema);
    // An empty file is an empty map or list: then what it lacks is named.
    let tree = match (tree, root.kind()) {
        (Value::Null, Kind::List) => Value::Sequence(Vec::new()),
        (Value::Null, _) => Value::Mapping(Mapping::new()),
        (tree, _) => tree,
    };
    let tree = walk.value(tree, root);
    (tree, walk.faults)
}

struct Walk<'e> {
    env: Env<'e>,
    faults: Vec<Fault>,
    path: KeyPath,
    /// Bytes that came out of the environment so far: a reference is short, its value need not be.
    substituted: usize,
}

impl Walk<'_> {
    fn value(&mut self, value: Value, shape: Shape<'_>) -> Value {
        if self.faults.len() > limits::DIAGNOSTICS {
            return value;
        }
        match (meant(&value, &shape.alternatives()), value) {
            (Some(one), Value::Mapping(entries)) => self.map(entries, one),
            (Some(one), Value::Sequence(items)) => self.list(items, one),
            (Some(one), scalar) => self.scalar(scalar, one, shape),
            (None, value) => self.wrong_kind(value, shape),
        }
    }

    fn wrong_kind(&mut self, value: Value, shape: Shape<'_>) -> Value {
        self.fault(Fault::new(self.path.clone(), describe(&value), shape.expected()));
        value
    }

    /// Notes a fault, unless there are more already than will be shown.
    fn fault(&mut self, fault: Fault) {
        if self.faults.len() <= limits::DIAGNOSTICS {
            self.faults.push(fault);
        }
    }

    fn map(&mut self, entries: Mapping, shape: Shape<'_>) -> Value {
        let mut seen = Vec::new();
        let mut out = Mapping::new();
        for (key, value) in entries {
            let name = key.as_str().unwrap_or_default().to_owned();
            self.path.push_key(&name);
            match shape.value_of(&name) {
                Some(_) if shape.is_open() && !self.key_fits(&name, shape) => {}
                Some(inner) => drop(out.insert(key, self.value(value, inner))),
                None => seen.extend(self.unknown_key(&name, shape)),
            }
            self.path.pop();
            seen.push(name);
        }
        self.missing_keys(&seen, shape);
        self.choice(&seen, shape);
        Value::Mapping(out)
    }

    /// Whether a key that the operator chose may be one.
    fn key_fits(&mut self, name: &str, shape: Shape<'_>) -> bool {
        let Some(wanted) = shape.key_name() else { return true };
        let found = format!("the key {}", quoted(name));
        let misfit = match name {
            "<<" => Err(Misfit::because("merge keys are not read")),
            name => wanted.format().map_or(Ok(()), |format| (format.read)(name)),
        };
        let Err(misfit) = misfit else { return true };
        let fault = misfit_fault(self.path.clone(), found, misfit, wanted);
        self.fault(fault.at_key());
        false
    }

    /// Yields the key that was meant: it must not be reported as missing too.
    fn unknown_key(&mut self, name: &str, shape: Shape<'_>) -> Option<String> {
        let keys: Vec<_> = shape.keys().collect();
        let meant = suggest::nearest(name, keys.iter().copied());
        let found = if name == "<<" { "a merge key, which is not read" } else { "an unknown key" };
        let expected = match keys.as_slice() {
            [] => "no key here".to_owned(),
            [only] => format!("the key {only}"),
            several => format!("one of {}", several.join(", ")),
        };
        self.fault(Fault::new(self.path.clone(), found, expected).at_key().suggest(meant));
        meant.map(str::to_owned)
    }

    fn missing_keys(&mut self, seen: &[String], shape: Shape<'_>) {
        for key in shape.required().filter(|key| !seen.iter().any(|name| name == key)) {
            let expected = shape.value_of(key).map(Shape::expected).unwrap_or_default();
            self.fault(Fault::new(self.path.key(key), "nothing", expected));
        }
    }

    fn choice(&mut self, seen: &[String], shape: Shape<'_>) {
        let choices = shape.choices();
        let mut made: Vec<_> = seen.iter().filter(|name| choices.contains(&name.as_str())).collect();
        made.dedup();
        let one = format!("exactly one of {}", choices.join(", "));
        match made.as_slice() {
            [] if choices.is_empty() => {}
            [] => self.fault(Fault::new(self.path.clone(), "none of them", one)),
            [_] => {}
            [first, others @ ..] => {
                for other in others {
                    let fault = Fault::new(self.path.key(other), format!("this beside {first}"), one.clone());
                    self.fault(fault.at_key());
                }
            }
        }
    }

    fn list(&mut self, items: Vec<Value>, shape: Shape<'_>) -> Value {
        if items.is_empty() && shape.wants_items() {
            self.fault(Fault::new(self.path.clone(), "an empty list", shape.expected()));
        }
        if let Some(most) = shape.most_items().filter(|most| items.len() > *most) {
            let found = format!("a list of {} items", items.len());
            self.fault(Fault::new(self.path.clone(), found, format!("at most {most}")));
            return Value::Sequence(items);
        }
        let mut out = Vec::with_capacity(items.len());
        let mut seen = HashSet::new();
        for (index, item) in items.into_iter().enumerate() {
            self.path.push_index(index);
            let item = shape.item().map_or(Value::Null, |inner| self.value(item, inner));
            self.double(&item, &mut seen, shape);
            self.path.pop();
            out.push(item);
        }
        Value::Sequence(out)
    }

    fn double(&mut self, item: &Value, seen: &mut HashSet<String>, shape: Shape<'_>) {
        let Value::String(text) = item else { return };
        if shape.wants_differing_items() && !seen.insert(text.to_ascii_lowercase()) {
            let found = format!("{} a second time", quoted(text));
            self.fault(Fault::new(self.path.clone(), found, "each item once"));
        }
    }

    /// `shape` is the most likely of all alternatives. A value that is nothing like it may have been meant as another.
    fn scalar(&mut self, value: Value, shape: Shape<'_>, all: Shape<'_>) -> Value {
        let (value, written) = match value {
            Value::String(text) if substitute::is_needed(&text) => match self.substitute(&text, shape) {
                Some(value) => (value, Some(text)),
                None => return Value::String(text),
            },
            value => (value, None),
        };
        if let Err(misfit) = fit(&value, shape) {
            let found = self.found(&value, written.as_deref(), shape);
            let wanted = if misfit == Misfit::plain() { all } else { shape };
            self.fault(misfit_fault(self.path.clone(), found, misfit, wanted));
        }
        value
    }

    fn substitute(&mut self, text: &str, shape: Shape<'_>) -> Option<Value> {
        let result = substitute::substitute(text, self.env).and_then(|result| {
            self.substituted += result.len();
            if self.substituted > limits::CONFIG_BYTES { Err(Unresolved::TooLong) } else { Ok(result) }
        });
        match result {
            Ok(result) => Some(typed(result, shape)),
            Err(unresolved) => {
                self.fault(unresolved_fault(self.path.clone(), text, &unresolved));
                None
            }
        }
    }

    /// What stands in the file, and what it became; but never a secret, nor what may be one of the environment.
    fn found(&self, value: &Value, written: Option<&str>, shape: Shape<'_>) -> String {
        match written {
            Some(written) if shape.may_be_secret() => quoted(written),
            Some(written) => format!("{} from {}", describe(value), quoted(written)),
            None if shape.is_secret() => "a text".to_owned(),
            None => describe(value),
        }
    }
}

/// Of several alternatives, the one that the operator most likely meant: of the value's kind, and of maps the one with
/// the most keys in common.
fn meant<'s>(value: &Value, alternatives: &[Shape<'s>]) -> Option<Shape<'s>> {
    let wanted = |shape: &&Shape<'s>| match value {
        Value::Mapping(_) => shape.kind() == Kind::Map,
        Value::Sequence(_) => shape.kind() == Kind::List,
        Value::Null | Value::Tagged(_) => false,
        _ => !matches!(shape.kind(), Kind::Map | Kind::List),
    };
    let same_kind = |shape: &Shape<'s>| match value {
        Value::Number(_) => shape.kind() == Kind::Whole,
        Value::String(_) => shape.kind() == Kind::Text,
        _ => false,
    };
    let common = |shape: &&Shape<'s>| {
        let keys = shape.keys().filter(|key| value.get(*key).is_some()).count();
        (same_kind(shape), keys)
    };
    // Of equals, `max_by_key` takes the last, and the first is the simpler one.
    alternatives.iter().filter(wanted).rev().max_by_key(common).copied()
}

/// Whether a scalar fits a shape without alternatives.
fn fit(value: &Value, shape: Shape<'_>) -> Result<(), Misfit> {
    match (shape.kind(), value) {
        (Kind::Text, Value::String(text)) => fit_text(text, shape),
        (Kind::Text, other) => Err(as_text(other, shape)),
        (Kind::Whole, Value::Number(number)) => fit_number(number.as_u64(), shape),
        (Kind::Whole, Value::String(text)) => Err(unquoted(text.parse::<u64>().is_ok(), text)),
        (Kind::Flag, Value::Bool(_)) => Ok(()),
        (Kind::Flag, Value::String(text)) => Err(unquoted(text.parse::<bool>().is_ok(), text)),
        _ => Err(Misfit::plain()),
    }
}

fn fit_text(text: &str, shape: Shape<'_>) -> Result<(), Misfit> {
    if let Some(words) = shape.words() {
        return fit_word(text, &words);
    }
    if text.is_empty() && shape.wants_text() {
        return Err(Misfit::plain());
    }
    shape.format().map_or(Ok(()), |format| (format.read)(text))?;
    match (shape.range(), Size::read(text)) {
        (Some((least, most)), Ok(size)) if !(least..=most).contains(&size.bytes()) => Err(Misfit::plain()),
        _ => Ok(()),
    }
}

fn fit_word(text: &str, words: &[String]) -> Result<(), Misfit> {
    if words.iter().any(|word| word == text) {
        return Ok(());
    }
    let meant = suggest::nearest(text, words.iter().map(String::as_str));
    Err(meant.map_or_else(Misfit::plain, |word| Misfit::plain().suggest(word)))
}

fn fit_number(number: Option<u64>, shape: Shape<'_>) -> Result<(), Misfit> {
    let number = number.ok_or_else(Misfit::plain)?;
    let listed = shape.words().is_none_or(|words| words.contains(&number.to_string()));
    let inside = shape.range().is_none_or(|(least, most)| (least..=most).contains(&number));
    if listed && inside { Ok(()) } else { Err(Misfit::plain()) }
}

/// A number or a flag where text is wanted: its unit is missing, or its quotes.
fn as_text(value: &Value, shape: Shape<'_>) -> Misfit {
    let text = describe(value);
    match fit_text(&text, shape) {
        Ok(()) => Misfit::because("not text").suggest(format!("\"{text}\"")),
        Err(misfit) => misfit,
    }
}

fn unquoted(fits: bool, text: &str) -> Misfit {
    if fits { Misfit::because("text").suggest(text) } else { Misfit::plain() }
}

/// What came out of the environment, as what the schema wants.
fn typed(text: String, shape: Shape<'_>) -> Value {
    let value = match shape.kind() {
        Kind::Whole => text.parse::<u64>().ok().map(Value::from),
        Kind::Flag => text.parse::<bool>().ok().map(Value::from),
        _ => None,
    };
    value.unwrap_or(Value::String(text))
}

fn misfit_fault(path: KeyPath, found: String, misfit: Misfit, shape: Shape<'_>) -> Fault {
    let Misfit { reason, suggestion } = misfit;
    let found = reason.map_or(found.clone(), |reason| format!("{found} ({reason})"));
    Fault::new(path, found, shape.expected()).suggest(suggestion)
}

fn unresolved_fault(path: KeyPath, text: &str, unresolved: &Unresolved) -> Fault {
    let (found, expected) = match unresolved {
        Unresolved::Unset(name) => (
            format!("{}, but no variable {name} in the environment", quoted(text)),
            format!("it to be set, or a default: ${{{name}:-…}} (a literal ${{ is written $${{)"),
        ),
        Unresolved::Unclosed => {
            (format!("${{ without }} in {}", quoted(text)), "${VAR}, or $${ for a literal ${".to_owned())
        }
        Unresolved::NotAName(inside) => (
            format!("{} between the braces of {}", quoted(inside), quoted(text)),
            "${VAR}, ${VAR:-default}, or $${ for a literal ${".to_owned(),
        ),
        Unresolved::TooLong => {
            ("variables too long to be part of a configuration".to_owned(), "short ones".to_owned())
        }
    };
    Fault::new(path, found, expected)
}

/// Completes the sentence "found …".
fn describe(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => quoted(text),
        Value::Sequence(_) => "a list".to_owned(),
        Value::Mapping(_) => "a map".to_owned(),
        Value::Tagged(_) => "a tagged value".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{parse, schema};

    /// Most is in the golden files; this is what a file cannot say.
    #[test]
    fn a_secret_of_the_environment_is_not_repeated() {
        let text = "routes: [{respond: {}, request_headers: {set: {Authorization: 'Bearer ${TOKEN}'}}}]";
        let env = |_: &str| Some("s3cret\n".to_owned());
        let faults = parse::parse(text).map(|tree| check(tree, &schema::schema(), &env).1);
        let told = format!("{faults:?}");
        assert!(told.contains("${TOKEN}") && !told.contains("s3cret"), "{told}");
    }

    #[test]
    fn what_the_environment_holds_is_bounded_over_all_references() {
        let items = vec!["'/${HUGE}'"; 100].join(", ");
        let text =
            format!("routes: [{{match: {{query: {{a: [{items}]}}, host: [{items}]}}, respond: {{}}}}]");
        let env = |_: &str| Some("x".repeat(limits::CONFIG_BYTES / 10));
        let faults = parse::parse(&text).map(|tree| check(tree, &schema::schema(), &env).1);
        let told = format!("{faults:?}");
        assert!(told.contains("too long"), "{told}");
    }
}
