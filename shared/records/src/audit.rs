//! Audit entries: who read and who changed what, and when. Written once; nothing changes or removes one.

use std::cmp::Reverse;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use clinical::ids::{PatientId, SiteId, StudyId};
use invocation::aws::{CallError, Failure, Limits, call};
use invocation::{Deadline, Principal};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::table::attributes::{Item, Reader, Unreadable, instant, sortable, text, unreadable};
use crate::table::keys::{self, PK, SK};
use crate::store::{NOT_THERE, Page, Store};

const PUT: Limits = Limits { most: Duration::from_secs(3), least: Duration::from_millis(30) };

/// One entry: who did what to what, and when. Never what was read or written itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// When, by the server's clock.
    pub at: OffsetDateTime,
    /// Who.
    pub actor: Actor,
    /// What was done.
    pub action: AuditAction,
    /// The study; none: it concerns all of them, as an instrument does.
    pub study: Option<StudyId>,
    /// The site that it concerns; none: the whole study.
    pub site: Option<SiteId>,
    /// The patient whose data was read or changed, where it was one patient's.
    pub patient: Option<PatientId>,
    /// What it was done to: an alert's id, a submission's, a study's version. Never a name or an answer.
    pub subject: Option<String>,
    /// Why, where the one who did it had to give a reason. Never in a patient's words.
    pub reason: Option<String>,
    /// The invocation that did it, by Lambda's id; none: it was done outside of one.
    pub request_id: Option<String>,
    /// Ties it to the request.
    pub correlation_id: String,
    /// Tells it from others of the same instant. Made with it, so that a repeat of the same write is the same entry.
    id: Uuid,
}

/// Who did something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// By the access token, or by AWS for what is done from the command line.
    pub principal: Principal,
    /// The role that the token gave.
    pub role: String,
}

/// What an entry says was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditAction {
    /// A site's patients were listed.
    PatientsRead,
    /// A site's report was made.
    ReportRead,
    /// A site's alerts were listed.
    AlertsRead,
    /// A site's audit entries were listed.
    AuditRead,
    /// A clinician took on an alert.
    AlertAcknowledged,
    /// An acknowledgement of before was read, by who acknowledged the alert once more.
    AcknowledgementRead,
    /// One submission was read.
    SubmissionRead,
    /// A submission was corrected by another one.
    SubmissionAmended,
    /// A study was stored.
    StudyPut,
    /// An instrument was stored.
    InstrumentPut,
}

impl AuditAction {
    const ALL: [Self; 10] = [
        Self::PatientsRead,
        Self::ReportRead,
        Self::AlertsRead,
        Self::AuditRead,
        Self::AlertAcknowledged,
        Self::AcknowledgementRead,
        Self::SubmissionRead,
        Self::SubmissionAmended,
        Self::StudyPut,
        Self::InstrumentPut,
    ];

    /// As it is stored and told.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PatientsRead => "patients-read",
            Self::ReportRead => "report-read",
            Self::AlertsRead => "alerts-read",
            Self::AuditRead => "audit-read",
            Self::AlertAcknowledged => "alert-acknowledged",
            Self::AcknowledgementRead => "acknowledgement-read",
            Self::SubmissionRead => "submission-read",
            Self::SubmissionAmended => "submission-amended",
            Self::StudyPut => "study-put",
            Self::InstrumentPut => "instrument-put",
        }
    }
}

impl fmt::Display for AuditAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for AuditAction {
    type Err = ();

    fn from_str(action: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|known| known.as_str() == action).ok_or(())
    }
}

impl Audit {
    /// The entry that `actor` did `action` at `at` to `study` as a whole, in the request of these two ids.
    pub fn in_request(
        actor: Actor,
        action: AuditAction,
        study: &StudyId,
        at: OffsetDateTime,
        request_id: &str,
        correlation_id: &str,
    ) -> Self {
        Self {
            at,
            actor,
            action,
            study: Some(study.clone()),
            site: None,
            patient: None,
            subject: None,
            reason: None,
            request_id: Some(request_id.to_owned()),
            correlation_id: correlation_id.to_owned(),
            id: Uuid::new_v4(),
        }
    }

