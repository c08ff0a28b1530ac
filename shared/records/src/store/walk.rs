//! A walk over both tables that only reads: every patient whole, and every other item, page by page, in the order of
//! their keys. All reads are consistent.

use std::collections::BTreeMap;
use std::time::Duration;

use clinical::ids::{PatientId, SiteId, StudyId, StudyVersion};
use clinical::studies::{Protocol, Study};
use futures::{StreamExt, TryStreamExt, stream};
use invocation::Deadline;
use invocation::aws::{Failure, Limits};
use time::OffsetDateTime;

use super::Store;
use crate::items::audit::{Audit, AuditAction};
use crate::items::counts::{API_CALLS, SCORED, SiteCounts};
use crate::items::document;
use crate::items::patient_records::{PatientRecords, UnreadableItem};
use crate::items::walked::{DocumentName, StoredDocument, Walked};
use crate::table::attributes::{Item, Reader, Unreadable, sortable, text, unreadable};
use crate::table::calls::{self, BATCH_KEYS, GET, batch_get, send};
use crate::table::keys::{self, PATIENT, PK, SK};

const SCAN: Limits = Limits { most: Duration::from_secs(5), least: Duration::from_millis(50) };
const OPERATION: &str = "Scan of the records";
const READS_AT_ONCE: usize = 4;
/// An invocation lasts at most this long, so that an audit entry is not later than this after its change.
const LONGEST_INVOCATION: time::Duration = time::Duration::minutes(15);

/// The position in a walk after which it goes on. It names a patient, so that it belongs in the table only.
#[derive(Clone, PartialEq, Eq)]
pub struct WalkPosition {
    /// The partition of the last item of the page before.
    pub pk: String,
    /// Its place in the partition.
    pub sk: String,
}

impl std::fmt::Debug for WalkPosition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WalkPosition(redacted)")
    }
}

/// A page of a walk.
#[derive(Debug)]
pub struct WalkPage {
    /// What it found.
    pub found: Vec<Walked>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<WalkPosition>,
}

/// The counters of all sites.
#[derive(Debug, Default)]
pub struct AllCounts {
    /// The submissions and alerts of each site, by study and site.
    pub sites: BTreeMap<(StudyId, SiteId), SiteCounts>,
    /// The counters that cannot be read, which are missing in `sites`, each with its site if its key names one.
    pub unreadable: Vec<(Option<(StudyId, SiteId)>, UnreadableItem)>,
}

impl Store {
    /// The page of at most `most` items after `after`. A patient whose items span pages is read whole with the first of
    /// them and is not in the others, so that each patient is in one page, and a page has in memory its items, one
    /// patient's beside them, and the alerts of all of these.
    ///
    /// # Errors
    /// If the store did not return it in time.
    pub async fn walk(&self, after: Option<&WalkPosition>, most: u16, deadline: Deadline) -> Result<WalkPage, Failure> {
        let request = self
            .dynamodb
            .scan()
            .table_name(&self.tables.records)
            .consistent_read(true)
            .limit(most.into())
            .set_exclusive_start_key(after.map(|WalkPosition { pk, sk }| keys::key(pk, sk)));
        let answer = send(request, deadline, SCAN).await.map_err(|error| error.into_failure(OPERATION))?;
        let next = answer.last_evaluated_key.as_ref().map(WalkPosition::of).transpose();
        let next = next.map_err(|_| Failure::unreadable(OPERATION, "a position cannot be read"))?;
        let (mut found, mut patients) = (Vec::new(), Vec::new());
        let mut of_patient: Vec<Item> = Vec::new();
        for item in answer.items.unwrap_or_default() {
            let pk = pk_of(&item);
            if !pk.starts_with(PATIENT) {
                found.extend(Walked::of(&item));
            } else if after.is_none_or(|after| after.pk != pk) {
                if of_patient.first().is_some_and(|first| pk_of(first) != pk) {
                    patients.push(whole(&std::mem::take(&mut of_patient)));
                }
                of_patient.push(item);
            }
        }
        // Only the last one may go on in the next page.
        if let Some(pk) = of_patient.first().map(|first| pk_of(first).to_owned()) {
            let goes_on = next.as_ref().is_some_and(|next| next.pk == pk);
            patients.push(match keys::patient_of(&pk).filter(|_| goes_on) {
                Some((study, patient)) => Ok(self.without_alerts(&study, &patient, deadline).await?),
                None => whole(&of_patient),
            });
        }
        let mut whole = Vec::new();
        for patient in patients {
            match patient {
                Ok(records) => whole.push(records),
                Err(unreadable) => found.push(Walked::Unreadable(unreadable)),
            }
        }
        let reads: Vec<_> = whole.into_iter().map(|records| self.with_alerts(records, deadline)).collect();
        let whole: Vec<PatientRecords> = stream::iter(reads).buffered(READS_AT_ONCE).try_collect().await?;
        found.extend(whole.into_iter().map(|records| Walked::Patient(Box::new(records))));
        Ok(WalkPage { found, next })
    }

