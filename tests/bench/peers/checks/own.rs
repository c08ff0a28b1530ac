//! The edit checks of the project beside those of other libraries: `edit-checks ROWS REPETITIONS` prints what it found and
//! the processor time that each repetition took.
#![allow(clippy::print_stdout, reason = "its output is read by the ledger")]

use std::error::Error;
use std::time::Duration;

use bench::text;
use clinical::forms::{Batch, CheckContext, FindingSource, Form, Notation, Register, Workers};
use nix::time::ClockId;
use serde_json::json;

/// 2027-01-15, after all dates but those that are planted.
const NOW: i64 = 1_800_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, rows, repetitions] = &arguments[..] else { return Err("usage: edit-checks ROWS REPETITIONS".into()) };
    let rows = std::fs::read(rows)?;
    let form = Form::parse(&text("tests/bench/peers/checks/form.json")?).map_err(|faults| format!("{faults:?}"))?;
    let subjects = Register::Known((0..500).map(|subject| format!("S-{subject:04}")).collect());
    let sites = Register::Known(["S-0001".to_owned()].into());
    let context = CheckContext { now: NOW, sites, subjects };
    let (mut read_ms, mut check_ms, mut findings) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..repetitions.parse::<usize>()? {
        let start = cpu()?;
        let batch = Batch::read(&rows, Notation::Json)?;
        let read = cpu()?;
        let report = form.check(&batch, &context, Workers::new(1)).map_err(|_| "it was stopped")?;
        let checked = cpu()?;
        read_ms.push((read - start).as_secs_f64() * 1_000.0);
        check_ms.push((checked - read).as_secs_f64() * 1_000.0);
        findings.clear();
        for (row, of_row) in report.rows.iter().enumerate() {
            for finding in &of_row.findings {
                findings.push(match finding.check {
                    FindingSource::Check(check) => json!([row, form.definition().checks[check].id.as_str()]),
                    other => json!([row, format!("{other:?}")]),
                });
            }
        }
    }
    println!("{}", json!({"readMs": read_ms, "checkMs": check_ms, "findings": findings}));
    Ok(())
}

fn cpu() -> Result<Duration, nix::Error> {
    ClockId::CLOCK_PROCESS_CPUTIME_ID.now().map(Duration::from)
}
