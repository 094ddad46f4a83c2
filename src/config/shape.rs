//! What the schema says about one value, as questions.
//!
//! The schema is JSON made for editors: references to definitions, enums as lists of constants, alternatives. The
//! [`check`](super::check) wants to know: is it a map, which keys, which must be there, what would have been right?

use serde_json::Value as Json;

use crate::config::units::{self, Format, Size, Unit};

/// One place of a schema.
#[derive(Clone, Copy, Debug)]
pub struct Shape<'s> {
    root: &'s Json,
    node: &'s Json,
}

/// What a value is, without regard to what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Keys and values.
    Map,
    /// Values in order.
    List,
    /// Text.
    Text,
    /// A whole number.
    Whole,
    /// True or false.
    Flag,
}

impl<'s> Shape<'s> {
    /// The whole configuration.
    pub fn root(schema: &'s Json) -> Shape<'s> {
        Shape { root: schema, node: schema }.followed()
    }

    /// The kinds of value that it may be, one after the other; just one for most.
    pub fn alternatives(self) -> Vec<Shape<'s>> {
        match self.list("anyOf") {
            [] => vec![self],
            several => several.iter().map(|node| self.at(node)).collect(),
        }
    }

    /// The kind of value, of a shape without alternatives.
    pub fn kind(self) -> Kind {
        // Of a number or flag the schema also says that it may be text, for the sake of `${VAR}`.
        match self.text("type").or_else(|| self.list("type").first()?.as_str()) {
            Some("object") => Kind::Map,
            Some("array") => Kind::List,
            Some("integer") => Kind::Whole,
            Some("boolean") => Kind::Flag,
            _ => Kind::Text,
        }
    }

    /// The keys of a map that are known by name.
    pub fn keys(self) -> impl Iterator<Item = &'s str> {
        self.node
            .get("properties")
            .and_then(Json::as_object)
            .into_iter()
            .flatten()
            .map(|(key, _)| key.as_str())
    }

    /// Whether the operator chooses the keys of this map.
    pub fn is_open(self) -> bool {
        self.node.get("additionalProperties").is_some_and(Json::is_object)
    }

    /// The value of a key.
    pub fn value_of(self, key: &str) -> Option<Shape<'s>> {
        let known = self.node.get("properties").and_then(|properties| properties.get(key));
        let any = self.node.get("additionalProperties").filter(|any| any.is_object());
        known.or(any).map(|node| self.at(node))
    }

    /// What a key of an open map has to be.
    pub fn key_name(self) -> Option<Shape<'s>> {
        self.node.get("propertyNames").map(|node| self.at(node))
    }

    /// Keys that must be there.
    pub fn required(self) -> impl Iterator<Item = &'s str> {
        self.list("required").iter().filter_map(Json::as_str)
    }

    /// Keys of which exactly one must be there.
    pub fn choices(self) -> Vec<&'s str> {
        let keys = self.list("oneOf").iter().filter_map(|choice| choice.get("required")?.get(0)?.as_str());
        keys.collect()
    }

    /// The items of a list.
    pub fn item(self) -> Option<Shape<'s>> {
        self.node.get("items").map(|node| self.at(node))
    }

    /// Whether a list must have an item.
    pub fn wants_items(self) -> bool {
        self.node.get("minItems").and_then(Json::as_u64).is_some_and(|least| least > 0)
    }

    /// How many items a list may have at most.
    pub fn most_items(self) -> Option<usize> {
        self.node.get("maxItems").and_then(Json::as_u64).and_then(|most| most.try_into().ok())
    }

    /// Whether a text must not be empty.
    pub fn wants_text(self) -> bool {
        self.node.get("minLength").and_then(Json::as_u64).is_some_and(|least| least > 0)
    }

    /// Whether a list's items must differ.
    pub fn wants_differing_items(self) -> bool {
        self.node.get("uniqueItems").is_some_and(|unique| unique == true)
    }

    /// The only texts or numbers allowed, if there are only some; as they are written.
    pub fn words(self) -> Option<Vec<String>> {
        let constants = self.list("oneOf").iter().filter_map(|choice| choice.get("const"));
        let words: Vec<_> = self.list("enum").iter().chain(constants).map(word).collect();
        if words.is_empty() { None } else { Some(words) }
    }

    /// The unit that a text is in.
    pub fn format(self) -> Option<Format> {
        self.text("format").and_then(units::format)
    }

    /// Whether the text is a secret, which no diagnostic may repeat.
    pub fn is_secret(self) -> bool {
        self.text("format") == Some(units::Secret::FORMAT)
    }

    /// Whether the text may be a secret, which a diagnostic must not repeat when it comes from the environment.
    pub fn may_be_secret(self) -> bool {
        self.is_secret() || self.text("format") == Some(units::HeaderValue::FORMAT)
    }

    /// The least and the greatest number allowed; of sizes, in bytes.
    pub fn range(self) -> Option<(u64, u64)> {
        let bound = |keyword: &str| self.node.get(keyword).and_then(Json::as_u64);
        Some((bound("minimum").or(bound("x-min"))?, bound("maximum").or(bound("x-max"))?))
    }

    /// Completes the sentence "expected …".
    pub fn expected(self) -> String {
        match self.alternatives().as_slice() {
            [_] => self.one_expected(),
            several => several.iter().map(|shape| shape.expected()).collect::<Vec<_>>().join(", or "),
        }
    }

    fn one_expected(self) -> String {
        if let Some(words) = self.words() {
            return format!("one of {}", words.join(", "));
        }
        match self.kind() {
            Kind::Map if self.is_open() => "a map".to_owned(),
            Kind::Map => map_expected(&self.keys().collect::<Vec<_>>()),
            Kind::List if self.wants_items() => "a list with at least one item".to_owned(),
            Kind::List => "a list".to_owned(),
            Kind::Flag => "true or false".to_owned(),
            Kind::Whole => format!("a whole number{}", self.range_in_words(|number| number.to_string())),
            Kind::Text => self.text_expected(),
        }
    }

    fn text_expected(self) -> String {
        let expected = match self.format() {
            Some(format) => format.expected,
            None if self.wants_text() => "text that is not empty",
            None => "text",
        };
        format!("{expected}{}", self.range_in_words(|bytes| Size::from_bytes(bytes).write()))
    }

    fn range_in_words(self, write: impl Fn(u64) -> String) -> String {
        self.range()
            .map(|(least, most)| format!(" from {} to {}", write(least), write(most)))
            .unwrap_or_default()
    }

    fn at(self, node: &'s Json) -> Shape<'s> {
        Shape { root: self.root, node }.followed()
    }

    /// The definition that a reference names. The schema is our own: it has no circles.
    fn followed(self) -> Shape<'s> {
        let name = self.text("$ref").and_then(|reference| reference.strip_prefix('#'));
        name.and_then(|pointer| self.root.pointer(pointer)).map_or(self, |node| self.at(node))
    }

    fn text(self, keyword: &str) -> Option<&'s str> {
        self.node.get(keyword).and_then(Json::as_str)
    }

    fn list(self, keyword: &str) -> &'s [Json] {
        self.node.get(keyword).and_then(Json::as_array).map_or(&[], Vec::as_slice)
    }
}

