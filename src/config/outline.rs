//! The outline of a file: where each key and value stands, and whether the file is of a size to be read at all.
//!
//! Two problems, one pass. First, `serde_yaml` keeps no positions, and a diagnostic without a line is a riddle. Second, a
//! YAML file can be a bomb: `[` a hundred thousand times overflows stacks, and nine lines of anchors that name each other
//! ("billion laughs") expand to gigabytes. So before `serde_yaml` sees the text, its event stream is read once by a parser
//! that yields one event at a time: it counts depth, nodes and text *as if every alias were expanded* and stops at
//! [`limits::CONFIG_DEPTH`], [`limits::CONFIG_NODES`] and [`limits::CONFIG_BYTES`]; and it notes positions.
//!
//! The same pass refuses what this configuration has no use for and what would only hide mistakes: tags, a second
//! document, a key that stands twice.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use saphyr_parser::{Event, Marker, Parser, ScanError, StrInput};

use crate::config::diagnostic::{Diagnostic, Fault, KeyPath, Position, Step, quoted};
use crate::limits;

/// Where each key and value of a file stands. An alias stands where it is written and has no parts of its own.
#[derive(Debug)]
pub struct Outline {
    key: Position,
    value: Position,
    parts: Parts,
}

#[derive(Debug)]
enum Parts {
    None,
    List(Vec<Outline>),
    Map(Vec<(String, Outline)>),
}

impl Outline {
    /// Gives each fault its line and column; of far too many, to those that will be shown.
    pub fn place(&self, faults: Vec<Fault>) -> Vec<Diagnostic> {
        let shown = faults.into_iter().take(limits::DIAGNOSTICS + 1);
        shown.map(|fault| fault.place(|path, key| self.position(path, key))).collect()
    }

    /// Where a key or its value stands; what is not in the file is placed at the nearest map or list that is.
    fn position(&self, path: &KeyPath, key: bool) -> Position {
        let mut here = self;
        for step in path.steps() {
            match here.part(step) {
                Some(part) => here = part,
                None => return here.value,
            }
        }
        if key { here.key } else { here.value }
    }

    fn part(&self, step: &Step) -> Option<&Outline> {
        match (&self.parts, step) {
            (Parts::List(items), Step::Index(index)) => items.get(*index),
            (Parts::Map(entries), Step::Key(key)) => {
                entries.iter().find(|(name, _)| name == key).map(|(_, part)| part)
            }
            _ => None,
        }
    }
}

/// Reads a text's event stream once.
///
/// Yields the outline and the keys that stand twice.
///
/// # Errors
///
/// The first thing that makes the text unreadable, or not worth reading.
pub fn draw(text: &str) -> Result<(Outline, Vec<Diagnostic>), Diagnostic> {
    if let Some(at) = unprintable(text) {
        return Err(refusal(at, "found a control character, expected text (YAML 1.2, section 5.1)"));
    }
    // The parser is foreign code that meets arbitrary bytes; should it panic, that is the file's fault, not the worker's.
    catch_unwind(AssertUnwindSafe(|| follow(text))).unwrap_or_else(|_| {
        Err(Diagnostic::unplaced("found text that the YAML parser cannot cope with".to_owned()))
    })
}

/// The first character that YAML does not allow. `serde_yaml` refuses it too, but does not say where it is.
fn unprintable(text: &str) -> Option<Position> {
    let printable = |c: char| {
        matches!(c, '\t' | '\n' | '\r' | '\u{85}' | ' '..='~' | '\u{a0}'..='\u{fffd}' | '\u{10000}'..)
            && c != '\u{feff}'
    };
    let before = &text[..text.find(|c: char| !printable(c))?];
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count();
    Some(position(&Marker::new(0, line, column)))
}

fn follow(text: &str) -> Result<(Outline, Vec<Diagnostic>), Diagnostic> {
    let mut pen = Pen::default();
    for event in Parser::<StrInput<'_>>::new_from_str(text) {
        let (event, span) = event.map_err(|error| syntax(&error, text))?;
        pen.take(event, position(&span.start))?;
    }
    Ok((pen.outline.unwrap_or_else(|| leaf(START)), pen.doubles))
}

const START: Position = Position { line: 1, column: 1 };

fn position(mark: &Marker) -> Position {
    let number = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    Position { line: number(mark.line()), column: number(mark.col() + 1) }
}

