//! Profiles: the state of a patient, so that a list of patients or a rule on change need not read every submission.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;
use clinical::ids::{InstrumentId, PatientId, SiteId, StudyId, SubmissionId};
use clinical::instruments::{Course, CourseId, FiredRule, History, Instrument, Outcome, Place, Point, Severity};
use rust_decimal::Decimal;
use time::{Duration, OffsetDateTime};

use super::alert::{Alert, AlertStatus};
use super::open_alerts::{MARKS, OpenAlerts};
use super::registration::Registration;
use super::submission::Submission;
use crate::table::attributes::{Item, Reader, Unreadable, bytes, instant, map, number, sortable, text, unreadable};
use crate::table::keys::{self, PK, SITE_KEY, SITE_SORT};
use crate::table::lists::{List, PENDING, PENDING_SINCE};

pub(crate) const KIND: &str = "profile";
/// The attribute that names the last submission where that is not the newest point of a course.
const LAST: &str = "last";
/// Why a rule that looks back is not evaluated with its submission. The replay evaluates it.
pub const NOT_YET: &str = "the patient's course is being evaluated again";

/// The state of a patient: the course of each instrument, in the order of its submissions' places, and the open alerts.
///
/// The courses hold every submission that was scored and not corrected, unless `reevaluate` is set. The transaction
/// that scores a submission in order adds it; any other change of a course (a submission below the newest, a
/// correction) marks the profile, and [`Store::reevaluate`](crate::Store::reevaluate) replays the patient's
/// submissions.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// The study.
    pub study: StudyId,
    /// The patient.
    pub patient: PatientId,
    /// The site of the last submission.
    pub site: SiteId,
    /// The courses, by instrument and comparable versions.
    pub courses: BTreeMap<CourseId, Course>,
    /// The submission that the patient completed last, whether it could be scored or not, and its place; `None` of a
    /// patient who has only missed windows.
    pub last_submission: Option<(SubmissionId, Place)>,
    /// The number of alerts raised and not acknowledged.
    pub open_alerts: u64,
    /// The marks of these alerts. Of alerts that were raised before there were marks, there is none.
    pub open_marks: OpenAlerts,
    /// When each rule of each instrument (`phq-9#safety`) last raised an alert that is published.
    pub last_alerts: BTreeMap<String, OffsetDateTime>,
    /// Since when the courses are due for a replay of all submissions; `None` if they are not.
    pub(crate) reevaluate: Option<OffsetDateTime>,
    /// The revision, for optimistic locking; 0 before the first.
    pub(crate) revision: u64,
}

/// How a submission is evaluated by the transaction that scores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Evaluation {
    /// The submission is the newest, and everything that its rules look back at is known: every rule is evaluated.
    InOrder,
    /// The course changes below its newest point, or is not fully known. Rules on this submission alone are evaluated;
    /// rules that look back are left to the replay that follows.
    Deferred,
    /// A correction of it is stored already: every rule is left to the replay, which knows whether the correction
    /// counts.
    Amended,
}

impl Profile {
    /// The profile of the patient of `submission` before any submission.
    pub(crate) fn before(submission: &Submission) -> Self {
        Self::new(submission.study.clone(), submission.patient.clone(), submission.site.clone())
    }

    /// The profile of `patient`, of `site`, of whom nothing is scored.
    pub(crate) fn new(study: StudyId, patient: PatientId, site: SiteId) -> Self {
        Self {
            study,
            patient,
            site,
            courses: BTreeMap::new(),
            last_submission: None,
            open_alerts: 0,
            open_marks: OpenAlerts::default(),
            last_alerts: BTreeMap::new(),
            reevaluate: None,
            revision: 0,
        }
    }

    /// Since when its courses are due for a replay of all submissions; `None` if they are not.
    pub fn marked_since(&self) -> Option<OffsetDateTime> {
        self.reevaluate
    }

    /// The highest severity of the open alerts, and when the oldest one was raised; `None` if there is none, or one that
    /// has no mark, which might be the most severe.
    pub fn highest_and_oldest(&self) -> Option<(Severity, OffsetDateTime)> {
        self.open_marks.highest_and_oldest().filter(|_| self.open_marks.len() == self.open_alerts)
    }

