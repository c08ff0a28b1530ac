//! Studies as a data manager puts them in force, with the functions' own binaries.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use end_to_end::{Cloud, phq_9, until};
use serde_json::{Value, json};

const DEFINITION: &str = include_str!("../../../shared/clinical/instruments/phq-2/1.0.0.json");

#[tokio::test]
async fn a_study_with_a_stricter_rule_changes_the_alerts() {
    let (cloud, folder) = Cloud::fresh(&[]).await;
    let put = async |what: &str, name: &str, content: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, content).unwrap();
        let output = cloud.command(&[what, "put", file.to_str().unwrap(), "--reason", "a tighter line"]).await;
        let printed = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(printed).unwrap())
    };
    let diary = DEFINITION.replace("\"id\": \"phq-2\"", "\"id\": \"own-diary\"");
    let study = json!({
        "id": "TIGHT", "version": "1.0.0", "title": {"en": "A tightened study"}, "languages": ["en"],
        "sites": [{"id": "S01", "name": "Site 1", "timeZone": "Europe/Berlin"}],
        "instruments": [
            {"id": "phq-9", "version": "1.0.0", "rules": [
                {"id": "threshold", "severity": "info", "when": {"score": {"of": "total", "atLeast": 5}}},
            ]},
            {"id": "own-diary", "version": "1.0.0"},
        ],
    });

    let (code, printed) = put("study", "study.json", &study.to_string()).await;
    assert!(code == Some(1) && printed.contains("there is no instrument own-diary"), "{printed}");
    assert_eq!(put("instrument", "diary.json", &diary).await.0, Some(0));
    assert_eq!(put("study", "study.json", &study.to_string()).await.0, Some(0));
    assert_eq!(
        put("study", "study.json", &study.to_string()).await.0,
        Some(0),
        "the version in force may be put again"
    );
    let (code, printed) = put("study", "study.json", &study.to_string().replace("Site 1", "Site One")).await;
    assert!(code == Some(1) && printed.contains("a version never changes"), "{printed}");

    // The same answers have a total of 5: the threshold of the study is 5, that of the instrument 10.
    let mild = [2, 1, 1, 1, 0, 0, 0, 0, 0];
    let own = json!({
        "id": "0192f3a4-7c1e-7b2a-9d4e-5f6a7b8c9d0e", "instrument": "own-diary", "version": "1.0.0",
        "authoredAt": "2026-11-01T08:00:00+01:00", "answers": {"1": 0, "2": 0},
    });
    for (study, alerts) in [("DEMO", 0), ("TIGHT", 1)] {
        let token = |role: &str| json!({"role": role, "study": study, "sites": "S01", "patient": "P-001"});
        let (patient, staff) = (cloud.token(token("patient")).await, cloud.token(token("staff")).await);
        let status = cloud.submit(&patient, &own).await.status;
        assert_eq!(status, if study == "TIGHT" { 202 } else { 422 }, "only the study has the instrument");
        assert_eq!(cloud.submit(&patient, &phq_9(mild)).await.status, 202);
        let sent = if study == "TIGHT" { 2 } else { 1 };
        let counts = until("all is scored", async || {
            Some(cloud.counts(&staff, "S01").await).filter(|counts| counts["submissions"] == sent)
        });
        assert_eq!(counts.await["alerts"], alerts, "of {study}");
    }
    let message = until("the alert", async || cloud.inbox("S01").await.pop()).await;
    let field = |name: &str| message["body"][name].clone();
    assert_eq!((field("study"), field("severity")), (json!("TIGHT"), json!("info")));

    // The audit entries name the author, as AWS does, and the reason. The monitor of any site of the study sees them.
    let monitor = cloud.token(json!({"role": "monitor", "study": "TIGHT", "sites": "S01"})).await;
    let entries = cloud.get("/v1/sites/S01/audit", Some(&monitor)).await.body["entries"].clone();
    let put = |action: &str| {
        let found: Vec<_> = entries.as_array().unwrap().iter().filter(|entry| entry["action"] == action).collect();
        assert_eq!(found.len(), 1, "{action}: {entries}");
        (found[0]["actor"].clone(), found[0]["reason"].clone())
    };
    let iss = format!("{}/local/sts", cloud.address());
    let actor = json!({"sub": "arn:aws:iam::000000000000:user/local", "iss": iss, "role": "data-manager"});
    assert_eq!(put("study-put"), (actor.clone(), json!("a tighter line")));
    assert_eq!(put("instrument-put"), (actor, json!("a tighter line")));

    let demo = cloud.token(json!({"role": "patient", "study": "EPRO-DEMO", "sites": "S02", "patient": "P-001"})).await;
    let listed = cloud.get("/v1/instruments", Some(&demo)).await.body;
    let ids: Vec<&Value> = listed["instruments"].as_array().unwrap().iter().map(|listed| &listed["id"]).collect();
    assert_eq!(
        ids,
        ["phq-9", "gad-7", "pain-nrs", "audit-c", "eortc-qlq-c30"],
        "the demonstration study exists from the start"
    );
}

