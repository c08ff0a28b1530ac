//! Schedules: their checks, their windows, what moves and what is missed, and the years of 1,000 random ones.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it cannot read")]

mod definitions;
mod generate;
mod misses;
mod moves;
mod oracle;
mod windows;
mod years;
