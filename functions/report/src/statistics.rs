//! What the data of a period say of a site, worked out from them and nothing else: no clock, no I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use clinical::document::Texts;
use clinical::ids::{InstrumentId, InstrumentVersion, PatientId, ScoreId, SiteId};
use clinical::instruments::definition::ScoreDefinition;
use clinical::instruments::{Catalog, Instrument, Severity};
use clinical::studies::Protocol;
use records::{AlertHandling, AlertStatus, PatientPeriod, SitePeriod, SubmissionSummary};
use rust_decimal::Decimal;
use time::{Date, Duration, OffsetDateTime};

use crate::period::Period;

/// What the study asks of the patients of a site.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    /// What is in force in the study.
    pub protocol: &'a Protocol,
    /// Every how many days a patient is to answer an instrument, where the study says that.
    pub schedule: BTreeMap<&'a InstrumentId, u32>,
}

impl<'a> Asked<'a> {
    /// What `protocol` asks at `site`.
    pub fn at(protocol: &'a Protocol, site: &SiteId) -> Self {
        let asked = protocol.study().into_iter().flat_map(|study| &study.definition().instruments);
        let here = asked.filter(|asked| asked.sites.is_empty() || asked.sites.contains(site));
        let schedule = here.filter_map(|asked| Some((&asked.id, protocol.every_days(&asked.id)?))).collect();
        Self { protocol, schedule }
    }

    /// The instrument `id` in `version`: the study's, or one that ships, which an earlier version of the study may have
    /// asked.
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

/// What the data say.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics<'a> {
    /// The site in numbers.
    pub counts: Counts,
    /// By instrument: all that the study schedules, and all that were answered.
    pub instruments: BTreeMap<&'a InstrumentId, InstrumentLine>,
    /// By patient.
    pub patients: Vec<PatientLine<'a>>,
    /// The score courses, by instrument, and by score in the instrument's order.
    pub courses: Vec<Course<'a>>,
    /// The alerts, newest first.
    pub alerts: Vec<AlertLine<'a>>,
    /// How many alerts there are of each severity, and how far they have come: pending, sent, acknowledged, quiet.
    pub alert_counts: BTreeMap<Severity, [u64; 4]>,
}

/// The site in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The site's patients.
    pub patients: u64,
    /// Those who sent something in the period.
    pub active: u64,
    /// What they sent, without what was corrected.
    pub submissions: u64,
    /// Of these, how many have a score.
    pub scored: u64,
    /// How many could not be scored.
    pub not_scorable: u64,
    /// How many were not looked at yet.
    pub waiting: u64,
    /// How many correct another one.
    pub corrections: u64,
    /// How many stand at another time than the device gave, because its clock was wrong.
    pub clock_corrected: u64,
    /// Stored items that could not be read, and are in no other number.
    pub unreadable: u64,
}

/// An instrument at the site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InstrumentLine {
    /// Submissions of it.
    pub submissions: u64,
    /// Patients who sent some.
    pub patients: u64,
    /// All patients' compliance together; `None` where the study gives no schedule.
    pub compliance: Option<Compliance>,
}

/// How many of the times that a questionnaire was due it was answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compliance {
    /// The times that it was due.
    pub expected: u64,
    /// The times that it was answered.
    pub done: u64,
}

impl Compliance {
    /// In percent, half up; `None` where nothing was due.
    pub fn percent(self) -> Option<u64> {
        (self.expected > 0).then(|| (self.done * 200 + self.expected) / (self.expected * 2))
    }
}

/// A patient.
#[derive(Clone, Debug, PartialEq)]
pub struct PatientLine<'a> {
    /// Who.
    pub patient: &'a PatientId,
    /// By instrument: all that the study schedules, and all that the patient answered.
    pub instruments: BTreeMap<&'a InstrumentId, PatientInstrument>,
}

/// A patient's submissions of one instrument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PatientInstrument {
    /// How many there are.
    pub submissions: u64,
    /// When the patient completed the last one.
    pub last: Option<OffsetDateTime>,
    /// Whether one of them stands at another time than the device gave, because its clock was wrong.
    pub clock_corrected: bool,
    /// `None` where the study gives no schedule.
    pub compliance: Option<Compliance>,
}

/// The courses of one score, of all patients that have it.
#[derive(Clone, Debug, PartialEq)]
pub struct Course<'a> {
    /// The instrument.
    pub instrument: &'a InstrumentId,
    /// The latest version that was answered.
    pub version: &'a InstrumentVersion,
    /// The score.
    pub score: &'a ScoreId,
    /// The least and the greatest value that can occur.
    pub range: (Decimal, Decimal),
    /// What that version says of the score, where it is known.
    pub definition: Option<&'a ScoreDefinition>,
    /// Each patient's values, by the time of completion.
    pub patients: Vec<(&'a PatientId, Vec<(OffsetDateTime, Decimal)>)>,
}

/// An alert, with whose it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AlertLine<'a> {
    /// The patient.
    pub patient: &'a PatientId,
    /// The instrument of its submission, where that is of the period too.
    pub instrument: Option<&'a InstrumentId>,
    /// The alert.
    pub alert: &'a AlertHandling,
}

