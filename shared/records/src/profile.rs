//! Profiles: where a patient stands, so that a list of patients or a rule on change need not read every submission.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use aws_sdk_dynamodb::types::AttributeValue;
use clinical::history::History;
use clinical::ids::{InstrumentId, InstrumentVersion, PatientId, ScoreId, SiteId, StudyId, SubmissionId};
use clinical::instrument::Instrument;
use clinical::outcome::Outcome;
use invocation::Deadline;
use invocation::aws::Failure;
use rust_decimal::Decimal;
use time::{Duration, OffsetDateTime};

use crate::alert::Alert;
use crate::attributes::{Item, Reader, Unreadable, instant, number, text, unreadable};
use crate::keys::{self, PK, SK};
use crate::store::{Page, Store};
use crate::submission::{Submission, map};

/// The index in which a site's profiles lie, and how they sort in it.
const SITE: &str = "site";
const SITE_SORT: &str = "site_sort";
const PATIENT: &str = "PATIENT#";

/// Where a patient stands: by instrument the first scored submission and the last ones, by the time that the patient
/// completed them. One that comes late, from a phone that was offline, takes the place that its time gives it.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// The study.
    pub study: StudyId,
    /// The patient.
    pub patient: PatientId,
    /// The site of the last submission.
    pub site: SiteId,
    /// By instrument.
    pub instruments: BTreeMap<InstrumentId, Course>,
    /// The submission that the patient completed last, scored or not, and when.
    pub last_submission: (SubmissionId, OffsetDateTime),
    /// Alerts raised and not acknowledged.
    pub open_alerts: u64,
    /// When each rule of each instrument (`phq-9#safety`) last raised an alert that was to be published.
    pub last_alerts: BTreeMap<String, OffsetDateTime>,
    /// Counts the writes, so that no writer overwrites what it has not read; zero before the first.
    pub(crate) revision: u64,
}

/// The course of one instrument's scores.
#[derive(Clone, Debug, PartialEq)]
pub struct Course {
    /// The first.
    pub baseline: Point,
    /// The last.
    pub latest: Point,
    /// The last but one, if there are two.
    pub previous: Option<Point>,
    /// Those before it, newest first, as far as an alert rule looks back.
    pub earlier: Vec<Point>,
    /// How many there were.
    pub count: u64,
}

/// The scores of one submission. Their values are not in its `Debug`.
#[derive(Clone, PartialEq)]
pub struct Point {
    /// The submission.
    pub submission: SubmissionId,
    /// When the patient completed it.
    pub authored_at: OffsetDateTime,
    /// The version that it was scored by.
    pub version: InstrumentVersion,
    /// Its scores.
    pub scores: BTreeMap<ScoreId, Decimal>,
}

impl fmt::Debug for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Point").field("submission", &self.submission).finish_non_exhaustive()
    }
}

impl Profile {
    /// The profile of `submission`'s patient before any submission.
    pub(crate) fn before(submission: &Submission) -> Self {
        Self {
            study: submission.study.clone(),
            patient: submission.patient.clone(),
            site: submission.site.clone(),
            instruments: BTreeMap::new(),
            last_submission: (submission.id, submission.authored_at),
            open_alerts: 0,
            last_alerts: BTreeMap::new(),
            revision: 0,
        }
    }

    /// What came before `submission` of its instrument.
    pub(crate) fn history(&self, submission: &Submission) -> History {
        let course = self.instruments.get(&submission.instrument.id);
        course.map_or_else(History::first, |course| course.history(submission))
    }

