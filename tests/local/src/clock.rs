//! The local cloud's time of day, which can be moved forwards and never back.
//!
//! The functions' binaries have no switch for it. A library, the crate `clock`, is preloaded into their processes and
//! adds an offset to what libc says; it reads it from a file that is mapped into memory, and this module writes it. The
//! local cloud itself, one in a process, reads the time by [`now`].
//!
//! What waits or measures goes on by the machine's clock: timeouts, the minutes of schedules, the database's removal of
//! expired items. After a move, `POST /local/schedules/{function}` invokes what is due.
//!
//! The library is built and preloaded from the first move on, when the functions' processes are replaced once. A local
//! cloud whose clock is not moved has no part of it: its start takes no longer, and its functions run as they are
//! deployed, without another library in their processes.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};
use tokio::sync::Mutex;

use crate::cloud::CloudOptions;
use crate::executables::{self, BuildError};
use crate::feed;
use crate::lambda::Functions;
use offset_file::OffsetFile;

mod offset_file;

/// The variable that names the file of the offset to the library.
const VARIABLE: &str = "EPRO_CLOCK";

/// How far the clock may be ahead of the machine's: certificates, keys and calendars beyond it are not of this world.
const FURTHEST: Duration = Duration::days(3_653);

/// The offset of this process, in milliseconds.
static OFFSET: AtomicI64 = AtomicI64::new(0);

/// The time of day of the local cloud.
pub fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc() + offset()
}

/// How far [`now`] is ahead of the machine's clock.
pub fn offset() -> Duration {
    Duration::milliseconds(OFFSET.load(Ordering::Acquire))
}

/// The clock of one local cloud. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Clock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The file of the offset, which the functions map.
    file: OffsetFile,
    /// Where the library is built.
    workspace: PathBuf,
    build_profile: String,
    quiet: bool,
    /// The address of the database.
    database: String,
    /// Whether the functions follow it. Behind a lock, which lets one move follow the other.
    followed: Mutex<bool>,
}

/// Why the clock does not move.
#[derive(Debug, thiserror::Error)]
pub enum ClockError {
    /// The functions cannot be made to follow.
    #[error("the clock can be moved on Linux with glibc only: elsewhere the functions cannot follow it")]
    Unsupported,
    /// The database is not of this machine.
    #[error(
        "the clock cannot be moved with a database that is called over TLS, as AWS's is: it refuses requests that are signed \
         at another time"
    )]
    OverTls,
    /// The library does not build.
    #[error("the library that lets the functions follow the clock cannot be built")]
    Build(#[from] BuildError),
    /// The file of the offset cannot be used.
    #[error("cannot {operation} the clock's file {}", file.display())]
    File {
        /// The operation that failed.
        operation: &'static str,
        /// The file.
        file: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The file has other content.
    #[error(
        "the clock's file {} is damaged. Remove it: the clock then shows the machine's time, which may be before that of \
         stored data",
        .0.display()
    )]
    Damaged(PathBuf),
}

/// Why a request does not move it.
#[derive(Debug, PartialEq, Eq)]
enum Refused {
    Shape,
    Past(OffsetDateTime),
    TooFar,
}

impl Clock {
    /// The clock of a local cloud on the database at this address, with the offset that `folder` keeps; without a folder
    /// it shows the machine's time.
    ///
    /// # Errors
    /// If the file of the offset cannot be used, or the offset in it cannot be followed here.
    pub fn open(folder: Option<&Path>, options: &CloudOptions, database: &str) -> Result<Self, ClockError> {
        let (file, offset) = OffsetFile::open(folder)?;
        let clock = Self(Arc::new(Inner {
            file,
            workspace: options.workspace.clone(),
            build_profile: options.build_profile.clone(),
            quiet: options.console.quiet,
            database: database.to_owned(),
            followed: Mutex::new(false),
        }));
        if offset != 0 {
            clock.ensure_movable()?;
        }
        OFFSET.store(offset, Ordering::Release);
        Ok(clock)
    }

    fn ensure_movable(&self) -> Result<(), ClockError> {
        if !cfg!(all(target_os = "linux", target_env = "gnu")) {
            return Err(ClockError::Unsupported);
        }
        if self.0.database.starts_with("http://") { Ok(()) } else { Err(ClockError::OverTls) }
    }

