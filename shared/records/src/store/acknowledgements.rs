//! A clinician acknowledges an alert: once, in one transaction with the patient's count of open alerts and the audit entry.
//! What others, or the same one, note on it later is kept beside it.

use std::time::Duration;

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    AttributeValue, CancellationReason, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};
use clinical::ids::{PatientId, RuleId, SiteId, StudyId, SubmissionId};
use invocation::Deadline;
use invocation::aws::{CallError, Failure, FailureKind, Limits, call, is_passing};

use crate::items::alert::{Acknowledgement, Alert, AlertId, AlertStatus};
use crate::table::attributes::{Item, Reader, Unreadable, instant, number, text};
use crate::audit::Audit;
use crate::table::digest::{hex, sha256};
use crate::table::keys::{self, PK, SK};
use crate::items::profile::Profile;
use crate::store::Store;
use crate::items::submission::map;

const GET: Limits = Limits { most: Duration::from_secs(3), least: Duration::from_millis(30) };
const TRANSACTION: Limits = Limits { most: Duration::from_secs(4), least: Duration::from_millis(50) };
const FIRST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_millis(300);
const OF_WHERE_IT_LIES: &str = "GetItem of where an alert lies";
const OPERATION: &str = "TransactWriteItems of an acknowledgement";
const CONDITION: &str = "ConditionalCheckFailed";
/// As many later acknowledgements as a row keeps: with the longest notes they are 160 KB, of the 400 KB of an item.
const MOST_LATER: usize = 20;
/// The attribute that has them.
const LATER: &str = "later_acknowledgements";

/// Where an alert lies, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertPlace {
    /// The study.
    pub study: StudyId,
    /// The site.
    pub site: SiteId,
    /// The patient.
    pub patient: PatientId,
    submission: SubmissionId,
    rule: RuleId,
}

/// The acknowledgements of an alert, as they are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledgements {
    /// The one that holds.
    pub first: Acknowledgement,
    /// Those that came after it, in order.
    pub later: Vec<Acknowledgement>,
}

impl Acknowledgements {
    /// Whether `acknowledgement` adds nothing: it has no note, or its author noted the same before.
    fn have(&self, acknowledgement: &Acknowledgement) -> bool {
        let said = |known: &Acknowledgement| known.by == acknowledgement.by && known.note == acknowledgement.note;
        acknowledgement.note.is_none() || std::iter::once(&self.first).chain(&self.later).any(said)
    }
}

impl Store {
    /// Where the alert `id` lies; `None` if there is none. An alert that was published is found: what is read was written
    /// with it, and is read consistently.
    ///
    /// # Errors
    /// If the store did not answer in time, or with something that cannot be read.
    pub async fn alert_place(&self, id: AlertId, deadline: Deadline) -> Result<Option<AlertPlace>, Failure> {
        let request = self
            .dynamodb
            .get_item()
            .table_name(&self.tables.records)
            .key(PK, text(keys::alert_id(&id.to_string())))
            .key(SK, text(keys::POINTER))
            .consistent_read(true);
        let sent =
            call(deadline, GET, |timeouts| request.customize().config_override(Store::timeouts(timeouts)).send());
        let Some(item) = sent.await.map_err(|error| error.of(OF_WHERE_IT_LIES))?.item else { return Ok(None) };
        let place = AlertPlace::from_item(&item);
        place.map(Some).map_err(|_| Failure::unreadable(OF_WHERE_IT_LIES, "the stored item cannot be read"))
    }

