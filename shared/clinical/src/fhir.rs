//! HL7 FHIR R4: a submission and a definition in the words of health records.
//!
//! A `QuestionnaireResponse` becomes what the app's own submission says, so that one check and one store serve both; a
//! definition becomes a `Questionnaire`, and a `Questionnaire` with weights the draft of a definition. Names that others
//! gave to items and choices, such as those of LOINC, are data: one file an instrument, in the folder `fhir`.

mod coding;
mod import;
mod names;
mod questionnaire;
mod response;

pub use import::{Imported, import};
pub use questionnaire::questionnaire;
pub use response::Response;

use rust_decimal::Decimal;
use serde_json::{Map, Value as Json};

use crate::ids::InstrumentId;
use crate::outcome;

/// Where a choice's weight stands: on its coding, or beside it.
const WEIGHTS: [&str; 2] =
    ["http://hl7.org/fhir/StructureDefinition/ordinalValue", "http://hl7.org/fhir/StructureDefinition/itemWeight"];
const MIN_VALUE: &str = "http://hl7.org/fhir/StructureDefinition/minValue";
const MAX_VALUE: &str = "http://hl7.org/fhir/StructureDefinition/maxValue";
const MAX_DECIMAL_PLACES: &str = "http://hl7.org/fhir/StructureDefinition/maxDecimalPlaces";
/// What the last part of an instrument's canonical URL follows.
const CANONICAL: &str = "urn:epro:questionnaire:";

/// The code system of the choices of the list `list` of the instrument `id`.
fn own_system(id: &InstrumentId, list: &str) -> String {
    format!("{CANONICAL}{id}:{list}")
}

/// The value of the extension `url` of `element`: whichever `value[x]` it has.
fn extension<'a>(element: &'a Map<String, Json>, url: &str) -> Option<&'a Json> {
    let extensions = element.get("extension")?.as_array()?;
    let extension = extensions.iter().find(|extension| extension.get("url").and_then(Json::as_str) == Some(url))?;
    extension.as_object()?.iter().find(|(key, _)| key.starts_with("value")).map(|(_, value)| value)
}

/// The weight that an extension gives to `element`.
fn weight(element: &Map<String, Json>) -> Option<Decimal> {
    WEIGHTS.iter().find_map(|url| number(extension(element, url)?))
}

fn number(json: &Json) -> Option<Decimal> {
    json.as_number().and_then(outcome::decimal)
}
