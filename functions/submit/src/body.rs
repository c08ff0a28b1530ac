//! The body of a submission: all of it in parsed types, or all of its validation errors.

use std::collections::BTreeMap;

use api::{Problem, ProblemKind};
use clinical::document::{Finding, Findings, NotFound, pointer};
use clinical::ids::{SiteId, SubmissionId};
use clinical::instruments::{Answer, Answers, Catalog, Claims, Instrument};
use clinical::studies::Protocol;
use invocation::rfc3339;
use lambda_http::Request;
use records::{ClockNote, Device, InstrumentRef, sha256_hex};
use serde::Serialize;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::LARGEST_BODY;
use crate::clock::{self, utc};

const LONGEST_DEVICE: usize = 200;
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

/// The instruments that a submission may name.
#[derive(Clone, Copy)]
pub(crate) enum AcceptedInstruments<'a> {
    /// The instruments that the study uses at the site.
    Study(&'a Protocol, &'a SiteId),
    /// The instruments of a catalog, whether the study uses them or not.
    Catalog(&'a Catalog),
}

impl<'a> AcceptedInstruments<'a> {
    pub(crate) fn catalog(self) -> &'a Catalog {
        match self {
            Self::Study(protocol, _) => protocol.catalog(),
            Self::Catalog(catalog) => catalog,
        }
    }
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
    let mut reader = Reader { findings, not_asked: false };
    let Some(object) = json.as_object() else {
        reader.report("", "field.type", "a submission is a JSON object");
        return Err(Rejection { findings: reader.findings, not_asked: None });
    };
    for unknown in object.keys().filter(|key| !FIELDS.contains(&key.as_str())) {
        reader.report(&pointer("", unknown), "field.unknown", "a submission has no such field; remove it");
    }
    let id = reader.id(object);
    let instrument = reader.instrument(object, context.accepted);
    let authored_at = reader.authored_at(object);
    let sent_at = reader.sent_at(object);
    let answers = reader.answers(object, instrument);
    let device = reader.device(object);
    let amends = reader.amends(object, id.as_ref());
    match (id, instrument, authored_at, answers) {
        (Some(id), Some(instrument), Some(authored_at), Some(answers)) if reader.findings.is_empty() => {
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
        (id, ..) => Err(Rejection { not_asked: id.filter(|_| reader.not_asked && is_json), findings: reader.findings }),
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

/// Reads field by field, and continues after a finding.
struct Reader {
    findings: Findings,
    /// Whether the instrument is not accepted.
    not_asked: bool,
}

impl Reader {
    fn report(&mut self, pointer: &str, code: &'static str, detail: impl Into<String>) {
        self.findings.push_with(|| Finding { pointer: pointer.to_owned(), code, detail: detail.into() });
    }

    /// The required string `field`.
    fn required_text<'a>(&mut self, object: &'a Map<String, Value>, field: &str) -> Option<&'a str> {
        let text = self.text(object, "", field);
        if matches!(object.get(field), None | Some(Value::Null)) {
            self.report(&pointer("", field), "field.required", "this field is required");
        }
        text
    }

    /// The optional string `field` of the object at `parent`.
    fn text<'a>(&mut self, object: &'a Map<String, Value>, parent: &str, field: &str) -> Option<&'a str> {
        match object.get(field) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text),
            Some(_) => {
                self.report(&pointer(parent, field), "field.type", "this field must be a string");
                None
            }
        }
    }

    fn id(&mut self, object: &Map<String, Value>) -> Option<SubmissionId> {
        let id = self.required_text(object, "id")?.parse();
        if id.is_err() {
            self.report("/id", "id.not-a-uuid", "the id must be a UUID such as 0192f3a4-7c1e-7b2a-9d4e-5f6a7b8c9d0e");
        }
        id.ok()
    }

    fn instrument<'a>(
        &mut self,
        object: &Map<String, Value>,
        accepted: AcceptedInstruments<'a>,
    ) -> Option<&'a Instrument> {
        let (id, version) = (self.required_text(object, "instrument"), self.required_text(object, "version"));
        let (id, version) = (id?, version?);
        let Ok(id) = id.parse() else {
            self.report("/instrument", "instrument.unknown", "there is no such instrument");
            return None;
        };
        let Ok(version) = version.parse() else {
            self.report("/version", "instrument.version", "a version has three numbers, such as 1.0.0");
            return None;
        };
        let (at_site, of_study) = match accepted {
            AcceptedInstruments::Study(protocol, site) => {
                (protocol.asks(site, &id, &version), protocol.study().is_some())
            }
            AcceptedInstruments::Catalog(_) => (true, false),
        };
        self.not_asked = true;
        match accepted.catalog().find(&id, &version) {
            Ok(instrument) if at_site => {
                self.not_asked = false;
                return Some(instrument);
            }
            Ok(_) => self.report(
                "/instrument",
                "instrument.not-at-site",
                "the study does not ask this instrument at this site",
            ),
            Err(NotFound::Id) => {
                let detail =
                    if of_study { "the study does not ask such an instrument" } else { "there is no such instrument" };
                self.report("/instrument", "instrument.unknown", detail);
            }
            Err(NotFound::Version { known }) => {
                let known: Vec<&str> = known.iter().map(|version| version.as_str()).collect();
                let known = known.join(", ");
                let detail = if of_study {
                    format!("the study does not ask this version of the instrument; it asks {known}")
                } else {
                    format!("the instrument has no such version; it has {known}")
                };
                self.report("/version", "instrument.version-unknown", detail);
            }
        }
        None
    }

    fn authored_at(&mut self, object: &Map<String, Value>) -> Option<OffsetDateTime> {
        let text = self.required_text(object, "authoredAt")?;
        self.time(text, "/authoredAt", ["authored-at.format", "authored-at.range"])
    }

    fn sent_at(&mut self, object: &Map<String, Value>) -> Option<OffsetDateTime> {
        let text = self.text(object, "", "sentAt")?;
        self.time(text, "/sentAt", ["sent-at.format", "sent-at.range"])
    }

    /// The time `text` with its offset. The two codes are for one that is malformed, and for one outside the years 0000
    /// to 9999 in UTC. Any other is accepted, however far in the past or the future, so that a wrong clock loses no
    /// answers.
    fn time(&mut self, text: &str, pointer: &str, [format, range]: [&'static str; 2]) -> Option<OffsetDateTime> {
        let Ok(time) = OffsetDateTime::parse(text, &Rfc3339) else {
            let detail = "this field must be a time with its offset in RFC 3339, such as 2026-11-23T07:58:03+08:00";
            self.report(pointer, format, detail);
            return None;
        };
        if utc(time).is_none() {
            self.report(pointer, range, "the time must be in the years 0000 to 9999 in UTC");
            return None;
        }
        Some(time)
    }

    fn answers(&mut self, object: &Map<String, Value>, instrument: Option<&Instrument>) -> Option<Answers> {
        let answers = match object.get("answers") {
            Some(Value::Object(answers)) => answers,
            None | Some(Value::Null) => {
                self.report("/answers", "field.required", "this field is required");
                return None;
            }
            Some(_) => {
                self.report("/answers", "field.type", "answers must be an object that maps item ids to answers");
                return None;
            }
        };
        match instrument?.check(answers) {
            Ok(answers) => Some(answers),
            Err(findings) => {
                for finding in findings {
                    let pointer = format!("/answers{}", finding.pointer);
                    self.findings.push_with(|| Finding { pointer, ..finding });
                }
                None
            }
        }
    }

    fn device(&mut self, object: &Map<String, Value>) -> Option<Device> {
        let device = match object.get("device") {
            None | Some(Value::Null) => return None,
            Some(Value::Object(device)) => device,
            Some(_) => {
                self.report("/device", "field.type", "a device must be an object with `app` and `os`");
                return None;
            }
        };
        for unknown in device.keys().filter(|key| !["app", "os"].contains(&key.as_str())) {
            self.report(
                &pointer("/device", unknown),
                "field.unknown",
                "a device has only the fields `app` and `os`; remove this one",
            );
        }
        let mut part = |field| {
            let part = self.text(device, "/device", field)?;
            if part.chars().count() > LONGEST_DEVICE {
                let detail = format!("at most {LONGEST_DEVICE} characters");
                self.report(&pointer("/device", field), "field.too-long", detail);
            }
            Some(part.to_owned())
        };
        Some(Device { app: part("app"), os: part("os") })
    }

    fn amends(&mut self, object: &Map<String, Value>, id: Option<&SubmissionId>) -> Option<Correction> {
        let amended = self.text(object, "", "amends");
        let reason = self.text(object, "", "reason").filter(|reason| !reason.trim().is_empty());
        let amended = match amended.map(str::parse::<SubmissionId>) {
            Some(Err(_)) => {
                self.report(
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
            self.report("/amends", "amends.itself", "a correction must have an id of its own");
        }
        if reason.is_some_and(|reason| reason.chars().count() > LONGEST_REASON) {
            self.report("/reason", "field.too-long", format!("at most {LONGEST_REASON} characters"));
        }
        match (amended, reason) {
            (Some(of), Some(reason)) => Some(Correction { of, reason: reason.to_owned() }),
            (Some(_), None) => {
                self.report("/reason", "field.required", "a correction must have a reason");
                None
            }
            (None, Some(_)) if !object.contains_key("amends") || object["amends"].is_null() => {
                self.report(
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
