//! The topic that clinicians subscribe to.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_sns::Client;
use aws_sdk_sns::config::Builder;
use aws_sdk_sns::types::{MessageAttributeValue, PublishBatchRequestEntry};
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::SdkConfig;
use invocation::aws::{AdaptiveTimeout, Failure, FailureKind, Limits, SharedHttpClient, call, sdk_config};
use invocation::{Deadline, Environment, EnvironmentError};

use crate::message::{LinkTemplate, Notice};

const OPERATION: &str = "PublishBatch of alerts";
const PUBLISH: Limits = Limits { most: Duration::from_secs(5), least: Duration::from_millis(100) };
/// What one PublishBatch takes. Ten notices are 20 KB, of the 256 KB that it takes.
const MOST_ENTRIES: usize = 10;
const FIRST_WAIT: Duration = Duration::from_millis(25);
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// The topic that clinicians subscribe to. Made once an environment: it holds the connections.
#[derive(Clone, Debug)]
pub struct Topic {
    sns: Client,
    arn: String,
    link: LinkTemplate,
}

impl Topic {
    /// The topic `arn`, reached as `config` says, with alerts that are opened at `link`.
    pub fn new(config: &SdkConfig, arn: &str, link: LinkTemplate) -> Self {
        let config = Builder::from(config).interceptor(AdaptiveTimeout::default()).build();
        Self { sns: Client::from_conf(config), arn: arn.to_owned(), link }
    }

    /// The topic that the environment variables name, reached by `https`.
    ///
    /// # Errors
    /// If one is missing.
    pub fn from_environment(environment: &Environment, https: SharedHttpClient) -> Result<Self, EnvironmentError> {
        let config = sdk_config(environment, "AWS_ENDPOINT_URL_SNS", https)?;
        let link = LinkTemplate::new(environment.required("ALERT_LINK")?);
        Ok(Self::new(&config, environment.required("ALERTS_TOPIC_ARN")?, link))
    }

    /// Opens the connection, TLS handshake included, by a cheap read. For start-up. If it fails, the first publication
    /// opens the connection.
    pub async fn warm_up(&self) {
        let deadline = Deadline::after(Duration::from_secs(3));
        let limits = Limits { most: Duration::from_secs(2), ..PUBLISH };
        let request = self.sns.get_topic_attributes().topic_arn(&self.arn);
        let sent = call(deadline, limits, |timeouts| request.customize().config_override(config(timeouts)).send());
        if let Err(failure) = sent.await.map_err(|error| error.into_failure("GetTopicAttributes at start-up")) {
            tracing::warn!(event = "warm_up_failed", %failure);
        }
    }

    /// Publishes `notices`. Answers for each of them, in order, with the message id that SNS gave it. What was not
    /// confirmed is sent again inside the deadline, so a notice may be published more than once.
    pub async fn publish(&self, notices: &[Notice], deadline: Deadline) -> Vec<Result<String, Failure>> {
        let mut results = Vec::with_capacity(notices.len());
        for batch in notices.chunks(MOST_ENTRIES) {
            results.extend(self.publish_batch(batch, deadline).await);
        }
        results
    }

    async fn publish_batch(&self, notices: &[Notice], deadline: Deadline) -> Vec<Result<String, Failure>> {
        let mut confirmed: HashMap<usize, String> = HashMap::new();
        let mut failures: HashMap<usize, Failure> = HashMap::new();
        let mut wait = FIRST_WAIT;
        loop {
            let open: Vec<usize> = (0..notices.len())
                .filter(|index| !confirmed.contains_key(index))
                .filter(|index| failures.get(index).is_none_or(may_pass))
                .collect();
            if open.is_empty() {
                break;
            }
            self.publish_once(notices, &open, &mut confirmed, &mut failures, deadline).await;
            let unconfirmed = open.iter().any(|index| !confirmed.contains_key(index));
            if unconfirmed {
                if deadline.clamp(wait, wait + PUBLISH.least).is_none() {
                    break;
                }
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(LONGEST_WAIT);
            }
        }
        let unknown = || Failure::unreadable(OPERATION, "SNS did not say what became of it");
        (0..notices.len())
            .map(|index| confirmed.remove(&index).ok_or_else(|| failures.remove(&index).unwrap_or_else(unknown)))
            .collect()
    }

    /// One PublishBatch of those of `notices` that are `open`. It can fail in part inside a 200.
    async fn publish_once(
        &self,
        notices: &[Notice],
        open: &[usize],
        confirmed: &mut HashMap<usize, String>,
        failures: &mut HashMap<usize, Failure>,
        deadline: Deadline,
    ) {
        let entries = open.iter().map(|&index| self.entry(index, &notices[index])).collect();
        let request = self.sns.publish_batch().topic_arn(&self.arn).set_publish_batch_request_entries(Some(entries));
        let sent = call(deadline, PUBLISH, |timeouts| request.customize().config_override(config(timeouts)).send());
        let answer = match sent.await {
            Ok(answer) => answer,
            Err(error) => {
                let failure = error.into_failure(OPERATION);
                failures.extend(open.iter().map(|&index| (index, failure.clone())));
                return;
            }
        };
        for entry in answer.failed() {
            if let Some(index) = entry.id().parse().ok().filter(|index| open.contains(index)) {
                let failure = if entry.sender_fault() {
                    Failure::unreadable(OPERATION, "SNS does not take it")
                } else {
                    Failure::transient(OPERATION, "SNS could not take it now")
                };
                failures.insert(index, failure);
            }
        }
        for entry in answer.successful() {
            let index = entry.id().and_then(|id| id.parse().ok()).filter(|index| open.contains(index));
            if let (Some(index), Some(message_id)) = (index, entry.message_id()) {
                confirmed.insert(index, message_id.to_owned());
            }
        }
    }

    fn entry(&self, index: usize, notice: &Notice) -> PublishBatchRequestEntry {
        let mut entry = PublishBatchRequestEntry::builder()
            .id(index.to_string())
            .subject(notice.subject())
            .message_structure("json")
            .message(notice.by_protocol(&self.link));
        for (name, value) in notice.attributes() {
            let value = MessageAttributeValue::builder().data_type("String").string_value(value);
            entry = entry.message_attributes(name, value.build().expect("the data type is set"));
        }
        entry.build().expect("id and message are set")
    }
}

fn may_pass(failure: &Failure) -> bool {
    matches!(failure.kind, FailureKind::Unknown | FailureKind::Transient)
}

fn config(timeouts: TimeoutConfig) -> Builder {
    Builder::new().timeout_config(timeouts)
}
