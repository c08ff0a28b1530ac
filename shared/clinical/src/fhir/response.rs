//! Conversion of a QuestionnaireResponse to a submission.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json, json};

use super::coding::{self, Choices};
use super::element::{CANONICAL, number};
use super::names::Names;
use crate::document::Finding;
use crate::ids::{ItemId, ScoreId};
use crate::instruments::Catalog;
use crate::instruments::Claims;
use crate::instruments::Instrument;
use crate::instruments::definition::{Item, ItemKind};

const ROOT: &str = "QuestionnaireResponse";
const FIELDS: [&str; 18] = [
    "resourceType",
    "id",
    "meta",
    "language",
    "text",
    "contained",
    "extension",
    "identifier",
    "basedOn",
    "partOf",
    "questionnaire",
    "status",
    "subject",
    "encounter",
    "authored",
    "author",
    "source",
    "item",
];
const ITEM_FIELDS: [&str; 7] = ["id", "extension", "linkId", "definition", "text", "answer", "item"];
const ANSWER_FIELDS: [&str; 3] = ["id", "extension", "item"];

/// A QuestionnaireResponse converted to the native format of submissions. `findings` list what cannot be converted; the
/// submission then has the rest, so that all validation errors can be returned at once.
pub struct Response {
    /// The body of a submission: `id`, `instrument`, `version`, `authoredAt` and `answers`, as far as they are present.
    pub submission: Json,
    /// The scores that the sender computed. They are only compared with ours.
    pub claimed: Claims,
    /// The validation errors against FHIR R4 and the questionnaire, with FHIRPath expressions.
    pub findings: Vec<Finding>,
    /// The FHIRPath expression of each part of the submission, by its JSON pointer.
    expressions: BTreeMap<String, String>,
}

impl Response {
    /// Converts `json`, with the instrument of `catalog` that its `questionnaire` refers to: as `url|version`, where
    /// the last segment of the URL is the instrument's id, or by the canonical URL of an equivalent questionnaire.
    ///
    /// Only `completed` and `stopped` responses are submissions. `subject`, `author` and `source` are ignored, since
    /// the token identifies the patient.
    pub fn read(json: &Json, catalog: &Catalog) -> Self {
        let mut reader = Reader::default();
        let Some(resource) = json.as_object().filter(|resource| resource.get("resourceType") == Some(&json!(ROOT)))
        else {
            reader.find(
                ROOT,
                "fhir.resource-type",
                "the body must be a FHIR R4 resource of the type QuestionnaireResponse",
            );
            return reader.finish();
        };
        reader.fields(resource, ROOT, &FIELDS);
        reader.status(resource);
        reader.id(resource);
        reader.authored(resource);
        if let Some(asked) = reader.questionnaire(resource, catalog) {
            reader.items(resource, ROOT, &asked);
        }
        reader.finish()
    }

    /// The FHIRPath expression of the part of the submission at `pointer`.
    pub fn expression(&self, pointer: &str) -> String {
        let mut at = pointer;
        loop {
            match (self.expressions.get(at), at.rfind('/')) {
                (Some(expression), _) => return expression.clone(),
                (None, Some(parent)) => at = &at[..parent],
                (None, None) => return ROOT.to_owned(),
            }
        }
    }
}

/// The instrument that a response answers.
struct Asked<'a> {
    instrument: &'a Instrument,
    /// The items by id and by name.
    items: BTreeMap<&'a str, &'a Item>,
    names: Option<&'static Names>,
}

impl<'a> Asked<'a> {
    fn new(instrument: &'a Instrument) -> Self {
        let items = &instrument.definition().items;
        let by_name = items.iter().map(|item| (item.published_name().as_str(), item));
        let items = by_name.chain(items.iter().map(|item| (item.id.as_str(), item))).collect();
        Self { instrument, items, names: Names::of(instrument.id(), instrument.version()) }
    }

