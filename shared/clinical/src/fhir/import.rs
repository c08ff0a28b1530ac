//! Conversion of a Questionnaire with weights to the draft of a definition.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use super::element::{MAX_DECIMAL_PLACES, MAX_VALUE, MIN_VALUE, extension, number, weight};
use crate::document::texts::is_language_tag;
use crate::ids::{InstrumentId, InstrumentVersion, ItemId};
use crate::instruments::definition::Definition;

const CALCULATED: &str = "http://hl7.org/fhir/uv/sdc/StructureDefinition/sdc-questionnaire-calculatedExpression";

/// As many questions, choices of one, characters of a text, and bytes of a language tag as a definition may have. A value set can be named by
/// each question and by other value sets, and the text of a group is repeated with each of its questions: without these
/// limits a small file has a draft of any size.
const MOST_QUESTIONS: usize = 500;
const MOST_CHOICES: usize = 200;
const LONGEST_TEXT: usize = 4_000;
const LONGEST_TAG: usize = 35;

/// The draft of a definition.
pub struct Imported {
    /// The definition as formatted JSON, which a person must complete.
    pub definition: String,
    /// What could not be converted and what a person must add, one sentence each.
    pub notes: Vec<String>,
}

/// Why a resource cannot be converted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// The document is not a Questionnaire.
    #[error("the document is not a FHIR resource of the type Questionnaire")]
    NotQuestionnaire,
    /// The Questionnaire has no questions, or only unsupported ones.
    #[error("the Questionnaire has no question that can be converted")]
    NoQuestions,
}

/// Converts a FHIR R4 Questionnaire to the draft of a definition. Weights (`ordinalValue` or `itemWeight`) become
/// codes.
///
/// # Errors
/// `json` is not a Questionnaire with questions that can be converted.
pub fn import(json: &Json) -> Result<Imported, ImportError> {
    let questionnaire = json.as_object().filter(|q| q.get("resourceType") == Some(&json!("Questionnaire")));
    let questionnaire = questionnaire.ok_or(ImportError::NotQuestionnaire)?;
    let language = questionnaire.get("language").and_then(Json::as_str);
    let contained = Contained::of(questionnaire);
    let mut importer = Importer { language: language.unwrap_or("en").to_owned(), contained, ..Importer::default() };
    if importer.language.len() > LONGEST_TAG || !is_language_tag(&importer.language) {
        importer.note("the language is not a tag such as en or zh-Hans; en is used");
        importer.language = "en".to_owned();
    }
    importer.collect(questionnaire, None);
    if importer.items.is_empty() {
        return Err(ImportError::NoQuestions);
    }
    Ok(importer.finish(questionnaire))
}

#[derive(Default)]
struct Importer<'a> {
    language: String,
    contained: Contained<'a>,
    notes: Vec<String>,
    instruction: Option<String>,
    code_lists: Vec<(String, Vec<Json>)>,
    items: Vec<Json>,
    /// The item id of each linkId, with the codes of its choices.
    ids: BTreeMap<String, (String, Rc<Codes>)>,
    /// The distinct codes of choices.
    codes: Vec<Rc<Codes>>,
    taken: BTreeSet<String>,
    /// The items whose choices have weights, with the least and the greatest weight.
    weighted: Vec<(String, i64, i64)>,
}

/// The codes of choices by their codes in the Questionnaire.
type Codes = BTreeMap<String, i64>;

impl<'a> Importer<'a> {
    fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    fn texts(&self, text: &str) -> Json {
        json!({self.language.as_str(): text})
    }

