//! Submissions: completed questionnaires, as they were sent.

use std::fmt;

use aws_sdk_dynamodb::types::AttributeValue;
use clinical::ids::{GroupId, InstrumentId, InstrumentVersion, PatientId, SiteId, StudyId, StudyVersion, SubmissionId};
use clinical::instruments::{Answer, Answers, Claims, Place};
use clinical::studies::Protocol;
use invocation::Principal;
use rust_decimal::Decimal;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::table::attributes::{
    Item, Reader, Unreadable, bytes, digest, instant, map, number, sortable, text, unreadable,
};
use crate::table::keys::{self, PK};
use crate::table::lists::{List, PENDING, PENDING_SINCE};

pub(crate) const KIND: &str = "submission";

/// One completed questionnaire, as it was sent. Written once; only its [`Score`](crate::Score) and
/// [`amended_by`](Self::amended_by) are added later.
#[derive(Clone, Debug, PartialEq)]
pub struct Submission {
    /// The study.
    pub study: StudyId,
    /// The site that the patient belonged to when it was received.
    pub site: SiteId,
    /// The patient.
    pub patient: PatientId,
    /// The patient's group in the study when it was received; `None` if the patient had none.
    pub group: Option<GroupId>,
    /// The id that the app made; the idempotency key.
    pub id: SubmissionId,
    /// The definition that it answers and is scored by.
    pub instrument: InstrumentRef,
    /// The patient's answers.
    pub answers: Answers,
    /// When the patient completed it, by the device's clock, with its offset.
    pub authored_at: OffsetDateTime,
    /// When the patient completed it, in UTC, as far as the clocks can be trusted: `authored_at`, corrected by the
    /// known skew of the device's clock, and never after `received_at`. Courses and periods use it.
    pub effective_at: OffsetDateTime,
    /// Why `effective_at` differs from `authored_at`; `None` where it does not.
    pub clock: Option<ClockNote>,
    /// When it was received, by the server's clock, in UTC.
    pub received_at: OffsetDateTime,
    /// The principal of the access token that it was sent with.
    pub principal: Principal,
    /// SHA-256 of the canonical body, by which a repeat is distinguished from a conflict.
    pub digest: String,
    /// The correlation id of the request that brought it.
    pub correlation_id: String,
    /// Whether the API call that brought it is counted with its score: it brought nothing else.
    pub counts_call: bool,
    /// Random for each attempt of an app, and never returned or logged. The SDK's own repeat of a write is recognised by
    /// it, and opaque ids are derived from it, so that they hold nothing of the patient.
    pub nonce: Uuid,
    /// The version and content hash of the study under which it was accepted; `None` if the study was not stored.
    pub study_version: Option<(StudyVersion, String)>,
    /// The submission that this one corrects, and why.
    pub amends: Option<Amendment>,
    /// The submission that corrects this one. Only the transaction that stores the correction writes it.
    pub amended_by: Option<SubmissionId>,
    /// The device that it was entered on.
    pub device: Option<Device>,
    /// The scores that its sender computed. They are never used: those that differ from the computed ones are recorded.
    pub claimed: Claims,
}

/// A version of an instrument's definition.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InstrumentRef {
    /// The instrument's id, such as `phq-9`.
    pub id: InstrumentId,
    /// The version.
    pub version: InstrumentVersion,
    /// The content hash. A version never changes its content.
    pub hash: String,
}

/// How the effective time of a submission was determined where it is not the time that the device gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockNote {
    /// By how many seconds the device's clock was ahead of the server's when the submission was sent; negative where it
    /// was behind, `None` where the device did not say.
    pub skew_seconds: Option<i64>,
    /// Whether the time of receipt was used, because the device's time lies after it.
    pub used_received_at: bool,
}

/// The submission that a correction is for, and why. The reason, in the patient's words, is not in its `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Amendment {
    /// The corrected submission.
    pub of: SubmissionId,
    /// The reason for the correction.
    pub reason: String,
    /// The place of the first submission of the chain, which the correction takes in the course.
    pub place: Place,
}

impl fmt::Debug for Amendment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Amendment").field("of", &self.of).field("place", &self.place).finish_non_exhaustive()
    }
}

/// The device that a submission was entered on. Its `Debug` is empty, since the app may put anything into it.
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

impl Submission {
    /// Its place in the course: its own, or that of the first submission of the chain that it corrects.
    pub fn place(&self) -> Place {
        let own = Place { at: self.effective_at, id: self.id };
        self.amends.as_ref().map_or(own, |amendment| amendment.place)
    }

