#![allow(clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use bytes::Bytes;
use http::header::HeaderValue;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;

use super::*;
use crate::cloud::{local_store, put_demo_study};
use crate::console::Console;
use crate::dynamodb::DynamoDb;
use crate::faults::{FaultSettings, Faults};
use crate::feed::Event;
use crate::lambda::{FunctionSettings, Functions};
use crate::sts;
use crate::template::Template;

/// The routes on a port, over the template's tables, and without functions.
struct Page {
    url: String,
    feed: Feed,
    database: DynamoDb,
    store: LocalStore,
    stop: watch::Sender<bool>,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Page {
    async fn start() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let parameters = BTreeMap::from([("TokenIssuer".to_owned(), "http://127.0.0.1/local".to_owned())]);
        let template = Template::read(&root.join("template.yaml"), &parameters).expect("the template is valid");
        let database = DynamoDb::embedded(None).await.expect("it starts");
        database.make_tables(&template.tables).await.expect("they are made");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let url = format!("http://{}", listener.local_addr().expect("it listens"));
        let store = local_store(&template, &database, &url).expect("the template names the tables");
        put_demo_study(&store).await.expect("it is put");
        let feed = Feed::default();
        let settings = FunctionSettings {
            concurrency: 1,
            environment: BTreeMap::new(),
            launcher: None,
            console: Console { quiet: true, logs: false },
            feed: feed.clone(),
        };
        let functions = Functions::new([], settings);
        let services = Endpoints { dynamodb: database.endpoint().to_owned(), sns: format!("{url}/local/sns") };
        let faults = Faults::new(FaultSettings::default());
        let switches = Switches::new(faults, functions.clone(), services, BTreeMap::new(), feed.clone(), false);
        let (stop, stopping) = watch::channel(false);
        let parts = Parts { feed: feed.clone(), switches, functions, store: Some(store.clone()), stopping };
        let service = routes(parts).merge(sts::routes()).into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, service).await });
        Self { url, feed, database, store, stop, client: Client::builder(TokioExecutor::new()).build_http() }
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (StatusCode, HeaderMap, Bytes) {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body.to_owned()))).expect("a request");
        let (parts, body) = self.client.request(request).await.expect("it answers").into_parts();
        (parts.status, parts.headers, body.collect().await.expect("it is complete").to_bytes())
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        let (status, _, body) = self.send("GET", path, &[], "").await;
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    /// As the page posts.
    async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        let headers = [("x-epro-console", "1"), ("content-type", "application/json")];
        let (status, _, body) = self.send("POST", path, &headers, &body.to_string()).await;
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    /// Connects to the events.
    async fn watch(&self, last: Option<&str>) -> Watching {
        let mut request = Request::get(format!("{}/console/events", self.url));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response =
            self.client.request(request.body(Full::default()).expect("a request")).await.expect("it answers");
        let kind = response.headers().get("content-type").cloned();
        assert_eq!(kind, Some(HeaderValue::from_static("text/event-stream")));
        Watching { body: response.into_body(), text: String::new() }
    }
}

/// A connection to the events.
struct Watching {
    body: hyper::body::Incoming,
    text: String,
}

impl Watching {
    /// The fields of the next event, by name; `None` at the end.
    async fn next(&mut self) -> Option<BTreeMap<String, String>> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let fields = event.lines().filter_map(|line| line.split_once(": "));
                let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
                self.text = rest.to_owned();
                return Some(fields);
            }
            let frame = timeout(Duration::from_secs(10), self.body.frame()).await.expect("an event comes in time")?;
            let data = frame.ok()?.into_data().unwrap_or_default();
            self.text += &String::from_utf8_lossy(&data);
        }
    }
}

fn event(number: u64) -> Event {
    Event::Switched { at: String::new(), faults: "0%".to_owned(), sns_delay_ms: number }
}

