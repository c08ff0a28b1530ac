//! A batch, read record by record: what one of them holds never spoils its neighbours.

use std::collections::HashMap;

use clinical::catalog::{Catalog, NotFound};
use clinical::ids::{PatientId, SiteId, StudyId, SubmissionId};
use clinical::instrument::Instrument;
use records::{Submission, ToScore, stream};
use serde_json::Value;

/// A batch, sorted by what is to be done.
pub(crate) struct Batch<'a> {
    /// By site, in the order of the stream: each submission, with its instrument and the records that brought it. The
    /// stream may bring one twice.
    pub(crate) sites: Vec<Vec<(Vec<usize>, ToScore<'a>)>>,
    /// What can never be scored.
    pub(crate) unscorable: Vec<Unscorable>,
    /// Records of something that is not for scoring.
    pub(crate) nothing_to_do: Vec<usize>,
}

/// A record that can never be scored.
pub(crate) struct Unscorable {
    pub(crate) index: usize,
    /// Why, without anything of what it holds.
    pub(crate) reason: String,
}

impl<'a> Batch<'a> {
    pub(crate) fn read(records: &[Value], catalog: &'a Catalog) -> Self {
        let mut batch = Self { sites: Vec::new(), unscorable: Vec::new(), nothing_to_do: Vec::new() };
        let mut site_of: HashMap<(StudyId, SiteId), usize> = HashMap::new();
        let mut seen: HashMap<(StudyId, PatientId, SubmissionId), (usize, usize)> = HashMap::new();
        for (index, record) in records.iter().enumerate() {
            let submission = match stream::submission(record) {
                Ok(Some(submission)) => submission,
                Ok(None) => {
                    batch.nothing_to_do.push(index);
                    continue;
                }
                Err(unreadable) => {
                    batch.unscorable.push(Unscorable { index, reason: unreadable.to_string() });
                    continue;
                }
            };
            let key = (submission.study.clone(), submission.patient.clone(), submission.id);
            if let Some(&(site, at)) = seen.get(&key) {
                batch.sites[site][at].0.push(index);
                continue;
            }
            match instrument(&submission, catalog) {
                Ok(instrument) => {
                    let site = (submission.study.clone(), submission.site.clone());
                    let site = *site_of.entry(site).or_insert_with(|| {
                        batch.sites.push(Vec::new());
                        batch.sites.len() - 1
                    });
                    seen.insert(key, (site, batch.sites[site].len()));
                    batch.sites[site].push((vec![index], ToScore { submission, instrument }));
                }
                Err(reason) => batch.unscorable.push(Unscorable { index, reason }),
            }
        }
        batch
    }
}

/// The definition that `submission` is scored by: the version that it names, and the very content that it was checked
/// against.
fn instrument<'a>(submission: &Submission, catalog: &'a Catalog) -> Result<&'a Instrument, String> {
    let named = &submission.instrument;
    let instrument = catalog.find(&named.id, &named.version).map_err(|not_found| match not_found {
        NotFound::Instrument => "it names an instrument that this version of the function does not know",
        NotFound::Version { .. } => {
            "it names a version of its instrument that this version of the function does not know"
        }
    })?;
    if instrument.hash() != named.hash {
        return Err("its instrument's content has changed under the same version".to_owned());
    }
    Ok(instrument)
}