    /// Its key in the Records table.
    pub(crate) fn key(&self) -> Item {
        keys::submission(&self.study, &self.patient, &self.id)
    }

    /// Whether it belongs to the data of the study of `protocol`, by the patient's own calendar.
    pub(crate) fn is_in_study(&self, protocol: &Protocol) -> bool {
        let at = self.place().at;
        protocol.has_begun(at.checked_to_offset(self.authored_at.offset()).unwrap_or(at))
    }

    /// An upper bound of the bytes that its item takes in the table.
    pub(crate) fn bytes(&self) -> usize {
        const OTHER_ATTRIBUTES: usize = 4_000;
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
        OTHER_ATTRIBUTES + reason + answers.sum::<usize>()
    }

    pub(crate) fn to_item(&self) -> Item {
        let answers = self.answers.iter().map(|(item, answer)| (item.as_str().to_owned(), answer_to_attribute(answer)));
        let instrument = [
            ("id", text(self.instrument.id.as_str())),
            ("version", text(self.instrument.version.as_str())),
            ("hash", digest(&self.instrument.hash)),
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
        // In a form that sorts as the times do, so that a query can filter by period.
        set("effective_at", text(sortable(self.effective_at)));
        if let Some(ClockNote { skew_seconds, used_received_at }) = self.clock {
            let skew = skew_seconds.map(|skew| ("skew_seconds", number(skew)));
            let used = ("used_received_at", AttributeValue::Bool(used_received_at));
            set("clock", map(skew.into_iter().chain([used])));
        }
        set("received_at", instant(self.received_at));
        set("sub", text(self.principal.sub()));
        set("iss", text(self.principal.iss()));
        set("digest", digest(&self.digest));
        set("correlation_id", text(&self.correlation_id));
        if self.counts_call {
            set("counts_call", AttributeValue::Bool(true));
        }
        set("nonce", bytes(self.nonce.as_bytes()));
        if let Some((version, hash)) = &self.study_version {
            set("study_version", map([("version", text(version.as_str())), ("hash", digest(hash))]));
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
        // The transaction that scores it removes both; until then it is in the sparse index. All that the patient has sent
        // is in one shard: sweep works shards off side by side, and each of them in order.
        set(PENDING, text(List::Pending.key_of(&keys::patient(&self.study, &self.patient))));
        set(PENDING_SINCE, text(sortable(self.received_at)));
        item
    }

    pub(crate) fn from_item(item: &Item) -> Result<Self, Unreadable> {
        let reader = Reader(item);
        let instrument = InstrumentRef::from_reader(reader)?;
        let place = place_of_chain(reader)?;
        let amends = match (reader.optional_parsed("amends")?, reader.optional_text("reason")?, place) {
            (Some(of), Some(reason), Some(place)) => Some(Amendment { of, reason: reason.to_owned(), place }),
            (None, None, None) => None,
            _ => return Err(unreadable("amends", "is not together with reason and place")),
        };
        let device = reader.optional_map("device")?.map(|device| {
            Ok(Device { app: device.optional_owned_text("app")?, os: device.optional_owned_text("os")? })
        });
        let submission = Self {
            study: reader.parsed("study")?,
            site: reader.parsed("site")?,
            patient: reader.parsed("patient")?,
            group: reader.optional_parsed("group")?,
            id: reader.parsed("id")?,
            instrument,
            answers: answers_from_reader(reader.map("answers")?)?,
            authored_at: reader.instant("authored_at")?,
            effective_at: reader.instant_in_utc("effective_at")?,
            clock: reader.optional_map("clock")?.map(clock_from_reader).transpose()?,
            received_at: reader.instant("received_at")?,
            principal: reader.principal()?,
            digest: reader.digest("digest")?,
            correlation_id: reader.text("correlation_id")?.to_owned(),
            counts_call: reader.is_set("counts_call")?,
            nonce: reader.uuid("nonce")?,
            study_version: reader.optional_map("study_version")?.map(study_from_reader).transpose()?,
            amends,
            amended_by: reader.optional_parsed("amended_by")?,
            device: device.transpose()?,
            claimed: reader.optional_map("claimed")?.map(claimed_from_reader).transpose()?.unwrap_or_default(),
        };
        // Its attributes must agree with its key, or it would be scored for another patient.
        if submission.key().iter().any(|(name, value)| item.get(name) != Some(value)) {
            return Err(unreadable(PK, "does not agree with the other attributes"));
        }
        Ok(submission)
    }
}

impl InstrumentRef {
    /// The one that a submission's item names.
    pub(crate) fn from_reader(submission: Reader<'_>) -> Result<Self, Unreadable> {
        let instrument = submission.map("instrument")?;
        Ok(Self {
            id: instrument.parsed("id")?,
            version: instrument.parsed("version")?,
            hash: instrument.digest("hash")?,
        })
    }
}

fn study_from_reader(study: Reader<'_>) -> Result<(StudyVersion, String), Unreadable> {
    Ok((study.parsed("version")?, study.digest("hash")?))
}

/// The place of a submission's item in its course, as [`Submission::place`] gives it.
pub(crate) fn place(submission: Reader<'_>) -> Result<Place, Unreadable> {
    match place_of_chain(submission)? {
        Some(place) => Ok(place),
        None => Ok(Place { at: submission.instant_in_utc("effective_at")?, id: submission.parsed("id")? }),
    }
}

/// The place in the course that a correction takes over; `None` for a submission that corrects nothing.
fn place_of_chain(submission: Reader<'_>) -> Result<Option<Place>, Unreadable> {
    let place = submission.optional_map("place")?;
    place.map(|place| Ok(Place { at: place.instant_in_utc("at")?, id: place.parsed("id")? })).transpose()
}

fn clock_from_reader(clock: Reader<'_>) -> Result<ClockNote, Unreadable> {
    Ok(ClockNote {
        skew_seconds: clock.optional_integer("skew_seconds")?,
        used_received_at: clock.flag("used_received_at")?,
    })
}

fn claimed_from_reader(claimed: Reader<'_>) -> Result<Claims, Unreadable> {
    let wrong = || unreadable("claimed", "holds a value that is not a score");
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

fn answers_from_reader(answers: Reader<'_>) -> Result<Answers, Unreadable> {
    let wrong = || unreadable("answers", "holds a value that is not an answer");
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

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::Value;
    use time::macros::datetime;

    use super::*;
    use crate::items::acknowledgement::Acknowledgement;
    use crate::items::quarantine::Quarantined;
    use crate::items::score::Score;
    use crate::items::stream::{Batch, Record};

    /// A submission with an answer of each kind; the text and the reason have `length` characters each.
    pub(crate) fn submission(length: usize) -> Submission {
        let answers = [
            ("number", Answer::Number(Decimal::new(75, 1))),
            ("boolean", Answer::Boolean(true)),
            ("text", Answer::Text("é".repeat(length))),
            ("codes", Answer::Codes((1_000_000..1_000_000 + length as i64).collect())),
        ];
        let of: SubmissionId = Uuid::from_u128(6).into();
        Submission {
            study: "DEMO".parse().unwrap(),
            site: "S01".parse().unwrap(),
            patient: "P-1".parse().unwrap(),
            group: Some("women".parse().unwrap()),
            id: Uuid::from_u128(7).into(),
            instrument: InstrumentRef {
                id: "phq-9".parse().unwrap(),
                version: "1.0.0".parse().unwrap(),
                hash: "0".repeat(64),
            },
            answers: answers.into_iter().map(|(item, answer)| (item.parse().unwrap(), answer)).collect(),
            authored_at: datetime!(2026-11-01 09:00 +1),
            effective_at: datetime!(2026-11-01 08:00 UTC),
            clock: Some(ClockNote { skew_seconds: Some(-3), used_received_at: true }),
            received_at: datetime!(2026-11-01 08:00:01 UTC),
            principal: Principal::new("subject-1", "https://issuer.example").unwrap(),
            digest: "1".repeat(64),
            correlation_id: "c-1".to_owned(),
            counts_call: true,
            nonce: Uuid::from_u128(8),
            study_version: Some(("1.0.0".parse().unwrap(), "2".repeat(64))),
            amends: Some(Amendment {
                of,
                reason: "é".repeat(length),
                place: Place { at: datetime!(2026-10-31 08:00 UTC), id: of },
            }),
            amended_by: None,
            device: Some(Device { app: Some("ePRO 3.1".to_owned()), os: Some("Android 17".to_owned()) }),
            claimed: Claims::from_iter([("total".parse().unwrap(), Decimal::from(5))]),
        }
    }

    #[test]
    fn a_submission_survives_being_stored() {
        let submission = submission(10);
        assert_eq!(Submission::from_item(&submission.to_item()), Ok(submission));
    }

    #[test]
    fn all_that_waits_of_a_patient_is_in_one_shard_and_patients_are_in_several() {
        let shards = |submissions: Vec<Submission>| {
            let of = submissions.into_iter().map(|one| one.to_item()[PENDING].as_s().unwrap().clone());
            of.collect::<std::collections::BTreeSet<String>>()
        };
        let of_patient = (0..100).map(|id| Submission { id: Uuid::from_u128(id).into(), ..submission(1) });
        assert_eq!(shards(of_patient.collect()).len(), 1);
        let of_all =
            (0..100).map(|number| Submission { patient: format!("P-{number}").parse().unwrap(), ..submission(1) });
        assert_eq!(shards(of_all.collect()).len(), 8);
    }

    /// The bytes of an attribute, by DynamoDB's rules for the size of an item.
    fn bytes_of(value: &AttributeValue) -> usize {
        match value {
            AttributeValue::S(text) => text.len(),
            AttributeValue::N(digits) => digits.len().div_ceil(2) + 2,
            AttributeValue::L(list) => 3 + list.iter().map(|value| 1 + bytes_of(value)).sum::<usize>(),
            AttributeValue::M(map) => {
                3 + map.iter().map(|(name, value)| 1 + name.len() + bytes_of(value)).sum::<usize>()
            }
            AttributeValue::B(bytes) => bytes.as_ref().len(),
            _ => 1,
        }
    }

    #[test]
    fn the_bytes_of_a_submission_are_an_upper_bound_and_not_far_above() {
        for length in [1, 10, 500, 2_000] {
            let submission = submission(length);
            let item: usize = submission.to_item().iter().map(|(name, value)| name.len() + bytes_of(value)).sum();
            let bound = submission.bytes();
            assert!((item..item + 4_000 + length * 22).contains(&bound), "{length}: {bound} for {item}");
        }
    }

    #[test]
    fn promise_10_nothing_that_a_patient_or_a_clinician_wrote_is_in_debug_output() {
        let mut submission = submission(1);
        if let Some(amendment) = &mut submission.amends {
            amendment.reason = "a private reason".to_owned();
        }
        let debug = format!("{submission:?}");
        assert!(debug.contains("Amendment { of: ") && debug.contains("Device(..)"), "{debug}");
        for private in ["P-1", "private", "Android", "subject-1", "7.5", "é"] {
            assert!(!debug.contains(private), "{private}: {debug}");
        }
        let (at, note) = (datetime!(2026-11-01 08:00 UTC), Some("a private note".to_owned()));
        let acknowledgement = Acknowledgement { by: "clinician-1".to_owned(), at, note };
        let debug = format!("{acknowledgement:?}");
        assert!(debug.contains("clinician-1") && !debug.contains("private"), "{debug}");
        let record = serde_json::json!({"dynamodb": {"SequenceNumber": "17", "NewImage": "private"}});
        let text = serde_json::value::to_raw_value(&record).unwrap();
        let quarantined = Quarantined { record: Record::new(&text), reason: "it has no answers" };
        let debug = format!("{quarantined:?}");
        assert_eq!(debug, r#"Quarantined { id: "17", reason: "it has no answers", .. }"#);
        assert_eq!(format!("{:?}", Record::new(&text)), r#"Record { id: "17", .. }"#);
        assert_eq!(format!("{:?}", Batch(Some(vec![text]))), "Batch { records: Some(1), .. }");
        let score = Score {
            scored_at: at,
            scores: serde_json::json!([{"id": "total", "value": 23}]),
            not_scored: Value::Null,
            not_evaluated: Value::Null,
            claimed_differs: Value::Null,
            alerts: Vec::new(),
        };
        let debug = format!("{score:?}");
        assert!(debug.starts_with("Score { scored_at: ") && !debug.contains("23"), "{debug}");
    }

    #[test]
    fn a_record_is_quarantined_with_its_payload_up_to_the_size_of_an_item() {
        let to_item = |bytes: usize| {
            // Two quotation marks.
            let record = Value::String("x".repeat(bytes - 2));
            let text = serde_json::value::to_raw_value(&record).unwrap();
            let quarantined = Quarantined { record: Record::new(&text), reason: "it is large" };
            quarantined.to_item(datetime!(2026-11-01 08:00 UTC)).is_some()
        };
        assert_eq!([390 * 1024 - 1, 390 * 1024, 390 * 1024 + 1].map(to_item), [true, true, false]);
    }
}
