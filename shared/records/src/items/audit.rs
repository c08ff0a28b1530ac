//! Audit entries: who read and who changed what, and when. Written once, and never changed or removed.

use std::fmt;
use std::str::FromStr;

use clinical::ids::{PatientId, SiteId, StudyId};
use invocation::Principal;
use time::OffsetDateTime;
use uuid::Uuid;

use super::UnknownName;
use crate::table::attributes::{Item, Reader, Unreadable, instant, sortable, text};
use crate::table::keys;

/// An audit entry: who did what to what, and when. The data that was read or written is never part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// When, by the server's clock.
    pub at: OffsetDateTime,
    /// Who did it.
    pub actor: Actor,
    /// The action.
    pub action: AuditAction,
    /// The study; `None` if it concerns all of them, as an instrument does.
    pub study: Option<StudyId>,
    /// The site; `None` if it concerns the whole study.
    pub site: Option<SiteId>,
    /// The patient whose data was read or changed, where it was one patient's.
    pub patient: Option<PatientId>,
    /// The object of the action: the id of an alert or a submission, the version of a study. Never a name or an answer.
    pub subject: Option<String>,
    /// The reason, where the action requires one. Never in a patient's words.
    pub reason: Option<String>,
    /// Lambda's id of the invocation; `None` if it was done outside of one.
    pub request_id: Option<String>,
    /// The correlation id of the request.
    pub correlation_id: String,
    /// Distinguishes it from others of the same instant. Made with it, so that a repeat of the write is the same entry.
    id: Uuid,
}

/// The person or system that did something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The principal of the access token, or the AWS identity for an action from the command line.
    pub principal: Principal,
    /// The role of the token.
    pub role: String,
}

/// The action of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditAction {
    /// A site's patients were listed.
    PatientsRead,
    /// A site's report was made.
    ReportRead,
    /// A site's alerts were listed.
    AlertsRead,
    /// What is due at a site was listed.
    DueRead,
    /// A site's audit entries were listed.
    AuditRead,
    /// A clinician acknowledged an alert.
    AlertAcknowledged,
    /// A clinician snoozed an alert.
    AlertSnoozed,
    /// An earlier acknowledgement was returned to a clinician who acknowledged the alert again.
    AcknowledgementRead,
    /// One submission was read.
    SubmissionRead,
    /// A submission was corrected by another one.
    SubmissionAmended,
    /// A study was stored.
    StudyPut,
    /// An instrument was stored.
    InstrumentPut,
    /// A patient's registration was read.
    RegistrationRead,
    /// A patient was registered.
    PatientEnrolled,
    /// A patient's registration was changed.
    PatientChanged,
    /// A patient was transferred to another site; the site that was left and the new one have an entry each.
    PatientTransferred,
    /// A patient withdrew from the study.
    PatientWithdrawn,
    /// The day of a patient's event was entered, changed or removed.
    EventDated,
}

impl AuditAction {
    const ALL: [Self; 18] = [
        Self::PatientsRead,
        Self::ReportRead,
        Self::AlertsRead,
        Self::DueRead,
        Self::AuditRead,
        Self::AlertAcknowledged,
        Self::AlertSnoozed,
        Self::AcknowledgementRead,
        Self::SubmissionRead,
        Self::SubmissionAmended,
        Self::StudyPut,
        Self::InstrumentPut,
        Self::RegistrationRead,
        Self::PatientEnrolled,
        Self::PatientChanged,
        Self::PatientTransferred,
        Self::PatientWithdrawn,
        Self::EventDated,
    ];

    /// The action as it is stored and returned.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PatientsRead => "patients-read",
            Self::ReportRead => "report-read",
            Self::AlertsRead => "alerts-read",
            Self::DueRead => "due-read",
            Self::AuditRead => "audit-read",
            Self::AlertAcknowledged => "alert-acknowledged",
            Self::AlertSnoozed => "alert-snoozed",
            Self::AcknowledgementRead => "acknowledgement-read",
            Self::SubmissionRead => "submission-read",
            Self::SubmissionAmended => "submission-amended",
            Self::StudyPut => "study-put",
            Self::InstrumentPut => "instrument-put",
            Self::RegistrationRead => "registration-read",
            Self::PatientEnrolled => "patient-enrolled",
            Self::PatientChanged => "patient-changed",
            Self::PatientTransferred => "patient-transferred",
            Self::PatientWithdrawn => "patient-withdrawn",
            Self::EventDated => "event-dated",
        }
    }
}

