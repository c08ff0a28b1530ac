//! The AWS Query protocol of SNS: parameters from a form or a query string, responses in XML.

use super::message::{Attribute, Draft};
use super::{Refusal, Sns};
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use std::collections::BTreeMap;
use std::fmt::Write;

const NAMESPACE: &str = "http://sns.amazonaws.com/doc/2010-03-31/";

/// `POST` with a form, as the SDKs and the AWS CLI send it.
pub(super) async fn post(State(sns): State<Sns>, form: Bytes) -> Response {
    answer(sns, Form::parse(&form)).await
}

/// `GET` with a query string: the links to confirm and to unsubscribe.
pub(super) async fn get(State(sns): State<Sns>, RawQuery(query): RawQuery) -> Response {
    answer(sns, Form::parse(query.unwrap_or_default().as_bytes())).await
}

async fn answer(sns: Sns, form: Form) -> Response {
    let request_id = uuid::Uuid::new_v4();
    let action = form.text("Action").unwrap_or_default().to_owned();
    let (status, body) = match act(&sns, &action, &form).await {
        Ok(result) => (
            StatusCode::OK,
            format!(
                "<{action}Response xmlns=\"{NAMESPACE}\">{}<ResponseMetadata><RequestId>{request_id}</RequestId>\
                 </ResponseMetadata></{action}Response>",
                result.0.map_or_else(String::new, |inner| format!("<{action}Result>{inner}</{action}Result>")),
            ),
        ),
        Err(refusal) => (
            refusal.status(),
            format!(
                "<ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>{}</Type><Code>{}</Code>\
                 <Message>{}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>",
                if refusal.status().is_server_error() { "Receiver" } else { "Sender" },
                refusal.code,
                escape(&refusal.message),
            ),
        ),
    };
    (status, [(CONTENT_TYPE, "text/xml")], body).into_response()
}

/// The content of `<...Result>`; `None`: the action has no result.
struct Answer(Option<String>);

async fn act(sns: &Sns, action: &str, form: &Form) -> Result<Answer, Refusal> {
    let with = |inner: String| Ok(Answer(Some(inner)));
    match action {
        "CreateTopic" => with(element("TopicArn", &sns.topic_named(form.required("Name")?)?)),
        "ListTopics" => {
            let topics = sns.topics().map(|arn| element("member", &raw(element("TopicArn", arn))));
            with(element("Topics", &raw(topics.collect())))
        }
        "GetTopicAttributes" => with(attributes(&sns.topic_attributes(form.required("TopicArn")?)?)),
        "Publish" => {
            let topic = form.text("TopicArn").or_else(|| form.text("TargetArn"));
            let topic = topic
                .ok_or_else(|| Refusal::parameter("TopicArn or TargetArn Reason: no value for required parameter"))?;
            let published = sns.publish(topic, vec![form.draft("")]).await?;
            match published.into_iter().next() {
                Some(Ok(id)) => with(element("MessageId", &id)),
                Some(Err(refusal)) => Err(refusal),
                None => Err(Refusal::parameter("Message")),
            }
        }
        "PublishBatch" => publish_batch(sns, form).await.map(|inner| Answer(Some(inner))),
        "Subscribe" => {
            let arn = sns
                .subscribe(
                    form.required("TopicArn")?,
                    form.required("Protocol")?,
                    form.text("Endpoint").unwrap_or_default(),
                    form.entries("Attributes"),
                )
                .await?;
            let shown = arn.confirmed || form.text("ReturnSubscriptionArn") == Some("true");
            with(element("SubscriptionArn", if shown { arn.arn.as_str() } else { "pending confirmation" }))
        }
        "ConfirmSubscription" => {
            let arn = sns.confirm(form.required("TopicArn")?, form.required("Token")?).await?;
            with(element("SubscriptionArn", &arn))
        }
        "Unsubscribe" => sns.unsubscribe(form.required("SubscriptionArn")?).await.map(|()| Answer(None)),
        "ListSubscriptions" => with(subscriptions(sns, None)),
        "ListSubscriptionsByTopic" => {
            let topic = form.required("TopicArn")?;
            sns.topic_attributes(topic)?;
            with(subscriptions(sns, Some(topic)))
        }
        "GetSubscriptionAttributes" => {
            with(attributes(&sns.subscription_attributes(form.required("SubscriptionArn")?)?))
        }
        "SetSubscriptionAttributes" => {
            let value = form.text("AttributeValue").unwrap_or_default();
            sns.set_subscription_attribute(form.required("SubscriptionArn")?, form.required("AttributeName")?, value)
                .await
                .map(|()| Answer(None))
        }
        other => {
            Err(Refusal::new("InvalidAction", format!("The local cloud does not imitate the SNS action {other:?}")))
        }
    }
}

async fn publish_batch(sns: &Sns, form: &Form) -> Result<String, Refusal> {
    let topic = form.required("TopicArn")?;
    let prefix = |place: usize| format!("PublishBatchRequestEntries.member.{place}.");
    let entries: Vec<_> = (1..)
        .map(prefix)
        .take_while(|prefix| form.any(prefix))
        .map(|prefix| (form.text(&format!("{prefix}Id")).unwrap_or_default().to_owned(), form.draft(&prefix)))
        .collect();
    let ids: Vec<_> = entries.iter().map(|(id, _)| id.clone()).collect();
    check_batch(&ids, entries.iter().map(|(_, draft)| draft.size()).sum())?;
    let published = sns.publish(topic, entries.into_iter().map(|(_, draft)| draft).collect()).await?;
    let (mut successful, mut failed) = (String::new(), String::new());
    for (id, outcome) in ids.iter().zip(published) {
        let id = element("Id", id);
        match outcome {
            Ok(message) => successful += &element("member", &raw(id + &element("MessageId", &message))),
            Err(refusal) => {
                let fault = if refusal.status().is_server_error() { "false" } else { "true" };
                let parts = id
                    + &element("Code", refusal.code)
                    + &element("Message", &refusal.message)
                    + &element("SenderFault", fault);
                failed += &element("member", &raw(parts));
            }
        }
    }
    Ok(element("Successful", &raw(successful)) + &element("Failed", &raw(failed)))
}

