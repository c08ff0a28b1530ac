//! What a site's patients sent in a period of time and what was raised on it: all that a report of the site is made of.

use clinical::ids::{PatientId, RuleId, SiteId, StudyId, SubmissionId};
use clinical::instruments::{self, Place, Severity};
use futures::{StreamExt, TryStreamExt, stream};
use invocation::Deadline;
use invocation::aws::Failure;
use time::OffsetDateTime;

use crate::items::alert::{AlertId, AlertStatus};
use crate::table::attributes::{Item, Reader, Unreadable, sortable, text, to_json, unreadable};
use crate::table::keys;
use crate::store::Store;
use crate::items::submission::{InstrumentRef, place};

/// Each one beyond these opens a connection of its own, which costs more than it saves.
const READS_AT_ONCE: usize = 24;

/// What is read of an item: never an answer.
const ATTRIBUTES: [&str; 23] = [
    "kind",
    "site",
    "patient",
    // Of a profile.
    "courses",
    // Of a submission; of its score the values alone.
    "id",
    "instrument",
    "effective_at",
    "clock",
    "place",
    "amends",
    "amended_by",
    "scored_at",
    "score",
    // Of an alert.
    "alert_id",
    "submission",
    "rule",
    "severity",
    "raised_at",
    "status",
    "sent_at",
    "acknowledged_at",
    "acknowledged_by",
    "escalation",
];

/// What the patients of one site sent in a period, and what was raised on it.
#[derive(Clone, Debug, PartialEq)]
pub struct SitePeriod {
    /// The site's patients, by id; those who sent nothing too.
    pub patients: Vec<PatientPeriod>,
    /// How many stored items could not be read, and are in nothing here.
    pub unreadable: u64,
}

/// What one patient sent in a period, and what was raised on it.
#[derive(Clone, Debug, PartialEq)]
pub struct PatientPeriod {
    /// The patient.
    pub patient: PatientId,
    /// When the patient completed the first submission that is known: the first one ever that could be scored, or one of
    /// the period where that is earlier.
    pub first_submission: Option<OffsetDateTime>,
    /// The submissions that stand in the period, by where they stand in the course.
    pub submissions: Vec<SubmissionSummary>,
    /// The alerts that were raised in the period, by that time.
    pub alerts: Vec<AlertHandling>,
}

/// What a report tells of a submission: no answer.
#[derive(Clone, Debug, PartialEq)]
pub struct SubmissionSummary {
    /// The submission.
    pub id: SubmissionId,
    /// The definition that it answers.
    pub instrument: InstrumentRef,
    /// Where it stands in the course: when the patient completed it; of a correction, when the patient completed what was
    /// corrected first.
    pub place: Place,
    /// Whether the time that the device gave was corrected.
    pub clock_corrected: bool,
    /// The submission that this one corrects.
    pub amends: Option<SubmissionId>,
    /// The submission that corrects this one, and takes its place.
    pub amended_by: Option<SubmissionId>,
    /// Its scores; none where it could not be scored. `None` while it was not looked at yet.
    pub scores: Option<Vec<instruments::Score>>,
}

/// An alert, and how far it was handled.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertHandling {
    /// Its public id.
    pub id: AlertId,
    /// The submission that raised it.
    pub submission: SubmissionId,
    /// The rule that fired.
    pub rule: RuleId,
    /// How urgent it is.
    pub severity: Severity,
    /// When it was raised.
    pub raised_at: OffsetDateTime,
    /// How far it has come.
    pub status: AlertStatus,
    /// When SNS confirmed it.
    pub sent_at: Option<OffsetDateTime>,
    /// How many times it was published again because nobody took it on.
    pub escalation: u64,
    /// When a clinician took it on, and who (the subject of the token).
    pub acknowledged: Option<(OffsetDateTime, String)>,
}