/// What `data` say of `period`, seen on the day `today`.
pub fn statistics<'a>(data: &'a SitePeriod, asked: &Asked<'a>, period: &Period, today: Date) -> Statistics<'a> {
    let patients: Vec<_> = data.patients.iter().map(|patient| patient_line(patient, asked, period, today)).collect();
    let alerts = alert_lines(data);
    let mut alert_counts = BTreeMap::<Severity, [u64; 4]>::new();
    for line in &alerts {
        alert_counts.entry(line.alert.severity).or_default()[stage(line.alert.status)] += 1;
    }
    Statistics {
        counts: counts(data),
        instruments: instrument_lines(&patients),
        patients,
        courses: courses(data, asked),
        alerts,
        alert_counts,
    }
}

/// The place of `status` in [`Statistics::alert_counts`].
fn stage(status: AlertStatus) -> usize {
    match status {
        AlertStatus::Pending => 0,
        AlertStatus::Sent => 1,
        AlertStatus::Acknowledged => 2,
        AlertStatus::Quiet => 3,
    }
}

fn counts(data: &SitePeriod) -> Counts {
    let submissions = || data.patients.iter().flat_map(standing);
    let count = |of: fn(&SubmissionSummary) -> bool| submissions().filter(|submission| of(submission)).count() as u64;
    Counts {
        patients: data.patients.len() as u64,
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

/// The submissions of `patient` that are not corrected: a correction stands in the place of what it corrects.
fn standing(patient: &PatientPeriod) -> impl Iterator<Item = &SubmissionSummary> {
    patient.submissions.iter().filter(|submission| submission.amended_by.is_none())
}

fn patient_line<'a>(data: &'a PatientPeriod, asked: &Asked<'a>, period: &Period, today: Date) -> PatientLine<'a> {
    let mut days = BTreeMap::<&InstrumentId, Vec<Date>>::new();
    let mut instruments = BTreeMap::<&InstrumentId, PatientInstrument>::new();
    for submission in standing(data) {
        let line = instruments.entry(&submission.instrument.id).or_default();
        line.submissions += 1;
        line.clock_corrected |= submission.clock_corrected;
        line.last = line.last.max(Some(submission.place.at));
        days.entry(&submission.instrument.id).or_default().push(period.zone().local(submission.place.at).date());
    }
    for (instrument, every_days) in &asked.schedule {
        let days = days.get(instrument).map_or(&[][..], Vec::as_slice);
        let start = data.first_submission.map(|first| period.zone().local(first).date().max(period.from()));
        let compliance =
            start.map_or_else(Compliance::default, |start| compliance(start, period.to(), today, *every_days, days));
        instruments.entry(instrument).or_default().compliance = Some(compliance);
    }
    PatientLine { patient: &data.patient, instruments }
}

/// The windows of `every_days` days from `start` on, and those with a submission on one of `days`. A window counts once
/// all of its days are in the period and over, or as soon as it is answered: what may still be answered is not missed.
fn compliance(start: Date, to: Date, today: Date, every_days: u32, days: &[Date]) -> Compliance {
    let every = i64::from(every_days.max(1));
    let answered: BTreeSet<i64> =
        days.iter().filter(|day| **day >= start).map(|day| (*day - start).whole_days() / every).collect();
    let last_over = to.min(today - Duration::DAY);
    let over = ((last_over - start).whole_days() + 1).max(0) / every;
    let ahead = answered.iter().filter(|window| **window >= over).count() as u64;
    Compliance { expected: over as u64 + ahead, done: answered.len() as u64 }
}

fn instrument_lines<'a>(patients: &[PatientLine<'a>]) -> BTreeMap<&'a InstrumentId, InstrumentLine> {
    let mut lines = BTreeMap::<&InstrumentId, InstrumentLine>::new();
    for (instrument, of_patient) in patients.iter().flat_map(|patient| &patient.instruments) {
        let line = lines.entry(instrument).or_default();
        line.submissions += of_patient.submissions;
        line.patients += u64::from(of_patient.submissions > 0);
        if let Some(Compliance { expected, done }) = of_patient.compliance {
            let all = line.compliance.get_or_insert_default();
            all.expected += expected;
            all.done += done;
        }
    }
    lines
}

fn courses<'a>(data: &'a SitePeriod, asked: &Asked<'a>) -> Vec<Course<'a>> {
    let mut courses = BTreeMap::<(&InstrumentId, &ScoreId), Course<'_>>::new();
    for patient in &data.patients {
        for submission in standing(patient) {
            for score in submission.scores.iter().flatten() {
                let instrument = &submission.instrument;
                let course = courses.entry((&instrument.id, &score.id)).or_insert_with(|| Course {
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
    // By the instrument's own order of its scores; those that it does not name come last.
    courses.sort_by_cached_key(|course| (course.instrument.clone(), place(course, asked)));
    for course in &mut courses {
        let definition = asked.instrument(course.instrument, course.version).map(Instrument::definition);
        course.definition = definition.and_then(|definition| definition.scores.get(place(course, asked)));
    }
    courses
}

/// The place of a course's score in its instrument.
fn place(course: &Course<'_>, asked: &Asked<'_>) -> usize {
    let instrument = asked.instrument(course.instrument, course.version);
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
            instrument: instruments.get(&alert.submission).copied(),
            alert,
        }));
    }
    lines.sort_by(|one, other| {
        (other.alert.raised_at, one.patient, one.alert.id).cmp(&(one.alert.raised_at, other.patient, other.alert.id))
    });
    lines
}
