//! Conversion of a definition to a Questionnaire.

use serde_json::{Map, Value as Json, json};

use super::element::{CANONICAL, MAX_DECIMAL_PLACES, MAX_VALUE, MIN_VALUE, WEIGHTS, own_system};
use super::names::{Coding, Names};
use crate::document::{Number, Texts};
use crate::ids::ItemId;
use crate::instruments::Instrument;
use crate::instruments::definition::{Apply, Code, Definition, Item, ItemKind, Operation};

/// The extension with a condition, in the definition's format, that `enableWhen` cannot express.
const ENABLE_WHEN: &str = "urn:epro:fhir:enable-when";

/// `instrument` as a FHIR R4 Questionnaire with the texts in `language` (BCP 47), else in English, else in the first
/// language. Each `linkId` is an item's published name. Each choice has its code, and as its `ordinalValue` its
/// contribution to the score, if there is one.
///
/// The scoring is not included: FHIR R4 cannot express it, and senders of answers do not need it.
pub fn questionnaire(instrument: &Instrument, language: &str) -> Json {
    let definition = instrument.definition();
    let language = [language, "en"].into_iter().find(|tag| definition.title.contains_key(*tag));
    let language = language.or_else(|| definition.title.keys().next().map(String::as_str)).unwrap_or_default();
    let names = Names::of(&definition.id, &definition.version);
    let writer = Writer { instrument, definition, language, names };
    let mut items = Vec::new();
    if let Some(instruction) = writer.text(definition.instruction.as_ref()) {
        items.push(json!({"linkId": "instruction", "type": "display", "text": instruction}));
    }
    items.extend(definition.items.iter().map(|item| writer.item(item)));
    let licence = &definition.licence;
    let notices = [Some(&licence.terms), licence.notice.as_ref(), names.map(|names| &names.notice)];
    let copyright: Vec<&str> = notices.into_iter().flatten().map(String::as_str).collect();
    let mut questionnaire = object(json!({
        "resourceType": "Questionnaire",
        "id": definition.id,
        "url": format!("{CANONICAL}{}", definition.id),
        "version": definition.version,
        "language": language,
        "title": writer.text(Some(&definition.title)),
        "status": "active",
        "subjectType": ["Patient"],
        "copyright": copyright.join(" "),
    }));
    if let Some(names) = names {
        questionnaire.insert("code".to_owned(), json!([names.code]));
    }
    questionnaire.insert("item".to_owned(), Json::Array(items));
    Json::Object(questionnaire)
}

struct Writer<'a> {
    instrument: &'a Instrument,
    definition: &'a Definition,
    language: &'a str,
    names: Option<&'static Names>,
}

