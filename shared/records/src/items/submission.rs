//! Submissions: one completed questionnaire, as it was sent, and its score.

use std::fmt;

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use clinical::document::Number;
use clinical::ids::{
    GroupId, InstrumentId, InstrumentVersion, PatientId, RuleId, ScoreId, SiteId, StudyId, StudyVersion, SubmissionId,
};
use clinical::instruments::{Answer, Answers, Claims, Outcome, Place};
use clinical::studies::{Protocol, Study};
use invocation::aws::{CallError, Failure, Limits, call};
use invocation::{Deadline, Principal};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use std::time::Duration;
use time::{OffsetDateTime, UtcOffset};
use uuid::Uuid;

use crate::items::alert::AlertId;
use crate::table::attributes::{Item, Reader, Unreadable, from_json, instant, number, sortable, text, to_json, unreadable};
use crate::table::keys::{self, PK};
use crate::store::{NOT_THERE, Store};
use crate::store::lists::List;

pub(crate) const KIND: &str = "submission";
/// The last that a request does: it may take what the deadline leaves.
pub(crate) const PUT: Limits = Limits { most: Duration::from_secs(10), least: Duration::from_millis(50) };
pub(crate) const GET: Limits = Limits { most: Duration::from_secs(3), least: Duration::from_millis(30) };

/// One completed questionnaire, as it was sent. Written once; only its [`Score`] and [`amended_by`](Self::amended_by) are
/// added later.
#[derive(Clone, Debug, PartialEq)]
pub struct Submission {
    /// The study.
    pub study: StudyId,
    /// The site that the patient belonged to when it was received.
    pub site: SiteId,
    /// The patient.
    pub patient: PatientId,
    /// The group of the study's patients that the patient was of when it was received, where there is such.
    pub group: Option<GroupId>,
    /// Made by the app; the idempotency key.
    pub id: SubmissionId,
    /// The definition that it answers, and is scored by.
    pub instrument: InstrumentRef,
    /// What the patient answered.
    pub answers: Answers,
    /// When the patient completed it, by the device's clock, with its offset.
    pub authored_at: OffsetDateTime,
    /// When the patient completed it, as far as the clocks can be trusted, in UTC: `authored_at`, corrected by what is
    /// known of the device's clock, and never after `received_at`. Courses and periods go by it.
    pub effective_at: OffsetDateTime,
    /// Why `effective_at` is another instant than `authored_at`; `None` where it is the same.
    pub clock: Option<ClockNote>,
    /// When it was received, by the server's clock, in UTC.
    pub received_at: OffsetDateTime,
    /// Who sent it, by the access token.
    pub principal: Principal,
    /// SHA-256 of the canonical body: what tells a repeat from a conflict.
    pub digest: String,
    /// Ties it to the request that brought it.
    pub correlation_id: String,
    /// The invocation that stored it: what tells a write from the SDK's repeat of the same write.
    pub request_id: String,
    /// Random, and never told: what opaque ids are derived from, so that they say nothing of the patient.
    pub nonce: Uuid,
    /// The version and content hash of the study's data under which it was accepted; `None` if none were stored.
    pub study_version: Option<(StudyVersion, String)>,
    /// The submission that this one corrects, and why.
    pub amends: Option<Amendment>,
    /// The submission that corrects this one. The transaction that stores the correction sets it; a new submission has
    /// none, and [`Store::put_submission`] does not write it.
    pub amended_by: Option<SubmissionId>,
    /// What it was entered on.
    pub device: Option<Device>,
    /// The scores that its sender computed. Never believed: what differs from ours is told.
    pub claimed: Claims,
}

/// A version of an instrument's definition.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InstrumentRef {
    /// Its id, such as `phq-9`.
    pub id: InstrumentId,
    /// Its version.
    pub version: InstrumentVersion,
    /// Its content hash: the same version is the same content for ever.
    pub hash: String,
}

/// How the effective time of a submission came about where it is not the time that the device gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockNote {
    /// By how many seconds the device's clock was ahead of the server's when the submission was sent; negative where it
    /// was behind, `None` where the device did not say.
    pub skew_seconds: Option<i64>,
    /// Whether the time of reception was used, because the device's time lies after it.
    pub used_received_at: bool,
}

/// The submission that is corrected, and why. The reason, in the patient's words, is not in its `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Amendment {
    /// The submission that is corrected.
    pub of: SubmissionId,
    /// Why.
    pub reason: String,
    /// The place of the first submission of the chain, which the correction takes in the course.
    pub place: Place,
}

