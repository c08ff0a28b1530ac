//! HL7 FHIR R4: a submission and a definition in the words of health records.
//!
//! A `QuestionnaireResponse` becomes what the app's own submission says, so that one check and one store serve both; a
//! definition becomes a `Questionnaire`, and a `Questionnaire` with weights the draft of a definition. Names that others
//! gave to items and choices, such as those of LOINC, are data: one file an instrument, in the folder `fhir`.

mod coding;
mod element;
mod import;
mod names;
mod questionnaire;
mod response;

pub use import::{Imported, import};
pub use questionnaire::questionnaire;
pub use response::Response;