    /// How `submission` of `instrument` is to be evaluated.
    pub(crate) fn evaluation(&self, submission: &Submission, instrument: &Instrument) -> Evaluation {
        if submission.amended_by.is_some() {
            return Evaluation::Amended;
        }
        let in_order = self
            .courses
            .get(&instrument.course())
            .is_none_or(|course| course.is_newest(submission.place()) && course.reaches_back(instrument.looks_back()));
        if in_order && submission.amends.is_none() && self.reevaluate.is_none() {
            Evaluation::InOrder
        } else {
            Evaluation::Deferred
        }
    }

    /// The history before a submission of `instrument` that is evaluated as `evaluation`.
    pub(crate) fn history(&self, instrument: &Instrument, evaluation: Evaluation) -> History {
        match evaluation {
            Evaluation::InOrder => self.courses.get(&instrument.course()).map_or_else(History::first, Course::history),
            Evaluation::Deferred | Evaluation::Amended => History::unknown(NOT_YET),
        }
    }

    /// Adds `submission`, which was scored by `instrument` at `at` with this `outcome`, and returns the alerts that it
    /// raises. `in_study`: whether it belongs to the study's data, so that it may be a baseline.
    pub(crate) fn add(
        &mut self,
        submission: &Submission,
        instrument: &Instrument,
        outcome: &Outcome,
        evaluation: Evaluation,
        in_study: bool,
        at: OffsetDateTime,
    ) -> Vec<Alert> {
        let alerts: Vec<Alert> = outcome.alerts.iter().map(|fired| self.raise(submission, fired, at)).collect();
        if evaluation != Evaluation::InOrder {
            self.reevaluate.get_or_insert(at);
            // The replay that follows decides; until then the first one is better than none.
            self.last_submission.get_or_insert((submission.id, submission.place()));
            return alerts;
        }
        let place = submission.place();
        if self.last_submission.is_none_or(|(last, last_place)| (place, submission.id) >= (last_place, last)) {
            self.last_submission = Some((submission.id, place));
            self.site = submission.site.clone();
        }
        // A submission that could not be scored is no point of the course.
        if !outcome.scores.is_empty() {
            let point = Point {
                submission: submission.id,
                place,
                version: submission.instrument.version.clone(),
                in_study,
                scores: outcome.scores_by_id(),
            };
            self.courses.entry(instrument.course()).or_default().push(point, instrument.looks_back());
        }
        alerts
    }

    /// The alert that `fired` raises on `submission` at `at`. Within the rule's quiet period it is quiet.
    pub(crate) fn raise(&mut self, submission: &Submission, fired: &FiredRule, at: OffsetDateTime) -> Alert {
        let rule = format!("{}#{}", submission.instrument.id, fired.rule);
        // A rule without a quiet period is never quiet, even if `last` lies after `at`: two submissions that are scored
        // at the same time may commit in either order.
        let period = Some(Duration::hours(fired.quiet_hours.into())).filter(|period| period.is_positive());
        let quiet = period.zip(self.last_alerts.get(&rule)).is_some_and(|(period, last)| at - *last < period);
        let alert = Alert::raise(submission, fired, at, quiet);
        self.count(&alert, &submission.instrument.id);
        alert
    }

    /// Adds `alert`, which is raised on a submission of `instrument` and stored in the same transaction.
    pub(crate) fn count(&mut self, alert: &Alert, instrument: &InstrumentId) {
        if alert.status != AlertStatus::Quiet {
            let last = self.last_alerts.entry(format!("{instrument}#{}", alert.rule)).or_insert(alert.raised_at);
            *last = alert.raised_at.max(*last);
        }
        self.open_alerts += 1;
        self.open_marks.add(alert);
    }

    /// Its key in the Records table.
    pub(crate) fn key(&self) -> Item {
        keys::profile(&self.study, &self.patient)
    }

