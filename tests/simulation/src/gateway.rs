//! The API as callers see it: requests through API Gateway, and their answers.

use api::Handler as _;
use harness::{claims, request};
use lambda_http::http::HeaderValue;
use serde_json::{Value, json};

use crate::cloud::{Cloud, Ended, Handler, Name};

/// The one route that reads several sites.
pub(crate) const WORKLIST: &str = "GET /v1/alerts";

/// A request to the API.
#[derive(Clone, Debug)]
pub struct ApiCall {
    /// The function behind the route.
    pub function: Name,
    /// The route, as the template names it.
    pub route: &'static str,
    /// The parameters in the path.
    pub parameters: Vec<(&'static str, String)>,
    /// The query string.
    pub query: String,
    /// The claims of the token that are not those of `harness::claims`.
    pub claims: Vec<(&'static str, String)>,
    /// The headers beside those of every request.
    pub headers: Vec<(&'static str, String)>,
    /// The JSON body.
    pub body: Option<String>,
}

impl ApiCall {
    /// A call of `route` of `function` with these `claims`, and nothing else.
    pub fn new(function: Name, route: &'static str, claims: &[(&'static str, &str)]) -> Self {
        let claims = claims.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let (parameters, headers) = (Vec::new(), Vec::new());
        Self { function, route, parameters, query: String::new(), claims, headers, body: None }
    }

    /// How many sites count it: all that it reads.
    fn counting_sites(&self) -> u32 {
        let sites = self.claims.iter().find(|(name, _)| *name == "sites");
        match sites {
            Some((_, sites)) if self.route == WORKLIST => sites.split(' ').count() as u32,
            _ => 1,
        }
    }

    /// With a parameter in its path.
    pub fn at(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.parameters.push((name, value.into()));
        self
    }

    /// With a header.
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// With a query string.
    pub fn with_query(self, query: impl Into<String>) -> Self {
        Self { query: query.into(), ..self }
    }

    /// With a JSON body.
    pub fn with_body(self, body: &Value) -> Self {
        Self { body: Some(body.to_string()), ..self }
    }
}

/// An answer of the API.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The JSON body.
    pub body: Value,
    /// Whether it says when to try again.
    pub retry_after: bool,
    /// The ETag.
    pub etag: Option<String>,
}

/// Calls an HTTP function as API Gateway does.
pub async fn gateway(cloud: &Cloud, call: ApiCall) -> Answer {
    cloud.requested(call.counting_sites());
    let ended = cloud.invoke(call.function, move |environment, remaining| {
        let parameters: Vec<(&str, &str)> =
            call.parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let changes: Vec<(&str, &str)> = call.claims.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut request =
            request(call.route, &parameters, &call.query, Some(claims(&changes)), call.body.as_deref(), remaining);
        for (name, value) in &call.headers {
            request.headers_mut().insert(*name, HeaderValue::try_from(value).expect("it is plain ASCII"));
        }
        async move {
            match &environment.handler {
                Handler::Submit(submit) => submit.handle(request).await,
                Handler::Alerts(alerts) => alerts.handle(request).await,
                Handler::Registry(registry) => registry.handle(request).await,
                Handler::Due(due) => due.handle(request).await,
                Handler::Drafts(drafts) => drafts.handle(request).await,
                Handler::Score(_) | Handler::Sweep(_) => unreachable!("they are not behind the API"),
            }
        }
    });
    match ended.await {
        Ended::Returned(Ok(response)) => Answer {
            status: response.status().as_u16(),
            body: serde_json::from_slice(response.body().as_ref()).unwrap_or_else(|_| json!("no JSON")),
            retry_after: response.headers().contains_key("retry-after"),
            etag: response.headers().get("etag").and_then(|etag| Some(etag.to_str().ok()?.to_owned())),
        },
        Ended::Returned(Err(never)) => match never {},
        Ended::TimedOut | Ended::Lost => Answer { status: 500, body: Value::Null, retry_after: false, etag: None },
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
        etag: None,
    };
    answer.body["results"].as_array().into_iter().flatten().map(one).collect()
}

/// What must be the same in each receipt of a submission.
pub(crate) fn receipt(body: &Value) -> Value {
    let body = body.get("receipt").unwrap_or(body);
    json!({"id": body["id"], "receivedAt": body["receivedAt"], "correlationId": body["correlationId"]})
}
