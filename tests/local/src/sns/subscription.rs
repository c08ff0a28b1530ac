//! Subscriptions: their attributes and filter policies.

use super::message::Message;
use super::{ACCOUNT, Job, Refusal, Sns, SnsError, SnsSettings, lock, subscription_arn};
use crate::pattern::{Dialect, Pattern};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;
use std::{fmt, io, path};

/// A subscription to a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Subscription {
    pub(super) arn: String,
    pub(super) topic: String,
    pub(super) protocol: String,
    pub(super) endpoint: String,
    pub(super) confirmed: bool,
    /// The token with which the endpoint confirms.
    pub(super) token: String,
    pub(super) raw: bool,
    /// The filter policy as JSON; empty: it has none.
    pub(super) filter_policy: String,
    pub(super) on_body: bool,
    pub(super) origin: Origin,
}

/// The origin of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Origin {
    Api,
    Template,
    CommandLine,
}

/// The value of `--subscribe`: `http://127.0.0.1:9000/hook` or `file:alerts.ndjson`, with or without a filter policy:
/// `file:critical.ndjson,{"severity":["critical"]}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscribeOption {
    protocol: String,
    endpoint: String,
    filter_policy: Option<String>,
}

/// Why the value of `--subscribe` cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubscribeOptionError {
    /// It does not start with an endpoint.
    #[error("expected http://127.0.0.1:<port>/<path> or file:<path>")]
    Endpoint,
    /// SNS refuses the endpoint or the filter policy.
    #[error("{0}")]
    Refused(String),
}

impl FromStr for SubscribeOption {
    type Err = SubscribeOptionError;

    fn from_str(text: &str) -> Result<Self, SubscribeOptionError> {
        let (address, filter_policy) = match text.split_once(",{") {
            Some((address, rest)) => (address, Some(format!("{{{rest}"))),
            None => (text, None),
        };
        let (protocol, endpoint) = match address.split_once(':') {
            Some(("http", _)) => ("http", address),
            Some(("file", path)) if !path.is_empty() => ("file", path),
            _ => return Err(SubscribeOptionError::Endpoint),
        };
        check_endpoint(protocol, endpoint).map_err(|refusal| SubscribeOptionError::Refused(refusal.message))?;
        if let Some(policy) = &filter_policy {
            parse_policy(policy, false).map_err(|refusal| SubscribeOptionError::Refused(refusal.message))?;
        }
        Ok(Self { protocol: protocol.to_owned(), endpoint: endpoint.to_owned(), filter_policy })
    }
}

impl fmt::Display for SubscribeOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.protocol == "file" {
            f.write_str("file:")?;
        }
        f.write_str(&self.endpoint)?;
        self.filter_policy.as_ref().map_or(Ok(()), |policy| write!(f, ",{policy}"))
    }
}

impl Subscription {
    /// Whether the filter policy matches the message.
    pub(super) fn wants(&self, message: &Message) -> bool {
        if self.filter_policy.is_empty() {
            return true;
        }
        let document = if self.on_body {
            serde_json::from_str(message.rendering(&self.protocol)).ok()
        } else {
            Some(message.attribute_document())
        };
        // The policy was parsed when the subscription was made.
        let policy = parse_policy(&self.filter_policy, self.on_body).ok();
        policy.zip(document).is_some_and(|(policy, document)| policy.matches(&document))
    }

    /// Emails and text messages are only shown: nothing leaves the machine.
    pub(super) fn is_shown_only(&self) -> bool {
        matches!(self.protocol.as_str(), "email" | "email-json" | "sms")
    }

    fn new(topic: &str, protocol: &str, endpoint: &str, origin: Origin) -> Result<Self, Refusal> {
        check_endpoint(protocol, endpoint)?;
        let endpoint = match protocol {
            "file" => path::absolute(endpoint).map_or_else(|_| endpoint.to_owned(), |path| path.display().to_string()),
            _ => endpoint.to_owned(),
        };
        Ok(Self {
            arn: subscription_arn(topic),
            topic: topic.to_owned(),
            protocol: protocol.to_owned(),
            endpoint,
            // An email that is not sent has no link that could be followed.
            confirmed: protocol != "http" || origin == Origin::CommandLine,
            token: format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple()),
            raw: false,
            filter_policy: String::new(),
            on_body: false,
            origin,
        })
    }

    fn set(&mut self, attributes: &BTreeMap<String, String>) -> Result<(), Refusal> {
        let refused = |why: String| Err(Refusal::parameter(&format!("Attributes Reason: {why}")));
        for (name, value) in attributes {
            match (name.as_str(), value.as_str()) {
                ("FilterPolicy", "" | "{}") => self.filter_policy = String::new(),
                ("FilterPolicy", policy) => self.filter_policy = policy.to_owned(),
                ("FilterPolicyScope", "MessageAttributes") => self.on_body = false,
                ("FilterPolicyScope", "MessageBody") => self.on_body = true,
                ("RawMessageDelivery", "true" | "false") if self.is_shown_only() => {
                    return refused(format!("RawMessageDelivery: not for protocol {}", self.protocol));
                }
                ("RawMessageDelivery", "true") => self.raw = true,
                ("RawMessageDelivery", "false") => self.raw = false,
                ("FilterPolicyScope" | "RawMessageDelivery", other) => {
                    return refused(format!("{name}: Invalid value [{other}]"));
                }
                ("DeliveryPolicy" | "RedrivePolicy" | "SubscriptionRoleArn" | "ReplayPolicy", _) => {
                    return refused(format!("{name}: the local cloud does not imitate it"));
                }
                _ => return Err(Refusal::parameter("AttributeName")),
            }
        }
        if !self.filter_policy.is_empty() {
            parse_policy(&self.filter_policy, self.on_body)?;
        }
        Ok(())
    }
}

