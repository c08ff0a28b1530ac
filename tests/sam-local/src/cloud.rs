//! What the functions run on.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use local::console::Console;
use local::dynamodb::DynamoDb;
use local::sns::{Sns, SnsSettings};
use local::template::{Function, Template};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::Relay;
use crate::http_client::send;

/// The variable by which a function finds another DynamoDB than AWS's.
pub const DYNAMODB: &str = "AWS_ENDPOINT_URL_DYNAMODB";
/// The variable by which a function finds another SNS than AWS's.
pub const SNS: &str = "AWS_ENDPOINT_URL_SNS";

/// The template's tables in an embedded engine and its topics in a local SNS, both in memory, and each behind a way that
/// can be cut.
#[derive(Debug)]
pub struct Cloud {
    /// To DynamoDB.
    pub store: Relay,
    /// To SNS.
    pub topic: Relay,
    template: Template,
    dynamodb: DynamoDb,
    sns: SocketAddr,
    sns_task: JoinHandle<io::Result<()>>,
}

impl Cloud {
    /// Starts all of it; the two relays listen on free ports of `listen`, everything else on the loopback address.
    ///
    /// # Errors
    /// If a part does not start, or the template cannot be read.
    pub async fn start(listen: IpAddr) -> io::Result<Self> {
        let dynamodb = DynamoDb::embedded(None).await.map_err(io::Error::other)?;
        let engine = dynamodb.endpoint().trim_start_matches("http://").parse().map_err(io::Error::other)?;
        let store = Relay::start((listen, 0).into(), engine).await?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let sns = listener.local_addr()?;
        let topic = Relay::start((listen, 0).into(), sns).await?;
        // The events name a study that nobody has put in force.
        let parameters = [("TokenIssuer", "https://issuer.example.org"), ("OpenStudies", "true")];
        let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let mut template =
            Template::read(&Self::root().join("template.yaml"), &parameters).map_err(io::Error::other)?;
        // What is deployed talks to AWS; only here functions are told of other services.
        for function in &mut template.functions {
            let sns = format!("{}{}", topic.url(), local::sns::PATH);
            function.environment.extend([(DYNAMODB.to_owned(), store.url()), (SNS.to_owned(), sns)]);
        }
        dynamodb.make_tables(&template.tables).await.map_err(io::Error::other)?;
        let settings = SnsSettings {
            address: &format!("http://{sns}"),
            topics: &template.topics,
            subscriptions: &template.subscriptions,
            wanted: &[],
            folder: None,
            console: Console { quiet: true, logs: false },
        };
        let routes = Sns::start(settings).await.map_err(io::Error::other)?.routes();
        let sns_task = tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(Self { store, topic, template, dynamodb, sns, sns_task })
    }

    /// The workspace.
    pub fn root() -> PathBuf {
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
    }

    /// The function with the logical id `name`, its environment as the template says.
    pub fn function(&self, name: &str) -> Option<&Function> {
        self.template.functions.iter().find(|function| function.name == name)
    }

    /// Keeps `item`, in DynamoDB's notation, in the Records table.
    ///
    /// # Errors
    /// If the engine refuses it.
    pub async fn put(&self, item: &Value) -> io::Result<()> {
        self.call("PutItem", &json!({"TableName": "RecordsTable", "Item": item})).await.map(drop)
    }

    /// What the Records table holds at `key`, both in DynamoDB's notation; null if it holds nothing.
    ///
    /// # Errors
    /// If the engine refuses it.
    pub async fn item(&self, key: &Value) -> io::Result<Value> {
        let mut answer = self.call("GetItem", &json!({"TableName": "RecordsTable", "Key": key})).await?;
        Ok(answer["Item"].take())
    }

    /// What SNS has delivered to the inbox, newest first.
    ///
    /// # Errors
    /// If SNS does not answer.
    pub async fn inbox(&self) -> io::Result<Vec<Value>> {
        let request = Request::get(format!("http://{}/local/inbox", self.sns)).body(Full::default());
        let answer = send(request.map_err(io::Error::other)?).await?.into_body();
        let mut inbox: Value = serde_json::from_slice(&answer)?;
        match inbox["messages"].take() {
            Value::Array(messages) => Ok(messages),
            _ => Err(io::Error::other("the inbox has no list of messages")),
        }
    }

    /// Calls the engine as DynamoDB is called, past the relay.
    async fn call(&self, operation: &str, body: &Value) -> io::Result<Value> {
        let signature = "AWS4-HMAC-SHA256 Credential=test/20260115/us-east-1/dynamodb/aws4_request, \
                         SignedHeaders=host, Signature=unchecked";
        let request = Request::post(self.dynamodb.endpoint())
            .header("authorization", signature)
            .header("content-type", "application/x-amz-json-1.0")
            .header("x-amz-date", "20260115T000000Z")
            .header("x-amz-target", format!("DynamoDB_20120810.{operation}"))
            .body(Full::<Bytes>::from(body.to_string()))
            .map_err(io::Error::other)?;
        let answer = send(request).await?;
        if !answer.status().is_success() {
            let text = String::from_utf8_lossy(answer.body());
            return Err(io::Error::other(format!("{operation}: {}: {text}", answer.status())));
        }
        Ok(serde_json::from_slice(answer.body())?)
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        self.sns_task.abort();
    }
}
