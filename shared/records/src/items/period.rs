//! The submissions and alerts of a site in a period of time: the data of a report.

use std::collections::BTreeMap;

use clinical::ids::{InstrumentId, PatientId, RuleId, SiteId, SubmissionId};
use clinical::instruments::{self, Place, Severity};
use time::OffsetDateTime;

use super::alert::{AlertId, AlertStatus};
use super::compliance::{Compliance, SettledWindow};
use super::registration::{self, Transfer, Withdrawal};
use super::submission::{self, InstrumentRef, place};
use super::{occurrence, profile};
use crate::table::attributes::{Item, Reader, Unreadable, to_json, unreadable};

/// The attributes of a patient's items that are read. No answer is among them.
pub(crate) const ATTRIBUTES: [&str; 18] = [
    "kind",
    "site",
    // Of a profile.
    "courses",
    "site_key",
    // Of a registration.
    "transfers",
    "withdrawn",
    // Of an occurrence.
    "opens",
    "state",
    "late",
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
];

/// The submissions of one site's patients in a period, and the alerts that were raised in it.
#[derive(Clone, Debug, PartialEq)]
pub struct SitePeriod {
    /// All of the site's patients, by id, also those without a submission in the period; of those who left the site
    /// before it only whoever has one, or an alert.
    pub patients: Vec<PatientPeriod>,
    /// The number of stored items that could not be read and are missing here.
    pub unreadable: u64,
}

/// The submissions of one patient in a period, and the alerts that were raised in it.
#[derive(Clone, Debug, PartialEq)]
pub struct PatientPeriod {
    /// The patient.
    pub patient: PatientId,
    /// When the patient completed the first known submission: the first ever that could be scored, or one of the period
    /// where that is earlier.
    pub first_submission: Option<OffsetDateTime>,
    /// The patient's time at the site.
    pub stay: Stay,
    /// The submissions whose place is in the period, by place. None where the patient's data are hidden.
    pub submissions: Vec<SubmissionSummary>,
    /// The alerts that were raised in the period, by time. None where the patient's data are hidden.
    pub alerts: Vec<AlertHandling>,
    /// The compliance in the windows that opened in the period while the site was responsible, by instrument. None where
    /// the patient's data are hidden.
    pub compliance: BTreeMap<InstrumentId, Compliance>,
}

/// The time for which a site is responsible for a patient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stay {
    /// Whether the site is responsible now.
    pub is_current: bool,
    /// When the patient was last transferred to the site.
    pub since: Option<OffsetDateTime>,
    /// When the patient left the site, or withdrew from the study. Nothing is due after that.
    pub until: Option<OffsetDateTime>,
    /// The patient's withdrawal from the study.
    pub withdrawal: Option<Withdrawal>,
}

impl Default for Stay {
    /// The stay of a patient who has been at the site, and in the study, all the time.
    fn default() -> Self {
        Self { is_current: true, since: None, until: None, withdrawal: None }
    }
}

impl Stay {
    /// The stay at `site` of the patient with this `registration`.
    fn registered(registration: Reader<'_>, site: &SiteId) -> Result<Self, Unreadable> {
        let transfers = registration.maps("transfers")?.into_iter().map(Transfer::from_reader);
        let transfers: Vec<Transfer> = transfers.collect::<Result<_, _>>()?;
        let last = |of: fn(&Transfer) -> &SiteId| {
            transfers.iter().rev().find(|transfer| of(transfer) == site).map(|transfer| transfer.at)
        };
        let withdrawal = Withdrawal::from_reader(registration)?;
        let is_current = registration.parsed::<SiteId>("site")? == *site;
        let left = last(|transfer| &transfer.from).filter(|_| !is_current);
        let withdrew = withdrawal.as_ref().map(|withdrawal| withdrawal.at);
        Ok(Self { is_current, since: last(|transfer| &transfer.to), until: earliest(left, withdrew), withdrawal })
    }
}

