//! What medicine says: instruments as data, scoring, alert rules; and what a study makes of them.
//!
//! Pure: no I/O, no clock, no AWS. An instrument is a versioned JSON definition that a clinician can read and sign off;
//! the code knows only a closed set of operations on it and checks every definition when it is loaded.
//!
//! ```
//! use clinical::instruments::Catalog;
//!
//! let phq_2 = Catalog::shipped().find(&"phq-2".parse()?, &"1.0.0".parse()?)?;
//! let sent = serde_json::json!({"1": 2, "2": 1});
//! let answers = phq_2.check(sent.as_object().ok_or("not an object")?).map_err(|_| "findings")?;
//! let outcome = phq_2.assess(&answers)?;
//! assert_eq!(outcome.scores[0].band.as_deref(), Some("positive"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod document;
pub mod fhir;
pub mod forms;
pub mod ids;
pub mod instruments;
pub mod studies;
