//! The names of things: newtypes that only parsing can build, so that a value of the type is known to be well formed.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

/// A name that does not keep its rule. Says what was expected, never what was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {what}: must be {rule}")]
pub struct IdError {
    /// What the value was meant to be, for example `study id`.
    pub what: &'static str,
    /// The rule it must keep.
    pub rule: &'static str,
}

/// The id of a submission: a UUID of any version, made by the app; the idempotency key.
///
/// Parsed from the hyphenated form in any case; written in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubmissionId(Uuid);

impl SubmissionId {
    /// The id as a UUID.
    pub fn as_uuid(&self) -> Uuid {
        self.0
    }
}

impl FromStr for SubmissionId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let error = IdError { what: "submission id", rule: "a UUID in its hyphenated form" };
        // Of the forms that `uuid` reads only the hyphenated one has 36 characters.
        if text.len() != 36 {
            return Err(error);
        }
        Uuid::try_parse(text).map(Self).map_err(|_| error)
    }
}

impl fmt::Display for SubmissionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl From<Uuid> for SubmissionId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

/// The version of a definition, an instrument's or a form's, or of a study: `major.minor.patch`, ordered by number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    numbers: [u32; 3],
    text: Arc<str>,
}

impl Version {
    /// The version as it is written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// The version of an instrument's definition.
pub type InstrumentVersion = Version;

/// The version of a study's data.
pub type StudyVersion = InstrumentVersion;

/// The version of a form or of one of its checks.
pub type FormVersion = InstrumentVersion;

impl Version {
    /// The version in a form whose order as text is that of the numbers.
    pub fn sortable(&self) -> String {
        let [major, minor, patch] = self.numbers;
        format!("{major:010}.{minor:010}.{patch:010}")
    }
}

impl FromStr for Version {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let error = IdError { what: "version", rule: "major.minor.patch, for example 1.0.0" };
        let mut parts = text.split('.');
        let mut numbers = [0; 3];
        for number in &mut numbers {
            *number = parts.next().and_then(version_number).ok_or(error.clone())?;
        }
        if parts.next().is_some() {
            return Err(error);
        }
        Ok(Self { numbers, text: text.into() })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn version_number(part: &str) -> Option<u32> {
    let plain = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()) && (part == "0" || !part.starts_with('0'));
    if plain { part.parse().ok() } else { None }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $keeps:path, $rule:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as it is written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                if $keeps(text) { Ok(Self(text.into())) } else { Err(IdError { what: $what, rule: $rule }) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        /// Maps that are keyed by the name can be searched by a string.
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

macro_rules! plain_debug {
    ($($name:ident),+) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.as_str())
            }
        }
    )+};
}

macro_rules! as_text {
    ($($name:ident),+) => {$(
        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    )+};
}

name!(
    /// The id of a study.
    StudyId, "study id", is_subject_name, "1 to 64 of A-Z a-z 0-9 . _ : - and start with a letter or digit"
);
name!(
    /// The id of a site within its study.
    SiteId, "site id", is_subject_name, "1 to 64 of A-Z a-z 0-9 . _ : - and start with a letter or digit"
);
name!(
    /// The id of a patient within its study. Its `Debug` is redacted; its `Display`, which keys need, is not.
    PatientId, "patient id", is_subject_name, "1 to 64 of A-Z a-z 0-9 . _ : - and start with a letter or digit"
);
name!(
    /// The id of a group of a study's patients for which another line holds, for example `women`.
    GroupId, "group id", is_definition_name, "1 to 64 of A-Z a-z 0-9 . _ - and start with a letter or digit"
);
name!(
    /// The id of an instrument, for example `phq-9`.
    InstrumentId, "instrument id", is_definition_name, "1 to 64 of A-Z a-z 0-9 . _ - and start with a letter or digit"
);
name!(
    /// The id of an item within its instrument, for example `9`.
    ItemId, "item id", is_definition_name, "1 to 64 of A-Z a-z 0-9 . _ - and start with a letter or digit"
);
name!(
    /// The id of a score within its instrument, for example `total`.
    ScoreId, "score id", is_definition_name, "1 to 64 of A-Z a-z 0-9 . _ - and start with a letter or digit"
);
name!(
    /// The id of an alert rule. It is published, so it is neutral: it names no instrument, item or band.
    RuleId, "rule id", is_definition_name, "1 to 64 of A-Z a-z 0-9 . _ - and start with a letter or digit"
);

