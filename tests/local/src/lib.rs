//! The local cloud: the functions' own binaries, unchanged, behind everything of AWS that they use.
//!
//! [`cloud`] starts the parts and wires them together: [`template`] says what is to run, [`data`] is where it is kept,
//! [`dynamodb`] stores, [`executables`] builds the functions and [`lambda`] runs them, [`gateway`] brings them requests
//! from callers with tokens of the [`issuer`], [`stream`] brings them records, [`schedules`] wake them, [`failures`] keeps what it gives up, and
//! [`sns`] takes what they publish.
//!
//! [`replay`] sends it real data. The commands that need no local cloud are the crate `authoring`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it talks to a person at a terminal")]

pub mod cloud;
pub mod console;
pub mod data;
pub mod dynamodb;
pub mod executables;
pub mod failures;
pub mod gateway;
pub mod issuer;
pub mod lambda;
pub mod pattern;
pub mod replay;
pub mod schedules;
pub mod sns;
pub mod storage;
pub mod stream;
pub mod sts;
pub mod template;
