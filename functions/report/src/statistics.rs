//! The figures of a report, computed from the data of a period and nothing else: no clock, no I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use clinical::document::Texts;
use clinical::ids::{InstrumentId, InstrumentVersion, PatientId, ScoreId, SiteId};
use clinical::instruments::definition::ScoreDefinition;
use clinical::instruments::{Catalog, Instrument, Severity};
use clinical::studies::Protocol;
use records::{AlertHandling, AlertStatus, Compliance, PatientPeriod, SitePeriod, Stay, SubmissionSummary, Withdrawal};
use rust_decimal::Decimal;
use time::{Date, Duration, OffsetDateTime};

use crate::period::ReportPeriod;

/// The instruments that a study plans for the patients of a site.
#[derive(Clone, Debug)]
pub struct SitePlan<'a> {
    /// The rules in force in the study.
    pub protocol: &'a Protocol,
    /// The days from one answer of a patient to the next, by instrument; without those that a schedule asks and those of
    /// which the study does not say.
    pub intervals: BTreeMap<&'a InstrumentId, u32>,
    /// The instruments that the study's schedules ask.
    pub scheduled: BTreeSet<&'a InstrumentId>,
}

impl<'a> SitePlan<'a> {
    /// The plan of `protocol` for `site`.
    pub fn at(protocol: &'a Protocol, site: &SiteId) -> Self {
        let instruments = protocol.study().into_iter().flat_map(|study| &study.definition().instruments);
        let here = instruments.filter(|planned| planned.sites.is_empty() || planned.sites.contains(site));
        let schedules = protocol.schedules().iter();
        let asked = schedules.filter(|schedule| schedule.sites.is_empty() || schedule.sites.contains(site));
        let scheduled: BTreeSet<&InstrumentId> = asked.map(|schedule| &schedule.instrument).collect();
        let intervals = here.filter(|planned| !scheduled.contains(&planned.id));
        let intervals =
            intervals.filter_map(|planned| Some((&planned.id, protocol.every_days(&planned.id)?))).collect();
        Self { protocol, intervals, scheduled }
    }

    /// The instrument `id` in `version`: the study's, or one that ships, since an earlier version of the study may have
    /// planned it.
    pub fn instrument(&self, id: &InstrumentId, version: &InstrumentVersion) -> Option<&'a Instrument> {
        let found = self.protocol.catalog().find(id, version).or_else(|_| Catalog::shipped().find(id, version));
        found.ok().map(Arc::as_ref)
    }

    /// The name of the instrument `id`, by language.
    pub fn title(&self, id: &InstrumentId) -> Option<&'a Texts> {
        let found = self.protocol.catalog().latest(id).or_else(|| Catalog::shipped().latest(id));
        found.map(|instrument| instrument.title())
    }
}

/// The figures of a report.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics<'a> {
    /// The totals of the site.
    pub totals: Totals,
    /// One line for each instrument that the study schedules or a patient answered.
    pub instruments: BTreeMap<&'a InstrumentId, InstrumentLine>,
    /// One line for each patient of the site, in the order of the data.
    pub patients: Vec<PatientLine<'a>>,
    /// The courses of each score, by instrument, then in the instrument's order of its scores.
    pub courses: Vec<ScoreCourses<'a>>,
    /// The alerts, newest first.
    pub alerts: Vec<AlertLine<'a>>,
    /// The number of alerts by severity and status: pending, sent, acknowledged, quiet.
    pub alert_counts: BTreeMap<Severity, [u64; 4]>,
}

/// The totals of a site in the period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Patients enrolled at the site, without those who have moved to another one.
    pub patients: u64,
    /// Patients who have withdrawn from the study.
    pub withdrawn: u64,
    /// Patients with submissions or alerts here who have moved to another site.
    pub moved: u64,
    /// Patients with at least one submission in the period.
    pub active: u64,
    /// Submissions, without those that were corrected.
    pub submissions: u64,
    /// Submissions with a score.
    pub scored: u64,
    /// Submissions that were evaluated and got no score: too few answers, for example.
    pub not_scorable: u64,
    /// Submissions that are not evaluated yet.
    pub waiting: u64,
    /// Submissions that correct another one.
    pub corrections: u64,
    /// Submissions whose time was corrected because the device's clock was wrong.
    pub clock_corrected: u64,
    /// Stored items that could not be read; no other total includes them.
    pub unreadable: u64,
}

/// The figures of one instrument at the site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InstrumentLine {
    /// Submissions of the instrument, without those that were corrected.
    pub submissions: u64,
    /// Patients with at least one of these submissions.
    pub patients: u64,
    /// The sum over all patients; `None` where the study does not say when it is due.
    pub compliance: Option<Compliance>,
}

/// The figures of one patient.
#[derive(Clone, Debug, PartialEq)]
pub struct PatientLine<'a> {
    /// The patient's id in the study.
    pub patient: &'a PatientId,
    /// The patient's time at the site.
    pub stay: &'a Stay,
    /// One entry for each instrument that the study schedules or the patient answered.
    pub instruments: BTreeMap<&'a InstrumentId, PatientInstrument>,
}

