//! Environments and invocations, with processes that use AWS's own client of the Runtime API.
#![allow(clippy::panic, reason = "a test may")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use local::console::Console;
use local::feed::Feed;
use local::lambda::{FunctionSettings, Functions, InvocationOutcome};
use local::template::Function;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use support::executable;

mod support;

const NAME: &str = "WorkFunction";

fn function() -> Function {
    Function {
        name: NAME.to_owned(),
        binary: "work".to_owned(),
        timeout: Duration::from_secs(20),
        memory: 256,
        reserved_concurrency: None,
        environment: BTreeMap::from([("OWN".to_owned(), "yes".to_owned())]),
        architecture: "arm64".to_owned(),
    }
}

fn functions(function: Function, concurrency: usize) -> Functions {
    let settings = FunctionSettings {
        concurrency,
        environment: BTreeMap::from([("AWS_REGION".to_owned(), "us-east-1".to_owned())]),
        launcher: None,
        console: Console { quiet: true, logs: false },
        feed: Feed::default(),
    };
    Functions::new([(function, executable())], settings)
}

async fn invoke(functions: &Functions, event: &Value) -> InvocationOutcome {
    let invocation = functions.invoke(NAME, Bytes::from(event.to_string()));
    timeout(Duration::from_secs(30), invocation).await.expect("every invocation has an outcome").outcome
}

fn start(functions: &Functions, event: &Value) -> JoinHandle<InvocationOutcome> {
    let (functions, event) = (functions.clone(), event.clone());
    tokio::spawn(async move { invoke(&functions, &event).await })
}

fn files(folder: &Path) -> usize {
    fs::read_dir(folder).expect("the folder is there").count()
}

fn answer(outcome: &InvocationOutcome) -> Value {
    match outcome {
        InvocationOutcome::Answer(payload) => serde_json::from_slice(payload).expect("an answer is JSON"),
        other => panic!("no answer, but {other:?}"),
    }
}

async fn pid(functions: &Functions) -> u64 {
    answer(&invoke(functions, &json!({"do": "report"})).await)["pid"].as_u64().expect("a process id")
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < end, "{what}: not within 20 s");
        tokio::task::yield_now().await;
    }
}

fn runs(pid: u64) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state follows the name in parentheses; a zombie has ended.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

fn kill(pid: u64) {
    let status = Command::new("kill").args(["-9", &pid.to_string()]).status().expect("kill is there");
    assert!(status.success(), "{pid} is there");
}

#[tokio::test]
async fn a_function_gets_the_variables_and_headers_of_lambda() {
    let functions = functions(function(), 1);
    let trace = "Root=1-5759e988-bd862e3fe1be46a994272793";
    let before = time::OffsetDateTime::now_utc();
    let event = Bytes::from(json!({"do": "report"}).to_string());
    let invocation = functions.invoke_traced(NAME, event, Some(trace.to_owned())).await;
    let reported = answer(&invocation.outcome);
    assert_eq!(reported["requestId"], invocation.request_id.as_str());
    assert_eq!(reported["trace"], trace);
    assert_eq!(reported["arn"], "arn:aws:lambda:us-east-1:000000000000:function:WorkFunction");
    let deadline =
        i128::from(reported["deadline"].as_i64().expect("milliseconds")) - before.unix_timestamp_nanos() / 1_000_000;
    assert!((20_000..50_000).contains(&deadline), "the deadline is {deadline} ms from the start");
    for (name, value) in [
        ("OWN", "yes"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_LAMBDA_FUNCTION_NAME", "WorkFunction"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/WorkFunction"),
    ] {
        assert_eq!(reported["environment"][name], value, "{name}");
    }
    assert_eq!(reported["environment"].get("CARGO_MANIFEST_DIR"), None, "nothing else is inherited");
}

