//! Who is at the terminal, as AWS knows them: what STS answers to `GetCallerIdentity`. The local cloud answers it too, as
//! one fixed identity, so that a change of a study is audited there as in AWS.

use std::time::Duration;

use aws_sdk_sts::{Client, config::Builder};
use axum::{
    Router,
    body::Bytes,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::post,
};
use invocation::{
    Deadline, Environment, Principal,
    aws::{self, Failure, Limits, call},
};
use records::Actor;

use crate::{put::Error, template::ACCOUNT};

/// The path of the local cloud's STS.
pub const PATH: &str = "/local/sts";

/// The variable that names another STS than AWS's.
pub(crate) const ENDPOINT: &str = "AWS_ENDPOINT_URL_STS";

/// Who vouches for an AWS identity, in any region.
const STS: &str = "https://sts.amazonaws.com";

const OPERATION: &str = "GetCallerIdentity";
const LIMITS: Limits = Limits { most: Duration::from_secs(5), least: Duration::from_millis(100) };

/// The data manager whose credentials `environment` holds. A person's own word for who they are is not asked for.
///
/// # Errors
/// If the credentials are not there, or STS does not know whose they are.
pub(crate) async fn actor(environment: &Environment, deadline: Deadline) -> Result<Actor, Error> {
    let config = aws::sdk_config(environment, ENDPOINT, aws::https()).map_err(Error::Account)?;
    let request = Client::new(&config).get_caller_identity();
    let sent = call(deadline, LIMITS, |timeouts| {
        request.customize().config_override(Builder::new().timeout_config(timeouts)).send()
    });
    let identity = sent.await.map_err(|error| Error::Identity(error.of(OPERATION)))?;
    let iss = environment.optional(ENDPOINT).unwrap_or(STS);
    let principal = identity.arn().and_then(|arn| Principal::new(arn, iss));
    let unreadable = || Error::Identity(Failure::unreadable(OPERATION, "the answer names nobody"));
    Ok(data_manager(principal.ok_or_else(unreadable)?))
}

/// The local cloud itself, whose STS is at `sts`.
pub(crate) fn local(sts: &str) -> Actor {
    data_manager(Principal::new(&local_arn(), sts).expect("an ARN and a URL are printable"))
}

fn data_manager(principal: Principal) -> Actor {
    Actor { principal, role: "data-manager".to_owned() }
}

fn local_arn() -> String {
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
        let arn = local_arn();
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
