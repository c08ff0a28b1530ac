//! The body of a submission: all of it in parsed types, or all of its validation errors.

use std::collections::BTreeMap;

use api::{AcceptedInstruments, Fields, Problem, ProblemKind};
use clinical::document::{Finding, Findings};
use clinical::ids::SubmissionId;
use clinical::instruments::{Answer, Answers, Claims, Instrument};
use invocation::rfc3339;
use lambda_http::Request;
use records::{ClockNote, Device, InstrumentRef, sha256_hex};
use serde::Serialize;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::LARGEST_BODY;
use crate::clock::{self, utc};

const LONGEST_REASON: usize = 2_000;
const FIELDS: [&str; 9] =
    ["id", "instrument", "version", "authoredAt", "sentAt", "answers", "device", "amends", "reason"];

/// A submission as it was sent, validated against its instrument.
pub(crate) struct ParsedSubmission {
    pub(crate) id: SubmissionId,
    pub(crate) instrument: InstrumentRef,
    pub(crate) answers: Answers,
    pub(crate) authored_at: OffsetDateTime,
    /// When the submission counts as completed, and a note where that is not `authored_at`. Not part of the digest,
    /// because a repeat is sent and received at another time.
    pub(crate) effective: (OffsetDateTime, Option<ClockNote>),
    pub(crate) device: Option<Device>,
    pub(crate) amends: Option<Correction>,
    /// The scores that the sender computed. Not part of the digest, because the patient's answers are the same without
    /// them.
    pub(crate) claimed: Claims,
}

/// The submission to correct, and the reason.
pub(crate) struct Correction {
    pub(crate) of: SubmissionId,
    pub(crate) reason: String,
}

/// The context that a submission is read in.
#[derive(Clone, Copy)]
pub(crate) struct SubmissionContext<'a> {
    pub(crate) accepted: AcceptedInstruments<'a>,
    pub(crate) received_at: OffsetDateTime,
}

/// The reasons why a body is not accepted.
pub(crate) struct Rejection {
    pub(crate) findings: Findings,
    /// The submission's id where its instrument is not accepted (any more): the same submission may be stored, from a
    /// time when it was.
    pub(crate) not_asked: Option<SubmissionId>,
}

impl Rejection {
    /// The answer with all findings.
    pub(crate) fn problem(self) -> Problem {
        Problem::new(ProblemKind::Invalid, "the submission is invalid; this request stored nothing")
            .with_errors(self.findings)
    }
}

/// The JSON in the body of `request`, with the findings of the parser.
///
/// # Errors
/// 413, 415, or 422.
pub(crate) fn parse(request: &Request) -> Result<(Value, Findings), Problem> {
    api::body::json(request, LARGEST_BODY)
}

/// Reads `json`, a submission in the native format, and validates it against its instrument. `findings` are those of
/// the parser.
///
/// # Errors
/// All findings, in the order of the parts.
pub(crate) fn read(
    json: &Value,
    findings: Findings,
    context: SubmissionContext<'_>,
) -> Result<ParsedSubmission, Rejection> {
    let is_json = findings.is_empty();
    let mut reader = Reader { fields: Fields::new(findings) };
    let Some(object) = json.as_object() else {
        reader.fields.report("", "field.type", "a submission is a JSON object");
        return Err(Rejection { findings: reader.fields.into_findings(), not_asked: None });
    };
    reader.fields.only(object, "", &FIELDS, "a submission has no such field; remove it");
    let id = reader.id(object);
    let instrument = reader.fields.instrument(object, context.accepted);
    let authored_at = reader.authored_at(object);
    let sent_at = reader.sent_at(object);
    let answers = reader.answers(object, instrument);
    let device = reader.fields.device(object);
    let amends = reader.amends(object, id.as_ref());
    match (id, instrument, authored_at, answers) {
        (Some(id), Some(instrument), Some(authored_at), Some(answers)) if reader.fields.is_clean() => {
            Ok(ParsedSubmission {
                id,
                effective: clock::effective(authored_at, sent_at, context.received_at),
                instrument: InstrumentRef {
                    id: instrument.id().clone(),
                    version: instrument.version().clone(),
                    hash: instrument.hash().to_owned(),
                },
                answers,
                authored_at,
                device,
                amends,
                claimed: Claims::default(),
            })
        }
        (id, ..) => Err(Rejection {
            not_asked: id.filter(|_| reader.fields.is_not_asked() && is_json),
            findings: reader.fields.into_findings(),
        }),
    }
}

impl ParsedSubmission {
    /// The SHA-256 of the canonical body, in hexadecimal. The order of keys, white space, and `null` instead of a
    /// missing answer make no difference to it.
    pub(crate) fn digest(&self) -> String {
        let canonical = Canonical {
            id: self.id.to_string(),
            instrument: self.instrument.id.as_str(),
            version: self.instrument.version.as_str(),
            authored_at: rfc3339(self.authored_at),
            answers: self.answers.iter().map(|(item, answer)| (item.as_str(), CanonicalAnswer::of(answer))).collect(),
            device: self.device.as_ref().map(|device| [device.app.as_deref(), device.os.as_deref()]),
            amends: self.amends.as_ref().map(|Correction { of, reason }| [of.to_string(), reason.clone()]),
        };
        sha256_hex(&serde_json::to_vec(&canonical).expect("names, numbers and texts always serialise"))
    }
}

