//! `submit` beside the same route in other languages, and beside two floors.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::watch::warm_call;
use super::{Bench, Figures, megabytes, table};
use crate::measure::figure;
use crate::runtime_api::Program;
use crate::{Fault, document, events};

/// Calls before and while a warm call is measured: enough for compilers that learn while a program runs.
const WARMING: usize = 400;
const WARM: u32 = 400;

/// The programs in Rust come first. Valgrind counts their instructions; it does not run those of Node and Go well.
const IN_RUST: usize = 3;

/// What a program answered and sent, without what differs from run to run.
#[derive(Debug, PartialEq)]
struct Behaviour {
    answers: Vec<Value>,
    /// The attributes of the item that it put, and of the maps in it, with their types.
    item: BTreeMap<String, String>,
    /// The writes for each answer.
    calls: Vec<Vec<String>>,
}

/// Checks that all do the same, measures them, and returns the section.
///
/// # Errors
/// If one does otherwise than `submit`.
pub async fn section(bench: &Bench) -> Result<String, Fault> {
    let programs = programs(bench)?;
    let expected = behaviour(bench, &programs[0].1).await?;
    for (_, peer) in &programs[1..] {
        let behaviour = behaviour(bench, peer).await?;
        if behaviour != expected {
            let name = &peer.name;
            return Err(Fault::Wrong(format!(
                "{name} does otherwise than submit:\n{behaviour:#?}\nsubmit:\n{expected:#?}"
            )));
        }
    }
    let mut figures: Vec<Figures> = programs.iter().map(|_| Figures::default()).collect();
    for _ in 0..bench.rounds {
        for ((_, program), figures) in programs.iter().zip(&mut figures) {
            let mut submissions = events::Submissions::new()?;
            figures.add_run(bench, program, (WARMING, WARM), || submissions.next_event()).await?;
        }
    }
    let submit = &figures[0];
    let mut text = format!(
        "## Peers\n\n{} {}.\n\n`POST /v1/submissions` as `submit` has it, and as a program of its own in other languages: \
         claims, body and answers validated, one conditional put, one line logged. The call of a submission that is \
         stored is counted with its score, that of a repeat, a conflict or an invalid one by a transaction. Before they \
         are measured, each gives the answers of `submit` to the same events (202, 200 to a repeat with the same \
         receipt, 409, 422 with the same findings), puts an item of the same attributes and makes the same calls for \
         each. Processor time in ms, user and system, median (least–most) of {} interleaved runs; a warm call is the \
         mean of {WARM} after {WARMING}. *Times* is `submit`'s figure as a multiple of this one's; instructions are \
         those of a warm call, by callgrind.\n\n",
        document::provenance(),
        document::languages(),
        bench.rounds,
    );
    let mut rows = Vec::new();
    for (place, ((what, program), own)) in programs.iter().zip(&figures).enumerate() {
        let instructions = match place < IN_RUST {
            true => figure(warm_call(bench, program).await? as f64 / 1e6),
            false => String::new(),
        };
        rows.push(vec![
            (*what).to_owned(),
            own.start.to_string(),
            figure(submit.start.times(&own.start)),
            own.first.to_string(),
            figure(submit.first.times(&own.first)),
            own.warm.to_string(),
            figure(submit.warm.times(&own.warm)),
            instructions,
            figure(own.resident.median()),
            figure(megabytes(&program.artefact)?),
        ]);
    }
    let head = [
        "",
        "start",
        "times",
        "first call",
        "times",
        "warm call",
        "times",
        "million instructions",
        "resident MB",
        "MB deployed",
    ];
    text += &table(&head, rows);
    text += "\nThe services here are reached without TLS. `submit` also has four more routes, every instrument, studies, \
             metrics and deadlines. Python and Node are measured with their runtimes: AWS's own client for Python, and \
             for Node a loop over the Runtime API of some thirty lines, which costs less than AWS's. Their runtimes are \
             not in *MB deployed*, because Lambda has them.\n";
    Ok(text)
}

