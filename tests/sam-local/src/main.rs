//! Invokes every function with `sam local invoke`, in Docker, with the events of `tests/events`, and checks results.
//! Arguments are passed to `sam local invoke`: `--skip-pull-image`, for example, if the image is already present.
#![allow(clippy::print_stdout, reason = "it talks to a person at a terminal")]

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fs, io};

use sam_local::{Cloud, DYNAMODB, SNS};
use serde_json::{Value, json};
use tokio::time::Instant;

/// Function, event and expected status; `None`: a batch or a run without failures.
const INVOCATIONS: &[(&str, &str, Option<u16>)] = &[
    ("SubmitFunction", "submit-post", Some(202)),
    ("SubmitFunction", "submit-post", Some(200)),
    ("SubmitFunction", "submit-post-conflict", Some(409)),
    ("SubmitFunction", "submit-post-invalid", Some(422)),
    ("SubmitFunction", "submit-post-batch", Some(207)),
    ("SubmitFunction", "submit-get", Some(200)),
    ("SubmitFunction", "submit-post-fhir", Some(202)),
    ("SubmitFunction", "submit-post-correction", Some(202)),
    ("SubmitFunction", "submit-post-fhir-invalid", Some(422)),
    ("SubmitFunction", "submit-get-questionnaire", Some(200)),
    ("ScoreFunction", "score-stream", None),
    ("SubmitFunction", "submit-get-staff", Some(200)),
    ("CountsFunction", "counts-post-call", Some(202)),
    ("CountsFunction", "counts-get", Some(200)),
    ("CountsFunction", "counts-get-site", Some(200)),
    ("InstrumentsFunction", "instruments-get", Some(200)),
    ("InstrumentsFunction", "instruments-get-one", Some(200)),
    ("PatientsFunction", "patients-get", Some(200)),
    ("AuditFunction", "audit-get", Some(200)),
    ("AlertsFunction", "alerts-get", Some(200)),
    ("AlertsFunction", "alerts-acknowledge", Some(200)),
    ("SweepFunction", "sweep-schedule", None),
    ("ReconcileFunction", "reconcile-schedule", None),
    ("ValidateFunction", "validate-post", Some(200)),
    ("ValidateFunction", "validate-post-invalid", Some(422)),
    ("ReportFunction", "report-get", Some(200)),
];

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Result<()> {
    let (cloud, host) = reachable_from_containers().await?;
    let events = Cloud::root().join("tests/events");
    let batch = event(&events.join("score-stream.json"))?;
    for record in batch["Records"].as_array().into_iter().flatten() {
        let image = &record["dynamodb"]["NewImage"];
        // `submit` itself stores the submission of the first record.
        if image["sk"] != batch["Records"][0]["dynamodb"]["Keys"]["sk"] {
            cloud.put(image).await?;
        }
    }
    let environment = environment(&cloud, &host)?;
    let template = template()?;
    for &(function, name, status) in INVOCATIONS {
        let started = Instant::now();
        let answer = invoke(function, &events.join(format!("{name}.json")), environment.path(), template.path())?;
        let expected = match status {
            Some(status) => answer["statusCode"] == status,
            None => answer == json!({"batchItemFailures": []}) || answer["finished"] == true,
        };
        if !expected {
            return Err(format!("{function} answered {name} with {answer}").into());
        }
        let status = status.map_or("all records done".to_owned(), |status| status.to_string());
        println!("{function} {name}: {status} ({:.1} s)", started.elapsed().as_secs_f32());
    }
    match cloud.inbox().await?.len() {
        2 => println!("2 alerts reached SNS"),
        other => return Err(format!("{other} alerts reached SNS, and not 2").into()),
    }
    Ok(())
}

/// The services, and the name or address by which containers reach this machine. Where Docker runs on this machine, its
/// bridge has an address of it that nobody else can reach; Docker Desktop forwards a name to the loopback address.
async fn reachable_from_containers() -> Result<(Cloud, String)> {
    let inspect = ["network", "inspect", "bridge", "--format", "{{range .IPAM.Config}}{{.Gateway}}{{end}}"];
    let output = Command::new("docker").args(inspect).stderr(Stdio::inherit()).output()?;
    let bridge: Option<IpAddr> = String::from_utf8(output.stdout)?.trim().parse().ok();
    if let Some(bridge) = bridge {
        match Cloud::start(bridge).await {
            Ok(cloud) => return Ok((cloud, bridge.to_string())),
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok((Cloud::start(Ipv4Addr::LOCALHOST.into()).await?, "host.docker.internal".to_owned()))
}

/// A file for `--env-vars`: the functions' variables from the template, with `host` in the services' addresses.
fn environment(cloud: &Cloud, host: &str) -> Result<tempfile::NamedTempFile> {
    let functions = [
        "SubmitFunction",
        "ScoreFunction",
        "CountsFunction",
        "InstrumentsFunction",
        "PatientsFunction",
        "AuditFunction",
        "AlertsFunction",
        "SweepFunction",
        "ReconcileFunction",
        "ReportFunction",
    ]
    .map(|name| {
        let variables = cloud.function(name).map(|function| &function.environment).into_iter().flatten();
        let variables = variables.map(|(name, value)| (name, value.replace("127.0.0.1", host)));
        (name, variables.collect::<BTreeMap<_, _>>())
    });
    let file = tempfile::NamedTempFile::new()?;
    serde_json::to_writer(&file, &BTreeMap::from(functions))?;
    Ok(file)
}

/// The built template with the endpoint variables declared, because `sam local` passes only declared ones. The deployed
/// template has none of them. It is written beside the built one, whose paths are relative.
fn template() -> Result<tempfile::NamedTempFile> {
    let folder = Cloud::root().join(".aws-sam/build");
    let built = fs::read_to_string(folder.join("template.yaml"))?;
    let declared = |line: &str| {
        let indent = line.find("OPEN_STUDIES:")?;
        Some(format!("{line}\n{:indent$}{DYNAMODB}: ''\n{:indent$}{SNS}: ''\n", "", ""))
    };
    let text: String = built.lines().map(|line| declared(line).unwrap_or_else(|| format!("{line}\n"))).collect();
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    Ok(file)
}

fn invoke(function: &str, event: &Path, environment: &Path, template: &Path) -> Result<Value> {
    let output = Command::new("sam")
        .args(["local", "invoke", function, "--event"])
        .arg(event)
        .arg("--template")
        .arg(template)
        .arg("--env-vars")
        .arg(environment)
        .args(env::args_os().skip(1))
        .current_dir(Cloud::root())
        // Any credentials will do: nothing leaves this machine. By the key a request is known to be the function's.
        .envs([
            ("AWS_ACCESS_KEY_ID", function),
            ("AWS_SECRET_ACCESS_KEY", "local"),
            ("AWS_DEFAULT_REGION", "us-east-1"),
        ])
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("sam does not start: {e}: pip install aws-sam-cli"))?;
    serde_json::from_slice(&output.stdout)
        .map_err(|_| format!("sam local invoke {function}: {}", String::from_utf8_lossy(&output.stderr)).into())
}

fn event(file: &Path) -> Result<Value> {
    Ok(serde_json::from_str(&fs::read_to_string(file)?)?)
}