/// A submission as a report shows it, without answers.
#[derive(Clone, Debug, PartialEq)]
pub struct SubmissionSummary {
    /// The submission's id.
    pub id: SubmissionId,
    /// The definition that it answers.
    pub instrument: InstrumentRef,
    /// Its place in the course: when the patient completed it or, of a correction, the first submission of the chain.
    pub place: Place,
    /// Whether the time that the device gave was corrected.
    pub clock_corrected: bool,
    /// The submission that this one corrects.
    pub amends: Option<SubmissionId>,
    /// The submission that corrects this one and takes its place.
    pub amended_by: Option<SubmissionId>,
    /// Its scores, empty where it could not be scored. `None` while it is not scored yet.
    pub scores: Option<Vec<instruments::Score>>,
}

/// An alert and how it was handled.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertHandling {
    /// The public id.
    pub id: AlertId,
    /// The submission that raised it; `None` if windows were missed.
    pub submission: Option<SubmissionId>,
    /// The instrument of the submission, or of the missed windows.
    pub instrument: Option<InstrumentId>,
    /// The rule that fired.
    pub rule: RuleId,
    /// The severity that the rule gives.
    pub severity: Severity,
    /// When it was raised.
    pub raised_at: OffsetDateTime,
    /// The status.
    pub status: AlertStatus,
    /// When SNS confirmed its first publication.
    pub sent_at: Option<OffsetDateTime>,
    /// The number of escalations so far: repeated publications because nobody acknowledged the alert.
    pub escalation: u64,
    /// When a clinician acknowledged it, and who (the subject of the token).
    pub acknowledged: Option<(OffsetDateTime, String)>,
}

impl PatientPeriod {
    /// The period of `patient` before any item is added.
    pub(crate) fn new(patient: PatientId) -> Self {
        Self {
            patient,
            first_submission: None,
            stay: Stay::default(),
            submissions: Vec::new(),
            alerts: Vec::new(),
            compliance: BTreeMap::new(),
        }
    }

