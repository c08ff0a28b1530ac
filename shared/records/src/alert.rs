//! Alerts: what clinicians must be told, and whether they were.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::AttributeValue;
use clinical::ids::{PatientId, RuleId, SiteId, StudyId, SubmissionId};
use clinical::outcome::{FiredRule, Severity};
use invocation::Deadline;
use invocation::aws::{CallError, Failure, Limits, call};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::attributes::{Item, Reader, Unreadable, instant, rfc3339, text, unreadable};
use crate::digest::sha256;
use crate::keys::{self, PK, SK};
use crate::store::{MOST_KEYS, Store};
use crate::submission::Submission;

const MARK: Limits = Limits { most: Duration::from_secs(3), least: Duration::from_millis(50) };

/// The public id of an alert: opaque, the same each time it is derived, and silent about the patient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlertId(Uuid);

impl AlertId {
    /// The id of the alert that `rule` raises on the submission whose nonce is `nonce`. Derived, not drawn, so that a
    /// second attempt at the same submission makes the same row; from the nonce, which is random and never told, so
    /// that nobody can try out which patient gives this id.
    pub(crate) fn derive(nonce: Uuid, rule: &RuleId) -> Self {
        let digest = sha256([nonce.as_bytes().as_slice(), rule.as_str().as_bytes()]);
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }
}

impl fmt::Display for AlertId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for AlertId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        Uuid::try_parse(text).map(Self)
    }
}

/// How far an alert has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertStatus {
    /// Its row is there; nobody has been told for sure.
    Pending,
    /// SNS has confirmed it.
    Sent,
    /// A clinician has taken it on.
    Acknowledged,
    /// Raised inside the quiet period of an earlier one of the same rule: recorded, and not published.
    Quiet,
}

impl AlertStatus {
    fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Sent => "SENT",
            Self::Acknowledged => "ACKNOWLEDGED",
            Self::Quiet => "QUIET",
        }
    }
}

impl FromStr for AlertStatus {
    type Err = ();

    fn from_str(status: &str) -> Result<Self, ()> {
        let known = [Self::Pending, Self::Sent, Self::Acknowledged, Self::Quiet];
        known.into_iter().find(|known| known.as_str() == status).ok_or(())
    }
}

/// One alert: a rule of the instrument that fired on a submission.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// Its public id.
    pub id: AlertId,
    /// The study.
    pub study: StudyId,
    /// The site whose clinicians are to know.
    pub site: SiteId,
    /// The patient, who is never named in what is published.
    pub patient: PatientId,
    /// The submission that raised it.
    pub submission: SubmissionId,
    /// The rule that fired.
    pub rule: RuleId,
    /// How urgent it is.
    pub severity: Severity,
    /// When it was raised: when the submission was scored.
    pub raised_at: OffsetDateTime,
    /// Ties it to the request that brought the submission.
    pub correlation_id: String,
    /// How far it has come.
    pub status: AlertStatus,
}

impl Alert {
    /// The alert that `fired` raises on `submission`; a quiet one if it is to be recorded only.
    pub(crate) fn raise(submission: &Submission, fired: &FiredRule, raised_at: OffsetDateTime, quiet: bool) -> Self {
        Self {
            id: AlertId::derive(submission.nonce, &fired.rule),
            study: submission.study.clone(),
            site: submission.site.clone(),
            patient: submission.patient.clone(),
            submission: submission.id,
            rule: fired.rule.clone(),
            severity: fired.severity,
            raised_at,
            correlation_id: submission.correlation_id.clone(),
            status: if quiet { AlertStatus::Quiet } else { AlertStatus::Pending },
        }
    }

    pub(crate) fn key(study: &StudyId, patient: &PatientId, submission: &SubmissionId, rule: &RuleId) -> Item {
        Item::from([
            (PK.to_owned(), text(keys::patient(study, patient))),
            (SK.to_owned(), text(keys::alert(submission, rule))),
        ])
    }

    /// Its item when it is raised.
    pub(crate) fn to_item(&self) -> Item {
        let mut item = Self::key(&self.study, &self.patient, &self.submission, &self.rule);
        let mut set = |name: &str, value: AttributeValue| item.insert(name.to_owned(), value);
        set("kind", text("alert"));
        set("alert_id", text(self.id.to_string()));
        set("study", text(self.study.as_str()));
        set("site", text(self.site.as_str()));
        set("patient", text(self.patient.as_str()));
        set("submission", text(self.submission.to_string()));
        set("rule", text(self.rule.as_str()));
        set("severity", text(self.severity.to_string()));
        set("raised_at", instant(self.raised_at));
        set("correlation_id", text(&self.correlation_id));
        set("status", text(self.status.as_str()));
        set("site_key", text(keys::site(&self.study, &self.site)));
        set("site_sort", text(format!("ALERT#{}#{}", rfc3339(self.raised_at), self.id)));
        if self.status == AlertStatus::Pending {
            set("pending", text(keys::pending(&self.id.to_string())));
            set("pending_since", instant(self.raised_at));
        }
        item
    }

