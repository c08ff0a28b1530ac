//! Patients: their profiles, the list of a site's patients, and the partition of each patient.

use std::collections::{BTreeSet, HashMap};

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use clinical::ids::{PatientId, SiteId, StudyId};
use futures::{StreamExt, TryStreamExt, stream};
use invocation::Deadline;
use invocation::aws::Failure;

use super::Store;
use crate::items::profile::{PatientRow, Profile};
use crate::table::attributes::{Item, Reader, Unreadable, text, unreadable};
use crate::table::calls::{self, BATCH_KEYS, GET, batch_get, send};
use crate::table::cursor::Page;
use crate::table::keys::{self, PATIENT, PK, SITE_INDEX, SITE_KEY, SITE_SORT};

const READS_AT_ONCE: usize = 4;

impl Store {
    /// At most `most` of the patients whose last submission was of `site`, by id, after the position `after`, which is
    /// the `next` of an earlier page. Who is listed is eventually consistent; each profile is read consistently.
    ///
    /// # Errors
    /// If the store did not return them in time.
    pub async fn patients(
        &self,
        study: &StudyId,
        site: &SiteId,
        after: Option<&str>,
        most: usize,
        deadline: Deadline,
    ) -> Result<Page<PatientRow>, Failure> {
        const OPERATION: &str = "Query of profiles";
        // A page begins after an id and not after a number, so that patients who are added or leave between two pages
        // do not shift it. An id holds only characters above the space.
        let from = after.map_or_else(|| PATIENT.to_owned(), |after| format!("{PATIENT}{after} "));
        let query = self.patients_from(study, site, from);
        // One more than requested shows whether another page follows.
        let mut items = calls::query(query, most + 1, OPERATION, deadline).await?;
        let more = items.len() > most;
        items.truncate(most);
        let patients: Result<Vec<PatientId>, Unreadable> = items.iter().map(patient_of_entry).collect();
        let patients = patients.map_err(|_| Failure::unreadable(OPERATION, "a profile names no patient"))?;
        let next = patients.last().filter(|_| more).map(|last| last.as_str().to_owned());
        let profiles = self.profile_items(study, &patients, deadline).await?;
        // A patient who has moved meanwhile is listed at the other site.
        let of_site = |profile: &Result<Profile, Unreadable>| profile.as_ref().map_or(true, |one| one.site == *site);
        let row = |patient: PatientId| {
            let profile = Profile::from_item(profiles.get(&keys::patient(study, &patient))?);
            of_site(&profile).then_some(PatientRow { patient, profile })
        };
        Ok(Page { entries: patients.into_iter().filter_map(row).collect(), next })
    }