name!(
    /// The id of a form, for example `vs`.
    FormId, "form id", is_definition_name, "1 to 64 of A-Z a-z 0-9 . _ - and start with a letter or digit"
);
name!(
    /// The id of a field within its form, for example `VSORRES`.
    FieldId, "field id", is_definition_name, "1 to 64 of A-Z a-z 0-9 . _ - and start with a letter or digit"
);
name!(
    /// The id of an edit check within its form.
    CheckId, "check id", is_definition_name, "1 to 64 of A-Z a-z 0-9 . _ - and start with a letter or digit"
);

plain_debug!(StudyId, SiteId, GroupId, InstrumentId, ItemId, ScoreId, RuleId);
as_text!(StudyId, SiteId, PatientId, GroupId, SubmissionId, InstrumentId, Version, ItemId, ScoreId, RuleId);
plain_debug!(FormId, FieldId, CheckId);
as_text!(FormId, FieldId, CheckId);

impl fmt::Debug for PatientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PatientId(redacted)")
    }
}

fn is_subject_name(text: &str) -> bool {
    is_name(text, b"._:-")
}

fn is_definition_name(text: &str) -> bool {
    is_name(text, b"._-")
}

fn is_name(text: &str, also: &[u8]) -> bool {
    text.len() <= 64
        && text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || also.contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_rule() {
        for good in ["S1", "a", "0", "study:2026.1_b-c", &"x".repeat(64)] {
            assert!(good.parse::<StudyId>().is_ok(), "{good}");
        }
        for bad in ["", "-a", ":a", "a b", "a#b", "ä", "a\n", &"x".repeat(65)] {
            assert!(bad.parse::<StudyId>().is_err(), "{bad}");
        }
        assert!("a:b".parse::<ItemId>().is_err());
    }

    #[test]
    fn an_error_tells_the_rule_and_not_the_value() {
        let error = "secret name".parse::<PatientId>().unwrap_err().to_string();
        assert!(error.contains("patient id") && error.contains("1 to 64") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn a_patient_is_not_in_debug_output() {
        assert!(!format!("{:?}", "P-0042".parse::<PatientId>().unwrap()).contains("0042"));
    }

    #[test]
    fn a_submission_id_is_a_hyphenated_uuid_in_any_case() {
        let id: SubmissionId = "0192F3A4-7C1E-7B2A-9D4E-5F6A7B8C9D0E".parse().unwrap();
        assert_eq!(id.to_string(), "0192f3a4-7c1e-7b2a-9d4e-5f6a7b8c9d0e");
        for bad in ["", "0192f3a47c1e7b2a9d4e5f6a7b8c9d0e", "{0192f3a4-7c1e-7b2a-9d4e-5f6a7b8c9d0e}", "x"] {
            assert!(bad.parse::<SubmissionId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn versions_are_ordered_by_number() {
        let version = |text: &str| text.parse::<Version>().unwrap();
        assert!(version("1.10.0") > version("1.9.3"));
        for bad in ["", "1", "1.0", "1.0.0.0", "01.0.0", "1.0.x", "1.0.-1", "1.0.+1", "1..0", "9999999999.0.0"] {
            assert!(bad.parse::<Version>().is_err(), "{bad}");
        }
    }

    #[test]
    fn names_are_strings_in_json() {
        let id: ItemId = serde_json::from_str("\"9\"").unwrap();
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"9\"");
        assert!(serde_json::from_str::<ItemId>("\"#\"").is_err());
    }
}
