//! Publishes notifications of alerts to clinicians. The only crate that names SNS, and no type of the SDK leaves it.
//!
//! A [`Notification`] gives the severity, the site and a link of an alert. It never contains the patient, an answer, a
//! score or the instrument: opening the link requires a sign-in.

mod message;
mod topic;

pub use message::{LinkTemplate, Notification};
pub use topic::Topic;
