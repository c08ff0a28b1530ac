//! Submissions and definitions as HL7 FHIR R4.
//!
//! [`Response`] converts a `QuestionnaireResponse` to a submission in the native format, so that validation and storage
//! are the same for both. [`questionnaire()`] converts a definition to a `Questionnaire`, and [`import()`] a
//! `Questionnaire` with weights to the draft of a definition. Codes and linkIds of other owners, such as LOINC's, are
//! data: one file per instrument, in the folder `fhir`.

mod coding;
mod element;
mod import;
mod names;
mod questionnaire;
mod response;

pub use import::{ImportError, Imported, import};
pub use questionnaire::questionnaire;
pub use response::Response;
