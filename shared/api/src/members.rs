//! The members of a JSON object in a request's body.

use std::collections::BTreeSet;
use std::str::FromStr;

use clinical::document::{Finding, Findings, pointer};
use clinical::ids::IdError;
use lambda_http::Request;
use serde_json::{Map, Value};
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

use crate::{Problem, ProblemKind, body};

/// The most characters of a reason.
const LONGEST_REASON: usize = 2_000;

/// The members of a request's body, each taken once; what is left is unknown.
#[derive(Debug)]
pub struct Members {
    members: Map<String, Value>,
    findings: Findings,
    /// The members that have a finding.
    faulty: BTreeSet<String>,
    /// The detail of the problem where something is wrong.
    not_done: &'static str,
}

impl Members {
    /// The members of the object in the body of `request`, which has at most `largest` bytes. `not_done` is the detail of
    /// the problem where something is wrong with them.
    ///
    /// # Errors
    /// As [`body::json`], and 422 if the body is not an object.
    pub fn of(request: &Request, largest: usize, not_done: &'static str) -> Result<Self, Problem> {
        let (value, findings) = body::json(request, largest)?;
        match value {
            Value::Object(members) => Ok(Self { members, findings, faulty: BTreeSet::new(), not_done }),
            _ => Err(Problem::of_finding(ProblemKind::Invalid, "", "field.type", "the body must be an object")),
        }
    }

    /// Adds a finding about the member `name`.
    pub fn wrong(&mut self, name: &str, code: &'static str, detail: impl Into<String>) {
        let detail = detail.into();
        self.faulty.insert(name.to_owned());
        self.findings.push_with(|| Finding { pointer: pointer("", name), code, detail });
    }

    /// The text `name`, without the white space around it; `None` if it is absent, null or empty.
    pub fn text(&mut self, name: &'static str, most: usize) -> Option<String> {
        match self.members.remove(name)? {
            Value::Null => None,
            Value::String(text) if text.chars().count() > most => {
                self.wrong(name, "field.too-long", format!("at most {most} characters"));
                None
            }
            Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
            _ => {
                self.wrong(name, "field.type", "it must be a string");
                None
            }
        }
    }

    /// `value`, which was read from the member `name` and must be there.
    pub fn required<T>(&mut self, name: &str, value: Option<T>, advice: &str) -> Option<T> {
        // What is there and faulty has its finding already.
        if value.is_none() && !self.faulty.contains(name) {
            self.wrong(name, "field.required", advice);
        }
        value
    }

    /// The reason of a change.
    pub fn reason(&mut self) -> Option<String> {
        self.text("reason", LONGEST_REASON)
    }

    /// The text `name` as a `T`.
    pub fn parsed<T: FromStr<Err = IdError>>(&mut self, name: &'static str) -> Option<T> {
        match self.text(name, 64)?.parse() {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                self.wrong(name, "field.format", error.to_string());
                None
            }
        }
    }

    /// The day `name`.
    pub fn date(&mut self, name: &'static str) -> Option<Date> {
        let date = Date::parse(&self.text(name, 64)?, format_description!("[year]-[month]-[day]")).ok();
        if date.is_none() {
            self.wrong(name, "field.format", "it must be a date: year, month and day, for example 2026-11-01");
        }
        date
    }

    /// The time `name`.
    pub fn time(&mut self, name: &'static str) -> Option<OffsetDateTime> {
        let time = OffsetDateTime::parse(&self.text(name, 64)?, &Rfc3339).ok();
        if time.is_none() {
            self.wrong(name, "field.format", "it must be a time in RFC 3339, for example 2026-11-01T18:00:00+01:00");
        }
        time
    }

    /// Whether `name` is there, and be it null.
    pub fn has(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    /// What was `read`, if nothing is wrong with the body; `None` only where something is.
    ///
    /// # Errors
    /// 422 with all findings.
    pub fn end<T>(mut self, read: Option<T>) -> Result<T, Problem> {
        let unknown: Vec<String> = self.members.keys().cloned().collect();
        for name in unknown {
            self.wrong(&name, "field.unknown", "there is no such field here; remove it");
        }
        match read.filter(|_| self.findings.is_empty()) {
            Some(read) => Ok(read),
            None => Err(Problem::new(ProblemKind::Invalid, self.not_done).with_errors(self.findings)),
        }
    }
}
