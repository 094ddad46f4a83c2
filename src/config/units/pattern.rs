//! Regular expressions over paths.
//!
//! The `regex` crate matches in time linear in the path, whatever the expression; what remains to be bounded is the
//! memory that an expression takes once compiled.

use std::fmt;

use regex::{Regex, RegexBuilder};

use crate::config::units::{Misfit, Unit, as_text};

/// Memory of one compiled expression. Ordinary ones take a few KiB; `\w{1000}` and its like take megabytes.
const BYTES: usize = 1 << 20;

/// A regular expression in the syntax of the `regex` crate.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

impl Pattern {
    /// Finds matches anywhere in a path.
    pub fn anywhere(&self) -> &Regex {
        &self.0
    }

    /// The expression as it was written.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Unit for Pattern {
    const FORMAT: &'static str = "tetap-pattern";
    const EXPECTED: &'static str = "a regular expression";
    const PATTERN: &'static str = ".+";

    fn read(text: &str) -> Result<Pattern, Misfit> {
        if text.is_empty() {
            return Err(Misfit::plain());
        }
        compile(text).map(Pattern)
    }

    fn write(&self) -> String {
        self.as_str().to_owned()
    }
}

as_text!(Pattern);

fn compile(text: &str) -> Result<Regex, Misfit> {
    let built = RegexBuilder::new(text).size_limit(BYTES).dfa_size_limit(BYTES).build();
    built.map_err(|error| Misfit::because(reason(&error)))
}

/// Why a text is no expression.
///
/// The last line of the parser's drawing is its sentence: `error: unclosed group`.
pub fn reason(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(most) => format!("it takes more than {} KiB of memory", most / 1024),
        other => {
            let text = other.to_string();
            let sentence = text.lines().last().unwrap_or_default();
            sentence.trim_start_matches("error: ").to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::units::assert_reads;

    #[test]
    fn patterns() {
        assert_reads::<Pattern>(&[("/v[0-9]+/.*", "/v[0-9]+/.*")], &["", "(", "[", "\\w{500}{500}"]);
    }

    #[test]
    fn a_reason_is_one_sentence() {
        assert_eq!(Pattern::read("/a(").unwrap_err(), Misfit::because("unclosed group"));
        assert_eq!(
            Pattern::read("\\w{500}{500}").unwrap_err(),
            Misfit::because("it takes more than 1024 KiB of memory")
        );
    }
}