    pub(crate) fn from_item(item: &Item) -> Result<Self, Unreadable> {
        let reader = Reader(item);
        Ok(Self {
            id: reader.parsed("alert_id")?,
            study: reader.parsed("study")?,
            site: reader.parsed("site")?,
            patient: reader.parsed("patient")?,
            submission: reader.parsed("submission")?,
            rule: reader.parsed("rule")?,
            severity: reader.parsed("severity")?,
            raised_at: reader.instant("raised_at")?,
            correlation_id: reader.text("correlation_id")?.to_owned(),
            status: reader.text("status")?.parse().map_err(|()| unreadable("status", "is none of the known"))?,
        })
    }
}

impl Store {
    /// The rows of the alerts that `rules` raised on submissions that were scored before: for each of them, in order.
    ///
    /// # Errors
    /// If the store did not answer in time, or a row cannot be read.
    pub async fn alerts(
        &self,
        raised: &[(&Submission, &[RuleId])],
        deadline: Deadline,
    ) -> Result<Vec<Vec<Alert>>, Failure> {
        const OPERATION: &str = "BatchGetItem of alerts";
        let keys: Vec<Item> = raised
            .iter()
            .flat_map(|(submission, rules)| rules.iter().map(|rule| (*submission, rule)))
            .map(|(submission, rule)| Alert::key(&submission.study, &submission.patient, &submission.id, rule))
            .collect();
        let mut rows = Vec::with_capacity(keys.len());
        for batch in keys.chunks(MOST_KEYS) {
            rows.extend(self.get_all(&self.tables.records, batch.to_vec(), OPERATION, deadline).await?);
        }
        // A score names the alerts that were written with it: one that did not come back must not pass for told.
        if rows.len() != keys.len() {
            return Err(Failure::unreadable(OPERATION, "an alert that a score names is not there"));
        }
        let alerts: Result<Vec<Alert>, Unreadable> = rows.iter().map(Alert::from_item).collect();
        let alerts = alerts.map_err(|_| Failure::unreadable(OPERATION, "a stored alert cannot be read"))?;
        let of = |submission: &Submission| {
            let its = |alert: &&Alert| alert.submission == submission.id && alert.patient == submission.patient;
            alerts.iter().filter(its).cloned().collect()
        };
        Ok(raised.iter().map(|(submission, _)| of(submission)).collect())
    }

    /// Notes that SNS has confirmed `alert` as `message_id` at `sent_at`. One that is marked already stays as it is.
    ///
    /// # Errors
    /// If the store did not confirm it: the alert may be published once more.
    pub async fn mark_sent(
        &self,
        alert: &Alert,
        message_id: &str,
        sent_at: OffsetDateTime,
        deadline: Deadline,
    ) -> Result<(), Failure> {
        let request = self
            .dynamodb
            .update_item()
            .table_name(&self.tables.records)
            .set_key(Some(Alert::key(&alert.study, &alert.patient, &alert.submission, &alert.rule)))
            .update_expression(
                "SET #status = :sent, sent_at = :at, message_id = :message REMOVE pending, pending_since",
            )
            .condition_expression("attribute_exists(pk) AND #status = :pending")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":sent", text(AlertStatus::Sent.as_str()))
            .expression_attribute_values(":pending", text(AlertStatus::Pending.as_str()))
            .expression_attribute_values(":at", instant(sent_at))
            .expression_attribute_values(":message", text(message_id));
        let sent =
            call(deadline, MARK, |timeouts| request.customize().config_override(Store::timeouts(timeouts)).send());
        match sent.await {
            Ok(_) | Err(CallError::Refused(UpdateItemError::ConditionalCheckFailedException(_))) => Ok(()),
            Err(error) => Err(error.of("UpdateItem of an alert")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_id_is_the_same_each_time_and_its_own_for_each_rule_and_nonce() {
        let (nonce, other) = (Uuid::from_u128(7), Uuid::from_u128(8));
        let rule = |rule: &str| rule.parse().unwrap();
        let id = AlertId::derive(nonce, &rule("safety"));
        assert_eq!(id, AlertId::derive(nonce, &rule("safety")));
        assert_ne!(id, AlertId::derive(nonce, &rule("threshold")));
        assert_ne!(id, AlertId::derive(other, &rule("safety")));
        assert_eq!(id.to_string().parse(), Ok(id));
    }
}
