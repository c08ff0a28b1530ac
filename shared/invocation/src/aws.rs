//! The SDK, set up once an environment, and one way to call it that obeys the deadline.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_http_client::tls::{self, rustls_provider::CryptoMode};
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

/// How often the SDK sends a request that a repeat cannot harm, the first time included.
const ATTEMPTS: u32 = 4;
/// The SDK's own first wait is a second, longer than a patient should wait for the whole answer.
const FIRST_BACKOFF: Duration = Duration::from_millis(25);
const LONGEST_BACKOFF: Duration = Duration::from_millis(400);
/// A healthy answer takes milliseconds: a first attempt that takes a second is better sent again, on another connection.
const FIRST_ATTEMPT: Duration = Duration::from_secs(1);
/// How many times as long as one that had no answer the next attempt may take, and as the last answer took the first.
const LONGER: u32 = 4;
/// TCP and TLS. The same for every call: the SDK keeps a connection pool for each different one. An attempt's time bounds
/// it too.
const CONNECT: Duration = Duration::from_secs(3);

/// The HTTPS client that every SDK client of this process shares: one connection pool, one TLS stack (rustls on ring).
pub fn https() -> SharedHttpClient {
    aws_smithy_http_client::Builder::new().tls_provider(tls::Provider::Rustls(CryptoMode::Ring)).build_https()
}

/// The SDK's settings: region and credentials from the environment, where Lambda puts them; the endpoint from
/// `endpoint_variable` where that is set (`AWS_ENDPOINT_URL_DYNAMODB`, say); retries within tens of milliseconds.
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
        // Each call brings its own limits, which are shorter than what this would watch for.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .http_client(http);
    config.set_endpoint_url(environment.optional(endpoint_variable).map(str::to_owned));
    Ok(config.build())
}

/// Why the time-outs of the SDK and of this module's own end a call.
const NO_ANSWER: &str = "no answer in time";

/// What DynamoDB calls a request that it will never take.
const INVALID: &str = "ValidationException";
/// What DynamoDB answers while it still works on an earlier attempt at the same transaction.
const IN_PROGRESS: &str = "TransactionInProgressException";

/// How long one call of a service may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// At most, all attempts together.
    pub most: Duration,
    /// Where less than this is left, the call is not started.
    pub least: Duration,
}

/// Sends one request inside `deadline` and `limits`. `send` is given the time-outs that it must put on the request.
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
    // The first attempt's; `Attempts` gives more to those that follow.
    let attempt = (time * 2 / 5).max(limits.least).min(FIRST_ATTEMPT).min(time);
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .operation_attempt_timeout(attempt)
        .operation_timeout(time)
        .build();
    // The SDK's own operation timeout cancels between attempts; this one holds whatever it does.
    // On the heap: a future of the SDK's has some 8 KB, and each level above it would carry them along.
    match deadline.no_later_than(time).bound(Box::pin(send(timeouts))).await {
        None => Err(CallError::Unknown { reason: NO_ANSWER, code: None }),
        Some(result) => result.map_err(CallError::from_sdk),
    }
}

/// Times the attempts of a client's calls by how slow the service is. One that had no answer is sent again at once, on
/// another connection, and the next may take four times as long: on a slow service an attempt that is always cut off
/// after the same time never succeeds, however much the deadline leaves. What the last answer took is remembered, so that
/// the next call does not begin with an attempt that is too short.
///
/// For a client's configuration, as an interceptor.
#[derive(Debug, Default)]
pub struct Attempts {
    /// Milliseconds that the last answered attempt took.
    last_answer: AtomicU64,
}

/// When an attempt began.
#[derive(Debug)]
struct Began(Instant);

impl Storable for Began {
    type Storer = StoreReplace<Self>;
}

impl Attempts {
    fn lengthen(cfg: &mut ConfigBag, longer: impl FnOnce(Duration) -> Duration) {
        let Some(timeouts) = cfg.load::<TimeoutConfig>().cloned() else { return };
        let Some(attempt) = timeouts.operation_attempt_timeout() else { return };
        let timeouts = timeouts.into_builder().operation_attempt_timeout(longer(attempt)).build();
        cfg.interceptor_state().store_put(timeouts);
    }
}

