//! The functions' requests, against what the roles of `template.yaml` allow. Nothing on this machine refuses a request
//! for a missing permission, so that AWS would be the first to do so.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// The access key of requests that may be of any function: `sam local start-api` has one for all, so their requests are
/// compared under `sam local invoke` only.
pub const ANY_FUNCTION: &str = "any-function";

/// A request, as it was sent.
#[derive(Debug)]
struct Request {
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

/// What a request needs: a permission for each.
#[derive(Debug, PartialEq, Eq)]
struct Need {
    action: String,
    /// As the template names it: `RecordsTable`, `RecordsTable/index/site`.
    resource: String,
    /// The partition keys of the items.
    keys: BTreeSet<String>,
}

/// What the requests of one connection need and `permissions` do not allow. The access key is the function's name.
pub(crate) fn refused(sent: &[u8], permissions: &BTreeSet<String>) -> Vec<String> {
    let mut refused = Vec::new();
    for request in requests(sent) {
        let credential = request.headers.get("authorization").and_then(|text| text.split("Credential=").nth(1));
        let function = credential.and_then(|text| text.split('/').next()).unwrap_or_default();
        if function == ANY_FUNCTION {
            continue;
        }
        for need in needs(&request) {
            if !is_allowed(function, &need, permissions) {
                refused.push(format!("{function} must not {} on {} of {:?}", need.action, need.resource, need.keys));
            }
        }
    }
    refused
}

/// The complete requests of a connection.
fn requests(sent: &[u8]) -> Vec<Request> {
    const END: &[u8] = b"\r\n\r\n";
    let (mut requests, mut rest) = (Vec::new(), sent);
    while let Some(end) = rest.windows(END.len()).position(|window| window == END) {
        let head = String::from_utf8_lossy(&rest[..end]);
        let fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
        let headers: BTreeMap<String, String> =
            fields.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
        let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let body = &rest[end + END.len()..];
        let Some(body) = body.get(..length) else { break };
        rest = &rest[end + END.len() + length..];
        requests.push(Request { headers, body: body.to_vec() });
    }
    requests
}

fn needs(request: &Request) -> Vec<Need> {
    let need = |action: &str, resource: &str, keys: BTreeSet<String>| Need {
        action: action.to_owned(),
        resource: resource.to_owned(),
        keys,
    };
    let Some(operation) = request.headers.get("x-amz-target").and_then(|target| target.split('.').nth(1)) else {
        let body = String::from_utf8_lossy(&request.body);
        let action = body.split('&').find_map(|field| field.strip_prefix("Action=")).unwrap_or_default();
        // One permission is for both ways of publishing.
        let action = if action == "PublishBatch" { "Publish" } else { action };
        return vec![need(&format!("sns:{action}"), "AlertsTopic", BTreeSet::new())];
    };
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let table = |request: &Value| request["TableName"].as_str().unwrap_or_default().to_owned();
    let key = |item: &Value| item["pk"]["S"].as_str().map(str::to_owned).into_iter().collect::<BTreeSet<_>>();
    let of_item = |operation: &str, request: &Value| {
        let item = if operation == "PutItem" { &request["Item"] } else { &request["Key"] };
        need(&format!("dynamodb:{operation}"), &table(request), key(item))
    };
    match operation {
        "BatchGetItem" => {
            let tables = body["RequestItems"].as_object().into_iter().flatten();
            let keys = |keys: &Value| keys["Keys"].as_array().into_iter().flatten().flat_map(key).collect();
            tables.map(|(table, request)| need("dynamodb:BatchGetItem", table, keys(request))).collect()
        }
        "TransactWriteItems" => {
            let writes = body["TransactItems"].as_array().into_iter().flatten();
            let one = |(kind, request): (&String, &Value)| match kind.as_str() {
                "ConditionCheck" => of_item("ConditionCheckItem", request),
                kind => of_item(&format!("{kind}Item"), request),
            };
            writes.flat_map(|write| write.as_object().into_iter().flatten().map(one)).collect()
        }
        "Query" | "Scan" => {
            let index = body["IndexName"].as_str().map(|index| format!("/index/{index}")).unwrap_or_default();
            let condition = body["KeyConditionExpression"].as_str().unwrap_or_default();
            let placeholder = condition.split('=').nth(1).and_then(|rest| rest.split_whitespace().next());
            let value = placeholder.and_then(|name| body["ExpressionAttributeValues"][name]["S"].as_str());
            let keys = value.map(str::to_owned).into_iter().collect();
            vec![need(&format!("dynamodb:{operation}"), &(table(&body) + &index), keys)]
        }
        operation => vec![of_item(operation, &body)],
    }
}

/// Whether a line of `permissions` allows it, and none denies it.
fn is_allowed(function: &str, need: &Need, permissions: &BTreeSet<String>) -> bool {
    let applies = |effect: &str| {
        let start = format!("{function} {effect} {} {} ", need.action, need.resource);
        permissions.iter().filter_map(move |line| line.strip_prefix(&start).map(str::to_owned))
    };
    let matches = |key: &String, patterns: &str| {
        patterns.split(' ').any(|pattern| match pattern.strip_suffix('*') {
            Some(start) => key.starts_with(start),
            None => key == pattern,
        })
    };
    let allowed = applies("Allow").any(|when| match when.strip_prefix("of ") {
        Some(patterns) => !need.keys.is_empty() && need.keys.iter().all(|key| matches(key, patterns)),
        None => when == "always",
    });
    let denied = applies("Deny").any(|when| match when.strip_prefix("of ") {
        Some(patterns) => need.keys.iter().any(|key| matches(key, patterns)),
        None => true,
    });
    allowed && !denied
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERMISSIONS: [&str; 6] = [
        "Submit Allow dynamodb:PutItem Records of AUDIT#* PATIENT#*",
        "Submit Allow dynamodb:UpdateItem Records of PATIENT#*",
        "Submit Allow dynamodb:Query Records/index/site always",
        "Submit Allow dynamodb:BatchGetItem Records of INSTRUMENT#*",
        "Submit Allow sns:Publish AlertsTopic always",
        "Submit Deny dynamodb:PutItem Records of AUDIT#KEPT*",
    ];

    fn sent(operation: &str, body: &str) -> String {
        format!(
            "POST / HTTP/1.1\r\nX-Amz-Target: DynamoDB_20120810.{operation}\r\nContent-Length: {}\r\nAuthorization: \
             AWS4-HMAC-SHA256 Credential=Submit/20260101/us-east-1/dynamodb/aws4_request, Signature=x\r\n\r\n{body}",
            body.len()
        )
    }

    #[test]
    fn a_request_is_refused_unless_each_of_its_items_is_allowed() {
        let put = |key: &str| format!(r#"{{"TableName":"Records","Item":{{"pk":{{"S":"{key}"}}}}}}"#);
        let transaction = |key: &str| {
            let update = format!(r#"{{"Update":{{"TableName":"Records","Key":{{"pk":{{"S":"{key}"}}}}}}}}"#);
            format!(r#"{{"TransactItems":[{{"Put":{}}},{update}]}}"#, put("AUDIT#1"))
        };
        let batch = |keys: [&str; 2]| {
            let keys = keys.map(|key| format!(r#"{{"pk":{{"S":"{key}"}}}}"#)).join(",");
            format!(r#"{{"RequestItems":{{"Records":{{"Keys":[{keys}]}}}}}}"#)
        };
        let query = |index: &str| {
            let values =
                r#""KeyConditionExpression":"site_key = :a AND x = :b","ExpressionAttributeValues":{":a":{"S":"S"}}"#;
            format!(r#"{{"TableName":"Records",{index}{values}}}"#)
        };
        for (operation, body, is_allowed) in [
            ("PutItem", put("PATIENT#1"), true),
            ("PutItem", put("KEY#CURSOR"), false),
            ("PutItem", put("AUDIT#KEPT#1"), false),
            ("DeleteItem", r#"{"TableName":"Records","Key":{"pk":{"S":"PATIENT#1"}}}"#.to_owned(), false),
            ("TransactWriteItems", transaction("PATIENT#1"), true),
            ("TransactWriteItems", transaction("STUDY#1"), false),
            ("BatchGetItem", batch(["INSTRUMENT#1", "INSTRUMENT#2"]), true),
            ("BatchGetItem", batch(["INSTRUMENT#1", "STUDY#1"]), false),
            ("Query", query(r#""IndexName":"site","#), true),
            ("Query", query(""), false),
            ("Scan", r#"{"TableName":"Records"}"#.to_owned(), false),
        ] {
            let permissions = PERMISSIONS.map(str::to_owned).into();
            // Two requests on one connection, and the beginning of a third.
            let twice = sent(operation, &body).repeat(2) + "POST / HTTP/1.1\r\nContent-Le";
            let refused = refused(twice.as_bytes(), &permissions);
            assert_eq!(refused.len(), if is_allowed { 0 } else { 2 }, "{operation} {body}: {refused:?}");
        }
    }

    #[test]
    fn publishing_a_batch_needs_the_permission_to_publish() {
        let request = |action: &str| {
            let body = format!("Action={action}&TopicArn=x");
            let authorization = "Authorization: AWS4-HMAC-SHA256 Credential=Submit/20260101/us-east-1/sns/aws4_request";
            format!("POST / HTTP/1.1\r\n{authorization}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        };
        let permissions = PERMISSIONS.map(str::to_owned).into();
        assert!(refused(request("PublishBatch").as_bytes(), &permissions).is_empty());
        assert_eq!(refused(request("Subscribe").as_bytes(), &permissions).len(), 1);
    }
}
