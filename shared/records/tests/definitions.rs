//! A version of an instrument is stored once, with the real SDK and an in-memory DynamoDB.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use clinical::instruments::{Catalog, Instrument};
use harness::{Fault, World};
use invocation::{Deadline, Principal};
use records::{Actor, Audit, AuditAction, InstrumentPut, Since};
use time::OffsetDateTime;

/// The PHQ-2 under the id of a study's own instrument, with this title.
fn instrument(title: &str) -> Instrument {
    let phq_2 = Catalog::shipped().find(&"phq-2".parse().unwrap(), &"1.0.0".parse().unwrap()).unwrap();
    let mut definition: serde_json::Value = serde_json::from_str(phq_2.json()).unwrap();
    (definition["id"], definition["title"]["en"]) = ("diary".into(), title.into());
    Instrument::parse(&definition.to_string()).unwrap()
}

fn put_by(person: &str) -> Audit {
    let principal = Principal::new(person, "https://sts.amazonaws.com").unwrap();
    let actor = Actor { principal, role: "data-manager".to_owned() };
    Audit::by(actor, AuditAction::InstrumentPut, None, "a test needs it", OffsetDateTime::UNIX_EPOCH)
}

#[tokio::test(start_paused = true)]
async fn a_stored_version_keeps_its_content_and_a_repeat_is_no_error() {
    let world = World::new();
    let put = async |title: &str, person: &str| {
        world.store().put_instrument(&instrument(title), &put_by(person), Deadline::after(Duration::from_secs(5))).await
    };
    assert_eq!(put("Diary", "dm-1").await.unwrap(), InstrumentPut::Stored(Since::Now));
    assert_eq!(put("Diary", "dm-2").await.unwrap(), InstrumentPut::Stored(Since::Before));
    assert_eq!(put("Another diary", "dm-3").await.unwrap(), InstrumentPut::OtherContent);
    let stored = world.items("instrument");
    assert_eq!((stored.len(), &stored[0]["put_by"]), (1, &"dm-1".into()));
    // Neither the repeat nor the refused content is in the audit trail.
    assert_eq!(world.items("audit").len(), 1);
    world.inject_into("TransactWriteItems", usize::MAX, Fault::conflict(2, 0));
    assert!(put("Diary", "dm-1").await.is_err());
}
