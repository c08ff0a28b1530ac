//! Alerts: what clinicians must be told, and whether they were.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use clinical::ids::{InstrumentId, PatientId, RuleId, SiteId, StudyId, SubmissionId};
use clinical::instruments::{FiredRule, Severity};
use invocation::Deadline;
use invocation::aws::{CallError, Failure, Limits, call, is_passing};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::table::attributes::{Item, Reader, Unreadable, instant, number, sortable, text, unreadable};
use crate::table::digest::sha256;
use crate::table::keys::{self, PK, SK};
use crate::store::{MOST_KEYS, Store};
use crate::items::submission::Submission;
use crate::store::lists::List;

const MARK: Limits = Limits { most: Duration::from_secs(3), least: Duration::from_millis(50) };
const LONGEST_WAIT: Duration = Duration::from_millis(250);

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

/// How far an alert has come, as a clinician sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertStatus {
    /// Its row is there; nobody has been told for sure.
    Pending,
    /// SNS has confirmed it.
    Sent,
    /// A clinician has taken it on; SNS may still have to confirm it.
    Acknowledged,
    /// Raised inside the quiet period of an earlier one of the same rule: recorded, and not published.
    Quiet,
}

impl AlertStatus {
    /// The status as it is stored: `PENDING`, `SENT`, `ACKNOWLEDGED`, `QUIET`.
    pub fn as_str(self) -> &'static str {
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
    /// The instrument of the submission, never named in what is published.
    pub instrument: Option<InstrumentId>,
    /// When SNS confirmed it first.
    pub sent_at: Option<OffsetDateTime>,
    /// Who has taken it on.
    pub acknowledged: Option<Acknowledgement>,
    /// Acknowledgements that came after it, in order.
    pub later: Vec<Acknowledgement>,
    /// The step that its escalation has come to: how often it is told once more, because nobody acknowledged it.
    pub escalation: u32,
    /// When SNS confirmed its last escalation.
    pub escalated_at: Option<OffsetDateTime>,
    /// When the limit of escalations was reached without anybody acknowledging it.
    pub exhausted_at: Option<OffsetDateTime>,
    /// Whether it was raised after its submission was scored, because an earlier submission or a correction arrived.
    pub late: bool,
    /// Whether its submission was corrected.
    pub corrected: bool,
    /// Whether its rule does not fire any more on all that has arrived since.
    pub superseded: bool,
    /// The list of what waits that it is on.
    pub(crate) list: Option<List>,
}

/// That a clinician has taken on an alert. The note is not in its `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Acknowledgement {
    /// The `sub` of the clinician's token.
    pub by: String,
    /// When, by the server's clock.
    pub at: OffsetDateTime,
    /// What the clinician added.
    pub note: Option<String>,
}

impl fmt::Debug for Acknowledgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acknowledgement").field("by", &self.by).field("at", &self.at).finish_non_exhaustive()
    }
}

impl Acknowledgement {
    pub(crate) fn from_reader(reader: Reader<'_>) -> Result<Option<Self>, Unreadable> {
        let Some(by) = reader.optional_text("acknowledged_by")? else { return Ok(None) };
        let note = reader.optional_text("note")?.map(str::to_owned);
        Ok(Some(Self { by: by.to_owned(), at: reader.instant("acknowledged_at")?, note }))
    }
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
            instrument: Some(submission.instrument.id.clone()),
            sent_at: None,
            acknowledged: None,
            later: Vec::new(),
            escalation: 0,
            escalated_at: None,
            exhausted_at: None,
            late: false,
            corrected: false,
            superseded: false,
            list: (!quiet).then_some(List::Pending),
        }
    }

    /// What of it is to be published and was not confirmed yet: 0, the alert itself; above that the step of its escalation.
    /// An acknowledged alert is still told once, as promise 4 says, and escalates no further.
    pub fn untold(&self) -> Option<u32> {
        match (self.list, self.sent_at, &self.acknowledged) {
            (Some(List::Pending | List::SetAside), None, _) => Some(0),
            // One that was quarantined before its first escalation has nothing to publish.
            (Some(List::Pending | List::SetAside), Some(_), None) => Some(self.escalation).filter(|step| *step > 0),
            _ => None,
        }
    }

    /// When SNS confirmed last that it was told; when it was raised, if it was not.
    pub fn last_told(&self) -> OffsetDateTime {
        self.escalated_at.or(self.sent_at).unwrap_or(self.raised_at)
    }

    /// Whether it is told again while nobody acknowledges it.
    pub(crate) fn may_escalate(&self) -> bool {
        self.severity == Severity::Critical
    }

    pub(crate) fn own_key(&self) -> Item {
        Self::key(&self.study, &self.patient, &self.submission, &self.rule)
    }

    pub(crate) fn key(study: &StudyId, patient: &PatientId, submission: &SubmissionId, rule: &RuleId) -> Item {
        Item::from([
            (PK.to_owned(), text(keys::patient(study, patient))),
            (SK.to_owned(), text(keys::alert(submission, rule))),
        ])
    }

    /// Its item when it is raised.
    pub(crate) fn to_item(&self) -> Item {
        let mut item = self.own_key();
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
        set("site_sort", text(keys::alert_of_site(self.raised_at, &self.id.to_string())));
        if self.late {
            set("late", AttributeValue::Bool(true));
        }
        if let Some(instrument) = &self.instrument {
            set("instrument", text(instrument.as_str()));
        }
        if let Some(list) = self.list {
            set("pending", text(keys::waiting(list, &self.id.to_string())));
            set("pending_since", text(sortable(self.raised_at)));
        }
        item
    }

    /// The item that tells where its row lies, for who knows nothing but its id. In the transaction that raises it, and not
    /// an index: a clinician may answer an alert faster than an index follows.
    pub(crate) fn to_pointer(&self) -> Item {
        let its = keys::alert_id(&self.id.to_string());
        let mut item = Item::from([(PK.to_owned(), text(its)), (SK.to_owned(), text(keys::POINTER))]);
        let mut set = |name: &str, value: AttributeValue| item.insert(name.to_owned(), value);
        set("kind", text("alert-id"));
        set("study", text(self.study.as_str()));
        set("site", text(self.site.as_str()));
        set("patient", text(self.patient.as_str()));
        set("submission", text(self.submission.to_string()));
        set("rule", text(self.rule.as_str()));
        item
    }

    pub(crate) fn from_item(item: &Item) -> Result<Self, Unreadable> {
        let reader = Reader(item);
        let escalation = reader.optional_count("escalation")?.map(u32::try_from).transpose();
        let escalation = escalation.map_err(|_| unreadable("escalation", "is no step"))?;
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
            instrument: reader.optional_parsed("instrument")?,
            sent_at: reader.optional_instant("sent_at")?,
            acknowledged: Acknowledgement::from_reader(reader)?,
            later: crate::store::acknowledgements::later(reader)?,
            escalation: escalation.unwrap_or_default(),
            escalated_at: reader.optional_instant("escalated_at")?,
            exhausted_at: reader.optional_instant("exhausted_at")?,
            late: reader.is_set("late")?,
            corrected: reader.is_set("corrected")?,
            superseded: reader.is_set("superseded")?,
            list: reader.optional_text("pending")?.and_then(List::of),
        })
    }
}