fn syntax(error: &ScanError, text: &str) -> Diagnostic {
    let at = position(error.marker());
    let line = text.lines().nth((at.line as usize).saturating_sub(1)).unwrap_or_default();
    match error.info() {
        // The parser reads ahead of its events, and has a bound of its own (255) there.
        "recursion limit exceeded" => too_deep(at),
        info if line.contains("${") => {
            let expected = "YAML (inside [ ] and { }, a value with ${…} has to be quoted)";
            refusal(at, format!("found a syntax error ({info}), expected {expected}"))
        }
        info => refusal(at, format!("found a syntax error ({info}), expected YAML")),
    }
}

fn too_deep(at: Position) -> Diagnostic {
    let most = limits::CONFIG_DEPTH;
    refusal(at, format!("found lists and maps nested too deep, expected at most {most} levels"))
}

fn refusal(at: Position, message: impl Into<String>) -> Diagnostic {
    Diagnostic { position: Some(at), path: KeyPath::root(), message: message.into() }
}

fn leaf(at: Position) -> Outline {
    Outline { key: at, value: at, parts: Parts::None }
}

/// What a node takes once every alias below it is expanded.
#[derive(Clone, Copy, Debug, Default)]
struct Weight {
    nodes: usize,
    bytes: usize,
    depth: usize,
}

impl Weight {
    fn add(&mut self, other: Weight) {
        self.nodes = self.nodes.saturating_add(other.nodes);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.depth = self.depth.max(other.depth + 1);
    }
}

/// A list or map that is still open.
struct Open {
    anchor: usize,
    at: Position,
    weight: Weight,
    content: Content,
}

enum Content {
    List(Vec<Outline>),
    Map(Entries),
}

#[derive(Default)]
struct Entries {
    parts: Vec<(String, Outline)>,
    seen: HashMap<String, Position>,
    key: Option<(String, Position)>,
}

/// Draws the outline as events come in.
#[derive(Default)]
struct Pen {
    open: Vec<Open>,
    anchors: HashMap<usize, Weight>,
    total: Weight,
    documents: usize,
    doubles: Vec<Diagnostic>,
    outline: Option<Outline>,
}

impl Pen {
    fn take(&mut self, event: Event<'_>, at: Position) -> Result<(), Diagnostic> {
        match event {
            Event::Scalar(.., Some(_))
            | Event::SequenceStart(_, Some(_))
            | Event::MappingStart(_, Some(_)) => Err(refusal(
                at,
                "found a tag, expected a plain value (text that begins with ! is put in quotes)",
            )),
            Event::Scalar(text, _, anchor, None) => self.scalar(&text, anchor, at),
            Event::Alias(anchor) => self.alias(anchor, at),
            Event::SequenceStart(anchor, None) => self.start(anchor, at, Content::List(Vec::new())),
            Event::MappingStart(anchor, None) => self.start(anchor, at, Content::Map(Entries::default())),
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::DocumentStart(_) => self.document(at),
            Event::DocumentEnd | Event::StreamStart | Event::StreamEnd | Event::Nothing => Ok(()),
        }
    }

    fn document(&mut self, at: Position) -> Result<(), Diagnostic> {
        self.documents += 1;
        match self.documents {
            1 => Ok(()),
            _ => Err(refusal(at, "found a second document, expected one configuration a file")),
        }
    }

    fn scalar(&mut self, text: &str, anchor: usize, at: Position) -> Result<(), Diagnostic> {
        let weight = Weight { nodes: 1, bytes: text.len(), depth: 0 };
        self.anchors.insert(anchor, weight);
        self.spend(weight, at)?;
        self.finish(text, leaf(at), weight);
        Ok(())
    }

    fn alias(&mut self, anchor: usize, at: Position) -> Result<(), Diagnostic> {
        let weight = self.anchors.get(&anchor).copied();
        let weight =
            weight.ok_or_else(|| refusal(at, "found an anchor that contains itself, expected a value"))?;
        self.spend(weight, at)?;
        self.finish("*", leaf(at), weight);
        Ok(())
    }

