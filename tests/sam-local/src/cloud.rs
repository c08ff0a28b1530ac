//! The services that the functions use.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::thread;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use local::console::Console;
use local::dynamodb::DynamoDb;
use local::feed::Feed;
use local::sns::{Sns, SnsSettings};
use local::template::{Function, Route, Template};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::http_client::send;
use crate::{Relay, permissions};

/// The variable with the endpoint of another DynamoDB than AWS's.
pub const DYNAMODB: &str = "AWS_ENDPOINT_URL_DYNAMODB";
/// The variable with the endpoint of another SNS than AWS's.
pub const SNS: &str = "AWS_ENDPOINT_URL_SNS";

/// The template's tables in an embedded engine and its topics in a local SNS, both in memory, and each behind a relay
/// that can cut the connection.
#[derive(Debug)]
pub struct Cloud {
    /// The relay to DynamoDB.
    pub store: Relay,
    /// The relay to SNS.
    pub topic: Relay,
    template: Template,
    dynamodb: DynamoDb,
    sns: SocketAddr,
    sns_task: JoinHandle<io::Result<()>>,
}

impl Cloud {
    /// Starts the services. The two relays listen on free ports of `listen`, everything else on the loopback address.
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
        // The events name a study that is not stored.
        let parameters = [("TokenIssuer", "https://issuer.example.org"), ("OpenStudies", "true")];
        let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let mut template =
            Template::read(&Self::root().join("template.yaml"), &parameters).map_err(io::Error::other)?;
        // Deployed functions use AWS's endpoints; only here they are given others.
        for function in &mut template.functions {
            let sns = format!("{}{}", topic.url(), local::sns::PATH);
            function.environment.extend([(DYNAMODB.to_owned(), store.url()), (SNS.to_owned(), sns)]);
        }
        dynamodb.make_tables(&template.tables).await.map_err(io::Error::other)?;
        let settings = SnsSettings {
            address: &format!("http://{sns}"),
            topics: &template.topics,
            subscriptions: &template.subscriptions,
            requested: &[],
            folder: None,
            console: Console { quiet: true, logs: false },
            feed: Feed::default(),
        };
        let routes = Sns::start(settings).await.map_err(io::Error::other)?.routes();
        let sns_task = tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(Self { store, topic, template, dynamodb, sns, sns_task })
    }

    /// The root of the workspace.
    pub fn root() -> PathBuf {
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
    }

    /// The function with the logical id `name`, with its environment from the template.
    pub fn function(&self, name: &str) -> Option<&Function> {
        self.template.functions.iter().find(|function| function.name == name)
    }

    /// All functions, with their environment from the template.
    pub fn functions(&self) -> &[Function] {
        &self.template.functions
    }

    /// The routes of the HTTP API.
    pub fn routes(&self) -> &[Route] {
        &self.template.routes
    }

    /// Stores `item`, in DynamoDB's JSON, in the Records table.
    ///
    /// # Errors
    /// If the engine refuses it.
    pub async fn put(&self, item: &Value) -> io::Result<()> {
        self.call("PutItem", &json!({"TableName": "RecordsTable", "Item": item})).await.map(drop)
    }

    /// The item of the Records table at `key`, both in DynamoDB's JSON; null if there is none.
    ///
    /// # Errors
    /// If the engine refuses it.
    pub async fn item(&self, key: &Value) -> io::Result<Value> {
        let mut answer = self.call("GetItem", &json!({"TableName": "RecordsTable", "Key": key})).await?;
        Ok(answer["Item"].take())
    }

    /// The messages that SNS delivered to the inbox, newest first.
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

    /// The functions' requests so far that AWS would refuse, because the template gives their roles no permission.
    pub fn refused(&self) -> Vec<String> {
        let template = std::fs::read_to_string(self.template.path.as_path()).unwrap_or_default();
        let permissions = house::template::Template::parse(&template).permissions();
        let connections = self.store.sent().into_iter().chain(self.topic.sent());
        connections.flat_map(|sent| permissions::refused(&sent, &permissions)).collect()
    }

    /// Calls the engine with DynamoDB's protocol, without the relay.
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
        if !thread::panicking() {
            let refused = self.refused();
            assert!(refused.is_empty(), "AWS would refuse: {}", refused.join("\n"));
        }
    }
}