    /// Lets `functions` follow from their start, if it has been moved before.
    ///
    /// # Errors
    /// If the library does not build.
    pub async fn resume(&self, functions: &Functions) -> Result<(), ClockError> {
        if offset().is_zero() {
            return Ok(());
        }
        self.let_follow(functions, &mut *self.0.followed.lock().await).await
    }

    /// `GET` and `POST /local/clock`: `{"now": RFC 3339, "offsetSeconds"}`. The body of a move is `{"advanceSeconds"}` or
    /// `{"now"}`.
    pub fn routes(self, functions: Functions) -> Router {
        Router::new().route("/local/clock", get(show).post(change)).with_state((self, functions))
    }

    async fn advance(&self, functions: &Functions, asked: &[u8]) -> Result<Result<(), Refused>, ClockError> {
        self.ensure_movable()?;
        let mut followed = self.0.followed.lock().await;
        let offset = match moved(asked, OffsetDateTime::now_utc(), offset()) {
            Ok(offset) => offset,
            Err(refused) => return Ok(Err(refused)),
        };
        self.let_follow(functions, &mut followed).await?;
        // An invocation that begins in between has a deadline that is too late, and not one that is over: it is ended by
        // the machine's clock all the same.
        let before = OFFSET.swap(offset, Ordering::AcqRel);
        self.0.file.write(offset).inspect_err(|_| OFFSET.store(before, Ordering::Release))?;
        Ok(Ok(()))
    }

    async fn let_follow(&self, functions: &Functions, followed: &mut bool) -> Result<(), ClockError> {
        if *followed {
            return Ok(());
        }
        let Inner { file, workspace, build_profile, quiet, .. } = self.0.as_ref();
        let library = executables::build_clock(workspace, build_profile, *quiet).await?;
        functions.preload(BTreeMap::from([
            ("LD_PRELOAD".to_owned(), library.display().to_string()),
            (VARIABLE.to_owned(), file.path().display().to_string()),
        ]));
        *followed = true;
        Ok(())
    }
}

/// The offset in milliseconds after the move that `asked` for, where the machine shows `machine` and the clock is ahead
/// by `offset`.
fn moved(asked: &[u8], machine: OffsetDateTime, offset: Duration) -> Result<i64, Refused> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Asked {
        advance_seconds: Option<i64>,
        now: Option<String>,
    }
    let asked: Asked = serde_json::from_slice(asked).map_err(|_| Refused::Shape)?;
    let now = machine + offset;
    let by = match asked {
        Asked { advance_seconds: Some(seconds), now: None } => Duration::seconds(seconds),
        Asked { advance_seconds: None, now: Some(text) } => {
            OffsetDateTime::parse(&text, &Rfc3339).map_err(|_| Refused::Shape)? - now
        }
        _ => return Err(Refused::Shape),
    };
    if by.is_negative() {
        return Err(Refused::Past(now));
    }
    // A time that was asked for has come, and not nearly.
    let by = (by + Duration::microseconds(999)).whole_milliseconds();
    let after = offset.whole_milliseconds().saturating_add(by);
    i64::try_from(after).ok().filter(|_| after <= FURTHEST.whole_milliseconds()).ok_or(Refused::TooFar)
}

async fn show() -> Json<Value> {
    Json(shown())
}

async fn change(State((clock, functions)): State<(Clock, Functions)>, asked: Bytes) -> Response {
    match clock.advance(&functions, &asked).await {
        Ok(Ok(())) => Json(shown()).into_response(),
        Ok(Err(refused)) => problem(StatusCode::UNPROCESSABLE_ENTITY, &refused.to_string()),
        Err(error) => {
            let status = match error {
                ClockError::Unsupported => StatusCode::NOT_IMPLEMENTED,
                ClockError::OverTls => StatusCode::CONFLICT,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            };
            problem(status, &authoring::error_chain(&error))
        }
    }
}

fn shown() -> Value {
    let offset = offset();
    json!({"now": feed::at(OffsetDateTime::now_utc() + offset), "offsetSeconds": seconds(offset)})
}

