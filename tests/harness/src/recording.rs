//! Records the requests of the SDK's clients in the folder `EPRO_RECORD_REQUESTS`, where it is set: each kind of request
//! once a process, in a file of its own. `tests/engines/check_requests.py` checks them against AWS's service models.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::{LazyLock, Mutex};

use serde_json::{Value, json};

use crate::{Call, lock};

static RECORDER: LazyLock<Option<Mutex<Recorder>>> = LazyLock::new(|| {
    let folder = std::env::var_os("EPRO_RECORD_REQUESTS")?;
    let file = Path::new(&folder).join(format!("harness-{}.jsonl", std::process::id()));
    let file = OpenOptions::new().create(true).append(true).open(file);
    let file = file.expect("the folder in EPRO_RECORD_REQUESTS is there");
    Some(Mutex::new(Recorder { file, known: HashSet::new() }))
});

struct Recorder {
    file: File,
    known: HashSet<String>,
}

/// Records `call`, unless one of its kind is recorded.
pub(crate) fn record(call: &Call) {
    let Some(recorder) = RECORDER.as_ref() else { return };
    // These are of the reader of the stream in simulations, not of a function.
    if ["DescribeStream", "GetShardIterator", "GetRecords"].contains(&call.name()) {
        return;
    }
    let service = if call.is_dynamodb() { "DynamoDB_20120810" } else { "sns" };
    let kind = format!("{} {}", call.name(), without_contents(&call.body));
    let mut recorder = lock(recorder);
    if recorder.known.insert(kind) {
        let request = json!({"service": service, "operation": call.name(), "body": call.body});
        writeln!(recorder.file, "{request}").expect("the folder of the recording has space");
    }
}

/// `value` without the contents of attribute values, tokens and messages: of tokens the length is left.
fn without_contents(value: &Value) -> Value {
    match value {
        Value::Array(list) => list.iter().map(without_contents).collect(),
        Value::Object(map) => map.iter().map(|(name, value)| (name.clone(), content(name, value))).collect(),
        other => other.clone(),
    }
}

fn content(name: &str, value: &Value) -> Value {
    match (name.rsplit('.').next().unwrap_or_default(), value) {
        ("S" | "N" | "B" | "Message" | "Subject" | "Id" | "StringValue", Value::String(_)) => Value::Null,
        ("ClientRequestToken", Value::String(token)) => json!(token.len()),
        _ => without_contents(value),
    }
}
