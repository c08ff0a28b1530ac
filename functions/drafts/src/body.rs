//! The body of a draft, and that of the answer.

use std::collections::BTreeMap;

use api::{AcceptedInstruments, Fields, Problem, ProblemKind};
use clinical::document::{Finding, Findings};
use clinical::ids::{SiteId, SubmissionId};
use clinical::instruments::Instrument;
use clinical::studies::Protocol;
use invocation::rfc3339;
use records::{Device, Draft};
use serde::Serialize;
use serde_json::{Map, Value};

const FIELDS: [&str; 5] = ["id", "instrument", "version", "answers", "device"];

/// A questionnaire as far as it is known. Its JSON is stored, and is the same text for the same content: the order of
/// keys, white space, and `null` instead of a missing answer make no difference to it.
#[derive(Serialize)]
pub(crate) struct Content<'a> {
    instrument: &'a str,
    version: &'a str,
    answers: BTreeMap<&'a str, &'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<DeviceBody>,
}

#[derive(Serialize)]
struct DeviceBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    app: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    os: Option<String>,
}

impl<'a> Content<'a> {
    /// Reads `json`, the body of the draft `id`. Answers are validated by their types only. `findings` are those of the
    /// parser.
    ///
    /// # Errors
    /// 422 with all findings.
    pub(crate) fn read(
        json: &'a Value,
        findings: Findings,
        id: SubmissionId,
        (protocol, site): (&'a Protocol, &'a SiteId),
    ) -> Result<Self, Problem> {
        let mut fields = Fields::new(findings);
        let content = match json.as_object() {
            None => {
                fields.report("", "field.type", "a draft is a JSON object");
                None
            }
            Some(object) => Self::of(object, &mut fields, id, AcceptedInstruments::Study(protocol, site)),
        };
        match content {
            Some(content) if fields.is_clean() => Ok(content),
            _ => {
                let detail = "the draft is invalid; nothing was stored";
                Err(Problem::new(ProblemKind::Invalid, detail).with_errors(fields.into_findings()))
            }
        }
    }

    /// `None` only where there is a finding.
    fn of(
        object: &'a Map<String, Value>,
        fields: &mut Fields,
        id: SubmissionId,
        accepted: AcceptedInstruments<'a>,
    ) -> Option<Self> {
        fields.only(object, "", &FIELDS, "a draft has no such field; remove it");
        if fields.text(object, "", "id").is_some_and(|named| named.parse() != Ok(id)) {
            fields.report("/id", "id.other", "it must be the id in the path of the request");
        }
        let instrument = fields.instrument(object, accepted);
        let answers = answers(object, fields, instrument);
        let device = fields.device(object).map(|Device { app, os }| DeviceBody { app, os });
        let instrument = instrument?;
        let (instrument, version) = (instrument.id().as_str(), instrument.version().as_str());
        Some(Self { instrument, version, answers, device })
    }

    /// The text that is stored.
    pub(crate) fn text(&self) -> String {
        serde_json::to_string(self).expect("maps with string keys always serialise")
    }
}

/// The answers so far; empty where there is a finding.
fn answers<'a>(
    object: &'a Map<String, Value>,
    fields: &mut Fields,
    instrument: Option<&Instrument>,
) -> BTreeMap<&'a str, &'a Value> {
    let answers = match object.get("answers") {
        None | Some(Value::Null) => return BTreeMap::new(),
        Some(Value::Object(answers)) => answers,
        Some(_) => {
            fields.report("/answers", "field.type", "answers must be an object that maps item ids to answers");
            return BTreeMap::new();
        }
    };
    for finding in instrument.and_then(|instrument| instrument.check_types(answers).err()).into_iter().flatten() {
        fields.push(Finding { pointer: format!("/answers{}", finding.pointer), ..finding });
    }
    answers.iter().filter(|(_, answer)| !answer.is_null()).map(|(item, answer)| (item.as_str(), answer)).collect()
}

/// What is answered to a put: all but what the app has sent itself.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Receipt {
    id: String,
    changed_at: String,
    expires_at: String,
}

impl Receipt {
    pub(crate) fn of(draft: &Draft) -> Self {
        Self { id: draft.id.to_string(), changed_at: rfc3339(draft.changed_at), expires_at: rfc3339(draft.expires_at) }
    }
}

/// A draft as it is read.
#[derive(Serialize)]
pub(crate) struct DraftBody {
    #[serde(flatten)]
    receipt: Receipt,
    #[serde(flatten)]
    content: Map<String, Value>,
}

impl DraftBody {
    /// The draft as it is stored; `None` if its content is no JSON object.
    pub(crate) fn of(draft: &Draft) -> Option<Self> {
        Some(Self { receipt: Receipt::of(draft), content: serde_json::from_str(&draft.content).ok()? })
    }
}