    fn collect(&mut self, parent: &'a Map<String, Json>, preface: Option<&str>) {
        for item in parent.get("item").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_object) {
            let link_id = item.get("linkId").and_then(Json::as_str).unwrap_or("(without linkId)");
            let text = item.get("text").and_then(Json::as_str);
            match item.get("type").and_then(Json::as_str).unwrap_or("group") {
                "display" if self.items.is_empty() && self.instruction.is_none() => {
                    self.instruction = text.map(str::to_owned);
                }
                "display" => self.note(format!("{link_id}: a text between questions is not converted")),
                "group" => {
                    self.lost(item, link_id, "group");
                    let text = text.filter(|text| {
                        let fits = text.chars().count() <= LONGEST_TEXT;
                        if !fits {
                            self.note(format!("{link_id}: its text has more than {LONGEST_TEXT} characters"));
                        }
                        fits
                    });
                    self.collect(item, text.or(preface));
                }
                _ if extension(item, CALCULATED).is_some() || item.get("readOnly") == Some(&json!(true)) => {
                    self.note(format!("{link_id}: is computed, not asked: define it as a score"));
                }
                _ if self.items.len() == MOST_QUESTIONS => {
                    self.note(format!("{link_id}: is beyond the {MOST_QUESTIONS} questions of a definition"));
                }
                kind => {
                    self.question(item, link_id, kind, preface);
                    self.collect(item, preface);
                }
            }
        }
    }

    fn question(&mut self, item: &'a Map<String, Json>, link_id: &str, kind: &str, preface: Option<&str>) {
        let id = self.id(link_id);
        let mut written = object(json!({"id": id}));
        let mut choices = Rc::default();
        let repeats = item.get("repeats") == Some(&json!(true));
        match kind {
            "choice" | "open-choice" => {
                if kind == "open-choice" {
                    self.note(format!("{link_id}: free text beside the choices is not converted"));
                }
                written.insert("type".to_owned(), json!(if repeats { "codes" } else { "code" }));
                match self.contained.choices(item) {
                    Ok(options) => {
                        let (list, map) = self.choices(&options, link_id, &id, repeats);
                        written.insert("codes".to_owned(), json!(list));
                        choices = map;
                    }
                    Err(reason) => {
                        self.note(format!("{link_id}: {reason}; the item is omitted"));
                        return;
                    }
                }
            }
            "integer" | "decimal" => {
                written.insert("type".to_owned(), json!(kind));
                for (name, url) in [("min", MIN_VALUE), ("max", MAX_VALUE)] {
                    match extension(item, url).and_then(number) {
                        Some(bound) => {
                            written.insert(name.to_owned(), decimal_json(bound));
                        }
                        None => self.note(format!(
                            "{link_id}: its {name} is missing: add `{name}` or, if it is a computed score, remove it"
                        )),
                    }
                }
                if kind == "decimal" {
                    let decimals = extension(item, MAX_DECIMAL_PLACES).and_then(Json::as_u64).unwrap_or(2);
                    written.insert("decimals".to_owned(), json!(decimals));
                }
            }
            "boolean" => {
                written.insert("type".to_owned(), json!("boolean"));
            }
            "string" | "text" => {
                written.insert("type".to_owned(), json!("text"));
                if let Some(most) = item.get("maxLength") {
                    written.insert("maxLength".to_owned(), most.clone());
                }
            }
            other => {
                self.note(format!("{link_id}: questions of the type {other} are not converted"));
                return;
            }
        }
        if repeats && !matches!(kind, "choice" | "open-choice") {
            self.note(format!("{link_id}: now allows one answer; only choices can have several"));
        }
        self.ids.insert(link_id.to_owned(), (id, choices));
        if let Some(preface) = preface {
            written.insert("preface".to_owned(), self.texts(preface));
        }
        match item.get("text").and_then(Json::as_str) {
            Some(text) => {
                written.insert("text".to_owned(), self.texts(text));
            }
            None => self.note(format!("{link_id}: has no text: add one")),
        }
        if let Some(condition) = self.enable_when(item, link_id) {
            written.insert("enableWhen".to_owned(), condition);
        }
        if item.contains_key("initial") {
            self.note(format!("{link_id}: an initial answer is not converted: patients answer themselves"));
        }
        self.items.push(Json::Object(written));
    }

    /// Notes the properties of a group that a definition cannot express.
    fn lost(&mut self, item: &Map<String, Json>, link_id: &str, what: &str) {
        for (name, property) in [("enableWhen", "the condition"), ("repeats", "the repetition")] {
            if item.get(name).is_some_and(|value| *value != json!(false)) {
                self.note(format!("{link_id}: {property} of a {what} is not converted"));
            }
        }
    }

    /// The linkId, if it is a valid item id; otherwise its last segment, or a number.
    fn id(&mut self, link_id: &str) -> String {
        let last = link_id.rsplit('/').next().unwrap_or(link_id);
        let numbered = (self.taken.len() + 1).to_string();
        let fits = |id: &&str| id.parse::<ItemId>().is_ok() && !self.taken.contains(*id);
        let id =
            [link_id, last, &numbered].into_iter().find(fits).map_or_else(|| format!("item-{numbered}"), str::to_owned);
        if id != link_id {
            self.note(format!("{link_id}: is the item {id} now"));
        }
        self.taken.insert(id.clone());
        id
    }

    /// The name of the item's code list, and the code of each choice by its code in the Questionnaire.
    fn choices(&mut self, options: &[Choice<'_>], link_id: &str, id: &str, repeats: bool) -> (String, Rc<Codes>) {
        let integer = |weight: Decimal| weight.normalize().to_string().parse::<i64>().ok();
        let weights: Option<Vec<i64>> = options.iter().map(|option| option.weight.and_then(integer)).collect();
        let distinct = |codes: &Vec<i64>| codes.iter().collect::<BTreeSet<_>>().len() == codes.len();
        let as_codes: Option<Vec<i64>> = options.iter().map(|option| option.name.parse().ok()).collect();
        let codes = match (weights.filter(distinct), as_codes.filter(distinct)) {
            (Some(weights), _) => {
                if let (Some(least), Some(most), false) = (weights.iter().min(), weights.iter().max(), repeats) {
                    self.weighted.push((id.to_owned(), *least, *most));
                }
                weights
            }
            (None, Some(codes)) => {
                self.note(format!(
                    "{link_id}: its choices have no weights that can be codes; their numeric codes are used"
                ));
                codes
            }
            (None, None) => {
                self.note(format!(
                    "{link_id}: its choices have no weights that can be codes; they are numbered from 0"
                ));
                (0..).take(options.len()).collect()
            }
        };
        let list: Vec<Json> = options
            .iter()
            .zip(&codes)
            .map(|(option, code)| {
                let text = option.display.unwrap_or(&option.name);
                json!({"code": code, "text": self.texts(text)})
            })
            .collect();
        let map: Codes =
            options.iter().zip(&codes).map(|(option, code)| (option.name.clone().into_owned(), *code)).collect();
        let map = self.codes.iter().find(|known| ***known == map).cloned().unwrap_or_else(|| {
            self.codes.push(Rc::new(map));
            self.codes[self.codes.len() - 1].clone()
        });
        let known = self.code_lists.iter().find(|(_, known)| *known == list).map(|(name, _)| name.clone());
        let name = known.unwrap_or_else(|| {
            let name = format!("list-{}", self.code_lists.len() + 1);
            self.code_lists.push((name.clone(), list));
            name
        });
        (name, map)
    }

    fn enable_when(&mut self, item: &Map<String, Json>, link_id: &str) -> Option<Json> {
        let conditions = item.get("enableWhen")?.as_array()?;
        let written: Option<Vec<Json>> = conditions.iter().map(|condition| self.condition(condition)).collect();
        let Some(mut written) = written else {
            self.note(format!("{link_id}: its condition cannot be converted: write its `enableWhen`"));
            return None;
        };
        let all = item.get("enableBehavior") == Some(&json!("all"));
        if written.len() > 1 {
            return Some(if all { json!({"all": written}) } else { json!({"any": written}) });
        }
        written.pop()
    }

    fn condition(&self, condition: &Json) -> Option<Json> {
        let (id, choices) = self.ids.get(condition.get("question")?.as_str()?)?;
        let answer = condition.as_object()?.iter().find(|(name, _)| name.starts_with("answer"));
        let value = match answer? {
            (_, Json::Bool(yes)) => json!(i64::from(*yes)),
            (_, number @ Json::Number(_)) => number.clone(),
            (_, Json::Object(coding)) => json!(choices.get(coding.get("code")?.as_str()?)?),
            _ => return None,
        };
        Some(match condition.get("operator")?.as_str()? {
            "=" => json!({"equals": [id, value]}),
            ">=" => json!({"atLeast": [id, value]}),
            "<=" => json!({"atMost": [id, value]}),
            _ => return None,
        })
    }

    fn finish(mut self, questionnaire: &Map<String, Json>) -> Imported {
        let text = |name: &str| questionnaire.get(name).and_then(Json::as_str).filter(|text| !text.is_empty());
        let url = text("url").unwrap_or_default();
        let names = [text("id"), text("name"), url.rsplit('/').next(), Some("imported")];
        let id = names.into_iter().flatten().map(slug).find(|name| name.parse::<InstrumentId>().is_ok());
        let version = text("version").filter(|version| version.parse::<InstrumentVersion>().is_ok());
        if version.is_none() {
            self.note("the version does not have the form 1.0.0; 1.0.0 is used");
        }
        if text("copyright").is_none() {
            self.note("the terms of use are missing: complete `licence`");
        }
        self.note("the source of the scoring is missing: cite the publication in `sources`");
        let mut scores = Vec::new();
        let range = self.weighted.iter().try_fold((0_i64, 0_i64), |(all_least, all_most), (_, least, most)| {
            Some((all_least.checked_add(*least)?, all_most.checked_add(*most)?))
        });
        if self.weighted.is_empty() {
            self.note("no choice has a weight: define the `scores`");
        } else if range.is_none() {
            self.note("the weights are too large for a sum: define the `scores`");
        } else if let Some((least, most)) = range {
            let ids: Vec<_> = self.weighted.iter().map(|(id, ..)| id).collect();
            let value = if let [one] = ids.as_slice() { json!(one) } else { json!({"sum": ids}) };
            scores.push(json!({"id": "total", "value": value, "range": [least, most]}));
            self.note(
                "the sum of all items with weights is proposed as `total`: compare it with the published scoring, \
                 especially which items it includes and which are reversed",
            );
        }
        self.note(
            "a Questionnaire has no bands, alert rules or missing-data rules: add `bands`, `rules` and `missing`",
        );
        let mut definition = object(json!({
            "id": id,
            "version": version.unwrap_or("1.0.0"),
            "title": self.texts(text("title").or(text("name")).unwrap_or("Imported questionnaire")),
            "licence": {"terms": text("copyright").unwrap_or("Not specified"), "texts": "included"},
            "sources": [if url.is_empty() { "Not specified" } else { url }],
        }));
        if let Some(instruction) = &self.instruction {
            definition.insert("instruction".to_owned(), self.texts(instruction));
        }
        let lists: Map<String, Json> =
            self.code_lists.into_iter().map(|(name, codes)| (name, Json::Array(codes))).collect();
        if !lists.is_empty() {
            definition.insert("codeLists".to_owned(), Json::Object(lists));
        }
        definition.insert("items".to_owned(), Json::Array(self.items));
        definition.insert("scores".to_owned(), Json::Array(scores));
        let definition = Json::Object(definition);
        // Serialized as a `Definition`, its members have the conventional order.
        let text = match Definition::deserialize(&definition) {
            Ok(definition) => serde_json::to_string_pretty(&definition),
            Err(_) => serde_json::to_string_pretty(&definition),
        };
        Imported { definition: text.expect("names, numbers and texts always serialise"), notes: self.notes }
    }
}

