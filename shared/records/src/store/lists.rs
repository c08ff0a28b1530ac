//! What waits: the sparse index `pending`, in which an item stands only as long as something is to be done with it.

use std::time::Duration;

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use clinical::ids::{PatientId, StudyId};
use invocation::Deadline;
use invocation::aws::{Failure, Limits, call};
use serde_json::Value;
use time::OffsetDateTime;

use crate::items::alert::Alert;
use crate::table::attributes::{Item, Reader, instant, number, sortable, text};
use crate::table::keys::{self, PK, SK, WAITING_SHARDS};
use crate::store::Store;
use crate::items::{profile, stream, submission};

const QUERY: Limits = Limits { most: Duration::from_secs(3), least: Duration::from_millis(50) };
/// As many as are read at once: submissions of the largest kind together are 6 MB.
const PAGE: i32 = 25;

/// A list of what waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// Submissions that are not scored, alerts of which something is not published, and profiles whose courses are to be
    /// evaluated again.
    Pending,
    /// Critical alerts that were told and that nobody has acknowledged, from when they are to be looked at.
    Open,
    /// Submissions that can never be scored as things are.
    SetAside,
}

impl List {
    const ALL: [Self; 3] = [Self::Pending, Self::Open, Self::SetAside];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Open => "OPEN",
            Self::SetAside => "SET-ASIDE",
        }
    }

    /// The list that the value `pending` of an item names.
    pub(crate) fn of(pending: &str) -> Option<Self> {
        let (list, _) = pending.split_once('#')?;
        Self::ALL.into_iter().find(|known| known.as_str() == list)
    }

    /// Its parts. Each has an order of its own.
    pub fn shards() -> impl Iterator<Item = u32> {
        0..WAITING_SHARDS
    }
}

/// Some of what waits, oldest first, as it is in the table now.
#[derive(Debug, Default)]
pub struct Waiting {
    /// Submissions, each as a record of the stream that tells of it.
    pub submissions: Vec<Value>,
    /// Alerts.
    pub alerts: Vec<Alert>,
    /// Patients whose courses wait for [`Store::reevaluate`].
    pub patients: Vec<(StudyId, PatientId)>,
    /// How many items there are that are neither, or cannot be read.
    pub unreadable: usize,
    /// Since when the oldest of the page waits.
    pub oldest: Option<OffsetDateTime>,
    /// Where the next page begins; none: this is the last.
    pub next: Option<Position>,
}

/// A place in a list.
#[derive(Clone, Debug)]
pub struct Position(Item);

