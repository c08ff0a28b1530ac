//! The responses with which the services refuse a request, as AWS words them.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use super::{Dice, Fault, Service};

/// The response to a request with this body, for the faults that are one.
pub(super) fn refusal(service: Service, fault: Fault, body: &[u8], dice: &mut Dice) -> Option<Response<Full<Bytes>>> {
    let (status, code, message) = match (service, fault) {
        (_, Fault::Error503) => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", "Service Unavailable"),
        (Service::DynamoDb, Fault::Error500 | Fault::Error500Applied) => {
            (StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError", "Internal server error")
        }
        (Service::Sns, Fault::Error500 | Fault::Error500Applied) => {
            (StatusCode::INTERNAL_SERVER_ERROR, "InternalFailure", "Internal failure")
        }
        (Service::DynamoDb, Fault::Throttled) => {
            (StatusCode::BAD_REQUEST, "ProvisionedThroughputExceededException", "The level of throughput was exceeded")
        }
        (Service::Sns, Fault::Throttled) => (StatusCode::BAD_REQUEST, "Throttling", "Rate exceeded"),
        (Service::DynamoDb, Fault::Conflict) => return Some(conflict(body, dice)),
        _ => return None,
    };
    Some(match service {
        Service::DynamoDb => json_response(status, &json!({"__type": error_type(code), "message": message})),
        Service::Sns => {
            let kind = if status.is_server_error() { "Receiver" } else { "Sender" };
            let text = format!(
                "<ErrorResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><Error><Type>{kind}</Type><Code>{code}\
                 </Code><Message>{message}</Message></Error><RequestId>{}</RequestId></ErrorResponse>",
                uuid::Uuid::new_v4()
            );
            response(status, "text/xml", text)
        }
    })
}

/// A conflict with another transaction. That of a transaction names the item, by its place among the writes.
fn conflict(body: &[u8], dice: &mut Dice) -> Response<Full<Bytes>> {
    const CONFLICT: &str = "Transaction is ongoing for the item";
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let writes = body["TransactItems"].as_array().map_or(0, Vec::len);
    let refusal = if writes == 0 {
        json!({"__type": error_type("TransactionConflictException"), "message": CONFLICT})
    } else {
        let place = dice.below(writes as u64) as usize;
        let codes: Vec<&str> =
            (0..writes).map(|write| if write == place { "TransactionConflict" } else { "None" }).collect();
        let reasons: Vec<Value> = codes
            .iter()
            .map(
                |code| if *code == "None" { json!({"Code": code}) } else { json!({"Code": code, "Message": CONFLICT}) },
            )
            .collect();
        let message = format!(
            "Transaction cancelled, please refer cancellation reasons for specific reasons [{}]",
            codes.join(", ")
        );
        json!({
            "__type": error_type("TransactionCanceledException"),
            "Message": message,
            "CancellationReasons": reasons,
        })
    };
    json_response(StatusCode::BAD_REQUEST, &refusal)
}

fn error_type(code: &str) -> String {
    format!("com.amazonaws.dynamodb.v20120810#{code}")
}

fn json_response(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    response(status, "application/x-amz-json-1.0", body.to_string())
}

fn response(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
