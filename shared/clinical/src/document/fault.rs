//! What is wrong with a definition.

use std::fmt;

use serde::Serialize;

/// What is wrong with a definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DefinitionFault {
    /// The file, where the definition came from one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Where in the definition: a JSON pointer.
    pub pointer: String,
    /// What, for programs; for example `score.range`.
    pub code: &'static str,
    /// What, for people.
    pub problem: String,
    /// What to do about it.
    pub advice: String,
}

impl fmt::Display for DefinitionFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}: ")?;
        }
        write!(f, "{}: {}; {}", if self.pointer.is_empty() { "/" } else { &self.pointer }, self.problem, self.advice)
    }
}

/// The faults that were found so far in one definition.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<DefinitionFault>);

impl Faults {
    pub(crate) fn add(
        &mut self,
        pointer: impl Into<String>,
        code: &'static str,
        problem: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.push(DefinitionFault {
            file: None,
            pointer: pointer.into(),
            code,
            problem: problem.into(),
            advice: advice.into(),
        });
    }

    pub(crate) fn push(&mut self, fault: DefinitionFault) {
        self.0.push(fault);
    }

    /// `checked` if nothing is wrong with the definition.
    ///
    /// # Errors
    ///
    /// All faults, in the order in which they were found.
    pub(crate) fn or<T>(self, checked: T) -> Result<T, Vec<DefinitionFault>> {
        if self.0.is_empty() { Ok(checked) } else { Err(self.0) }
    }
}

impl AsRef<[DefinitionFault]> for Faults {
    fn as_ref(&self) -> &[DefinitionFault] {
        &self.0
    }
}

impl Extend<DefinitionFault> for Faults {
    fn extend<I: IntoIterator<Item = DefinitionFault>>(&mut self, faults: I) {
        self.0.extend(faults);
    }
}
