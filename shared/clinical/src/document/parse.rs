//! Reading a definition from JSON.

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;

use super::fault::DefinitionFault;
use super::pointer::pointer;
use super::schema::Schema;

/// Parses a document of the format that `schema` describes. Returns the definition and the document itself.
///
/// # Errors
///
/// The first syntax error or mismatch with the format.
pub(crate) fn parse<T: DeserializeOwned>(json: &str, schema: &Schema) -> Result<(T, Value), Vec<DefinitionFault>> {
    let definition = definition(json, schema)?;
    let document = serde_json::from_str(json)
        .map_err(|error| fault(String::new(), &error, "keep one JSON object in the file".into()))?;
    Ok((definition, document))
}

/// Parses the definition in a document of the format that `schema` describes.
///
/// # Errors
///
/// The first syntax error or mismatch with the format.
pub(crate) fn definition<T: DeserializeOwned>(json: &str, schema: &Schema) -> Result<T, Vec<DefinitionFault>> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let place = error.path().iter().fold(String::new(), |parent, segment| match segment {
            Segment::Seq { index } => pointer(&parent, index),
            Segment::Map { key } => pointer(&parent, key),
            // An operation is an enum that is tagged by its key, which is already in the path as a map key.
            Segment::Enum { .. } | Segment::Unknown => parent,
        });
        fault(place, error.inner(), format!("write it in the format of {}", schema.name))
    })
}

fn fault(pointer: String, error: &serde_json::Error, advice: String) -> Vec<DefinitionFault> {
    vec![DefinitionFault { file: None, pointer, code: "form", problem: error.to_string(), advice }]
}

/// Adds the name of the file that the definition was read from to each fault of `parsed`.
///
/// # Errors
///
/// The faults of `parsed`, with the file name.
pub(crate) fn in_file<T>(name: &str, parsed: Result<T, Vec<DefinitionFault>>) -> Result<T, Vec<DefinitionFault>> {
    parsed.map_err(|mut faults| {
        faults.iter_mut().for_each(|fault| fault.file = Some(name.to_owned()));
        faults
    })
}
