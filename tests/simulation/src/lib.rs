//! The functions in a simulated world.
//!
//! One seed fixes everything: what phones send, what fails and when, every latency, every uuid, every order of tasks.
//! Time is paused and one thread schedules. The handlers and the SDK's clients are the real ones; under the clients is
//! `harness`'s DynamoDB and SNS, and the stream is delivered by the event source mapping of the local cloud.

pub mod asking;
pub mod checks;
mod clinicians;
pub mod clock;
pub mod cloud;
pub mod coverage;
pub mod dice;
pub mod due;
pub mod exhaustive;
mod expected;
mod facts;
pub mod gateway;
pub mod journal;
mod lists;
pub mod network;
mod occurrences;
mod panics;
pub mod phone;
pub mod plan;
pub mod planted;
pub mod planting;
pub mod registry;
pub mod run;
pub mod shrink;
mod stream;
mod study;
mod worklist;
