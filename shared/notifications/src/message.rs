//! The texts of a notification for each SNS protocol.

use std::fmt;

use clinical::ids::{OnCallId, RuleId, SiteId, StudyId, SubmissionId};
use clinical::instruments::Severity;
use invocation::rfc3339;
use serde::Serialize;
use serde_json::json;
use time::OffsetDateTime;

/// The limit of an SMS that is not split: 140 bytes, and its text is ASCII.
const SMS_CHARACTERS: usize = 140;
const ALERT_ID: &str = "{alertId}";

/// The notification of one alert, or of one step of its escalation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// The alert's opaque id. A receiver drops repeats by it and `escalation`.
    pub alert_id: String,
    /// The study of the patient.
    pub study: StudyId,
    /// The site that the alert belongs to.
    pub site: SiteId,
    /// The severity that the rule defines.
    pub severity: Severity,
    /// The rule that fired. Its id names neither an item nor a score.
    pub rule: RuleId,
    /// The time when the alert was raised.
    pub raised_at: OffsetDateTime,
    /// The submission that raised the alert; `None` if windows were missed.
    pub submission_id: Option<SubmissionId>,
    /// The correlation id of the request that brought the submission.
    pub correlation_id: String,
    /// The link template of its study; `None` for that of the topic.
    pub link: Option<LinkTemplate>,
    /// The step of the escalation; 0 for the first notification, whose message has no `escalation`.
    pub escalation: u32,
    /// Who is on call, if the study's rota says so.
    pub on_call: Option<OnCallId>,
}

/// The URL at which a clinician opens an alert, with the placeholder `{alertId}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkTemplate(String);

impl LinkTemplate {
    /// A template from the URL `template`. If it has no `{alertId}`, the id becomes the last part of its path.
    pub fn new(template: &str) -> Self {
        if template.contains(ALERT_ID) {
            Self(template.to_owned())
        } else {
            Self(format!("{}/{ALERT_ID}", template.trim_end_matches('/')))
        }
    }

    fn link(&self, alert_id: &str) -> String {
        self.0.replace(ALERT_ID, alert_id)
    }
}

impl fmt::Display for LinkTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    alert_id: &'a str,
    study: &'a str,
    site: &'a str,
    severity: &'a str,
    rule: &'a str,
    raised_at: &'a str,
    submission_id: Option<String>,
    link: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    escalation: Option<u32>,
}

impl Notification {
    /// The subject of an e-mail. It is shorter than the 100 ASCII characters that SNS allows, since ids have 64 at
    /// most.
    pub(crate) fn subject(&self) -> String {
        format!("ePRO alert: {} at {}", self.severity, self.site.as_str())
    }

    /// The message for SNS with the `MessageStructure` `json`: a text by protocol.
    pub(crate) fn by_protocol(&self, link: &LinkTemplate) -> String {
        let link = self.link.as_ref().unwrap_or(link);
        let raised_at = rfc3339(self.raised_at);
        let link = link.link(&self.alert_id);
        json!({
            "default": self.body(&raised_at, &link),
            "email": self.email(&raised_at, &link),
            "sms": self.sms(&link),
        })
        .to_string()
    }

    /// The attributes: those that subscribers filter by, and the correlation id, which leads to the log. SNS takes no
    /// empty one.
    pub(crate) fn attributes(&self) -> impl Iterator<Item = (&'static str, String)> {
        [
            ("study", self.study.as_str().to_owned()),
            ("site", self.site.as_str().to_owned()),
            ("severity", self.severity.to_string()),
            ("rule", self.rule.as_str().to_owned()),
        ]
        .into_iter()
        .chain(self.on_call.iter().map(|id| ("onCall", id.as_str().to_owned())))
        .chain(self.step().map(|step| ("escalation", step.to_string())))
        .chain(Some(("correlationId", self.correlation_id.clone())).filter(|(_, id)| !id.is_empty()))
    }

    /// The step of the escalation; `None` for the first notification.
    fn step(&self) -> Option<u32> {
        Some(self.escalation).filter(|step| *step > 0)
    }

    fn body(&self, raised_at: &str, link: &str) -> String {
        let body = Body {
            alert_id: &self.alert_id,
            study: self.study.as_str(),
            site: self.site.as_str(),
            severity: self.severity.as_str(),
            rule: self.rule.as_str(),
            raised_at,
            submission_id: self.submission_id.map(|id| id.to_string()),
            link,
            escalation: self.step(),
        };
        serde_json::to_string(&body).expect("strings always serialise")
    }

    fn email(&self, raised_at: &str, link: &str) -> String {
        let (severity, site, study) = (self.severity, self.site.as_str(), self.study.as_str());
        let reminder = match self.step() {
            Some(step) => format!("Nobody has acknowledged this alert yet (reminder {step}).\n\n"),
            None => String::new(),
        };
        let what = match self.submission_id {
            Some(_) => "A questionnaire",
            None => "A missed questionnaire",
        };
        format!(
            "{reminder}{what} of a patient at site {site} (study {study}) needs review.\n\n\
             Severity: {severity}\nRaised:   {raised_at}\nOpen:     {link}\n\n\
             This message contains no patient data. The same alert ({}) may arrive more than once.\n",
            self.alert_id
        )
    }

