//! The report of a site as a browser of its staff receives it, with the functions' own binaries.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use end_to_end::{Cloud, until};
use reqwest::Client;
use serde_json::json;

#[tokio::test]
async fn staff_of_a_site_get_its_report_and_nobody_else_does() {
    let (cloud, _data) = Cloud::fresh(&[]).await;
    let (patient, staff) = (cloud.patient("S01", "P-001").await, cloud.staff("S01").await);
    let answers = json!({"1": 1, "2": 0, "3": 1, "4": 0, "5": 0, "6": 1, "7": 2, "8": 0, "9": 1});
    let submission = json!({
        "id": uuid::Uuid::now_v7().to_string(), "instrument": "phq-9", "version": "1.0.0",
        "authoredAt": "2026-11-01T08:00:00Z", "answers": answers,
    });
    assert_eq!(cloud.submit(&patient, &submission).await.status, 202);
    until("it is scored", async || (cloud.counts(&staff, "S01").await["submissions"] == 1).then_some(())).await;

    let get = async |token: &str, site: &str| {
        let url = format!("{}/v1/sites/{site}/report?from=2026-11-01&to=2026-11-30", cloud.address());
        Client::new().get(url).bearer_auth(token).send().await.unwrap()
    };
    let report = get(&staff, "S01").await;
    assert_eq!(
        (report.status().as_u16(), &report.headers()["content-type"]),
        (200, &"application/pdf".parse().unwrap())
    );
    assert_eq!(report.headers()["x-report-hash"].len(), 64);
    let pdf = report.bytes().await.unwrap();
    assert!(pdf.starts_with(b"%PDF-1.7"));
    // The body is binary throughout: the cross-reference table is at the offset that the trailer gives.
    let end = String::from_utf8_lossy(&pdf[pdf.len() - 40..]).into_owned();
    let table: usize = end.lines().rev().nth(1).unwrap().parse().unwrap();
    assert!(pdf[table..].starts_with(b"xref"), "{end}");

    assert_eq!(get(&staff, "S02").await.status(), 404);
    assert_eq!(get(&patient, "S01").await.status(), 403);
}