impl fmt::Debug for Amendment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Amendment").field("of", &self.of).field("place", &self.place).finish_non_exhaustive()
    }
}

/// What a submission was entered on. Its `Debug` says nothing, since the app fills it as it likes.
#[derive(Clone, PartialEq, Eq)]
pub struct Device {
    /// App and version.
    pub app: Option<String>,
    /// Operating system and version.
    pub os: Option<String>,
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Device(..)")
    }
}

/// What came of a submission, as stored.
#[derive(Clone, PartialEq)]
pub struct Score {
    /// When it was scored.
    pub scored_at: OffsetDateTime,
    /// The content hash of the definition that it was scored by.
    pub instrument_hash: String,
    /// The version and content hash of the study's data whose alert rules were in force; `None` if none were stored.
    pub study: Option<(StudyVersion, String)>,
    /// The scores, in the shape of the API.
    pub scores: Value,
    /// What could not be scored and why, in the shape of the API.
    pub not_scored: Value,
    /// The rules that could not be decided and why, in the shape of the API.
    pub not_evaluated: Value,
    /// The scores that the sender computed otherwise, `[{"id", "claimed"}]`.
    pub claimed_differs: Value,
    /// The alerts that it raised, with their rules.
    pub alerts: Vec<(AlertId, RuleId)>,
}

impl fmt::Debug for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Score").field("scored_at", &self.scored_at).finish_non_exhaustive()
    }
}

/// What became of a put.
#[derive(Debug)]
pub enum PutOutcome {
    /// It was stored, by this call.
    Stored,
    /// It was stored before, with the same body: here it is as it was stored then.
    Repeated(Box<Submission>),
    /// Another body was stored under its id before.
    Conflict,
}

impl Store {
    /// Stores `submission`, once: one conditional put, and nothing is read first.
    ///
    /// # Errors
    /// If it was not sent to the store, if its outcome is unknown, or if the store refused it.
    pub async fn put_submission(&self, submission: &Submission, deadline: Deadline) -> Result<PutOutcome, Failure> {
        const OPERATION: &str = "PutItem of a submission";
        let request = self
            .dynamodb
            .put_item()
            .table_name(&self.tables.records)
            .set_item(Some(submission.to_item()))
            .condition_expression(NOT_THERE)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let sent =
            call(deadline, PUT, |timeouts| request.customize().config_override(Store::timeouts(timeouts)).send());
        match sent.await {
            Ok(_) => Ok(PutOutcome::Stored),
            Err(CallError::Refused(PutItemError::ConditionalCheckFailedException(failed))) => {
                stored_before(submission, failed.item.as_ref(), OPERATION)
            }
            Err(error) => Err(error.of(OPERATION)),
        }
    }

    /// The submission `id` of `patient`, with its score if it has one by now.
    ///
    /// # Errors
    /// If the store did not answer in time, or with something that cannot be read.
    pub async fn submission(
        &self,
        study: &StudyId,
        patient: &PatientId,
        id: &SubmissionId,
        deadline: Deadline,
    ) -> Result<Option<(Submission, Option<Score>)>, Failure> {
        const OPERATION: &str = "GetItem of a submission";
        let request = self
            .dynamodb
            .get_item()
            .table_name(&self.tables.records)
            .set_key(Some(keys::submission_key(study, patient, id)))
            .consistent_read(true);
        let sent =
            call(deadline, GET, |timeouts| request.customize().config_override(Store::timeouts(timeouts)).send());
        let Some(item) = sent.await.map_err(|error| error.of(OPERATION))?.item else { return Ok(None) };
        let read = Submission::from_item(&item).and_then(|submission| Ok((submission, Score::from_item(&item)?)));
        read.map(Some).map_err(|_| Failure::unreadable(OPERATION, "the stored item cannot be read"))
    }
}

/// What it means that an item was there under the id of `submission`.
pub(crate) fn stored_before(
    submission: &Submission,
    item: Option<&Item>,
    operation: &'static str,
) -> Result<PutOutcome, Failure> {
    let item = item.ok_or_else(|| Failure::unreadable(operation, "the stored item did not come back"))?;
    let stored =
        Submission::from_item(item).map_err(|_| Failure::unreadable(operation, "the stored item cannot be read"))?;
    Ok(what_is_stored(submission, stored))
}

/// What it means that `stored` is stored under the id of `submission`.
pub(crate) fn what_is_stored(submission: &Submission, stored: Submission) -> PutOutcome {
    if stored.request_id == submission.request_id && stored.nonce == submission.nonce {
        // The SDK sent it again because the first answer was lost, and met its own write.
        PutOutcome::Stored
    } else if stored.digest == submission.digest {
        PutOutcome::Repeated(Box::new(stored))
    } else {
        PutOutcome::Conflict
    }
}

