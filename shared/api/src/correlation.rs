//! Correlation ids.

use std::fmt;

use uuid::Uuid;

/// The id that connects a request with its log lines, the records that it stores and the alerts that follow: the
/// caller's own (`x-correlation-id`) if it is well formed, else API Gateway's id of the request, else a new UUID.
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

    /// As [`given_or_new`](Self::given_or_new), with `gateway`, API Gateway's id of the request, in place of a new one.
    /// It may end with `=`, as Base64 does, which is no character of a correlation id and is left out.
    pub fn given_or_of_gateway(given: Option<&str>, gateway: Option<String>) -> Self {
        let gateway = gateway.as_deref().map(|id| id.trim_end_matches('='));
        Self::given_or_new(given.filter(|id| is_well_formed(id)).or(gateway))
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
    fn without_one_it_is_that_of_the_gateway() {
        let of = |given, gateway: Option<&str>| CorrelationId::given_or_of_gateway(given, gateway.map(str::to_owned));
        assert_eq!(of(Some("app-7"), Some("JKJaXmPLvHcESHA=")).as_str(), "app-7");
        for given in [None, Some("not well formed")] {
            assert_eq!(of(given, Some("JKJaXmPLvHcESHA=")).as_str(), "JKJaXmPLvHcESHA", "{given:?}");
            for gateway in [None, Some(""), Some("="), Some("a b")] {
                assert!(Uuid::parse_str(of(given, gateway).as_str()).is_ok(), "{gateway:?}");
            }
        }
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