/// The canonical body. It must never change: the digests of stored submissions were computed from it.
#[derive(Serialize)]
struct Canonical<'a> {
    id: String,
    instrument: &'a str,
    version: &'a str,
    authored_at: String,
    answers: BTreeMap<&'a str, CanonicalAnswer<'a>>,
    device: Option<[Option<&'a str>; 2]>,
    amends: Option<[String; 2]>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum CanonicalAnswer<'a> {
    /// In decimal digits without trailing zeros: 1.50 and 1.5 are the same answer.
    Number(String),
    Boolean(bool),
    Text(&'a str),
    Codes(&'a [i64]),
}

impl<'a> CanonicalAnswer<'a> {
    fn of(answer: &'a Answer) -> Self {
        match answer {
            Answer::Number(number) => Self::Number(number.normalize().to_string()),
            Answer::Boolean(value) => Self::Boolean(*value),
            Answer::Text(text) => Self::Text(text),
            Answer::Codes(codes) => Self::Codes(codes),
        }
    }
}

/// Reads the fields that only submissions have, and continues after a finding.
struct Reader {
    fields: Fields,
}

impl Reader {
    fn id(&mut self, object: &Map<String, Value>) -> Option<SubmissionId> {
        let id = self.fields.required_text(object, "id")?.parse();
        if id.is_err() {
            self.fields.report(
                "/id",
                "id.not-a-uuid",
                "the id must be a UUID such as 0192f3a4-7c1e-7b2a-9d4e-5f6a7b8c9d0e",
            );
        }
        id.ok()
    }

    fn authored_at(&mut self, object: &Map<String, Value>) -> Option<OffsetDateTime> {
        let text = self.fields.required_text(object, "authoredAt")?;
        self.time(text, "/authoredAt", ["authored-at.format", "authored-at.range"])
    }

    fn sent_at(&mut self, object: &Map<String, Value>) -> Option<OffsetDateTime> {
        let text = self.fields.text(object, "", "sentAt")?;
        self.time(text, "/sentAt", ["sent-at.format", "sent-at.range"])
    }

    /// The time `text` with its offset. The two codes are for one that is malformed, and for one outside the years 0000
    /// to 9999 in UTC. Any other is accepted, however far in the past or the future, so that a wrong clock loses no
    /// answers.
    fn time(&mut self, text: &str, pointer: &str, [format, range]: [&'static str; 2]) -> Option<OffsetDateTime> {
        let Ok(time) = OffsetDateTime::parse(text, &Rfc3339) else {
            let detail = "this field must be a time with its offset in RFC 3339, such as 2026-11-23T07:58:03+08:00";
            self.fields.report(pointer, format, detail);
            return None;
        };
        if utc(time).is_none() {
            self.fields.report(pointer, range, "the time must be in the years 0000 to 9999 in UTC");
            return None;
        }
        Some(time)
    }

    fn answers(&mut self, object: &Map<String, Value>, instrument: Option<&Instrument>) -> Option<Answers> {
        let answers = match object.get("answers") {
            Some(Value::Object(answers)) => answers,
            None | Some(Value::Null) => {
                self.fields.report("/answers", "field.required", "this field is required");
                return None;
            }
            Some(_) => {
                self.fields.report("/answers", "field.type", "answers must be an object that maps item ids to answers");
                return None;
            }
        };
        match instrument?.check(answers) {
            Ok(answers) => Some(answers),
            Err(findings) => {
                for finding in findings {
                    let pointer = format!("/answers{}", finding.pointer);
                    self.fields.push(Finding { pointer, ..finding });
                }
                None
            }
        }
    }

    fn amends(&mut self, object: &Map<String, Value>, id: Option<&SubmissionId>) -> Option<Correction> {
        let amended = self.fields.text(object, "", "amends");
        let reason = self.fields.text(object, "", "reason").filter(|reason| !reason.trim().is_empty());
        let amended = match amended.map(str::parse::<SubmissionId>) {
            Some(Err(_)) => {
                self.fields.report(
                    "/amends",
                    "id.not-a-uuid",
                    "this field must be the UUID of the submission that this one corrects",
                );
                return None;
            }
            Some(Ok(amended)) => Some(amended),
            None => None,
        };
        if amended.is_some() && amended.as_ref() == id {
            self.fields.report("/amends", "amends.itself", "a correction must have an id of its own");
        }
        if reason.is_some_and(|reason| reason.chars().count() > LONGEST_REASON) {
            self.fields.report("/reason", "field.too-long", format!("at most {LONGEST_REASON} characters"));
        }
        match (amended, reason) {
            (Some(of), Some(reason)) => Some(Correction { of, reason: reason.to_owned() }),
            (Some(_), None) => {
                self.fields.report("/reason", "field.required", "a correction must have a reason");
                None
            }
            (None, Some(_)) if !object.contains_key("amends") || object["amends"].is_null() => {
                self.fields.report(
                    "/amends",
                    "field.required",
                    "a reason is for corrections: `amends` must name the submission to correct",
                );
                None
            }
            (None, _) => None,
        }
    }
}