impl Sns {
    /// As in SNS, an equal subscription returns the existing one.
    pub(super) async fn subscribe(
        &self,
        topic: &str,
        protocol: &str,
        endpoint: &str,
        attributes: BTreeMap<String, String>,
    ) -> Result<Subscription, Refusal> {
        self.topic(topic)?;
        let mut new = Subscription::new(topic, protocol, endpoint, Origin::Api)?;
        new.set(&attributes)?;
        let there = lock(&self.shared.subscriptions)
            .iter()
            .find(|s| s.topic == new.topic && s.protocol == new.protocol && s.endpoint == new.endpoint)
            .cloned();
        if let Some(there) = there {
            let same = there.raw == new.raw && there.filter_policy == new.filter_policy && there.on_body == new.on_body;
            if !same && !attributes.is_empty() {
                return Err(Refusal::parameter(
                    "Attributes Reason: Subscription already exists with different attributes",
                ));
            }
            if !there.confirmed {
                self.enqueue(Job::Confirmation { subscription: there.arn.clone() });
            }
            return Ok(there);
        }
        lock(&self.shared.subscriptions).push(new.clone());
        self.kept().await?;
        if !new.confirmed {
            self.shared.console.say(format!(
                "sns: {} has to confirm its subscription; its messages carry no valid signature",
                new.endpoint
            ));
            self.enqueue(Job::Confirmation { subscription: new.arn.clone() });
        }
        Ok(new)
    }

    pub(super) async fn confirm(&self, topic: &str, token: &str) -> Result<String, Refusal> {
        self.topic(topic)?;
        let arn = {
            let mut subscriptions = lock(&self.shared.subscriptions);
            let found = subscriptions.iter_mut().find(|s| s.topic == topic && s.token == token);
            let found = found.ok_or_else(|| Refusal::parameter("Token"))?;
            found.confirmed = true;
            found.arn.clone()
        };
        self.kept().await?;
        Ok(arn)
    }

    /// Unsubscribing an unknown ARN is no error, as in SNS.
    pub(super) async fn unsubscribe(&self, arn: &str) -> Result<(), Refusal> {
        lock(&self.shared.subscriptions).retain(|subscription| subscription.arn != arn);
        self.kept().await
    }

    pub(super) fn subscriptions(&self, topic: Option<&str>) -> Vec<Subscription> {
        let subscriptions = lock(&self.shared.subscriptions);
        let listed = subscriptions.iter().filter(|subscription| topic.is_none_or(|topic| subscription.topic == topic));
        listed.cloned().collect()
    }

    pub(super) fn subscription(&self, arn: &str) -> Option<Subscription> {
        lock(&self.shared.subscriptions).iter().find(|subscription| subscription.arn == arn).cloned()
    }

