//! The instruments that ship: finding one by its name, and listing them all (`cargo run -- instruments`).

use std::io;
use std::path::Path;
use std::sync::Arc;

use clinical::document::{DefinitionFault, NotFound};
use clinical::ids::{IdError, InstrumentId, InstrumentVersion};
use clinical::instruments::definition::TextLicence;
use clinical::instruments::{Catalog, Instrument};

use crate::table::{aligned, listed};
use crate::{ReadError, read_text};

/// Characters of an instrument's terms that the table shows.
const LONGEST_TERMS: usize = 100;

/// Why an argument names no usable instrument.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// No instrument has this id.
    #[error("no such instrument ships; `cargo run -- instruments` lists those that do")]
    UnknownInstrument,
    /// What follows the `@` is not a version.
    #[error("the version after the `@` has to be like 1.0.0")]
    MalformedVersion(#[from] IdError),
    /// The instrument does not ship in this version.
    #[error("{id} does not ship in this version, but in {}", versions(known))]
    UnknownVersion {
        /// The instrument.
        id: InstrumentId,
        /// The versions that ship.
        known: Vec<InstrumentVersion>,
    },
    /// The definition's file cannot be read. The source is in the text, because clap prints nothing else.
    #[error("cannot read the file: {0}")]
    Read(io::Error),
    /// The definition has faults.
    #[error("the definition has faults ({}){}", .0.len(), listed(.0))]
    Faulty(Vec<DefinitionFault>),
}

fn versions(versions: &[InstrumentVersion]) -> String {
    versions.iter().map(InstrumentVersion::as_str).collect::<Vec<_>>().join(", ")
}

/// The instrument that an argument names: `phq-9` in its newest version, `phq-9@1.0.0` in this one, or the path of a
/// definition, which has a separator or ends in `.json`.
///
/// # Errors
/// If no such instrument ships, or the definition cannot be read or has faults. All faults are returned.
pub fn resolve(argument: &str) -> Result<Arc<Instrument>, ResolveError> {
    if !(argument.contains(['/', '\\']) || argument.ends_with(".json")) {
        return find(argument).map(Arc::clone);
    }
    let json = read_text(Path::new(argument)).map_err(|ReadError { source, .. }| ResolveError::Read(source))?;
    Instrument::parse_file(argument, &json).map(Arc::new).map_err(ResolveError::Faulty)
}

fn find(argument: &str) -> Result<&'static Arc<Instrument>, ResolveError> {
    let (id, version) = argument.split_once('@').map_or((argument, None), |(id, version)| (id, Some(version)));
    let id = id.parse().map_err(|_| ResolveError::UnknownInstrument)?;
    let newest = Catalog::shipped().latest(&id).ok_or(ResolveError::UnknownInstrument)?;
    let Some(version) = version else { return Ok(newest) };
    Catalog::shipped().find(&id, &version.parse()?).map_err(|not_found| match not_found {
        NotFound::Id => ResolveError::UnknownInstrument,
        NotFound::Version { known } => ResolveError::UnknownVersion { id, known },
    })
}

/// A table of `instruments` with a header: id, version, title, how many items and scores, languages, whether the texts
/// are in the definition, and on what terms it may be used.
pub fn table<'a>(instruments: impl Iterator<Item = &'a Arc<Instrument>>) -> String {
    let header = ["ID", "VERSION", "TITLE", "ITEMS", "SCORES", "LANGUAGES", "TEXTS", "LICENCE BASIS"];
    let mut rows = vec![header.map(str::to_owned)];
    rows.extend(instruments.map(|instrument| row(instrument)));
    aligned(&rows, &[3, 4])
}

fn row(instrument: &Instrument) -> [String; 8] {
    let definition = instrument.definition();
    let title = definition.title.get("en").or(definition.title.values().next());
    let texts = match definition.licence.texts {
        TextLicence::Included => "included",
        TextLicence::NotIncluded => "scoring only",
    };
    [
        definition.id.to_string(),
        definition.version.to_string(),
        title.cloned().unwrap_or_default(),
        definition.items.len().to_string(),
        definition.scores.len().to_string(),
        instrument.languages().collect::<Vec<_>>().join(", "),
        texts.to_owned(),
        shortened(&definition.licence.terms),
    ]
}

/// The text, cut after the last word that the table has room for.
fn shortened(text: &str) -> String {
    let Some((end, _)) = text.char_indices().nth(LONGEST_TERMS) else { return text.to_owned() };
    let words = text[..end].rsplit_once(' ').map_or(&text[..end], |(words, _)| words);
    format!("{words} …")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn an_instrument_is_found_by_its_name_and_by_its_version() {
        for named in ["phq-9", "phq-9@1.0.0"] {
            let found = find(named).unwrap();
            assert_eq!((found.id().as_str(), found.version().as_str()), ("phq-9", "1.0.0"));
        }
        assert_eq!(find("phq-9@2.0.0").unwrap_err().to_string(), "phq-9 does not ship in this version, but in 1.0.0");
        for nothing in ["", "phq", "PHQ-9", "@1.0.0"] {
            assert!(find(nothing).unwrap_err().to_string().starts_with("no such instrument ships"), "{nothing}");
        }
    }

    #[test]
    fn a_definition_is_read_from_its_file_and_all_its_faults_are_reported() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("own.json");
        let path = file.to_str().unwrap();
        let json = find("phq-2").unwrap().json().replace("\"phq-2\"", "\"own-2\"");
        fs::write(&file, &json).unwrap();
        assert_eq!(resolve(path).unwrap().id().as_str(), "own-2");
        assert_eq!(resolve("phq-2").unwrap().id().as_str(), "phq-2");
        fs::write(&file, json.replace("\"range\":[0,6]", "\"range\":[0,5]")).unwrap();
        let error = resolve(path).unwrap_err().to_string();
        assert!(
            error.starts_with("the definition has faults (") && error.contains("own.json: /scores/0/range: "),
            "{error}"
        );
        assert!(resolve("/nowhere/own.json").unwrap_err().to_string().starts_with("cannot read the file: "));
    }

    #[test]
    fn the_table_has_a_line_for_each_instrument_and_aligned_columns() {
        let table = table(Catalog::shipped().iter());
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 1 + Catalog::shipped().iter().count());
        let title = lines[0].find("TITLE").unwrap();
        let licence = lines[0].find("LICENCE").unwrap();
        let phq_9 = lines.iter().find(|line| line.starts_with("phq-9 ")).unwrap();
        assert!(phq_9[title..].starts_with("Patient Health Questionnaire-9"));
        assert!(phq_9[licence..].starts_with("Public domain. ") && phq_9.ends_with(" …"));
        assert_eq!(
            phq_9[..licence].split_whitespace().rev().take(5).collect::<Vec<_>>(),
            ["included", "zh-Hans", "en,", "1", "10"]
        );
        assert!(table.contains("scoring only"));
    }
}
