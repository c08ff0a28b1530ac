//! Extensions, weights and numbers of FHIR elements.

use rust_decimal::Decimal;
use serde_json::{Map, Value as Json};

use crate::document::decimal;
use crate::ids::InstrumentId;

/// The extensions that hold a choice's weight, either on its coding or beside it.
pub(super) const WEIGHTS: [&str; 2] =
    ["http://hl7.org/fhir/StructureDefinition/ordinalValue", "http://hl7.org/fhir/StructureDefinition/itemWeight"];
pub(super) const MIN_VALUE: &str = "http://hl7.org/fhir/StructureDefinition/minValue";
pub(super) const MAX_VALUE: &str = "http://hl7.org/fhir/StructureDefinition/maxValue";
pub(super) const MAX_DECIMAL_PLACES: &str = "http://hl7.org/fhir/StructureDefinition/maxDecimalPlaces";
/// The prefix of the canonical URLs of instruments, which their id follows.
pub(super) const CANONICAL: &str = "urn:epro:questionnaire:";

/// The native code system of the code list `list` of the instrument `id`.
pub(super) fn own_system(id: &InstrumentId, list: &str) -> String {
    format!("{CANONICAL}{id}:{list}")
}

/// The `value[x]` of the extension `url` of `element`.
pub(super) fn extension<'a>(element: &'a Map<String, Json>, url: &str) -> Option<&'a Json> {
    let extensions = element.get("extension")?.as_array()?;
    let extension = extensions.iter().find(|extension| extension.get("url").and_then(Json::as_str) == Some(url))?;
    extension.as_object()?.iter().find(|(key, _)| key.starts_with("value")).map(|(_, value)| value)
}

/// The weight of `element`, from either extension.
pub(super) fn weight(element: &Map<String, Json>) -> Option<Decimal> {
    WEIGHTS.iter().find_map(|url| number(extension(element, url)?))
}

pub(super) fn number(json: &Json) -> Option<Decimal> {
    json.as_number().and_then(decimal)
}
