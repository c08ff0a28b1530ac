//! Who did something.

use std::fmt;

/// Who did something, in the words of the one who vouches for it. A `sub` is unique within its `iss` only, so neither is
/// kept without the other. Its `Debug` is empty: a `sub` may be a patient's.
#[derive(Clone, PartialEq, Eq)]
pub struct Principal {
    sub: String,
    iss: String,
}

impl Principal {
    const LONGEST_ISSUER: usize = 512;

    /// The principal that `iss` names `sub`: printable ASCII without a space, at most 255 characters as OpenID Connect
    /// has it for `sub`, and 512 for `iss`.
    ///
    /// API Gateway writes a claim that is null as Go does, `<nil>`: that is nobody's name, nor is the word `null`.
    pub fn new(sub: &str, iss: &str) -> Option<Self> {
        let fits = |text: &str, most| {
            (1..=most).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_graphic())
                && !["<nil>", "null"].contains(&text)
        };
        (fits(sub, 255) && fits(iss, Self::LONGEST_ISSUER)).then(|| Self { sub: sub.to_owned(), iss: iss.to_owned() })
    }

    /// The name that the issuer gave: the `sub` of an access token.
    pub fn sub(&self) -> &str {
        &self.sub
    }

    /// Who gave it: the `iss` of an access token.
    pub fn iss(&self) -> &str {
        &self.iss
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Principal(..)")
    }
}