    /// All that is stored of `patient`.
    ///
    /// # Errors
    /// If the store did not return all of it in time.
    pub async fn patient_records(
        &self,
        study: &StudyId,
        patient: &PatientId,
        deadline: Deadline,
    ) -> Result<PatientRecords, Failure> {
        self.with_alerts(self.without_alerts(study, patient, deadline).await?, deadline).await
    }

    /// `records` with the alerts that its scores name. They are read after the scores, so that those of a score are there.
    async fn with_alerts(&self, mut records: PatientRecords, deadline: Deadline) -> Result<PatientRecords, Failure> {
        let rows = self.alert_rows(records.alert_keys(), deadline).await?;
        records.add_alerts(&rows);
        Ok(records)
    }

    /// The records of `patient`, without the alerts.
    async fn without_alerts(
        &self,
        study: &StudyId,
        patient: &PatientId,
        deadline: Deadline,
    ) -> Result<PatientRecords, Failure> {
        let items = self.items_of_patient(study, patient, deadline).await?;
        PatientRecords::of(&keys::patient(study, patient), &items)
            .map_err(|_| Failure::unreadable("Query of a patient's records", "the key names no patient"))
    }

    /// The entries of `action` on the audit trail of `site`, or of its study or of all studies as a whole where they are
    /// `None`, from `from` on: at that very instant where `exactly` is set, else within the longest time that an
    /// invocation lasts.
    ///
    /// # Errors
    /// If the store did not return all of them in time.
    pub async fn audit_of_change(
        &self,
        (study, site): (Option<&StudyId>, Option<&SiteId>),
        action: AuditAction,
        from: OffsetDateTime,
        exactly: bool,
        deadline: Deadline,
    ) -> Result<Vec<Audit>, Failure> {
        let until = if exactly { from } else { from.saturating_add(LONGEST_INVOCATION) };
        let query = self
            .dynamodb
            .query()
            .table_name(&self.tables.records)
            .consistent_read(true)
            .key_condition_expression("pk = :pk AND sk BETWEEN :from AND :until")
            .filter_expression("#action = :action")
            .expression_attribute_names("#action", "action")
            .expression_attribute_values(":pk", text(keys::audit(study, site)))
            .expression_attribute_values(":from", text(format!("{}#", sortable(from))))
            // An id of an entry holds only characters below the tilde.
            .expression_attribute_values(":until", text(format!("{}#~", sortable(until))))
            .expression_attribute_values(":action", text(action.as_str()));
        let items = calls::query(query, usize::MAX, "Query of a change's audit entries", deadline).await?;
        Ok(items.iter().filter_map(|item| Audit::from_item(item).ok()).collect())
    }

    /// The `version` of `study` with its instruments, as they are stored and not as they are cached; `None` if it is
    /// not stored.
    ///
    /// # Errors
    /// If the store did not return it in time. Inside, if it cannot be read.
    pub async fn stored_study(
        &self,
        study: &StudyId,
        version: &StudyVersion,
        deadline: Deadline,
    ) -> Result<Option<Result<Protocol, Unreadable>>, Failure> {
        let request = self
            .dynamodb
            .get_item()
            .table_name(&self.tables.records)
            .set_key(Some(keys::study_version(study, version)))
            .consistent_read(true);
        let answer = send(request, deadline, GET).await;
        let item = answer.map_err(|error| error.into_failure("GetItem of a study as it is stored"))?.item;
        let Some(item) = item else { return Ok(None) };
        let study = match document::study(&item) {
            Ok(study) => study,
            Err(unreadable) => return Ok(Some(Err(unreadable))),
        };
        let names: Vec<Item> = study.own_instruments().map(|(id, version)| keys::instrument(id, version)).collect();
        let mut own = Vec::new();
        for names in names.chunks(BATCH_KEYS) {
            let operation = "BatchGetItem of instruments as they are stored";
            for item in batch_get(&self.dynamodb, &self.tables.records, names.to_vec(), operation, deadline).await? {
                match document::instrument(&item) {
                    Ok(instrument) => own.push(std::sync::Arc::new(instrument)),
                    Err(unreadable) => return Ok(Some(Err(unreadable))),
                }
            }
        }
        Ok(Some(study.with_instruments(&own, |_| true).map_err(|_| unreadable("json", "is not a valid study"))))
    }