#[tokio::test]
async fn a_warm_environment_is_used_again() {
    let functions = functions(function(), 10);
    functions.warm().await.expect("it starts");
    let first = pid(&functions).await;
    for _ in 0..5 {
        assert_eq!(pid(&functions).await, first);
    }
    let cold: Vec<bool> = functions.history().newest_first(None).iter().map(|record| record.cold).collect();
    assert_eq!(cold, [false, false, false, false, false, true]);
}

#[tokio::test]
async fn environments_start_up_to_the_limit_and_further_invocations_wait() {
    let functions = functions(function(), 3);
    let (received, go) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let file = go.path().join("go");
    let event = json!({"do": "wait", "for": file, "mark": received.path()});
    let running: Vec<_> = (0..12).map(|_| start(&functions, &event)).collect();
    until("three environments take what they can", || files(received.path()) == 3).await;
    assert!(functions.history().newest_first(None).is_empty(), "nine wait");
    fs::write(&file, "").expect("the folder is writable");
    let mut pids = BTreeSet::new();
    for outcome in futures::future::join_all(running).await {
        pids.insert(answer(&outcome.expect("the task ends"))["pid"].as_u64());
    }
    assert_eq!((pids.len(), files(received.path())), (3, 3), "no other was started");
    assert_eq!(functions.history().newest_first(None).len(), 12);
}

#[tokio::test]
async fn invocations_beyond_the_queue_are_refused_at_once() {
    let functions = functions(function(), 1);
    let go = tempfile::tempdir().expect("a folder");
    let file = go.path().join("go");
    let event = json!({"do": "wait", "for": file});
    let (mut ended, mut refused) = (0, 0);
    let mut running: futures::stream::FuturesUnordered<_> = (0..1100).map(|_| start(&functions, &event)).collect();
    while let Some(outcome) = running.next().await {
        ended += 1;
        match outcome.expect("the task ends") {
            InvocationOutcome::Unavailable(why) => {
                assert!(why.contains("throttled: all environments (1) are busy and 1000 invocations wait"), "{why}");
                refused += 1;
                // Only refused invocations have ended so far. Release the others.
                if ended == 99 {
                    fs::write(&file, "").expect("the folder is writable");
                }
            }
            outcome => drop(answer(&outcome)),
        }
    }
    // One runs, or waits for its environment to start.
    assert!((99..=100).contains(&refused), "{refused} of 1100");
}

#[tokio::test]
async fn a_function_with_zero_reserved_concurrency_is_never_invoked() {
    let functions = functions(Function { reserved_concurrency: Some(0), ..function() }, 1);
    functions.warm().await.expect("there is nothing to start");
    let outcome = invoke(&functions, &json!({})).await;
    assert!(matches!(&outcome, InvocationOutcome::Unavailable(why) if why.contains("throttled")), "{outcome:?}");
}

#[tokio::test]
async fn an_invocation_that_exceeds_its_timeout_is_killed_and_the_next_gets_a_new_environment() {
    let functions = functions(Function { timeout: Duration::from_secs(1), ..function() }, 1);
    let first = pid(&functions).await;
    let begun = Instant::now();
    assert_eq!(invoke(&functions, &json!({"do": "hang"})).await, InvocationOutcome::TimedOut);
    assert!(begun.elapsed() >= Duration::from_secs(1), "killed too early");
    until("the process is gone", || !runs(first)).await;
    assert_ne!(pid(&functions).await, first);
    let record = functions.history().newest_first(None).swap_remove(1);
    assert_eq!((record.outcome, record.remaining_ms), ("timedOut", 0));
    assert_eq!(record.detail.as_deref(), Some("Task timed out after 1.00 seconds"));
}

#[tokio::test]
async fn a_process_that_ends_fails_its_invocation_at_once() {
    let functions = functions(function(), 1);
    assert_eq!(invoke(&functions, &json!({"do": "exit"})).await, InvocationOutcome::Crashed);
    let first = pid(&functions).await;
    let received = tempfile::tempdir().expect("a folder");
    let hanging = start(&functions, &json!({"do": "hang", "mark": received.path()}));
    until("the process has the event", || files(received.path()) == 1).await;
    let begun = Instant::now();
    kill(first);
    assert_eq!(hanging.await.expect("the task ends"), InvocationOutcome::Crashed);
    assert!(begun.elapsed() < Duration::from_secs(10), "not at once");
    assert_ne!(pid(&functions).await, first);
}

