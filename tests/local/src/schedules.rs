//! Schedules: recurring events as EventBridge sends them.
//!
//! An event is sent once and its outcome is not waited for: a failed invocation is not retried. The first event is sent
//! one period after the start; `POST /local/schedules/{function}` sends it at once.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use bytes::Bytes;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::clock;
use crate::lambda::{Functions, Invocation, InvocationOutcome};
use crate::template::{ACCOUNT, Function, REGION, Schedule, Scheduler};

/// The running schedules.
#[derive(Debug)]
pub struct Schedules(JoinSet<()>);

impl Schedules {
    /// Starts all schedules.
    pub fn start(schedules: &[Schedule], functions: &Functions) -> Self {
        let mut running = JoinSet::new();
        for schedule in schedules {
            running.spawn(run(schedule.clone(), functions.clone()));
        }
        Self(running)
    }

    /// Sends no further events. Running invocations continue.
    pub async fn stop(mut self) {
        self.0.shutdown().await;
    }
}

/// `POST /local/schedules/{function}`, by binary or logical id: sends the events of the function's schedules now, and
/// returns when they are done: `{"invocations": [{"schedule", "requestId", "outcome", "answer"}]}`.
pub fn routes(schedules: Vec<Schedule>, known: Vec<Function>, functions: Functions) -> Router {
    let state = Arc::new(Known { schedules, known, functions });
    Router::new().route("/local/schedules/{function}", post(fire_now)).with_state(state)
}

async fn run(schedule: Schedule, functions: Functions) {
    let mut due = interval_at(Instant::now() + schedule.every, schedule.every);
    due.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        due.tick().await;
        let (schedule, functions) = (schedule.clone(), functions.clone());
        // Not awaited, so that the next event is sent in time however long this invocation takes.
        tokio::spawn(async move { fire(&schedule, &functions).await });
    }
}

async fn fire(schedule: &Schedule, functions: &Functions) -> Invocation {
    let payload = Bytes::from(event(schedule, clock::now()));
    functions.invoke(&schedule.function, payload).await
}

/// The schedules and functions that the route can use.
struct Known {
    schedules: Vec<Schedule>,
    known: Vec<Function>,
    functions: Functions,
}

async fn fire_now(State(state): State<Arc<Known>>, Path(named): Path<String>) -> Response {
    let Known { schedules, known, functions } = state.as_ref();
    let function = known.iter().find(|function| function.name == named || function.binary == named);
    let of = |name: &str| schedules.iter().filter(|schedule| schedule.function == name).collect::<Vec<_>>();
    let its = function.map(|function| of(&function.name)).unwrap_or_default();
    if its.is_empty() {
        let names: Vec<&str> =
            known.iter().filter(|it| !of(&it.name).is_empty()).map(|it| it.binary.as_str()).collect();
        let detail = format!("No such function has a schedule. Those with one are: {}", names.join(", "));
        return (StatusCode::NOT_FOUND, Json(json!({"title": "Not Found", "status": 404, "detail": detail})))
            .into_response();
    }
    let mut invocations = Vec::new();
    for schedule in its {
        let Invocation { request_id, outcome, .. } = fire(schedule, functions).await;
        let (outcome, answer) = match outcome {
            InvocationOutcome::Answer(answer) => ("answered", parsed(&answer)),
            InvocationOutcome::FunctionError(error) => ("failed", parsed(&error)),
            InvocationOutcome::TimedOut => ("timedOut", Value::Null),
            InvocationOutcome::Crashed => ("crashed", Value::Null),
            InvocationOutcome::Unavailable(reason) => ("refused", Value::String(reason)),
        };
        let schedule = &schedule.name;
        invocations.push(json!({"schedule": schedule, "requestId": request_id, "outcome": outcome, "answer": answer}));
    }
    Json(json!({ "invocations": invocations })).into_response()
}

fn parsed(payload: &Bytes) -> Value {
    serde_json::from_slice(payload).unwrap_or_default()
}

