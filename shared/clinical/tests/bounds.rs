//! Every number, length and count of a definition is bounded, in the schema and by the loader.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it cannot read")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use clinical::document::{DefinitionFault, pointer};
use clinical::forms::Form;
use clinical::instruments::Instrument;
use clinical::studies::Study;
use serde_json::{Value, json};

type Load = fn(&str) -> Result<(), Vec<DefinitionFault>>;

/// The file of a schema, a document in `tests/bounds` with every part of it, and the loader.
const KINDS: [(&str, &str, Load); 3] = [
    ("instruments/instrument.schema.json", "instrument.json", |json| Instrument::parse(json).map(drop)),
    ("studies/study.schema.json", "study.json", |json| Study::parse(json)?.with_instruments(&[], |_| true).map(drop)),
    ("forms/form.schema.json", "form.json", |json| Form::parse(json).map(drop)),
];

#[test]
fn each_schema_bounds_every_number_text_list_and_map() {
    for (file, ..) in KINDS {
        for (place, schema) in parts(&read(file), String::new()) {
            let has = |names: &[&str]| names.iter().any(|name| schema.get(*name).is_some());
            let bounded = match schema["type"].as_str() {
                Some("number" | "integer") => has(&["minimum", "exclusiveMinimum"]) && has(&["maximum"]),
                Some("string") => has(&["maxLength"]),
                Some("array") => has(&["maxItems"]),
                Some("object") if schema["additionalProperties"] != false => {
                    has(&["maxProperties"]) && has(&["propertyNames"])
                }
                _ => true,
            };
            assert!(bounded, "{file}#{place} has no bounds: {schema}");
        }
    }
}

#[test]
fn values_beyond_a_bound_of_the_schema_are_rejected_and_values_at_it_are_accepted() {
    for (file, document, load) in KINDS {
        let document = read(&format!("tests/bounds/{document}"));
        let bounds = bounds_of(file, &document);
        for Bound { place, at, key } in &bounds {
            let schema = read(place.split_once('#').unwrap().0);
            let schema = schema.pointer(place.split_once('#').unwrap().1).unwrap();
            // If the names of a map's members are ids, their bound is the length of an id.
            let limit =
                if *key == NAMES { schema[key]["maxLength"].as_i64().or(Some(64)) } else { schema[key].as_i64() };
            let limit = limit.unwrap();
            for beyond in [false, true] {
                let mut changed = document.clone();
                let value = changed.pointer_mut(at).unwrap_or_else(|| panic!("{at}"));
                let at = exceed(value, key, limit, beyond, at);
                let faults = load(&changed.to_string()).err().unwrap_or_default();
                let refused = faults.iter().any(|fault| match fault.code {
                    "bounds" => fault.pointer == at,
                    // Another fault at this pointer, or a format error, which ends parsing.
                    _ => beyond && (fault.pointer == at || fault.code == "form"),
                });
                assert_eq!(refused, beyond, "{place} {key}: {limit} at {at}: {faults:#?}");
            }
        }
        let reached: BTreeSet<_> = bounds.into_iter().map(|bound| (bound.place, bound.key)).collect();
        let missed: Vec<_> = all_bounds(file).into_iter().filter(|bound| !reached.contains(bound)).collect();
        assert!(missed.is_empty(), "tests/bounds has nothing for {missed:#?}");
    }
}

/// Makes `value` as large as a bound permits, or one larger. Returns the pointer of the difference.
fn exceed(value: &mut Value, key: &str, limit: i64, beyond: bool, at: &str) -> String {
    let by = i64::from(beyond);
    let size = usize::try_from(limit + by).unwrap_or_default();
    match key {
        "minimum" => *value = json!(limit - by),
        "maximum" => *value = json!(limit + by),
        "maxLength" => {
            let text = value.as_str().unwrap().to_owned();
            let filler = if text.chars().all(|c| c.is_ascii_digit() || c == '.') { "0" } else { "x" };
            *value = json!(text.chars().chain(filler.repeat(size).chars()).take(size).collect::<String>());
        }
        "maxItems" => {
            let entries = value.as_array_mut().unwrap();
            let last = entries.last().unwrap().clone();
            entries.resize(size, last);
        }
        "maxProperties" => {
            let members = value.as_object_mut().unwrap();
            let last = members.values().next_back().unwrap().clone();
            for number in 0..size - members.len() {
                let name = |letter: usize| char::from(b'a' + u8::try_from(letter % 26).unwrap());
                members.insert(format!("{}{}-ab", name(number), name(number / 26)), last.clone());
            }
        }
        NAMES => {
            let members = value.as_object_mut().unwrap();
            let (name, member) = members.iter().next().map(|(name, member)| (name.clone(), member.clone())).unwrap();
            let longer: String = name.chars().chain("x".repeat(size).chars()).take(size).collect();
            members.remove(&name);
            members.insert(longer.clone(), member);
            return pointer(at, longer);
        }
        other => panic!("{other} is no bound"),
    }
    at.to_owned()
}

