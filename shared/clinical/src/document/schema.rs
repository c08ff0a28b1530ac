//! The bounds on numbers, lengths and counts in the JSON Schemas, enforced when definitions are loaded.
//!
//! A bound is written in the schema only, so that schema and loader cannot differ. Nothing else is read from the
//! schema: `serde` checks the format of a definition, and the loaders check its meaning.

use std::sync::OnceLock;

use serde_json::{Map, Value};

use super::fault::DefinitionFault;
use super::pointer::pointer;

/// The JSON Schema of one kind of definition.
pub(crate) struct Schema {
    /// The file name, by which other schemas refer to it.
    pub(crate) name: &'static str,
    json: &'static str,
    /// The other schemas that it refers to.
    others: &'static [&'static Schema],
    parsed: OnceLock<Value>,
}

/// A subschema, and the document that its references are relative to.
type Node = (&'static Schema, &'static Value);

impl Schema {
    pub(crate) const fn new(name: &'static str, json: &'static str, others: &'static [&'static Schema]) -> Self {
        Self { name, json, others, parsed: OnceLock::new() }
    }

    /// The numbers, texts, lists and maps of `document` that are out of bounds, except those that `faults` already
    /// report. `document` must have the format that the schema describes.
    pub(crate) fn beyond_bounds(&'static self, document: &Value, faults: &[DefinitionFault]) -> Vec<DefinitionFault> {
        let mut found = Vec::new();
        check((self, self.root()), document, String::new(), &mut found);
        found.retain(|found| !faults.iter().any(|fault| fault.pointer == found.pointer));
        found
    }

    fn root(&'static self) -> &'static Value {
        self.parsed.get_or_init(|| serde_json::from_str(self.json).expect("the tests read each schema"))
    }
}

fn check(part: Node, value: &Value, at: String, found: &mut Vec<DefinitionFault>) {
    let (document, schema) = resolved(part);
    if let Some(alternatives) = schema["anyOf"].as_array() {
        let suits = |alternative: &&'static Value| is_of_type(resolved((document, alternative)).1, value);
        for alternative in alternatives.iter().filter(suits) {
            check((document, alternative), value, at.clone(), found);
        }
        return;
    }
    let mut fault = |at: &str, problem: String, advice: String| {
        found.push(DefinitionFault { file: None, pointer: at.to_owned(), code: "bounds", problem, advice });
    };
    match value {
        Value::Number(number) => {
            // Bounds are integers, which a double represents exactly.
            let number = number.as_f64().unwrap_or(f64::INFINITY);
            let (least, most) = (&schema["minimum"], &schema["maximum"]);
            let is_below = least.as_f64().is_some_and(|least| number < least);
            if is_below || most.as_f64().is_some_and(|most| number > most) {
                let problem = "the number is out of bounds".to_owned();
                let advice = match least {
                    Value::Null => format!("write a number of at most {most}"),
                    least => format!("write a number from {least} to {most}"),
                };
                fault(&at, problem, advice);
            }
        }
        Value::String(text) => {
            let length = text.chars().count();
            if let Some(most) = beyond(length, &schema["maxLength"]) {
                fault(&at, format!("the text has {length} characters"), format!("write at most {most} characters"));
            }
        }
        Value::Array(entries) => {
            if let Some(most) = beyond(entries.len(), &schema["maxItems"]) {
                fault(&at, format!("the list has {} entries", entries.len()), format!("keep at most {most} entries"));
            }
            for (index, entry) in entries.iter().enumerate() {
                check((document, &schema["items"]), entry, pointer(&at, index), found);
            }
        }
        Value::Object(members) => {
            if let Some(most) = beyond(members.len(), &schema["maxProperties"]) {
                fault(&at, format!("the object has {} members", members.len()), format!("keep at most {most} members"));
            }
            check_members((document, schema), members, &at, found);
        }
        Value::Null | Value::Bool(_) => {}
    }
}

fn check_members((document, schema): Node, members: &Map<String, Value>, at: &str, found: &mut Vec<DefinitionFault>) {
    for (name, member) in members {
        let at = pointer(at, name);
        match &schema["properties"][name] {
            Value::Null => {
                let name = Value::String(name.clone());
                check((document, &schema["propertyNames"]), &name, at.clone(), found);
                check((document, &schema["additionalProperties"]), member, at, found);
            }
            known => check((document, known), member, at, found),
        }
    }
}

/// Resolves a reference: `#/$defs/id`, or `instrument.schema.json#/$defs/rule` from another schema.
fn resolved((document, schema): Node) -> Node {
    let Some(reference) = schema["$ref"].as_str() else { return (document, schema) };
    let (file, place) = reference.split_once('#').unwrap_or((reference, ""));
    let document = match file {
        "" => document,
        file => document.others.iter().find(|other| other.name == file).expect("the tests follow each reference"),
    };
    let schema = document.root().pointer(place).expect("the tests follow each reference");
    resolved((document, schema))
}

fn is_of_type(schema: &Value, value: &Value) -> bool {
    match schema["type"].as_str() {
        Some("string") => value.is_string(),
        Some("number" | "integer") => value.is_number(),
        Some("object") => value.is_object(),
        _ => true,
    }
}

fn beyond(count: usize, most: &Value) -> Option<u64> {
    most.as_u64().filter(|most| count as u64 > *most)
}