    /// The text with the link if that fits, else with the id of the alert, which always fits: ids have 64 characters at
    /// most.
    fn sms(&self, link: &str) -> String {
        let (severity, site) = (self.severity, self.site.as_str());
        let alert = match self.step() {
            Some(step) => format!("ePRO alert, reminder {step}"),
            None => "ePRO alert".to_owned(),
        };
        let with_link = format!("{alert}: {severity} at {site}. {link}");
        if with_link.chars().count() <= SMS_CHARACTERS {
            return with_link;
        }
        format!("ePRO alert: {severity} at {site}. Alert {}", self.alert_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use time::macros::datetime;

    fn notification(site: &str) -> Notification {
        Notification {
            alert_id: "0b5f1c9e-1d6c-8b1f-9a53-2f4f4a1d7c11".to_owned(),
            study: "DEMO".parse().unwrap(),
            site: site.parse().unwrap(),
            severity: Severity::Critical,
            rule: "safety".parse().unwrap(),
            raised_at: datetime!(2026-11-23 07:58:05.25 UTC),
            submission_id: Some("0192f3a4-7c1e-7b2a-9d4e-5f6a7b8c9d0e".parse().unwrap()),
            correlation_id: "c-1".to_owned(),
            link: None,
            escalation: 0,
            on_call: None,
        }
    }

    fn by_protocol(notification: &Notification, link: &str) -> Value {
        serde_json::from_str(&notification.by_protocol(&LinkTemplate::new(link))).unwrap()
    }

    #[test]
    fn the_body_has_the_fields_of_the_interface_only() {
        let message = by_protocol(&notification("S01"), "https://epro.example/alerts/{alertId}");
        let body: Value = serde_json::from_str(message["default"].as_str().unwrap()).unwrap();
        let expected = json!({
            "alertId": "0b5f1c9e-1d6c-8b1f-9a53-2f4f4a1d7c11", "study": "DEMO", "site": "S01", "severity": "critical",
            "rule": "safety", "raisedAt": "2026-11-23T07:58:05.25Z",
            "submissionId": "0192f3a4-7c1e-7b2a-9d4e-5f6a7b8c9d0e",
            "link": "https://epro.example/alerts/0b5f1c9e-1d6c-8b1f-9a53-2f4f4a1d7c11",
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn only_a_repeated_notification_has_its_step_of_escalation() {
        let attributes =
            |notification: &Notification| notification.attributes().map(|(name, _)| name).collect::<Vec<_>>();
        let first = notification("S01");
        assert_eq!(attributes(&first), ["study", "site", "severity", "rule", "correlationId"]);
        let called = Notification { on_call: Some("night-team".parse().unwrap()), ..first.clone() };
        assert_eq!(attributes(&called), ["study", "site", "severity", "rule", "onCall", "correlationId"]);
        assert_eq!(by_protocol(&called, "https://a.example"), by_protocol(&first, "https://a.example"));
        let second = Notification { escalation: 2, ..first };
        assert_eq!(attributes(&second), ["study", "site", "severity", "rule", "escalation", "correlationId"]);
        let message = by_protocol(&second, "https://a.example");
        let body: Value = serde_json::from_str(message["default"].as_str().unwrap()).unwrap();
        assert_eq!(body["escalation"], 2);
        assert!(message["email"].as_str().unwrap().starts_with("Nobody has acknowledged this alert yet (reminder 2)."));
    }

    #[test]
    fn an_sms_is_never_longer_than_140_characters() {
        let long_site = "S".repeat(64);
        for (site, link) in [
            ("S01", "https://a.example"),
            ("S01", &"https://long.example/".repeat(9)),
            (&long_site, "https://a.example/x"),
        ] {
            for escalation in [0, u32::MAX] {
                let message = by_protocol(&Notification { escalation, ..notification(site) }, link);
                let sms = message["sms"].as_str().unwrap();
                assert!(sms.chars().count() <= 140, "{sms}");
                assert!(sms.contains(site) && sms.contains("0b5f1c9e"), "{sms}");
            }
        }
    }

    #[test]
    fn the_subject_fits_the_limit_of_sns() {
        assert_eq!(notification("S01").subject(), "ePRO alert: critical at S01");
        assert!(notification(&"S".repeat(64)).subject().len() < 100);
    }

    #[test]
    fn a_link_of_the_study_replaces_the_deployments() {
        let notification =
            Notification { link: Some(LinkTemplate::new("https://s.example/{alertId}")), ..notification("S01") };
        let message = by_protocol(&notification, "https://epro.example/alerts/{alertId}");
        for text in ["default", "email", "sms"] {
            let text = message[text].as_str().unwrap();
            assert!(text.contains("https://s.example/0b5f1c9e") && !text.contains("epro.example"), "{text}");
        }
    }

    #[test]
    fn a_link_without_the_placeholder_ends_with_the_id() {
        assert_eq!(LinkTemplate::new("https://a.example/x/").link("7"), "https://a.example/x/7");
        assert_eq!(LinkTemplate::new("https://a.example/?a={alertId}").link("7"), "https://a.example/?a=7");
    }
}
