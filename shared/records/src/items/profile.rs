//! Profiles: the state of a patient, so that a list of patients or a rule on change need not read every submission.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;
use clinical::ids::{InstrumentId, PatientId, SiteId, StudyId, SubmissionId};
use clinical::instruments::{Course, CourseId, FiredRule, History, Instrument, Outcome, Place, Point};
use rust_decimal::Decimal;
use time::{Duration, OffsetDateTime};

use super::alert::{Alert, AlertStatus};
use super::submission::Submission;
use crate::table::attributes::{Item, Reader, Unreadable, instant, map, number, sortable, text, unreadable};
use crate::table::keys::{self, PATIENT, SITE_KEY, SITE_SORT};
use crate::table::lists::{List, PENDING, PENDING_SINCE};

pub(crate) const KIND: &str = "profile";
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
    /// The submission that the patient completed last, whether it could be scored or not, and its place.
    pub last_submission: (SubmissionId, Place),
    /// The number of alerts raised and not acknowledged.
    pub open_alerts: u64,
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
        Self {
            study: submission.study.clone(),
            patient: submission.patient.clone(),
            site: submission.site.clone(),
            courses: BTreeMap::new(),
            last_submission: (submission.id, submission.place()),
            open_alerts: 0,
            last_alerts: BTreeMap::new(),
            reevaluate: None,
            revision: 0,
        }
    }

    /// Since when its courses are due for a replay of all submissions; `None` if they are not.
    pub fn marked_since(&self) -> Option<OffsetDateTime> {
        self.reevaluate
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
            return alerts;
        }
        let place = submission.place();
        let (last, last_place) = self.last_submission;
        if (place, submission.id) >= (last_place, last) {
            self.last_submission = (submission.id, place);
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
    }

    /// Its key in the Records table.
    pub(crate) fn key(&self) -> Item {
        keys::profile(&self.study, &self.patient)
    }

    /// Its attributes other than the key. The absent ones are to be removed: see [`Profile::IF_MARKED`].
    pub(crate) fn to_attributes(&self) -> Vec<(&'static str, AttributeValue)> {
        let (submission, place) = &self.last_submission;
        let courses: Vec<(String, AttributeValue)> =
            self.courses.iter().map(|(id, course)| (id.to_string(), course_to_attribute(course))).collect();
        let mut attributes = vec![
            ("kind", text(KIND)),
            ("study", text(self.study.as_str())),
            ("patient", text(self.patient.as_str())),
            ("site", text(self.site.as_str())),
            (SITE_KEY, text(keys::site(&self.study, &self.site))),
            (SITE_SORT, text(keys::patient_of_site(&self.patient))),
            ("courses", AttributeValue::M(courses.into_iter().collect())),
            ("last_submission", text(submission.to_string())),
            ("last_place_at", instant(place.at)),
            ("last_place_id", text(place.id.to_string())),
            ("open_alerts", number(self.open_alerts)),
            ("last_alerts", map(self.last_alerts.iter().map(|(rule, at)| (rule.as_str(), instant(*at))))),
            ("revision", number(self.revision + 1)),
        ];
        if let Some(since) = self.reevaluate {
            attributes.push((PENDING, text(List::Pending.key_of(&keys::patient(&self.study, &self.patient)))));
            attributes.push((PENDING_SINCE, text(sortable(since))));
        }
        attributes
    }

    /// The attributes that a profile has only while its courses are due for a replay.
    pub(crate) const IF_MARKED: [&str; 2] = [PENDING, PENDING_SINCE];

    pub(crate) fn from_item(item: &Item) -> Result<Self, Unreadable> {
        let reader = Reader(item);
        let courses = reader.map("courses")?;
        let courses = courses.0.keys().map(|id| {
            let known = id.parse().map_err(|_| unreadable("courses", "names no course"))?;
            Ok((known, course_from_reader(courses.map(id)?)?))
        });
        let last_alerts = reader.map("last_alerts")?;
        let last_alerts = last_alerts.0.keys().map(|rule| Ok((rule.clone(), last_alerts.instant(rule)?)));
        let last_place = Place { at: reader.instant("last_place_at")?, id: reader.parsed("last_place_id")? };
        Ok(Self {
            last_alerts: last_alerts.collect::<Result<_, _>>()?,
            study: reader.parsed("study")?,
            patient: reader.parsed("patient")?,
            site: reader.parsed("site")?,
            courses: courses.collect::<Result<_, _>>()?,
            last_submission: (reader.parsed("last_submission")?, last_place),
            open_alerts: reader.optional_count("open_alerts")?.unwrap_or_default(),
            reevaluate: reader.optional_instant(PENDING_SINCE)?,
            revision: reader.optional_count("revision")?.ok_or_else(|| unreadable("revision", "is missing"))?,
        })
    }
}

