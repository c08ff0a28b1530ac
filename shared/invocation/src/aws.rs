//! The AWS SDK: its configuration, made once an environment, and calls that obey the deadline.

mod roots;

use std::any::type_name;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{self, TlsContext};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
pub use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeTransmitInterceptorContextMut, BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::client::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_smithy_types::config_bag::{ConfigBag, Storable, StoreReplace};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::SdkConfig;
use aws_types::region::Region;
use tokio::time::Instant;

use crate::{Deadline, Environment, EnvironmentError};

/// Attempts of a call that may safely be repeated, the first included.
const ATTEMPTS: u32 = 4;
/// The SDK's default is a second, longer than a patient should wait for the whole answer.
const FIRST_BACKOFF: Duration = Duration::from_millis(25);
const LONGEST_BACKOFF: Duration = Duration::from_millis(400);
/// A healthy service answers within milliseconds, so that after a second another attempt on another connection is
/// better.
const FIRST_ATTEMPT: Duration = Duration::from_secs(1);
/// An attempt's time limit is this many times that of the attempt before it that timed out, and the first one's this
/// many times as long as the last response took.
const TIMEOUT_FACTOR: u32 = 4;
/// For TCP and TLS; the time limit of the attempt applies as well. It is the same for every call, because the SDK keeps
/// a connection pool for each value.
const CONNECT: Duration = Duration::from_secs(3);

/// The HTTPS client that all SDK clients of a function share: one connection pool, one TLS stack (rustls on ring). It
/// trusts Amazon's root certificates; and those that `SSL_CERT_FILE` or `SSL_CERT_DIR` names, or else the machine's,
/// where one of the two is set, where an endpoint of `environment` is not Amazon's own, and in regions of other
/// partitions.
pub fn https(environment: &Environment) -> SharedHttpClient {
    https_with(roots::trusted(environment))
}

/// The HTTPS client of a program on somebody's machine, which trusts what the machine trusts.
pub fn https_of_machine() -> SharedHttpClient {
    https_with(roots::context(true))
}

fn https_with(trust: TlsContext) -> SharedHttpClient {
    let provider = tls::Provider::Rustls(CryptoMode::Ring);
    aws_smithy_http_client::Builder::new().tls_provider(provider).tls_context(trust).build_https()
}

/// The configuration of an SDK client: region and credentials from the environment, where Lambda puts them; the
/// endpoint from `endpoint_variable` (for example `AWS_ENDPOINT_URL_DYNAMODB`) where that is set; retries after tens of
/// milliseconds.
///
/// # Errors
/// If the region or the credentials are not in the environment.
pub fn sdk_config(
    environment: &Environment,
    endpoint_variable: &str,
    http: SharedHttpClient,
) -> Result<SdkConfig, EnvironmentError> {
    let credentials = Credentials::from_keys(
        environment.required("AWS_ACCESS_KEY_ID")?,
        environment.required("AWS_SECRET_ACCESS_KEY")?,
        environment.optional("AWS_SESSION_TOKEN").map(str::to_owned),
    );
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(environment.required("AWS_REGION")?.to_owned()))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .retry_config(
            RetryConfig::standard()
                .with_max_attempts(ATTEMPTS)
                .with_initial_backoff(FIRST_BACKOFF)
                .with_max_backoff(LONGEST_BACKOFF),
        )
        // Each call has limits of its own, which are shorter than the grace period of this protection.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .http_client(http);
    config.set_endpoint_url(environment.optional(endpoint_variable).map(str::to_owned));
    Ok(config.build())
}

/// The reason of a call that timed out, by the SDK's timeouts or this module's own.
const NO_ANSWER: &str = "no answer in time";

/// The error code of a request that DynamoDB will never accept.
const INVALID: &str = "ValidationException";
/// The error code while DynamoDB still processes an earlier attempt of the same transaction.
const IN_PROGRESS: &str = "TransactionInProgressException";

/// The time limits of one call of a service.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest time for all attempts together.
    pub most: Duration,
    /// The shortest time that the call is started with.
    pub least: Duration,
}