    /// Its item, with the next revision.
    pub(crate) fn to_item(&self) -> Item {
        let courses = self.courses.iter().map(|(id, course)| (id.to_string(), course_to_attribute(id, course)));
        let mut item = self.key();
        let mut set = |name: &str, value: AttributeValue| item.insert(name.to_owned(), value);
        set("kind", text(KIND));
        set(SITE_KEY, text(keys::site(&self.study, &self.site)));
        set(SITE_SORT, text(keys::patient_of_site(&self.patient)));
        set("courses", AttributeValue::M(courses.collect()));
        if let Some((submission, place)) = self.last_submission
            && newest(&self.courses) != self.last_submission
        {
            set(LAST, map(place_to_members(submission, place)));
        }
        set("open_alerts", number(self.open_alerts));
        if !self.open_marks.is_empty() {
            set(MARKS, self.open_marks.to_attribute());
        }
        set("last_alerts", map(self.last_alerts.iter().map(|(rule, at)| (rule.as_str(), instant(*at)))));
        set("revision", number(self.revision + 1));
        if let Some(since) = self.reevaluate {
            set(PENDING, text(List::Pending.key_of(&keys::patient(&self.study, &self.patient))));
            set(PENDING_SINCE, text(sortable(since)));
        }
        item
    }

    pub(crate) fn from_item(item: &Item) -> Result<Self, Unreadable> {
        let reader = Reader(item);
        let (study, patient) = keys::patient_of(reader.text(PK)?).ok_or_else(|| unreadable(PK, "names no patient"))?;
        let site = keys::site_of(reader.text(SITE_KEY)?).filter(|(of, _)| *of == study);
        let courses = reader.map("courses")?;
        let courses = courses.0.keys().map(|id| {
            let known = id.parse().map_err(|_| unreadable("courses", "names no course"))?;
            let course = course_from_reader(&known, courses.map(id)?)?;
            Ok((known, course))
        });
        let courses: BTreeMap<CourseId, Course> = courses.collect::<Result<_, _>>()?;
        let last_alerts = reader.map("last_alerts")?;
        let last_alerts = last_alerts.0.keys().map(|rule| Ok((rule.clone(), last_alerts.instant(rule)?)));
        let last = reader.optional_map(LAST)?.map(place_from_reader).transpose()?;
        Ok(Self {
            last_alerts: last_alerts.collect::<Result<_, _>>()?,
            study,
            patient,
            site: site.ok_or_else(|| unreadable(SITE_KEY, "names no site of the study"))?.1,
            last_submission: last.or_else(|| newest(&courses)),
            courses,
            open_alerts: reader.optional_count("open_alerts")?.unwrap_or_default(),
            open_marks: OpenAlerts::from_reader(reader)?,
            reevaluate: reader.optional_instant(PENDING_SINCE)?,
            revision: reader.optional_count("revision")?.ok_or_else(|| unreadable("revision", "is missing"))?,
        })
    }
}

/// The site of the profile `item`, which may be a part of it.
pub(crate) fn site_of(item: &Item) -> Result<SiteId, Unreadable> {
    let site = keys::site_of(Reader(item).text(SITE_KEY)?);
    Ok(site.ok_or_else(|| unreadable(SITE_KEY, "names no site"))?.1)
}

/// The newest point of all `courses`, with its place.
fn newest(courses: &BTreeMap<CourseId, Course>) -> Option<(SubmissionId, Place)> {
    let newest = courses.values().filter_map(Course::latest).max_by_key(|point| (point.place, point.submission))?;
    Some((newest.submission, newest.place))
}

/// A patient in the list of a site. An item of theirs that cannot be read does not affect the other rows.
#[derive(Clone, Debug)]
pub struct PatientRow {
    /// The patient.
    pub patient: PatientId,
    /// The patient's registration, if staff have made one.
    pub registration: Result<Option<Registration>, Unreadable>,
    /// The patient's profile, once a submission is scored.
    pub profile: Result<Option<Profile>, Unreadable>,
}

impl PatientRow {
    /// The site that is responsible for the patient; `None` where that cannot be read.
    pub(crate) fn site(&self) -> Option<&SiteId> {
        match (&self.registration, &self.profile) {
            (Ok(Some(registration)), _) => Some(&registration.site),
            (Ok(None), Ok(Some(profile))) => Some(&profile.site),
            _ => None,
        }
    }
}

