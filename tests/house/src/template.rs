//! Reads `template.yaml`, and finds what it grants, leaves open or does not watch.

use std::collections::BTreeSet;
use std::iter;

use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value};

mod access;
mod alarms;
mod settings;

/// A template. Functions of CloudFormation are in their long form: `!GetAtt A.B` is `{"Fn::GetAtt": "A.B"}`.
#[derive(Debug)]
pub struct Template {
    root: Value,
}

impl Template {
    /// Reads the text of a template. It panics where that is not YAML.
    pub fn parse(text: &str) -> Self {
        let documents = Yaml::load_from_str(text).unwrap_or_else(|error| panic!("the template is not YAML: {error}"));
        Self { root: value(&documents[0]) }
    }

    /// All faults: each says what is at fault and where. `permissions` are the lines that [`Template::permissions`] has
    /// to return, `guide` is the text of the guide of the alarms.
    pub fn faults(&self, permissions: &str, guide: &str) -> Vec<String> {
        [access::faults(self, permissions), settings::faults(self), alarms::faults(self, guide)].concat()
    }

    /// The names of its parameters.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        entries(&self.root["Parameters"]).map(|(name, _)| name)
    }

    /// Who may do what with which resource, under which condition: one line each.
    pub fn permissions(&self) -> BTreeSet<String> {
        access::permissions(self)
    }

    /// The resources of `kind`: logical id and whole resource.
    fn of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let resources = entries(&self.root["Resources"]);
        resources.filter(move |(_, resource)| resource["Type"] == kind)
    }

    /// The functions: logical id and whole resource.
    fn functions(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.of("AWS::Serverless::Function")
    }

    /// The events of `kind` of all functions: logical id of the function, name and properties of the event.
    fn events<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = (&'a str, &'a str, &'a Value)> {
        let events = self.functions().flat_map(|(function, resource)| {
            entries(&resource["Properties"]["Events"]).map(move |(name, event)| (function, name, event))
        });
        events
            .filter(move |(_, _, event)| event["Type"] == kind)
            .map(|(f, name, event)| (f, name, &event["Properties"]))
    }

    /// The parameters that `value` depends on, those of the conditions in it included.
    fn parameters_of(&self, value: &Value) -> BTreeSet<String> {
        let conditions: BTreeSet<&str> = conditions(value).collect();
        let of_conditions = conditions.into_iter().flat_map(|name| references(&self.root["Conditions"][name]));
        let all = references(value).into_iter().chain(of_conditions);
        all.filter(|name| !self.root["Parameters"][name.as_str()].is_null()).collect()
    }
}

/// The conditions in `value`, anywhere in it.
fn conditions(value: &Value) -> Box<dyn Iterator<Item = &str> + '_> {
    match value {
        Value::Array(elements) => Box::new(elements.iter().flat_map(conditions)),
        Value::Object(map) => {
            let own = map.get("Fn::If").and_then(|parts| parts[0].as_str());
            Box::new(own.into_iter().chain(map.values().flat_map(conditions)))
        }
        _ => Box::new(std::iter::empty()),
    }
}

/// The entries of a map; none of any other value.
fn entries(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(key, value)| (key.as_str(), value))
}

/// The elements of a list; a value that is no list counts as a list of one, and an absent one as empty.
fn elements(value: &Value) -> &[Value] {
    match value {
        Value::Null => &[],
        Value::Array(elements) => elements,
        one => std::slice::from_ref(one),
    }
}

/// The texts of a list of them.
fn texts(value: &Value) -> BTreeSet<&str> {
    elements(value).iter().filter_map(Value::as_str).collect()
}

/// What a value refers to, or its text: `RecordsTable` for `!GetAtt RecordsTable.Arn`, `RecordsTable/index/site` for
/// `!Sub ${RecordsTable.Arn}/index/site`.
fn named(value: &Value) -> String {
    let without_attribute = |text: &str| text.trim_end_matches(".Arn").to_owned();
    if let Some(text) = value.as_str().or(value["Ref"].as_str()) {
        text.to_owned()
    } else if let Some(text) = value["Fn::GetAtt"].as_str() {
        without_attribute(text)
    } else if let Some(text) = value["Fn::Sub"].as_str() {
        text.replace(".Arn}", "}").replace("${", "").replace('}', "")
    } else {
        value.to_string()
    }
}

/// The parameters and resources that `value` refers to, anywhere in it.
fn references(value: &Value) -> BTreeSet<String> {
    match value {
        Value::Array(elements) => elements.iter().flat_map(references).collect(),
        Value::Object(map) => map
            .iter()
            .flat_map(|(key, value)| match (key.as_str(), value) {
                ("Ref", Value::String(name)) => BTreeSet::from([name.clone()]),
                ("Fn::GetAtt", Value::String(name)) => name.split('.').take(1).map(str::to_owned).collect(),
                ("Fn::Sub", Value::String(text)) => substituted(text),
                ("Fn::Sub", Value::Array(parts)) => {
                    let text = parts.first().and_then(Value::as_str).unwrap_or_default();
                    let own: BTreeSet<String> =
                        parts.get(1).into_iter().flat_map(entries).map(|(key, _)| key.to_owned()).collect();
                    let inner = parts.iter().flat_map(references);
                    substituted(text).into_iter().chain(inner).filter(|name| !own.contains(name)).collect()
                }
                _ => references(value),
            })
            .collect(),
        _ => BTreeSet::new(),
    }
}

/// The names in `${...}`.
fn substituted(text: &str) -> BTreeSet<String> {
    let names = text.split("${").skip(1).filter_map(|rest| rest.split('}').next());
    names.filter_map(|name| name.split('.').next()).map(str::to_owned).collect()
}

fn value(yaml: &Yaml<'_>) -> Value {
    match yaml {
        Yaml::Tagged(tag, inner) if tag.handle == "!" => {
            let name = match tag.suffix.as_str() {
                "Ref" | "Condition" => tag.suffix.clone(),
                function => format!("Fn::{function}"),
            };
            Value::Object(Map::from_iter(iter::once((name, value(inner)))))
        }
        Yaml::Tagged(_, inner) => value(inner),
        Yaml::Value(Scalar::Boolean(b)) => (*b).into(),
        Yaml::Value(Scalar::Integer(i)) => (*i).into(),
        Yaml::Value(Scalar::FloatingPoint(f)) => f.into_inner().into(),
        Yaml::Value(Scalar::String(text)) => text.as_ref().into(),
        Yaml::Sequence(items) => items.iter().map(value).collect(),
        Yaml::Mapping(entries) => {
            let key = |key: &Yaml<'_>| match value(key) {
                Value::String(text) => text,
                other => other.to_string(),
            };
            Value::Object(entries.iter().map(|(name, inner)| (key(name), value(inner))).collect())
        }
        _ => Value::Null,
    }
}