/// Sends one request within `deadline` and `limits`. `send` must apply the timeouts that it is given to the request.
///
/// # Errors
/// If it was not sent, if what became of it is not known, or if the service refused it.
pub async fn call<T, E, S>(
    deadline: Deadline,
    limits: Limits,
    send: impl FnOnce(TimeoutConfig) -> S,
) -> Result<T, CallError<E>>
where
    E: ProvideErrorMetadata,
    S: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
{
    let time = deadline.clamp(limits.most, limits.least).ok_or(CallError::NotStarted)?;
    // For the first attempt; `AdaptiveTimeout` extends it for those that follow.
    let attempt = (time * 2 / 5).max(limits.least).min(FIRST_ATTEMPT).min(time);
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .operation_attempt_timeout(attempt)
        .operation_timeout(time)
        .build();
    // A second bound, which does not depend on the SDK's own.
    // On the heap: a future of the SDK has some 8 KB, which each level above it would contain.
    let started = Instant::now();
    let result = match deadline.no_later_than(time).bound(Box::pin(send(timeouts))).await {
        None => Err(CallError::Unknown { reason: NO_ANSWER, code: None }),
        Some(result) => result.map_err(CallError::from_sdk),
    };
    tracing::debug!(
        event = "service_called",
        operation = operation::<T>(),
        outcome = result.as_ref().err().map_or("ok", CallError::name),
        ms = started.elapsed().as_millis() as u64,
        remaining_ms = deadline.remaining().as_millis() as u64,
    );
    result
}

/// The operation whose output is a `T`: `PutItem` of `PutItemOutput`.
fn operation<T>() -> &'static str {
    let name = type_name::<T>();
    name.rsplit("::").next().unwrap_or(name).trim_end_matches("Output")
}

/// An interceptor that adapts the attempt timeout of a client's calls to how slow the service is. After an attempt that
/// timed out, the next one may take four times as long: with a fixed timeout no attempt would ever succeed on a slow
/// service, whatever time the deadline leaves. The first timeout of a call is at least four times as long as the last
/// response took, so that it does not begin with an attempt that is too short.
#[derive(Debug, Default)]
pub struct AdaptiveTimeout {
    /// Milliseconds that the last response took.
    last_response: AtomicU64,
}

/// The instant at which an attempt started.
#[derive(Debug)]
struct AttemptStart(Instant);

impl Storable for AttemptStart {
    type Storer = StoreReplace<Self>;
}

impl AdaptiveTimeout {
    fn extend(cfg: &mut ConfigBag, longer: impl FnOnce(Duration) -> Duration) {
        let Some(timeouts) = cfg.load::<TimeoutConfig>().cloned() else { return };
        let Some(attempt) = timeouts.operation_attempt_timeout() else { return };
        let timeouts = timeouts.into_builder().operation_attempt_timeout(longer(attempt)).build();
        cfg.interceptor_state().store_put(timeouts);
    }
}

impl Intercept for AdaptiveTimeout {
    fn name(&self) -> &'static str {
        "AdaptiveTimeout"
    }

    fn modify_before_retry_loop(
        &self,
        _: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let last = Duration::from_millis(self.last_response.load(Ordering::Relaxed));
        Self::extend(cfg, |first| first.max(last * TIMEOUT_FACTOR));
        Ok(())
    }

    fn read_before_attempt(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        cfg.interceptor_state().store_put(AttemptStart(Instant::now()));
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if context.response().is_some() {
            if let Some(AttemptStart(start)) = cfg.load::<AttemptStart>() {
                self.last_response.store(start.elapsed().as_millis() as u64, Ordering::Relaxed);
            }
        } else if context.output_or_error().is_some_and(|result| result.is_err_and(|error| error.is_timeout_error())) {
            Self::extend(cfg, |attempt| attempt * TIMEOUT_FACTOR);
        }
        Ok(())
    }
}

/// Why a call of a service did not succeed.
#[derive(Debug)]
pub enum CallError<E> {
    /// Too little time remained, so nothing was sent.
    NotStarted,
    /// The request could not be built: nothing was sent, and a repeat would fail alike.
    NotBuilt,
    /// The request was sent, or may have been, and its outcome is not known.
    Unknown {
        /// The reason, without anything that the request or the response carried.
        reason: &'static str,
        /// The service's error code, if it sent one with a 5xx.
        code: Option<String>,
    },
    /// The service refused the request. The last attempt had no effect; an earlier one may have had its effect.
    Refused(E),
}

impl<E: ProvideErrorMetadata> CallError<E> {
    fn from_sdk(error: SdkError<E, HttpResponse>) -> Self {
        let reason = match error {
            SdkError::ServiceError(context) if context.raw().status().is_server_error() => {
                let code = context.err().code().map(str::to_owned);
                return Self::Unknown { reason: "the service failed", code };
            }
            SdkError::ServiceError(context) => return Self::Refused(context.into_err()),
            SdkError::TimeoutError(_) => NO_ANSWER,
            SdkError::DispatchFailure(_) => "the connection failed",
            SdkError::ResponseError(_) => "the response was cut off or cannot be read",
            SdkError::ConstructionFailure(_) => return Self::NotBuilt,
            _ => "the SDK failed",
        };
        Self::Unknown { reason, code: None }
    }

