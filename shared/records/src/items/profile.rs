//! Profiles: where a patient stands, so that a list of patients or a rule on change need not read every submission.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;
use clinical::ids::{PatientId, SiteId, StudyId, SubmissionId};
use clinical::instruments::{Course, CourseId, FiredRule, History, Instrument, Outcome, Place, Point};
use invocation::Deadline;
use invocation::aws::Failure;
use rust_decimal::Decimal;
use time::{Duration, OffsetDateTime};

use crate::items::alert::Alert;
use crate::table::attributes::{Item, Reader, Unreadable, instant, number, sortable, text, unreadable};
use crate::table::keys::{self, PK, SK};
use crate::store::{Page, Store};
use crate::items::submission::{Submission, map};
use crate::store::lists::List;

pub(crate) const KIND: &str = "profile";
/// The index in which a site's profiles lie, and how they sort in it.
const SITE: &str = "site";
const SITE_SORT: &str = "site_sort";
const PATIENT: &str = "PATIENT#";
/// Why a rule that looks back is not evaluated with its submission. Its evaluation follows at once.
pub(crate) const NOT_YET: &str = "the patient's course is being evaluated again";

/// Where a patient stands: the courses of the instruments by the places of their submissions, and the open alerts.
///
/// The courses hold all that was scored and not corrected, except for what `reevaluate` waits for. What arrives in order
/// is added here by the transaction that scores it; whatever else changes a course (a submission below the newest, a
/// correction) marks the profile, and [`Store::reevaluate`] replays the patient's submissions.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// The study.
    pub study: StudyId,
    /// The patient.
    pub patient: PatientId,
    /// The site of the last submission.
    pub site: SiteId,
    /// By instrument and comparable versions.
    pub courses: BTreeMap<CourseId, Course>,
    /// The submission that the patient completed last, whether it could be scored or not, and where it stands.
    pub last_submission: (SubmissionId, Place),
    /// Alerts raised and not acknowledged.
    pub open_alerts: u64,
    /// When each rule of each instrument (`phq-9#safety`) last raised an alert that was to be published.
    pub last_alerts: BTreeMap<String, OffsetDateTime>,
    /// Since when the courses wait for a replay of all submissions.
    pub(crate) reevaluate: Option<OffsetDateTime>,
    /// Counts the writes, so that no writer overwrites what it has not read; zero before the first.
    pub(crate) revision: u64,
}

/// How a submission is evaluated by the transaction that scores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Evaluation {
    /// It is the newest, and all that its rules look back at is known: every rule is evaluated.
    InOrder,
    /// The course changes below its newest point, or not all that counts is known. Rules that look at this submission
    /// alone are evaluated; those that look back wait for the replay that follows.
    Deferred,
    /// A correction of it is stored already: every rule waits for the replay, which knows whether the correction counts.
    Amended,
}

impl Profile {
    /// The profile of `submission`'s patient before any submission.
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

    /// What came before a submission of `instrument`, for a submission that is evaluated as `evaluation` says.
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
        // One that could not be scored is no point.
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

    /// The alert that `fired` raises on `submission` at `at`. Inside the rule's quiet period it is quiet.
    pub(crate) fn raise(&mut self, submission: &Submission, fired: &FiredRule, at: OffsetDateTime) -> Alert {
        let rule = format!("{}#{}", submission.instrument.id, fired.rule);
        // Not by the sum alone: two that are scored at the same time may come in either order, and a rule without a quiet
        // period is never quiet.
        let period = Some(Duration::hours(fired.quiet_hours.into())).filter(|period| period.is_positive());
        let quiet = period.zip(self.last_alerts.get(&rule)).is_some_and(|(period, last)| at - *last < period);
        if !quiet {
            let last = self.last_alerts.entry(rule).or_insert(at);
            *last = at.max(*last);
        }
        self.open_alerts += 1;
        Alert::raise(submission, fired, at, quiet)
    }

    pub(crate) fn key(study: &StudyId, patient: &PatientId) -> Item {
        Item::from([(PK.to_owned(), text(keys::patient(study, patient))), (SK.to_owned(), text(keys::PROFILE))])
    }

