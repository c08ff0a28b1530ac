//! A Lambda function that does what its event asks for, for the tests of environments.
#![allow(clippy::print_stderr, reason = "what it writes is a part of what is tested")]

use std::time::Duration;
use std::{env, fs, process};

use lambda_runtime::{Context, Error, LambdaEvent, run, service_fn};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    if let Ok(start) = env::var("START") {
        eprintln!("START is {start}");
        match start.as_str() {
            "exit" => process::exit(3),
            "fail" => return Err("no good".into()),
            _ => {}
        }
    }
    run(service_fn(handle)).await
}

/// The event itself, or the body of an HTTP request, names the action.
async fn handle(event: LambdaEvent<Value>) -> Result<Value, Error> {
    let LambdaEvent { payload, context } = event;
    if payload.get("requestContext").is_none() {
        return act(payload, context).await;
    }
    let body = payload["body"].as_str().and_then(|body| serde_json::from_str(body).ok());
    let answer = match body {
        Some(body) => act(body, context).await?,
        None => payload,
    };
    Ok(json!({"statusCode": 200, "headers": {"content-type": "application/json"}, "body": answer.to_string()}))
}

async fn act(event: Value, context: Context) -> Result<Value, Error> {
    // A file named after the process shows a test that this process has the event.
    if let Some(folder) = event["mark"].as_str() {
        fs::write(format!("{folder}/{}", process::id()), "")?;
    }
    match event["do"].as_str() {
        Some("report") => Ok(json!({
            "pid": process::id(),
            "requestId": context.request_id,
            "deadline": context.deadline,
            "arn": context.invoked_function_arn,
            "trace": context.xray_trace_id,
            "environment": env::vars().collect::<std::collections::BTreeMap<_, _>>(),
        })),
        // A file releases the function, so that the test does not depend on timing.
        Some("wait") => {
            let file = event["for"].as_str().unwrap_or_default().to_owned();
            while !std::path::Path::new(&file).exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Ok(json!({"pid": process::id()}))
        }
        Some("hang") => std::future::pending().await,
        Some("exit") => process::exit(7),
        Some("error") => Err("it went wrong".into()),
        #[expect(clippy::panic, reason = "it is what the event asks for")]
        Some("panic") => panic!("it went very wrong"),
        Some("much") => Ok(json!("x".repeat(7 * 1024 * 1024))),
        _ => Ok(event),
    }
}