impl Store {
    /// The rows of the alerts that `rules` raised on submissions that were scored before, and how many of them are missing
    /// or cannot be read: those spoil no other.
    ///
    /// # Errors
    /// If the store did not answer in time.
    pub async fn alerts(
        &self,
        raised: &[(&Submission, &[RuleId])],
        deadline: Deadline,
    ) -> Result<(Vec<Alert>, usize), Failure> {
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
        let alerts: Vec<Alert> = rows.iter().filter_map(|row| Alert::from_item(row).ok()).collect();
        let unreadable = keys.len().saturating_sub(alerts.len());
        Ok((alerts, unreadable))
    }

    /// Notes that SNS has confirmed as `message_id`, at `at`, what was untold of `alert`. What is marked already stays as it
    /// is, and so does an acknowledgement. An alert that may escalate goes on to the list of those that nobody acknowledged.
    ///
    /// # Errors
    /// If the store did not confirm it: the alert may be published once more.
    pub async fn mark_told(
        &self,
        alert: &Alert,
        message_id: &str,
        at: OffsetDateTime,
        deadline: Deadline,
    ) -> Result<(), Failure> {
        let told = self
            .dynamodb
            .update_item()
            .table_name(&self.tables.records)
            .set_key(Some(alert.own_key()))
            .expression_attribute_values(":at", instant(at))
            .expression_attribute_values(":message", text(message_id));
        let (list, leave) = ("pending = :open, pending_since = :now", " REMOVE pending, pending_since");
        let open = |update: UpdateItemFluentBuilder| {
            update
                .expression_attribute_values(":open", text(keys::waiting(List::Open, &alert.id.to_string())))
                .expression_attribute_values(":now", text(sortable(at)))
        };
        if let Some(step @ 1..) = alert.untold() {
            let set = format!("SET escalated_at = :at, escalation_message_id = :message, {list}");
            let update = open(told)
                .update_expression(set)
                .condition_expression("escalation = :step AND pending = :listed")
                .expression_attribute_values(":step", number(step))
                .expression_attribute_values(
                    ":listed",
                    text(keys::waiting(alert.list.unwrap_or(List::Pending), &alert.id.to_string())),
                );
            return self.update_once(update, deadline).await.map(drop);
        }
        let first = told.expression_attribute_names("#status", "status");
        let sent = "SET #status = :sent, sent_at = :at, message_id = :message";
        let update = if alert.may_escalate() {
            open(first.clone()).update_expression(format!("{sent}, {list}"))
        } else {
            first.clone().update_expression(format!("{sent}{leave}"))
        };
        let update = update
            .condition_expression("attribute_exists(pk) AND #status = :pending")
            .expression_attribute_values(":sent", text(AlertStatus::Sent.as_str()))
            .expression_attribute_values(":pending", text(AlertStatus::Pending.as_str()));
        if self.update_once(update, deadline).await? {
            return Ok(());
        }
        // Somebody marked it before, or a clinician was faster than SNS: then it stays acknowledged.
        let update = first
            .update_expression(format!("SET sent_at = :at, message_id = :message{leave}"))
            .condition_expression("#status = :acknowledged AND attribute_not_exists(sent_at)")
            .expression_attribute_values(":acknowledged", text(AlertStatus::Acknowledged.as_str()));
        self.update_once(update, deadline).await.map(drop)
    }

    /// Sends `update` of an alert, and says whether its condition held. Tried again while other writes are in its way.
    pub(crate) async fn update_once(
        &self,
        update: UpdateItemFluentBuilder,
        deadline: Deadline,
    ) -> Result<bool, Failure> {
        const OPERATION: &str = "UpdateItem of an alert";
        let mut wait = Duration::from_millis(15);
        loop {
            let sent = call(deadline, MARK, |timeouts| {
                update.clone().customize().config_override(Store::timeouts(timeouts)).send()
            });
            match sent.await {
                Ok(_) => return Ok(true),
                Err(CallError::Refused(UpdateItemError::ConditionalCheckFailedException(_))) => return Ok(false),
                Err(CallError::Refused(error))
                    if error.code().is_some_and(is_passing) && deadline.clamp(wait, wait + MARK.least).is_some() =>
                {
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
                Err(error) => return Err(error.of(OPERATION)),
            }
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
