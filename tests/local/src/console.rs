//! What the local cloud says to the person at the terminal, on stderr: stdout has the ready line alone.

use time::{OffsetDateTime, UtcOffset, macros::format_description};

/// How much is said.
#[derive(Debug, Clone, Copy, Default)]
pub struct Console {
    /// Errors only.
    pub quiet: bool,
    /// The functions' own log lines too.
    pub logs: bool,
}

impl Console {
    /// Something worth knowing.
    pub fn say(&self, text: impl AsRef<str>) {
        if !self.quiet {
            eprintln!("{}", text.as_ref());
        }
    }

    /// Something that happened just now.
    pub fn event(&self, text: impl AsRef<str>) {
        if !self.quiet {
            eprintln!("{}  {}", time_of_day(), text.as_ref());
        }
    }

    /// Something that went wrong.
    pub fn warn(&self, text: impl AsRef<str>) {
        eprintln!("{}  {}", time_of_day(), text.as_ref());
    }

    /// One log line of a function.
    pub fn log(&self, function: &str, line: &str) {
        if self.logs {
            eprintln!("{function} | {line}");
        }
    }
}

/// UTC, as in all that is stored and logged.
fn time_of_day() -> String {
    OffsetDateTime::now_utc()
        .to_offset(UtcOffset::UTC)
        .format(format_description!("[hour]:[minute]:[second].[subsecond digits:3]"))
        .unwrap_or_default()
}