impl Intercept for Attempts {
    fn name(&self) -> &'static str {
        "Attempts"
    }

    fn modify_before_retry_loop(
        &self,
        _: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let last = Duration::from_millis(self.last_answer.load(Ordering::Relaxed));
        Self::lengthen(cfg, |first| first.max(last * LONGER));
        Ok(())
    }

    fn read_before_attempt(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        cfg.interceptor_state().store_put(Began(Instant::now()));
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if context.response().is_some() {
            if let Some(Began(began)) = cfg.load::<Began>() {
                self.last_answer.store(began.elapsed().as_millis() as u64, Ordering::Relaxed);
            }
        } else if context.output_or_error().is_some_and(|result| result.is_err_and(|error| error.is_timeout_error())) {
            Self::lengthen(cfg, |attempt| attempt * LONGER);
        }
        Ok(())
    }
}

/// Why a call of a service did not succeed.
#[derive(Debug)]
pub enum CallError<E> {
    /// Too little time was left: nothing was sent.
    NotStarted,
    /// It could not be built: nothing was sent, and nothing will be if it is tried again.
    NotBuilt,
    /// It was sent, or may have been, and no answer says what became of it.
    Unknown {
        /// What was seen.
        reason: &'static str,
        /// The service's error code, where it sent one (with a 5xx).
        code: Option<String>,
    },
    /// The service refused it. The last attempt had no effect; an earlier attempt may have had.
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
            SdkError::ResponseError(_) => "the answer was cut or cannot be read",
            SdkError::ConstructionFailure(_) => return Self::NotBuilt,
            _ => "the SDK failed",
        };
        Self::Unknown { reason, code: None }
    }

    /// This error without the service's own type, of the call `operation`.
    pub fn of(self, operation: &'static str) -> Failure {
        let (kind, reason, code) = match self {
            Self::NotStarted => (FailureKind::NotStarted, "too little time was left", None),
            Self::NotBuilt => (FailureKind::Refused, "the request could not be built", None),
            Self::Unknown { reason, code } => (FailureKind::Unknown, reason, code),
            Self::Refused(error) if error.code() == Some(IN_PROGRESS) => {
                (FailureKind::Unknown, "an earlier attempt is still in progress", Some(IN_PROGRESS.to_owned()))
            }
            Self::Refused(error) => {
                let code = error.code().map(str::to_owned);
                let kind =
                    if code.as_deref().is_some_and(is_passing) { FailureKind::Passing } else { FailureKind::Refused };
                (kind, "the service refused it", code)
            }
        };
        Failure { operation, kind, reason, code }
    }
}

/// A call that did not succeed, without anything of what it carried: a service's own message may quote the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The operation, as the service names it.
    pub operation: &'static str,
    /// What may be done about it.
    pub kind: FailureKind,
    reason: &'static str,
    code: Option<String>,
}

/// What may be done about a [`Failure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// Nothing was sent; a later try may have the time.
    NotStarted,
    /// It may have been applied or not.
    Unknown,
    /// Not applied, for a reason that passes: a throttle or a conflict.
    Passing,
    /// Not applied, for a reason that will stay.
    Refused,
}

impl Failure {
    /// Whether the request itself is at fault, so that no repeat of it will be taken.
    pub fn is_invalid(&self) -> bool {
        self.code.as_deref() == Some(INVALID)
    }

    /// Whether it is for want of time that nothing came of it: too little was left, or no answer came in time.
    pub fn is_out_of_time(&self) -> bool {
        self.kind == FailureKind::NotStarted || self.reason == NO_ANSWER
    }

    /// The failure of an operation whose request is itself at fault.
    pub fn invalid(operation: &'static str, reason: &'static str) -> Self {
        Self { operation, kind: FailureKind::Refused, reason, code: Some(INVALID.to_owned()) }
    }

    /// The failure of an operation whose answer does not say what it must.
    pub fn unreadable(operation: &'static str, reason: &'static str) -> Self {
        Self { operation, kind: FailureKind::Refused, reason, code: None }
    }

    /// The failure of an operation that passes: it had no effect, and may be tried again.
    pub fn passing(operation: &'static str, reason: &'static str) -> Self {
        Self { operation, kind: FailureKind::Passing, reason, code: None }
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

/// Whether the error code `code` says "not now": the request was not applied and may be sent again.
pub fn is_passing(code: &str) -> bool {
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
            // Of SNS, whose topic is encrypted.
            | "KMSThrottling"
            | "KMSThrottlingException"
    )
}
