//! Publishes notifications of alerts to clinicians, and reminders to the sponsor's push service. The only crate that names
//! SNS, and no type of the SDK leaves it.
//!
//! A [`Notification`] gives the severity, the site and a link of an alert. It never contains the patient, an answer, a
//! score or the instrument: opening the link requires a sign-in. A [`Reminder`] is on a topic of its own, and has the
//! patient's pseudonym.

mod message;
mod reminders;
mod topic;

pub use message::{LinkTemplate, Notification};
pub use reminders::{Reminder, ReminderTopic};
pub use topic::Topic;
