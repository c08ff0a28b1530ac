#![allow(clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use super::*;

use std::net::Ipv4Addr;

use axum::routing::post;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::net::TcpListener;

/// A service that counts the requests it receives, and a proxy in front of it.
struct Counting {
    faults: Faults,
    address: String,
    received: Arc<AtomicU64>,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Counting {
    async fn behind(service: Service, settings: FaultSettings) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free");
        let target = format!("http://{}/path", listener.local_addr().expect("it is bound"));
        let received = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&received);
        let answer = async move || {
            counted.fetch_add(1, Ordering::Relaxed);
            "applied"
        };
        tokio::spawn(async move { axum::serve(listener, Router::new().route("/path", post(answer))).await });
        let faults = Faults::new(settings);
        let address = faults.put_before(service, &target).await.expect("a port is free");
        Self { faults, address, received, client: Client::builder(TokioExecutor::new()).build_http() }
    }

    /// Status and body, or `None` if the connection was cut.
    async fn send(&self, operation: &str, body: &'static str) -> Option<(StatusCode, String)> {
        let request = Request::post(&self.address).header("x-amz-target", format!("DynamoDB_20120810.{operation}"));
        let request = request.body(Full::new(Bytes::from_static(body.as_bytes()))).expect("it is well formed");
        let (head, body) = self.client.request(request).await.ok()?.into_parts();
        let body = body.collect().await.ok()?.to_bytes();
        Some((head.status, String::from_utf8_lossy(&body).into_owned()))
    }

    fn requests(&self) -> u64 {
        self.faults.shared.listing().services.values().map(|counts| counts.requests).sum()
    }

    /// How many requests to DynamoDB have met `fault`.
    fn count(&self, fault: Fault) -> u64 {
        let services = self.faults.shared.listing().services;
        services.get(&Service::DynamoDb).and_then(|counts| counts.faults.get(&fault)).copied().unwrap_or_default()
    }
}

/// Waits for a condition on the paused clock.
async fn until(condition: impl Fn() -> bool) {
    for _ in 0..100_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("the condition does not come about");
}

fn settings(share: &str, seed: u64) -> FaultSettings {
    FaultSettings { share: share.parse().expect("a share"), seed, ..FaultSettings::default() }
}

#[test]
fn a_share_is_a_percentage_between_none_and_all() {
    for (text, shown) in [("10%", "10%"), ("0%", "0%"), ("100%", "100%"), ("0.5%", "0.5%"), ("12.25%", "12.25%")] {
        assert_eq!(text.parse::<Share>().expect("a share").to_string(), shown);
    }
    for text in ["10", "%", "", "-1%", "101%", "100.1%", "NaN%", "inf%", "1e1%", "+5%", "ten%", "10 %", "1.2.3%"] {
        assert!(text.parse::<Share>().is_err(), "{text}");
    }
}

#[test]
fn the_seed_determines_the_faults_and_all_kinds_come_about_as_often_as_asked() {
    let draws = |seed, share: &str| -> Vec<Option<Fault>> {
        let faults = Faults::new(settings(share, seed));
        (0..9_000).map(|_| faults.shared.draw(Service::DynamoDb, true).map(|(fault, _)| fault)).collect()
    };
    assert_eq!(draws(7, "10%"), draws(7, "10%"));
    assert_ne!(draws(7, "10%"), draws(8, "10%"));
    let of = |draws: &[Option<Fault>], kind| draws.iter().filter(|fault| **fault == Some(kind)).count();
    let all = draws(7, "100%");
    for kind in Fault::ALL {
        assert!((850..1_150).contains(&of(&all, kind)), "{kind:?}: {}", of(&all, kind));
    }
    let tenth = draws(7, "10%").into_iter().flatten().count();
    assert!((800..1_000).contains(&tenth), "{tenth} of 9000");
    assert!(draws(7, "0%").iter().all(Option::is_none));
    let faults = Faults::new(settings("100%", 7));
    let reads: Vec<_> = (0..1_000).filter_map(|_| faults.shared.draw(Service::DynamoDb, false)).collect();
    assert!(reads.len() == 1_000 && reads.iter().all(|(fault, _)| *fault != Fault::Conflict), "no read conflicts");
}