/// A choice of a question.
struct Choice<'a> {
    name: Cow<'a, str>,
    display: Option<&'a str>,
    weight: Option<Decimal>,
}

impl<'a> Choice<'a> {
    fn of_option(option: &'a Map<String, Json>) -> Option<Self> {
        let weighted = |choice: Self| Self { weight: choice.weight.or_else(|| weight(option)), ..choice };
        if let Some(coding) = option.get("valueCoding") {
            return Self::of_coding(coding.as_object()?).map(weighted);
        }
        let name = match (option.get("valueString"), option.get("valueInteger")) {
            (Some(text), _) => Cow::Borrowed(text.as_str()?),
            (None, Some(number)) => Cow::Owned(number.as_i64()?.to_string()),
            (None, None) => return None,
        };
        Some(Self { name, display: None, weight: weight(option) })
    }

    fn of_coding(coding: &'a Map<String, Json>) -> Option<Self> {
        let display = coding.get("display").and_then(Json::as_str);
        let name = coding.get("code").and_then(Json::as_str).or(display)?;
        Some(Self { name: Cow::Borrowed(name), display, weight: weight(coding) })
    }
}

/// The maximum depth at which value sets include one another.
const DEEPEST_VALUE_SET: usize = 8;
/// The maximum number of value sets that the choices of a question are in, each counted as often as it is included.
const MOST_VALUE_SETS: usize = 100;

