//! Every shipped instrument through the running back end: each of its cases is submitted as a patient's questionnaire, and
//! gets the scores and the alerts that the case defines.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::Path;

use end_to_end::{Cloud, together, until};
use serde_json::{Value, json};

/// A case of an instrument: a submission with its expected scores and rules.
struct Case {
    instrument: String,
    patient: String,
    submission: Value,
    scores: Vec<(String, f64)>,
    rules: BTreeSet<String>,
}

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/clinical/instruments");
    let mut cases = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_dir()) {
        let instrument = entry.file_name().into_string().unwrap();
        let versions =
            std::fs::read_dir(entry.path()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
        let versions = versions.filter_map(|file| file.strip_suffix(".cases.json").map(str::to_owned));
        // Each version ships with its cases, and only the latest one is tested.
        let version = versions.max().unwrap();
        let text = std::fs::read_to_string(entry.path().join(format!("{version}.cases.json"))).unwrap();
        let its: Value = serde_json::from_str(&text).unwrap();
        for (n, case) in its["cases"].as_array().unwrap().iter().enumerate() {
            let id = uuid::Uuid::now_v7().to_string();
            let scores = case["scores"].as_object().into_iter().flatten();
            let rules = case["alerts"].as_array().unwrap().iter().map(|rule| rule.as_str().unwrap().to_owned());
            cases.push(Case {
                // Each case has its own patient, so that no rule compares it with another.
                patient: format!("{instrument}-{n}"),
                submission: json!({
                    "id": id, "instrument": instrument, "version": version,
                    "authoredAt": "2026-11-01T08:00:00Z", "answers": case["answers"],
                }),
                scores: scores.map(|(score, value)| (score.clone(), value.as_f64().unwrap())).collect(),
                rules: rules.collect(),
                instrument: instrument.clone(),
            });
        }
    }
    cases
}

async fn send(cloud: &Cloud, case: &Case) {
    let token = cloud.patient("S01", &case.patient).await;
    let answer = cloud.submit(&token, &case.submission).await;
    assert_eq!(answer.status, 202, "{}: {}", case.patient, answer.body);
}

#[tokio::test]
async fn every_shipped_case_gets_its_scores_and_alerts() {
    let (cloud, _data) = Cloud::fresh(&[]).await;
    let (cases, staff) = (cases(), cloud.staff("S01").await);
    let instruments: BTreeSet<&str> = cases.iter().map(|case| case.instrument.as_str()).collect();
    let listed = cloud.get("/v1/instruments", Some(&staff)).await;
    let listed = listed.body["instruments"].as_array().unwrap().clone();
    let listed: BTreeSet<&str> = listed.iter().map(|instrument| instrument["id"].as_str().unwrap()).collect();
    assert_eq!(listed, instruments, "each shipped instrument has cases and is listed");

    for some in cases.chunks(10) {
        together(some.iter().map(|case| send(&cloud, case))).await;
    }
    let alerts: u64 = cases.iter().map(|case| case.rules.len() as u64).sum();
    let counts = until("all are scored", async || {
        let counts = cloud.counts(&staff, "S01").await;
        Some(counts).filter(|counts| counts["submissions"].as_u64() >= Some(cases.len() as u64))
    })
    .await;
    assert_eq!((counts["submissions"].as_u64(), counts["alerts"].as_u64()), (Some(cases.len() as u64), Some(alerts)));
    let inbox = until("every alert", async || {
        Some(cloud.inbox("S01").await).filter(|messages| messages.len() as u64 >= alerts)
    })
    .await;

    for case in &cases {
        let id = case.submission["id"].as_str().unwrap();
        let seen = cloud.get(&format!("/v1/submissions/{id}?patient={}", case.patient), Some(&staff)).await.body;
        let scores = seen["score"]["scores"].as_array().unwrap_or_else(|| panic!("{}: {seen}", case.patient));
        for (score, value) in &case.scores {
            let ours = scores.iter().find(|ours| ours["id"] == *score).and_then(|ours| ours["value"].as_f64());
            assert_eq!(ours, Some(*value), "{} of {}", score, case.patient);
        }
        assert_eq!(scores.len(), case.scores.len(), "{}", case.patient);
        let rules: BTreeSet<String> = inbox
            .iter()
            .filter(|message| message["body"]["submissionId"] == id)
            .map(|message| message["body"]["rule"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(rules, case.rules, "{}", case.patient);
    }
}
