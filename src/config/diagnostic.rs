//! What is wrong, where, and what would be right.
//!
//! Faults are found in three places (by the parser, by the schema, by the plan), and only the first of them knows lines.
//! So a [`Fault`] names a key by its [`KeyPath`]; the [`Outline`](super::outline::Outline) of the file turns that into a
//! line and column, and the [`Report`] prints all of them in the order of the file:
//!
//! ```text
//! conf/tetap.yaml:3:5: listeners[0].adress: found an unknown key, expected one of name, address (did you mean address?)
//! ```

use std::fmt;

use crate::limits;

/// Most characters of an operator's own text in one diagnostic.
const EXCERPT: usize = 80;

/// The way from the top of the file to one value: `routes[2].match.path`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyPath(Vec<Step>);

/// One step down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Into a map.
    Key(String),
    /// Into a list, from 0.
    Index(usize),
}

impl KeyPath {
    /// The file as a whole.
    pub fn root() -> KeyPath {
        KeyPath::default()
    }

    /// The value of a key of this map.
    pub fn key(&self, key: &str) -> KeyPath {
        self.then(Step::Key(key.to_owned()))
    }

    /// An item of this list.
    pub fn index(&self, index: usize) -> KeyPath {
        self.then(Step::Index(index))
    }

    /// The steps, from the top.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// Goes down to the value of a key.
    pub fn push_key(&mut self, key: &str) {
        self.0.push(Step::Key(key.to_owned()));
    }

    /// Goes down to an item.
    pub fn push_index(&mut self, index: usize) {
        self.0.push(Step::Index(index));
    }

    /// Goes up again.
    pub fn pop(&mut self) {
        self.0.pop();
    }

    fn then(&self, step: Step) -> KeyPath {
        let mut steps = self.0.clone();
        steps.push(step);
        KeyPath(steps)
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) if depth == 0 => f.write_str(&bare_or_quoted(key))?,
                Step::Key(key) => write!(f, ".{}", bare_or_quoted(key))?,
            }
        }
        Ok(())
    }
}

fn bare_or_quoted(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !key.is_empty() && key.chars().all(bare) { excerpt(key) } else { quoted(key) }
}

/// An operator's own text, in quotes, on one line, and not longer than a glance.
pub fn quoted(text: &str) -> String {
    format!("{:?}", excerpt(text))
}

fn excerpt(text: &str) -> String {
    match text.char_indices().nth(EXCERPT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Something that is wrong, not yet placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    path: KeyPath,
    at_key: bool,
    found: String,
    expected: String,
    suggestion: Option<String>,
    elsewhere: Option<KeyPath>,
}

impl Fault {
    /// `found` and `expected` complete the sentences "found …" and "expected …".
    pub fn new(path: KeyPath, found: impl Into<String>, expected: impl Into<String>) -> Fault {
        let (found, expected) = (found.into(), expected.into());
        Fault { path, at_key: false, found, expected, suggestion: None, elsewhere: None }
    }

    /// Points at the key rather than at its value.
    pub fn at_key(self) -> Fault {
        Fault { at_key: true, ..self }
    }

    /// What was probably meant, if that is known.
    pub fn suggest(self, suggestion: Option<impl Into<String>>) -> Fault {
        Fault { suggestion: suggestion.map(Into::into), ..self }
    }

    /// The other half of a contradiction; its line is told as well.
    pub fn elsewhere(self, path: KeyPath) -> Fault {
        Fault { elsewhere: Some(path), ..self }
    }

    /// Which value is wrong.
    pub fn path(&self) -> &KeyPath {
        &self.path
    }

    /// Gives the fault its place in the file; `locate` answers for a path, and whether its key is meant.
    pub fn place(self, locate: impl Fn(&KeyPath, bool) -> Position) -> Diagnostic {
        let Fault { path, at_key, found, expected, suggestion, elsewhere } = self;
        let mut message = format!("found {found}");
        if let Some(other) = elsewhere {
            message.push_str(&format!(" (see line {})", locate(&other, true).line));
        }
        message.push_str(&format!(", expected {expected}"));
        if let Some(suggestion) = suggestion {
            message.push_str(&format!(" (did you mean {}?)", excerpt(&suggestion)));
        }
        Diagnostic { position: Some(locate(&path, at_key)), path, message }
    }
}

/// A place in the text, both counted from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

/// Something that is wrong, at its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Missing when the file as a whole is meant.
    pub position: Option<Position>,
    /// Empty when no key is meant.
    pub path: KeyPath,
    /// What was found and what was expected.
    pub message: String,
}

impl Diagnostic {
    /// About the file as a whole.
    pub fn unplaced(message: String) -> Diagnostic {
        Diagnostic { position: None, path: KeyPath::root(), message }
    }

    fn line(&self, name: &str) -> String {
        let place = self.position.map(|at| format!("{}:{}:", at.line, at.column)).unwrap_or_default();
        let path = if self.path == KeyPath::root() { String::new() } else { format!("{}: ", self.path) };
        format!("{name}:{place} {path}{}", self.message)
    }
}

/// Everything that is wrong with one file, in the order of its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    name: String,
    diagnostics: Vec<Diagnostic>,
}

impl Report {
    /// Sorts the diagnostics by their places.
    pub fn new(name: &str, mut diagnostics: Vec<Diagnostic>) -> Report {
        diagnostics.sort_by_key(|diagnostic| diagnostic.position);
        Report { name: name.to_owned(), diagnostics }
    }

    /// In the order of the lines.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.diagnostics.iter().take(limits::DIAGNOSTICS);
        let lines: Vec<_> = shown.map(|diagnostic| diagnostic.line(&self.name)).collect();
        f.write_str(&lines.join("\n"))?;
        if self.diagnostics.len() > limits::DIAGNOSTICS {
            write!(f, "\n{}: and more; these are the first {}", self.name, limits::DIAGNOSTICS)?;
        }
        Ok(())
    }
}

impl std::error::Error for Report {}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: u32) -> Diagnostic {
        Diagnostic {
            position: Some(Position { line, column: 1 }),
            path: KeyPath::root().key("a"),
            message: "m".to_owned(),
        }
    }

    #[test]
    fn a_report_is_in_the_order_of_the_file() {
        let report = Report::new("f", vec![at(3), at(1), at(2)]).to_string();
        assert_eq!(report, "f:1:1: a: m\nf:2:1: a: m\nf:3:1: a: m");
    }

    #[test]
    fn a_report_ends_somewhere() {
        let many = (1..=limits::DIAGNOSTICS as u32 + 1).map(at).collect();
        let report = Report::new("f", many).to_string();
        assert_eq!(report.lines().count(), limits::DIAGNOSTICS + 1);
        assert!(report.ends_with("f: and more; these are the first 200"), "{report}");
    }

    #[test]
    fn a_path_quotes_keys_that_would_be_ambiguous() {
        let path = KeyPath::root().key("upstreams").key("a.b").key("endpoints").index(3);
        assert_eq!(path.to_string(), "upstreams.\"a.b\".endpoints[3]");
        assert_eq!(KeyPath::root().key("a\nb").to_string(), "\"a\\nb\"");
    }

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(quoted(&"ä".repeat(100)), format!("\"{}…\"", "ä".repeat(80)));
    }
}
