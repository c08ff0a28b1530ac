//! Edit checks beside those of other libraries, on the same rows.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::process::Command;

use super::{Bench, table};
use crate::measure::{Runs, figure};
use crate::{Fault, document};

const ROWS: usize = 20_000;
const CHECKS: usize = 12;
/// One row in so many has something wrong.
const FAULT_EVERY: usize = 50;
/// Repetitions in one process, and how many of them come before those that count: compilers learn while a program runs.
const REPETITIONS: usize = 8;
const WARMING: usize = 3;

/// What a program prints.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Output {
    read_ms: Vec<f64>,
    check_ms: Vec<f64>,
    findings: Vec<(usize, String)>,
}

#[derive(Default)]
struct Figures {
    read: Runs,
    check: Runs,
}

/// Checks that all find the same, measures them, and returns the section.
///
/// # Errors
/// If one finds something else.
pub async fn section(bench: &Bench) -> Result<String, Fault> {
    let rows = bench.work.join("rows.json");
    std::fs::write(&rows, rows_with_faults().to_string()).map_err(Fault::io("the rows"))?;
    let peers = bench.peers.join("checks");
    let path = |name: &str| peers.join(name).display().to_string();
    let own = bench.bootstraps.join("edit-checks").display().to_string();
    let python = path("python/bin/python");
    let programs: [(&str, Vec<String>); 4] = [
        ("`shared/clinical`, from a form in JSON", vec![own]),
        ("Go, written by hand", vec![path("checks-in-go")]),
        ("ajv (Node)", vec!["node".to_owned(), path("ajv.mjs")]),
        ("pandera (Python, on pandas)", vec![python, path("pandera_checks.py")]),
    ];
    let mut figures: [Figures; 4] = Default::default();
    let mut expected: Option<BTreeSet<(usize, String)>> = None;
    for _ in 0..bench.rounds {
        for ((name, command), figures) in programs.iter().zip(&mut figures) {
            let output = run(command, &rows).await?;
            let findings: BTreeSet<_> = output.findings.into_iter().collect();
            let expected = expected.get_or_insert_with(|| findings.clone());
            if *expected != findings {
                let other: Vec<_> = expected.symmetric_difference(&findings).take(20).collect();
                return Err(Fault::Wrong(format!("{name} finds otherwise: {other:?}")));
            }
            let mean = |times: &[f64]| times[WARMING..].iter().sum::<f64>() / (times.len() - WARMING) as f64;
            figures.read.add(mean(&output.read_ms));
            figures.check.add(mean(&output.check_ms));
        }
    }
    let found = expected.map_or(0, |findings| findings.len());
    let of_check = |runs: &Runs| figure((ROWS * CHECKS) as f64 / runs.median() / 1_000.0);
    let together = |figures: &Figures| figures.read.median() + figures.check.median();
    let rows = programs.iter().zip(&figures).map(|((name, _), own)| {
        vec![
            (*name).to_owned(),
            own.read.to_string(),
            own.check.to_string(),
            of_check(&own.check),
            figure(figures[0].check.times(&own.check)),
            figure(together(&figures[0]) / together(own)),
        ]
    });
    let mut text = format!(
        "## Edit checks\n\n{} {}.\n\n{ROWS} rows of vital signs with {CHECKS} checks each (`peers/checks/form.json`), one row \
         in {FAULT_EVERY} with something wrong. All find the same {found} findings. Processor time in ms on one thread of \
         ours, user and system, median (least–most) of {} interleaved runs, each the mean of {} repetitions after \
         {WARMING} in one process. *Times* is the first line's figure as a multiple of this one's.\n\n",
        document::provenance(),
        document::languages(),
        bench.rounds,
        REPETITIONS - WARMING,
    );
    let head = ["", "reading", "checking", "million checks a second", "times, checking", "times, both"];
    text += &table(&head, rows);
    text += "\nOurs computes in decimals, the others in floating point, which is inexact at a limit. Ours also returns the \
             field, the value and the other rows of each finding, and what could not be evaluated and why; of the others \
             ajv returns the field and pandera the value.\n";
    Ok(text)
}

async fn run(command: &[String], rows: &Path) -> Result<Output, Fault> {
    let [program, arguments @ ..] = command else { return Err(Fault::Wrong("no command".to_owned())) };
    let output = Command::new(program)
        .args(arguments)
        .arg(rows)
        .arg(REPETITIONS.to_string())
        .output()
        .await
        .map_err(Fault::io(program.as_str()))?;
    let wrong = || Fault::Wrong(format!("{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr)));
    if !output.status.success() {
        return Err(wrong());
    }
    serde_json::from_slice(&output.stdout).map_err(|_| wrong())
}

/// Weights of 500 subjects at 40 visits, in pounds and in kilograms.
fn rows_with_faults() -> Value {
    let row = |row: usize| {
        let (subject, visit) = (row / 40, row % 40);
        let date = format!("20{:02}-{:02}-{:02}", 12 + visit / 12, visit % 12 + 1, subject % 28 + 1);
        let pounds = 1_500 + subject % 400 + visit % 7;
        let kilograms = (pounds as f64 * 4.535_923_7).round() / 100.0;
        let mut row_of_visit = json!({
            "STUDYID": "DEMO", "DOMAIN": "VS", "SITEID": "S-0001", "USUBJID": format!("S-{subject:04}"), "VSSEQ": visit,
            "VISITNUM": visit, "VSDTC": date, "VSTESTCD": "WEIGHT", "VSTEST": "Weight", "VSPOS": "STANDING",
            "VSORRES": format!("{}.{}", pounds / 10, pounds % 10), "VSORRESU": "LB", "VSSTAT": "",
            "VSSTRESN": kilograms, "VSSTRESU": "kg",
        });
        if row % FAULT_EVERY == 7 {
            plant(&mut row_of_visit, row);
        }
        row_of_visit
    };
    (0..ROWS).map(row).collect()
}

/// Puts one of eight faults into a row.
fn plant(row: &mut Value, number: usize) {
    match number / FAULT_EVERY % 8 {
        0 => row["VSORRES"] = "".into(),
        1 => row["VSORRESU"] = "".into(),
        2 => {
            row["VSORRES"] = "20.0".into();
            row["VSSTRESN"] = 9.07.into();
        }
        3 => row["VSSTRESN"] = 99.5.into(),
        4 => row["VSDTC"] = "2031-05-06".into(),
        5 => row["VISITNUM"] = (number % 40 + 1).into(),
        6 => row["SITEID"] = "S-9999".into(),
        _ => row["USUBJID"] = format!("X-{number}").into(),
    }
}