    /// Notes on the alert at `place` that it is acknowledged, counts one open alert less for its patient, and keeps `entry`:
    /// all or nothing, and once. Where it is acknowledged already, the first acknowledgement stands, and this one is kept
    /// beside it, with `entry`, unless it adds nothing. Gives all of them.
    ///
    /// The patient's profile counts its revisions, so that a `score` which has read it before does not write the old count
    /// over this one, but reads again.
    ///
    /// # Errors
    /// If nothing says that it is acknowledged. If that is because what became of it is not known, a repeat settles it.
    pub async fn acknowledge(
        &self,
        place: &AlertPlace,
        acknowledgement: Acknowledgement,
        entry: &Audit,
        deadline: Deadline,
    ) -> Result<Acknowledgements, Failure> {
        let mut parts = Parts::All;
        let mut before: Option<Acknowledgements> = None;
        let mut wait = FIRST_WAIT;
        let mut unknown: Option<Failure> = None;
        loop {
            let failure = match self.send_acknowledgement(place, &acknowledgement, entry, parts, deadline).await {
                Ok(()) => {
                    return Ok(match before {
                        None => Acknowledgements { first: acknowledgement, later: Vec::new() },
                        Some(mut known) => {
                            known.later.push(acknowledgement);
                            known
                        }
                    });
                }
                Err(CallError::Refused(TransactWriteItemsError::TransactionCanceledException(cancelled))) => {
                    match Cancelled::read(&cancelled.cancellation_reasons.unwrap_or_default()) {
                        Cancelled::Before(known) if known.have(&acknowledgement) => return Ok(known),
                        Cancelled::Before(known) if known.later.len() >= MOST_LATER => {
                            return Err(Failure::invalid(OPERATION, "the alert keeps no more acknowledgements"));
                        }
                        Cancelled::Before(known) if deadline.clamp(TRANSACTION.least, TRANSACTION.least).is_some() => {
                            parts = Parts::Later(known.later.len());
                            before = Some(known);
                            continue;
                        }
                        Cancelled::Before(_) => Failure::passing(OPERATION, "another acknowledgement was in its way"),
                        Cancelled::NoneOpen if parts == Parts::All => {
                            // It must not happen. A clinician's word counts for more than a count that is wrong already.
                            tracing::error!(
                                event = "open_alerts_wrong",
                                "a profile counts fewer open alerts than it has"
                            );
                            parts = Parts::WithoutProfile;
                            continue;
                        }
                        Cancelled::Contended => Failure::passing(OPERATION, "other writes were in its way"),
                        Cancelled::NoneOpen | Cancelled::Refused => {
                            Failure::unreadable(OPERATION, "it was cancelled for a reason that will stay")
                        }
                    }
                }
                Err(error) => error.of(OPERATION),
            };
            match failure.kind {
                FailureKind::Unknown => unknown = Some(failure.clone()),
                FailureKind::Passing => {}
                // What an earlier attempt may have done is not known any better.
                FailureKind::NotStarted | FailureKind::Refused => return Err(unknown.unwrap_or(failure)),
            }
            if deadline.clamp(wait, wait + TRANSACTION.least).is_none() {
                return Err(unknown.unwrap_or(failure));
            }
            let [byte, ..] = sha256([entry.correlation_id.as_bytes(), wait.as_nanos().to_be_bytes().as_slice()]);
            tokio::time::sleep(wait / 2 + wait * u32::from(byte) / 512).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    async fn send_acknowledgement(
        &self,
        place: &AlertPlace,
        acknowledgement: &Acknowledgement,
        entry: &Audit,
        parts: Parts,
        deadline: Deadline,
    ) -> Result<(), CallError<TransactWriteItemsError>> {
        let audit = entry.to_item();
        // The entry's key is random, so that this is the same for attempts at the same, and for nothing else.
        let of_entry = audit.get(SK).and_then(|sk| sk.as_s().ok()).map_or("", String::as_str);
        let token = hex(&sha256([of_entry.as_bytes(), parts.name().as_bytes()])[..18]);
        let row = match parts {
            Parts::Later(known) => self.add_acknowledgement(place, acknowledgement, known),
            Parts::All | Parts::WithoutProfile => self.set_acknowledged(place, acknowledgement),
        };
        let mut writes = vec![TransactWriteItem::builder().update(row).build()];
        if parts == Parts::All {
            writes.push(TransactWriteItem::builder().update(self.one_open_less(place)).build());
        }
        writes.push(TransactWriteItem::builder().put(self.put_new(audit)).build());
        let request = self.dynamodb.transact_write_items().client_request_token(token).set_transact_items(Some(writes));
        let sent = call(deadline, TRANSACTION, |timeouts| {
            request.customize().config_override(Store::timeouts(timeouts)).send()
        });
        sent.await.map(drop)
    }

    /// The list that it may be on stays: what SNS has not confirmed is still told once, and then, or when its time to escalate
    /// has come, it leaves.
    fn set_acknowledged(&self, place: &AlertPlace, acknowledgement: &Acknowledgement) -> Update {
        let note = acknowledgement.note.as_ref();
        let mut update = Update::builder()
            .table_name(&self.tables.records)
            .set_key(Some(place.key()))
            .update_expression(format!(
                "SET #status = :acknowledged, acknowledged_by = :by, acknowledged_at = :at{}",
                if note.is_some() { ", note = :note" } else { "" }
            ))
            .condition_expression("attribute_exists(pk) AND attribute_not_exists(acknowledged_at)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":acknowledged", text(AlertStatus::Acknowledged.as_str()))
            .expression_attribute_values(":by", text(&acknowledgement.by))
            .expression_attribute_values(":at", instant(acknowledgement.at));
        if let Some(note) = note {
            update = update.expression_attribute_values(":note", text(note));
        }
        update.build().expect("table, key and expression are set")
    }

    /// Adds to the `known` acknowledgements that came after the first.
    fn add_acknowledgement(&self, place: &AlertPlace, acknowledgement: &Acknowledgement, known: usize) -> Update {
        let update = Update::builder()
            .table_name(&self.tables.records)
            .set_key(Some(place.key()))
            .update_expression("SET #later = list_append(if_not_exists(#later, :none), :one)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .expression_attribute_names("#later", LATER)
            .expression_attribute_values(":none", AttributeValue::L(Vec::new()))
            .expression_attribute_values(":one", AttributeValue::L(vec![acknowledgement.to_attribute()]));
        let update = match known {
            0 => update.condition_expression("attribute_exists(acknowledged_at) AND attribute_not_exists(#later)"),
            known => update
                .condition_expression("size(#later) = :known")
                .expression_attribute_values(":known", number(known)),
        };
        update.build().expect("table, key and expression are set")
    }

    fn one_open_less(&self, place: &AlertPlace) -> Update {
        Update::builder()
            .table_name(&self.tables.records)
            .set_key(Some(Profile::key(&place.study, &place.patient)))
            .update_expression("SET open_alerts = open_alerts - :one, #revision = #revision + :one")
            .condition_expression("open_alerts >= :one")
            .expression_attribute_names("#revision", "revision")
            .expression_attribute_values(":one", number(1))
            .build()
            .expect("table, key and expression are set")
    }
}

impl AlertPlace {
    fn key(&self) -> Item {
        Alert::key(&self.study, &self.patient, &self.submission, &self.rule)
    }

    fn from_item(item: &Item) -> Result<Self, Unreadable> {
        let reader = Reader(item);
        Ok(Self {
            study: reader.parsed("study")?,
            site: reader.parsed("site")?,
            patient: reader.parsed("patient")?,
            submission: reader.parsed("submission")?,
            rule: reader.parsed("rule")?,
        })
    }
}

/// The acknowledgements in an alert's item that came after the first.
pub(crate) fn later(reader: Reader<'_>) -> Result<Vec<Acknowledgement>, Unreadable> {
    if !reader.0.contains_key(LATER) {
        return Ok(Vec::new());
    }
    let acknowledgement = |one: Reader<'_>| {
        let note = one.optional_text("note")?.map(str::to_owned);
        Ok(Acknowledgement { by: one.text("by")?.to_owned(), at: one.instant("at")?, note })
    };
    reader.maps(LATER)?.into_iter().map(acknowledgement).collect()
}

impl Acknowledgement {
    fn to_attribute(&self) -> AttributeValue {
        let note = self.note.as_ref().map(|note| ("note", text(note)));
        map([("by", text(&self.by)), ("at", instant(self.at))].into_iter().chain(note))
    }
}

/// What a transaction holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Parts {
    All,
    /// Not the count of open alerts, which is wrong already.
    WithoutProfile,
    /// What is added to an acknowledged alert, to so many that came after the first.
    Later(usize),
}

impl Parts {
    fn name(self) -> String {
        match self {
            Self::All => "all".to_owned(),
            Self::WithoutProfile => "without profile".to_owned(),
            Self::Later(known) => format!("later {known}"),
        }
    }
}

/// What the reasons of a cancelled transaction say.
enum Cancelled {
    /// It was acknowledged before, like this.
    Before(Acknowledgements),
    /// The profile counts no open alert.
    NoneOpen,
    Contended,
    Refused,
}

impl Cancelled {
    fn read(reasons: &[CancellationReason]) -> Self {
        let code = |reason: &CancellationReason| reason.code().unwrap_or("None").to_owned();
        let of_alert = reasons.first().filter(|reason| code(reason) == CONDITION);
        if let Some(item) = of_alert.and_then(CancellationReason::item) {
            let reader = Reader(item);
            return match (Acknowledgement::from_reader(reader), later(reader)) {
                (Ok(Some(first)), Ok(later)) => Self::Before(Acknowledgements { first, later }),
                _ => Self::Refused,
            };
        }
        let failed: Vec<String> = reasons.iter().map(code).filter(|code| code != "None").collect();
        if failed.iter().any(|code| code != CONDITION && !is_passing(code)) || of_alert.is_some() {
            Self::Refused
        } else if failed.iter().any(|code| code == CONDITION) && failed.len() == 1 {
            // Besides the alert's only the profile's condition can fail: the audit entry's key is new.
            Self::NoneOpen
        } else {
            Self::Contended
        }
    }
}
