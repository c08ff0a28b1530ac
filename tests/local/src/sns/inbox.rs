//! The clinician inbox: every published message and the status of its deliveries.

use super::message::Message;
use super::{Sns, lock};
use crate::feed::Event;
use axum::Json;
use axum::extract::{RawQuery, State};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// A message in the inbox.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) message: Message,
    pub(super) deliveries: Vec<Delivery>,
}

/// The delivery of a message to one subscription.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Delivery {
    pub(super) subscription: String,
    pub(super) protocol: String,
    pub(super) endpoint: String,
    pub(super) status: Status,
}

/// The status of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Status {
    /// In progress, or waiting for a retry.
    Open,
    /// The endpoint accepted it.
    Delivered,
    /// The endpoint refused it, or did not answer up to the last retry.
    Failed,
    /// An email or a text message: nothing leaves the machine, the inbox shows it.
    Shown,
}

impl Entry {
    /// What the web console is shown of it.
    pub(super) fn event(&self) -> Event {
        let body: Value = serde_json::from_str(self.message.rendering("default")).unwrap_or_default();
        let text = |name: &str| body[name].as_str().map(str::to_owned);
        Event::Published {
            at: self.message.published_at.clone(),
            alert_id: text("alertId"),
            submission_id: text("submissionId"),
            severity: text("severity"),
            escalation: body["escalation"].as_u64(),
        }
    }

    pub(super) fn open(&self) -> impl Iterator<Item = &Delivery> {
        self.deliveries.iter().filter(|delivery| delivery.status == Status::Open)
    }
}

/// `GET /local/inbox?site&severity`: `{"messages": [..]}`, newest first. Each has `messageId`, `publishedAt`, `topic`,
/// `subject`, `attributes` (name to text), `body` (the default rendering, parsed if it is JSON),
/// `renderings` (protocol to text) and `deliveredTo` (`protocol`, `endpoint`, `status`: `open`, `delivered`, `failed`
/// or `shown`, and for an email or a text message `text`).
pub(super) async fn get(State(sns): State<Sns>, RawQuery(query): RawQuery) -> Json<Value> {
    let conditions: Vec<(String, String)> =
        form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect();
    let fits = |entry: &&Entry| {
        let attribute = |name: &str| entry.message.attributes.get(name).map(|attribute| attribute.value.as_str());
        conditions.iter().all(|(name, value)| attribute(name) == Some(value.as_str()))
    };
    let messages: Vec<_> = lock(&sns.shared.inbox).iter().rev().filter(fits).map(show).collect();
    Json(json!({ "messages": messages }))
}

fn show(Entry { message, deliveries }: &Entry) -> Value {
    let default = message.rendering("default");
    let attributes: Map<String, Value> = message
        .attributes
        .iter()
        .map(|(name, attribute)| (name.clone(), Value::String(attribute.value.clone())))
        .collect();
    let delivered_to: Vec<_> = deliveries
        .iter()
        .map(|delivery| {
            let mut shown =
                json!({"protocol": delivery.protocol, "endpoint": delivery.endpoint, "status": delivery.status});
            if delivery.status == Status::Shown {
                shown["text"] = message.rendering(&delivery.protocol).into();
            }
            shown
        })
        .collect();
    json!({
        "messageId": message.id,
        "publishedAt": message.published_at,
        "topic": message.topic,
        "subject": message.subject,
        "attributes": attributes,
        "body": serde_json::from_str(default).unwrap_or_else(|_| Value::String(default.to_owned())),
        "renderings": message.renderings,
        "deliveredTo": delivered_to,
    })
}