    /// The profiles of `patients` that are stored, by partition.
    async fn profile_items<'a>(
        &self,
        study: &StudyId,
        patients: impl IntoIterator<Item = &'a PatientId>,
        deadline: Deadline,
    ) -> Result<HashMap<String, Item>, Failure> {
        const OPERATION: &str = "BatchGetItem of profiles";
        let keys: Vec<Item> = patients.into_iter().map(|patient| keys::profile(study, patient)).collect();
        let batches: Vec<Vec<Item>> = keys.chunks(BATCH_KEYS).map(<[Item]>::to_vec).collect();
        let items: Vec<Vec<Item>> = stream::iter(batches)
            .map(|batch| batch_get(&self.dynamodb, &self.tables.records, batch, OPERATION, deadline))
            .buffer_unordered(READS_AT_ONCE)
            .try_collect()
            .await?;
        let by_partition = |item: Item| Ok((Reader(&item).owned_text(PK)?, item));
        let items: Result<_, Unreadable> = items.into_iter().flatten().map(by_partition).collect();
        items.map_err(|_| Failure::unreadable(OPERATION, "it returned an item without its key"))
    }

    /// The patients of `site`, by id, and the number of profiles that name no patient. The index is eventually
    /// consistent: it may lack a patient whose first submission was scored a moment ago.
    ///
    /// # Errors
    /// If the store did not return all of them in time.
    pub async fn site_patients(
        &self,
        study: &StudyId,
        site: &SiteId,
        deadline: Deadline,
    ) -> Result<(Vec<PatientId>, u64), Failure> {
        self.patients_of(study, site, usize::MAX, deadline).await
    }

    /// As [`site_patients`](Self::site_patients), of the first `most` patients.
    pub(crate) async fn patients_of(
        &self,
        study: &StudyId,
        site: &SiteId,
        most: usize,
        deadline: Deadline,
    ) -> Result<(Vec<PatientId>, u64), Failure> {
        let query = self.patients_from(study, site, PATIENT.to_owned());
        let items = calls::query(query, most, "Query of a site's patients", deadline).await?;
        let mut patients: Vec<PatientId> = items.iter().filter_map(|item| patient_of_entry(item).ok()).collect();
        patients.sort();
        let unreadable = items.len() - patients.len();
        Ok((patients, unreadable as u64))
    }

    /// The query of the profiles of `site` in the index, by patient, beginning with the sort key `from`.
    fn patients_from(&self, study: &StudyId, site: &SiteId, from: String) -> QueryFluentBuilder {
        self.dynamodb
            .query()
            .table_name(&self.tables.records)
            .index_name(SITE_INDEX)
            // An id holds only characters below the tilde.
            .key_condition_expression("site_key = :site AND site_sort BETWEEN :from AND :to")
            .expression_attribute_values(":site", text(keys::site(study, site)))
            .expression_attribute_values(":from", text(from))
            .expression_attribute_values(":to", text(format!("{PATIENT}~")))
    }

    /// The enrolled ones of `subjects`: those with a scored submission whose last one is of one of `sites`.
    ///
    /// # Errors
    /// If the store did not return all profiles in time, or one cannot be read.
    pub async fn enrolled<'a>(
        &self,
        study: &StudyId,
        sites: &BTreeSet<SiteId>,
        subjects: &'a BTreeSet<PatientId>,
        deadline: Deadline,
    ) -> Result<BTreeSet<&'a PatientId>, Failure> {
        let profiles = self.profile_items(study, subjects, deadline).await?;
        let mut found = BTreeSet::new();
        for (key, item) in &profiles {
            let site = Reader(item).text(SITE_KEY);
            let site = site.map_err(|_| Failure::unreadable("BatchGetItem of profiles", "a profile names no site"))?;
            if sites.iter().any(|own| keys::site(study, own) == site) {
                found.insert(key.as_str());
            }
        }
        Ok(subjects.iter().filter(|subject| found.contains(keys::patient(study, subject).as_str())).collect())
    }

    /// The profile of `patient`, read consistently; `None` before the first score.
    pub(super) async fn profile(
        &self,
        study: &StudyId,
        patient: &PatientId,
        deadline: Deadline,
    ) -> Result<Option<Profile>, Failure> {
        const OPERATION: &str = "GetItem of a profile";
        let request = self
            .dynamodb
            .get_item()
            .table_name(&self.tables.records)
            .set_key(Some(keys::profile(study, patient)))
            .consistent_read(true);
        let item = send(request, deadline, GET).await.map_err(|error| error.into_failure(OPERATION))?.item;
        let profile = item.map(|item| Profile::from_item(&item)).transpose();
        profile.map_err(|_| Failure::unreadable(OPERATION, "the patient's profile cannot be read"))
    }

    /// The profile and the submissions of `patient`. `narrow` may add a filter and a projection to the query. Read
    /// consistently.
    pub(super) async fn items_of_patient(
        &self,
        study: &StudyId,
        patient: &PatientId,
        narrow: impl FnOnce(QueryFluentBuilder) -> QueryFluentBuilder,
        deadline: Deadline,
    ) -> Result<Vec<Item>, Failure> {
        let query = narrow(self.partition(keys::patient(study, patient)));
        calls::query(query, usize::MAX, "Query of a patient's records", deadline).await
    }
}

/// The patient of an entry of the index `site`.
fn patient_of_entry(entry: &Item) -> Result<PatientId, Unreadable> {
    let patient = Reader(entry).text(SITE_SORT)?.strip_prefix(PATIENT).and_then(|patient| patient.parse().ok());
    patient.ok_or_else(|| unreadable(SITE_SORT, "names no patient"))
}