    /// The stored document `name`; `None` if it is not stored or cannot be read.
    ///
    /// # Errors
    /// If the store did not return it in time.
    pub async fn document(&self, name: &DocumentName, deadline: Deadline) -> Result<Option<StoredDocument>, Failure> {
        let request =
            self.dynamodb.get_item().table_name(&self.tables.records).set_key(Some(name.key())).consistent_read(true);
        let answer = send(request, deadline, GET).await;
        let item = answer.map_err(|error| error.into_failure("GetItem of a document as it is stored"))?.item;
        Ok(match item.and_then(|item| Walked::of(&item)) {
            Some(Walked::Document(document)) => Some(document),
            _ => None,
        })
    }

    /// All stored versions of `study` that can be read, in no particular order.
    ///
    /// # Errors
    /// If the store did not return all of them in time.
    pub async fn study_versions(&self, study: &StudyId, deadline: Deadline) -> Result<Vec<Study>, Failure> {
        let query = self
            .dynamodb
            .query()
            .table_name(&self.tables.records)
            .consistent_read(true)
            .key_condition_expression("pk = :study AND begins_with(sk, :version)")
            .expression_attribute_values(":study", text(keys::study_partition(study)))
            .expression_attribute_values(":version", text("VERSION#"));
        let items = calls::query(query, usize::MAX, "Query of a study's versions", deadline).await?;
        Ok(items.iter().filter_map(|item| document::study(item).ok()).collect())
    }

    /// The counters of every site that has one, as far as they can be read.
    ///
    /// # Errors
    /// If the store did not return all of them in time.
    pub async fn all_counts(&self, deadline: Deadline) -> Result<AllCounts, Failure> {
        const OPERATION: &str = "Scan of the counts";
        let mut counts = AllCounts::default();
        let mut from = None;
        loop {
            let request = self.dynamodb.scan().table_name(&self.tables.counts).consistent_read(true);
            let request = request.set_exclusive_start_key(from);
            let answer = send(request, deadline, SCAN).await.map_err(|error| error.into_failure(OPERATION))?;
            for item in answer.items.unwrap_or_default() {
                counts.add(&item);
            }
            from = answer.last_evaluated_key;
            if from.is_none() {
                return Ok(counts);
            }
        }
    }

    /// The counts of each of `sites`, as [`site_counts`](Self::site_counts) returns them, for sites of any study; `None`
    /// for one with a counter that cannot be read.
    ///
    /// # Errors
    /// If the store did not return all of them in time.
    pub async fn counts_of(
        &self,
        sites: &[(StudyId, SiteId)],
        deadline: Deadline,
    ) -> Result<Vec<Option<SiteCounts>>, Failure> {
        let reads = sites.iter().map(|(study, site)| async move {
            match self.site_counts(study, std::slice::from_ref(site), deadline).await {
                Ok(mut counts) => Ok(Some(counts.pop().unwrap_or_default())),
                Err(failure) if failure.is_unreadable() => Ok(None),
                Err(failure) => Err(failure),
            }
        });
        stream::iter(reads.collect::<Vec<_>>()).buffered(READS_AT_ONCE).try_collect().await
    }
}

impl AllCounts {
    fn add(&mut self, item: &Item) {
        let site = keys::counted(pk_of(item));
        let read = match &site {
            Some((study, site, SCORED)) => self.sites.entry((study.clone(), site.clone())).or_default().add(item),
            Some((_, _, API_CALLS)) => SiteCounts::default().add(item),
            Some(_) => Err(unreadable(PK, "names no metric")),
            None => Err(unreadable(PK, "names no counter")),
        };
        if let Err(reason) = read {
            let site = site.map(|(study, site, _)| (study, site));
            self.unreadable.push((site, UnreadableItem { kind: "counter", submission: None, reason }));
        }
    }
}

impl WalkPosition {
    fn of(key: &Item) -> Result<Self, Unreadable> {
        Ok(Self { pk: Reader(key).owned_text(PK)?, sk: Reader(key).owned_text(SK)? })
    }
}

fn pk_of(item: &Item) -> &str {
    Reader(item).text(PK).unwrap_or_default()
}

/// The items in a patient's partition, without the alerts.
fn whole(items: &[Item]) -> Result<PatientRecords, UnreadableItem> {
    let records = PatientRecords::of(items.first().map_or("", pk_of), items);
    records.map_err(|reason| UnreadableItem { kind: "patient", submission: None, reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promise_10_a_position_names_no_patient_in_debug_output() {
        let position = WalkPosition { pk: "PATIENT#DEMO#P-1".to_owned(), sk: "PROFILE".to_owned() };
        assert_eq!(format!("{position:?}"), "WalkPosition(redacted)");
    }
}