/// A patient in the list of a site.
#[derive(Clone, Debug)]
pub struct PatientRow {
    /// The patient.
    pub patient: PatientId,
    /// The patient's profile. One that cannot be read does not affect the other rows.
    pub profile: Result<Profile, Unreadable>,
}

impl PatientRow {
    /// The row of an item in the index `site`.
    pub(crate) fn of(item: &Item) -> Result<Self, Unreadable> {
        let patient = Reader(item).text(SITE_SORT)?.strip_prefix(PATIENT).and_then(|patient| patient.parse().ok());
        let patient = patient.ok_or_else(|| unreadable(SITE_SORT, "names no patient"))?;
        Ok(Self { patient, profile: Profile::from_item(item) })
    }
}

fn course_to_attribute(course: &Course) -> AttributeValue {
    let baseline = course.baseline.as_ref().map(|baseline| ("baseline", point_to_attribute(baseline)));
    let last = AttributeValue::L(course.last.iter().map(point_to_attribute).collect());
    map(baseline.into_iter().chain([("last", last), ("count", number(course.count))]))
}

fn course_from_reader(reader: Reader<'_>) -> Result<Course, Unreadable> {
    Ok(Course {
        baseline: reader.optional_map("baseline")?.map(point_from_reader).transpose()?,
        last: reader.maps("last")?.into_iter().map(point_from_reader).collect::<Result<_, _>>()?,
        count: reader.optional_count("count")?.ok_or_else(|| unreadable("count", "is missing"))?,
    })
}

fn point_to_attribute(point: &Point) -> AttributeValue {
    let root = (point.place.id != point.submission).then(|| ("root", text(point.place.id.to_string())));
    let before = (!point.in_study).then_some(("before_study", AttributeValue::Bool(true)));
    let attributes = [
        ("submission", text(point.submission.to_string())),
        ("at", instant(point.place.at)),
        ("version", text(point.version.as_str())),
        ("scores", map(point.scores.iter().map(|(score, value)| (score.as_str(), number(value))))),
    ];
    map(attributes.into_iter().chain(root).chain(before))
}

fn point_from_reader(reader: Reader<'_>) -> Result<Point, Unreadable> {
    let wrong = || unreadable("scores", "holds a value that is not a score");
    let scores = reader.map("scores")?.0.iter().map(|(score, value)| {
        let value = value.as_n().map_err(|_| wrong())?;
        Ok((score.parse().map_err(|_| wrong())?, Decimal::from_str_exact(value).map_err(|_| wrong())?))
    });
    let submission = reader.parsed("submission")?;
    Ok(Point {
        submission,
        place: Place { at: reader.instant("at")?, id: reader.optional_parsed("root")?.unwrap_or(submission) },
        version: reader.parsed("version")?,
        in_study: !reader.is_set("before_study")?,
        scores: scores.collect::<Result<_, _>>()?,
    })
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
            let AttributeValue::M(stored) = course_to_attribute(&course) else { panic!("a course is a map") };
            assert_eq!(course_from_reader(Reader(&stored)), Ok(course));
        }
    }
}
