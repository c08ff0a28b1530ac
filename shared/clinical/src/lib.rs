//! What medicine says: instruments as data, scoring, alert rules; and what a study makes of them.
//!
//! Pure: no I/O, no clock, no AWS. An instrument is a versioned JSON definition that a clinician can read and sign off;
//! the code knows only a closed set of operations on it and checks every definition when it is loaded.
//!
//! ```
//! use clinical::catalog::Catalog;
//!
//! let phq_2 = Catalog::shipped().find(&"phq-2".parse()?, &"1.0.0".parse()?)?;
//! let sent = serde_json::json!({"1": 2, "2": 1});
//! let answers = phq_2.check(sent.as_object().ok_or("not an object")?).map_err(|_| "findings")?;
//! let outcome = phq_2.assess(&answers)?;
//! assert_eq!(outcome.scores[0].band.as_deref(), Some("positive"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod alert;
pub mod answers;
mod bounds;
mod canonical;
pub mod catalog;
pub mod course;
pub mod dataset;
pub mod definition;
mod exact;
pub mod fhir;
pub mod finding;
mod fit;
pub mod forms;
pub mod history;
pub mod ids;
pub mod instrument;
mod load;
pub mod outcome;
pub mod reference;
mod score;
pub mod study;
mod weight;