impl Writer<'_> {
    fn text(&self, texts: Option<&Texts>) -> Option<String> {
        texts?.get(self.language).cloned()
    }

    fn item(&self, item: &Item) -> Json {
        let mut written = Map::new();
        let mut set = |name: &str, value: Json| written.insert(name.to_owned(), value);
        let mut extensions = Vec::new();
        set("linkId", json!(item.published_name()));
        if let Some(code) = self.names.and_then(|names| names.item_code(&item.id)) {
            set("code", json!([code]));
        }
        let texts: Vec<_> =
            [&item.preface, &item.text].into_iter().filter_map(|text| self.text(text.as_ref())).collect();
        if !texts.is_empty() {
            set("text", json!(texts.join(" ")));
        }
        set("type", json!(kind(item.kind)));
        if item.kind == ItemKind::Codes {
            set("repeats", json!(true));
        }
        if let (ItemKind::Text, Some(most)) = (item.kind, item.max_length) {
            set("maxLength", json!(most));
        }
        let choices = self.choices(item);
        if !choices.is_empty() {
            let weights = self.instrument.weights(&item.id).unwrap_or_default();
            let options = choices.iter().map(|choice| {
                let weight = weights.iter().find(|(code, _)| *code == choice.code).map(|(_, weight)| Number(*weight));
                json!({"valueCoding": self.option(item, choice, weight)})
            });
            set("answerOption", options.collect());
        }
        for (url, bound) in [(MIN_VALUE, item.min), (MAX_VALUE, item.max)] {
            if let Some(bound) = bound {
                let value = if item.kind == ItemKind::Integer { "valueInteger" } else { "valueDecimal" };
                extensions.push(json!({"url": url, value: bound}));
            }
        }
        if let Some(decimals) = item.decimals {
            extensions.push(json!({"url": MAX_DECIMAL_PLACES, "valueInteger": decimals}));
        }
        // FHIR expresses both "not asked" and "optional" as `enableWhen`; in both cases the item need not be asked.
        if let Some(condition) = item.enable_when.as_ref().or(item.needed_when.as_ref()) {
            match self.conditions(condition) {
                Some(Conditions { all, parts }) => {
                    if parts.len() > 1 {
                        set("enableBehavior", json!(if all { "all" } else { "any" }));
                    }
                    set("enableWhen", Json::Array(parts));
                }
                None if item.enable_when.is_none() => {}
                None => {
                    let condition = serde_json::to_string(condition).expect("an operation is names and numbers");
                    extensions.push(json!({"url": ENABLE_WHEN, "valueString": condition}));
                }
            }
        }
        if !extensions.is_empty() {
            set("extension", Json::Array(extensions));
        }
        Json::Object(written)
    }

    fn choices(&self, item: &Item) -> &[Code] {
        item.codes.as_ref().and_then(|list| self.definition.code_lists.get(list)).map_or(&[], Vec::as_slice)
    }

    fn coding(&self, item: &Item, choice: &Code) -> Map<String, Json> {
        let list = item.codes.as_deref().unwrap_or_default();
        object(json!(Coding::own(own_system(&self.definition.id, list), choice.code)))
    }

    /// An answer option with its display and its weight.
    fn option(&self, item: &Item, choice: &Code, weight: Option<Number>) -> Json {
        let mut coding = self.coding(item, choice);
        if let Some(display) = self.text(choice.text.as_ref()) {
            coding.insert("display".to_owned(), json!(display));
        }
        if let Some(weight) = weight {
            coding.insert("extension".to_owned(), json!([{"url": WEIGHTS[0], "valueDecimal": weight}]));
        }
        Json::Object(coding)
    }

    /// The condition as `enableWhen`; `None` if it cannot be expressed.
    fn conditions(&self, operation: &Operation) -> Option<Conditions> {
        let Operation::Apply(apply) = operation else {
            let Operation::Item(item) = operation else { return None };
            return self.comparison(item, "!=", Number(0.into()));
        };
        match apply.as_ref() {
            Apply::Equals(pair) => self.pair(pair, "="),
            Apply::AtLeast(pair) => self.pair(pair, ">="),
            Apply::AtMost(pair) => self.pair(pair, "<="),
            Apply::All(parts) => self.joined(parts, true),
            Apply::Any(parts) => self.joined(parts, false),
            _ => None,
        }
    }

    fn joined(&self, operations: &[Operation], all: bool) -> Option<Conditions> {
        let mut parts = Vec::new();
        for operation in operations {
            let conditions = self.conditions(operation)?;
            if conditions.parts.len() > 1 && conditions.all != all && operations.len() > 1 {
                return None;
            }
            if operations.len() == 1 {
                return Some(conditions);
            }
            parts.extend(conditions.parts);
        }
        Some(Conditions { all, parts })
    }

    fn pair(&self, (of, against): &(Operation, Operation), operator: &str) -> Option<Conditions> {
        match (of, against) {
            (Operation::Item(item), Operation::Constant(number)) => self.comparison(item, operator, *number),
            _ => None,
        }
    }

    /// Coded and boolean answers have no order in FHIR, so that each matching answer is listed.
    fn comparison(&self, id: &ItemId, operator: &str, number: Number) -> Option<Conditions> {
        let item = self.definition.items.iter().find(|item| item.id == *id)?;
        let id = item.published_name();
        let fits = |code: i64| {
            let code = Number(code.into());
            match operator {
                "=" => code == number,
                ">=" => code >= number,
                "<=" => code <= number,
                _ => code != number,
            }
        };
        let parts: Vec<Json> = match item.kind {
            ItemKind::Code => self
                .choices(item)
                .iter()
                // A choice without a number in scores cannot be compared.
                .filter(|choice| !choice.counts_as_missing && !choice.counts_as_not_asked && fits(choice.code))
                .map(|choice| json!({"question": id, "operator": "=", "answerCoding": self.coding(item, choice)}))
                .collect(),
            ItemKind::Boolean => [false, true]
                .into_iter()
                .filter(|yes| fits(i64::from(*yes)))
                .map(|yes| json!({"question": id, "operator": "=", "answerBoolean": yes}))
                .collect(),
            ItemKind::Integer if number.0.is_integer() => {
                vec![json!({"question": id, "operator": operator, "answerInteger": number})]
            }
            ItemKind::Decimal => vec![json!({"question": id, "operator": operator, "answerDecimal": number})],
            ItemKind::Integer | ItemKind::Codes | ItemKind::Text => return None,
        };
        (!parts.is_empty()).then_some(Conditions { all: false, parts })
    }
}

/// Conditions of which all must hold, or any.
struct Conditions {
    all: bool,
    parts: Vec<Json>,
}

fn kind(kind: ItemKind) -> &'static str {
    match kind {
        ItemKind::Code | ItemKind::Codes => "choice",
        ItemKind::Integer => "integer",
        ItemKind::Decimal => "decimal",
        ItemKind::Boolean => "boolean",
        ItemKind::Text => "text",
    }
}

fn object(json: Json) -> Map<String, Json> {
    match json {
        Json::Object(object) => object,
        _ => Map::new(),
    }
}
