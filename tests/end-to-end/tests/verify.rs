//! What is stored can be recomputed by anyone, and is recomputed on a schedule, over the functions' own binaries.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use end_to_end::{Cloud, phq_9, until};
use serde_json::{Value, json};

const UNSAFE: [u8; 9] = [1, 0, 1, 0, 0, 1, 2, 0, 1];

/// Begins a pass over all that is stored now, and returns the answer of the function.
async fn reconcile(cloud: &Cloud) -> Value {
    let answer = cloud.post("/local/schedules/reconcile", None, &json!({})).await;
    assert_eq!((answer.status, &answer.body["invocations"][0]["outcome"]), (200, &json!("answered")), "{answer:?}");
    answer.body["invocations"][0]["answer"].clone()
}

/// The exit code of `verify` and what it writes to standard output.
async fn verify(cloud: &Cloud) -> (Option<i32>, String) {
    let output = cloud.command(&["verify", "--quiet"]).await;
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[tokio::test]
async fn an_untouched_table_has_no_difference_and_a_tampered_one_has_one() {
    for tampered in [false, true] {
        let (cloud, _data) = Cloud::fresh(&["--logs", "--memory"]).await;
        for patient in ["P-SECRET", "P-2", "P-3"] {
            let token = cloud.patient("S01", patient).await;
            assert_eq!(cloud.submit(&token, &phq_9(UNSAFE)).await.status, 202);
        }
        let staff = cloud.staff("S01").await;
        let scored = async || {
            let counted = cloud.counts(&staff, "S01").await["submissions"] == 3;
            (counted && cloud.inbox("S01").await.len() == 3).then_some(())
        };
        until("the scores and alerts", scored).await;
        if tampered {
            let table = cloud.get("/local/store", None).await.body["recordsTable"].clone();
            let key = json!({"pk": {"S": "PATIENT#DEMO#P-SECRET"}, "sk": {"S": "PROFILE"}});
            let update = json!({
                "TableName": table, "Key": key, "UpdateExpression": "SET open_alerts = :n",
                "ExpressionAttributeValues": {":n": {"N": "7"}},
            });
            cloud.dynamodb("UpdateItem", update).await;
        }
        let differences = u64::from(tampered);
        let (code, text) = verify(&cloud).await;
        assert_eq!(code, Some(i32::from(tampered)), "{text}");
        assert!(text.contains("compared 3 patients, 3 submissions, 3 alerts, 1 sites"), "{text}");
        assert_eq!(text.contains("open-alerts-differ study=DEMO site=S01 submission="), tampered, "{text}");

        let summary = reconcile(&cloud).await;
        assert_eq!((&summary["patients"], &summary["finished"]), (&json!(3), &json!(true)), "{summary}");
        assert_eq!(summary["differences"], differences, "{summary}");
        let metric = format!("\"RecordsDiffer\":{differences}");
        until("the metric", async || cloud.log().contains(&metric).then_some(())).await;
        let differs = cloud.log().contains("record_differs");
        assert_eq!(differs, tampered);
        assert!(!text.contains("P-SECRET") && !cloud.log().contains("P-SECRET"), "a patient is named");
    }
}

#[tokio::test]
async fn verify_ends_with_2_where_nothing_can_be_read() {
    let (cloud, _data) = Cloud::fresh(&["--memory"]).await;
    let output = cloud.command(&["verify", "--table", "Records"]).await;
    assert_eq!(output.status.code(), Some(2), "a table without the other is refused");
    let (code, text) = verify(&cloud).await;
    assert_eq!((code, text.contains("nothing differs")), (Some(0), true), "an empty store differs in nothing: {text}");
}
