//! What the local cloud reads.

use std::collections::BTreeMap;
use std::path::Path;

use local::pattern::{Dialect, Pattern};
use local::sns::SubscribeOption;
use local::template::Template;
use serde_json::{Deserializer, Value, json};

/// A pattern, and after it documents to match.
pub(super) fn policy(input: &[u8]) {
    let mut values = Deserializer::from_slice(input).into_iter::<Value>();
    let Some(Ok(policy)) = values.next() else { return };
    let mut documents: Vec<Value> = values.map_while(Result::ok).collect();
    documents.push(policy.clone());
    documents.push(json!({"severity": "critical", "site": ["S01", "S02"], "n": 5, "nested": {"ip": "10.0.0.1"}}));
    for dialect in [Dialect::Lambda, Dialect::SnsAttributes, Dialect::SnsBody] {
        if let Ok(pattern) = Pattern::parse(&policy, dialect) {
            for document in &documents {
                pattern.matches(document);
            }
        }
    }
    if let Err(error) = format!("file:alerts.ndjson,{policy}").parse::<SubscribeOption>() {
        drop(error.to_string());
    }
}

pub(super) fn template(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let parameters = BTreeMap::from([("JwtIssuer".to_owned(), "http://127.0.0.1/".to_owned())]);
    if let Err(error) = Template::parse(Path::new("template.yaml"), text, &parameters) {
        drop(error.to_string());
    }
}