/// A bound: its pointer in the schema, and the pointer of a value that it applies to.
struct Bound {
    place: String,
    at: String,
    key: &'static str,
}

const NAMES: &str = "propertyNames";
const KEYS: [&str; 6] = ["minimum", "maximum", "maxLength", "maxItems", "maxProperties", NAMES];

/// The bounds that apply to `document`, each at the first value that it applies to.
fn bounds_of(file: &str, document: &Value) -> Vec<Bound> {
    let mut bounds = Vec::new();
    walk(file, "", document, String::new(), &mut bounds);
    let mut seen = BTreeSet::new();
    bounds.retain(|bound| seen.insert((bound.place.clone(), bound.key)));
    bounds
}

fn walk(file: &str, place: &str, value: &Value, at: String, bounds: &mut Vec<Bound>) {
    let root = read(file);
    let Some(schema) = root.pointer(place) else { return };
    if let Some(reference) = schema["$ref"].as_str() {
        let (name, place) = reference.split_once('#').unwrap();
        let file = if name.is_empty() { file.to_owned() } else { format!("instruments/{name}") };
        return walk(&file, place, value, at, bounds);
    }
    for index in 0..schema["anyOf"].as_array().map_or(0, Vec::len) {
        walk(file, &format!("{place}/anyOf/{index}"), value, at.clone(), bounds);
    }
    let suits = match schema["type"].as_str() {
        Some("number" | "integer") => value.is_number(),
        Some("string") => value.is_string(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => false,
    };
    if !suits {
        return;
    }
    let place_of = |part: &str| format!("{file}#{place}{part}");
    for key in KEYS.into_iter().filter(|key| schema.get(*key).is_some()) {
        bounds.push(Bound { place: place_of(""), at: at.clone(), key });
    }
    for (index, entry) in value.as_array().into_iter().flatten().enumerate() {
        walk(file, &format!("{place}/items"), entry, format!("{at}/{index}"), bounds);
    }
    for (name, member) in value.as_object().into_iter().flatten() {
        let known = pointer(&format!("{place}/properties"), name);
        let at = pointer(&at, name);
        if root.pointer(&known).is_some() {
            walk(file, &known, member, at, bounds);
        } else {
            walk(file, &format!("{place}/additionalProperties"), member, at, bounds);
        }
    }
}

fn all_bounds(file: &str) -> Vec<(String, &'static str)> {
    let bounded = |(place, schema): (String, Value)| {
        let keys = KEYS.into_iter().filter(move |key| schema.get(*key).is_some());
        keys.map(move |key| (place.clone(), key)).collect::<Vec<_>>()
    };
    let all = parts(&read(file), String::new()).into_iter().flat_map(bounded);
    // The bound of a map's names belongs to the map.
    all.filter(|(place, _)| !place.ends_with("/propertyNames"))
        .map(|(place, key)| (format!("{file}#{place}"), key))
        .collect()
}

/// Every subschema of a schema, by its pointer.
fn parts(schema: &Value, at: String) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    match schema {
        Value::Object(members) => {
            found.push((at.clone(), schema.clone()));
            for (name, member) in members {
                found.extend(parts(member, pointer(&at, name)));
            }
        }
        Value::Array(entries) => {
            for (index, entry) in entries.iter().enumerate() {
                found.extend(parts(entry, pointer(&at, index)));
            }
        }
        _ => {}
    }
    // A property named `type` is not the keyword.
    found.retain(|(_, schema)| schema["type"].is_string() || !schema["anyOf"].is_null());
    found
}

fn read(file: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let json = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&json).unwrap()
}
