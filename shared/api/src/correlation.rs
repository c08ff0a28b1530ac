//! Correlation ids.

use std::fmt;

use uuid::Uuid;

/// The id that connects a request with its log lines, the records that it stores and the alerts that follow: the
/// caller's own (`x-correlation-id`) if it is well formed, else a new UUID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorrelationId(String);

impl CorrelationId {
    /// The header of requests and answers.
    pub const HEADER: &'static str = "x-correlation-id";

    /// `given`, if it is 1 to 64 characters of `A-Z a-z 0-9 . _ -`, else a new one: it is logged, so it must be
    /// harmless.
    pub fn given_or_new(given: Option<&str>) -> Self {
        match given {
            Some(id) if is_well_formed(id) => Self(id.to_owned()),
            _ => Self(Uuid::new_v4().to_string()),
        }
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_well_formed(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_well_formed_id_is_kept() {
        assert_eq!(CorrelationId::given_or_new(Some("app-7.31_b")).as_str(), "app-7.31_b");
    }

    #[test]
    fn anything_else_gets_a_new_one() {
        let long = "x".repeat(65);
        for given in [None, Some(""), Some("a b"), Some("a\nb"), Some("é"), Some(long.as_str())] {
            let id = CorrelationId::given_or_new(given);
            assert!(Uuid::parse_str(id.as_str()).is_ok(), "{given:?} gave {id}");
        }
    }
}
