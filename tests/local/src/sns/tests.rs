//! SNS through the real SDK.

use super::*;
use aws_credential_types::Credentials;
use aws_sdk_sns::config::{BehaviorVersion, Region};
use aws_sdk_sns::error::ProvideErrorMetadata;
use aws_sdk_sns::types::{MessageAttributeValue, PublishBatchRequestEntry};
use aws_sdk_sns::{Client, Config};
use aws_smithy_http_client::Builder;
use axum::body::Bytes;
use axum::http::HeaderMap;
use serde_json::{Value, json};
use std::time::Duration;
use std::{env, fs};
use tokio::net::TcpListener;
use tokio::time;

const TOPIC: &str = "arn:aws:sns:us-east-1:000000000000:AlertsTopic";

/// SNS on a free port, and a client of the SDK.
struct World {
    sns: Sns,
    client: Client,
    address: String,
    folder: PathBuf,
    server: JoinHandle<()>,
}

impl World {
    async fn new() -> Self {
        Self::over(env::temp_dir().join(format!("local-sns-{}", uuid::Uuid::new_v4())), &[]).await
    }

    async fn over(folder: PathBuf, requested: &[SubscribeOption]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = format!("http://{}", listener.local_addr().expect("has an address"));
        let sns = Sns::start(SnsSettings {
            address: &address,
            topics: &[template::Topic { name: "AlertsTopic".into(), arn: TOPIC.into(), display_name: None }],
            subscriptions: &[],
            requested,
            folder: Some(&folder),
            console: Console { quiet: true, logs: false },
            feed: Feed::default(),
        })
        .await
        .expect("starts");
        let routes = sns.routes();
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.expect("serves") });
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(template::REGION))
            .credentials_provider(Credentials::new("local", "local", None, None, "test"))
            .http_client(Builder::new().build_http())
            .endpoint_url(format!("{address}{PATH}"));
        Self { sns, client: Client::from_conf(config.build()), address, folder, server }
    }

    async fn restart(self) -> Self {
        self.server.abort();
        self.sns.stop().await;
        Self::over(self.folder, &[]).await
    }

    async fn publish(&self, severity: &str) -> String {
        let publish = self.client.publish().topic_arn(TOPIC).message(json!({"severity": severity}).to_string());
        let publish = publish.subject("ePRO alert").message_attributes("severity", text(severity));
        publish.message_attributes("site", text("S1")).send().await.expect("published").message_id.expect("an id")
    }

    async fn inbox(&self, query: &str) -> Vec<Value> {
        let inbox = get(&format!("{}/local/inbox{query}", self.address)).await;
        let inbox: Value = serde_json::from_slice(&inbox).expect("JSON");
        inbox["messages"].as_array().expect("messages").clone()
    }

    async fn until_delivered(&self, count: usize) {
        let met = async {
            let delivered = |message: &Value| {
                let to = message["deliveredTo"].as_array().cloned().unwrap_or_default();
                to.iter().filter(|delivery| delivery["status"] == "delivered").count()
            };
            while self.inbox("").await.iter().map(delivered).sum::<usize>() < count {
                time::sleep(Duration::from_millis(5)).await;
            }
        };
        time::timeout(Duration::from_secs(30), met).await.expect("delivered");
    }

    async fn end(self) {
        self.server.abort();
        self.sns.stop().await;
        fs::remove_dir_all(&self.folder).ok();
    }
}

