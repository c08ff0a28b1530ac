//! Validation errors of definitions.

use std::fmt;

use serde::Serialize;

/// A validation error of a definition: what is wrong, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DefinitionFault {
    /// The file that the definition was read from, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The JSON pointer of the faulty value.
    pub pointer: String,
    /// A stable code for programs, for example `score.range`.
    pub code: &'static str,
    /// A description of the fault, for people.
    pub problem: String,
    /// How to correct it.
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

/// The faults collected while one definition is validated.
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

    /// Returns `checked` if there are no faults.
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
