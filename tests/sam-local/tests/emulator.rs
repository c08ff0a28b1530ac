//! The release bootstraps, unchanged, under AWS's own runtime interface emulator and against the embedded DynamoDB: what
//! they answer to the events of `tests/events`, whether they answer in time, and what a kill leaves behind.
#![allow(clippy::unwrap_used, reason = "the failure is the report")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs};

use local::dynamodb::DynamoDb;
use local::template::Template;
use sam_local::{Emulator, Flow, Invocation, Relay};
use serde_json::{Value, json};

/// DESIGN section 5: by as much an answer comes before the end.
const RESERVE: Duration = Duration::from_millis(250);
/// The shortest that leaves room for an answer: the emulator counts in whole seconds.
const SHORT: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn a_submission_is_stored_once_whatever_is_sent_under_its_id() {
    let cloud = Cloud::start().await;
    let submit = cloud.function("SubmitFunction").await;

    let first = answer(&submit, &event("submit-post"), 202).await;
    assert_eq!(first["status"], "queued");
    assert_eq!(answer(&submit, &event("submit-post"), 200).await, first);

    let conflict = answer(&submit, &event("submit-post-conflict"), 409).await;
    assert_eq!(conflict["status"], 409);
    assert_eq!(conflict["correlationId"], "walk-through-1");

    let invalid = answer(&submit, &event("submit-post-invalid"), 422).await;
    let at: BTreeSet<_> =
        invalid["errors"].as_array().unwrap().iter().map(|e| e["pointer"].as_str().unwrap()).collect();
    assert_eq!(at, BTreeSet::from(["/answers/1", "/answers/2", "/answers/11"]));

    assert_eq!(answer(&submit, &event("submit-get"), 200).await, first);

    let log = submit.log().unwrap();
    assert!(log.contains("walk-through-1"), "the lines carry the correlation id:\n{log}");
    for secret in ["P-001", "eyJ", "answers/", "diary 4.2.1"] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_of_a_site_is_counted() {
    let cloud = Cloud::start().await;
    let counts = cloud.function("CountsFunction").await;

    answer(&counts, &event("counts-post-call"), 202).await;
    answer(&counts, &event("counts-post-call"), 202).await;

    let told = answer(&counts, &event("counts-get-site"), 200).await;
    assert_eq!(told["counts"][0]["site"], "S01");
    assert_eq!(told["counts"][0]["apiCalls"], 2);
    // That request was a call of the site as well.
    let told = answer(&counts, &event("counts-get"), 200).await;
    assert_eq!(told["counts"][0]["apiCalls"], 3);
    assert_eq!(told["counts"][1]["apiCalls"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_stalls_is_answered_before_the_reserve_and_the_repeat_settles_it() {
    let cloud = Cloud::start().await;
    let submit = cloud.function_within("SubmitFunction", SHORT).await;
    // Connected, and past its start: what follows is the time of a request.
    answer(&submit, &event("submit-get"), 404).await;

    for stall in [Flow::NoRequests, Flow::NoAnswers] {
        cloud.store.set(stall);
        let cut_off = submit.invoke(&event("submit-post")).await.unwrap();
        assert_in_time(&cut_off);
        let problem = answered(&cut_off, 503);
        assert!(problem["detail"].as_str().unwrap().contains("same id"), "{problem}");
    }

    // The put whose answer was lost had been applied: the repeat gets the receipt of what is stored.
    cloud.store.set(Flow::Open);
    answer(&submit, &event("submit-post"), 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_are_refused_before_the_reserve_when_the_store_stalls() {
    let cloud = Cloud::start().await;
    let counts = cloud.function_within("CountsFunction", SHORT).await;
    answer(&counts, &event("counts-get-site"), 200).await;

    cloud.store.set(Flow::NoAnswers);
    for event in [event("counts-get-site"), event("counts-post-call")] {
        let cut_off = counts.invoke(&event).await.unwrap();
        assert_in_time(&cut_off);
        answered(&cut_off, 503);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_starts_and_answers_while_its_store_is_away() {
    let cloud = Cloud::start().await;
    cloud.store.set(Flow::NoRequests);
    let submit = cloud.function("SubmitFunction").await;

    // What needs no store is answered as ever.
    answer(&submit, &event("submit-post-invalid"), 422).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_hangs_is_killed_when_its_time_is_up_and_the_next_one_serves() {
    let cloud = Cloud::start().await;
    let submit = cloud.function_within("SubmitFunction", SHORT).await;
    answer(&submit, &event("submit-post"), 202).await;

    submit.hang().unwrap();
    let killed = submit.invoke(&event("submit-post")).await.unwrap();
    assert!(killed.body.contains("Task timed out after 2.00 seconds"), "{}", killed.body);
    assert!(killed.took >= SHORT, "killed after {:?}", killed.took);

    answer(&submit, &event("submit-post"), 200).await;
}

/// What the functions run on: the template's tables in an embedded engine, behind a relay that can be cut.
struct Cloud {
    template: Template,
    store: Relay,
    dynamodb: DynamoDb,
}

impl Cloud {
    async fn start() -> Self {
        let dynamodb = DynamoDb::embedded(None).await.unwrap();
        let engine: SocketAddr = dynamodb.endpoint().strip_prefix("http://").unwrap().parse().unwrap();
        let store = Relay::start((Ipv4Addr::LOCALHOST, 0).into(), engine).await.unwrap();
        let parameters = [("TokenIssuer", "https://issuer.example.org".to_owned()), ("DynamoDbEndpoint", store.url())];
        let parameters = BTreeMap::from(parameters.map(|(name, value)| (name.to_owned(), value)));
        let template = Template::read(&root().join("template.yaml"), &parameters).unwrap();
        dynamodb.make_tables(&template.tables).await.unwrap();
        Self { template, store, dynamodb }
    }

    /// A function with the template's own timeout.
    async fn function(&self, name: &str) -> Emulator {
        let function = self.template.functions.iter().find(|function| function.name == name).unwrap();
        self.function_within(name, function.timeout).await
    }

    async fn function_within(&self, name: &str, timeout: Duration) -> Emulator {
        let function = self.template.functions.iter().find(|function| function.name == name).unwrap();
        let bootstraps = env::var_os("BOOTSTRAPS").map_or_else(|| root().join("target/release"), PathBuf::from);
        Emulator::start(function, &bootstraps.join(&function.binary), timeout).await.unwrap()
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The event `tests/events/<name>.json`.
fn event(name: &str) -> Value {
    let file = root().join(format!("tests/events/{name}.json"));
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

/// The body of an API function's answer to `event`, which must have `status`.
async fn answer(function: &Emulator, event: &Value, status: u16) -> Value {
    let invocation = function.invoke(event).await.unwrap();
    answered(&invocation, status)
}

fn answered(invocation: &Invocation, status: u16) -> Value {
    let answer: Value = serde_json::from_str(&invocation.body).unwrap();
    assert_eq!(answer["statusCode"], json!(status), "{answer}");
    serde_json::from_str(answer["body"].as_str().unwrap()).unwrap()
}

fn assert_in_time(invocation: &Invocation) {
    // What the emulator adds on its way is the caller's, not the function's: a tenth of the reserve is left for it.
    let latest = SHORT - RESERVE + RESERVE / 10;
    assert!(invocation.took <= latest, "answered after {:?}, not within {latest:?}", invocation.took);
}
