//! Kinds of problem.

use lambda_http::http::{HeaderValue, StatusCode};

/// A kind of problem, with its stable `type`, its title and its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// 401: the access token is missing or malformed.
    Unauthenticated,
    /// 403: the caller is authenticated and not allowed.
    Forbidden,
    /// 404: it does not exist, or the caller may not know that it does.
    NotFound,
    /// 403: the study requires enrolment, and the patient is not enrolled.
    PatientNotEnrolled,
    /// 403: the patient has withdrawn from the study.
    PatientWithdrawn,
    /// 409: what is stored of the patient does not allow this change.
    RegistrationConflict,
    /// 409: the alert, or its study, does not allow this change.
    AlertConflict,
    /// 409: another body is stored under this id.
    SubmissionConflict,
    /// 409: the submission to correct is not stored (yet).
    OriginalMissing,
    /// 409: the submission to correct has another correction.
    AlreadyAmended,
    /// 409: the version of the definition is stored with other content.
    VersionConflict,
    /// 409: a later version of the study is in force.
    LaterVersion,
    /// 409: the questionnaire of this draft is submitted.
    DraftSubmitted,
    /// 410: the draft is gone, because its questionnaire is submitted.
    DraftGone,
    /// 412: the stored draft is another than the request requires.
    DraftChanged,
    /// 413: the body, or the answer to it, is too large.
    TooLarge,
    /// 415: the media type of the body is not accepted.
    UnsupportedMediaType,
    /// 422: the content is invalid; `errors` has the pointers.
    Invalid,
    /// 428: a change must name what it replaces.
    IfMatchRequired,
    /// 500: a fault of this service.
    Internal,
    /// 503: certainly not done; the request may be repeated.
    NotDone,
    /// 503: the outcome is not known; repeating the same request settles it.
    OutcomeUnknown,
    /// 503: the outcome is not known, and a repeat may do it twice.
    MayRepeat,
    /// 504: not finished in time; nothing was changed.
    TimedOut,
}

impl ProblemKind {
    /// All kinds, for tests of what callers and operators are shown of them.
    pub const ALL: [Self; 24] = [
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NotFound,
        Self::PatientNotEnrolled,
        Self::PatientWithdrawn,
        Self::RegistrationConflict,
        Self::AlertConflict,
        Self::SubmissionConflict,
        Self::OriginalMissing,
        Self::AlreadyAmended,
        Self::VersionConflict,
        Self::LaterVersion,
        Self::DraftSubmitted,
        Self::DraftGone,
        Self::DraftChanged,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::Invalid,
        Self::IfMatchRequired,
        Self::Internal,
        Self::NotDone,
        Self::OutcomeUnknown,
        Self::MayRepeat,
        Self::TimedOut,
    ];

    /// The HTTP status.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden | Self::PatientNotEnrolled | Self::PatientWithdrawn => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::SubmissionConflict
            | Self::OriginalMissing
            | Self::AlreadyAmended
            | Self::VersionConflict
            | Self::LaterVersion
            | Self::RegistrationConflict
            | Self::AlertConflict
            | Self::DraftSubmitted => StatusCode::CONFLICT,
            Self::DraftGone => StatusCode::GONE,
            Self::DraftChanged => StatusCode::PRECONDITION_FAILED,
            Self::IfMatchRequired => StatusCode::PRECONDITION_REQUIRED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NotDone | Self::OutcomeUnknown | Self::MayRepeat => StatusCode::SERVICE_UNAVAILABLE,
            Self::TimedOut => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// Its name: the end of its `type`.
    pub fn name(self) -> &'static str {
        self.name_and_title().0.trim_start_matches("urn:epro:problem:")
    }

    pub(super) fn name_and_title(self) -> (&'static str, &'static str) {
        match self {
            Self::Unauthenticated => ("urn:epro:problem:unauthenticated", "Access token missing or malformed"),
            Self::Forbidden => ("urn:epro:problem:forbidden", "Not allowed"),
            Self::NotFound => ("urn:epro:problem:not-found", "Not found"),
            Self::PatientNotEnrolled => ("urn:epro:problem:patient-not-enrolled", "The patient is not enrolled"),
            Self::PatientWithdrawn => {
                ("urn:epro:problem:patient-withdrawn", "The patient has withdrawn from the study")
            }
            Self::RegistrationConflict => {
                ("urn:epro:problem:registration-conflict", "Not possible for this patient as registered")
            }
            Self::AlertConflict => ("urn:epro:problem:alert-conflict", "Not possible for this alert as it is"),
            Self::SubmissionConflict => {
                ("urn:epro:problem:submission-conflict", "Another body is stored under this id")
            }
            Self::OriginalMissing => {
                ("urn:epro:problem:original-missing", "The submission to correct is not stored yet")
            }
            Self::AlreadyAmended => {
                ("urn:epro:problem:already-amended", "The submission to correct is corrected already")
            }
            Self::VersionConflict => ("urn:epro:problem:version-conflict", "The version is stored with other content"),
            Self::LaterVersion => ("urn:epro:problem:later-version", "A later version is in force"),
            Self::DraftSubmitted => ("urn:epro:problem:draft-submitted", "The questionnaire is submitted"),
            Self::DraftGone => ("urn:epro:problem:draft-gone", "The draft is gone"),
            Self::DraftChanged => ("urn:epro:problem:draft-changed", "The draft is another than required"),
            Self::IfMatchRequired => ("urn:epro:problem:if-match-required", "If-Match is required"),
            Self::TooLarge => ("urn:epro:problem:too-large", "Body too large"),
            Self::UnsupportedMediaType => ("urn:epro:problem:unsupported-media-type", "Unsupported media type"),
            Self::Invalid => ("urn:epro:problem:invalid", "Content is invalid"),
            Self::Internal => ("urn:epro:problem:internal", "Fault of the service"),
            Self::NotDone => ("urn:epro:problem:not-done", "Not done in time"),
            Self::OutcomeUnknown => ("urn:epro:problem:outcome-unknown", "Outcome unknown"),
            Self::MayRepeat => {
                ("urn:epro:problem:may-repeat", "Outcome unknown, and a repeat may have the effect twice")
            }
            Self::TimedOut => ("urn:epro:problem:timed-out", "Not finished in time"),
        }
    }

    /// Seconds after which to repeat the request, where that may help and does no harm.
    pub(super) fn retry_after(self) -> Option<HeaderValue> {
        match self {
            Self::NotDone | Self::OutcomeUnknown | Self::TimedOut => Some(HeaderValue::from_static("1")),
            // The app must send the original first.
            Self::OriginalMissing => Some(HeaderValue::from_static("5")),
            _ => None,
        }
    }
}
