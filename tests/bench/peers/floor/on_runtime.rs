//! The floor on Lambda's runtime for Rust and on hyper: the same as the other floor, asynchronous, by the libraries that a
//! program without the SDK would use. What `submit` costs more is what the SDK and its own features cost.
#![allow(clippy::print_stdout, reason = "a function's log")]

mod route;
mod signer;

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use lambda_runtime::{LambdaEvent, service_fn};
use route::{Request, Result, Tables};
use serde_json::value::RawValue;
use signer::Signer;
use time::OffsetDateTime;

/// DynamoDB, without its SDK.
struct Dynamodb {
    client: Client<HttpConnector, Full<Bytes>>,
    signer: Mutex<Signer>,
    tables: Tables,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let signer = Mutex::new(Signer::of_environment()?);
    let dynamodb = Dynamodb { client, signer, tables: Tables::of_environment()? };
    dynamodb.call("GetItem", dynamodb.tables.warm_up()?, OffsetDateTime::now_utc()).await?;
    lambda_runtime::run(service_fn(|event| answer(&dynamodb, event))).await
}

async fn answer(dynamodb: &Dynamodb, event: LambdaEvent<Box<RawValue>>) -> Result<Box<RawValue>> {
    let request = Request::read(event.payload.get().as_bytes(), &event.context.request_id)?;
    let answer = match request.refusal() {
        Some(refusal) => refusal,
        None => {
            let answer = match request.put(&dynamodb.tables)? {
                Ok((put, submission)) => {
                    let (status, stored) = dynamodb.call("PutItem", put, request.now()).await?;
                    request.stored(&submission, status, &stored)?
                }
                Err(invalid) => invalid,
            };
            if let Some(count) = request.count(&answer, &dynamodb.tables)? {
                dynamodb.call("TransactWriteItems", count, request.now()).await?;
            }
            answer
        }
    };
    Ok(RawValue::from_string(String::from_utf8(request.written(answer)?)?)?)
}

impl Dynamodb {
    async fn call(&self, operation: &str, body: Vec<u8>, now: OffsetDateTime) -> Result<(u16, Bytes)> {
        let request = {
            let mut signer = self.signer.lock().unwrap_or_else(PoisonError::into_inner);
            let mut request = http::Request::post(format!("http://{}/", signer.host));
            for (name, value) in signer.headers(operation, &body, now)? {
                request = request.header(name, value);
            }
            request.body(Full::new(Bytes::from(body)))?
        };
        let response = self.client.request(request).await?;
        let status = response.status().as_u16();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    }
}
