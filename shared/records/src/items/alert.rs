//! Alerts, their public ids and their status.

use std::fmt;
use std::str::FromStr;

use aws_sdk_dynamodb::types::AttributeValue;
use clinical::ids::{InstrumentId, PatientId, RuleId, ScheduleId, SiteId, StudyId, SubmissionId};
use clinical::instruments::{FiredRule, Severity};
use time::OffsetDateTime;
use uuid::Uuid;

use super::UnknownName;
use super::acknowledgement::Acknowledgement;
use super::occurrence::StoredOccurrence;
use super::snooze::Snooze;
use super::submission::Submission;
use crate::table::attributes::{Item, Reader, Unreadable, instant, number, sortable, text, unreadable};
use crate::table::digest::sha256;
use crate::table::keys::{self, SITE_KEY, SITE_SORT};
use crate::table::lists::{List, PENDING, PENDING_SINCE};

pub(crate) const KIND: &str = "alert";

/// The public id of an alert: opaque, the same each time it is derived, and without information on the patient. Ids are
/// in the order in which the submissions that raised them were received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlertId(Uuid);

impl AlertId {
    /// The id of the alert that `rule` raises on the submission with this `nonce`, which was received at `received_at`: a
    /// UUID of version 8, 48 bits of which are that time in milliseconds.
    ///
    /// It begins with the time so that a site's alerts are in order under their ids, and are found by them without an
    /// index. Derived and not drawn, so that a second attempt at the same submission makes the same row; from the nonce,
    /// which is random and never leaves the store, so that no one can find the patient of an id by trying.
    pub fn derive(received_at: OffsetDateTime, nonce: Uuid, rule: &RuleId) -> Self {
        let digest = sha256([nonce.as_bytes().as_slice(), rule.as_str().as_bytes()]);
        let millis = (received_at.unix_timestamp_nanos() / 1_000_000).max(0) as u64;
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
        bytes[6..].copy_from_slice(&digest[..10]);
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }

    /// The last bytes, which are of the digest.
    pub(crate) fn last_bytes<const N: usize>(self) -> [u8; N] {
        let bytes = self.0.into_bytes();
        std::array::from_fn(|index| bytes[bytes.len() - N + index])
    }

    /// The key in the Records table of the alert of `site` with this id.
    pub(crate) fn key(self, study: &StudyId, site: &SiteId) -> Item {
        keys::alert(study, site, &self.to_string())
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

/// The status of an alert, as a clinician sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertStatus {
    /// Stored, and not confirmed by SNS.
    Pending,
    /// Published: SNS has confirmed it.
    Sent,
    /// Acknowledged by a clinician. SNS may still have to confirm it.
    Acknowledged,
    /// Raised within the quiet period of an earlier alert of the same rule: stored, and not published.
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
    type Err = UnknownName;

    fn from_str(status: &str) -> Result<Self, UnknownName> {
        let known = [Self::Pending, Self::Sent, Self::Acknowledged, Self::Quiet];
        known.into_iter().find(|known| known.as_str() == status).ok_or(UnknownName("alert status"))
    }
}

/// What raised an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A rule that fired on this submission.
    Submission(SubmissionId),
    /// Windows that were missed in a row, of which this is the last.
    Missed {
        /// The schedule, whose id is the alert's rule.
        schedule: ScheduleId,
        /// The number of the occurrence.
        number: u32,
    },
}

/// An alert: a rule that fired on a submission, or windows that a patient has missed.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// The public id.
    pub id: AlertId,
    /// The study.
    pub study: StudyId,
    /// The site whose clinicians the alert is for.
    pub site: SiteId,
    /// The patient, who is never named in what is published.
    pub patient: PatientId,
    /// What raised it.
    pub cause: Cause,
    /// The rule that fired; the schedule of missed windows.
    pub rule: RuleId,
    /// The severity that the rule gives.
    pub severity: Severity,
    /// When it was raised, by the server's clock: when the submission was scored or, if `late`, evaluated again.
    pub raised_at: OffsetDateTime,
    /// The correlation id of the request that brought the submission.
    pub correlation_id: String,
    /// The status.
    pub status: AlertStatus,
    /// The instrument of the submission, or of the missed windows, never named in what is published.
    pub instrument: Option<InstrumentId>,
    /// When SNS confirmed its first publication.
    pub sent_at: Option<OffsetDateTime>,
    /// The first acknowledgement, which is the one that counts.
    pub acknowledged: Option<Acknowledgement>,
    /// Acknowledgements after the first, in order.
    pub later: Vec<Acknowledgement>,
    /// The number of escalations so far: repeated publications because nobody acknowledged the alert.
    pub escalation: u32,
    /// When SNS confirmed its last escalation.
    pub escalated_at: Option<OffsetDateTime>,
    /// The snoozes, in order. The last one counts.
    pub snoozes: Vec<Snooze>,
    /// When the last escalation that the study allows had passed without an acknowledgement.
    pub exhausted_at: Option<OffsetDateTime>,
    /// Whether it was raised after its submission was scored, because an earlier submission or a correction arrived.
    pub late: bool,
    /// Whether its submission was corrected.
    pub corrected: bool,
    /// Whether its rule no longer fires, given all that has arrived since.
    pub superseded: bool,
    /// The list of the index `pending` that it is on.
    pub(crate) list: Option<List>,
}