fn check_batch(ids: &[String], size: usize) -> Result<(), Refusal> {
    if ids.is_empty() {
        return Err(Refusal::new("EmptyBatchRequest", "The batch request doesn't contain any entries."));
    }
    if ids.len() > 10 {
        return Err(Refusal::new(
            "TooManyEntriesInBatchRequest",
            "The batch request contains more entries than permissible (more than 10).",
        ));
    }
    let shape = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if ids.iter().any(|id| id.is_empty() || id.len() > 80 || !id.chars().all(shape)) {
        return Err(Refusal::new(
            "InvalidBatchEntryId",
            "The Id of a batch entry in a batch request doesn't abide by the specification.",
        ));
    }
    let mut distinct = ids.to_vec();
    distinct.sort();
    distinct.dedup();
    if distinct.len() < ids.len() {
        return Err(Refusal::new(
            "BatchEntryIdsNotDistinct",
            "Two or more batch entries in the request have the same Id.",
        ));
    }
    if size > super::message::LARGEST {
        return Err(Refusal::new(
            "BatchRequestTooLong",
            "The length of all the batch messages put together is more than the limit.",
        ));
    }
    Ok(())
}

fn subscriptions(sns: &Sns, topic: Option<&str>) -> String {
    let mut members = String::new();
    for subscription in sns.subscriptions(topic) {
        let arn = if subscription.confirmed { subscription.arn.as_str() } else { "PendingConfirmation" };
        let parts = element("TopicArn", &subscription.topic)
            + &element("Protocol", &subscription.protocol)
            + &element("SubscriptionArn", arn)
            + &element("Owner", crate::template::ACCOUNT)
            + &element("Endpoint", &subscription.endpoint);
        members += &element("member", &raw(parts));
    }
    element("Subscriptions", &raw(members))
}

fn attributes(attributes: &BTreeMap<String, String>) -> String {
    let entries =
        attributes.iter().map(|(key, value)| element("entry", &raw(element("key", key) + &element("value", value))));
    element("Attributes", &raw(entries.collect()))
}

/// The parameters of a request.
struct Form(BTreeMap<String, String>);

impl Form {
    fn parse(form: &[u8]) -> Self {
        Self(form_urlencoded::parse(form).map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn required(&self, name: &str) -> Result<&str, Refusal> {
        let value = self.text(name).filter(|value| !value.is_empty());
        value.ok_or_else(|| Refusal::parameter(&format!("{name} Reason: no value for required parameter")))
    }

    fn any(&self, prefix: &str) -> bool {
        self.0.keys().any(|name| name.starts_with(prefix))
    }

    /// `<name>.entry.1.key` and `<name>.entry.1.value`
    fn entries(&self, name: &str) -> BTreeMap<String, String> {
        (1..)
            .map(|place| format!("{name}.entry.{place}."))
            .take_while(|prefix| self.any(prefix))
            .filter_map(|prefix| {
                let value = self.text(&format!("{prefix}value")).unwrap_or_default();
                Some((self.text(&format!("{prefix}key"))?.to_owned(), value.to_owned()))
            })
            .collect()
    }

    fn draft(&self, prefix: &str) -> Draft {
        let text = |name: &str| self.text(&format!("{prefix}{name}")).map(str::to_owned);
        let attributes = (1..)
            .map(|place| format!("MessageAttributes.entry.{place}."))
            .take_while(|entry| self.any(&format!("{prefix}{entry}")))
            .filter_map(|entry| {
                let value =
                    text(&format!("{entry}Value.StringValue")).or_else(|| text(&format!("{entry}Value.BinaryValue")));
                let kind = text(&format!("{entry}Value.DataType")).unwrap_or_default();
                Some((text(&format!("{entry}Name"))?, Attribute { kind, value: value.unwrap_or_default() }))
            });
        Draft {
            message: text("Message").unwrap_or_default(),
            subject: text("Subject"),
            structure: text("MessageStructure"),
            attributes: attributes.collect(),
        }
    }
}

/// XML that is already escaped.
struct Raw(String);

fn raw(xml: String) -> Raw {
    Raw(xml)
}

trait Content {
    fn write(&self, xml: &mut String);
}

impl Content for Raw {
    fn write(&self, xml: &mut String) {
        xml.push_str(&self.0);
    }
}

impl Content for str {
    fn write(&self, xml: &mut String) {
        xml.push_str(&escape(self));
    }
}

impl Content for String {
    fn write(&self, xml: &mut String) {
        self.as_str().write(xml);
    }
}

fn element(name: &str, content: &(impl Content + ?Sized)) -> String {
    let mut xml = format!("<{name}>");
    content.write(&mut xml);
    // Writing to a string cannot fail.
    write!(xml, "</{name}>").ok();
    xml
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\r' => escaped.push_str("&#xD;"),
            c => escaped.push(c),
        }
    }
    escaped
}
