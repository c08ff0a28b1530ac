//! The clinical rules: instruments, edit checks of case-report forms, studies, and their FHIR representation.
//!
//! The crate is pure: it does no I/O, reads no clock and calls no AWS service. Instruments, forms and studies are
//! versioned JSON definitions that a clinician or a data manager can read and sign off. The code supports a closed set
//! of operations on them and validates each definition when it is loaded, so that scoring and checking cannot fail on
//! one later.
//!
//! | module | contents |
//! |---|---|
//! | [`ids`] | validated identifiers and versions |
//! | [`document`] | what definitions share: parsing, canonical hash, faults with their pointer, texts, catalogs |
//! | [`instruments`] | questionnaires: definition, validation of answers, scoring, alert rules, courses and replay |
//! | [`forms`] | case-report forms and the edit checks of batches of rows |
//! | [`schedules`] | when a patient is asked: windows, reminders, missed windows, and their replay |
//! | [`studies`] | which sites and instruments a study has, and which alert rules are in force |
//! | [`fhir`] | HL7 FHIR R4 `Questionnaire` and `QuestionnaireResponse` |
//!
//! Each module uses only those above it.
//!
//! ```
//! use clinical::instruments::Catalog;
//!
//! let phq_2 = Catalog::shipped().find(&"phq-2".parse()?, &"1.0.0".parse()?)?;
//! let body = serde_json::json!({"1": 2, "2": 1});
//! let answers = phq_2.check(body.as_object().ok_or("not an object")?).map_err(|_| "findings")?;
//! let outcome = phq_2.assess(&answers)?;
//! assert_eq!(outcome.scores[0].band.as_deref(), Some("positive"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod document;
pub mod fhir;
pub mod forms;
pub mod ids;
pub mod instruments;
pub mod schedules;
pub mod studies;