    fn item(&self, link_id: &str) -> Option<&'a Item> {
        let named = || self.names?.item(link_id).and_then(|id| self.items.get(id.as_str()));
        self.items.get(link_id).or_else(named).copied()
    }

    fn score(&self, link_id: &str) -> Option<&ScoreId> {
        let scores = &self.instrument.definition().scores;
        let own = scores.iter().map(|score| &score.id).find(|id| id.as_str() == link_id);
        own.or_else(|| self.names?.score(link_id))
    }
}

/// Converts the parts of a response, and continues after a finding.
#[derive(Default)]
struct Reader {
    submission: Map<String, Json>,
    answers: Map<String, Json>,
    answered: BTreeSet<ItemId>,
    claimed: Claims,
    findings: Vec<Finding>,
    expressions: BTreeMap<String, String>,
}

impl Reader {
    fn finish(mut self) -> Response {
        self.submission.insert("answers".to_owned(), Json::Object(self.answers));
        Response {
            submission: Json::Object(self.submission),
            claimed: self.claimed,
            findings: self.findings,
            expressions: self.expressions,
        }
    }

    fn find(&mut self, expression: &str, code: &'static str, detail: impl Into<String>) {
        self.findings.push(Finding { pointer: expression.to_owned(), code, detail: detail.into() });
    }

    fn take(&mut self, field: &str, value: &Json, expression: String) {
        self.submission.insert(field.to_owned(), value.clone());
        self.expressions.insert(format!("/{field}"), expression);
    }

    /// Rejects elements that R4 does not define, and modifiers, which could change the meaning of the rest.
    fn fields(&mut self, element: &Map<String, Json>, at: &str, known: &[&str]) {
        for name in element.keys() {
            if matches!(name.as_str(), "modifierExtension" | "implicitRules") {
                let detail = "it changes the meaning of the resource in an unsupported way; remove it";
                self.find(&format!("{at}.{name}"), "fhir.modifier", detail);
            } else if !known.contains(&name.strip_prefix('_').unwrap_or(name)) {
                let at = if name.bytes().all(|b| b.is_ascii_alphanumeric()) {
                    format!("{at}.{name}")
                } else {
                    at.to_owned()
                };
                self.find(&at, "field.unknown", "FHIR R4 has no such element here; remove it");
            }
        }
    }

    fn status(&mut self, resource: &Map<String, Json>) {
        let at = format!("{ROOT}.status");
        match resource.get("status").map(Json::as_str) {
            Some(Some("completed" | "stopped")) => {}
            None => self.find(&at, "field.required", "this element is required"),
            Some(Some("amended")) => {
                let detail = "an amended response has neither the amended submission nor a reason: send the \
                              correction to /v1/submissions, with `amends` and `reason`";
                self.find(&at, "fhir.status", detail);
            }
            Some(Some("in-progress")) => {
                self.find(&at, "fhir.status", "a response in progress is not accepted: send it once it is completed");
            }
            Some(Some("entered-in-error")) => {
                self.find(
                    &at,
                    "fhir.status",
                    "a response entered in error is not accepted: stored submissions are never deleted",
                );
            }
            Some(_) => self.find(&at, "fhir.status", "must be completed or stopped"),
        }
    }

    /// The business identifier, or the resource's id if there is none.
    fn id(&mut self, resource: &Map<String, Json>) {
        let (value, expression) = match resource.get("identifier") {
            Some(identifier) => (identifier.get("value").unwrap_or(&Json::Null), format!("{ROOT}.identifier.value")),
            None => (resource.get("id").unwrap_or(&Json::Null), format!("{ROOT}.id")),
        };
        match value.as_str().and_then(|value| value.strip_prefix("urn:uuid:")) {
            Some(uuid) => self.take("id", &json!(uuid), expression),
            None => self.take("id", value, expression),
        }
    }

    fn authored(&mut self, resource: &Map<String, Json>) {
        let authored = resource.get("authored").unwrap_or(&Json::Null);
        self.take("authoredAt", authored, format!("{ROOT}.authored"));
    }