impl Alert {
    /// The alert that `fired` raises on `submission`; a quiet one is stored and not published.
    pub(crate) fn raise(submission: &Submission, fired: &FiredRule, raised_at: OffsetDateTime, quiet: bool) -> Self {
        Self {
            id: AlertId::derive(submission.received_at, submission.nonce, &fired.rule),
            study: submission.study.clone(),
            site: submission.site.clone(),
            patient: submission.patient.clone(),
            cause: Cause::Submission(submission.id),
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
            snoozes: Vec::new(),
            exhausted_at: None,
            late: false,
            corrected: false,
            superseded: false,
            list: (!quiet).then_some(List::Pending),
        }
    }

    /// The alert that `missed` raises, the last of windows that were missed in a row.
    pub(crate) fn of_missed(missed: &StoredOccurrence, severity: Severity, raised_at: OffsetDateTime) -> Self {
        let id = missed.alert_id();
        let occurrence = &missed.occurrence;
        let quiet = occurrence.alert.is_some_and(|alert| alert.quiet);
        Self {
            id,
            study: missed.study.clone(),
            site: missed.site.clone(),
            patient: missed.patient.clone(),
            cause: Cause::Missed { schedule: occurrence.schedule.clone(), number: occurrence.number },
            rule: missed.rule(),
            severity,
            raised_at,
            // No request brought it: it is followed by its own id.
            correlation_id: id.to_string(),
            status: if quiet { AlertStatus::Quiet } else { AlertStatus::Pending },
            instrument: Some(occurrence.instrument.clone()),
            sent_at: None,
            acknowledged: None,
            later: Vec::new(),
            snoozes: Vec::new(),
            escalation: 0,
            escalated_at: None,
            exhausted_at: None,
            late: false,
            corrected: false,
            superseded: false,
            list: (!quiet).then_some(List::Pending),
        }
    }

    /// The submission that raised it; `None` for missed windows.
    pub fn submission(&self) -> Option<SubmissionId> {
        match self.cause {
            Cause::Submission(id) => Some(id),
            Cause::Missed { .. } => None,
        }
    }

    /// The publication that SNS has not confirmed yet: 0 for that of the alert itself, above that the step of its
    /// escalation. An acknowledged alert is still published once, as promise 4 says, and escalates no further.
    pub fn unpublished(&self) -> Option<u32> {
        match (self.list, self.sent_at, &self.acknowledged) {
            (Some(List::Pending | List::Quarantine), None, _) => Some(0),
            // An alert that was quarantined before its first escalation has nothing to publish.
            (Some(List::Pending | List::Quarantine), Some(_), None) => Some(self.escalation).filter(|step| *step > 0),
            _ => None,
        }
    }

    /// When SNS last confirmed a publication; when it was raised, if SNS confirmed none.
    pub fn last_published(&self) -> OffsetDateTime {
        self.escalated_at.or(self.sent_at).unwrap_or(self.raised_at)
    }

    /// Until when it is snoozed, be that past; `None` if it never was.
    pub fn snoozed_until(&self) -> Option<OffsetDateTime> {
        self.snoozes.last().map(|snooze| snooze.until)
    }

    /// Whether it waits for a clinician, so that it is on the worklist of its site: neither acknowledged nor quiet.
    pub fn waits(&self) -> bool {
        matches!(self.status, AlertStatus::Pending | AlertStatus::Sent)
    }

