//! Changes of a registration, decided on what is stored.

use api::Problem;
use clinical::studies::Protocol;
use lambda_http::http::StatusCode;
use records::{Audit, Registration};

use crate::Asked;

/// A change that a request asks for.
pub(crate) trait Change {
    /// What is to be stored where `before` is, which is of a patient of any site, or unregistered; `None` if nothing is
    /// to be changed, and `before` is the answer.
    ///
    /// # Errors
    /// If the caller may not know of the patient, or the change is not possible.
    fn decide(
        &self,
        asked: &Asked<'_>,
        protocol: &Protocol,
        before: Option<&Registration>,
    ) -> Result<Option<Decided>, Problem>;
}

/// A change that is to be stored.
pub(crate) struct Decided {
    pub(crate) status: StatusCode,
    /// With the revision that it was decided on.
    pub(crate) registration: Registration,
    /// The entries of the change.
    pub(crate) audit: Vec<Audit>,
}

impl Decided {
    /// A change that has one entry.
    pub(crate) fn of(registration: Registration, audit: Audit) -> Self {
        Self { status: StatusCode::OK, registration, audit: vec![audit] }
    }
}
