//! Reading a definition from JSON.

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;

use super::fault::DefinitionFault;
use super::pointer::pointer;
use super::schema::Schema;

/// Reads a document in the form that `schema` describes: what it defines, and the document itself.
///
/// # Errors
///
/// The first fault of its form.
pub(crate) fn parse<T: DeserializeOwned>(json: &str, schema: &Schema) -> Result<(T, Value), Vec<DefinitionFault>> {
    let fault = |pointer: String, error: &serde_json::Error, advice: String| {
        vec![DefinitionFault { file: None, pointer, code: "form", problem: error.to_string(), advice }]
    };
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let definition = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let place = error.path().iter().fold(String::new(), |parent, segment| match segment {
            Segment::Seq { index } => pointer(&parent, index),
            Segment::Map { key } => pointer(&parent, key),
            // An operation is an enum by its key, which the path has already as that.
            Segment::Enum { .. } | Segment::Unknown => parent,
        });
        fault(place, error.inner(), format!("write it as {} says", schema.name))
    })?;
    let document = serde_json::from_str(json)
        .map_err(|error| fault(String::new(), &error, "keep one JSON object in the file".into()))?;
    Ok((definition, document))
}

/// `parsed`, whose faults carry the name of the file that the definition was read from.
///
/// # Errors
///
/// Those of `parsed`.
pub(crate) fn in_file<T>(name: &str, parsed: Result<T, Vec<DefinitionFault>>) -> Result<T, Vec<DefinitionFault>> {
    parsed.map_err(|mut faults| {
        faults.iter_mut().for_each(|fault| fault.file = Some(name.to_owned()));
        faults
    })
}