#[tokio::test(start_paused = true)]
async fn each_fault_reaches_the_service_or_not_as_its_name_says_and_is_counted() {
    let service = Counting::behind(Service::DynamoDb, settings("100%", 1)).await;
    for _ in 0..400 {
        let before = service.received.load(Ordering::Relaxed);
        let counted = Fault::ALL.map(|fault| service.count(fault));
        let answer = service.send("PutItem", r#"{"TableName":"T"}"#).await;
        let applied = service.received.load(Ordering::Relaxed) - before;
        let met = Fault::ALL
            .into_iter()
            .zip(counted)
            .find(|(fault, before)| service.count(*fault) > *before)
            .map(|(fault, _)| fault)
            .expect("every request meets a fault");
        let status = answer.as_ref().map(|(status, _)| status.as_u16());
        let expected = match met {
            Fault::Error500 => (0, Some(500)),
            Fault::Error500Applied => (1, Some(500)),
            Fault::Error503 => (0, Some(503)),
            Fault::Throttled | Fault::Conflict => (0, Some(400)),
            Fault::DelayedBefore | Fault::DelayedAfter => (1, Some(200)),
            Fault::CutBefore => (0, None),
            Fault::CutAfter => (1, None),
        };
        assert_eq!((applied, status), expected, "{met:?}");
        if let Some((StatusCode::OK, body)) = &answer {
            assert_eq!(body, "applied");
        }
    }
    assert_eq!(service.faults.shared.listing().services[&Service::DynamoDb].requests, 400);
    assert!(Fault::ALL.iter().all(|fault| service.count(*fault) > 20), "{}", service.faults.summary());
    assert!(service.faults.summary().contains("DynamoDB: 400 requests, 500 "), "{}", service.faults.summary());
    service.faults.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_delayed_request_reaches_the_service_after_the_function_gave_it_up() {
    let service = Arc::new(Counting::behind(Service::DynamoDb, settings("100%", 3)).await);
    for number in 1..=200 {
        let sender = Arc::clone(&service);
        let sent = tokio::spawn(async move { sender.send("GetItem", "{}").await });
        until(|| service.requests() == number).await;
        sent.abort();
    }
    let late = service.count(Fault::DelayedBefore);
    assert!(late > 10, "{late} were delayed");
    let lost = [Fault::DelayedAfter, Fault::CutAfter, Fault::Error500Applied];
    let expected = late + lost.map(|fault| service.count(fault)).iter().sum::<u64>();
    until(|| service.received.load(Ordering::Relaxed) == expected).await;
}

#[tokio::test(start_paused = true)]
async fn without_a_fault_the_services_own_response_comes_back() {
    let service = Counting::behind(Service::Sns, settings("0%", 1)).await;
    for _ in 0..20 {
        assert_eq!(service.send("", "Action=Publish").await, Some((StatusCode::OK, "applied".to_owned())));
    }
    assert_eq!(service.received.load(Ordering::Relaxed), 20);
    service.faults.stop().await;
}

#[tokio::test(start_paused = true)]
async fn settings_change_while_requests_come_and_only_sns_is_delayed() {
    for (service, delayed) in [(Service::Sns, true), (Service::DynamoDb, false)] {
        let counting = Counting::behind(service, settings("0%", 1)).await;
        let slow = FaultSettings { sns_delay: Duration::from_secs(4), ..settings("0%", 1) };
        for (settings, expected) in [(slow, delayed), (settings("0%", 1), false), (slow, delayed)] {
            counting.faults.set(settings);
            let began = tokio::time::Instant::now();
            assert_eq!(counting.send("Publish", "").await, Some((StatusCode::OK, "applied".to_owned())));
            assert_eq!(began.elapsed() >= Duration::from_secs(4), expected, "{service:?}");
        }
        counting.faults.set(settings("100%", 1));
        assert_eq!(counting.faults.settings().share.to_string(), "100%");
        for _ in 0..20 {
            counting.send("GetItem", "{}").await;
        }
        let met: u64 = counting.faults.shared.listing().services[&service].faults.values().sum();
        assert_eq!(met, 20);
        counting.faults.stop().await;
    }
}

#[test]
fn a_transactions_conflict_has_a_reason_for_each_of_its_writes() {
    let body = br#"{"TransactItems":[{"Put":{}},{"Put":{}},{"Update":{}}]}"#;
    let mut places = std::collections::BTreeSet::new();
    for seed in 0..50 {
        let response = refusal::refusal(Service::DynamoDb, Fault::Conflict, body, &mut Dice::new(seed)).expect("one");
        let body = futures::executor::block_on(response.into_body().collect()).expect("in memory").to_bytes();
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        assert!(body["__type"].as_str().is_some_and(|kind| kind.ends_with("#TransactionCanceledException")), "{body}");
        let codes: Vec<&str> =
            body["CancellationReasons"].as_array().expect("a list").iter().filter_map(|r| r["Code"].as_str()).collect();
        assert_eq!(codes.len(), 3);
        let conflicts: Vec<usize> = (0..3).filter(|place| codes[*place] == "TransactionConflict").collect();
        assert_eq!(conflicts.len(), 1, "{codes:?}");
        places.insert(conflicts[0]);
    }
    assert_eq!(places.len(), 3, "any of the writes may conflict");
}