    /// Its attributes other than the key. Those that are not there are to be removed: see [`Profile::UNLESS_MARKED`].
    pub(crate) fn to_attributes(&self) -> Vec<(&'static str, AttributeValue)> {
        let (submission, place) = &self.last_submission;
        let courses: Vec<(String, AttributeValue)> =
            self.courses.iter().map(|(id, course)| (id.to_string(), course_to_attribute(course))).collect();
        let mut attributes = vec![
            ("kind", text(KIND)),
            ("study", text(self.study.as_str())),
            ("patient", text(self.patient.as_str())),
            ("site", text(self.site.as_str())),
            ("site_key", text(keys::site(&self.study, &self.site))),
            (SITE_SORT, text(format!("{PATIENT}{}", self.patient.as_str()))),
            ("courses", AttributeValue::M(courses.into_iter().collect())),
            ("last_submission", text(submission.to_string())),
            ("last_place_at", instant(place.at)),
            ("last_place_id", text(place.id.to_string())),
            ("open_alerts", number(self.open_alerts)),
            ("last_alerts", map(self.last_alerts.iter().map(|(rule, at)| (rule.as_str(), instant(*at))))),
            ("revision", number(self.revision + 1)),
        ];
        if let Some(since) = self.reevaluate {
            let waiting = keys::waiting(List::Pending, &keys::patient(&self.study, &self.patient));
            attributes.push(("pending", text(waiting)));
            attributes.push(("pending_since", text(sortable(since))));
        }
        attributes
    }

    /// The attributes that only a profile has whose courses wait for a replay.
    pub(crate) const UNLESS_MARKED: [&str; 2] = ["pending", "pending_since"];

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
            reevaluate: reader.optional_instant("pending_since")?,
            revision: reader.optional_count("revision")?.ok_or_else(|| unreadable("revision", "is missing"))?,
        })
    }
}

/// A patient in a list.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Who.
    pub patient: PatientId,
    /// Where the patient stands. One profile that cannot be read spoils no other.
    pub profile: Result<Profile, Unreadable>,
}

impl Listed {
    fn of(item: &Item) -> Result<Self, Unreadable> {
        let patient = Reader(item).text(SITE_SORT)?.strip_prefix(PATIENT).and_then(|patient| patient.parse().ok());
        let patient = patient.ok_or_else(|| unreadable(SITE_SORT, "names no patient"))?;
        Ok(Self { patient, profile: Profile::from_item(item) })
    }
}

impl Store {
    /// At most `most` of the patients whose last submission was of `site`, by id, from `after` on, which an earlier page
    /// gave as its next. From the index `site`, which follows the profiles within moments.
    ///
    /// # Errors
    /// If the store did not answer in time.
    pub async fn patients(
        &self,
        study: &StudyId,
        site: &SiteId,
        after: Option<&str>,
        most: usize,
        deadline: Deadline,
    ) -> Result<Page<Listed>, Failure> {
        const OPERATION: &str = "Query of profiles";
        // Whoever comes or goes while somebody reads on moves no one else: a page begins after an id, not after a number.
        // An id holds only characters above the space and below the tilde.
        let from = after.map_or_else(|| PATIENT.to_owned(), |after| format!("{PATIENT}{after} "));
        let query = self
            .dynamodb
            .query()
            .table_name(&self.tables.records)
            .index_name(SITE)
            .key_condition_expression("site_key = :site AND site_sort BETWEEN :from AND :to")
            .expression_attribute_values(":site", text(keys::site(study, site)))
            .expression_attribute_values(":from", text(from))
            .expression_attribute_values(":to", text(format!("{PATIENT}~")));
        // One more than is wanted tells whether there are more.
        let mut items = self.query(query, most + 1, OPERATION, deadline).await?;
        let more = items.len() > most;
        items.truncate(most);
        let entries: Result<Vec<Listed>, Unreadable> = items.iter().map(Listed::of).collect();
        let entries = entries.map_err(|_| Failure::unreadable(OPERATION, "a profile names no patient"))?;
        let next = entries.last().filter(|_| more).map(|last| last.patient.as_str().to_owned());
        Ok(Page { entries, next })
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
    let wrong = || unreadable("scores", "holds something that is no score");
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
