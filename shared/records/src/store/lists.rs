//! The lists of the index `pending`, read in pages.

use std::time::Duration;

use aws_sdk_dynamodb::types::Select;
use clinical::ids::{PatientId, StudyId};
use futures::future::try_join_all;
use invocation::Deadline;
use invocation::aws::{Failure, Limits};
use serde_json::value::RawValue;
use time::OffsetDateTime;

use super::Store;
use crate::items::alert::{self, Alert};
use crate::items::occurrence::{self, StoredOccurrence};
use crate::items::rollout::{self, Rollout};
use crate::items::{plan, profile, stream, submission};
use crate::table::attributes::{Item, Reader, sortable, text};
use crate::table::calls::{batch_get, send};
use crate::table::cursor::Position;
use crate::table::keys::{self, PK, SK};
use crate::table::lists::{List, PENDING, PENDING_SINCE};

const QUERY: Limits = Limits { most: Duration::from_secs(3), least: Duration::from_millis(50) };
/// The number of items that are read at once: 25 submissions of the largest size are 6 MB.
const PAGE: i32 = 25;

/// A page of a list, oldest first, as the items are in the table now.
#[derive(Debug, Default)]
pub struct Waiting {
    /// Submissions, each as the text of the stream's record of its insertion.
    pub submissions: Vec<Box<RawValue>>,
    /// Alerts that are to be published, escalated or removed from the list.
    pub alerts: Vec<Alert>,
    /// Patients whose courses are due for [`Store::reevaluate`].
    pub patients: Vec<(StudyId, PatientId)>,
    /// Occurrences whose reminder is due or whose window has closed.
    pub occurrences: Vec<StoredOccurrence>,
    /// Patients of whom more occurrences are to be made.
    pub plans: Vec<(StudyId, PatientId)>,
    /// Studies whose patients are to be planned for another version.
    pub rollouts: Vec<Rollout>,
    /// The number of items of another kind or that cannot be read.
    pub unreadable: usize,
    /// Since when the oldest item of the page is on the list.
    pub oldest: Option<OffsetDateTime>,
    /// The position of the next page; `None` if this is the last.
    pub next: Option<Position>,
}

impl Store {
    /// A page of what is in the shard `shard` of `list` since before `before`, from `position` on.
    ///
    /// # Errors
    /// If the store did not return it in time.
    pub async fn waiting(
        &self,
        list: List,
        shard: u32,
        before: OffsetDateTime,
        position: Option<Position>,
        deadline: Deadline,
    ) -> Result<Waiting, Failure> {
        let request = self
            .dynamodb
            .query()
            .table_name(&self.tables.records)
            .index_name(PENDING)
            .key_condition_expression("pending = :list AND pending_since < :before")
            .expression_attribute_values(":list", text(list.shard_key(shard)))
            .expression_attribute_values(":before", text(sortable(before)))
            .limit(PAGE)
            .set_exclusive_start_key(position.map(|Position(key)| key));
        let answer = send(request, deadline, QUERY).await.map_err(|error| error.into_failure("Query of a list"))?;
        let listed = answer.items.unwrap_or_default();
        let oldest = listed.first().and_then(|item| Reader(item).instant(PENDING_SINCE).ok());
        let keys: Vec<Item> = listed.into_iter().map(primary_key).collect();
        let mut page = Waiting { oldest, next: answer.last_evaluated_key.map(Position), ..Waiting::default() };
        // The index is eventually consistent and holds keys only; the table decides.
        let table = &self.tables.records;
        for item in batch_get(&self.dynamodb, table, keys, "BatchGetItem of a list", deadline).await? {
            page.add(item, list);
        }
        Ok(page)
    }

    /// The number of items on `list`, those that are not due yet included.
    ///
    /// # Errors
    /// If the store did not return it in time.
    pub async fn count_listed(&self, list: List, deadline: Deadline) -> Result<u64, Failure> {
        let shards = List::shards().map(|shard| self.count_in_shard(list, shard, deadline));
        Ok(try_join_all(shards).await?.into_iter().sum())
    }

    async fn count_in_shard(&self, list: List, shard: u32, deadline: Deadline) -> Result<u64, Failure> {
        let mut count = 0;
        let mut position = None;
        loop {
            let request = self
                .dynamodb
                .query()
                .table_name(&self.tables.records)
                .index_name(PENDING)
                .key_condition_expression("pending = :list")
                .expression_attribute_values(":list", text(list.shard_key(shard)))
                .select(Select::Count)
                .set_exclusive_start_key(position);
            let answer = send(request, deadline, QUERY).await.map_err(|error| error.into_failure("Query of a list"))?;
            count += u64::try_from(answer.count).unwrap_or_default();
            position = answer.last_evaluated_key;
            if position.is_none() {
                return Ok(count);
            }
        }
    }
}

impl Waiting {
    /// Adds `item`, unless it has left `list` in the meantime.
    fn add(&mut self, item: Item, list: List) {
        let reader = Reader(&item);
        if reader.optional_text(PENDING).ok().flatten().and_then(List::of) != Some(list) {
            return;
        }
        match reader.text("kind") {
            Ok(submission::KIND) => self.submissions.push(stream::record(&item)),
            Ok(alert::KIND) => match Alert::from_item(&item) {
                Ok(alert) => self.alerts.push(alert),
                Err(_) => self.unreadable += 1,
            },
            Ok(occurrence::KIND) => match StoredOccurrence::from_item(&item) {
                Ok(occurrence) => self.occurrences.push(occurrence),
                Err(_) => self.unreadable += 1,
            },
            Ok(rollout::KIND) => match Rollout::from_item(&item) {
                Ok(rollout) => self.rollouts.push(rollout),
                Err(_) => self.unreadable += 1,
            },
            Ok(kind @ (profile::KIND | plan::KIND)) => match reader.text(PK).ok().and_then(keys::patient_of) {
                Some(patient) if kind == plan::KIND => self.plans.push(patient),
                Some(patient) => self.patients.push(patient),
                None => self.unreadable += 1,
            },
            _ => self.unreadable += 1,
        }
    }
}

/// The key in the table of an item of the index.
fn primary_key(mut item: Item) -> Item {
    item.retain(|name, _| name == PK || name == SK);
    item
}
