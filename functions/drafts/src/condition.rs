//! The conditions of a put, and the answers where the stored draft does not meet them.

use api::{Problem, ProblemKind};
use lambda_http::Request;
use lambda_http::http::HeaderValue;
use lambda_http::http::header::{IF_MATCH, IF_NONE_MATCH};
use records::{Draft, DraftCondition};
use uuid::Uuid;

/// What a request requires of the stored draft.
#[derive(Clone, Copy)]
pub(crate) enum Condition {
    /// `If-None-Match: *`: there is none.
    Absent,
    /// No header: there is none, because a change must name what it replaces.
    Unnamed,
    /// `If-Match`: it has this tag. A header that names no tag of this function requires one that no draft has.
    Unchanged(Uuid),
}

impl Condition {
    /// That of `request`. `If-None-Match` with tags says nothing of a draft that would be replaced, and is ignored.
    pub(crate) fn of(request: &Request) -> Self {
        let headers = request.headers();
        if let Some(named) = headers.get(IF_MATCH) {
            return Self::Unchanged(named.to_str().ok().and_then(tag).unwrap_or(Uuid::nil()));
        }
        match headers.get(IF_NONE_MATCH).map(HeaderValue::as_bytes) {
            Some(b"*") => Self::Absent,
            _ => Self::Unnamed,
        }
    }

    /// Whether a put that meets it makes a draft.
    pub(crate) fn creates(self) -> bool {
        self.of_store() == DraftCondition::Absent
    }

    pub(crate) fn of_store(self) -> DraftCondition {
        match self {
            Self::Absent | Self::Unnamed => DraftCondition::Absent,
            Self::Unchanged(tag) => DraftCondition::Unchanged(tag),
        }
    }

    /// The answer where `stored` does not meet it.
    pub(crate) fn not_met(self, stored: Option<&Draft>) -> Problem {
        let (kind, detail) = match (self, stored) {
            (Self::Unchanged(_), None) => (
                ProblemKind::DraftChanged,
                "there is no draft under this id, or not any more; nothing was stored: to store it anew, send it with \
                 `If-None-Match: *` and without `If-Match`",
            ),
            (Self::Unchanged(_), Some(_)) => (
                ProblemKind::DraftChanged,
                "the stored draft was changed since the one that `If-Match` names; nothing was stored: read it, merge \
                 what it has, and send the result with the ETag that was read as `If-Match`",
            ),
            (Self::Absent, _) => (
                ProblemKind::DraftChanged,
                "there is a draft under this id already; nothing was stored: to change it, read it, and send the \
                 change with its ETag as `If-Match`",
            ),
            (Self::Unnamed, _) => (
                ProblemKind::IfMatchRequired,
                "there is a draft under this id, and a change must name what it replaces; nothing was stored: read \
                 it, and send the change with its ETag as `If-Match`",
            ),
        };
        let problem = Problem::new(kind, detail);
        match stored {
            Some(stored) => problem.with_etag(etag(stored)),
            None => problem,
        }
    }
}

/// The ETag of `draft`.
pub(crate) fn etag(draft: &Draft) -> HeaderValue {
    HeaderValue::try_from(format!("\"{}\"", draft.etag.hyphenated())).expect("a UUID is plain ASCII")
}

/// The tag in one strong ETag.
fn tag(named: &str) -> Option<Uuid> {
    let tag = named.trim().strip_prefix('"')?.strip_suffix('"')?;
    Uuid::try_parse(tag).ok().filter(|parsed| parsed.hyphenated().to_string() == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_etag_of_this_function_is_a_tag() {
        let own = "0192f3a4-7c1e-4b2a-9d4e-5f6a7b8c9d0e";
        assert_eq!(tag(&format!(" \"{own}\" ")), Uuid::try_parse(own).ok());
        for other in ["", "*", "\"\"", own, &format!("W/\"{own}\""), &format!("\"{own}\", \"{own}\"")] {
            assert_eq!(tag(other), None, "{other}");
        }
        assert_eq!(tag(&format!("\"{}\"", own.to_uppercase())), None);
    }
}