    /// What is known of it, for the log.
    fn name(&self) -> &'static str {
        match self {
            Self::NotStarted => "not-started",
            Self::NotBuilt => "not-built",
            Self::Unknown { .. } => "unknown",
            Self::Refused(_) => "refused",
        }
    }

    /// The failure of `operation`, without the service's own error type.
    pub fn into_failure(self, operation: &'static str) -> Failure {
        let (kind, reason, code) = match self {
            Self::NotStarted => (FailureKind::NotStarted, "too little time remained", None),
            Self::NotBuilt => (FailureKind::Refused, "the request could not be built", None),
            Self::Unknown { reason, code } => (FailureKind::Unknown, reason, code),
            Self::Refused(error) if error.code() == Some(IN_PROGRESS) => {
                (FailureKind::Unknown, "an earlier attempt is still in progress", Some(IN_PROGRESS.to_owned()))
            }
            Self::Refused(error) => {
                let code = error.code().map(str::to_owned);
                let kind = if code.as_deref().is_some_and(is_transient) {
                    FailureKind::Transient
                } else {
                    FailureKind::Refused
                };
                (kind, "the service refused it", code)
            }
        };
        Failure { operation, kind, reason, code }
    }
}

/// A call that did not succeed, without anything that it carried: a service's own message may quote the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The service's name of the operation.
    pub operation: &'static str,
    /// What is known of its effect, and whether a repeat may succeed.
    pub kind: FailureKind,
    reason: &'static str,
    code: Option<String>,
}

/// What is known of the effect of a failed call, and whether a repeat may succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// Nothing was sent for want of time; a repeat may have the time.
    NotStarted,
    /// Whether it was applied is not known.
    Unknown,
    /// The last attempt was not applied, and a repeat may succeed: a throttle or a conflict.
    Transient,
    /// Not applied, and a repeat would fail alike.
    Refused,
}

impl Failure {
    /// Whether the request itself is invalid, so that no repeat can succeed.
    pub fn is_invalid(&self) -> bool {
        self.code.as_deref() == Some(INVALID)
    }

    /// Whether the service returned something that cannot be read.
    pub fn is_unreadable(&self) -> bool {
        self.kind == FailureKind::Refused && self.code.is_none()
    }

    /// Whether it failed for want of time: too little remained, or no response came in time.
    pub fn is_out_of_time(&self) -> bool {
        self.kind == FailureKind::NotStarted || self.reason == NO_ANSWER
    }

    /// The failure of an operation whose request is invalid.
    pub fn invalid(operation: &'static str, reason: &'static str) -> Self {
        Self { operation, kind: FailureKind::Refused, reason, code: Some(INVALID.to_owned()) }
    }

    /// The failure of an operation whose response cannot be read.
    pub fn unreadable(operation: &'static str, reason: &'static str) -> Self {
        Self { operation, kind: FailureKind::Refused, reason, code: None }
    }

    /// The failure of an operation that had no effect and may succeed if repeated.
    pub fn transient(operation: &'static str, reason: &'static str) -> Self {
        Self { operation, kind: FailureKind::Transient, reason, code: None }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} did not succeed: {}", self.operation, self.reason)?;
        if let Some(code) = &self.code {
            write!(f, " ({code})")?;
        }
        Ok(())
    }
}

impl Error for Failure {}

/// Whether `code` is the error code of a throttle or a conflict: the request was not applied, and a repeat may succeed.
pub fn is_transient(code: &str) -> bool {
    matches!(
        code,
        "ProvisionedThroughputExceededException"
            | "ProvisionedThroughputExceeded"
            | "ThrottlingException"
            | "ThrottlingError"
            | "Throttling"
            | "ThrottledException"
            | "RequestLimitExceeded"
            | "TooManyRequestsException"
            | "TransactionConflictException"
            | "TransactionConflict"
            | "LimitExceededException"
            // From SNS, whose topic is encrypted.
            | "KMSThrottling"
            | "KMSThrottlingException"
    )
}

#[cfg(test)]
mod tests {
    use aws_smithy_runtime_api::client::result::ConnectorError;
    use aws_smithy_types::body::SdkBody;
    use aws_smithy_types::error::metadata::ErrorMetadata;

    use super::*;

    const ONE: Duration = Duration::from_secs(1);

