//! The API as callers see it: requests through API Gateway, and their answers.

use api::Handler as _;
use harness::{claims, request};
use serde_json::{Value, json};

use crate::cloud::{Cloud, Ended, Handler, Name};

/// An answer of the API.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The JSON body.
    pub body: Value,
    /// Whether it says when to try again.
    pub retry_after: bool,
}

/// Calls an HTTP function as API Gateway does.
pub async fn gateway(
    cloud: &Cloud,
    name: Name,
    route: &'static str,
    parameters: Vec<(&'static str, String)>,
    query: String,
    changes: Vec<(&'static str, String)>,
    body: Option<String>,
) -> Answer {
    let ended = cloud.invoke(name, move |environment, remaining| {
        let parameters: Vec<(&str, &str)> = parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let changes: Vec<(&str, &str)> = changes.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let request = request(route, &parameters, &query, Some(claims(&changes)), body.as_deref(), remaining);
        async move {
            match &environment.handler {
                Handler::Submit(submit) => submit.handle(request).await,
                Handler::Alerts(alerts) => alerts.handle(request).await,
                Handler::Registry(registry) => registry.handle(request).await,
                Handler::Due(due) => due.handle(request).await,
                Handler::Score(_) | Handler::Sweep(_) => unreachable!("they are not behind the API"),
            }
        }
    });
    match ended.await {
        Ended::Returned(Ok(response)) => Answer {
            status: response.status().as_u16(),
            body: serde_json::from_slice(response.body().as_ref()).unwrap_or_else(|_| json!("no JSON")),
            retry_after: response.headers().contains_key("retry-after"),
        },
        Ended::Returned(Err(never)) => match never {},
        Ended::TimedOut | Ended::Lost => Answer { status: 500, body: Value::Null, retry_after: false },
    }
}

/// The results of a batch, as if each submission came alone.
pub(crate) fn results(answer: &Answer) -> Vec<Answer> {
    let one = |result: &Value| Answer {
        status: result["status"].as_u64().unwrap_or_default() as u16,
        // A refusal for good is told apart by its problem.
        body: result[if result["status"] == 403 { "problem" } else { "receipt" }].clone(),
        // A batch carries none for its entries.
        retry_after: true,
    };
    answer.body["results"].as_array().into_iter().flatten().map(one).collect()
}

/// What must be the same in each receipt of a submission.
pub(crate) fn receipt(body: &Value) -> Value {
    let body = body.get("receipt").unwrap_or(body);
    json!({"id": body["id"], "receivedAt": body["receivedAt"], "correlationId": body["correlationId"]})
}
