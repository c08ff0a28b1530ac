//! A stand-in for STS with the one operation that the authoring commands call: `GetCallerIdentity` returns a fixed
//! identity, so that changes of a study are audited in the local cloud as in AWS.

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use invocation::Principal;

use crate::template::ACCOUNT;

/// The path of the local cloud's STS.
pub const PATH: &str = "/local/sts";

const OPERATION: &str = "GetCallerIdentity";

/// The identity that the STS at the address `sts` confirms.
pub(crate) fn principal(sts: &str) -> Principal {
    Principal::new(&arn(), sts).expect("an ARN and a URL are printable")
}

fn arn() -> String {
    format!("arn:aws:iam::{ACCOUNT}:user/local")
}

/// The local cloud's STS.
pub fn routes() -> Router {
    Router::new().route(PATH, post(answer)).route(&format!("{PATH}/"), post(answer))
}

async fn answer(form: Bytes) -> Response {
    const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";
    let asked = form_urlencoded::parse(&form).any(|(name, value)| name == "Action" && value == OPERATION);
    let request_id = uuid::Uuid::new_v4();
    let (status, body) = if asked {
        let arn = arn();
        let result = format!("<Arn>{arn}</Arn><UserId>local</UserId><Account>{ACCOUNT}</Account>");
        let body = format!(
            "<{OPERATION}Response xmlns=\"{NAMESPACE}\"><{OPERATION}Result>{result}</{OPERATION}Result>\
             <ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{OPERATION}Response>"
        );
        (StatusCode::OK, body)
    } else {
        let body = format!(
            "<ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>Sender</Type><Code>InvalidAction</Code>\
             <Message>only {OPERATION} is answered here</Message></Error><RequestId>{request_id}</RequestId>\
             </ErrorResponse>"
        );
        (StatusCode::BAD_REQUEST, body)
    };
    (status, [(CONTENT_TYPE, "text/xml")], body).into_response()
}