    type Mock = SdkError<ErrorMetadata, HttpResponse>;

    fn refused(status: u16, code: &str) -> Mock {
        let status = status.try_into().expect("it is a status");
        SdkError::service_error(
            ErrorMetadata::builder().code(code).build(),
            HttpResponse::new(status, SdkBody::empty()),
        )
    }

    /// The failure, as callers see it, and whether it is invalid, unreadable, out of time.
    fn failure(error: Mock) -> (FailureKind, String, [bool; 3]) {
        let failure = CallError::from_sdk(error).into_failure("PutItem");
        let is = [failure.is_invalid(), failure.is_unreadable(), failure.is_out_of_time()];
        (failure.kind, failure.to_string(), is)
    }

    #[test]
    fn each_error_of_the_sdk_states_what_is_known_of_the_effect() {
        let nothing = [false; 3];
        let no_response = || HttpResponse::new(200.try_into().expect("it is a status"), SdkBody::empty());
        for (error, kind, reason, is) in [
            (SdkError::timeout_error("t"), FailureKind::Unknown, "no answer in time", [false, false, true]),
            (
                SdkError::dispatch_failure(ConnectorError::io("c".into())),
                FailureKind::Unknown,
                "the connection failed",
                nothing,
            ),
            (
                SdkError::response_error("r", no_response()),
                FailureKind::Unknown,
                "the response was cut off or cannot be read",
                nothing,
            ),
            (
                SdkError::construction_failure("c"),
                FailureKind::Refused,
                "the request could not be built",
                [false, true, false],
            ),
            (refused(500, "Internal"), FailureKind::Unknown, "the service failed (Internal)", nothing),
            (
                refused(400, "ThrottlingException"),
                FailureKind::Transient,
                "the service refused it (ThrottlingException)",
                nothing,
            ),
            (
                refused(400, "ValidationException"),
                FailureKind::Refused,
                "the service refused it (ValidationException)",
                [true, false, false],
            ),
            (refused(400, "AccessDenied"), FailureKind::Refused, "the service refused it (AccessDenied)", nothing),
            (
                refused(400, "TransactionInProgressException"),
                FailureKind::Unknown,
                "an earlier attempt is still in progress (TransactionInProgressException)",
                nothing,
            ),
        ] {
            assert_eq!(failure(error), (kind, format!("PutItem did not succeed: {reason}"), is));
        }
    }

    #[test]
    fn a_failure_for_want_of_time_and_one_of_content_are_told_apart() {
        let not_started = CallError::<ErrorMetadata>::NotStarted.into_failure("PutItem");
        let failures = [
            not_started,
            Failure::invalid("PutItem", "it is too large"),
            Failure::unreadable("GetItem", "it has no key"),
            Failure::transient("PutItem", "other writes conflicted with it"),
        ];
        let is = |of: fn(&Failure) -> bool| failures.each_ref().map(of);
        assert_eq!(is(Failure::is_out_of_time), [true, false, false, false]);
        assert_eq!(is(Failure::is_invalid), [false, true, false, false]);
        assert_eq!(is(Failure::is_unreadable), [false, false, true, false]);
    }

    /// The time limits of the first attempt and of the whole call that is made with `remaining` time.
    async fn limits(remaining: Duration, most: Duration, least: Duration) -> Option<(Duration, Duration)> {
        let mut applied = None;
        let send = |timeouts: TimeoutConfig| {
            applied = timeouts.operation_attempt_timeout().zip(timeouts.operation_timeout());
            async { Ok::<(), Mock>(()) }
        };
        let called = call(Deadline::after(remaining), Limits { most, least }, send).await;
        assert_eq!(called.is_ok(), applied.is_some());
        applied
    }

    #[tokio::test(start_paused = true)]
    async fn a_first_attempt_leaves_time_for_another() {
        let least = ONE / 20;
        assert_eq!(limits(ONE, ONE * 3, least).await, Some((ONE * 2 / 5, ONE)));
        assert_eq!(limits(ONE * 9, ONE * 2, least).await, Some((ONE * 4 / 5, ONE * 2)));
        // A healthy service answers within a second, and no attempt is shorter than the least or longer than the call.
        assert_eq!(limits(ONE * 9, ONE * 5, least).await, Some((ONE, ONE * 5)));
        assert_eq!(limits(least * 2, ONE, least).await, Some((least, least * 2)));
        assert_eq!(limits(least, ONE, least).await, Some((least, least)));
        assert_eq!(limits(least / 2, ONE, least).await, None);
    }
}