impl Store {
    /// A page of what waits in the part `shard` of `list` since before `before`, from `position` on.
    ///
    /// # Errors
    /// If the store did not answer in time.
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
            .index_name("pending")
            .key_condition_expression("pending = :list AND pending_since < :before")
            .expression_attribute_values(":list", text(keys::waiting_shard(list, shard)))
            .expression_attribute_values(":before", text(sortable(before)))
            .limit(PAGE)
            .set_exclusive_start_key(position.map(|Position(key)| key));
        let sent =
            call(deadline, QUERY, |timeouts| request.customize().config_override(Store::timeouts(timeouts)).send());
        let answer = sent.await.map_err(|error| error.of("Query of what waits"))?;
        let listed = answer.items.unwrap_or_default();
        let oldest = listed.first().and_then(|item| Reader(item).instant("pending_since").ok());
        let keys: Vec<Item> = listed.into_iter().map(primary_key).collect();
        let mut page = Waiting { oldest, next: answer.last_evaluated_key.map(Position), ..Waiting::default() };
        // The index follows the table by a moment, and holds keys only: what counts is in the table.
        for item in self.get_all(&self.tables.records, keys, "BatchGetItem of what waits", deadline).await? {
            page.take_in(item, list);
        }
        Ok(page)
    }

    /// Moves an open `alert` to its escalation's next step, as still to be told; gives it back so, or nothing if it is not
    /// open any more or has come to another step meanwhile.
    ///
    /// # Errors
    /// If the store did not confirm it.
    pub async fn escalate(
        &self,
        mut alert: Alert,
        at: OffsetDateTime,
        deadline: Deadline,
    ) -> Result<Option<Alert>, Failure> {
        let id = alert.id.to_string();
        let update = self
            .open_alert(&alert)
            .update_expression("SET escalation = :next, pending = :pending, pending_since = :at")
            .expression_attribute_values(":next", number(alert.escalation + 1))
            .expression_attribute_values(":pending", text(keys::waiting(List::Pending, &id)))
            .expression_attribute_values(":at", text(sortable(at)));
        let escalated = self.update_once(update, deadline).await?;
        alert.escalation += 1;
        alert.list = Some(List::Pending);
        Ok(escalated.then_some(alert))
    }

    /// Has an open `alert` looked at again at `due`.
    ///
    /// # Errors
    /// If the store did not confirm it.
    pub async fn look_again(&self, alert: &Alert, due: OffsetDateTime, deadline: Deadline) -> Result<(), Failure> {
        let update = self
            .open_alert(alert)
            .update_expression("SET pending_since = :due")
            .expression_attribute_values(":due", text(sortable(due)));
        self.update_once(update, deadline).await.map(drop)
    }

    /// Notes that an open `alert` was escalated as often as it may be and that nobody acknowledged it, and takes it off its
    /// list. Returns whether it was noted: not if it was acknowledged meanwhile.
    ///
    /// # Errors
    /// If the store did not confirm it.
    pub async fn exhaust(&self, alert: &Alert, at: OffsetDateTime, deadline: Deadline) -> Result<bool, Failure> {
        let update = self
            .open_alert(alert)
            .update_expression("SET exhausted_at = :at REMOVE pending, pending_since")
            .expression_attribute_values(":at", instant(at));
        self.update_once(update, deadline).await
    }

    /// Moves `alert` to the list of what is quarantined: work on it panicked, and would again.
    ///
    /// # Errors
    /// If the store did not confirm it.
    pub async fn quarantine_alert(&self, alert: &Alert, deadline: Deadline) -> Result<(), Failure> {
        let Some(list) = alert.list else { return Ok(()) };
        let id = alert.id.to_string();
        let update = self
            .dynamodb
            .update_item()
            .table_name(&self.tables.records)
            .set_key(Some(alert.own_key()))
            .update_expression("SET pending = :aside")
            .condition_expression("pending = :list")
            .expression_attribute_values(":aside", text(keys::waiting(List::SetAside, &id)))
            .expression_attribute_values(":list", text(keys::waiting(list, &id)));
        self.update_once(update, deadline).await.map(drop)
    }

    /// Takes `alert` off the list that it is on: nothing is to be done with it any more.
    ///
    /// # Errors
    /// If the store did not confirm it.
    pub async fn leave_list(&self, alert: &Alert, deadline: Deadline) -> Result<(), Failure> {
        let Some(list) = alert.list else { return Ok(()) };
        // Of one that waits to be told, only an acknowledgement takes anything away, and never its first publication.
        let over = match list {
            List::Pending => " AND attribute_exists(acknowledged_at) AND attribute_exists(sent_at)",
            List::Open | List::SetAside => "",
        };
        let update = self
            .dynamodb
            .update_item()
            .table_name(&self.tables.records)
            .set_key(Some(alert.own_key()))
            .update_expression("REMOVE pending, pending_since")
            .condition_expression(format!("pending = :list{over}"))
            .expression_attribute_values(":list", text(keys::waiting(list, &alert.id.to_string())));
        self.update_once(update, deadline).await.map(drop)
    }
}

impl Store {
    /// An update of `alert` that is only done if it is on the list of open ones, at the step that it has here, and
    /// acknowledged by nobody.
    fn open_alert(&self, alert: &Alert) -> UpdateItemFluentBuilder {
        let update = self
            .dynamodb
            .update_item()
            .table_name(&self.tables.records)
            .set_key(Some(alert.own_key()))
            .expression_attribute_values(":open", text(keys::waiting(List::Open, &alert.id.to_string())));
        let open = "pending = :open AND attribute_not_exists(acknowledged_at)";
        match alert.escalation {
            0 => update.condition_expression(format!("{open} AND attribute_not_exists(escalation)")),
            step => update
                .condition_expression(format!("{open} AND escalation = :step"))
                .expression_attribute_values(":step", number(step)),
        }
    }
}

impl Waiting {
    /// Takes in `item`, unless it has left `list` meanwhile.
    fn take_in(&mut self, item: Item, list: List) {
        let reader = Reader(&item);
        if reader.optional_text("pending").ok().flatten().and_then(List::of) != Some(list) {
            return;
        }
        match reader.text("kind") {
            Ok(submission::KIND) => self.submissions.push(stream::record(&item)),
            Ok("alert") => match Alert::from_item(&item) {
                Ok(alert) => self.alerts.push(alert),
                Err(_) => self.unreadable += 1,
            },
            Ok(profile::KIND) => match (reader.parsed("study"), reader.parsed("patient")) {
                (Ok(study), Ok(patient)) => self.patients.push((study, patient)),
                _ => self.unreadable += 1,
            },
            _ => self.unreadable += 1,
        }
    }
}

/// The key of an item of the index in the table.
fn primary_key(mut item: Item) -> Item {
    item.retain(|name, _| name == PK || name == SK);
    item
}
