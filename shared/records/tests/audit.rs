//! Audit entries, written and read with the real SDK and an in-memory DynamoDB.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::time::Duration;

use harness::{Fault, World};
use invocation::{Deadline, Principal};
use records::{Actor, Audit, AuditAction};
use time::macros::datetime;

fn plenty() -> Deadline {
    Deadline::after(Duration::from_secs(10))
}

/// An entry of `site`, `minute` minutes after eight.
fn entry(site: Option<&str>, minute: i64) -> Audit {
    let principal = Principal::new("user-1", "https://issuer.example").unwrap();
    let actor = Actor { principal, role: "staff".to_owned() };
    let at = datetime!(2026-11-23 08:00 UTC) + time::Duration::minutes(minute);
    let entry = Audit::in_request(actor, AuditAction::ReportRead, &"DEMO".parse().unwrap(), at, "r-1", "c-1");
    let entry = entry.about(minute);
    match site {
        Some(site) => entry.at_site(&site.parse().unwrap()),
        None => entry,
    }
}

#[tokio::test(start_paused = true)]
async fn an_entry_is_stored_once_whatever_happens_to_the_answer() {
    for (fault, times, confirmed) in [
        (Fault::ApplyTwice, 1, true),
        (Fault::ApplyAndCut, 1, true),
        (Fault::throttle(), 2, true),
        (Fault::ApplyAndStall, usize::MAX, false),
    ] {
        let (world, entry) = (World::new(), entry(Some("S01"), 0));
        world.inject_into("PutItem RecordsTable", times, fault.clone());
        assert_eq!(world.store().audit(&entry, plenty()).await.is_ok(), confirmed, "{fault:?}");
        assert_eq!(world.items("audit").len(), 1, "{fault:?}");
        world.heal();
        world.store().audit(&entry, plenty()).await.unwrap();
        assert_eq!(world.items("audit").len(), 1, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_entry_holds_the_actor_and_the_action_and_no_data() {
    let world = World::new();
    world.store().audit(&entry(Some("S01"), 3), plenty()).await.unwrap();
    let mut stored = world.items("audit").remove(0);
    let id = stored["audit_id"].take();
    assert_eq!(stored["sk"], format!("2026-11-23T08:03:00.000000000Z#{}", id.as_str().unwrap()));
    stored.as_object_mut().unwrap().retain(|name, _| !["sk", "audit_id"].contains(&name.as_str()));
    let expected = serde_json::json!({
        "pk": "AUDIT#DEMO#S01", "kind": "audit", "at": "2026-11-23T08:03:00Z", "sub": "user-1",
        "iss": "https://issuer.example", "role": "staff", "action": "report-read", "study": "DEMO", "site": "S01",
        "subject": "3", "request_id": "r-1", "correlation_id": "c-1",
    });
    assert_eq!(stored, expected);
}

#[tokio::test(start_paused = true)]
async fn a_site_lists_its_own_entries_and_those_of_its_study_newest_first() {
    let world = World::new();
    let store = world.store();
    for minute in 0..30 {
        let site = [Some("S01"), None, Some("S02")][minute as usize % 3];
        store.audit(&entry(site, minute), plenty()).await.unwrap();
    }
    let (study, site) = (&"DEMO".parse().unwrap(), &"S01".parse().unwrap());
    let expected: Vec<String> =
        (0..30).rev().filter(|minute| minute % 3 != 2).map(|minute| minute.to_string()).collect();
    for most in [1, 3, 7, 19, 20, 21] {
        let (mut seen, mut below) = (Vec::new(), None);
        for page_number in 0.. {
            assert!(page_number <= 30, "{most}: the list ends");
            let page = store.audit_entries(study, site, below.as_deref(), most, plenty()).await.unwrap();
            assert!(page.entries.len() == most || page.next.is_none());
            assert!(!page.entries.is_empty(), "{most}: no page is empty");
            seen.extend(page.entries.into_iter().map(|entry| entry.subject.unwrap()));
            below = page.next;
            if below.is_none() {
                break;
            }
            // An entry that is added between two pages is newer and does not shift them.
            store.audit(&entry(Some("S01"), 100), plenty()).await.unwrap();
        }
        seen.retain(|subject| subject != "100");
        assert_eq!(seen, expected, "{most}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_site_whose_study_has_no_entries_is_listed_in_pages_too() {
    let world = World::new();
    let store = world.store();
    for minute in 0..3 {
        store.audit(&entry(Some("S01"), minute), plenty()).await.unwrap();
    }
    let (study, site) = (&"DEMO".parse().unwrap(), &"S01".parse().unwrap());
    let page = store.audit_entries(study, site, None, 2, plenty()).await.unwrap();
    let rest = store.audit_entries(study, site, page.next.as_deref(), 2, plenty()).await.unwrap();
    assert_eq!((page.entries.len(), rest.entries.len(), rest.next), (2, 1, None));
}