    /// That `actor` did `action` at `at` for `reason`, outside of a request, to `study` as a whole or to what all studies
    /// may use.
    pub fn by(actor: Actor, action: AuditAction, study: Option<&StudyId>, reason: &str, at: OffsetDateTime) -> Self {
        let id = Uuid::new_v4();
        Self {
            at,
            actor,
            action,
            study: study.cloned(),
            site: None,
            patient: None,
            subject: None,
            reason: Some(reason.to_owned()),
            request_id: None,
            correlation_id: id.to_string(),
            id,
        }
    }

    /// This entry, of `site` only.
    #[must_use]
    pub fn at_site(self, site: &SiteId) -> Self {
        Self { site: Some(site.clone()), ..self }
    }

    /// This entry, of the data of `patient`.
    #[must_use]
    pub fn of_patient(self, patient: &PatientId) -> Self {
        Self { patient: Some(patient.clone()), ..self }
    }

    /// This entry, with what it was done to.
    #[must_use]
    pub fn about(self, subject: impl fmt::Display) -> Self {
        Self { subject: Some(subject.to_string()), ..self }
    }

    /// Where it stands among the others: by time, then at random.
    fn place(&self) -> String {
        format!("{}#{}", sortable(self.at), self.id)
    }

    /// Its item. What changes something puts it in the transaction of the change (`put_new`).
    pub(crate) fn to_item(&self) -> Item {
        let mut item = Item::from([
            (PK.to_owned(), text(keys::audit(self.study.as_ref(), self.site.as_ref()))),
            (SK.to_owned(), text(self.place())),
            ("kind".to_owned(), text("audit")),
            ("audit_id".to_owned(), text(self.id.to_string())),
            ("at".to_owned(), instant(self.at)),
            ("sub".to_owned(), text(self.actor.principal.sub())),
            ("iss".to_owned(), text(self.actor.principal.iss())),
            ("role".to_owned(), text(&self.actor.role)),
            ("action".to_owned(), text(self.action.as_str())),
            ("correlation_id".to_owned(), text(&self.correlation_id)),
        ]);
        let known = [
            ("study", self.study.as_ref().map(StudyId::as_str)),
            ("site", self.site.as_ref().map(SiteId::as_str)),
            ("patient", self.patient.as_ref().map(PatientId::as_str)),
            ("subject", self.subject.as_deref()),
            ("reason", self.reason.as_deref()),
            ("request_id", self.request_id.as_deref()),
        ];
        item.extend(known.into_iter().filter_map(|(name, value)| Some((name.to_owned(), text(value?)))));
        item
    }

    pub(crate) fn from_item(item: &Item) -> Result<Self, Unreadable> {
        let reader = Reader(item);
        let optional_text = |name| Ok(reader.optional_text(name)?.map(str::to_owned));
        Ok(Self {
            at: reader.instant("at")?,
            actor: Actor { principal: reader.principal()?, role: reader.text("role")?.to_owned() },
            action: reader.text("action")?.parse().map_err(|()| unreadable("action", "is none of the known"))?,
            study: reader.optional_parsed("study")?,
            site: reader.optional_parsed("site")?,
            patient: reader.optional_parsed("patient")?,
            subject: optional_text("subject")?,
            reason: optional_text("reason")?,
            request_id: optional_text("request_id")?,
            correlation_id: reader.text("correlation_id")?.to_owned(),
            id: reader.parsed("audit_id")?,
        })
    }
}

impl Store {
    /// Keeps `entry`, once, however often this is called with it.
    ///
    /// # Errors
    /// If the store did not confirm it: what it tells of must then not be answered as done.
    pub async fn audit(&self, entry: &Audit, deadline: Deadline) -> Result<(), Failure> {
        let request = self
            .dynamodb
            .put_item()
            .table_name(&self.tables.records)
            .set_item(Some(entry.to_item()))
            .condition_expression(NOT_THERE);
        let sent =
            call(deadline, PUT, |timeouts| request.customize().config_override(Store::timeouts(timeouts)).send());
        match sent.await {
            // Its key is random: what is there is this entry, from an attempt whose answer was lost.
            Ok(_) | Err(CallError::Refused(PutItemError::ConditionalCheckFailedException(_))) => Ok(()),
            Err(error) => Err(error.of("PutItem of an audit entry")),
        }
    }