#[tokio::test]
async fn a_process_that_ends_between_invocations_is_replaced_without_a_failure() {
    let functions = functions(function(), 1);
    let first = pid(&functions).await;
    kill(first);
    until("the process is gone", || !runs(first)).await;
    assert_ne!(pid(&functions).await, first);
}

#[tokio::test]
async fn errors_and_panics_are_returned_and_keep_the_environment() {
    let functions = functions(function(), 1);
    let first = pid(&functions).await;
    for what in ["error", "panic"] {
        match invoke(&functions, &json!({"do": what})).await {
            InvocationOutcome::FunctionError(error) => {
                let error: Value = serde_json::from_slice(&error).expect("an error is JSON");
                assert!(error["errorMessage"].as_str().is_some_and(|text| text.contains("wrong")), "{error}");
            }
            other => panic!("{what} gave {other:?}"),
        }
    }
    assert_eq!(pid(&functions).await, first);
}

#[tokio::test]
async fn a_result_over_lambdas_limit_is_an_error() {
    let functions = functions(function(), 1);
    match invoke(&functions, &json!({"do": "much"})).await {
        InvocationOutcome::FunctionError(error) => {
            let error: Value = serde_json::from_slice(&error).expect("an error is JSON");
            assert_eq!(error["errorType"], "Function.ResponseSizeTooLarge");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_function_that_does_not_start_is_an_error_with_its_output() {
    for (start, parts) in [
        ("exit", ["does not start: its process ended (exit status: 3)", "START is exit"]),
        ("fail", ["does not start: its process ended (exit status: 1)", "no good"]),
    ] {
        let environment = BTreeMap::from([("START".to_owned(), start.to_owned())]);
        let functions = functions(Function { environment, ..function() }, 1);
        let error = functions.warm().await.expect_err(start).to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        let outcome = invoke(&functions, &json!({})).await;
        assert!(
            matches!(&outcome, InvocationOutcome::Unavailable(why) if why.contains("does not start")),
            "{outcome:?}"
        );
    }
}

#[tokio::test]
async fn a_missing_executable_is_named() {
    let settings = FunctionSettings {
        concurrency: 1,
        environment: BTreeMap::new(),
        launcher: None,
        console: Console { quiet: true, logs: false },
        feed: Feed::default(),
    };
    let functions = Functions::new([(function(), PathBuf::from("/nowhere/work"))], settings);
    let error = functions.warm().await.expect_err("it does not exist").to_string();
    assert!(error.contains("/nowhere/work cannot be run"), "{error}");
}

#[tokio::test]
async fn a_stop_lets_running_invocations_finish_and_refuses_further_ones() {
    let functions = functions(function(), 2);
    let first = pid(&functions).await;
    let (received, go) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let file = go.path().join("go");
    let running = start(&functions, &json!({"do": "wait", "for": file, "mark": received.path()}));
    until("the process has the event", || files(received.path()) == 1).await;
    let stopping = tokio::spawn({
        let functions = functions.clone();
        async move { functions.stop(Duration::from_secs(20)).await }
    });
    while !matches!(invoke(&functions, &json!({})).await, InvocationOutcome::Unavailable(_)) {}
    fs::write(&file, "").expect("the folder is writable");
    assert_eq!(answer(&running.await.expect("the task ends"))["pid"], first);
    stopping.await.expect("the stop ends");
    until("its process is gone", || !runs(first)).await;
}

#[tokio::test]
async fn replaced_variables_reach_new_environments_and_running_invocations_finish_in_the_old() {
    let functions = functions(function(), 2);
    let first = pid(&functions).await;
    let (received, go) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let file = go.path().join("go");
    let running = start(&functions, &json!({"do": "wait", "for": file, "mark": received.path()}));
    until("the process has the event", || files(received.path()) == 1).await;
    functions.replace_variables(BTreeMap::from([("AWS_REGION".to_owned(), "eu-north-1".to_owned())]));
    let reported = answer(&invoke(&functions, &json!({"do": "report"})).await);
    assert_eq!(reported["environment"]["AWS_REGION"], "eu-north-1");
    assert_ne!(reported["pid"], first);
    fs::write(&file, "").expect("the folder is writable");
    assert_eq!(answer(&running.await.expect("the task ends"))["pid"], first);
    until("the old process is gone", || !runs(first)).await;
    assert_eq!(pid(&functions).await, reported["pid"], "the new environment is used again");
}

#[tokio::test]
async fn invocations_and_their_causes_and_metrics_are_on_the_feed() {
    let feed = Feed::default();
    let settings = FunctionSettings {
        concurrency: 1,
        environment: BTreeMap::new(),
        launcher: None,
        console: Console { quiet: true, logs: false },
        feed: feed.clone(),
    };
    let functions = Functions::new([(function(), executable())], settings);
    let event = json!({"routeKey": "POST /x", "headers": {"x-correlation-id": "c-1"}, "do": "report"});
    let reported = answer(&invoke(&functions, &event).await);
    let events: Vec<Value> =
        feed.after(0).iter().map(|event| serde_json::from_str(&event.json).expect("JSON")).collect();
    let kinds: Vec<&str> = events.iter().filter_map(|event| event["event"].as_str()).collect();
    assert_eq!(kinds, ["started", "finished"]);
    for event in &events {
        assert_eq!(event["requestId"], reported["requestId"]);
        assert_eq!(event["cold"], true);
        assert_eq!(event["cause"], json!({"request": {"route": "POST /x", "correlationId": "c-1"}}));
    }
    assert_eq!(events[0]["timeoutMs"].as_u64(), u64::try_from(function().timeout.as_millis()).ok());
    assert!(events[1]["remainingMs"].as_u64() <= events[0]["timeoutMs"].as_u64());
    assert_eq!(events[1]["outcome"], "answered");
}

#[tokio::test]
async fn a_stop_kills_invocations_that_do_not_finish() {
    let functions = functions(function(), 1);
    let received = tempfile::tempdir().expect("a folder");
    let running = start(&functions, &json!({"do": "hang", "mark": received.path()}));
    until("the process has the event", || files(received.path()) == 1).await;
    functions.stop(Duration::from_millis(50)).await;
    assert_eq!(running.await.expect("the task ends"), InvocationOutcome::Crashed);
}

#[test]
fn a_process_ends_with_the_local_cloud_that_started_it() {
    // A shell plays a local cloud that is killed. The function hangs in its start, so that only the system can end it.
    let launcher = Path::new(env!("CARGO_BIN_EXE_local"));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("pid");
    let script = folder.path().join("hang.sh");
    fs::write(&script, format!("#!/bin/sh\necho $$ > {}\nwhile :; do sleep 1; done\n", file.display()))
        .expect("the folder is writable");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    fs::set_permissions(&script, mode).expect("it belongs to this test");
    let line = format!("{} environment $$ {} & wait", launcher.display(), script.display());
    let mut parent = Command::new("sh").args(["-c", &line]).spawn().expect("a shell is there");
    let end = std::time::SystemTime::now() + Duration::from_secs(20);
    let pid = loop {
        match fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok()) {
            Some(pid) => break pid,
            None => assert!(std::time::SystemTime::now() < end, "the function does not start"),
        }
    };
    assert!(runs(pid));
    parent.kill().expect("it runs");
    parent.wait().expect("it ended");
    while runs(pid) {
        assert!(std::time::SystemTime::now() < end, "the function outlives its parent");
    }
}