#[tokio::test]
async fn a_data_manager_puts_a_study_over_http_and_a_patient_submits_to_it_at_once() {
    let (cloud, _folder) = Cloud::fresh(&["--memory", "--parameter", "OpenStudies=false"]).await;
    let token = async |role: &str| {
        let claims =
            json!({"role": role, "study": "HTTP", "sites": "S01", "patient": "P-001", "sub": format!("{role}-1")});
        cloud.token(claims).await
    };
    let diary: Value = serde_json::from_str(&DEFINITION.replace("\"id\": \"phq-2\"", "\"id\": \"own-diary\"")).unwrap();
    let study = json!({
        "id": "HTTP", "version": "1.0.0", "title": {"en": "A study over HTTP"}, "languages": ["en"],
        "sites": [{"id": "S01", "name": "Site 1", "timeZone": "Europe/Berlin"}],
        "instruments": [{"id": "own-diary", "version": "1.0.0"}],
    });
    let (of_diary, of_study) = ("/v1/instruments/own-diary/1.0.0", "/v1/studies/HTTP");

    for role in ["patient", "staff", "clinician", "service", "monitor"] {
        // With the scope, so that it is the function that refuses them.
        let claims =
            json!({"role": role, "study": "HTTP", "sites": "S01", "patient": "P-001", "scope": "studies:write"});
        let token = cloud.token(claims).await;
        assert_eq!(cloud.put(of_diary, Some(&token), &diary).await.status, 403, "{role}");
        assert_eq!(cloud.put(of_study, Some(&token), &study).await.status, 403, "{role}");
    }
    assert_eq!(cloud.put(of_study, None, &study).await.status, 401);
    let manager = token("data-manager").await;
    assert_eq!(cloud.put("/v1/studies/EPRO-DEMO", Some(&manager), &study).await.status, 404);
    let early = cloud.put(of_study, Some(&manager), &study).await;
    assert_eq!((early.status, &early.body["errors"][0]["code"]), (422, &json!("instrument.unknown")), "{}", early.body);
    for expected in [201, 200] {
        assert_eq!(cloud.put(of_diary, Some(&manager), &diary).await.status, expected);
    }
    for expected in [201, 200] {
        assert_eq!(cloud.put(of_study, Some(&manager), &study).await.status, expected);
    }

    let (patient, staff) = (token("patient").await, token("staff").await);
    let own = json!({
        "id": "0192f3a4-7c1e-7b2a-9d4e-5f6a7b8c9d0e", "instrument": "own-diary", "version": "1.0.0",
        "authoredAt": "2026-11-01T08:00:00+01:00", "answers": {"1": 0, "2": 0},
    });
    assert_eq!(cloud.submit(&patient, &own).await.status, 202);
    until("it is scored", async || Some(cloud.counts(&staff, "S01").await).filter(|counts| counts["submissions"] == 1))
        .await;

    // The data manager reads on the audit trail what was put; once each, in spite of the repeats.
    let entries = cloud.get("/v1/sites/S01/audit", Some(&manager)).await.body["entries"].clone();
    for (action, subject) in [("instrument-put", "own-diary 1.0.0"), ("study-put", "1.0.0")] {
        let found: Vec<_> = entries.as_array().unwrap().iter().filter(|entry| entry["action"] == action).collect();
        let ours: Vec<_> = found.iter().filter(|entry| entry["actor"]["sub"] == "data-manager-1").collect();
        assert_eq!((ours.len(), &ours[0]["subject"]), (1, &json!(subject)), "{entries}");
    }
}

#[tokio::test]
async fn a_monitor_reads_the_sites_of_its_token_and_no_others() {
    let (cloud, _folder) = Cloud::fresh(&["--memory"]).await;
    let patient = cloud.patient("S01", "P-001").await;
    assert_eq!(cloud.submit(&patient, &phq_9([1, 1, 1, 1, 1, 1, 1, 1, 1])).await.status, 202);
    // With the scopes of others, so that it is the functions that refuse it.
    let scopes =
        "audit:read alerts:read alerts:write counts:read counts:write patients:read reports:read forms:validate";
    let monitor = cloud.token(json!({"role": "monitor", "study": "DEMO", "sites": "S01", "scope": scopes})).await;
    let staff = cloud.staff("S01").await;
    until("it is scored", async || Some(cloud.counts(&staff, "S01").await).filter(|counts| counts["submissions"] == 1))
        .await;
    for list in ["patients", "alerts", "audit", "counts", "report"] {
        let own = cloud.get(&format!("/v1/sites/S01/{list}"), Some(&monitor)).await;
        assert_eq!(own.status, 200, "{list}");
        let other = cloud.get(&format!("/v1/sites/S02/{list}"), Some(&monitor)).await;
        assert_eq!(other.status, 404, "{list}");
    }
    let alerts = cloud.get("/v1/sites/S01/alerts", Some(&monitor)).await.body["alerts"].clone();
    let alert = alerts[0]["alertId"].as_str().unwrap();
    for path in [format!("/v1/alerts/{alert}/acknowledge"), "/v1/sites/S01/calls".to_owned()] {
        assert_eq!(cloud.post(&path, Some(&monitor), &json!({})).await.status, 403, "{path}");
    }
    let rows = cloud.post("/v1/forms/vs/1.0.0/validate", Some(&monitor), &json!([])).await;
    assert_eq!(rows.status, 403);
}

#[tokio::test]
async fn a_closed_deployment_accepts_stored_studies_only_and_scopes_with_its_issuers_prefix() {
    let (cloud, _folder) = Cloud::fresh(&["--memory", "--parameter", "OpenStudies=false"]).await;
    for (study, scope, expected) in [
        ("EPRO-DEMO", "instruments:read", 200),
        ("EPRO-DEMO", "epro/instruments:read", 200),
        ("EPRO-DEMO", "other/instruments:read", 403),
        ("EPRO-DEM0", "instruments:read", 403),
    ] {
        let claims = json!({"role": "patient", "study": study, "sites": "S02", "patient": "P-001", "scope": scope});
        let token = cloud.token(claims).await;
        assert_eq!(cloud.get("/v1/instruments", Some(&token)).await.status, expected, "{study} {scope}");
    }
    let nobody =
        cloud.token(json!({"role": "patient", "study": "EPRO-DEMO", "sites": "S02", "patient": "P-001", "sub": ""}));
    assert_eq!(cloud.get("/v1/instruments", Some(&nobody.await)).await.status, 401);
}