    /// The instrument, if it is known. Validation of the submission reports an unknown one.
    fn questionnaire<'a>(&mut self, resource: &Map<String, Json>, catalog: &'a Catalog) -> Option<Asked<'a>> {
        let at = format!("{ROOT}.questionnaire");
        let Some(canonical) = resource.get("questionnaire").and_then(Json::as_str) else {
            self.find(&at, "field.required", "give the questionnaire's canonical URL and version, as url|version");
            self.take("instrument", &Json::Null, at.clone());
            self.take("version", &Json::Null, at);
            return None;
        };
        let (id, version) = match Names::of_questionnaire(canonical) {
            Some(names) => (names.instrument.as_str(), Some(names.version.as_str())),
            None => {
                let (url, version) = canonical.split_once('|').map_or((canonical, None), |(url, v)| (url, Some(v)));
                let id = url.strip_prefix(CANONICAL).unwrap_or_else(|| url.rsplit('/').next().unwrap_or(url));
                (id, version)
            }
        };
        if version.is_none() {
            self.find(&at, "field.required", "give the questionnaire's version too, as url|version");
        }
        self.take("instrument", &json!(id), at.clone());
        self.take("version", &version.map_or(Json::Null, |version| json!(version)), at);
        let instrument = catalog.find(&id.parse().ok()?, &version?.parse().ok()?).ok()?;
        Some(Asked::new(instrument))
    }

    /// The items in `parent`, recursively.
    fn items(&mut self, parent: &Map<String, Json>, at: &str, asked: &Asked<'_>) {
        for (place, item) in self.list(parent, "item", at) {
            let Some(item) = item.as_object() else {
                self.find(&place, "field.type", "an item must be an object");
                continue;
            };
            self.fields(item, &place, &ITEM_FIELDS);
            self.items(item, &place, asked);
            let Some(link_id) = item.get("linkId").and_then(Json::as_str) else {
                self.find(&place, "field.required", "an item must have a `linkId`");
                continue;
            };
            let answers = self.list(item, "answer", &place);
            for (place, answer) in &answers {
                match answer.as_object() {
                    Some(answer) => self.items(answer, place, asked),
                    None => self.find(place, "field.type", "an answer must be an object"),
                }
            }
            let answers: Vec<_> =
                answers.into_iter().filter_map(|(place, answer)| Some((place, answer.as_object()?))).collect();
            if let Some(item) = asked.item(link_id) {
                self.answers(item, &answers, asked);
            } else if let Some(score) = asked.score(link_id) {
                self.claim(score, &answers);
            } else if let Some((place, _)) = answers.first() {
                let detail = "the questionnaire has no question with this linkId";
                self.find(place, "item.unknown", detail);
            }
            // Other items without an answer are groups or displayed texts.
        }
    }

    fn answers(&mut self, item: &Item, answers: &[(String, &Map<String, Json>)], asked: &Asked<'_>) {
        let Some((first, _)) = answers.first() else { return };
        if !self.answered.insert(item.id.clone()) {
            self.find(first, "item.answered-twice", "the question has an answer above; answer it once");
            return;
        }
        let mut read = Vec::new();
        for (place, answer) in answers {
            match self.answer(item, place, answer, asked) {
                Ok(Some(answer)) => read.push(answer),
                Ok(None) => {}
                Err((code, detail)) => self.find(place, code, detail),
            }
        }
        let answer = match item.kind {
            ItemKind::Codes => Some(Json::Array(read)).filter(|codes| codes != &json!([])),
            _ => {
                for (place, _) in &answers[1..] {
                    self.find(place, "item.answers", "the question allows one answer");
                }
                read.into_iter().next()
            }
        };
        if let Some(answer) = answer {
            self.expressions.insert(format!("/answers/{}", item.id), first.clone());
            self.answers.insert(item.id.to_string(), answer);
        }
    }

    /// An answer in the native format; `None` if it has no value.
    fn answer(
        &mut self,
        item: &Item,
        place: &str,
        answer: &Map<String, Json>,
        asked: &Asked<'_>,
    ) -> Result<Option<Json>, (&'static str, String)> {
        let Some((kind, value)) = self.value(answer, place)? else { return Ok(None) };
        let coded = value.as_object();
        let wrong = |expected: &str| Err(("item.type", format!("must be {expected}")));
        Ok(Some(match (item.kind, kind, coded) {
            (ItemKind::Integer | ItemKind::Decimal, "valueInteger" | "valueDecimal", _)
            | (ItemKind::Boolean, "valueBoolean", _)
            | (ItemKind::Text, "valueString", _) => value.clone(),
            (ItemKind::Code | ItemKind::Codes | ItemKind::Boolean, "valueInteger" | "valueDecimal", _) => {
                coding::unambiguous(asked.instrument, item, value)?;
                value.clone()
            }
            (ItemKind::Boolean, "valueCoding", Some(coded)) => {
                coding::yes_or_no(asked.instrument, item, coded, answer)?
            }
            (ItemKind::Code | ItemKind::Codes, "valueCoding", Some(coded)) => {
                Choices::of(asked.instrument, asked.names, item).coded(coded, answer)?
            }
            (ItemKind::Code | ItemKind::Codes, ..) => return wrong("valueCoding, or valueInteger with the code"),
            (ItemKind::Integer, ..) => return wrong("valueInteger"),
            (ItemKind::Decimal, ..) => return wrong("valueDecimal or valueInteger"),
            (ItemKind::Boolean, ..) => return wrong("valueBoolean"),
            (ItemKind::Text, ..) => return wrong("valueString"),
        }))
    }

    /// The `value[x]` of an answer, if it has one.
    fn value<'a>(
        &mut self,
        answer: &'a Map<String, Json>,
        place: &str,
    ) -> Result<Option<(&'a str, &'a Json)>, (&'static str, String)> {
        let (values, others): (Vec<_>, Vec<_>) =
            answer.iter().partition(|(name, _)| name.trim_start_matches('_').starts_with("value"));
        let others = others.into_iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        self.fields(&others, place, &ANSWER_FIELDS);
        let mut values = values.into_iter().filter(|(name, _)| !name.starts_with('_'));
        let value = values.next().map(|(name, value)| (name.as_str(), value));
        match values.next() {
            Some(_) => Err(("fhir.value", "an answer must have only one value[x]".to_owned())),
            None => Ok(value),
        }
    }

    /// A score that the sender computed.
    fn claim(&mut self, score: &ScoreId, answers: &[(String, &Map<String, Json>)]) {
        for (place, answer) in answers {
            let claimed = match self.value(answer, place) {
                Ok(None) => continue,
                Ok(Some(("valueInteger" | "valueDecimal", value))) => number(value),
                Ok(Some(("valueQuantity", value))) => value.get("value").and_then(number),
                Ok(Some(_)) => None,
                Err((code, detail)) => {
                    self.find(place, code, detail);
                    continue;
                }
            };
            match claimed {
                Some(claimed) if self.claimed.insert(score.clone(), claimed).is_none() => {}
                Some(_) => self.find(place, "item.answered-twice", "the score has a value above; give it once"),
                None => self.find(place, "item.type", "a score must be valueInteger, valueDecimal or valueQuantity"),
            }
        }
    }

    /// The members of the list `name` of `element`, each with its FHIRPath expression.
    fn list<'a>(&mut self, element: &'a Map<String, Json>, name: &str, at: &str) -> Vec<(String, &'a Json)> {
        match element.get(name) {
            None => Vec::new(),
            Some(Json::Array(list)) => {
                list.iter().enumerate().map(|(place, member)| (format!("{at}.{name}[{place}]"), member)).collect()
            }
            Some(_) => {
                self.find(&format!("{at}.{name}"), "field.type", "this element must be a list");
                Vec::new()
            }
        }
    }
}