/// The value sets and code systems that the Questionnaire contains.
#[derive(Default)]
struct Contained<'a> {
    value_sets: Vec<&'a Map<String, Json>>,
    /// How many value sets were read for the current question.
    read: Cell<usize>,
    code_systems: Vec<&'a Map<String, Json>>,
}

impl<'a> Contained<'a> {
    fn of(questionnaire: &'a Map<String, Json>) -> Self {
        let contained = questionnaire.get("contained").and_then(Json::as_array).into_iter().flatten();
        let contained: Vec<_> = contained.filter_map(Json::as_object).collect();
        let of_type = |name: &str| {
            let resources = contained.iter().filter(|resource| text(resource, "resourceType") == Some(name));
            resources.copied().collect()
        };
        Self { value_sets: of_type("ValueSet"), code_systems: of_type("CodeSystem"), read: Cell::new(0) }
    }

    /// The choices of a question.
    ///
    /// # Errors
    /// What is missing, as the end of a sentence about the question.
    fn choices(&self, item: &'a Map<String, Json>) -> Result<Vec<Choice<'a>>, String> {
        let nothing = || "it has no choices that can be converted".to_owned();
        let choices = match (item.get("answerOption").and_then(Json::as_array), text(item, "answerValueSet")) {
            (Some(options), _) => {
                let choices = options.iter().map(|option| Choice::of_option(option.as_object()?));
                choices.collect::<Option<_>>().ok_or_else(nothing)?
            }
            (None, Some(named)) => {
                self.read.set(0);
                self.value_set(named, 0)?
            }
            (None, None) => return Err(nothing()),
        };
        few(&choices)?;
        Some(choices).filter(|choices: &Vec<_>| !choices.is_empty()).ok_or_else(nothing)
    }

    /// The choices of the value set `named`: `#id`, or its canonical URL.
    fn value_set(&self, named: &str, depth: usize) -> Result<Vec<Choice<'a>>, String> {
        let is_named = |set: &&&'a Map<String, Json>| match named.strip_prefix('#') {
            Some(id) => text(set, "id") == Some(id),
            None => is_canonical(set, named),
        };
        self.read.set(self.read.get() + 1);
        if self.read.get() > MOST_VALUE_SETS {
            return Err(format!("its choices are in more than {MOST_VALUE_SETS} value sets"));
        }
        let set = self.value_sets.iter().find(is_named).filter(|_| depth < DEEPEST_VALUE_SET);
        let Some(set) = set else {
            return Err(format!(
                "its choices are in the ValueSet {named}, which is not in the file: add it to `contained` with its codes"
            ));
        };
        let expansion = set.get("expansion").and_then(|expansion| expansion.get("contains")).and_then(Json::as_array);
        if let Some(contains) = expansion {
            let mut choices = Vec::new();
            expanded(contains, &mut choices);
            return Ok(choices);
        }
        let part = |name: &str| {
            let parts = set.get("compose").and_then(|compose| compose.get(name)).and_then(Json::as_array);
            parts.into_iter().flatten().filter_map(Json::as_object)
        };
        let mut choices = Vec::new();
        for include in part("include") {
            choices.extend(self.included(include, named, depth)?);
            few(&choices)?;
        }
        for exclude in part("exclude") {
            let excluded: BTreeSet<_> =
                self.included(exclude, named, depth)?.into_iter().map(|choice| choice.name).collect();
            choices.retain(|choice| !excluded.contains(&choice.name));
        }
        Ok(choices)
    }

    /// The codes of a part of the value set `named`: a list, other value sets, or an entire code system.
    fn included(&self, include: &'a Map<String, Json>, named: &str, depth: usize) -> Result<Vec<Choice<'a>>, String> {
        let list = |name: &str| include.get(name).and_then(Json::as_array);
        if let Some(concepts) = list("concept") {
            return Ok(concepts.iter().filter_map(|concept| Choice::of_coding(concept.as_object()?)).collect());
        }
        if let Some(sets) = list("valueSet") {
            let mut choices = Vec::new();
            for set in sets.iter().filter_map(Json::as_str) {
                choices.extend(self.value_set(set, depth + 1)?);
                few(&choices)?;
            }
            return Ok(choices);
        }
        let system = text(include, "system").unwrap_or("(without a name)");
        let known = self.code_systems.iter().find(|code_system| is_canonical(code_system, system));
        match known.filter(|_| !include.contains_key("filter")) {
            Some(code_system) => {
                let mut choices = Vec::new();
                concepts(code_system, &mut choices);
                Ok(choices)
            }
            None => Err(format!(
                "its choices are codes of {system}, which the ValueSet {named} does not list: give it an `expansion`"
            )),
        }
    }
}

