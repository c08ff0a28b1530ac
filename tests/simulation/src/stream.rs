//! The stream, delivered to `score` by the event source mapping of the local cloud.

use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use harness::context;
use lambda_runtime::LambdaEvent;
use local::dynamodb::DynamoDb;
use local::feed::Feed;
use local::lambda::{Invocation, InvocationOutcome};
use local::stream::{self, Destinations, Streams};
use local::template::{StreamMapping, Template};
use records::stream::Batch;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_local;

use crate::cloud::{Ended, Handler, Name};
use crate::run::Simulation;

impl Simulation {
    /// Delivers the stream to `score` by the rules of the event source mapping.
    pub async fn read_stream(self: &Rc<Self>, name: &str) -> Streams {
        let config = self.world.sdk_config_in(&format!("stream-{}-{name}", self.number));
        let streams = aws_sdk_dynamodbstreams::Client::new(&config);
        let database = DynamoDb::simulated(aws_sdk_dynamodb::Client::new(&config), streams);
        let mapping = StreamMapping {
            batch_size: self.plan().batch_size,
            parallelization_factor: self.plan().lanes,
            maximum_record_age: self.plan().record_age.map(Duration::from_secs).or(mapping().maximum_record_age),
            ..mapping().clone()
        };
        let (invocations, mut queue) = mpsc::unbounded_channel::<(Bytes, oneshot::Sender<Invocation>)>();
        let this = Rc::clone(self);
        spawn_local(async move {
            while let Some((event, answer)) = queue.recv().await {
                let this = Rc::clone(&this);
                spawn_local(async move {
                    let _ = answer.send(this.score(event).await);
                });
            }
        });
        let invoke = Arc::new(move |_: &str, event: Bytes| {
            let (answered, answer) = oneshot::channel();
            let sent = invocations.send((event, answered)).is_ok();
            async move {
                match answer.await {
                    Ok(invocation) if sent => invocation,
                    _ => ended(InvocationOutcome::Unavailable("the simulation ends".to_owned())),
                }
            }
            .boxed()
        });
        let warned = self.journal.clone();
        let destinations = Destinations {
            failures: self.failures.clone(),
            publish: Arc::new(|_: &str, _| async { Ok(()) }.boxed()),
            warn: Arc::new(move |text| warned.note(text)),
            feed: Feed::default(),
        };
        let streams = stream::start(&database, &[mapping], invoke, destinations, None).await;
        streams.expect("the world has the table and its stream")
    }

    async fn score(&self, event: Bytes) -> Invocation {
        let is_json = "the mapping sends JSON";
        let mut sent: Value = serde_json::from_slice(&event).expect(is_json);
        let batch: Vec<Value> = sent["Records"].as_array_mut().map(std::mem::take).unwrap_or_default();
        let payload: Batch = serde_json::from_slice(&event).expect(is_json);
        let records = batch.len();
        let result = self.cloud.invoke(Name::Score, move |environment, remaining| {
            let event = LambdaEvent::new(payload, context(remaining));
            async move {
                let Handler::Score(score) = &environment.handler else { unreachable!("it is a score") };
                Box::pin(score.handle(event)).await.map_err(|error| error.to_string())
            }
        });
        let outcome = match result.await {
            Ended::Returned(Ok(answer)) => {
                let failed = answer.batch_item_failures.len();
                self.journal.note(format!("score: {failed} of {records} records are not done"));
                if failed > 0 {
                    self.journal.met("branch: batch retried");
                }
                let named = |record: &&Value| {
                    let number = &record["dynamodb"]["SequenceNumber"];
                    answer.batch_item_failures.iter().any(|failure| *number == failure.item_identifier)
                };
                for record in batch.iter().filter(|record| !named(record)) {
                    self.check_done(record);
                }
                InvocationOutcome::Answer(serde_json::to_vec(&answer).unwrap_or_default().into())
            }
            Ended::Returned(Err(error)) => InvocationOutcome::FunctionError(error.into()),
            Ended::TimedOut => InvocationOutcome::TimedOut,
            Ended::Lost => InvocationOutcome::Crashed,
        };
        ended(outcome)
    }

    /// A record that the answer does not name is done: its submission is scored or quarantined.
    fn check_done(&self, record: &Value) {
        let number = &record["dynamodb"]["SequenceNumber"];
        let quarantined = self.world.item(&json!({"pk": {"S": "QUARANTINE"}, "sk": {"S": number}})).is_some();
        let scored = self.world.item(&record["dynamodb"]["Keys"]).is_some_and(|item| item["scored_at"].is_string());
        if !quarantined && !scored {
            self.journal.violation(format!("promise 2: score answered that record {number} is done, and it is not"));
        }
    }
}

fn ended(outcome: InvocationOutcome) -> Invocation {
    Invocation { request_id: "simulated".to_owned(), took: Duration::ZERO, outcome }
}

/// The event source mapping of the template.
fn mapping() -> &'static StreamMapping {
    static MAPPING: OnceLock<StreamMapping> = OnceLock::new();
    MAPPING.get_or_init(|| {
        let text = include_str!("../../../template.yaml");
        let issuer =
            ["TokenIssuer", "TokenAudience"].map(|name| (name.to_owned(), "https://issuer.example".to_owned()));
        let template = Template::parse(std::path::Path::new("template.yaml"), text, &issuer.into());
        template.expect("the template is valid").streams.remove(0)
    })
}