// The names are short: a patient's profile is written with each submission, and one of six instruments should take no
// more than the kilobyte that a write unit pays for. The data model's guide explains them.

fn course_to_attribute(id: &CourseId, course: &Course) -> AttributeValue {
    let baseline = course.baseline.as_ref().map(|baseline| ("b", point_to_attribute(id, baseline)));
    let last = AttributeValue::L(course.last.iter().map(|point| point_to_attribute(id, point)).collect());
    map(baseline.into_iter().chain([("l", last), ("n", number(course.count))]))
}

fn course_from_reader(id: &CourseId, reader: Reader<'_>) -> Result<Course, Unreadable> {
    Ok(Course {
        baseline: reader.optional_map("b")?.map(|point| point_from_reader(id, point)).transpose()?,
        last: reader.maps("l")?.into_iter().map(|point| point_from_reader(id, point)).collect::<Result<_, _>>()?,
        count: reader.optional_count("n")?.ok_or_else(|| unreadable("n", "is missing"))?,
    })
}

fn point_to_attribute(id: &CourseId, point: &Point) -> AttributeValue {
    let version = (point.version != id.version).then(|| ("v", text(point.version.as_str())));
    let before = (!point.in_study).then_some(("o", AttributeValue::Bool(true)));
    let scores = map(point.scores.iter().map(|(score, value)| (score.as_str(), number(value))));
    let place = place_to_members(point.submission, point.place);
    map(place.into_iter().chain([("x", scores)]).chain(version).chain(before))
}

fn point_from_reader(id: &CourseId, reader: Reader<'_>) -> Result<Point, Unreadable> {
    let wrong = || unreadable("x", "holds a value that is not a score");
    let scores = reader.map("x")?.0.iter().map(|(score, value)| {
        let value = value.as_n().map_err(|_| wrong())?;
        Ok((score.parse().map_err(|_| wrong())?, Decimal::from_str_exact(value).map_err(|_| wrong())?))
    });
    let (submission, place) = place_from_reader(reader)?;
    Ok(Point {
        submission,
        place,
        version: reader.optional_parsed("v")?.unwrap_or_else(|| id.version.clone()),
        in_study: !reader.is_set("o")?,
        scores: scores.collect::<Result<_, _>>()?,
    })
}

fn place_to_members(submission: SubmissionId, place: Place) -> Vec<(&'static str, AttributeValue)> {
    let root = (place.id != submission).then(|| ("r", bytes(place.id.as_uuid().as_bytes())));
    let members = [("s", bytes(submission.as_uuid().as_bytes())), ("t", number(place.at.unix_timestamp_nanos()))];
    members.into_iter().chain(root).collect()
}

fn place_from_reader(reader: Reader<'_>) -> Result<(SubmissionId, Place), Unreadable> {
    let submission = reader.uuid("s")?.into();
    let id = reader.optional_uuid("r")?.map_or(submission, SubmissionId::from);
    let at = reader.optional_nanoseconds("t")?.ok_or_else(|| unreadable("t", "is missing"))?;
    Ok((submission, Place { at, id }))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_course_survives_being_stored() {
        let point = |n: u128, root: u128, in_study: bool| Point {
            submission: uuid::Uuid::from_u128(n).into(),
            place: Place { at: datetime!(2026-11-01 08:00 UTC), id: uuid::Uuid::from_u128(root).into() },
            version: "1.0.0".parse().unwrap(),
            in_study,
            scores: BTreeMap::from([("total".parse().unwrap(), Decimal::new(75, 1))]),
        };
        for baseline in [None, Some(point(1, 1, true))] {
            let course = Course { baseline, last: vec![point(3, 2, true), point(1, 1, false)], count: 7 };
            for id in ["phq-9#1.0.0", "phq-9#0.9.0"].map(|id| id.parse().unwrap()) {
                let AttributeValue::M(stored) = course_to_attribute(&id, &course) else { panic!("a course is a map") };
                assert_eq!(course_from_reader(&id, Reader(&stored)), Ok(course.clone()));
            }
        }
    }
}