/// An HTTP endpoint that keeps its requests, and answers with the given statuses in turn, then 200.
async fn subscriber(statuses: &[u16]) -> (String, mpsc::UnboundedReceiver<(HeaderMap, String)>) {
    let (kept, received) = mpsc::unbounded_channel();
    let statuses = Arc::new(Mutex::new(statuses.to_vec()));
    let hook = post(move |headers: HeaderMap, body: Bytes| {
        let mut left = lock(&statuses);
        let status = if left.is_empty() { 200 } else { left.remove(0) };
        kept.send((headers, String::from_utf8_lossy(&body).into_owned())).ok();
        async move { StatusCode::from_u16(status).expect("a status") }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = format!("http://{}/hook", listener.local_addr().expect("has an address"));
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/hook", hook)).await });
    (address, received)
}

async fn get(url: &str) -> Bytes {
    use http_body_util::BodyExt;
    let http = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
    let request = http::Request::get(url).body(http_body_util::Empty::<Bytes>::new()).expect("a request");
    let answer = http.request(request).await.expect("answers");
    assert!(answer.status().is_success(), "{url}: {}", answer.status());
    answer.into_body().collect().await.expect("a body").to_bytes()
}

async fn receive(from: &mut mpsc::UnboundedReceiver<(HeaderMap, String)>) -> (HeaderMap, String) {
    time::timeout(Duration::from_secs(30), from.recv()).await.expect("in time").expect("a message")
}

fn text(value: &str) -> MessageAttributeValue {
    MessageAttributeValue::builder().data_type("String").string_value(value).build().expect("complete")
}

fn entry(id: &str, message: &str) -> aws_sdk_sns::types::builders::PublishBatchRequestEntryBuilder {
    PublishBatchRequestEntry::builder().id(id).message(message)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_in_the_inbox_with_each_protocols_rendering() {
    let world = World::new().await;
    let message = json!({"default": "{\"alertId\":\"a\",\"site\":\"S<1>&\"}", "email": "a mail", "sms": "short"});
    let publish = world.client.publish().topic_arn(TOPIC).message(message.to_string()).message_structure("json");
    let publish = publish.message_attributes("site", text("S<1>&")).message_attributes("severity", text("critical"));
    let id = publish.subject("ePRO alert: critical at S1").send().await.expect("published").message_id;
    world.publish("info").await;
    let inbox = world.inbox("").await;
    assert_eq!(inbox.len(), 2);
    assert_eq!(inbox[0]["attributes"]["severity"], "info", "newest first");
    assert_eq!(inbox[1]["messageId"].as_str(), id.as_deref());
    assert_eq!(inbox[1]["body"], json!({"alertId": "a", "site": "S<1>&"}));
    assert_eq!(inbox[1]["renderings"]["sms"], "short");
    assert_eq!(inbox[1]["subject"], "ePRO alert: critical at S1");
    assert_eq!(world.inbox("?severity=critical&site=S%3C1%3E%26").await.len(), 1);
    assert_eq!(world.inbox("?severity=critical&site=S1").await.len(), 0);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_fails_entry_by_entry() {
    let world = World::new().await;
    let number = MessageAttributeValue::builder().data_type("Number").string_value("many").build().expect("complete");
    let entries = [
        entry("good", "{\"default\":\"one\"}").message_structure("json"),
        entry("no-default", "{\"sms\":\"one\"}").message_structure("json"),
        entry("subject", "two").subject("line\nbreak"),
        entry("number", "three").message_attributes("n", number),
        entry("also-good", "four").message_attributes("severity", text("info")),
    ];
    let entries = entries.map(|entry| entry.build().expect("complete")).to_vec();
    let batch = world.client.publish_batch().topic_arn(TOPIC).set_publish_batch_request_entries(Some(entries));
    let answer = batch.send().await.expect("answered");
    let ids: Vec<_> = answer.successful().iter().map(|entry| entry.id().unwrap_or_default()).collect();
    assert_eq!(ids, ["good", "also-good"]);
    let failed: Vec<_> = answer.failed().iter().map(|entry| (entry.id(), entry.code(), entry.sender_fault())).collect();
    let expected = [
        ("no-default", "InvalidParameter", true),
        ("subject", "InvalidParameter", true),
        ("number", "ParameterValueInvalid", true),
    ];
    assert_eq!(failed, expected);
    assert_eq!(world.inbox("").await.len(), 2);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_batch_is_refused_as_a_whole() {
    let world = World::new().await;
    let long = "x".repeat(200 * 1024);
    let numbered = |count: usize| (0..count).map(|number| entry(&number.to_string(), "x")).collect::<Vec<_>>();
    for (entries, code) in [
        (numbered(11), "TooManyEntriesInBatchRequest"),
        (vec![entry("a", "x"), entry("a", "y")], "BatchEntryIdsNotDistinct"),
        (vec![entry("a b", "x")], "InvalidBatchEntryId"),
        (vec![entry("a", &long), entry("b", &long)], "BatchRequestTooLong"),
        (vec![], "EmptyBatchRequest"),
    ] {
        let entries = entries.into_iter().map(|entry| entry.build().expect("complete")).collect();
        let batch = world.client.publish_batch().topic_arn(TOPIC).set_publish_batch_request_entries(Some(entries));
        let error = batch.send().await.expect_err("refused");
        assert_eq!(error.as_service_error().and_then(|error| error.code()), Some(code));
    }
    let unknown = world.client.publish().topic_arn("arn:aws:sns:us-east-1:000000000000:Other").message("x");
    let error = unknown.send().await.expect_err("refused").into_service_error();
    assert!(error.is_not_found_exception(), "{error:?}");
    assert!(world.client.get_topic_attributes().topic_arn(TOPIC).send().await.expect("it exists").attributes.is_some());
    assert!(world.inbox("").await.is_empty());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http_subscriber_confirms_and_then_gets_messages_that_match_its_policy() {
    let world = World::new().await;
    let (endpoint, mut received) = subscriber(&[]).await;
    let subscribe = world.client.subscribe().topic_arn(TOPIC).protocol("http").endpoint(&endpoint);
    let subscribe = subscribe.attributes("FilterPolicy", r#"{"severity":["critical"]}"#);
    let answer = subscribe.return_subscription_arn(true).send().await.expect("subscribed");
    let arn = answer.subscription_arn.expect("an ARN");

    world.publish("critical").await;
    let (headers, body) = receive(&mut received).await;
    let confirmation: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(headers["x-amz-sns-message-type"], "SubscriptionConfirmation");
    assert_eq!(confirmation["Type"], "SubscriptionConfirmation");
    assert_eq!(confirmation["TopicArn"], TOPIC);
    get(confirmation["SubscribeURL"].as_str().expect("a link")).await;

    world.publish("info").await;
    let id = world.publish("critical").await;
    let (headers, body) = receive(&mut received).await;
    let message: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(message["MessageId"], id, "neither what came before it was confirmed, nor what it does not want");
    assert_eq!(message["Type"], "Notification");
    assert_eq!(message["Message"], r#"{"severity":"critical"}"#);
    assert_eq!(message["Subject"], "ePRO alert");
    assert_eq!(message["MessageAttributes"]["severity"], json!({"Type": "String", "Value": "critical"}));
    assert_eq!(headers["x-amz-sns-message-type"], "Notification");
    assert_eq!(headers["x-amz-sns-message-id"], id.as_str());
    assert_eq!(headers["x-amz-sns-subscription-arn"], arn.as_str());
    world.until_delivered(1).await;

    let raw = world.client.set_subscription_attributes().subscription_arn(&arn);
    raw.attribute_name("RawMessageDelivery").attribute_value("true").send().await.expect("set");
    world.publish("critical").await;
    let (headers, body) = receive(&mut received).await;
    assert_eq!(
        (headers["x-amz-sns-rawdelivery"].to_str().ok(), body.as_str()),
        (Some("true"), r#"{"severity":"critical"}"#)
    );

    let attributes = world.client.get_subscription_attributes().subscription_arn(&arn).send().await.expect("it exists");
    let attributes = attributes.attributes.expect("attributes");
    assert_eq!(attributes["FilterPolicy"], r#"{"severity":["critical"]}"#);
    assert_eq!(attributes["FilterPolicyScope"], "MessageAttributes");
    assert_eq!(attributes["PendingConfirmation"], "false");
    get(message["UnsubscribeURL"].as_str().expect("a link")).await;
    let listed = world.client.list_subscriptions_by_topic().topic_arn(TOPIC).send().await.expect("listed");
    assert!(listed.subscriptions().is_empty());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_delivery_to_an_endpoint_is_retried() {
    let (endpoint, mut received) = subscriber(&[500]).await;
    let folder = env::temp_dir().join(format!("local-sns-{}", uuid::Uuid::new_v4()));
    let world = World::over(folder, &[endpoint.parse().expect("an endpoint")]).await;
    let id = world.publish("info").await;
    for _ in 0..2 {
        let (headers, _) = receive(&mut received).await;
        assert_eq!(headers["x-amz-sns-message-id"], id.as_str());
    }
    world.until_delivered(1).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_gets_a_line_per_message_that_matches_its_policy() {
    let folder = env::temp_dir().join(format!("local-sns-{}", uuid::Uuid::new_v4()));
    let file = folder.with_extension("ndjson");
    let option = format!("file:{},{{\"severity\":[{{\"anything-but\":[\"info\"]}}]}}", file.display());
    let world = World::over(folder, &[option.parse().expect("a file")]).await;
    for severity in ["critical", "info", "warning"] {
        world.publish(severity).await;
    }
    world.until_delivered(2).await;
    let lines: Vec<Value> = fs::read_to_string(&file)
        .expect("it exists")
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line is JSON"))
        .collect();
    let severities: Vec<_> = lines.iter().map(|line| &line["MessageAttributes"]["severity"]["Value"]).collect();
    assert_eq!(severities, ["critical", "warning"]);
    fs::remove_file(file).expect("removes");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_match_numbers_lists_and_bodies() {
    let world = World::new().await;
    let subscribe = |name: &str, policy: &str, scope: &str| {
        let subscribe =
            world.client.subscribe().topic_arn(TOPIC).protocol("email").endpoint(format!("{name}@example.org"));
        subscribe.attributes("FilterPolicy", policy).attributes("FilterPolicyScope", scope).send()
    };
    subscribe("number", r#"{"n": [{"numeric": [">", 5]}]}"#, "MessageAttributes").await.expect("subscribed");
    subscribe("list", r#"{"sites": ["S2", true]}"#, "MessageAttributes").await.expect("subscribed");
    subscribe("body", r#"{"alert": {"severity": ["critical"]}}"#, "MessageBody").await.expect("subscribed");
    let attribute = |kind: &str, value: &str| {
        MessageAttributeValue::builder().data_type(kind).string_value(value).build().expect("complete")
    };
    for (kind, value, sites, body) in [
        ("Number", "6", r#"["S1", "S2"]"#, r#"{"alert": {"severity": "critical"}}"#),
        ("String", "6", r#"["S3", true]"#, r#"{"alert": {"severity": "info"}}"#),
        ("Number", "5", r#"["S3", "true"]"#, "no JSON"),
    ] {
        let publish =
            world.client.publish().topic_arn(TOPIC).message(body).message_attributes("n", attribute(kind, value));
        publish.message_attributes("sites", attribute("String.Array", sites)).send().await.expect("published");
    }
    let inbox = world.inbox("").await;
    let to: Vec<Vec<&str>> = inbox
        .iter()
        .rev()
        .map(|message| message["deliveredTo"].as_array().expect("a list"))
        .map(|to| to.iter().filter_map(|delivery| delivery["endpoint"].as_str()?.split('@').next()).collect())
        .collect();
    assert_eq!(to, [vec!["number", "list", "body"], vec!["list"], vec![]]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn emails_and_text_messages_are_shown_in_the_inbox() {
    let world = World::new().await;
    for (protocol, endpoint) in [("email", "doctor@example.org"), ("sms", "+6591234567")] {
        world
            .client
            .subscribe()
            .topic_arn(TOPIC)
            .protocol(protocol)
            .endpoint(endpoint)
            .send()
            .await
            .expect("subscribed");
    }
    let message = json!({"default": "{}", "email": "a mail", "sms": "short"}).to_string();
    world.client.publish().topic_arn(TOPIC).message(message).message_structure("json").send().await.expect("published");
    let inbox = world.inbox("").await;
    let expected = json!([
        {"protocol": "email", "endpoint": "doctor@example.org", "status": "shown", "text": "a mail"},
        {"protocol": "sms", "endpoint": "+6591234567", "status": "shown", "text": "short"},
    ]);
    assert_eq!(inbox[0]["deliveredTo"], expected);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn inbox_subscriptions_and_open_deliveries_survive_a_restart() {
    let world = World::new().await;
    // A port on which no process listens until the restart.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let port = listener.local_addr().expect("has an address");
    drop(listener);
    let endpoint = format!("http://{port}/hook");
    let subscribe = world.client.subscribe().topic_arn(TOPIC).protocol("http").endpoint(endpoint);
    subscribe.send().await.expect("subscribed");
    let token = world.sns.subscriptions(None)[0].token.clone();
    world.client.confirm_subscription().topic_arn(TOPIC).token(token).send().await.expect("confirmed");
    let id = world.publish("critical").await;

    let (kept, mut received) = mpsc::unbounded_channel();
    let world = world.restart().await;
    let hook =
        post(move |headers: HeaderMap, body: String| async move { kept.send((headers, body)).is_ok().to_string() });
    let listener = TcpListener::bind(port).await.expect("binds");
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/hook", hook)).await });
    let (headers, _) = receive(&mut received).await;
    assert_eq!(headers["x-amz-sns-message-id"], id.as_str());
    world.until_delivered(1).await;
    assert_eq!(world.inbox("").await[0]["messageId"], id);

    let world = world.restart().await;
    world.until_delivered(1).await;
    assert_eq!(world.sns.subscriptions(None).len(), 1);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incomplete_line_after_a_crash_does_not_affect_the_others() {
    let world = World::new().await;
    world.publish("info").await;
    let log = world.folder.join("messages.ndjson");
    let mut text = fs::read_to_string(&log).expect("it exists");
    text.push_str("{\"message\":{\"id\":\"ha");
    fs::write(&log, text).expect("writes");
    let world = world.restart().await;
    world.publish("critical").await;
    let world = world.restart().await;
    assert_eq!(world.inbox("").await.len(), 2);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_subscriptions_are_refused_with_a_reason() {
    let world = World::new().await;
    #[rustfmt::skip]
    let table = [
        ("http", "http://example.org/", None, "on this machine only"),
        ("http", "https://127.0.0.1/", None, "must match the specified protocol"),
        ("https", "https://example.org/", None, "does not deliver by https"),
        ("carrier-pigeon", "roof", None, "Does not support this protocol string"),
        ("email", "nobody", None, "Invalid email address"),
        ("file", "/tmp/x", Some(("FilterPolicy", "{\"a\":")), "failed to parse JSON"),
        ("file", "/tmp/x", Some(("FilterPolicy", "{\"a\":\"b\"}")), "must be an object or an array"),
        ("file", "/tmp/x", Some(("FilterPolicyScope", "Everything")), "Invalid value [Everything]"),
        ("email", "a@b", Some(("RawMessageDelivery", "true")), "not for protocol email"),
        ("file", "/tmp/x", Some(("Colour", "red")), "AttributeName"),
    ];
    for (protocol, endpoint, attribute, reason) in table {
        let mut subscribe = world.client.subscribe().topic_arn(TOPIC).protocol(protocol).endpoint(endpoint);
        if let Some((name, value)) = attribute {
            subscribe = subscribe.attributes(name, value);
        }
        let error = subscribe.send().await.expect_err("refused").into_service_error();
        assert!(error.is_invalid_parameter_exception(), "{error:?}");
        assert!(error.message().unwrap_or_default().contains(reason), "{error:?}");
    }
    assert!(world.sns.subscriptions(None).is_empty());
    world.end().await;
}

#[test]
fn the_subscribe_option_is_parsed_and_validated() {
    for (text, reason) in [
        ("ftp://127.0.0.1", "expected http://"),
        ("file:", "expected http://"),
        ("http://example.org/hook", "on this machine only"),
        ("file:a.ndjson,{\"severity\":[]}", "Empty arrays"),
    ] {
        let error = text.parse::<SubscribeOption>().expect_err("refused");
        assert!(error.to_string().contains(reason), "{text}: {error}");
    }
}