impl Submission {
    /// Where it stands in the course: its own place, or that of the first submission of the chain that it corrects.
    pub fn place(&self) -> Place {
        let own = Place { at: self.effective_at, id: self.id };
        self.amends.as_ref().map_or(own, |amendment| amendment.place)
    }

    /// Its key in the Records table.
    pub(crate) fn key(&self) -> Item {
        keys::submission_key(&self.study, &self.patient, &self.id)
    }

    /// Whether it belongs to the data of the study that `protocol` is of, by the patient's own calendar.
    pub(crate) fn is_in_study(&self, protocol: &Protocol) -> bool {
        let at = self.place().at;
        protocol.has_begun(at.checked_to_offset(self.authored_at.offset()).unwrap_or(at))
    }

    /// About as many bytes as it has in the table, and not less.
    pub(crate) fn bytes(&self) -> usize {
        const ITS_OTHER_PARTS: usize = 4_000;
        let answers = self.answers.iter().map(|(item, answer)| {
            item.as_str().len()
                + match answer {
                    Answer::Text(text) => text.len(),
                    Answer::Codes(codes) => codes.len() * 22,
                    Answer::Number(_) | Answer::Boolean(_) => 32,
                }
        });
        // A reason has 2,000 characters at most, of up to 4 bytes.
        let reason = self.amends.as_ref().map_or(0, |amendment| amendment.reason.len());
        ITS_OTHER_PARTS + reason + answers.sum::<usize>()
    }

    pub(crate) fn to_item(&self) -> Item {
        let answers = self.answers.iter().map(|(item, answer)| (item.as_str().to_owned(), answer_to_attribute(answer)));
        let instrument = [
            ("id", text(self.instrument.id.as_str())),
            ("version", text(self.instrument.version.as_str())),
            ("hash", text(&self.instrument.hash)),
        ];
        let mut item = self.key();
        let mut set = |name: &str, value: AttributeValue| item.insert(name.to_owned(), value);
        set("kind", text(KIND));
        set("study", text(self.study.as_str()));
        set("site", text(self.site.as_str()));
        set("patient", text(self.patient.as_str()));
        if let Some(group) = &self.group {
            set("group", text(group.as_str()));
        }
        set("id", text(self.id.to_string()));
        set("instrument", map(instrument));
        set("answers", AttributeValue::M(answers.collect()));
        set("authored_at", instant(self.authored_at));
        // In a form that sorts as the times do, so that the store can leave out what lies outside of a period.
        set("effective_at", text(sortable(self.effective_at)));
        if let Some(ClockNote { skew_seconds, used_received_at }) = self.clock {
            let skew = skew_seconds.map(|skew| ("skew_seconds", number(skew)));
            let used = ("used_received_at", AttributeValue::Bool(used_received_at));
            set("clock", map(skew.into_iter().chain([used])));
        }
        set("received_at", instant(self.received_at));
        set("sub", text(self.principal.sub()));
        set("iss", text(self.principal.iss()));
        set("digest", text(&self.digest));
        set("correlation_id", text(&self.correlation_id));
        set("request_id", text(&self.request_id));
        set("nonce", text(self.nonce.to_string()));
        if let Some((version, hash)) = &self.study_version {
            set("study_version", study_to_attribute(version, hash));
        }
        if let Some(Amendment { of, reason, place }) = &self.amends {
            set("amends", text(of.to_string()));
            set("reason", text(reason));
            set("place", map([("at", text(sortable(place.at))), ("id", text(place.id.to_string()))]));
        }
        if let Some(Device { app, os }) = &self.device {
            let known = [("app", app), ("os", os)];
            set("device", map(known.into_iter().filter_map(|(name, value)| Some((name, text(value.as_ref()?))))));
        }
        if !self.claimed.is_empty() {
            set("claimed", map(self.claimed.iter().map(|(score, value)| (score.as_str(), number(value)))));
        }
        // Both go when it is scored: until then the sparse index holds it.
        set("pending", text(keys::waiting(List::Pending, &self.id.to_string())));
        set("pending_since", text(sortable(self.received_at)));
        item
    }

