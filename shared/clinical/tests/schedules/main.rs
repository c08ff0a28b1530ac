//! Schedules: their checks, their windows, what moves and what is missed, and 1,000 years of random ones.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it cannot read")]

mod definitions;
mod generate;
mod oracle;
mod windows;
mod years;
