//! As much of JSON Schema (draft 2020-12) as `docs/status.schema.json` and `docs/check.schema.json` use. A word that is not
//! known here is an error.
//!
//! The crates that know all of it bring some seventy others with them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Whether a value is what the schema says; if not, where and why.
pub fn check(schema: &Value, value: &Value) -> Result<(), String> {
    Schema { root: schema }.check(schema, value, "$")
}

/// What rokeep wrote, if it is what the schema in this file of the tree says, and what the type says.
pub fn read<T: DeserializeOwned>(schema: &str, text: &str) -> Result<T, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join(schema);
    let schema = std::fs::read(&schema).map_err(|error| format!("{}: {error}", schema.display()))?;
    let schema = serde_json::from_slice(&schema).map_err(|error| format!("the schema: {error}"))?;
    check(&schema, &value)?;
    serde_json::from_value(value).map_err(|error| error.to_string())
}

/// A page of the documentation has each field of a schema in a table, below a heading for each part, and no other. `whole` is
/// what the page calls the outermost part.
pub fn assert_documented(schema: &str, whole: &str, page: &str) {
    let schema: Value = serde_json::from_str(schema).expect("a schema");
    let fields = |object: &Value| object["properties"].as_object().expect("an object").keys().cloned().collect();
    let mut described: BTreeMap<String, BTreeSet<String>> = BTreeMap::from([(whole.to_owned(), fields(&schema))]);
    let parts = schema["$defs"].as_object().expect("definitions");
    described.extend(parts.iter().map(|(name, part)| (name.clone(), fields(part))));

    let mut documented: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut part = String::new();
    for line in page.lines() {
        if let Some(name) = line.strip_prefix("### ") {
            part = name.to_owned();
        } else if let Some((field, _)) = line.strip_prefix("| `").and_then(|row| row.split_once('`')) {
            documented.entry(part.clone()).or_default().insert(field.to_owned());
        }
    }
    assert_eq!(documented, described);
}

struct Schema<'a> {
    root: &'a Value,
}

impl Schema<'_> {
    fn check(&self, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
        let words = schema.as_object().ok_or_else(|| format!("no schema for {at}: {schema}"))?;
        words.iter().try_for_each(|(word, meant)| self.word(words, word, meant, value, at))
    }

    fn word(
        &self,
        words: &Map<String, Value>,
        word: &str,
        meant: &Value,
        value: &Value,
        at: &str,
    ) -> Result<(), String> {
        let wrong = |what: &str| Err(format!("{at} is {value}, {what} {meant}"));
        match word {
            "$schema" | "$id" | "$defs" | "title" | "description" => Ok(()),
            "$ref" => self.check(self.definition(meant)?, value, at),
            "type" => {
                let types = meant.as_array().map_or_else(|| vec![meant], |types| types.iter().collect());
                let fits = types.iter().filter_map(|name| name.as_str()).any(|name| is_of_type(value, name));
                if fits { Ok(()) } else { wrong("and should be of type") }
            }
            "const" if value == meant => Ok(()),
            "const" => wrong("and should be"),
            "enum" if meant.as_array().is_some_and(|all| all.contains(value)) => Ok(()),
            "enum" => wrong("and should be one of"),
            "minimum" if value.as_i64() >= meant.as_i64() => Ok(()),
            "minimum" => wrong("and should be at least"),
            "items" => {
                let mut items = value.as_array().into_iter().flatten().enumerate();
                items.try_for_each(|(number, item)| self.check(meant, item, &format!("{at}[{number}]")))
            }
            "oneOf" => {
                let all = meant.as_array().into_iter().flatten();
                let failed: Vec<String> = all.clone().filter_map(|one| self.check(one, value, at).err()).collect();
                let fitting = all.count() - failed.len();
                if fitting == 1 { Ok(()) } else { Err(format!("{at} fits {fitting} of {}", failed.join(" / "))) }
            }
            "required" => {
                let names = meant.as_array().into_iter().flatten().filter_map(Value::as_str);
                let missing = |name: &&str| value.is_object() && value.get(name).is_none();
                names.filter(missing).try_for_each(|name| Err(format!("{at} has no {name}: {value}")))
            }
            "properties" => {
                let known = meant.as_object().into_iter().flatten();
                let mut there = known.filter_map(|(name, schema)| Some((name, schema, value.get(name)?)));
                there.try_for_each(|(name, schema, value)| self.check(schema, value, &format!("{at}.{name}")))
            }
            "additionalProperties" if *meant == Value::Bool(false) => {
                let known = words.get("properties").and_then(Value::as_object);
                let unknown = |name: &&String| known.is_none_or(|known| !known.contains_key(*name));
                let names = value.as_object().into_iter().flat_map(Map::keys);
                names.filter(unknown).try_for_each(|name| Err(format!("{at} has {name}, which is not described")))
            }
            other => Err(format!("the schema has a word that is not known here: {other}")),
        }
    }

    fn definition(&self, name: &Value) -> Result<&Value, String> {
        let pointer = name.as_str().and_then(|name| name.strip_prefix('#'));
        pointer.and_then(|pointer| self.root.pointer(pointer)).ok_or_else(|| format!("no definition: {name}"))
    }
}

fn is_of_type(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}
