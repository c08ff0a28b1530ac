//! The kinds of problem.

use lambda_http::http::{HeaderValue, StatusCode};

/// The kinds of problem, each with its stable `type` and its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// 401: no access token, or one that cannot be read.
    Unauthenticated,
    /// 403: known, and not allowed.
    Forbidden,
    /// 404: not there, or not the caller's to know of.
    NotFound,
    /// 409: another body was stored under this id.
    SubmissionConflict,
    /// 409: the submission that this one corrects is not stored; it may be on its way.
    OriginalMissing,
    /// 409: the submission that this one corrects was corrected by another one.
    AlreadyAmended,
    /// 413: the body is too large.
    TooLarge,
    /// 415: the body is not of the type that is taken.
    UnsupportedMediaType,
    /// 422: the content is wrong; `errors` says where.
    Invalid,
    /// 500: a fault of this service.
    Internal,
    /// 503: not done, for sure; may be sent again.
    NotDone,
    /// 503: sent to the store, and nothing says what became of it; the same id settles it.
    OutcomeUnknown,
    /// 503: sent to the store, nothing says what became of it, and a repeat may do it twice.
    MayRepeat,
    /// 504: what was asked for could not be read and worked out in time; nothing was changed.
    TimedOut,
}

impl ProblemKind {
    /// The HTTP status.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::SubmissionConflict | Self::OriginalMissing | Self::AlreadyAmended => StatusCode::CONFLICT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NotDone | Self::OutcomeUnknown | Self::MayRepeat => StatusCode::SERVICE_UNAVAILABLE,
            Self::TimedOut => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    pub(super) fn name_and_title(self) -> (&'static str, &'static str) {
        match self {
            Self::Unauthenticated => ("urn:epro:problem:unauthenticated", "Access token missing or malformed"),
            Self::Forbidden => ("urn:epro:problem:forbidden", "Not allowed"),
            Self::NotFound => ("urn:epro:problem:not-found", "Not found"),
            Self::SubmissionConflict => {
                ("urn:epro:problem:submission-conflict", "Another body is stored under this id")
            }
            Self::OriginalMissing => ("urn:epro:problem:original-missing", "What is corrected is not stored yet"),
            Self::AlreadyAmended => ("urn:epro:problem:already-amended", "What is corrected is corrected already"),
            Self::TooLarge => ("urn:epro:problem:too-large", "Body too large"),
            Self::UnsupportedMediaType => ("urn:epro:problem:unsupported-media-type", "Unsupported media type"),
            Self::Invalid => ("urn:epro:problem:invalid", "Content does not fit"),
            Self::Internal => ("urn:epro:problem:internal", "Fault of the service"),
            Self::NotDone => ("urn:epro:problem:not-done", "Not done in time"),
            Self::OutcomeUnknown => ("urn:epro:problem:outcome-unknown", "Outcome unknown"),
            Self::MayRepeat => ("urn:epro:problem:may-repeat", "Outcome unknown, and a repeat may do it twice"),
            Self::TimedOut => ("urn:epro:problem:timed-out", "Not finished in time"),
        }
    }

    /// In how many seconds to try again, where that may help and cannot harm.
    pub(super) fn retry_after(self) -> Option<HeaderValue> {
        match self {
            Self::NotDone | Self::OutcomeUnknown | Self::TimedOut => Some(HeaderValue::from_static("1")),
            // The app has to send the original before.
            Self::OriginalMissing => Some(HeaderValue::from_static("5")),
            _ => None,
        }
    }
}
