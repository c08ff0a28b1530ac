//! The SNS topic of reminders, which the sponsor's push service subscribes to.

use std::fmt;
use std::time::Duration;

use aws_sdk_sns::Client;
use aws_sdk_sns::config::Builder;
use aws_sdk_sns::types::MessageAttributeValue;
use aws_types::SdkConfig;
use clinical::ids::{PatientId, ScheduleId, SiteId, StudyId};
use invocation::aws::{AdaptiveTimeout, Failure, Limits, SharedHttpClient, call, sdk_config};
use invocation::{Deadline, Environment, EnvironmentError};
use serde_json::json;

const OPERATION: &str = "Publish of a reminder";
const PUBLISH: Limits = Limits { most: Duration::from_secs(5), least: Duration::from_millis(100) };

/// The reminder of a window that is not answered yet. It has no name, and not the instrument; the patient's pseudonym is
/// in it, by which the push service knows the phone.
#[derive(Clone, PartialEq, Eq)]
pub struct Reminder {
    /// Opaque, and the same for each publication of this reminder: a receiver drops repeats by it.
    pub id: String,
    /// The study.
    pub study: StudyId,
    /// The patient's site.
    pub site: SiteId,
    /// The patient.
    pub patient: PatientId,
    /// The schedule. Its id does not name the instrument.
    pub schedule: ScheduleId,
    /// The number of the occurrence.
    pub number: u32,
    /// When the window opens, in RFC 3339.
    pub opens: String,
    /// When it closes.
    pub closes: String,
    /// When the reminder was due.
    pub due: String,
}

/// Without the patient.
impl fmt::Debug for Reminder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reminder").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Reminder {
    fn body(&self) -> String {
        json!({
            "reminderId": self.id,
            "study": self.study.as_str(),
            "site": self.site.as_str(),
            "patient": self.patient.as_str(),
            "schedule": self.schedule.as_str(),
            "occurrence": self.number,
            "opens": self.opens,
            "closes": self.closes,
            "due": self.due,
        })
        .to_string()
    }

    /// The attributes that subscribers filter by.
    fn attributes(&self) -> [(&'static str, &str); 3] {
        [("study", self.study.as_str()), ("site", self.site.as_str()), ("schedule", self.schedule.as_str())]
    }
}

/// The topic of reminders. Created once per environment, since it holds the connections.
#[derive(Clone, Debug)]
pub struct ReminderTopic {
    sns: Client,
    arn: String,
}

impl ReminderTopic {
    /// The topic `arn`, reached with `config`.
    pub fn new(config: &SdkConfig, arn: &str) -> Self {
        let config = Builder::from(config).interceptor(AdaptiveTimeout::default()).build();
        Self { sns: Client::from_conf(config), arn: arn.to_owned() }
    }

    /// The topic of the environment variables, reached by `https`.
    ///
    /// # Errors
    /// If a variable is missing.
    pub fn from_environment(environment: &Environment, https: SharedHttpClient) -> Result<Self, EnvironmentError> {
        let config = sdk_config(environment, "AWS_ENDPOINT_URL_SNS", https)?;
        Ok(Self::new(&config, environment.required("REMINDERS_TOPIC_ARN")?))
    }

    /// Publishes `reminder`. The SDK repeats an attempt that SNS does not confirm, so it may be published more than once.
    ///
    /// # Errors
    /// If SNS did not confirm it.
    pub async fn publish(&self, reminder: &Reminder, deadline: Deadline) -> Result<(), Failure> {
        let mut request = self.sns.publish().topic_arn(&self.arn).message(reminder.body());
        for (name, value) in reminder.attributes() {
            let value = MessageAttributeValue::builder().data_type("String").string_value(value);
            request = request.message_attributes(name, value.build().expect("the data type is set"));
        }
        let sent = call(deadline, PUBLISH, |timeouts| {
            request.customize().config_override(Builder::new().timeout_config(timeouts)).send()
        });
        sent.await.map(drop).map_err(|error| error.into_failure(OPERATION))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reminder_says_which_window_and_nothing_of_what_is_asked() {
        let reminder = Reminder {
            id: "5633977d-0000-8000-8000-000000000001".to_owned(),
            study: "DEMO".parse().unwrap(),
            site: "S01".parse().unwrap(),
            patient: "P-001".parse().unwrap(),
            schedule: "evening".parse().unwrap(),
            number: 12,
            opens: "2026-11-27T17:00:00Z".to_owned(),
            closes: "2026-11-27T22:59:00Z".to_owned(),
            due: "2026-11-27T18:00:00Z".to_owned(),
        };
        let body: serde_json::Value = serde_json::from_str(&reminder.body()).unwrap();
        let expected = json!({
            "reminderId": "5633977d-0000-8000-8000-000000000001", "study": "DEMO", "site": "S01", "patient": "P-001",
            "schedule": "evening", "occurrence": 12, "opens": "2026-11-27T17:00:00Z", "closes": "2026-11-27T22:59:00Z",
            "due": "2026-11-27T18:00:00Z",
        });
        assert_eq!(body, expected);
        assert!(!format!("{reminder:?}").contains("P-001"));
    }
}