    pub(crate) fn from_item(item: &Item) -> Result<Self, Unreadable> {
        let reader = Reader(item);
        let instrument = reader.map("instrument")?;
        let place = place_of_chain(reader)?;
        let amends = match (reader.optional_parsed("amends")?, reader.optional_text("reason")?, place) {
            (Some(of), Some(reason), Some(place)) => Some(Amendment { of, reason: reason.to_owned(), place }),
            (None, None, None) => None,
            _ => return Err(unreadable("amends", "does not go with reason and place")),
        };
        let device = reader.optional_map("device")?.map(|device| {
            let part = |name| Ok(device.optional_text(name)?.map(str::to_owned));
            Ok(Device { app: part("app")?, os: part("os")? })
        });
        let submission = Self {
            study: reader.parsed("study")?,
            site: reader.parsed("site")?,
            patient: reader.parsed("patient")?,
            group: reader.optional_parsed("group")?,
            id: reader.parsed("id")?,
            instrument: InstrumentRef {
                id: instrument.parsed("id")?,
                version: instrument.parsed("version")?,
                hash: instrument.text("hash")?.to_owned(),
            },
            answers: answers_from_attributes(reader.map("answers")?)?,
            authored_at: reader.instant("authored_at")?,
            effective_at: in_utc(reader, "effective_at")?,
            clock: reader.optional_map("clock")?.map(clock_from_attributes).transpose()?,
            received_at: reader.instant("received_at")?,
            principal: reader.principal()?,
            digest: reader.text("digest")?.to_owned(),
            correlation_id: reader.text("correlation_id")?.to_owned(),
            request_id: reader.text("request_id")?.to_owned(),
            nonce: reader.parsed("nonce")?,
            study_version: reader.optional_map("study_version")?.map(study_from_attributes).transpose()?,
            amends,
            amended_by: reader.optional_parsed("amended_by")?,
            device: device.transpose()?,
            claimed: reader.optional_map("claimed")?.map(claimed_from_attributes).transpose()?.unwrap_or_default(),
        };
        // Its own words must agree with where it lies, or it would be scored for somebody else.
        if submission.key().iter().any(|(name, value)| item.get(name) != Some(value)) {
            return Err(unreadable(PK, "does not agree with the rest of the item"));
        }
        Ok(submission)
    }
}

impl Score {
    /// What came of `submission`, scored at `scored_at`.
    pub(crate) fn of(
        outcome: &Outcome,
        submission: &Submission,
        study: Option<&Study>,
        scored_at: OffsetDateTime,
        alerts: Vec<(AlertId, RuleId)>,
    ) -> Self {
        let json = |value: Result<Value, serde_json::Error>| value.expect("scores are names and numbers");
        Self {
            scored_at,
            instrument_hash: submission.instrument.hash.clone(),
            study: study.map(|study| (study.version().clone(), study.hash().to_owned())),
            claimed_differs: claimed_differs(&submission.claimed, outcome),
            scores: json(serde_json::to_value(&outcome.scores)),
            not_scored: json(serde_json::to_value(&outcome.not_scored)),
            not_evaluated: json(serde_json::to_value(&outcome.not_evaluated)),
            alerts,
        }
    }

    pub(crate) fn to_attribute(&self) -> AttributeValue {
        let study = self.study.as_ref();
        let study = study.map(|(version, hash)| study_to_attribute(version, hash));
        let score = [
            ("instrument_hash", text(&self.instrument_hash)),
            ("scores", from_json(&self.scores)),
            ("not_scored", from_json(&self.not_scored)),
            ("not_evaluated", from_json(&self.not_evaluated)),
            ("claimed_differs", from_json(&self.claimed_differs)),
            ("alerts", Self::alerts_to_attribute(&self.alerts)),
        ];
        map(score.into_iter().chain(study.map(|study| ("study", study))))
    }

    pub(crate) fn alerts_to_attribute(alerts: &[(AlertId, RuleId)]) -> AttributeValue {
        let alerts = alerts.iter().map(|(id, rule)| map([("id", text(id.to_string())), ("rule", text(rule.as_str()))]));
        AttributeValue::L(alerts.collect())
    }

    /// The score in a submission's item, if it has one.
    pub(crate) fn from_item(item: &Item) -> Result<Option<Self>, Unreadable> {
        let reader = Reader(item);
        let Some(score) = reader.optional_map("score")? else { return Ok(None) };
        let json = |name: &str| {
            let value = score.0.get(name).and_then(to_json);
            value.ok_or_else(|| unreadable(name, "is not what was stored"))
        };
        let alerts = score.list("alerts")?.iter().map(|alert| {
            let alert = alert.as_m().map_err(|_| unreadable("alerts", "holds something else"))?;
            Ok((Reader(alert).parsed("id")?, Reader(alert).parsed("rule")?))
        });
        Ok(Some(Self {
            scored_at: reader.instant("scored_at")?,
            instrument_hash: score.text("instrument_hash")?.to_owned(),
            study: score.optional_map("study")?.map(study_from_attributes).transpose()?,
            scores: json("scores")?,
            not_scored: json("not_scored")?,
            not_evaluated: json("not_evaluated")?,
            // What was scored before anything was claimed does not have it.
            claimed_differs: json("claimed_differs").unwrap_or_else(|_| Value::Array(Vec::new())),
            alerts: alerts.collect::<Result<_, _>>()?,
        }))
    }
}

