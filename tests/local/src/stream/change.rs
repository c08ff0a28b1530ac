//! What a record of the stream says about a submission or an alert, for the web console.

use serde_json::Value;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use crate::feed::{self, Change};

/// The change that a record (Lambda's JSON) shows, if it is one that a person follows.
pub(super) fn of(record: &Value) -> Option<Change> {
    let change = &record["dynamodb"];
    let (new, old) = (&change["NewImage"], &change["OldImage"]);
    let text = |name: &str| new[name]["S"].as_str();
    let is_new = |name: &str| !new[name].is_null() && old[name].is_null();
    let inserted = old.is_null();
    let what = match (text("kind")?, text("status")) {
        ("submission", _) if inserted => "stored",
        ("submission", _) if is_new("score") => "scored",
        ("submission", _) if is_new("amended_by") => "corrected",
        ("submission", _) if is_new("quarantined_at") => "quarantined",
        ("quarantined", _) if inserted => "quarantined",
        ("alert", Some("QUIET")) if inserted => "quiet",
        ("alert", _) if inserted => "raised",
        ("alert", _) if is_new("exhausted_at") => "exhausted",
        ("alert", Some("ACKNOWLEDGED")) if old["status"] != new["status"] => "acknowledged",
        ("alert", Some("SENT")) if old["status"] != new["status"] => "sent",
        ("alert", _) if old["escalation"] != new["escalation"] => "escalated",
        _ => return None,
    };
    let key = change["Keys"]["sk"]["S"].as_str().unwrap_or_default();
    let submission = text("submission").or_else(|| key.strip_prefix("SUBMISSION#"));
    // The record's own time is whole seconds; an item that says when this happened is more exact.
    let own = match what {
        "stored" => text("received_at"),
        "scored" => text("scored_at"),
        "raised" | "quiet" => text("raised_at"),
        "sent" => text("sent_at"),
        "exhausted" => text("exhausted_at"),
        _ => None,
    };
    let own = own.and_then(|at| OffsetDateTime::parse(at, &Rfc3339).ok());
    let written = change["ApproximateCreationDateTime"].as_f64().unwrap_or_default();
    Some(Change {
        what,
        submission_id: submission.map(str::to_owned),
        alert_id: text("alert_id").map(str::to_owned),
        at: feed::at(own.unwrap_or(OffsetDateTime::UNIX_EPOCH + Duration::seconds_f64(written))),
        read_at: feed::now(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const RECEIVED: &str = "2026-11-26T08:00:00.123Z";

    #[test]
    fn a_record_shows_what_happened_to_a_submission_or_an_alert() {
        let submission =
            json!({"kind": {"S": "submission"}, "answers": {"M": {"9": {"N": "3"}}}, "received_at": {"S": RECEIVED}});
        let mut scored = submission.clone();
        scored["score"] = json!({"M": {}});
        let alert = |status: &str, escalation: u32| {
            json!({"kind": {"S": "alert"}, "submission": {"S": "s-1"}, "alert_id": {"S": "a-1"},
                "status": {"S": status}, "escalation": {"N": escalation.to_string()}})
        };
        let none = Value::Null;
        for (old, new, expected) in [
            (&none, &submission, Some("stored")),
            (&submission, &scored, Some("scored")),
            (&scored, &scored, None),
            (&none, &alert("PENDING", 0), Some("raised")),
            (&none, &alert("QUIET", 0), Some("quiet")),
            (&alert("PENDING", 0), &alert("SENT", 0), Some("sent")),
            (&alert("SENT", 0), &alert("SENT", 1), Some("escalated")),
            (&alert("SENT", 1), &alert("ACKNOWLEDGED", 1), Some("acknowledged")),
            (&alert("ACKNOWLEDGED", 1), &alert("ACKNOWLEDGED", 1), None),
            (&none, &json!({"kind": {"S": "profile"}}), None),
            (&none, &json!({}), None),
        ] {
            let keys = json!({"pk": {"S": "PATIENT#D#P"}, "sk": {"S": "SUBMISSION#s-1"}});
            let dynamodb = json!({"ApproximateCreationDateTime": 1.5, "Keys": keys, "NewImage": new, "OldImage": old});
            let change = of(&json!({ "dynamodb": dynamodb }));
            assert_eq!(change.as_ref().map(|change| change.what), expected, "{old} {new}");
            if let Some(change) = change {
                assert_eq!(change.submission_id.as_deref(), Some("s-1"));
                let exact = if change.what == "stored" { RECEIVED } else { "1970-01-01T00:00:01.5Z" };
                assert_eq!(change.at, exact);
            }
        }
    }
}
