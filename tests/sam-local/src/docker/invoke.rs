//! `sam local invoke`: one container for each event.

use sam_local::Cloud;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::Result;
use crate::events::{self, INVOCATIONS};
use crate::run_folder::RunFolder;
use crate::sam::{Sam, Settings};

/// Invokes every function with its events, and checks the results and what SNS got.
#[allow(clippy::print_stdout, reason = "it talks to a person at a terminal")]
pub(crate) async fn every_function(cloud: &Cloud, folder: &RunFolder, settings: &Settings<'_>) -> Result<()> {
    println!("sam local invoke");
    let batch = events::read("score-stream")?;
    for record in batch["Records"].as_array().into_iter().flatten() {
        let image = &record["dynamodb"]["NewImage"];
        // `submit` itself stores the submission of the first record.
        if image["sk"] != batch["Records"][0]["dynamodb"]["Keys"]["sk"] {
            cloud.put(image).await?;
        }
    }
    for function in cloud.functions() {
        if !INVOCATIONS.iter().any(|(name, ..)| *name == function.name) {
            return Err(format!("{} has no event in tests/sam-local/src/docker/events.rs", function.name).into());
        }
    }
    for &(function, name, status) in INVOCATIONS {
        let started = Instant::now();
        let answer = invoke(function, name, folder, settings).await?;
        let expected = match status {
            Some(status) => answer["statusCode"] == status,
            None => answer == json!({"batchItemFailures": []}) || answer["finished"] == true,
        };
        if !expected {
            return Err(format!("{function} answered {name} with {answer}").into());
        }
        let status = status.map_or("all records done".to_owned(), |status| status.to_string());
        println!("  {function} {name}: {status} ({:.1} s)", started.elapsed().as_secs_f32());
    }
    match cloud.inbox().await?.len() {
        2 => println!("  2 alerts reached SNS"),
        other => return Err(format!("{other} alerts reached SNS, and not 2").into()),
    }
    Ok(())
}

async fn invoke(function: &str, event: &str, folder: &RunFolder, settings: &Settings<'_>) -> Result<Value> {
    let file = Cloud::root().join(format!("tests/events/{event}.json"));
    let file = file.to_str().ok_or("the path of the repository is not UTF-8")?;
    let mut sam = Sam::start(folder, settings, function, &["invoke", function, "--event", file])?;
    sam.ended().await?;
    let answer = serde_json::from_slice(&sam.output()?);
    answer.map_err(|_| format!("sam local invoke {function} with {event}:\n{}", sam.log()).into())
}