impl Store {
    /// What `patients` of `site`, as [`site_patients`](Self::site_patients) gives them, sent from `from` on and before
    /// `until`, and what was raised on it. All of it, or none. It is read consistently.
    ///
    /// # Errors
    /// If the store did not answer for all in time.
    pub async fn site_period(
        &self,
        study: &StudyId,
        site: &SiteId,
        (patients, unreadable): (Vec<PatientId>, u64),
        from: OffsetDateTime,
        until: OffsetDateTime,
        deadline: Deadline,
    ) -> Result<SitePeriod, Failure> {
        let read: Vec<(PatientPeriod, u64)> = stream::iter(patients)
            .map(|patient| self.patient_period(study, site, patient, (from, until), deadline))
            .buffered(READS_AT_ONCE)
            .try_collect()
            .await?;
        let unreadable = unreadable + read.iter().map(|(_, unreadable)| unreadable).sum::<u64>();
        Ok(SitePeriod { patients: read.into_iter().map(|(patient, _)| patient).collect(), unreadable })
    }

    /// The patients of `site` by id, and how many profiles do not say whose they are. They come from an index, which may
    /// lack one that sent its first submission a moment ago.
    ///
    /// # Errors
    /// If the store did not answer for all in time.
    pub async fn site_patients(
        &self,
        study: &StudyId,
        site: &SiteId,
        deadline: Deadline,
    ) -> Result<(Vec<PatientId>, u64), Failure> {
        self.patients_of(study, site, usize::MAX, deadline).await
    }

    /// As [`site_patients`](Self::site_patients), of the first `most`.
    pub(crate) async fn patients_of(
        &self,
        study: &StudyId,
        site: &SiteId,
        most: usize,
        deadline: Deadline,
    ) -> Result<(Vec<PatientId>, u64), Failure> {
        let query = self
            .dynamodb
            .query()
            .table_name(&self.tables.records)
            .index_name("site")
            .key_condition_expression("site_key = :site AND begins_with(site_sort, :patients)")
            .expression_attribute_values(":site", text(keys::site(study, site)))
            .expression_attribute_values(":patients", text("PATIENT#"))
            .projection_expression("patient");
        let items = self.query(query, most, "Query of a site's patients", deadline).await?;
        let mut patients: Vec<PatientId> =
            items.iter().filter_map(|item| Reader(item).parsed("patient").ok()).collect();
        patients.sort();
        let unreadable = items.len() - patients.len();
        Ok((patients, unreadable as u64))
    }

    async fn patient_period(
        &self,
        study: &StudyId,
        site: &SiteId,
        patient: PatientId,
        (from, until): (OffsetDateTime, OffsetDateTime),
        deadline: Deadline,
    ) -> Result<(PatientPeriod, u64), Failure> {
        // A time of an alert is not written in one width, so that its text differs from the period's within a second: the
        // store leaves out what is certainly outside, and the rest is looked at here.
        let (earliest, latest) = (from - time::Duration::SECOND, until + time::Duration::SECOND);
        // Some of the names are words of the expressions' own.
        let names = ATTRIBUTES.iter().chain(&["at"]).map(|name| (format!("#{name}"), (*name).to_owned()));
        let query = self
            .dynamodb
            .query()
            .table_name(&self.tables.records)
            .consistent_read(true)
            // Alerts, the profile and submissions lie side by side.
            .key_condition_expression("pk = :patient AND sk BETWEEN :first AND :last")
            .filter_expression(
                "#kind = :profile OR #effective_at BETWEEN :earliest AND :latest \
                 OR #place.#at BETWEEN :earliest AND :latest OR #raised_at BETWEEN :earliest AND :latest",
            )
            .projection_expression(ATTRIBUTES.map(|name| format!("#{name}")).join(", "))
            .set_expression_attribute_names(Some(names.collect()))
            .expression_attribute_values(":patient", text(keys::patient(study, &patient)))
            .expression_attribute_values(":first", text("ALERT#"))
            .expression_attribute_values(":last", text("SUBMISSION#~"))
            .expression_attribute_values(":profile", text("profile"))
            .expression_attribute_values(":earliest", text(sortable(earliest)))
            .expression_attribute_values(":latest", text(sortable(latest)));
        let items = self.query(query, usize::MAX, "Query of a patient's records", deadline).await?;
        let mut period = PatientPeriod { patient, first_submission: None, submissions: Vec::new(), alerts: Vec::new() };
        let unreadable = items.iter().filter(|item| period.take_in(item, site, from, until).is_err()).count();
        period.settle();
        Ok((period, unreadable as u64))
    }
}

