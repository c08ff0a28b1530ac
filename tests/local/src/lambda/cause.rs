//! Who or what invoked a function, as its event says.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Larger events are batches of case-report rows, which are not parsed a second time.
const LARGEST: usize = 512 * 1024;

/// The most submissions of a batch that are named.
const MOST_NAMED: usize = 100;

/// Who or what invoked a function.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Cause {
    /// A request to the API.
    Request {
        /// The route, for example `POST /v1/submissions`.
        route: String,
        /// The caller's correlation id, if it sent one.
        correlation_id: Option<String>,
    },
    /// A batch of stream records.
    Stream {
        /// How many.
        records: usize,
        /// The ids of the submissions, at most a hundred.
        submissions: Vec<String>,
        /// When the oldest of the submissions was received, in milliseconds since the epoch; 0 if none says it. The
        /// records' own times are whole seconds.
        oldest_ms: u64,
    },
    /// A schedule.
    Schedule,
    /// Something else, or an event too large to be looked into.
    #[default]
    Other,
}

/// What is read of an event. Everything else in it is skipped.
#[derive(Deserialize)]
struct Event {
    #[serde(rename = "routeKey")]
    route_key: Option<String>,
    headers: Option<Headers>,
    #[serde(rename = "Records")]
    records: Option<Vec<Record>>,
    #[serde(rename = "detail-type")]
    detail_type: Option<String>,
}

#[derive(Deserialize)]
struct Headers {
    #[serde(rename = "x-correlation-id")]
    correlation_id: Option<String>,
}

#[derive(Deserialize)]
struct Record {
    dynamodb: Option<Change>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Change {
    keys: Option<Keys>,
    new_image: Option<Image>,
}

#[derive(Deserialize)]
struct Keys {
    sk: Option<Text>,
}

#[derive(Deserialize)]
struct Image {
    received_at: Option<Text>,
}

#[derive(Deserialize)]
struct Text {
    #[serde(rename = "S")]
    text: Option<String>,
}

impl Cause {
    /// The cause that an event shows.
    pub(super) fn of(event: &[u8]) -> Self {
        if event.len() > LARGEST {
            return Self::Other;
        }
        let Ok(event) = serde_json::from_slice::<Event>(event) else { return Self::Other };
        let Event { route_key, headers, records, detail_type } = event;
        if let Some(route) = route_key {
            return Self::Request { route, correlation_id: headers.and_then(|headers| headers.correlation_id) };
        }
        let Some(records) = records else {
            return if detail_type.as_deref() == Some("Scheduled Event") { Self::Schedule } else { Self::Other };
        };
        let count = records.len();
        let changes: Vec<Change> = records.into_iter().filter_map(|record| record.dynamodb).collect();
        let received =
            changes.iter().filter_map(|change| change.new_image.as_ref()?.received_at.as_ref()?.text.as_ref());
        let received = received.filter_map(|time| OffsetDateTime::parse(time, &Rfc3339).ok());
        let oldest = received.map(|time| time.unix_timestamp_nanos() / 1_000_000).min();
        let keys = changes.into_iter().filter_map(|change| change.keys?.sk?.text);
        let submissions = keys.filter_map(|key| key.strip_prefix("SUBMISSION#").map(str::to_owned));
        Self::Stream {
            records: count,
            submissions: submissions.take(MOST_NAMED).collect(),
            oldest_ms: oldest.and_then(|oldest| u64::try_from(oldest).ok()).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_says_what_it_is_about_without_what_a_patient_sent() {
        let request = json!({
            "routeKey": "POST /v1/submissions", "headers": {"x-correlation-id": "c-1", "authorization": "Bearer t"},
            "body": "{\"answers\":{\"9\":3}}",
        });
        let record = |sk: &str, at: &str| {
            let keys = json!({"pk": {"S": "PATIENT#D#P-1"}, "sk": {"S": sk}});
            json!({"dynamodb": {"ApproximateCreationDateTime": 1, "Keys": keys, "NewImage": {"received_at": {"S": at}}}})
        };
        let (first, second) = (record("SUBMISSION#a", "1970-01-01T00:00:02.5Z"), record("PROFILE", ""));
        let stream = json!({"Records": [first, second, record("SUBMISSION#b", "1970-01-01T00:00:01.25Z")]});
        for (event, expected) in [
            (request, json!({"request": {"route": "POST /v1/submissions", "correlationId": "c-1"}})),
            (stream, json!({"stream": {"records": 3, "submissions": ["a", "b"], "oldestMs": 1_250}})),
            (json!({"detail-type": "Scheduled Event", "source": "aws.events"}), json!("schedule")),
            (json!({"retry": "quarantine"}), json!("other")),
            (json!([]), json!("other")),
        ] {
            let cause = Cause::of(event.to_string().as_bytes());
            assert_eq!(serde_json::to_value(cause).expect("JSON"), expected, "{event}");
        }
    }

    #[test]
    fn what_is_too_large_is_not_parsed_and_not_all_of_a_batch_is_named() {
        let large = json!({"routeKey": "POST /v1/x", "body": "x".repeat(LARGEST)}).to_string();
        assert_eq!(Cause::of(large.as_bytes()), Cause::Other);
        let record = json!({"dynamodb": {"Keys": {"sk": {"S": "SUBMISSION#a"}}}});
        let many = json!({"Records": vec![record; 150]}).to_string();
        let Cause::Stream { records, submissions, .. } = Cause::of(many.as_bytes()) else { panic!("it is a batch") };
        assert_eq!((records, submissions.len()), (150, MOST_NAMED));
    }
}