    /// Takes in `submission`, which was scored by `instrument` at `at`, and gives the alerts that it raises. Inside a
    /// rule's quiet period they are quiet. One that could not be scored moves no course.
    pub(crate) fn take_in(
        &mut self,
        submission: &Submission,
        instrument: &Instrument,
        outcome: &Outcome,
        at: OffsetDateTime,
    ) -> Vec<Alert> {
        let alerts: Vec<Alert> = outcome
            .alerts
            .iter()
            .map(|fired| {
                let rule = format!("{}#{}", submission.instrument.id, fired.rule);
                // Not by the sum alone: two that are scored at the same time may come in either order, and a rule without
                // a quiet period is never quiet.
                let period = Some(Duration::hours(fired.quiet_hours.into())).filter(|period| period.is_positive());
                let quiet = period.zip(self.last_alerts.get(&rule)).is_some_and(|(period, last)| at < *last + period);
                if !quiet {
                    let last = self.last_alerts.entry(rule).or_insert(at);
                    *last = at.max(*last);
                }
                Alert::raise(submission, fired, at, quiet)
            })
            .collect();
        self.open_alerts += alerts.len() as u64;
        let (last, last_authored_at) = self.last_submission;
        if (submission.authored_at, submission.id) >= (last_authored_at, last) {
            self.last_submission = (submission.id, submission.authored_at);
            self.site = submission.site.clone();
        }
        if outcome.scores.is_empty() {
            return alerts;
        }
        let point = Point {
            submission: submission.id,
            authored_at: submission.authored_at,
            version: submission.instrument.version.clone(),
            scores: outcome.scores.iter().map(|score| (score.id.clone(), score.value)).collect(),
        };
        match self.instruments.get_mut(&submission.instrument.id) {
            // One more than is needed, so that one which comes a little late still finds all before it.
            Some(course) => course.take_in(point, instrument.looks_back() + 1),
            None => {
                self.instruments.insert(submission.instrument.id.clone(), Course::beginning_with(point));
            }
        }
        alerts
    }

    pub(crate) fn key(study: &StudyId, patient: &PatientId) -> Item {
        Item::from([(PK.to_owned(), text(keys::patient(study, patient))), (SK.to_owned(), text(keys::PROFILE))])
    }

    /// Its attributes other than the key.
    pub(crate) fn to_attributes(&self) -> Vec<(&'static str, AttributeValue)> {
        let (submission, authored_at) = &self.last_submission;
        let courses = self.instruments.iter().map(|(instrument, course)| (instrument.as_str(), course.to_attribute()));
        vec![
            ("kind", text("profile")),
            ("study", text(self.study.as_str())),
            ("patient", text(self.patient.as_str())),
            ("site", text(self.site.as_str())),
            ("site_key", text(keys::site(&self.study, &self.site))),
            (SITE_SORT, text(format!("{PATIENT}{}", self.patient.as_str()))),
            ("instruments", map(courses)),
            ("last_submission", text(submission.to_string())),
            ("last_submission_at", instant(*authored_at)),
            ("open_alerts", number(self.open_alerts)),
            ("last_alerts", map(self.last_alerts.iter().map(|(rule, at)| (rule.as_str(), instant(*at))))),
            ("revision", number(self.revision + 1)),
        ]
    }

