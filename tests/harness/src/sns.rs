//! An SNS that records what it is sent, with the part of the Query protocol that one topic needs.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;

use serde_json::Value;

use crate::{Call, Published, lock};

const NAMESPACE: &str = "http://sns.amazonaws.com/doc/2010-03-31/";

#[derive(Default)]
pub(crate) struct Sns(Mutex<Vec<Published>>);

impl Sns {
    pub(crate) fn published(&self) -> Vec<Published> {
        lock(&self.0).clone()
    }

    pub(crate) fn apply(&self, call: &Call) -> (u16, String) {
        let field = |name: &str| call.body.get(name).and_then(Value::as_str).map(str::to_owned);
        let body = match call.name() {
            "GetTopicAttributes" => "<GetTopicAttributesResult><Attributes/></GetTopicAttributesResult>".to_owned(),
            "PublishBatch" => {
                let mut successful = String::new();
                for n in 1.. {
                    let entry = format!("PublishBatchRequestEntries.member.{n}");
                    let Some(id) = field(&format!("{entry}.Id")) else { break };
                    let message_id = self.accept(&entry, &field);
                    let _infallible =
                        write!(successful, "<member><Id>{id}</Id><MessageId>{message_id}</MessageId></member>");
                }
                format!("<PublishBatchResult><Failed/><Successful>{successful}</Successful></PublishBatchResult>")
            }
            other => unreachable!("no function calls {other}"),
        };
        let name = call.name();
        (200, format!("<{name}Response xmlns=\"{NAMESPACE}\">{body}</{name}Response>"))
    }

    fn accept(&self, entry: &str, field: &impl Fn(&str) -> Option<String>) -> String {
        let mut attributes = BTreeMap::new();
        for n in 1.. {
            let attribute = format!("{entry}.MessageAttributes.entry.{n}");
            let Some(name) = field(&format!("{attribute}.Name")) else { break };
            attributes.insert(name, field(&format!("{attribute}.Value.StringValue")).unwrap_or_default());
        }
        let message = field(&format!("{entry}.Message")).unwrap_or_default();
        let mut published = lock(&self.0);
        let message_id = format!("00000000-0000-0000-0000-{:012}", published.len());
        published.push(Published {
            message_id: message_id.clone(),
            subject: field(&format!("{entry}.Subject")).unwrap_or_default(),
            message: serde_json::from_str(&message).expect("a message by protocol is JSON"),
            attributes,
        });
        message_id
    }
}

/// The error `body` (`__type`, `message`) in the XML of SNS. A JSON string is returned unchanged.
pub(crate) fn error(body: &Value) -> String {
    if let Value::String(answer) = body {
        return answer.clone();
    }
    let code = body["__type"].as_str().unwrap_or_default();
    format!("<ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Code>{code}</Code></Error></ErrorResponse>")
}