    fn start(&mut self, anchor: usize, at: Position, content: Content) -> Result<(), Diagnostic> {
        let weight = Weight { nodes: 1, bytes: 0, depth: 1 };
        self.spend(weight, at)?;
        self.open.push(Open { anchor, at, weight, content });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Diagnostic> {
        let Some(Open { anchor, at, weight, content }) = self.open.pop() else { return Ok(()) };
        self.anchors.insert(anchor, weight);
        let (name, parts) = match content {
            Content::List(items) => ("[…]", Parts::List(items)),
            Content::Map(entries) => ("{…}", Parts::Map(entries.parts)),
        };
        self.finish(name, Outline { key: at, value: at, parts }, weight);
        Ok(())
    }

    /// Counts a node that begins here.
    fn spend(&mut self, weight: Weight, at: Position) -> Result<(), Diagnostic> {
        self.total.add(weight);
        if self.open.len() + weight.depth > limits::CONFIG_DEPTH {
            return Err(too_deep(at));
        }
        if self.total.nodes > limits::CONFIG_NODES || self.total.bytes > limits::CONFIG_BYTES {
            return Err(refusal(
                at,
                "found too many values with its anchors expanded, expected a configuration",
            ));
        }
        Ok(())
    }

    /// Hands a finished node to the list or map around it. `name` is how it reads as a key.
    fn finish(&mut self, name: &str, node: Outline, weight: Weight) {
        let Some(around) = self.open.last_mut() else {
            self.outline = Some(node);
            return;
        };
        around.weight.add(weight);
        match &mut around.content {
            Content::List(items) => items.push(node),
            Content::Map(entries) => match entries.key.take() {
                None => entries.key = Some((name.to_owned(), node.value)),
                Some((key, at)) => self.doubles.extend(entries.add(key, at, node, self.doubles.len())),
            },
        }
    }
}

impl Entries {
    fn add(&mut self, key: String, at: Position, node: Outline, doubles: usize) -> Option<Diagnostic> {
        let double = self.seen.insert(key.clone(), at).filter(|_| doubles <= limits::DIAGNOSTICS);
        let diagnostic = double.map(|first| {
            let message = format!(
                "found the key {} a second time (see line {}), expected each key once",
                quoted(&key),
                first.line
            );
            refusal(at, message)
        });
        self.parts.push((key, Outline { key: at, ..node }));
        diagnostic
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn refused(text: &str) -> String {
        draw(text).unwrap_err().message
    }

    #[test]
    fn keys_and_values_are_found_where_they_stand() {
        let (outline, _) = draw("a:\n  - b: {c: 1}\n  - 2\n").unwrap();
        let path = KeyPath::root().key("a").index(0).key("b").key("c");
        assert_eq!(outline.position(&path, true), Position { line: 2, column: 9 });
        assert_eq!(outline.position(&path, false), Position { line: 2, column: 12 });
        let second = KeyPath::root().key("a").index(1);
        assert_eq!(outline.position(&second, false), Position { line: 3, column: 5 });
    }

    #[test]
    fn what_is_missing_is_placed_at_what_is_around_it() {
        let (outline, _) = draw("a:\n  b: 1\n").unwrap();
        let path = KeyPath::root().key("a").key("x").key("y");
        assert_eq!(outline.position(&path, true), Position { line: 2, column: 3 });
    }

    #[test]
    fn a_hundred_thousand_brackets_are_refused() {
        for text in ["[".repeat(100_000), "{a: ".repeat(100_000), "- ".repeat(100_000), "? ".repeat(100_000)]
        {
            let message = refused(&text);
            assert!(message.contains("nested too deep"), "{message}");
        }
    }

    #[test]
    fn depth_counts_what_an_alias_brings() {
        let twenty = |inside: &str| format!("{}{inside}{}", "[".repeat(20), "]".repeat(20));
        let text = format!("a: &a {}\nb: {}\n", twenty("1"), twenty("*a"));
        assert!(refused(&text).contains("nested too deep"));
    }

    #[test]
    fn a_billion_laughs_are_refused_before_they_are_told() {
        let mut text = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
        for level in 1..10 {
            let alias = format!("*a{}", level - 1);
            text.push_str(&format!("a{level}: &a{level} [{}]\n", vec![alias; 9].join(", ")));
        }
        assert!(refused(&text).contains("too many values"));
    }

    #[test]
    fn a_long_text_repeated_by_aliases_is_refused() {
        let text = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 20), vec!["*a"; 100].join(", "));
        assert!(refused(&text).contains("too many values"));
    }

    #[test]
    fn an_anchor_inside_itself_is_refused() {
        assert!(refused("a: &a [*a]").contains("contains itself"));
    }

    #[test]
    fn a_shared_value_is_welcome() {
        let (outline, doubles) = draw("a: &a {b: 1}\nc: *a\n").unwrap();
        assert!(doubles.is_empty());
        let path = KeyPath::root().key("c").key("b");
        assert_eq!(outline.position(&path, false), Position { line: 2, column: 4 });
    }

    #[test]
    fn every_double_key_is_told_with_its_first_line() {
        let (_, doubles) = draw("a: 1\nb: {c: 1, c: 2}\na: 3\n").unwrap();
        let lines: Vec<_> = doubles.iter().map(|double| double.message.as_str()).collect();
        assert_eq!(
            lines,
            [
                "found the key \"c\" a second time (see line 2), expected each key once",
                "found the key \"a\" a second time (see line 1), expected each key once",
            ]
        );
    }
}
