//! The values that the grammar writes as text: durations, sizes, addresses, names.
//!
//! Each is a type of its own, so that a value that exists is valid. Each has one reading function, which serves the two
//! that need it: the check, which reports every misfit with its place, and `serde`, which makes the value. And each has
//! one sentence that says what is expected.

pub mod address;
pub mod cookie;
pub mod domain;
pub mod duration;
pub mod file;
pub mod header;
pub mod host;
pub mod location;
pub mod name;
pub mod output;
pub mod path;
pub mod pattern;
pub mod ratio;
pub mod size;
pub mod status;

pub use address::{AdminAddress, EndpointAddress, ListenAddress, Network};
pub use cookie::{CookieName, Secret};
pub use domain::DomainName;
pub use duration::Duration;
pub use file::FilePath;
pub use header::{HeaderName, HeaderValue, Method};
pub use host::Host;
pub use location::Location;
pub use name::Name;
pub use output::Output;
pub use path::Path;
pub use pattern::Pattern;
pub use ratio::Ratio;
pub use size::Size;
pub use status::StatusRange;

/// A value that is written as text.
pub trait Unit: Sized {
    /// What the schema calls it.
    const FORMAT: &'static str;
    /// Completes the sentence "expected …".
    const EXPECTED: &'static str;
    /// A regular expression for editors, which know the schema but not [`Unit::read`]. It stands for the whole text and is
    /// never narrower than what is read; a text with `${` in it passes anyway.
    const PATTERN: &'static str;

    /// Reads the text.
    ///
    /// # Errors
    ///
    /// Why it does not fit.
    fn read(text: &str) -> Result<Self, Misfit>;

    /// Writes the text; reading it gives the same value again.
    fn write(&self) -> String;
}

/// Why a text does not fit. "It does not look like one" needs no reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Misfit {
    /// What is wrong with it, if that is not plain from what is expected.
    pub reason: Option<String>,
    /// What was probably meant.
    pub suggestion: Option<String>,
}

impl Misfit {
    /// It does not look like one at all.
    pub fn plain() -> Misfit {
        Misfit::default()
    }

    /// With what is wrong with it.
    pub fn because(reason: impl Into<String>) -> Misfit {
        Misfit { reason: Some(reason.into()), suggestion: None }
    }

    /// With what was probably meant.
    pub fn suggest(self, suggestion: impl Into<String>) -> Misfit {
        Misfit { suggestion: Some(suggestion.into()), ..self }
    }
}

/// A [`Unit`] without its type: what the check needs of it.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    /// See [`Unit::EXPECTED`].
    pub expected: &'static str,
    /// See [`Unit::read`].
    pub read: fn(&str) -> Result<(), Misfit>,
}

/// The unit that the schema calls by this name.
pub fn format(name: &str) -> Option<Format> {
    let formats = [
        of::<AdminAddress>(),
        of::<CookieName>(),
        of::<DomainName>(),
        of::<Duration>(),
        of::<EndpointAddress>(),
        of::<FilePath>(),
        of::<HeaderName>(),
        of::<HeaderValue>(),
        of::<Host>(),
        of::<ListenAddress>(),
        of::<Location>(),
        of::<Method>(),
        of::<Name>(),
        of::<Network>(),
        of::<Output>(),
        of::<Path>(),
        of::<Pattern>(),
        of::<Ratio>(),
        of::<Secret>(),
        of::<Size>(),
        of::<StatusRange>(),
    ];
    formats.into_iter().find(|(known, _)| *known == name).map(|(_, format)| format)
}

fn of<U: Unit>() -> (&'static str, Format) {
    (U::FORMAT, Format { expected: U::EXPECTED, read: |text| U::read(text).map(drop) })
}

/// What stands in the schema: the unit's own pattern, or a reference to the environment.
pub(crate) fn editor_pattern(pattern: &str) -> String {
    format!("^({pattern}|.*\\$\\{{.*)$")
}

/// Gives a [`Unit`] its `serde` and schema sides.
macro_rules! as_text {
    ($unit:ty) => {
        impl<'de> serde::Deserialize<'de> for $unit {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                <$unit as $crate::config::units::Unit>::read(&text)
                    .map_err(|_| serde::de::Error::custom(<$unit as $crate::config::units::Unit>::EXPECTED))
            }
        }

        impl serde::Serialize for $unit {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&$crate::config::units::Unit::write(self))
            }
        }

        impl schemars::JsonSchema for $unit {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                <$unit as $crate::config::units::Unit>::FORMAT.into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                use $crate::config::units::Unit;
                schemars::json_schema!({
                    "type": "string",
                    "format": <$unit>::FORMAT,
                    "pattern": $crate::config::units::editor_pattern(<$unit>::PATTERN),
                    "description": format!("Write {}.", <$unit>::EXPECTED),
                })
            }
        }
    };
}

pub(crate) use as_text;

/// A table of texts that are read, with what they are written as, and of texts that are not.
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
pub(crate) fn assert_reads<U: Unit>(good: &[(&str, &str)], bad: &[&str]) {
    let pattern = regex::Regex::new(&editor_pattern(U::PATTERN)).unwrap();
    for (text, written) in good {
        let unit = U::read(text).unwrap_or_else(|misfit| panic!("{text}: {misfit:?}"));
        assert_eq!(unit.write(), *written, "{text}");
        assert!(U::read(written).is_ok(), "{written} is written but not read");
        assert!(pattern.is_match(text), "{text} is read, but the pattern for editors refuses it");
    }
    for text in bad {
        assert!(U::read(text).is_err(), "{text} is read");
    }
}