    pub(crate) fn from_item(item: &Item) -> Result<Self, Unreadable> {
        let reader = Reader(item);
        let courses = reader.map("instruments")?;
        let instruments = courses.0.keys().map(|instrument| {
            let id = instrument.parse().map_err(|_| unreadable("instruments", "names no instrument"))?;
            Ok((id, Course::from_reader(courses.map(instrument)?)?))
        });
        let last_alerts = reader.map("last_alerts")?;
        let last_alerts = last_alerts.0.keys().map(|rule| Ok((rule.clone(), last_alerts.instant(rule)?)));
        Ok(Self {
            last_alerts: last_alerts.collect::<Result<_, _>>()?,
            study: reader.parsed("study")?,
            patient: reader.parsed("patient")?,
            site: reader.parsed("site")?,
            instruments: instruments.collect::<Result<_, _>>()?,
            last_submission: (reader.parsed("last_submission")?, reader.instant("last_submission_at")?),
            open_alerts: reader.optional_count("open_alerts")?.unwrap_or_default(),
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

impl Course {
    fn beginning_with(point: Point) -> Self {
        Self { baseline: point.clone(), latest: point, previous: None, earlier: Vec::new(), count: 1 }
    }

    /// Takes in `point`, and keeps as many of the last ones as `keep`, but two at least.
    fn take_in(&mut self, point: Point, keep: usize) {
        let (mut last, all_known) = self.last_known();
        let place = point.place();
        // Below the last of those that are known there may be others, which are not kept.
        if all_known || last.last().is_some_and(|oldest| oldest.place() < place) {
            let at = last.iter().position(|known| known.place() < place).unwrap_or(last.len());
            last.insert(at, &point);
        }
        let mut last = last.into_iter().take(keep.max(2)).cloned().collect::<VecDeque<_>>();
        if let Some(latest) = last.pop_front() {
            self.latest = latest;
        }
        self.previous = last.pop_front();
        self.earlier = last.into();
        self.count += 1;
        if place < self.baseline.place() {
            self.baseline = point;
        }
    }

    /// What came before `submission`, by the time of completion, as far as it is known from here.
    fn history(&self, submission: &Submission) -> History {
        let before = |point: &&Point| point.place() < (submission.authored_at, submission.id);
        let Some(baseline) = Some(&self.baseline).filter(before) else { return History::first() };
        let (last, all_known) = self.last_known();
        let latest = last.into_iter().filter(before).map(|point| point.scores.clone()).collect();
        History::Known { baseline: Some(baseline.scores.clone()), latest, more: !all_known }
    }

    /// The last ones, newest first, with none left out between them; and whether these are all that there were.
    fn last_known(&self) -> (Vec<&Point>, bool) {
        let mut last: Vec<&Point> =
            [Some(&self.latest), self.previous.as_ref()].into_iter().flatten().chain(&self.earlier).collect();
        let with_baseline = last.iter().any(|point| point.submission == self.baseline.submission);
        let known = last.len() + usize::from(!with_baseline);
        let all_known = self.count <= known as u64;
        if all_known && !with_baseline {
            last.push(&self.baseline);
        }
        (last, all_known)
    }

    fn to_attribute(&self) -> AttributeValue {
        let points =
            [("baseline", Some(&self.baseline)), ("latest", Some(&self.latest)), ("previous", self.previous.as_ref())];
        let points = points.into_iter().filter_map(|(name, point)| Some((name, point?.to_attribute())));
        let earlier = self.earlier.iter().map(Point::to_attribute).collect::<Vec<_>>();
        let earlier = (!earlier.is_empty()).then(|| ("earlier", AttributeValue::L(earlier)));
        map(points.chain(earlier).chain([("count", number(self.count))]))
    }

    fn from_reader(reader: Reader<'_>) -> Result<Self, Unreadable> {
        Ok(Self {
            baseline: Point::from_reader(reader.map("baseline")?)?,
            latest: Point::from_reader(reader.map("latest")?)?,
            previous: reader.optional_map("previous")?.map(Point::from_reader).transpose()?,
            earlier: reader.maps("earlier")?.into_iter().map(Point::from_reader).collect::<Result<_, _>>()?,
            count: reader.optional_count("count")?.ok_or_else(|| unreadable("count", "is missing"))?,
        })
    }
}

impl Point {
    /// Where it stands in the course: by when the patient completed it; by id where that is the same, so that the order of
    /// arrival makes no difference.
    fn place(&self) -> (OffsetDateTime, SubmissionId) {
        (self.authored_at, self.submission)
    }

    fn to_attribute(&self) -> AttributeValue {
        map([
            ("submission", text(self.submission.to_string())),
            ("authored_at", instant(self.authored_at)),
            ("version", text(self.version.as_str())),
            ("scores", map(self.scores.iter().map(|(score, value)| (score.as_str(), number(value))))),
        ])
    }

    fn from_reader(reader: Reader<'_>) -> Result<Self, Unreadable> {
        let wrong = || unreadable("scores", "holds something that is no score");
        let scores = reader.map("scores")?.0.iter().map(|(score, value)| {
            let value = value.as_n().map_err(|_| wrong())?;
            Ok((score.parse().map_err(|_| wrong())?, Decimal::from_str_exact(value).map_err(|_| wrong())?))
        });
        Ok(Self {
            submission: reader.parsed("submission")?,
            authored_at: reader.instant("authored_at")?,
            version: reader.parsed("version")?,
            scores: scores.collect::<Result<_, _>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    fn point(day: i64) -> Point {
        Point {
            submission: uuid::Uuid::from_u128(day as u128).into(),
            authored_at: datetime!(2026-11-01 08:00 UTC) + Duration::days(day),
            version: "1.0.0".parse().unwrap(),
            scores: BTreeMap::from([("total".parse().unwrap(), Decimal::from(day))]),
        }
    }

    fn course(days: &[i64]) -> Course {
        course_keeping(2, days)
    }

    fn course_keeping(keep: usize, days: &[i64]) -> Course {
        let mut course = Course::beginning_with(point(days[0]));
        for &day in &days[1..] {
            course.take_in(point(day), keep);
        }
        course
    }

    fn days(course: &Course) -> (Vec<i64>, bool) {
        let (last, all_known) = course.last_known();
        (
            last.iter().map(|point| (point.authored_at - datetime!(2026-11-01 08:00 UTC)).whole_days()).collect(),
            all_known,
        )
    }

    #[test]
    fn whatever_order_submissions_come_in_the_course_follows_when_they_were_completed() {
        let expected =
            Course { baseline: point(1), latest: point(4), previous: Some(point(3)), earlier: Vec::new(), count: 4 };
        for order in [[1, 2, 3, 4], [4, 3, 2, 1], [2, 4, 1, 3], [3, 1, 4, 2], [4, 1, 2, 3]] {
            assert_eq!(course(&order), expected, "{order:?}");
        }
    }

    #[test]
    fn as_many_are_kept_as_a_rule_looks_back_and_one_that_was_let_go_is_never_skipped_over() {
        assert_eq!(days(&course_keeping(4, &[1, 2, 3, 4])), (vec![4, 3, 2, 1], true));
        assert_eq!(days(&course_keeping(4, &[1, 2, 3, 4, 5])), (vec![5, 4, 3, 2, 1], true));
        assert_eq!(days(&course_keeping(4, &[1, 2, 3, 4, 5, 6])), (vec![6, 5, 4, 3], false));
        // A late one inside what is kept takes its place; one below it does not, since others may lie between.
        assert_eq!(days(&course_keeping(4, &[1, 2, 3, 4, 5, 7, 6])), (vec![7, 6, 5, 4], false));
        let mut longer = course_keeping(2, &[1, 4, 5, 6, 7]);
        longer.take_in(point(2), 6);
        assert_eq!(days(&longer), (vec![7, 6], false));
        longer.take_in(point(8), 6);
        assert_eq!(days(&longer), (vec![8, 7, 6], false));
    }

    #[test]
    fn of_two_completed_in_the_same_second_the_order_of_arrival_decides_nothing() {
        let twin = Point { submission: uuid::Uuid::from_u128(900).into(), ..point(1) };
        let (mut one, mut other) =
            (course(&[1]), Course { baseline: twin.clone(), latest: twin.clone(), ..course(&[1]) });
        one.take_in(twin, 2);
        other.take_in(point(1), 2);
        assert_eq!(one, other);
    }

    #[test]
    fn a_course_survives_being_stored() {
        let course = course_keeping(4, &[1, 2, 3, 4, 5]);
        let AttributeValue::M(stored) = course.to_attribute() else { panic!("a course is a map") };
        assert_eq!(Course::from_reader(Reader(&stored)), Ok(course));
    }
}
