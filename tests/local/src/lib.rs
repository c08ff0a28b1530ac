//! The local cloud: the functions' own binaries, unchanged, with local replacements of the AWS services that they use.
//!
//! [`cloud`] starts the parts and connects them. [`template`] reads the functions, routes, tables and topics from
//! `template.yaml`, and [`data`] is the folder that keeps their data. [`dynamodb`] is the database, [`executables`]
//! builds the functions, [`lambda`] runs them, and [`gateway`] sends them requests whose tokens the [`issuer`] signed.
//! [`stream`] delivers records to them and writes those it gives up to [`failures`]; [`schedules`] sends scheduled
//! events, [`sns`] receives what they publish, and [`sts`] identifies the user of the authoring commands. [`faults`] are
//! injected between the functions and what they call. [`clock`] is the time of day, which can be moved. [`contract`] serves the API's contract. [`feed`] has what happens,
//! for the page that [`web_console`] serves.
//!
//! [`replay`] sends real data through it, [`surge`] the submissions of many patients at once, and [`day`] those of a day of
//! a trial. The commands that need no local cloud are in the crate `authoring`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it talks to a person at a terminal")]

mod client;
pub mod clock;
pub mod cloud;
mod cloud_process;
pub mod console;
pub mod contract;
pub mod data;
pub mod day;
pub mod dynamodb;
pub mod executables;
pub mod failures;
pub mod faults;
pub mod feed;
pub mod gateway;
pub mod issuer;
pub mod lambda;
pub mod pattern;
mod recomputation;
pub mod replay;
pub mod schedules;
pub mod sns;
pub mod storage;
pub mod stream;
pub mod sts;
pub mod surge;
pub mod template;
pub mod web_console;