impl fmt::Display for AuditAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for AuditAction {
    type Err = UnknownName;

    fn from_str(action: &str) -> Result<Self, UnknownName> {
        Self::ALL.into_iter().find(|known| known.as_str() == action).ok_or(UnknownName("audit action"))
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

    /// The entry that `actor` did `action` at `at` for `reason`, outside of a request, to `study` as a whole or, if
    /// `None`, to what all studies may use.
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

    /// This entry, concerning what all studies may use instead of one study.
    #[must_use]
    pub fn of_all_studies(self) -> Self {
        Self { study: None, ..self }
    }

    /// This entry, concerning `site` only.
    #[must_use]
    pub fn at_site(self, site: &SiteId) -> Self {
        Self { site: Some(site.clone()), ..self }
    }

    /// This entry, concerning the data of `patient`.
    #[must_use]
    pub fn of_patient(self, patient: &PatientId) -> Self {
        Self { patient: Some(patient.clone()), ..self }
    }

    /// This entry, with the object of its action.
    #[must_use]
    pub fn about(self, subject: impl fmt::Display) -> Self {
        Self { subject: Some(subject.to_string()), ..self }
    }

    /// This entry, with the reason that the caller gave.
    #[must_use]
    pub fn because(self, reason: Option<&str>) -> Self {
        Self { reason: reason.map(str::to_owned), ..self }
    }

    /// Its sort key: by time, then at random.
    pub(crate) fn sort_key(&self) -> String {
        format!("{}#{}", sortable(self.at), self.id)
    }

    /// Its item. An action that changes data writes it in the transaction of the change.
    pub(crate) fn to_item(&self) -> Item {
        let mut item = keys::key(keys::audit(self.study.as_ref(), self.site.as_ref()), self.sort_key());
        item.extend([
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
        Ok(Self {
            at: reader.instant("at")?,
            actor: Actor { principal: reader.principal()?, role: reader.text("role")?.to_owned() },
            action: reader.parsed("action")?,
            study: reader.optional_parsed("study")?,
            site: reader.optional_parsed("site")?,
            patient: reader.optional_parsed("patient")?,
            subject: reader.optional_owned_text("subject")?,
            reason: reader.optional_owned_text("reason")?,
            request_id: reader.optional_owned_text("request_id")?,
            correlation_id: reader.text("correlation_id")?.to_owned(),
            id: reader.parsed("audit_id")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::keys::PK;
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
            assert_eq!(action.to_string().parse(), Ok(action));
        }
        assert_eq!("patients-deleted".parse::<AuditAction>(), Err(UnknownName("audit action")));
    }

    #[test]
    fn entries_of_a_site_and_of_its_study_are_in_different_partitions() {
        let keys = |entry: &Audit| entry.to_item().remove(PK);
        assert_eq!(keys(&entry()), Some(text("AUDIT#DEMO#S01")));
        assert_eq!(keys(&Audit { site: None, ..entry() }), Some(text("AUDIT#DEMO")));
        assert_eq!(keys(&Audit { site: None, study: None, ..entry() }), Some(text("AUDIT#")));
    }

    #[test]
    fn entries_sort_by_time_whatever_its_offset_and_fraction() {
        let first = entry().at;
        let times =
            [first, first + Duration::nanoseconds(1), first + Duration::milliseconds(877), first + Duration::days(40)];
        let places: Vec<String> = times
            .into_iter()
            .enumerate()
            .map(|(n, at)| {
                let offset = UtcOffset::from_hms(8 - 3 * n as i8, 0, 0).unwrap();
                // The later, the smaller the id: the time decides.
                Audit { at: at.to_offset(offset), id: Uuid::from_u128(9 - n as u128), ..entry() }.sort_key()
            })
            .collect();
        assert!(places.is_sorted(), "{places:#?}");
        assert!(places[0].starts_with("2026-11-23T08:00:00.123000000Z#"), "{}", places[0]);
    }
}