pub(crate) fn map<'a>(members: impl IntoIterator<Item = (&'a str, AttributeValue)>) -> AttributeValue {
    AttributeValue::M(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn study_to_attribute(version: &StudyVersion, hash: &str) -> AttributeValue {
    map([("version", text(version.as_str())), ("hash", text(hash))])
}

fn study_from_attributes(study: Reader<'_>) -> Result<(StudyVersion, String), Unreadable> {
    Ok((study.parsed("version")?, study.text("hash")?.to_owned()))
}

/// Where the item of a submission stands in its course, as [`Submission::place`] says.
pub(crate) fn place(submission: Reader<'_>) -> Result<Place, Unreadable> {
    match place_of_chain(submission)? {
        Some(place) => Ok(place),
        None => Ok(Place { at: in_utc(submission, "effective_at")?, id: submission.parsed("id")? }),
    }
}

/// The place in the course that a correction takes over; `None` of a submission that corrects nothing.
fn place_of_chain(submission: Reader<'_>) -> Result<Option<Place>, Unreadable> {
    let place = submission.optional_map("place")?;
    place.map(|place| Ok(Place { at: in_utc(place, "at")?, id: place.parsed("id")? })).transpose()
}

fn in_utc(reader: Reader<'_>, name: &str) -> Result<OffsetDateTime, Unreadable> {
    let at = reader.instant(name)?.checked_to_offset(UtcOffset::UTC);
    at.ok_or_else(|| unreadable(name, "is not a time in UTC"))
}

fn clock_from_attributes(clock: Reader<'_>) -> Result<ClockNote, Unreadable> {
    Ok(ClockNote {
        skew_seconds: clock.optional_integer("skew_seconds")?,
        used_received_at: clock.flag("used_received_at")?,
    })
}

/// The claims that are not what was computed; where nothing could be computed every claim differs.
fn claimed_differs(claimed: &Claims, outcome: &Outcome) -> Value {
    let computed = |id: &ScoreId| outcome.scores.iter().find(|score| score.id == *id).map(|score| score.value);
    let differ = claimed.iter().filter(|(id, value)| computed(id) != Some(*value));
    differ.map(|(id, value)| json!({"id": id, "claimed": Number(value)})).collect()
}

fn claimed_from_attributes(claimed: Reader<'_>) -> Result<Claims, Unreadable> {
    let wrong = || unreadable("claimed", "holds something that is no score");
    let score = |(id, value): (&String, &AttributeValue)| {
        let value = value.as_n().map_err(|_| wrong())?;
        Ok((id.parse().map_err(|_| wrong())?, Decimal::from_str_exact(value).map_err(|_| wrong())?))
    };
    claimed.0.iter().map(score).collect()
}

fn answer_to_attribute(answer: &Answer) -> AttributeValue {
    match answer {
        Answer::Number(value) => number(value),
        Answer::Boolean(value) => AttributeValue::Bool(*value),
        Answer::Text(value) => text(value),
        Answer::Codes(codes) => AttributeValue::L(codes.iter().map(number).collect()),
    }
}

fn answers_from_attributes(answers: Reader<'_>) -> Result<Answers, Unreadable> {
    let wrong = || unreadable("answers", "holds something that is no answer");
    answers
        .0
        .iter()
        .map(|(item, value)| {
            let answer = match value {
                AttributeValue::N(value) => Answer::Number(Decimal::from_str_exact(value).map_err(|_| wrong())?),
                AttributeValue::Bool(value) => Answer::Boolean(*value),
                AttributeValue::S(value) => Answer::Text(value.clone()),
                AttributeValue::L(codes) => {
                    let code = |code: &AttributeValue| code.as_n().ok()?.parse().ok();
                    Answer::Codes(codes.iter().map(code).collect::<Option<_>>().ok_or_else(wrong)?)
                }
                _ => return Err(wrong()),
            };
            Ok((item.parse().map_err(|_| wrong())?, answer))
        })
        .collect()
}