/// A patient's submissions of one instrument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PatientInstrument {
    /// Submissions, without those that were corrected.
    pub submissions: u64,
    /// The time of the latest one.
    pub last: Option<OffsetDateTime>,
    /// Whether the time of at least one was corrected because the device's clock was wrong.
    pub clock_corrected: bool,
    /// The patient's compliance; `None` where the study does not say when it is due.
    pub compliance: Option<Compliance>,
}

/// The courses of one score of an instrument, of all patients who have it.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoreCourses<'a> {
    /// The instrument that the score belongs to.
    pub instrument: &'a InstrumentId,
    /// The latest version that was answered.
    pub version: &'a InstrumentVersion,
    /// The score's id in the instrument.
    pub score: &'a ScoreId,
    /// The least and the greatest possible value, over all versions that were answered.
    pub range: (Decimal, Decimal),
    /// The score in the definition of `version`, if that is available.
    pub definition: Option<&'a ScoreDefinition>,
    /// Each patient's values, in the order of their times.
    pub patients: Vec<(&'a PatientId, Vec<(OffsetDateTime, Decimal)>)>,
}

/// An alert with its patient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AlertLine<'a> {
    /// The patient.
    pub patient: &'a PatientId,
    /// The instrument of its submission, if that is in the period too, or of the missed windows.
    pub instrument: Option<&'a InstrumentId>,
    /// The stored state of the alert.
    pub alert: &'a AlertHandling,
}

/// What `data` say of `period`, seen on the day `today`.
pub fn statistics<'a>(data: &'a SitePeriod, plan: &SitePlan<'a>, period: &ReportPeriod, today: Date) -> Statistics<'a> {
    let patients: Vec<_> = data.patients.iter().map(|patient| patient_line(patient, plan, period, today)).collect();
    let alerts = alert_lines(data);
    let mut alert_counts = BTreeMap::<Severity, [u64; 4]>::new();
    for line in &alerts {
        alert_counts.entry(line.alert.severity).or_default()[status_index(line.alert.status)] += 1;
    }
    Statistics {
        totals: totals(data),
        instruments: instrument_lines(&patients),
        patients,
        courses: courses(data, plan),
        alerts,
        alert_counts,
    }
}

/// The index of `status` in [`Statistics::alert_counts`].
fn status_index(status: AlertStatus) -> usize {
    match status {
        AlertStatus::Pending => 0,
        AlertStatus::Sent => 1,
        AlertStatus::Acknowledged => 2,
        AlertStatus::Quiet => 3,
    }
}

fn totals(data: &SitePeriod) -> Totals {
    let submissions = || data.patients.iter().flat_map(standing);
    let count = |of: fn(&SubmissionSummary) -> bool| submissions().filter(|submission| of(submission)).count() as u64;
    Totals {
        patients: data.patients.iter().filter(|patient| patient.stay.is_current).count() as u64,
        withdrawn: data.patients.iter().filter(|patient| patient.stay.withdrawal.is_some()).count() as u64,
        moved: data.patients.iter().filter(|patient| !patient.stay.is_current).count() as u64,
        active: data.patients.iter().filter(|patient| !patient.submissions.is_empty()).count() as u64,
        submissions: submissions().count() as u64,
        scored: count(|submission| submission.scores.as_ref().is_some_and(|scores| !scores.is_empty())),
        not_scorable: count(|submission| submission.scores.as_ref().is_some_and(Vec::is_empty)),
        waiting: count(|submission| submission.scores.is_none()),
        corrections: count(|submission| submission.amends.is_some()),
        clock_corrected: count(|submission| submission.clock_corrected),
        unreadable: data.unreadable,
    }
}

/// The submissions of `patient` that are not corrected: a correction replaces the submission that it amends.
fn standing(patient: &PatientPeriod) -> impl Iterator<Item = &SubmissionSummary> {
    patient.submissions.iter().filter(|submission| submission.amended_by.is_none())
}

fn patient_line<'a>(
    data: &'a PatientPeriod,
    plan: &SitePlan<'a>,
    period: &ReportPeriod,
    today: Date,
) -> PatientLine<'a> {
    let mut days = BTreeMap::<&InstrumentId, Vec<Date>>::new();
    let mut instruments = BTreeMap::<&InstrumentId, PatientInstrument>::new();
    for submission in standing(data) {
        let line = instruments.entry(&submission.instrument.id).or_default();
        line.submissions += 1;
        line.clock_corrected |= submission.clock_corrected;
        line.last = line.last.max(Some(submission.place.at));
        days.entry(&submission.instrument.id).or_default().push(period.zone().local(submission.place.at).date());
    }
    for (instrument, every_days) in &plan.intervals {
        let days = days.get(instrument).map_or(&[][..], Vec::as_slice);
        let day = |at: OffsetDateTime| period.zone().local(at).date();
        let start = data.first_submission.max(data.stay.since).map(|first| day(first).max(period.from()));
        // A window that was open when the patient left is not missed.
        let to = data.stay.until.map_or(period.to(), |until| period.to().min(day(until) - Duration::DAY));
        let compliance = start
            .filter(|_| !data.stay.withdrawal.as_ref().is_some_and(Withdrawal::hides))
            .map_or_else(Compliance::default, |start| compliance(start, to, today, *every_days, days));
        instruments.entry(instrument).or_default().compliance = Some(compliance);
    }
    // An earlier version of the study may have asked others.
    for instrument in plan.scheduled.iter().copied().chain(data.compliance.keys()) {
        let compliance = data.compliance.get(instrument).copied().unwrap_or_default();
        instruments.entry(instrument).or_default().compliance = Some(compliance);
    }
    PatientLine { patient: &data.patient, stay: &data.stay, instruments }
}

