//! Which subjects are enrolled: those of whom there is a profile.

use std::collections::BTreeSet;

use clinical::ids::{PatientId, SiteId, StudyId};
use futures::{StreamExt, TryStreamExt, stream};
use invocation::Deadline;
use invocation::aws::Failure;

use crate::table::attributes::{Item, Reader};
use crate::table::keys::PK;
use crate::items::profile::Profile;
use crate::store::{MOST_KEYS, Store};

const OPERATION: &str = "BatchGetItem of subjects";
const READS_AT_ONCE: usize = 4;

impl Store {
    /// Those of `subjects` that have sent a submission, the last one from one of `sites`.
    ///
    /// # Errors
    /// If the store did not answer in time, or with something that cannot be read.
    pub async fn enrolled<'a>(
        &self,
        study: &StudyId,
        sites: &BTreeSet<SiteId>,
        subjects: &'a BTreeSet<PatientId>,
        deadline: Deadline,
    ) -> Result<BTreeSet<&'a PatientId>, Failure> {
        let keys: Vec<Item> = subjects.iter().map(|subject| Profile::key(study, subject)).collect();
        let batches: Vec<Vec<Item>> = keys.chunks(MOST_KEYS).map(<[Item]>::to_vec).collect();
        let items: Vec<Vec<Item>> = stream::iter(batches)
            .map(|batch| self.get_all(&self.tables.records, batch, OPERATION, deadline))
            .buffer_unordered(READS_AT_ONCE)
            .try_collect()
            .await?;
        let mut found = BTreeSet::new();
        for item in items.iter().flatten() {
            let reader = Reader(item);
            let unreadable = |_| Failure::unreadable(OPERATION, "a profile cannot be read");
            let (key, site) = (reader.text(PK).map_err(unreadable)?, reader.text("site").map_err(unreadable)?);
            if sites.iter().any(|own| own.as_str() == site) {
                found.insert(key.to_owned());
            }
        }
        let is_found = |subject: &&PatientId| {
            let key = Profile::key(study, subject);
            Reader(&key).text(PK).is_ok_and(|key| found.contains(key))
        };
        Ok(subjects.iter().filter(is_found).collect())
    }
}
