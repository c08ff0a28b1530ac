//! A published message: its validation, and its renderings by protocol.

use super::Refusal;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// SNS's limit of a message with its attributes, and of a whole batch, in bytes.
pub(super) const LARGEST: usize = 256 * 1024;

/// A message that SNS accepted.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Message {
    pub(super) id: String,
    pub(super) topic: String,
    /// When it was published: RFC 3339 with milliseconds, as in SNS's documents.
    pub(super) published_at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) subject: Option<String>,
    /// Renderings by protocol; `default` always exists.
    pub(super) renderings: BTreeMap<String, String>,
    pub(super) attributes: BTreeMap<String, Attribute>,
}

/// A message attribute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Attribute {
    #[serde(rename = "Type")]
    pub(super) kind: String,
    pub(super) value: String,
}

/// A message as a caller sends it.
#[derive(Debug, Clone, Default)]
pub(super) struct Draft {
    pub(super) message: String,
    pub(super) subject: Option<String>,
    pub(super) structure: Option<String>,
    pub(super) attributes: BTreeMap<String, Attribute>,
}

impl Draft {
    /// The bytes that count against the limit.
    pub(super) fn size(&self) -> usize {
        let attributes = self.attributes.iter().map(|(name, a)| name.len() + a.kind.len() + a.value.len());
        self.message.len() + attributes.sum::<usize>()
    }

    /// Validates it by SNS's rules.
    pub(super) fn accept(self, topic: &str, now: &str) -> Result<Message, Refusal> {
        if self.message.is_empty() {
            return Err(Refusal::parameter("Empty message"));
        }
        if self.size() > LARGEST {
            return Err(Refusal::parameter("Message too long"));
        }
        if let Some(subject) = &self.subject {
            let length = subject.chars().count();
            if length == 0 || length > 100 || subject.chars().any(char::is_control) {
                return Err(Refusal::parameter("Subject"));
            }
        }
        for (name, attribute) in &self.attributes {
            attribute.check(name)?;
        }
        Ok(Message {
            id: uuid::Uuid::new_v4().to_string(),
            topic: topic.to_owned(),
            published_at: now.to_owned(),
            subject: self.subject,
            renderings: renderings(self.structure.as_deref(), self.message)?,
            attributes: self.attributes,
        })
    }
}

impl Message {
    /// The rendering for a protocol.
    pub(super) fn rendering(&self, protocol: &str) -> &str {
        let rendering = self.renderings.get(protocol).or_else(|| self.renderings.get("default"));
        rendering.map_or("", String::as_str)
    }

    /// The document that filter policies of the scope `MessageAttributes` are matched with.
    pub(super) fn attribute_document(&self) -> Value {
        let mut document = Map::new();
        for (name, attribute) in &self.attributes {
            let value = match attribute.base() {
                "Number" => serde_json::from_str(&attribute.value).unwrap_or(Value::Null),
                "String.Array" => serde_json::from_str(&attribute.value).unwrap_or(Value::Null),
                "Binary" => continue,
                _ => Value::String(attribute.value.clone()),
            };
            document.insert(name.clone(), value);
        }
        Value::Object(document)
    }

    /// SNS's JSON document for endpoints without raw delivery.
    pub(super) fn envelope(&self, protocol: &str, unsubscribe: &str, endpoint: &str) -> Value {
        let mut envelope = json!({
            "Type": "Notification",
            "MessageId": self.id,
            "TopicArn": self.topic,
            "Message": self.rendering(protocol),
            "Timestamp": self.published_at,
            "SignatureVersion": "1",
            "Signature": super::NO_SIGNATURE,
            "SigningCertURL": format!("{endpoint}/no-certificate.pem"),
            "UnsubscribeURL": unsubscribe,
        });
        if let Some(subject) = &self.subject {
            envelope["Subject"] = subject.as_str().into();
        }
        if !self.attributes.is_empty() {
            envelope["MessageAttributes"] = json!(self.attributes);
        }
        envelope
    }
}

impl Attribute {
    fn base(&self) -> &str {
        if self.kind == "String.Array" { &self.kind } else { self.kind.split('.').next().unwrap_or_default() }
    }

    fn check(&self, name: &str) -> Result<(), Refusal> {
        let refused = |why: String| Err(Refusal::value(why));
        let shape = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let lower = name.to_ascii_lowercase();
        if name.is_empty() || name.len() > 256 || !name.chars().all(shape) {
            return refused(format!("Invalid message attribute name '{name}'"));
        }
        let dots = name.starts_with('.') || name.ends_with('.') || name.contains("..");
        if dots || lower.starts_with("aws.") || lower.starts_with("amazon.") {
            return refused(format!("Invalid message attribute name '{name}'"));
        }
        if self.value.is_empty() {
            return refused(format!("The message attribute '{name}' must contain non-empty message attribute value."));
        }
        let fits = match self.base() {
            "String" | "Binary" => true,
            "Number" => self.value.parse::<f64>().is_ok_and(f64::is_finite),
            "String.Array" => serde_json::from_str::<Vec<Value>>(&self.value)
                .is_ok_and(|values| values.iter().all(|value| !value.is_array() && !value.is_object())),
            other => {
                return refused(format!(
                    "The message attribute '{name}' has an invalid message attribute type '{other}', the set of \
                     supported type prefixes is Binary, Number, and String."
                ));
            }
        };
        if fits {
            Ok(())
        } else {
            refused(format!("Could not cast message attribute '{name}' value to {}.", self.base()))
        }
    }
}

fn renderings(structure: Option<&str>, message: String) -> Result<BTreeMap<String, String>, Refusal> {
    match structure {
        None => Ok(BTreeMap::from([("default".to_owned(), message)])),
        Some("json") => {
            let refused = |why: &str| Refusal::parameter(&format!("Message Structure - {why}"));
            let parsed: BTreeMap<String, Value> =
                serde_json::from_str(&message).map_err(|_| refused("JSON message body failed to parse"))?;
            // SNS ignores keys of unknown protocols, and accepts only text for known ones.
            let texts = parsed.into_iter().filter_map(|(protocol, text)| match text {
                Value::String(text) => Some((protocol, text)),
                _ => None,
            });
            let renderings: BTreeMap<_, _> = texts.collect();
            if renderings.contains_key("default") {
                Ok(renderings)
            } else {
                Err(refused("No default entry in JSON message body"))
            }
        }
        Some(_) => Err(Refusal::parameter("MessageStructure")),
    }
}
