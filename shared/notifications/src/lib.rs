//! What is told to clinicians and how. The only crate that names SNS, and no type of the SDK leaves it.
//!
//! A [`Notice`] says that there is something to look at, where, and how urgent it is; never who the patient is, what was
//! answered, what it scored, or which instrument it was. Who may know that opens the link.

mod message;
mod topic;

pub use message::{LinkTemplate, Notice};
pub use topic::Topic;
