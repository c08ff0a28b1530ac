//! The events that the functions are sent: those of `tests/events`, and made from them.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::aws::Sent;
use crate::{Fault, text};

/// Of so many records one raises an alert, as at the eight-o'clock peak of `cargo run -- surge`.
const ALERT_EVERY: u64 = 6;
const SITES: u64 = 4;

/// The event in the file `name` of `tests/events`.
///
/// # Errors
/// If there is no such file.
pub fn of_file(name: &str) -> Result<Bytes, Fault> {
    Ok(text(format!("tests/events/{name}.json"))?.into())
}

/// Requests with a PHQ-9 each, of which no two have the same id.
#[derive(Clone, Debug)]
pub struct Submissions {
    event: Value,
    body: Value,
    made: u64,
}

impl Submissions {
    /// The first of them.
    ///
    /// # Errors
    /// If the event that they are made from cannot be read.
    pub fn new() -> Result<Self, Fault> {
        let json = |text: &str| serde_json::from_str::<Value>(text).map_err(|error| Fault::Wrong(error.to_string()));
        let event = json(&text("tests/events/submit-post.json")?)?;
        let body = json(event["body"].as_str().unwrap_or_default())?;
        Ok(Self { event, body, made: 0 })
    }

    /// The next one, of the patient of the event.
    pub fn next_event(&mut self) -> Bytes {
        self.made += 1;
        self.body["id"] = format!("019bbeda-0f1e-7b2a-9d4e-{:012x}", self.made).into();
        self.event["body"] = self.body.to_string().into();
        self.event.to_string().into()
    }

    /// The next one, of another patient of one of a few sites; one in six raises an alert.
    pub fn next_patient(&mut self) -> Bytes {
        let number = self.made + 1;
        let claims = &mut self.event["requestContext"]["authorizer"]["jwt"]["claims"];
        claims["patient"] = format!("P-{number:05}").into();
        claims["sites"] = format!("S{:02}", 1 + number % SITES).into();
        self.body["answers"]["9"] = u64::from(number.is_multiple_of(ALERT_EVERY)).into();
        self.next_event()
    }
}

/// The batch of a stream with the submissions that `sent` has put.
pub fn batch<'a>(sent: impl IntoIterator<Item = &'a Sent>) -> Bytes {
    let puts = sent.into_iter().filter(|call| call.operation == "PutItem");
    let record = |(number, put): (usize, &Sent)| {
        let item = &put.body["Item"];
        json!({
            "eventID": format!("c1d6a8f27b3e4c9d8a5f0b1e{number:08x}"),
            "eventName": "INSERT",
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": "eu-central-1",
            "dynamodb": {
                "ApproximateCreationDateTime": 1_768_435_211,
                "Keys": {"pk": item["pk"], "sk": item["sk"]},
                "NewImage": item,
                "SequenceNumber": format!("{:021}", 4_421_584_500_000_000_u64 + number as u64),
                "SizeBytes": put.bytes,
                "StreamViewType": "NEW_AND_OLD_IMAGES",
            },
            "eventSourceARN":
                "arn:aws:dynamodb:eu-central-1:123456789012:table/Records/stream/2026-01-15T00:00:00.000",
        })
    };
    json!({"Records": puts.enumerate().map(record).collect::<Vec<_>>()}).to_string().into()
}
