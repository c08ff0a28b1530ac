//! The lists that site staff read, over the functions' own binaries, with the tokens of each role.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use end_to_end::{Cloud, phq_9, until};
use serde_json::{Value, json};

const UNSAFE: [u8; 9] = [1, 0, 1, 0, 0, 1, 2, 0, 1];

#[tokio::test]
async fn staff_page_through_their_patients_and_each_read_and_correction_is_in_the_audit() {
    let (cloud, _data) = Cloud::fresh(&["--logs"]).await;
    let staff = cloud.staff("S01").await;
    let names = ["P-SECRET-1", "P-SECRET-2", "P-SECRET-3"];
    for name in names {
        let patient = cloud.patient("S01", name).await;
        let first = phq_9(UNSAFE);
        assert_eq!(cloud.submit(&patient, &first).await.status, 202);
        if name == names[2] {
            // Its alert stays, since it was correct when it was raised. A submission that is corrected before it is scored
            // raises none.
            let path = format!("/v1/submissions/{}?patient={name}", first["id"].as_str().unwrap());
            until("the first is scored", async || {
                Some(cloud.get(&path, Some(&staff)).await).filter(|answer| answer.body["status"] == "scored")
            })
            .await;
            let mut correction = phq_9([0; 9]);
            correction["amends"] = first["id"].clone();
            correction["reason"] = json!("the wrong button");
            assert_eq!(cloud.submit(&patient, &correction).await.status, 202);
        }
    }
    until("all is scored", async || {
        Some(cloud.counts(&staff, "S01").await).filter(|counts| counts["submissions"] == 4)
    })
    .await;
    // The correction is scored by one transaction and takes its place in the course by the next, which marks the alert.
    let clinician = cloud.token(json!({"role": "clinician", "study": "DEMO", "sites": "S01"})).await;
    until("the correction has taken its place", async || {
        let answer = cloud.get("/v1/sites/S01/alerts", Some(&clinician)).await;
        Some(()).filter(|()| answer.body["alerts"].as_array().unwrap().iter().any(|alert| alert["corrected"] == true))
    })
    .await;

    let first = cloud.get("/v1/sites/S01/patients?limit=2", Some(&staff)).await;
    let next = first.body["next"].as_str().unwrap();
    let second = cloud.get(&format!("/v1/sites/S01/patients?limit=2&cursor={next}"), Some(&staff)).await;
    assert_eq!((second.status, second.body.get("next")), (200, None));
    let listed = [&first, &second].into_iter().flat_map(|page| page.body["patients"].as_array().unwrap());
    let listed: Vec<&Value> = listed.collect();
    assert_eq!(listed.iter().map(|patient| &patient["patient"]).collect::<Vec<_>>(), names);
    assert!(listed.iter().all(|patient| patient["openAlerts"] == 1), "{listed:?}");
    let seen = listed[2]["scores"][0]["scores"][0]["value"].as_f64();
    assert_eq!(seen, Some(0.0), "the correction counts");
    assert_eq!(
        listed[0]["scores"][0]["scores"],
        json!([{"id": "total", "value": 6, "range": [0, 27], "band": "mild"}])
    );

    // A cursor is valid for its list only, and each list has its roles.
    let of = async |role: &str, site: &str| {
        cloud.token(json!({"role": role, "study": "DEMO", "sites": site, "patient": "P-SECRET-1"})).await
    };
    let refusals = [
        (format!("/v1/sites/S01/audit?cursor={next}"), Some(staff.clone()), 422),
        (format!("/v1/sites/S01/patients?cursor={next}x"), Some(staff.clone()), 422),
        ("/v1/sites/S01/patients?limit=0".to_owned(), Some(staff.clone()), 422),
        ("/v1/sites/S02/patients".to_owned(), Some(staff.clone()), 404),
        ("/v1/sites/S01/patients".to_owned(), Some(of("staff", "S02").await), 404),
        ("/v1/sites/S01/patients".to_owned(), Some(of("patient", "S01").await), 403),
        ("/v1/sites/S01/patients".to_owned(), Some(of("clinician", "S01").await), 403),
        ("/v1/sites/S01/patients".to_owned(), Some(of("service", "S01").await), 403),
        ("/v1/sites/S01/patients".to_owned(), None, 401),
        ("/v1/sites/S02/audit".to_owned(), Some(staff.clone()), 404),
        ("/v1/sites/S01/audit".to_owned(), Some(of("patient", "S01").await), 403),
        ("/v1/sites/S01/audit".to_owned(), Some(of("clinician", "S01").await), 403),
        ("/v1/sites/S01/audit".to_owned(), None, 401),
    ];
    for (path, token, expected) in refusals {
        assert_eq!(cloud.get(&path, token.as_deref()).await.status, expected, "{path}");
    }

    let audit = cloud.get("/v1/sites/S01/audit", Some(&staff)).await;
    let entries = audit.body["entries"].as_array().unwrap();
    let about = |action: &str, what: &str| {
        let of_action = entries.iter().filter(|entry| entry["action"] == action);
        of_action.map(|entry| entry.pointer(what).cloned().unwrap_or_default()).collect::<Vec<_>>()
    };
    assert_eq!(about("patients-read", "/correlationId"), [&second, &first].map(|page| json!(page.correlation_id)));
    for (field, expected) in [("sub", "staff-1"), ("role", "staff")] {
        assert_eq!(about("patients-read", &format!("/actor/{field}")), [expected, expected]);
    }
    assert!(
        about("patients-read", "/actor/iss").iter().all(|issuer| issuer.as_str().is_some_and(|iss| !iss.is_empty()))
    );
    assert_eq!(about("submission-amended", "/actor/role"), ["patient"]);
    assert!(!audit.body.to_string().contains("button"), "the reason is not returned");
    assert!(!cloud.log().contains("P-SECRET"), "{}", cloud.log());
}