/// The event that is sent at `now`.
fn event(schedule: &Schedule, now: OffsetDateTime) -> String {
    if let Some(input) = &schedule.input {
        return input.clone();
    }
    let name = schedule.name.replace('/', "");
    // The Scheduler, unlike a rule, writes an empty detail as a string.
    let (source, resource, detail) = match schedule.scheduler {
        Scheduler::Rule => ("aws.events", format!("arn:aws:events:{REGION}:{ACCOUNT}:rule/{name}"), json!({})),
        Scheduler::Scheduler => {
            ("aws.scheduler", format!("arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/default/{name}"), json!("{}"))
        }
    };
    let time = now.replace_nanosecond(0).unwrap_or(now).format(&Rfc3339).unwrap_or_default();
    json!({
        "version": "0",
        "id": uuid::Uuid::new_v4().to_string(),
        "detail-type": "Scheduled Event",
        "source": source,
        "account": ACCOUNT,
        "time": time,
        "region": REGION,
        "resources": [resource],
        "detail": detail,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;
    use std::time::Duration;

    use time::macros::datetime;

    use super::*;
    use crate::console::Console;
    use crate::feed::Feed;
    use crate::lambda::FunctionSettings;

    fn schedule(scheduler: Scheduler, input: Option<&str>) -> Schedule {
        Schedule {
            name: "SweepFunction/EachMinute".to_owned(),
            function: "SweepFunction".to_owned(),
            scheduler,
            every: Duration::from_secs(60),
            input: input.map(str::to_owned),
        }
    }

    /// A function without environments, which refuses every event. The history lists refusals too.
    fn functions() -> (Functions, Function) {
        let function = Function {
            name: "SweepFunction".to_owned(),
            binary: "sweep".to_owned(),
            timeout: Duration::from_secs(10),
            memory: 128,
            reserved_concurrency: Some(0),
            environment: BTreeMap::new(),
            architecture: "arm64".to_owned(),
        };
        let settings = FunctionSettings {
            concurrency: 1,
            environment: BTreeMap::new(),
            launcher: None,
            console: Console { quiet: true, logs: false },
            feed: Feed::default(),
        };
        (Functions::new([(function.clone(), PathBuf::new())], settings), function)
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_is_sent_once_each_period_until_the_stop() {
        let (functions, _) = functions();
        let schedules = Schedules::start(&[schedule(Scheduler::Rule, None)], &functions);
        let came = || functions.history().newest_first(None).len();
        for (seconds, expected) in [(59, 0), (2, 1), (58, 1), (2, 2)] {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            assert_eq!(came(), expected);
        }
        schedules.stop().await;
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert_eq!(came(), 2);
    }

    #[tokio::test]
    async fn an_event_is_sent_at_once_on_request_for_scheduled_functions_only() {
        let (functions, function) = functions();
        let state = Known { schedules: vec![schedule(Scheduler::Rule, None)], known: vec![function], functions };
        let state = Arc::new(state);
        for (named, status) in
            [("sweep", StatusCode::OK), ("SweepFunction", StatusCode::OK), ("score", StatusCode::NOT_FOUND)]
        {
            let response = fire_now(State(Arc::clone(&state)), Path(named.to_owned())).await;
            assert_eq!(response.status(), status, "{named}");
        }
        assert_eq!(state.functions.history().newest_first(None).len(), 2);
    }

    #[test]
    fn the_event_has_eventbridges_shape() {
        let mut event: Value =
            serde_json::from_str(&event(&schedule(Scheduler::Rule, None), datetime!(2026-11-23 08:00:00.123 UTC)))
                .expect("the event is JSON");
        let id = event["id"].take();
        assert_eq!(id.as_str().map(str::len), Some(36));
        let expected = json!({
            "version": "0", "id": null, "detail-type": "Scheduled Event", "source": "aws.events",
            "account": "000000000000", "time": "2026-11-23T08:00:00Z", "region": "us-east-1",
            "resources": ["arn:aws:events:us-east-1:000000000000:rule/SweepFunctionEachMinute"], "detail": {},
        });
        assert_eq!(event, expected);
    }

    #[test]
    fn an_input_replaces_the_event() {
        let input = "{\"retry\":\"quarantine\"}";
        for scheduler in [Scheduler::Rule, Scheduler::Scheduler] {
            assert_eq!(event(&schedule(scheduler, Some(input)), OffsetDateTime::UNIX_EPOCH), input);
        }
    }
}
