//! An SNS that records what it is sent, with the part of the Query protocol that one topic needs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Mutex;
use std::time::SystemTime;

use serde_json::Value;

use crate::{Call, Published, Reminded, lock};

const NAMESPACE: &str = "http://sns.amazonaws.com/doc/2010-03-31/";

/// The most entries of a `PublishBatch`.
const MOST_ENTRIES: usize = 10;

#[derive(Default)]
pub(crate) struct Sns {
    alerts: Mutex<Vec<Published>>,
    reminders: Mutex<Vec<Reminded>>,
}

impl Sns {
    pub(crate) fn published_after(&self, known: usize) -> Vec<Published> {
        lock(&self.alerts)[known..].to_vec()
    }

    pub(crate) fn reminders(&self) -> Vec<Reminded> {
        lock(&self.reminders).clone()
    }

    /// Answers `call`. The entries `refused` of a batch, by their index, are not published. `stored` returns the step of
    /// the escalation in the row of the alert of a message.
    pub(crate) fn apply(
        &self,
        call: &Call,
        refused: &BTreeSet<usize>,
        stored: impl Fn(&Value) -> Option<u64>,
    ) -> (u16, String) {
        let field = |name: &str| call.body.get(name).and_then(Value::as_str).map(str::to_owned);
        let body = match call.name() {
            "GetTopicAttributes" => "<GetTopicAttributesResult><Attributes/></GetTopicAttributesResult>".to_owned(),
            "PublishBatch" => {
                let (mut successful, mut failed) = (String::new(), String::new());
                let mut ids = BTreeSet::new();
                for n in 1.. {
                    let entry = format!("PublishBatchRequestEntries.member.{n}");
                    let Some(id) = field(&format!("{entry}.Id")) else { break };
                    assert!(n <= MOST_ENTRIES && ids.insert(id.clone()), "SNS takes ten entries with ids of their own");
                    if refused.contains(&(n - 1)) {
                        let error = "<Code>InternalError</Code><SenderFault>false</SenderFault>";
                        let _infallible = write!(failed, "<member><Id>{id}</Id>{error}</member>");
                        continue;
                    }
                    let message_id = self.accept(&entry, &field, &stored);
                    let _infallible =
                        write!(successful, "<member><Id>{id}</Id><MessageId>{message_id}</MessageId></member>");
                }
                format!(
                    "<PublishBatchResult><Failed>{failed}</Failed><Successful>{successful}</Successful></PublishBatchResult>"
                )
            }
            "Publish" => {
                let body = field("Message").unwrap_or_default();
                let mut reminders = lock(&self.reminders);
                let body = serde_json::from_str(&body).expect("a reminder is JSON");
                reminders.push(Reminded { body, at: SystemTime::now() });
                format!("<PublishResult><MessageId>reminder-{}</MessageId></PublishResult>", reminders.len())
            }
            other => unreachable!("no function calls {other}"),
        };
        let name = call.name();
        (200, format!("<{name}Response xmlns=\"{NAMESPACE}\">{body}</{name}Response>"))
    }

    fn accept(
        &self,
        entry: &str,
        field: &impl Fn(&str) -> Option<String>,
        stored: &impl Fn(&Value) -> Option<u64>,
    ) -> String {
        let mut attributes = BTreeMap::new();
        for n in 1.. {
            let attribute = format!("{entry}.MessageAttributes.entry.{n}");
            let Some(name) = field(&format!("{attribute}.Name")) else { break };
            attributes.insert(name, field(&format!("{attribute}.Value.StringValue")).unwrap_or_default());
        }
        let message = field(&format!("{entry}.Message")).unwrap_or_default();
        let message: BTreeMap<String, String> = serde_json::from_str(&message).expect("a message by protocol is JSON");
        let body: Value = serde_json::from_str(&message["default"]).expect("the default message is JSON");
        let stored_step = stored(&body);
        let mut published = lock(&self.alerts);
        let message_id = format!("00000000-0000-0000-0000-{:012}", published.len());
        published.push(Published {
            message_id: message_id.clone(),
            subject: field(&format!("{entry}.Subject")).unwrap_or_default(),
            message,
            attributes,
            stored_step,
            at: SystemTime::now(),
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