/// The windows of `every_days` days from `start` on, and those with a submission on one of `days`. A window counts once
/// all of its days are in the period and over, or as soon as it is answered: one that can still be answered is not
/// missed.
fn compliance(start: Date, to: Date, today: Date, every_days: u32, days: &[Date]) -> Compliance {
    let every = i64::from(every_days.max(1));
    let answered: BTreeSet<i64> =
        days.iter().filter(|day| **day >= start).map(|day| (*day - start).whole_days() / every).collect();
    let last_over = to.min(today - Duration::DAY);
    let over = ((last_over - start).whole_days() + 1).max(0) / every;
    let ahead = answered.iter().filter(|window| **window >= over).count() as u64;
    Compliance { expected: over as u64 + ahead, completed: answered.len() as u64, late: 0 }
}

fn instrument_lines<'a>(patients: &[PatientLine<'a>]) -> BTreeMap<&'a InstrumentId, InstrumentLine> {
    let mut lines = BTreeMap::<&InstrumentId, InstrumentLine>::new();
    for (instrument, of_patient) in patients.iter().flat_map(|patient| &patient.instruments) {
        let line = lines.entry(instrument).or_default();
        line.submissions += of_patient.submissions;
        line.patients += u64::from(of_patient.submissions > 0);
        if let Some(of_patient) = of_patient.compliance {
            line.compliance = Some(line.compliance.unwrap_or_default().and(of_patient));
        }
    }
    lines
}

fn courses<'a>(data: &'a SitePeriod, plan: &SitePlan<'a>) -> Vec<ScoreCourses<'a>> {
    let mut courses = BTreeMap::<(&InstrumentId, &ScoreId), ScoreCourses<'_>>::new();
    for patient in &data.patients {
        for submission in standing(patient) {
            for score in submission.scores.iter().flatten() {
                let instrument = &submission.instrument;
                let course = courses.entry((&instrument.id, &score.id)).or_insert_with(|| ScoreCourses {
                    instrument: &instrument.id,
                    version: &instrument.version,
                    score: &score.id,
                    range: score.range,
                    definition: None,
                    patients: Vec::new(),
                });
                course.version = course.version.max(&instrument.version);
                course.range = (course.range.0.min(score.range.0), course.range.1.max(score.range.1));
                if course.patients.last().is_none_or(|(last, _)| **last != patient.patient) {
                    course.patients.push((&patient.patient, Vec::new()));
                }
                if let Some((_, points)) = course.patients.last_mut() {
                    points.push((submission.place.at, score.value));
                }
            }
        }
    }
    let mut courses: Vec<_> = courses.into_values().collect();
    // In the instrument's own order of its scores; scores that it does not define come last.
    courses.sort_by_cached_key(|course| (course.instrument.clone(), score_index(course, plan)));
    for course in &mut courses {
        let definition = plan.instrument(course.instrument, course.version).map(Instrument::definition);
        course.definition = definition.and_then(|definition| definition.scores.get(score_index(course, plan)));
    }
    courses
}

/// The index of the score in its instrument, `usize::MAX` if that does not define it.
fn score_index(course: &ScoreCourses<'_>, plan: &SitePlan<'_>) -> usize {
    let instrument = plan.instrument(course.instrument, course.version);
    let mut scores = instrument.into_iter().flat_map(|instrument| &instrument.definition().scores);
    scores.position(|score| score.id == *course.score).unwrap_or(usize::MAX)
}

fn alert_lines(data: &SitePeriod) -> Vec<AlertLine<'_>> {
    let mut lines: Vec<AlertLine<'_>> = Vec::new();
    for patient in &data.patients {
        let instruments: BTreeMap<_, _> =
            patient.submissions.iter().map(|submission| (submission.id, &submission.instrument.id)).collect();
        lines.extend(patient.alerts.iter().map(|alert| AlertLine {
            patient: &patient.patient,
            instrument: match alert.submission {
                Some(submission) => instruments.get(&submission).copied(),
                None => alert.instrument.as_ref(),
            },
            alert,
        }));
    }
    lines.sort_by(|one, other| {
        (other.alert.raised_at, one.patient, one.alert.id).cmp(&(one.alert.raised_at, other.patient, other.alert.id))
    });
    lines
}
