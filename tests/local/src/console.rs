//! Messages to the person at the terminal. They go to stderr; stdout has the ready line alone.

use std::io::{self, Write};

use time::UtcOffset;
use time::macros::format_description;

use crate::clock;

/// Which messages are written.
#[derive(Debug, Clone, Copy, Default)]
pub struct Console {
    /// Write errors only.
    pub quiet: bool,
    /// Write the functions' own log lines too.
    pub logs: bool,
}

impl Console {
    /// Writes a message, unless quiet.
    pub fn say(&self, text: impl AsRef<str>) {
        if !self.quiet {
            write(text.as_ref());
        }
    }

    /// Writes a message with the time of day, unless quiet.
    pub fn event(&self, text: impl AsRef<str>) {
        if !self.quiet {
            write(&format!("{}  {}", time_of_day(), text.as_ref()));
        }
    }

    /// Writes an error with the time of day.
    pub fn warn(&self, text: impl AsRef<str>) {
        write(&format!("{}  {}", time_of_day(), text.as_ref()));
    }

    /// Writes one log line of a function, if log lines are asked for.
    pub fn log(&self, function: &str, line: &str) {
        if self.logs {
            write(&format!("{function} | {line}"));
        }
    }
}

/// Writes a line at once: `eprintln` makes a system call of each part of it.
fn write(text: &str) {
    // Without a terminal nobody can be told.
    let _ = io::stderr().lock().write_all(format!("{text}\n").as_bytes());
}

/// The time of day in UTC, as in stored times and logs.
fn time_of_day() -> String {
    clock::now()
        .to_offset(UtcOffset::UTC)
        .format(format_description!("[hour]:[minute]:[second].[subsecond digits:3]"))
        .unwrap_or_default()
}