fn map_expected(keys: &[&str]) -> String {
    match keys {
        [] => "an empty map: {}".to_owned(),
        [only] => format!("a map with the key {only}"),
        several => format!("a map with the keys {}", several.join(", ")),
    }
}

fn word(json: &Json) -> String {
    json.as_str().map_or_else(|| json.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::{listener, process, schema, upstream};

    fn expected(schema: &Json, key: &str) -> String {
        Shape::root(schema).value_of(key).unwrap().expected()
    }

    #[test]
    fn a_shape_says_what_would_be_right() {
        let limits = schema::of::<listener::ListenerLimits>();
        assert_eq!(expected(&limits, "backlog"), "a whole number from 1 to 65535");
        assert_eq!(expected(&limits, "uri"), "a size such as 512B, 64KiB, 1MiB or 1GiB from 64B to 21KiB");
        let log = schema::of::<process::AccessLog>();
        assert_eq!(expected(&log, "format"), "one of json, text");
        let upstream = schema::of::<upstream::Upstream>();
        let endpoint = Shape::root(&upstream).value_of("endpoints").and_then(Shape::item).unwrap();
        assert_eq!(
            endpoint.expected(),
            "an IP address and port such as 10.0.0.11:8080 or [fd00::11]:8080, or a map with the keys address, drain, tier, weight"
        );
    }

    #[test]
    fn every_format_of_the_schema_has_a_reading_function() {
        let schema = schema::schema().to_string();
        let names = schema.split("\"format\":\"").skip(1).filter_map(|rest| rest.split('"').next());
        for name in names.filter(|name| !name.starts_with("uint")) {
            assert!(units::format(name).is_some(), "{name}");
        }
    }

    #[test]
    fn nothing_may_be_null() {
        assert!(!schema::schema().to_string().contains("null"));
    }
}
