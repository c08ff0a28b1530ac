//! The identity of a person or program, as an issuer vouches for it.

use std::fmt;

/// The subject of an access token or an AWS identity. A `sub` is unique only within its `iss`, so neither is kept
/// without the other. `Debug` shows neither, because a `sub` may be a patient's.
#[derive(Clone, PartialEq, Eq)]
pub struct Principal {
    sub: String,
    iss: String,
}

impl Principal {
    const LONGEST_ISSUER: usize = 512;

    /// The principal `sub` of `iss`, if both are printable ASCII without a space, of at most 255 characters (the limit
    /// of OpenID Connect for `sub`) and 512 characters.
    ///
    /// API Gateway passes a claim that is null as `<nil>`, as Go formats it: neither is a valid identity.
    pub fn new(sub: &str, iss: &str) -> Option<Self> {
        let fits = |text: &str, most| {
            (1..=most).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_graphic())
                && !["<nil>", "null"].contains(&text)
        };
        (fits(sub, 255) && fits(iss, Self::LONGEST_ISSUER)).then(|| Self { sub: sub.to_owned(), iss: iss.to_owned() })
    }

    /// The identifier that the issuer assigned: the `sub` of an access token.
    pub fn sub(&self) -> &str {
        &self.sub
    }

    /// The issuer: the `iss` of an access token.
    pub fn iss(&self) -> &str {
        &self.iss
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Principal(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promise_10_no_identity_is_in_debug_output() {
        let principal = Principal::new("subject-1", "https://issuer.example").unwrap();
        assert_eq!(format!("{principal:?}"), "Principal(..)");
    }
}