impl PatientPeriod {
    /// Takes in an item of the patient's, if it is of `site` and of the time from `from` on and before `until`.
    fn take_in(
        &mut self,
        item: &Item,
        site: &SiteId,
        from: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<(), Unreadable> {
        let reader = Reader(item);
        // What a patient sent while at another site is that site's to see.
        let of_this_site = || Ok(reader.parsed::<SiteId>("site")? == *site);
        match reader.text("kind")? {
            "profile" => self.first_submission = earliest(self.first_submission, first_scored(reader)?),
            "submission" if of_this_site()? => {
                let submission = SubmissionSummary::from_reader(reader)?;
                if (from..until).contains(&submission.place.at) {
                    self.submissions.push(submission);
                }
            }
            "alert" if of_this_site()? => {
                let alert = AlertHandling::from_reader(reader)?;
                if (from..until).contains(&alert.raised_at) {
                    self.alerts.push(alert);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Brings all into the order of time; where two are at the same time their ids decide, so that it is the same always.
    fn settle(&mut self) {
        self.submissions.sort_by_key(|submission| (submission.place, submission.id));
        self.alerts.sort_by_key(|alert| (alert.raised_at, alert.id));
        let first = self.submissions.first().map(|submission| submission.place.at);
        self.first_submission = earliest(self.first_submission, first);
    }
}

impl SubmissionSummary {
    fn from_reader(reader: Reader<'_>) -> Result<Self, Unreadable> {
        let instrument = reader.map("instrument")?;
        let scores = reader.optional_map("score")?.map(|score| {
            let values = score.0.get("scores").and_then(to_json).map(serde_json::from_value);
            values.and_then(Result::ok).ok_or_else(|| unreadable("score", "is not what was stored"))
        });
        Ok(Self {
            id: reader.parsed("id")?,
            instrument: InstrumentRef {
                id: instrument.parsed("id")?,
                version: instrument.parsed("version")?,
                hash: instrument.text("hash")?.to_owned(),
            },
            place: place(reader)?,
            clock_corrected: reader.optional_map("clock")?.is_some(),
            amends: reader.optional_parsed("amends")?,
            amended_by: reader.optional_parsed("amended_by")?,
            scores: scores.transpose()?,
        })
    }
}

impl AlertHandling {
    fn from_reader(reader: Reader<'_>) -> Result<Self, Unreadable> {
        let optional_instant = |name: &str| reader.optional_text(name)?.map(|_| reader.instant(name)).transpose();
        let acknowledged = optional_instant("acknowledged_at")?.zip(reader.optional_text("acknowledged_by")?);
        Ok(Self {
            id: reader.parsed("alert_id")?,
            submission: reader.parsed("submission")?,
            rule: reader.parsed("rule")?,
            severity: reader.parsed("severity")?,
            raised_at: reader.instant("raised_at")?,
            status: reader.text("status")?.parse().map_err(|()| unreadable("status", "is none of the known"))?,
            sent_at: optional_instant("sent_at")?,
            escalation: reader.optional_count("escalation")?.unwrap_or_default(),
            acknowledged: acknowledged.map(|(at, by)| (at, by.to_owned())),
        })
    }
}

/// When the patient completed the first submission that could be scored, by the profile.
fn first_scored(profile: Reader<'_>) -> Result<Option<OffsetDateTime>, Unreadable> {
    let courses = profile.map("courses")?;
    let mut first = None;
    for course in courses.0.keys() {
        let baseline = courses.map(course)?.optional_map("baseline")?;
        first = earliest(first, baseline.map(|baseline| baseline.instant("at")).transpose()?);
    }
    Ok(first)
}

fn earliest(one: Option<OffsetDateTime>, other: Option<OffsetDateTime>) -> Option<OffsetDateTime> {
    one.into_iter().chain(other).min()
}
