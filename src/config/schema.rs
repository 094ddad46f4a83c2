//! The JSON Schema of the configuration, made from the types.
//!
//! It serves twice: editors read it (`# yaml-language-server: $schema=…` at the top of a file) and so does the
//! [`check`](super::check), so that what an editor accepts and what the program accepts cannot drift apart.

use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema};
use serde_json::{Value, json};

use crate::config::Config;

/// The schema (JSON Schema 2020-12).
pub fn schema() -> Value {
    of::<Config>()
}

/// The schema of one kind of file.
pub(super) fn of<T: JsonSchema>() -> Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>();
    RecursiveTransform(tidy).transform(&mut schema);
    schema.insert("title".to_owned(), json!("tetap"));
    schema.to_value()
}

/// A key that may be left out is not a key that may be empty: `null` is no value here. A number or flag may come from the
/// environment, which an editor sees as text. And a default that is a map says again what its keys' own defaults say.
fn tidy(schema: &mut Schema) {
    let Some(keywords) = schema.as_object_mut() else { return };
    if let Some(Value::Array(types)) = keywords.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [kind] = types.as_slice() {
            let kind = kind.clone();
            keywords.insert("type".to_owned(), kind);
        }
    }
    if let Some(Value::Array(alternatives)) = keywords.get_mut("anyOf") {
        alternatives.retain(|alternative| alternative != &json!({"type": "null"}));
        if let [Value::Object(only)] = alternatives.as_mut_slice() {
            let mut only = std::mem::take(only);
            keywords.remove("anyOf");
            only.append(keywords);
            *keywords = only;
        }
    }
    let is_plain = keywords.get("type").is_some_and(|kind| kind == "integer" || kind == "boolean");
    if is_plain && !keywords.contains_key("enum") {
        let kind = keywords.remove("type");
        keywords.insert("type".to_owned(), json!([kind, "string"]));
        keywords.insert("pattern".to_owned(), json!("\\$\\{"));
    }
    if keywords.get("default").is_some_and(|value| !is_scalar(value)) {
        keywords.remove("default");
    }
}

fn is_scalar(value: &Value) -> bool {
    matches!(value, Value::Bool(_) | Value::Number(_) | Value::String(_))
}