    /// The attributes that put it on the worklist of its site, in the index `site`.
    pub(crate) fn worklist_entry(&self) -> [(&'static str, String); 2] {
        let sort = keys::waiting_alert(self.severity, &self.id.to_string());
        [(SITE_KEY, keys::alerts(&self.study, &self.site)), (SITE_SORT, sort)]
    }

    /// Whether it is published again until a clinician acknowledges it.
    pub(crate) fn may_escalate(&self) -> bool {
        self.severity == Severity::Critical
    }

    /// Its key in the Records table.
    pub(crate) fn key(&self) -> Item {
        self.id.key(&self.study, &self.site)
    }

    /// The value of `pending` that puts it on `list`.
    pub(crate) fn list_key(&self, list: List) -> String {
        list.key_of(&self.id.to_string())
    }

    /// The item of a new alert.
    pub(crate) fn to_item(&self) -> Item {
        let mut item = self.key();
        let mut set = |name: &str, value: AttributeValue| item.insert(name.to_owned(), value);
        set("kind", text(KIND));
        set("alert_id", text(self.id.to_string()));
        set("study", text(self.study.as_str()));
        set("site", text(self.site.as_str()));
        set("patient", text(self.patient.as_str()));
        match &self.cause {
            Cause::Submission(id) => drop(set("submission", text(id.to_string()))),
            Cause::Missed { schedule, number: of_schedule } => {
                set("schedule", text(schedule.as_str()));
                set("occurrence", number(of_schedule));
            }
        }
        set("rule", text(self.rule.as_str()));
        set("severity", text(self.severity.to_string()));
        set("raised_at", instant(self.raised_at));
        set("correlation_id", text(&self.correlation_id));
        set("status", text(self.status.as_str()));
        if self.waits() {
            for (name, value) in self.worklist_entry() {
                set(name, text(value));
            }
        }
        if self.late {
            set("late", AttributeValue::Bool(true));
        }
        if let Some(instrument) = &self.instrument {
            set("instrument", text(instrument.as_str()));
        }
        if let Some(list) = self.list {
            set(PENDING, text(self.list_key(list)));
            set(PENDING_SINCE, text(sortable(self.raised_at)));
        }
        item
    }

    pub(crate) fn from_item(item: &Item) -> Result<Self, Unreadable> {
        let reader = Reader(item);
        let escalation = reader.optional_count("escalation")?.map(u32::try_from).transpose();
        let escalation = escalation.map_err(|_| unreadable("escalation", "is out of range"))?;
        Ok(Self {
            id: reader.parsed("alert_id")?,
            study: reader.parsed("study")?,
            site: reader.parsed("site")?,
            patient: reader.parsed("patient")?,
            cause: cause(reader)?,
            rule: reader.parsed("rule")?,
            severity: reader.parsed("severity")?,
            raised_at: reader.instant("raised_at")?,
            correlation_id: reader.text("correlation_id")?.to_owned(),
            status: reader.parsed("status")?,
            instrument: reader.optional_parsed("instrument")?,
            sent_at: reader.optional_instant("sent_at")?,
            acknowledged: Acknowledgement::from_reader(reader)?,
            later: Acknowledgement::later(reader)?,
            escalation: escalation.unwrap_or_default(),
            escalated_at: reader.optional_instant("escalated_at")?,
            snoozes: Snooze::all_of(reader)?,
            exhausted_at: reader.optional_instant("exhausted_at")?,
            late: reader.is_set("late")?,
            corrected: reader.is_set("corrected")?,
            superseded: reader.is_set("superseded")?,
            list: reader.optional_text(PENDING)?.and_then(List::of),
        })
    }
}

fn cause(reader: Reader<'_>) -> Result<Cause, Unreadable> {
    let Some(schedule) = reader.optional_parsed("schedule")? else {
        return Ok(Cause::Submission(reader.parsed("submission")?));
    };
    let number = reader.optional_count("occurrence")?.and_then(|number| u32::try_from(number).ok());
    Ok(Cause::Missed { schedule, number: number.ok_or_else(|| unreadable("occurrence", "is missing"))? })
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn an_alert_id_is_the_same_each_time_and_its_own_for_each_rule_and_nonce() {
        let (nonce, other) = (Uuid::from_u128(7), Uuid::from_u128(8));
        let rule = |rule: &str| rule.parse().unwrap();
        let at = datetime!(2026-11-01 08:00:00.017 UTC);
        let id = AlertId::derive(at, nonce, &rule("safety"));
        assert_eq!(id, AlertId::derive(at, nonce, &rule("safety")));
        assert_ne!(id, AlertId::derive(at, nonce, &rule("threshold")));
        assert_ne!(id, AlertId::derive(at, other, &rule("safety")));
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn alert_ids_sort_as_texts_by_the_time_of_receipt() {
        let at = datetime!(2026-11-01 08:00:00.017 UTC);
        let after = [0, 1, 2, 999, 60_000, 86_400_000, 31_536_000_000].map(time::Duration::milliseconds);
        let ids =
            after.map(|after| AlertId::derive(at + after, Uuid::new_v4(), &"safety".parse().unwrap()).to_string());
        assert!(ids.is_sorted(), "{ids:?}");
    }
}
