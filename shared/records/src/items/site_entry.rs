//! Entries that keep a patient in the index `site` under a site that is not that of the last submission: one where the
//! patient is enrolled and has sent nothing yet, or one that the patient has left. Written once, and never changed.

use clinical::ids::{PatientId, SiteId, StudyId};

use crate::table::attributes::{Item, text};
use crate::table::keys::{self, SITE_KEY, SITE_SORT};

pub(crate) const KIND: &str = "site-entry";

/// The item of the entry of `patient` under `site`.
pub(crate) fn to_item(study: &StudyId, patient: &PatientId, site: &SiteId) -> Item {
    let mut item = keys::site_entry(study, patient, site);
    item.extend([
        ("kind".to_owned(), text(KIND)),
        (SITE_KEY.to_owned(), text(keys::site(study, site))),
        (SITE_SORT.to_owned(), text(keys::patient_of_site(patient))),
    ]);
    item
}