    /// At most `most` entries of `site`, of its study as a whole and of what all studies may use, newest first, from
    /// `below` on, which an earlier page gave as its next.
    ///
    /// # Errors
    /// If the store did not answer in time, or an entry cannot be read.
    pub async fn audit_entries(
        &self,
        study: &StudyId,
        site: &SiteId,
        below: Option<&str>,
        most: usize,
        deadline: Deadline,
    ) -> Result<Page<Audit>, Failure> {
        const OPERATION: &str = "Query of audit entries";
        let read = async |study: Option<&StudyId>, site: Option<&SiteId>| {
            let query = self
                .dynamodb
                .query()
                .table_name(&self.tables.records)
                .expression_attribute_values(":pk", text(keys::audit(study, site)))
                .scan_index_forward(false)
                .consistent_read(true);
            let query = match below {
                None => query.key_condition_expression("pk = :pk"),
                Some(below) => query
                    .key_condition_expression("pk = :pk AND sk < :below")
                    .expression_attribute_values(":below", text(below)),
            };
            // One more than is wanted tells whether there are more.
            Box::pin(self.query(query, most + 1, OPERATION, deadline)).await
        };
        let (of_site, of_study, of_all) =
            tokio::try_join!(read(Some(study), Some(site)), read(Some(study), None), read(None, None))?;
        let entries: Result<Vec<Audit>, Unreadable> =
            of_site.iter().chain(&of_study).chain(&of_all).map(Audit::from_item).collect();
        let mut entries = entries.map_err(|_| Failure::unreadable(OPERATION, "an entry cannot be read"))?;
        entries.sort_by_cached_key(|entry| Reverse(entry.place()));
        let more = entries.len() > most;
        entries.truncate(most);
        let next = entries.last().filter(|_| more).map(Audit::place);
        Ok(Page { entries, next })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;
    use time::{Duration, UtcOffset};

    fn entry() -> Audit {
        Audit {
            at: datetime!(2026-11-23 08:00:00.123 UTC),
            actor: Actor {
                principal: Principal::new("auth0|7d2e9a10", "https://tenant.eu.auth0.com/").unwrap(),
                role: "staff".to_owned(),
            },
            action: AuditAction::PatientsRead,
            study: Some("DEMO".parse().unwrap()),
            site: Some("S01".parse().unwrap()),
            patient: None,
            subject: None,
            reason: None,
            request_id: Some("r-1".to_owned()),
            correlation_id: "c-1".to_owned(),
            id: Uuid::from_u128(7),
        }
    }

    #[test]
    fn an_entry_survives_being_stored() {
        let study_wide = Audit { site: None, ..entry() }.about("2.0.0");
        let of_all =
            Audit { study: None, reason: Some("a new arm".to_owned()), request_id: None, ..study_wide.clone() };
        let of_patient = entry().of_patient(&"P-001".parse().unwrap());
        for entry in [entry(), study_wide, of_all, of_patient] {
            assert_eq!(Audit::from_item(&entry.to_item()), Ok(entry));
        }
    }

    #[test]
    fn every_action_is_read_as_it_is_written() {
        for action in AuditAction::ALL {
            assert_eq!(action.as_str().parse(), Ok(action));
        }
        assert_eq!("patients-deleted".parse::<AuditAction>(), Err(()));
    }

    #[test]
    fn a_sites_entries_and_the_studys_own_lie_apart() {
        let keys = |entry: &Audit| entry.to_item().remove(PK);
        assert_eq!(keys(&entry()), Some(text("AUDIT#DEMO#S01")));
        assert_eq!(keys(&Audit { site: None, ..entry() }), Some(text("AUDIT#DEMO")));
        assert_eq!(keys(&Audit { site: None, study: None, ..entry() }), Some(text("AUDIT#")));
    }

    #[test]
    fn entries_sort_by_time_whatever_offset_and_fraction_it_has() {
        let first = entry().at;
        let times =
            [first, first + Duration::nanoseconds(1), first + Duration::milliseconds(877), first + Duration::days(40)];
        let places: Vec<String> = times
            .into_iter()
            .enumerate()
            .map(|(n, at)| {
                let offset = UtcOffset::from_hms(8 - 3 * n as i8, 0, 0).unwrap();
                // The later, the smaller the id: the time decides.
                Audit { at: at.to_offset(offset), id: Uuid::from_u128(9 - n as u128), ..entry() }.place()
            })
            .collect();
        assert!(places.is_sorted(), "{places:#?}");
        assert!(places[0].starts_with("2026-11-23T08:00:00.123000000Z#"), "{}", places[0]);
    }
}