#[tokio::test]
async fn the_page_and_its_files_are_served_with_a_strict_policy() {
    let page = Page::start().await;
    for (path, kind) in [("/", "text/html"), ("/console/app.js", "text/javascript"), ("/console/style.css", "text/css")]
    {
        let (status, headers, body) = page.send("GET", path, &[], "").await;
        assert_eq!(status, StatusCode::OK, "{path}");
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        assert!(header("content-type").starts_with(kind), "{path}: {}", header("content-type"));
        assert_eq!(header("x-content-type-options"), "nosniff");
        let policy = header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; "), "{policy}");
        assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!body.is_empty());
    }
    assert_eq!(page.get("/console/other.js").await.0, StatusCode::NOT_FOUND);
    assert_eq!(page.get("/console/..%2fCargo.toml").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn other_names_and_other_origins_are_refused_and_changes_need_the_header() {
    let page = Page::start().await;
    let own = page.url.clone();
    let off = r#"{"faults":"0%","snsDelayMs":0}"#;
    let json = ("content-type", "application/json");
    let header = ("x-epro-console", "1");
    for (method, path, headers, expected) in [
        ("GET", "/", vec![("host", "evil.example")], 403),
        ("GET", "/console/app.js", vec![("host", "127.0.0.1.evil.example:80")], 403),
        ("GET", "/", vec![("host", "localhost:3000")], 200),
        ("GET", "/", vec![("host", "[::1]:3000")], 200),
        // A link on another page leads here; its scripts read nothing.
        ("GET", "/", vec![("sec-fetch-site", "cross-site")], 200),
        ("GET", "/console/switches", vec![], 200),
        ("GET", "/console/switches", vec![("host", "evil.example")], 403),
        ("GET", "/console/switches", vec![("origin", "http://evil.example")], 403),
        ("GET", "/console/switches", vec![("sec-fetch-site", "cross-site")], 403),
        ("GET", "/console/switches", vec![("sec-fetch-site", "same-site")], 403),
        ("GET", "/console/switches", vec![("sec-fetch-site", "same-origin")], 200),
        ("POST", "/console/switches", vec![json], 403),
        ("POST", "/console/switches", vec![("content-type", "text/plain")], 403),
        ("POST", "/console/switches", vec![json, header, ("origin", "null")], 403),
        ("POST", "/console/switches", vec![json, header, ("origin", "http://127.0.0.1:1")], 403),
        ("POST", "/console/switches", vec![json, header, ("origin", &own)], 200),
        ("POST", "/console/verification", vec![], 403),
        ("POST", "/console/escalation", vec![], 403),
        // What changes something has no other method.
        ("GET", "/console/verification", vec![header], 405),
        ("GET", "/console/escalation", vec![header], 405),
    ] {
        let (status, ..) = page.send(method, path, &headers, off).await;
        assert_eq!(status.as_u16(), expected, "{method} {path} {headers:?}");
    }
}

#[tokio::test]
async fn events_come_as_they_happen_and_a_page_that_connects_again_goes_on() {
    let page = Page::start().await;
    page.feed.add(&event(1));
    let mut watching = page.watch(None).await;
    let first = watching.next().await.expect("a start");
    assert_eq!(first["event"], "start");
    let kept = watching.next().await.expect("what was before");
    assert!(kept["data"].contains("\"snsDelayMs\":1"), "{kept:?}");
    page.feed.add(&event(2));
    let now = watching.next().await.expect("what happens");
    assert!(now["data"].contains("\"snsDelayMs\":2"), "{now:?}");

    let mut again = page.watch(Some(&kept["id"])).await;
    assert_eq!(again.next().await.expect("a start")["data"], first["data"]);
    assert_eq!(again.next().await.expect("the rest"), now);
    // The numbers of an earlier start mean nothing: everything is sent.
    let mut other = page.watch(Some("0123.2")).await;
    other.next().await;
    assert_eq!(other.next().await.expect("all"), kept);

    page.stop.send_replace(true);
    for mut watching in [watching, again] {
        assert_eq!(watching.next().await, None, "a stop does not wait for pages");
    }
}

#[tokio::test]
async fn a_gap_is_announced_and_pages_are_limited() {
    let page = Page::start().await;
    for number in 1..=2_010 {
        page.feed.add(&event(number));
    }
    let mut watching = page.watch(None).await;
    watching.next().await;
    let gap = watching.next().await.expect("a gap");
    assert_eq!((gap["event"].as_str(), gap["data"].as_str()), ("skipped", "10"));
    assert!(watching.next().await.expect("the oldest kept")["data"].contains("\"snsDelayMs\":11"));
    let mut pages = vec![watching];
    while pages.len() < READERS {
        pages.push(page.watch(None).await);
    }
    assert_eq!(page.get("/console/events").await.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn switches_are_set_as_a_whole_or_not_at_all() {
    let page = Page::start().await;
    let off = json!({"faults": "0%", "snsDelayMs": 0});
    assert_eq!(page.get("/console/switches").await, (StatusCode::OK, off.clone()));
    let on = json!({"faults": "12.5%", "snsDelayMs": 800});
    assert_eq!(page.post("/console/switches", &on).await, (StatusCode::OK, on.clone()));
    assert_eq!(page.get("/console/switches").await, (StatusCode::OK, on.clone()));
    for (wanted, status) in [
        (json!({"faults": "101%", "snsDelayMs": 0}), StatusCode::CONFLICT),
        (json!({"faults": "5%", "snsDelayMs": 60_001}), StatusCode::CONFLICT),
        (json!({"faults": "5%"}), StatusCode::UNPROCESSABLE_ENTITY),
        (json!({"faults": "5%", "snsDelayMs": 0, "seed": 1}), StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        assert_eq!(page.post("/console/switches", &wanted).await.0, status, "{wanted}");
        assert_eq!(page.get("/console/switches").await.1, on, "{wanted}");
    }
    assert_eq!(page.post("/console/switches", &off).await, (StatusCode::OK, off));
    let shown: Vec<Value> =
        page.feed.after(0).iter().map(|event| serde_json::from_str(&event.json).expect("JSON")).collect();
    assert_eq!(shown.len(), 2);
    assert_eq!((&shown[0]["event"], &shown[0]["faults"]), (&json!("switched"), &json!("12.5%")));
}

#[tokio::test]
async fn the_study_in_force_is_shown_and_can_be_made_to_escalate_soon() {
    let page = Page::start().await;
    let escalation = async || {
        let (status, study) = page.get("/console/study?id=EPRO-DEMO").await;
        assert_eq!(status, StatusCode::OK, "{study}");
        assert_eq!(study["sites"][0]["id"], "S01");
        study["alerts"]["escalation"]["afterMinutes"].as_u64()
    };
    assert_eq!(escalation().await, Some(30));
    for _ in 0..2 {
        let (status, answer) = page.post("/console/escalation", &json!({})).await;
        assert_eq!((status, answer["afterMinutes"].as_u64()), (StatusCode::OK, Some(1)));
        assert_eq!(escalation().await, Some(1));
    }
    assert_eq!(page.get("/console/study?id=OTHER").await.0, StatusCode::NOT_FOUND);
    assert_eq!(page.get("/console/study?id=%23").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_verification_lists_what_differs() {
    let page = Page::start().await;
    let (status, report) = page.post("/console/verification", &json!({})).await;
    assert_eq!((status, report["differences"].as_u64()), (StatusCode::OK, Some(0)), "{report}");
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let put = page.database.client().put_item().table_name(&page.store.records_table);
    let put = put.item("pk", text("PATIENT#EPRO-DEMO#P-1")).item("sk", text("SUBMISSION#nonsense"));
    put.item("kind", text("submission")).send().await.expect("it is put");
    let (status, report) = page.post("/console/verification", &json!({})).await;
    assert_eq!((status, report["byKind"]["unreadable"].as_u64()), (StatusCode::OK, Some(1)), "{report}");
    let listed = report["listed"].as_array().expect("a list");
    assert_eq!(listed.len() as u64, report["differences"].as_u64().unwrap_or_default());
    assert!(!report.to_string().contains("P-1"), "a difference names no patient: {report}");
}

#[tokio::test]
async fn courses_are_of_a_site_of_a_study() {
    let page = Page::start().await;
    let none = json!({"patients": [], "more": 0});
    assert_eq!(page.get("/console/courses?study=EPRO-DEMO&site=S01").await, (StatusCode::OK, none));
    for path in ["/console/courses?study=EPRO-DEMO&site=%23", "/console/courses?study=%23&site=S01"] {
        assert_eq!(page.get(path).await.0, StatusCode::UNPROCESSABLE_ENTITY, "{path}");
    }
    assert_eq!(page.get("/console/courses?study=EPRO-DEMO").await.0, StatusCode::BAD_REQUEST);
}
