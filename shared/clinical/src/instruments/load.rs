//! Validation of definitions and resolution of their names.

mod items;
mod loader;
mod operations;
mod range;
mod rules;
mod scores;
mod texts;

use serde_json::Value;

use self::loader::{Loader, ScoreState};
use super::definition::Definition;
use super::program::ScoringProgram;
use crate::document::{self, DefinitionFault, Schema};

pub(crate) static SCHEMA: Schema = Schema::new(
    "instrument.schema.json",
    include_str!(concat!(env!("OUT_DIR"), "/instruments/instrument.schema.json")),
    &[],
);

/// Parses and validates a definition.
///
/// # Errors
///
/// All validation errors; of syntax errors only the first.
pub(super) fn load(json: &str) -> Result<(Definition, ScoringProgram, Value), Vec<DefinitionFault>> {
    let (definition, document) = document::parse(json, &SCHEMA)?;
    let checked = check(&definition);
    let beyond = SCHEMA.beyond_bounds(&document, checked.as_ref().err().map_or(&[], Vec::as_slice));
    match checked {
        Ok(program) if beyond.is_empty() => Ok((definition, program, document)),
        Ok(_) => Err(beyond),
        Err(faults) => Err(faults.into_iter().chain(beyond).collect()),
    }
}

/// Parses a definition that ships with the library, and resolves its names.
///
/// # Errors
///
/// All validation errors but those of the schema's bounds.
pub(super) fn load_shipped(json: &str) -> Result<(Definition, ScoringProgram), Vec<DefinitionFault>> {
    let definition = document::definition(json, &SCHEMA)?;
    let program = check(&definition)?;
    Ok((definition, program))
}

/// Validates a definition and resolves its names.
///
/// # Errors
///
/// All validation errors.
pub(super) fn check(definition: &Definition) -> Result<ScoringProgram, Vec<DefinitionFault>> {
    let mut loader = Loader::new(definition);
    let program = loader.program();
    // Without a program there is at least one fault.
    loader.faults.or(program)?.ok_or_else(Vec::new)
}

impl Loader<'_> {
    fn program(&mut self) -> Option<ScoringProgram> {
        self.check_texts();
        self.check_comparable_to();
        self.check_code_lists();
        self.check_names();
        let items = self.load_items();
        self.items_done = true;
        self.scores = self.definition.scores.iter().map(|_| ScoreState::ToDo).collect();
        for index in 0..self.definition.scores.len() {
            self.load_score(index);
        }
        self.check_tables();
        let rules = self.load_rules();
        let scores = std::mem::take(&mut self.scores)
            .into_iter()
            .map(|progress| match progress {
                ScoreState::Done { score, .. } => Some(score),
                _ => None,
            })
            .collect::<Option<Vec<_>>>()?;
        let mut by_id: Vec<usize> = (0..items.len()).collect();
        by_id.sort_by(|a, b| items[*a].id.cmp(&items[*b].id));
        Some(ScoringProgram { items, by_id, scores, order: std::mem::take(&mut self.order), rules })
    }

    fn check_comparable_to(&mut self) {
        let Definition { version, comparable_to, .. } = self.definition;
        if comparable_to.as_ref().is_some_and(|earlier| earlier >= version) {
            self.faults.add(
                "/comparableTo",
                "version.comparable",
                "a version's scores can only continue the course of an earlier version",
                "name the earlier version that started the course, or remove `comparableTo`",
            );
        }
    }
}
