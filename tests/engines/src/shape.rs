//! The shape of a request: what is left without its values.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use serde_json::Value;

/// The shapes of the requests of DynamoDB that are recorded in the files of `folder`.
///
/// # Errors
/// If a file cannot be read, or none has such a request.
pub fn recorded(folder: &Path) -> io::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for file in std::fs::read_dir(folder)? {
        let file = file?.path();
        if file.extension().is_none_or(|extension| extension != "jsonl") {
            continue;
        }
        for line in std::fs::read_to_string(&file)?.lines() {
            let request: Value = serde_json::from_str(line)?;
            let operation = request["operation"].as_str().unwrap_or_default();
            if request["service"] == "DynamoDB_20120810" && OPERATIONS.contains(&operation) {
                found.extend(shapes(operation, &request["body"]));
            }
        }
    }
    if found.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "no request is recorded there"));
    }
    Ok(found)
}

/// The operations of the functions. The local cloud also makes tables.
const OPERATIONS: [&str; 7] =
    ["BatchGetItem", "GetItem", "PutItem", "Query", "Scan", "TransactWriteItems", "UpdateItem"];

/// The shapes of a request of `operation` with `body`: one, or one for each write of a transaction.
pub fn shapes(operation: &str, body: &Value) -> BTreeSet<String> {
    match body["TransactItems"].as_array() {
        Some(writes) => writes
            .iter()
            .flat_map(|write| write.as_object().into_iter().flatten())
            .map(|(kind, write)| shape(&format!("{operation} {kind}"), write))
            .collect(),
        None => BTreeSet::from([shape(operation, body)]),
    }
}

fn shape(operation: &str, body: &Value) -> String {
    const TEXTS: [&str; 6] = [
        "IndexName",
        "KeyConditionExpression",
        "ConditionExpression",
        "FilterExpression",
        "ReturnValuesOnConditionCheckFailure",
        "ReturnValues",
    ];
    let mut shape = operation.to_owned();
    for name in TEXTS {
        if let Some(text) = body[name].as_str() {
            shape += &format!(" | {name}: {text}");
        }
    }
    if let Some(update) = body["UpdateExpression"].as_str() {
        shape += &format!(" | UpdateExpression: {}", without_lists(update));
    }
    if let Some(projection) = body["ProjectionExpression"].as_str() {
        // The attributes are those of the reader.
        shape += if projection.contains('#') { " | ProjectionExpression: #" } else { " | ProjectionExpression" };
    }
    for name in ["ConsistentRead", "ScanIndexForward"] {
        if let Some(value) = body[name].as_bool() {
            shape += &format!(" | {name}: {value}");
        }
    }
    shape
}

/// `update` with a list of assignments or additions of placeholders of equal names as one: a profile sets
/// the attributes that it has, and counts the instruments that were scored.
fn without_lists(update: &str) -> String {
    let is_alike = |clause: &str| match clause.split_once(" = ").or_else(|| clause.split_once(' ')) {
        Some((name, value)) => name.strip_prefix('#').is_some_and(|name| value.strip_prefix(':') == Some(name)),
        None => false,
    };
    let mut words = update.splitn(2, ' ');
    let (verb, rest) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (list, tail) = match rest.split_once(" REMOVE ") {
        Some((list, tail)) => (list, format!(" REMOVE {tail}")),
        None => (rest, String::new()),
    };
    if list.split(", ").all(is_alike) { format!("{verb} all{tail}") } else { update.to_owned() }
}