/// Whole seconds are written without a fraction.
fn seconds(offset: Duration) -> Value {
    let seconds = offset.as_seconds_f64();
    if seconds.fract() == 0.0 { offset.whole_seconds().into() } else { seconds.into() }
}

fn problem(status: StatusCode, detail: &str) -> Response {
    let title = status.canonical_reason().unwrap_or_default();
    (status, Json(json!({"title": title, "status": status.as_u16(), "detail": detail}))).into_response()
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Shape => f.write_str(
                "The body has to be {\"advanceSeconds\": n} with a whole number, or {\"now\": \"…\"} with a time in RFC 3339.",
            ),
            Self::Past(now) => write!(f, "The clock never goes back, and it shows {} already.", feed::at(*now)),
            Self::TooFar => write!(
                f,
                "The clock can be {} days, ten years, ahead of the machine's at most.",
                FURTHEST.whole_days()
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::console::Console;

    const MACHINE: OffsetDateTime = datetime!(2026-11-27 16:00 UTC);

    fn ask(body: &str, offset: Duration) -> Result<i64, Refused> {
        moved(body.as_bytes(), MACHINE, offset)
    }

    #[test]
    fn it_is_moved_by_seconds_or_to_a_time() {
        assert_eq!(ask(r#"{"advanceSeconds":90}"#, Duration::ZERO), Ok(90_000));
        assert_eq!(ask(r#"{"advanceSeconds":0}"#, Duration::seconds(5)), Ok(5_000));
        assert_eq!(ask(r#"{"now":"2026-11-27T17:00:00+01:00"}"#, Duration::ZERO), Ok(0));
        assert_eq!(ask(r#"{"now":"2026-11-27T17:00:00.0001Z"}"#, Duration::minutes(10)), Ok(3_600_001));
    }

    #[test]
    fn it_never_goes_back_and_not_beyond_ten_years() {
        let hour = Duration::hours(1);
        assert_eq!(ask(r#"{"advanceSeconds":-1}"#, hour), Err(Refused::Past(MACHINE + hour)));
        assert_eq!(ask(r#"{"now":"2026-11-27T16:59:59.999Z"}"#, hour), Err(Refused::Past(MACHINE + hour)));
        let furthest = FURTHEST.whole_seconds();
        let by = |seconds: i64| ask(&json!({"advanceSeconds": seconds}).to_string(), hour);
        assert_eq!(by(furthest - 3_600), Ok(furthest * 1_000));
        for too_far in [furthest - 3_599, i64::MAX] {
            assert_eq!(by(too_far), Err(Refused::TooFar), "{too_far}");
        }
        assert_eq!(ask(r#"{"now":"9999-12-31T23:59:59Z"}"#, hour), Err(Refused::TooFar));
    }

    #[test]
    fn a_body_of_another_shape_is_refused() {
        let bodies = [
            "",
            "{}",
            "[]",
            "1",
            r#"{"advanceSeconds":"1"}"#,
            r#"{"advanceSeconds":1.5}"#,
            r#"{"now":"tomorrow"}"#,
            r#"{"now":"2026-11-28T00:00:00Z","advanceSeconds":1}"#,
            r#"{"advanceSeconds":1,"by":2}"#,
        ];
        for body in bodies {
            assert_eq!(ask(body, Duration::ZERO), Err(Refused::Shape), "{body}");
        }
    }

    #[test]
    fn it_does_not_move_with_a_database_that_checks_when_requests_were_signed() {
        let options = CloudOptions {
            port: 0,
            data: None,
            dynamodb: None,
            template: PathBuf::new(),
            parameters: BTreeMap::new(),
            workspace: PathBuf::new(),
            build_profile: "dev".to_owned(),
            concurrency: 1,
            faults: None,
            subscribe: Vec::new(),
            launcher: None,
            console: Console { quiet: true, logs: false },
        };
        let at = |database: &str| Clock::open(None, &options, database).and_then(|clock| clock.ensure_movable());
        assert!(matches!(at("https://dynamodb.eu-central-1.amazonaws.com"), Err(ClockError::OverTls)));
        assert_eq!(at("http://127.0.0.1:8000").is_ok(), cfg!(all(target_os = "linux", target_env = "gnu")));
    }
}