/// Checks that a question has no more choices than a definition may have.
///
/// # Errors
/// It has more; the end of a sentence about the question.
fn few(choices: &[Choice<'_>]) -> Result<(), String> {
    if choices.len() > MOST_CHOICES {
        return Err(format!("it has more than {MOST_CHOICES} choices"));
    }
    Ok(())
}

/// Whether the resource has the canonical URL `named`, and its version if that includes one.
fn is_canonical(resource: &Map<String, Json>, named: &str) -> bool {
    let (url, version) = named.split_once('|').map_or((named, None), |(url, version)| (url, Some(version)));
    text(resource, "url") == Some(url) && version.is_none_or(|version| text(resource, "version") == Some(version))
}

/// The selectable codes of an expansion, in their order.
fn expanded<'a>(contains: &'a [Json], choices: &mut Vec<Choice<'a>>) {
    for coding in contains.iter().filter_map(Json::as_object) {
        let is = |name: &str| coding.get(name) == Some(&json!(true));
        if !is("abstract") && !is("inactive") {
            choices.extend(Choice::of_coding(coding));
        }
        expanded(coding.get("contains").and_then(Json::as_array).map_or(&[], Vec::as_slice), choices);
    }
}

/// The codes of a code system, or of the descendants of a code.
fn concepts<'a>(parent: &'a Map<String, Json>, choices: &mut Vec<Choice<'a>>) {
    for concept in parent.get("concept").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_object) {
        choices.extend(Choice::of_coding(concept));
        concepts(concept, choices);
    }
}

fn text<'a>(element: &'a Map<String, Json>, name: &str) -> Option<&'a str> {
    element.get(name).and_then(Json::as_str)
}

/// `name` in lower case, with `-` for characters that are invalid in ids.
fn slug(name: &str) -> String {
    let kept = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c.to_ascii_lowercase() } else { '-' });
    kept.collect()
}

fn decimal_json(number: Decimal) -> Json {
    serde_json::from_str(&number.normalize().to_string()).unwrap_or(Json::Null)
}

fn object(json: Json) -> Map<String, Json> {
    match json {
        Json::Object(object) => object,
        _ => Map::new(),
    }
}