    pub(super) fn subscription_attributes(&self, arn: &str) -> Result<BTreeMap<String, String>, Refusal> {
        let subscription = self.subscription(arn).ok_or_else(unknown)?;
        let mut attributes = BTreeMap::from([
            ("SubscriptionArn", subscription.arn),
            ("TopicArn", subscription.topic),
            ("Protocol", subscription.protocol),
            ("Endpoint", subscription.endpoint),
            ("Owner", ACCOUNT.to_owned()),
            ("PendingConfirmation", (!subscription.confirmed).to_string()),
            ("ConfirmationWasAuthenticated", subscription.confirmed.to_string()),
            ("RawMessageDelivery", subscription.raw.to_string()),
        ]);
        if !subscription.filter_policy.is_empty() {
            let scope = if subscription.on_body { "MessageBody" } else { "MessageAttributes" };
            attributes.insert("FilterPolicy", subscription.filter_policy);
            attributes.insert("FilterPolicyScope", scope.to_owned());
        }
        Ok(attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    pub(super) async fn set_subscription_attribute(&self, arn: &str, name: &str, value: &str) -> Result<(), Refusal> {
        {
            let mut subscriptions = lock(&self.shared.subscriptions);
            let found = subscriptions.iter_mut().find(|subscription| subscription.arn == arn).ok_or_else(unknown)?;
            let mut changed = found.clone();
            changed.set(&BTreeMap::from([(name.to_owned(), value.to_owned())]))?;
            *found = changed;
        }
        self.kept().await
    }

    /// Makes the subscriptions of the template and the command line.
    pub(super) fn subscribe_given(&self, settings: &SnsSettings<'_>) -> Result<(), SnsError> {
        for given in settings.subscriptions {
            // Other protocols need services that the local cloud lacks: queues, functions, telephones, the internet.
            if let Err(refusal) = check_endpoint(&given.protocol, &given.endpoint) {
                settings.console.warn(format!("sns: {} is not delivered to: {}", given.name, refusal.message));
                continue;
            }
            let mut attributes = BTreeMap::new();
            attributes
                .extend(given.filter_policy.as_ref().map(|policy| ("FilterPolicy".to_owned(), policy.to_string())));
            attributes.extend(given.filter_policy_scope.clone().map(|scope| ("FilterPolicyScope".to_owned(), scope)));
            attributes.extend(given.raw.then(|| ("RawMessageDelivery".to_owned(), "true".to_owned())));
            self.give(&given.topic_arn, &given.protocol, &given.endpoint, &attributes, Origin::Template)
                .map_err(|refusal| SnsError::Subscription { what: given.name.clone(), reason: refusal.message })?;
        }
        for requested in settings.requested {
            let policy = requested.filter_policy.clone().map(|policy| ("FilterPolicy".to_owned(), policy));
            let attributes = policy.into_iter().collect();
            for topic in settings.topics {
                self.give(&topic.arn, &requested.protocol, &requested.endpoint, &attributes, Origin::CommandLine)
                    .map_err(|refusal| SnsError::Subscription {
                        what: requested.endpoint.clone(),
                        reason: refusal.message,
                    })?;
            }
        }
        Ok(())
    }

    /// The ARN is a hash of the subscription, so that open deliveries find it after a restart.
    fn give(
        &self,
        topic: &str,
        protocol: &str,
        endpoint: &str,
        attributes: &BTreeMap<String, String>,
        origin: Origin,
    ) -> Result<(), Refusal> {
        let mut new = Subscription::new(topic, protocol, endpoint, origin)?;
        new.set(attributes)?;
        new.arn = format!("{topic}:{}", stable_id(&[protocol, &new.endpoint]));
        let mut subscriptions = lock(&self.shared.subscriptions);
        subscriptions.retain(|s| s.topic != new.topic || s.protocol != new.protocol || s.endpoint != new.endpoint);
        subscriptions.push(new);
        Ok(())
    }

    pub(super) async fn keep_subscriptions(&self) -> io::Result<()> {
        let subscriptions = lock(&self.shared.subscriptions).clone();
        self.shared.store.keep_subscriptions(subscriptions).await
    }

    async fn kept(&self) -> Result<(), Refusal> {
        self.keep_subscriptions().await.map_err(|error| {
            self.shared.console.warn(format!("sns: cannot store the subscriptions: {error}"));
            Refusal::internal()
        })
    }
}

fn unknown() -> Refusal {
    Refusal::new("NotFound", "Subscription does not exist")
}

fn stable_id(parts: &[&str]) -> String {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(parts.join("\n"));
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(id).into_uuid().to_string()
}

fn parse_policy(policy: &str, on_body: bool) -> Result<Pattern, Refusal> {
    let dialect = if on_body { Dialect::SnsBody } else { Dialect::SnsAttributes };
    if policy.len() > super::message::LARGEST {
        return Err(Refusal::parameter("Attributes Reason: FilterPolicy: longer than 256 KB"));
    }
    let policy: Value = serde_json::from_str(policy).map_err(|error| {
        Refusal::parameter(&format!("Attributes Reason: FilterPolicy: failed to parse JSON. {error}"))
    })?;
    Ok(Pattern::parse(&policy, dialect)?)
}

fn check_endpoint(protocol: &str, endpoint: &str) -> Result<(), Refusal> {
    let refused = |why: &str| Err(Refusal::parameter(&format!("Endpoint Reason: {why}")));
    match protocol {
        "http" => match endpoint.parse::<http::Uri>() {
            Ok(uri) if uri.scheme_str() != Some("http") => refused("Endpoint must match the specified protocol"),
            Ok(uri) if uri.host().is_some_and(is_loopback) => Ok(()),
            Ok(_) => refused("the local cloud delivers on this machine only: 127.0.0.1, localhost or [::1]"),
            Err(_) => refused("Invalid URL"),
        },
        "file" | "email" | "email-json" | "sms" if endpoint.is_empty() => refused("Endpoint is empty"),
        "email" | "email-json" if !endpoint.contains('@') => refused("Invalid email address"),
        "sms" if endpoint.trim_start_matches('+').chars().any(|c| !c.is_ascii_digit() && c != '-') => {
            refused("Invalid SMS endpoint")
        }
        "file" | "email" | "email-json" | "sms" => Ok(()),
        "https" | "sqs" | "lambda" | "application" | "firehose" => Err(Refusal::parameter(&format!(
            "Protocol Reason: the local cloud does not deliver by {protocol}; it has http, file, email and sms"
        ))),
        _ => Err(Refusal::parameter(&format!("Does not support this protocol string: {protocol}"))),
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}
