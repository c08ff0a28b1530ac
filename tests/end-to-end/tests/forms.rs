//! Batches of case-report rows as a research assistant sends them, over the functions' own binaries.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use end_to_end::Cloud;
use serde_json::{Value, json};

const ROUTE: &str = "/v1/forms/vs/1.0.0/validate";
/// No id and no time of an answer has these digits by chance.
const IMPOSSIBLE: &str = "98761234";

fn row(visit: &str, date: &str, result: &str) -> Value {
    json!({
        "STUDYID": "DEMO", "DOMAIN": "VS", "USUBJID": "P-001", "VSTESTCD": "SYSBP", "VSTEST": "Systolic Blood Pressure",
        "VSPOS": "SITTING", "VSORRES": result, "VSORRESU": "mmHg", "VISIT": visit, "VSDTC": date,
    })
}

#[tokio::test]
async fn every_finding_of_a_batch_is_returned_in_its_row_and_only_to_staff() {
    let (cloud, _data) = Cloud::fresh(&[]).await;
    let staff = cloud.staff("S01").await;
    let rows = json!([
        row("WEEK 2", "2026-03-02", "128"),
        row("WEEK 4", "2026-02-30", IMPOSSIBLE),
        row("WEEK 2", "2026-03-02", "128"),
    ]);
    let answer = cloud.post(ROUTE, Some(&staff), &rows).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.body["counts"]["rows"], 3);
    let returned_rows = answer.body["rows"].as_array().unwrap();
    let faulty: Vec<bool> = returned_rows
        .iter()
        .map(|row| {
            row["findings"].as_array().is_some_and(|findings| findings.iter().any(|one| one["severity"] == "hard"))
        })
        .collect();
    assert!(faulty[1], "an invalid date, and an impossible pressure: {}", answer.body);
    assert!(faulty[2], "the same measurement twice: {}", answer.body);
    assert!(!answer.body.to_string().contains(IMPOSSIBLE), "the values are not repeated");
    for found in returned_rows.iter().flat_map(|row| row["findings"].as_array().into_iter().flatten()) {
        assert!(found["check"].is_string() && found["version"].is_string() && found["query"] == "open", "{found}");
    }

    for (role, status) in [("patient", 403), ("clinician", 403), ("service", 403)] {
        let token = cloud.token(json!({"role": role, "study": "DEMO", "sites": "S01", "patient": "P-001"})).await;
        assert_eq!(cloud.post(ROUTE, Some(&token), &rows).await.status, status, "{role}");
    }
    assert_eq!(cloud.post("/v1/forms/vs/9.9.9/validate", Some(&staff), &rows).await.status, 404);
    assert_eq!(cloud.post(ROUTE, Some(&staff), &json!("rows")).await.status, 422);
    assert_eq!(cloud.post(ROUTE, None, &rows).await.status, 401);
}