/// What is measured: `submit` first.
fn programs(bench: &Bench) -> Result<Vec<(&'static str, Program)>, Fault> {
    let peer = |name: &str, command: &[&str]| {
        let folder = bench.peers.join(name);
        let command = command.iter().map(|part| part.replace("DIR", &folder.display().to_string()).into()).collect();
        Program { name: name.to_owned(), command, variables: BTreeMap::new(), artefact: folder.join("deployed") }
    };
    let go = peer("go", &["DIR/deployed/bootstrap"]);
    let node = peer("node", &["node", "DIR/runtime.mjs", "DIR/deployed/index.mjs"]);
    let mut python = peer("python", &["DIR/python/bin/python", "-m", "awslambdaric", "handler.handler"]);
    python.variables.insert("PYTHONPATH".to_owned(), python.artefact.display().to_string());
    python.variables.insert("PYTHONDONTWRITEBYTECODE".to_owned(), "1".to_owned());
    let all = vec![
        ("`submit`", bench.function("submit")),
        ("floor: Rust without SDK, blocking, signed by hand", bench.function("floor")),
        ("the floor on Lambda's runtime for Rust and hyper", bench.function("floor-on-runtime")),
        ("Go: aws-lambda-go, SDK v2", go),
        ("Node: SDK v3, bundled by esbuild", node),
        ("Python: awslambdaric, boto3", python),
    ];
    let here: Vec<_> = all.into_iter().filter(|(_, program)| program.artefact.exists()).collect();
    match here.len() {
        6 => Ok(here),
        _ => Err(Fault::Wrong("a peer is not built: tests/bench/run builds them".to_owned())),
    }
}

async fn behaviour(bench: &Bench, program: &Program) -> Result<Behaviour, Fault> {
    bench.aws.clear();
    let mut environment = bench.start(program).await?;
    let (mut answers, mut calls, mut item) = (Vec::new(), Vec::new(), BTreeMap::new());
    for event in ["submit-post", "submit-post", "submit-post-conflict", "submit-post-invalid"] {
        bench.aws.keep(true);
        let answer = environment.invoke(events::of_file(event)?).await?;
        let sent = bench.aws.sent();
        let stored = sent.iter().find(|call| call.operation == "PutItem").filter(|_| calls.is_empty());
        if let Some(put) = stored {
            add_kinds("", &put.body["Item"], &mut item);
        }
        let operations = sent.into_iter().map(|call| call.operation);
        calls.push(operations.filter(|one| ["PutItem", "TransactWriteItems"].contains(&one.as_str())).collect());
        answers.push(serde_json::from_slice(&answer).map_err(|error| Fault::Wrong(error.to_string()))?);
    }
    bench.aws.keep(false);
    environment.end().await?;
    Ok(Behaviour { answers: comparable(&answers), item, calls })
}

/// Adds the attributes in `map` to `kinds`, by their names after `path`, each with its type.
fn add_kinds(path: &str, map: &Value, kinds: &mut BTreeMap<String, String>) {
    for (name, value) in map.as_object().into_iter().flatten() {
        let name = format!("{path}{name}");
        for (kind, value) in value.as_object().into_iter().flatten() {
            if kind == "M" {
                add_kinds(&format!("{name}."), value, kinds);
            }
            kinds.insert(name.clone(), kind.clone());
        }
    }
}

/// The answers without times, and with the receipts of the first and of its repeat reduced to whether they are the same.
fn comparable(answers: &[Value]) -> Vec<Value> {
    let body =
        |answer: &Value| serde_json::from_str::<Value>(answer["body"].as_str().unwrap_or_default()).unwrap_or_default();
    let first = answers.first().map(body).unwrap_or_default();
    let reduced = |answer: &Value| {
        let body = body(answer);
        let headers = &answer["headers"];
        let errors = body["errors"].as_array().into_iter().flatten();
        let mut errors: Vec<Value> = errors.map(|error| json!([error["pointer"], error["code"]])).collect();
        errors.sort_by_key(Value::to_string);
        json!({
            "status": answer["statusCode"],
            "contentType": headers["content-type"],
            "correlationId": headers["x-correlation-id"],
            "location": headers["location"],
            "sameReceipt": body == first,
            "receipt": [body["id"], body["status"], body["instrument"], body["version"], body["receivedAt"].is_string()],
            "type": body["type"],
            "errors": errors,
        })
    };
    answers.iter().map(reduced).collect()
}