    /// Adds `item`, the profile, the registration, an occurrence or a submission of the patient, if it is of `site` and of the time from
    /// `from` on and before `until`. Items are added in the order of their keys.
    pub(crate) fn add(
        &mut self,
        item: &Item,
        site: &SiteId,
        from: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<(), Unreadable> {
        let reader = Reader(item);
        // A submission sent while the patient was at another site belongs to that site.
        let of_this_site = || Ok(reader.parsed::<SiteId>("site")? == *site);
        match reader.text("kind")? {
            profile::KIND => {
                self.first_submission = earliest(self.first_submission, first_scored(reader)?);
                self.stay.is_current = profile::site_of(item)? == *site;
            }
            // It knows better than the profile, which comes before it in the order of the keys.
            registration::KIND => self.stay = Stay::registered(reader, site)?,
            occurrence::KIND => {
                let window = SettledWindow::from_item(item)?;
                let window = window.filter(|window| window.site == *site && (from..until).contains(&window.opens));
                for (instrument, compliance) in Compliance::by_instrument(&window) {
                    let known = self.compliance.entry(instrument).or_default();
                    *known = known.and(compliance);
                }
            }
            submission::KIND if of_this_site()? => {
                let submission = SubmissionSummary::from_reader(reader)?;
                if (from..until).contains(&submission.place.at) {
                    self.submissions.push(submission);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Completes the period once all items are added: sorts all by time and, at the same time, by id, so that the order is
    /// always the same, and hides the data of a patient who wished it.
    pub(crate) fn complete(&mut self) {
        self.submissions.sort_by_key(|submission| (submission.place, submission.id));
        self.alerts.sort_by_key(|alert| (alert.raised_at, alert.id));
        let first = self.submissions.first().map(|submission| submission.place.at);
        self.first_submission = earliest(self.first_submission, first);
        if !self.stay.is_current && self.stay.until.is_none() {
            // The patient moved without a transfer: the last submission here is all that is known.
            self.stay.until = self.submissions.last().map(|submission| submission.place.at);
        }
        if self.stay.withdrawal.as_ref().is_some_and(Withdrawal::hides) {
            self.submissions.clear();
            self.alerts.clear();
            self.compliance.clear();
        }
    }

    /// Whether the site's report of the time from `from` on has the patient.
    pub(crate) fn is_reported(&self, from: OffsetDateTime) -> bool {
        let was_there = self.stay.is_current || self.stay.until.is_some_and(|until| until >= from);
        was_there || !self.submissions.is_empty() || !self.alerts.is_empty()
    }
}

impl SubmissionSummary {
    fn from_reader(reader: Reader<'_>) -> Result<Self, Unreadable> {
        let scores = reader.optional_map("score")?.map(|score| {
            let values = score.0.get("scores").and_then(to_json).map(serde_json::from_value);
            values.and_then(Result::ok).ok_or_else(|| unreadable("score", "cannot be parsed"))
        });
        Ok(Self {
            id: reader.parsed("id")?,
            instrument: InstrumentRef::from_reader(reader)?,
            place: place(reader)?,
            clock_corrected: reader.optional_map("clock")?.is_some(),
            amends: reader.optional_parsed("amends")?,
            amended_by: reader.optional_parsed("amended_by")?,
            scores: scores.transpose()?,
        })
    }
}

impl AlertHandling {
    pub(crate) fn from_reader(reader: Reader<'_>) -> Result<Self, Unreadable> {
        let acknowledged = reader.optional_instant("acknowledged_at")?.zip(reader.optional_text("acknowledged_by")?);
        Ok(Self {
            id: reader.parsed("alert_id")?,
            submission: reader.optional_parsed("submission")?,
            instrument: reader.optional_parsed("instrument")?,
            rule: reader.parsed("rule")?,
            severity: reader.parsed("severity")?,
            raised_at: reader.instant("raised_at")?,
            status: reader.parsed("status")?,
            sent_at: reader.optional_instant("sent_at")?,
            escalation: reader.optional_count("escalation")?.unwrap_or_default(),
            acknowledged: acknowledged.map(|(at, by)| (at, by.to_owned())),
        })
    }
}

/// When the patient completed the first submission that could be scored, according to the profile.
fn first_scored(profile: Reader<'_>) -> Result<Option<OffsetDateTime>, Unreadable> {
    let courses = profile.map("courses")?;
    let mut first = None;
    for course in courses.0.keys() {
        let baseline = courses.map(course)?.optional_map("b")?;
        first = earliest(first, baseline.map(|baseline| baseline.optional_nanoseconds("t")).transpose()?.flatten());
    }
    Ok(first)
}

fn earliest(one: Option<OffsetDateTime>, other: Option<OffsetDateTime>) -> Option<OffsetDateTime> {
    one.into_iter().chain(other).min()
}

#[cfg(test)]
mod tests {
    use clinical::instruments::{Course, Point};
    use time::macros::datetime;

    use super::*;
    use crate::items::profile::Profile;
    use crate::items::submission::Submission;
    use crate::items::submission::tests::submission;

    #[test]
    fn the_first_submission_is_the_earliest_baseline_or_submission_of_the_period() {
        let (from, until) = (datetime!(2026-11-01 00:00 UTC), datetime!(2026-12-01 00:00 UTC));
        let mut later = submission(1);
        (later.amends, later.effective_at) = (None, datetime!(2026-11-20 08:00 UTC));
        let mut earlier = later.clone();
        (earlier.id, earlier.effective_at) = (uuid::Uuid::from_u128(9).into(), datetime!(2026-11-10 08:00 UTC));
        let mut profile = Profile::before(&later);
        let baseline = Point {
            submission: later.id,
            place: Place { at: datetime!(2026-10-01 08:00 UTC), id: later.id },
            version: "1.0.0".parse().unwrap(),
            in_study: true,
            scores: BTreeMap::new(),
        };
        let course = Course { baseline: Some(baseline), last: Vec::new(), count: 3 };
        profile.courses.insert("phq-9#1.0.0".parse().unwrap(), course);
        let of_profile = profile.to_item();
        let of = |items: &[&Item]| {
            let mut period = PatientPeriod::new(later.patient.clone());
            items.iter().for_each(|item| period.add(item, &later.site, from, until).unwrap());
            period.complete();
            (period.first_submission, period.submissions.iter().map(|one| one.id).collect::<Vec<_>>())
        };
        let submissions = [&later, &earlier].map(Submission::to_item);
        let in_order = vec![earlier.id, later.id];
        assert_eq!(of(&[&submissions[0], &submissions[1]]), (Some(earlier.effective_at), in_order.clone()));
        let before = Some(datetime!(2026-10-01 08:00 UTC));
        assert_eq!(of(&[&submissions[0], &submissions[1], &of_profile]), (before, in_order));
    }
}
