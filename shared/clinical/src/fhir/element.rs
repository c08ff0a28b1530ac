//! Extensions, weights and numbers of FHIR elements.

use rust_decimal::Decimal;
use serde_json::{Map, Value as Json};

use crate::document::decimal;
use crate::ids::InstrumentId;

/// Where a choice's weight stands: on its coding, or beside it.
pub(super) const WEIGHTS: [&str; 2] =
    ["http://hl7.org/fhir/StructureDefinition/ordinalValue", "http://hl7.org/fhir/StructureDefinition/itemWeight"];
pub(super) const MIN_VALUE: &str = "http://hl7.org/fhir/StructureDefinition/minValue";
pub(super) const MAX_VALUE: &str = "http://hl7.org/fhir/StructureDefinition/maxValue";
pub(super) const MAX_DECIMAL_PLACES: &str = "http://hl7.org/fhir/StructureDefinition/maxDecimalPlaces";
/// What the last part of an instrument's canonical URL follows.
pub(super) const CANONICAL: &str = "urn:epro:questionnaire:";

/// The code system of the choices of the list `list` of the instrument `id`.
pub(super) fn own_system(id: &InstrumentId, list: &str) -> String {
    format!("{CANONICAL}{id}:{list}")
}

/// The value of the extension `url` of `element`: whichever `value[x]` it has.
pub(super) fn extension<'a>(element: &'a Map<String, Json>, url: &str) -> Option<&'a Json> {
    let extensions = element.get("extension")?.as_array()?;
    let extension = extensions.iter().find(|extension| extension.get("url").and_then(Json::as_str) == Some(url))?;
    extension.as_object()?.iter().find(|(key, _)| key.starts_with("value")).map(|(_, value)| value)
}

/// The weight that an extension gives to `element`.
pub(super) fn weight(element: &Map<String, Json>) -> Option<Decimal> {
    WEIGHTS.iter().find_map(|url| number(extension(element, url)?))
}

pub(super) fn number(json: &Json) -> Option<Decimal> {
    json.as_number().and_then(decimal)
}
