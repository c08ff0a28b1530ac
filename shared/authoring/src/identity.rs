//! The identity of the person at the terminal, which STS returns for their credentials (`GetCallerIdentity`). The
//! audit keeps it; a name that a person types would prove nothing.

use std::time::Duration;

use aws_sdk_sts::Client;
use aws_sdk_sts::config::Builder;
use invocation::aws::{self, Failure, Limits, call};
use invocation::{Deadline, Environment, Principal};
use records::Actor;

use crate::outcome::ConnectError;

/// The variable that names another STS than AWS's.
pub(crate) const STS_ENDPOINT: &str = "AWS_ENDPOINT_URL_STS";

/// The issuer of AWS identities, the same in all regions.
const STS: &str = "https://sts.amazonaws.com";

const OPERATION: &str = "GetCallerIdentity";
const LIMITS: Limits = Limits { most: Duration::from_secs(5), least: Duration::from_millis(100) };

/// The data manager whose credentials `environment` holds.
///
/// # Errors
/// If the credentials are missing, or STS does not confirm whose they are.
pub(crate) async fn caller(environment: &Environment, deadline: Deadline) -> Result<Actor, ConnectError> {
    let config = aws::sdk_config(environment, STS_ENDPOINT, aws::https_of_machine()).map_err(ConnectError::Account)?;
    let request = Client::new(&config).get_caller_identity();
    let sent = call(deadline, LIMITS, |timeouts| {
        request.customize().config_override(Builder::new().timeout_config(timeouts)).send()
    });
    let identity = sent.await.map_err(|error| ConnectError::Identity(error.into_failure(OPERATION)))?;
    let issuer = environment.optional(STS_ENDPOINT).unwrap_or(STS);
    let principal = identity.arn().and_then(|arn| Principal::new(arn, issuer));
    let unreadable = || ConnectError::Identity(Failure::unreadable(OPERATION, "the response has no ARN"));
    Ok(data_manager(principal.ok_or_else(unreadable)?))
}

/// The actor of all changes from the command line.
pub(crate) fn data_manager(principal: Principal) -> Actor {
    Actor { principal, role: "data-manager".to_owned() }
}
