//! Patients: their profiles, the list of a site's patients, and the partition of each patient.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use clinical::ids::{PatientId, SiteId, StudyId};
use futures::{StreamExt, TryStreamExt, stream};
use invocation::Deadline;
use invocation::aws::Failure;

use super::Store;
use super::registry::participation;
use crate::items::profile::{PatientRow, Profile};
use crate::items::registration::Registration;
use crate::table::attributes::{Item, Reader, Unreadable, text, unreadable};
use crate::table::calls::{self, BATCH_KEYS, GET, batch_get, send};
use crate::table::cursor::Page;
use crate::table::keys::{self, AFTER_PLAN, PATIENT, PK, REGISTRATION, SITE_INDEX, SITE_SORT, SK, SUBMISSION};

const READS_AT_ONCE: usize = 4;
/// The most entries of one patient under one site: the profile, and the entry beside it.
pub(super) const ENTRIES: usize = 2;

/// The items that say who is responsible for a patient.
#[derive(Default)]
struct Known {
    registration: Option<Item>,
    profile: Option<Item>,
}

impl Store {
    /// At most `most` of the patients of `site`, by id, after the position `after`, which is the `next` of an earlier
    /// page: those registered there, and of the others those whose last submission was of the site. Who is listed is
    /// eventually consistent; what is known of each is read consistently.
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
        const OPERATION: &str = "Query of a page of patients";
        // A page begins after an id and not after a number, so that patients who are added or leave between two pages
        // do not shift it. An id holds only characters above the space.
        let from = after.map_or_else(|| PATIENT.to_owned(), |after| format!("{PATIENT}{after} "));
        let query = self.patients_from(study, site, from);
        // One more than requested shows whether another page follows.
        let items = calls::query(query, (most + 1) * ENTRIES, OPERATION, deadline).await?;
        let patients: Result<Vec<PatientId>, Unreadable> = items.iter().map(patient_of_entry).collect();
        let mut patients = patients.map_err(|_| Failure::unreadable(OPERATION, "an entry names no patient"))?;
        patients.dedup();
        let more = patients.len() > most;
        patients.truncate(most);
        let next = patients.last().filter(|_| more).map(|last| last.as_str().to_owned());
        let mut known = self.known_of(study, &patients, deadline).await?;
        let row = |patient: PatientId| {
            let Known { registration, profile } = known.remove(&keys::patient(study, &patient))?;
            let row = PatientRow {
                patient,
                registration: registration.as_ref().map(Registration::from_item).transpose(),
                profile: profile.as_ref().map(Profile::from_item).transpose(),
            };
            // A patient who has moved is listed at the other site.
            row.site().is_none_or(|responsible| responsible == site).then_some(row)
        };
        Ok(Page { entries: patients.into_iter().filter_map(row).collect(), next })
    }

    /// What is known of those of `patients` of whom something is stored, by partition.
    async fn known_of<'a>(
        &self,
        study: &StudyId,
        patients: impl IntoIterator<Item = &'a PatientId>,
        deadline: Deadline,
    ) -> Result<BTreeMap<String, Known>, Failure> {
        const OPERATION: &str = "BatchGetItem of profiles and registrations";
        let keys = patients
            .into_iter()
            .flat_map(|patient| [keys::profile(study, patient), keys::registration(study, patient)])
            .collect::<Vec<Item>>();
        let batches: Vec<Vec<Item>> = keys.chunks(BATCH_KEYS).map(<[Item]>::to_vec).collect();
        let items: Vec<Vec<Item>> = stream::iter(batches)
            .map(|batch| batch_get(&self.dynamodb, &self.tables.records, batch, OPERATION, deadline))
            .buffer_unordered(READS_AT_ONCE)
            .try_collect()
            .await?;
        let mut known = BTreeMap::<String, Known>::new();
        for item in items.into_iter().flatten() {
            let of = Reader(&item).owned_text(PK);
            let of = of.map_err(|_| Failure::unreadable(OPERATION, "it returned an item without its key"))?;
            let is_registration = Reader(&item).text(SK) == Ok(REGISTRATION);
            let known = known.entry(of).or_default();
            *(if is_registration { &mut known.registration } else { &mut known.profile }) = Some(item);
        }
        Ok(known)
    }

    /// The patients who are, or were, of `site`, by id, and the number of entries that name no patient. The index is
    /// eventually consistent: it may lack a patient whose first submission was scored a moment ago.
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
        let items = calls::query(query, most.saturating_mul(ENTRIES), "Query of a site's patients", deadline).await?;
        let mut patients: Vec<PatientId> = items.iter().filter_map(|item| patient_of_entry(item).ok()).collect();
        let unreadable = items.len() - patients.len();
        patients.sort();
        patients.dedup();
        patients.truncate(most);
        Ok((patients, unreadable as u64))
    }

    /// The query of the entries of `site` in the index, by patient, beginning with the sort key `from`.
    pub(super) fn patients_from(&self, study: &StudyId, site: &SiteId, from: String) -> QueryFluentBuilder {
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

    /// The enrolled ones of `subjects`: those for whom one of `sites` is responsible.
    ///
    /// # Errors
    /// If the store did not return all profiles and registrations in time, or one cannot be read.
    pub async fn enrolled<'a>(
        &self,
        study: &StudyId,
        sites: &BTreeSet<SiteId>,
        subjects: &'a BTreeSet<PatientId>,
        deadline: Deadline,
    ) -> Result<BTreeSet<&'a PatientId>, Failure> {
        let known = self.known_of(study, subjects, deadline).await?;
        let mut enrolled = BTreeSet::new();
        for subject in subjects {
            let Some(Known { registration, profile }) = known.get(&keys::patient(study, subject)) else { continue };
            let participation = participation(registration.as_ref(), profile.as_ref())
                .map_err(|_| Failure::unreadable("BatchGetItem of profiles and registrations", "one names no site"))?;
            if participation.site().is_some_and(|site| sites.contains(site)) {
                enrolled.insert(subject);
            }
        }
        Ok(enrolled)
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

    /// All items of `patient`. Read consistently.
    pub(super) async fn items_of_patient(
        &self,
        study: &StudyId,
        patient: &PatientId,
        deadline: Deadline,
    ) -> Result<Vec<Item>, Failure> {
        let query = self.partition(keys::patient(study, patient));
        calls::query(query, usize::MAX, "Query of a patient's records", deadline).await
    }

    /// All items of `patient` but for the occurrences and their plan: submissions, profile, registration, site entries.
    /// `narrow` may add a filter and a projection to the query. Read consistently.
    pub(super) async fn data_of_patient(
        &self,
        study: &StudyId,
        patient: &PatientId,
        narrow: impl FnOnce(QueryFluentBuilder) -> QueryFluentBuilder,
        deadline: Deadline,
    ) -> Result<Vec<Item>, Failure> {
        let query = self.between(keys::patient(study, patient), AFTER_PLAN.to_owned(), format!("{SUBMISSION}~"));
        calls::query(narrow(query), usize::MAX, "Query of a patient's records", deadline).await
    }

    /// A query of the records under `pk` with the sort keys from `first` to `last`, read consistently.
    pub(super) fn between(&self, pk: String, first: String, last: String) -> QueryFluentBuilder {
        self.partition(pk)
            .key_condition_expression("pk = :pk AND sk BETWEEN :first AND :last")
            .expression_attribute_values(":first", text(first))
            .expression_attribute_values(":last", text(last))
    }
}

/// The patient of an entry of the index `site`.
pub(super) fn patient_of_entry(entry: &Item) -> Result<PatientId, Unreadable> {
    let patient = Reader(entry).text(SITE_SORT)?.strip_prefix(PATIENT).and_then(|patient| patient.parse().ok());
    patient.ok_or_else(|| unreadable(SITE_SORT, "names no patient"))
}
