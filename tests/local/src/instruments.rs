//! `cargo run -- instruments`: the instruments that there are, for a person.

use std::{fs, sync::Arc};

use clinical::{
    catalog::{Catalog, NotFound},
    definition::TextLicence,
    ids::InstrumentVersion,
    instrument::Instrument,
};

/// As much of the terms as a table shows, in characters.
const LONGEST_TERMS: usize = 100;

/// The instrument that `named` names: `phq-9` in its newest version, `phq-9@1.0.0` in that one.
///
/// # Errors
/// What a person reads where there is none.
fn find(named: &str) -> Result<&'static Arc<Instrument>, String> {
    let nothing = || "there is no such instrument; `cargo run -- instruments` lists them".to_owned();
    let (id, version) = named.split_once('@').map_or((named, None), |(id, version)| (id, Some(version)));
    let id = id.parse().map_err(|_| nothing())?;
    let newest = Catalog::shipped().latest(&id).ok_or_else(nothing)?;
    let Some(version) = version else { return Ok(newest) };
    let version = version.parse().map_err(|_| "a version is written like 1.0.0".to_owned())?;
    Catalog::shipped().find(&id, &version).map_err(|not_found| match not_found {
        NotFound::Instrument => nothing(),
        NotFound::Version { known } => {
            let known: Vec<_> = known.iter().map(InstrumentVersion::as_str).collect();
            format!("{id} is not there in this version, but in {}", known.join(", "))
        }
    })
}

/// The instrument that `named` names, as [`find`] does, or the one whose definition is in the file of this path.
///
/// # Errors
/// What a person reads where there is none, or where the definition has faults: all of them.
pub fn named(named: &str) -> Result<Arc<Instrument>, String> {
    if !(named.contains(['/', '\\']) || named.ends_with(".json")) {
        return find(named).map(Arc::clone);
    }
    let json = fs::read_to_string(named).map_err(|error| format!("cannot read the file: {error}"))?;
    let instrument = Instrument::parse_file(named, &json).map_err(|faults| {
        let told: String = faults.iter().map(|fault| format!("\n  {fault}")).collect();
        format!("the definition has faults ({}){told}", faults.len())
    })?;
    Ok(Arc::new(instrument))
}

/// The `instruments` in a table with a head: id, version, title, how many items and scores, languages, whether the texts
/// are in the definition, and on what terms it may be used.
pub fn table<'a>(instruments: impl Iterator<Item = &'a Arc<Instrument>>) -> String {
    let head = ["ID", "VERSION", "TITLE", "ITEMS", "SCORES", "LANGUAGES", "TEXTS", "LICENCE BASIS"];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(instruments.map(|instrument| row(instrument)));
    let mut widths = [0; 8];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let lines = rows.iter().map(|row| {
        let cells = row.iter().zip(widths).enumerate().map(|(column, (cell, width))| match column {
            // Numbers end together.
            3 | 4 => format!("{cell:>width$}"),
            _ => format!("{cell:<width$}"),
        });
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    });
    lines.collect()
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

/// The text, or as many of its first words as the table has room for.
fn shortened(text: &str) -> String {
    let Some((end, _)) = text.char_indices().nth(LONGEST_TERMS) else { return text.to_owned() };
    let words = text[..end].rsplit_once(' ').map_or(&text[..end], |(words, _)| words);
    format!("{words} …")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instrument_is_found_by_its_name_and_by_its_version() {
        for named in ["phq-9", "phq-9@1.0.0"] {
            let found = find(named).unwrap();
            assert_eq!((found.id().as_str(), found.version().as_str()), ("phq-9", "1.0.0"));
        }
        assert_eq!(find("phq-9@2.0.0").unwrap_err(), "phq-9 is not there in this version, but in 1.0.0");
        for nothing in ["", "phq", "PHQ-9", "@1.0.0"] {
            assert!(find(nothing).unwrap_err().starts_with("there is no such instrument"), "{nothing}");
        }
    }

    #[test]
    fn a_definition_is_read_from_its_file_and_all_its_faults_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("own.json");
        let path = file.to_str().unwrap();
        let json = find("phq-2").unwrap().json().replace("\"phq-2\"", "\"own-2\"");
        fs::write(&file, &json).unwrap();
        assert_eq!(named(path).unwrap().id().as_str(), "own-2");
        assert_eq!(named("phq-2").unwrap().id().as_str(), "phq-2");
        fs::write(&file, json.replace("\"range\":[0,6]", "\"range\":[0,5]")).unwrap();
        let told = named(path).unwrap_err();
        assert!(
            told.starts_with("the definition has faults (") && told.contains("own.json: /scores/0/range: "),
            "{told}"
        );
        assert!(named("/nowhere/own.json").unwrap_err().starts_with("cannot read the file: "));
    }

    #[test]
    fn the_table_has_a_line_for_each_instrument_and_its_columns_stand_under_each_other() {
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
