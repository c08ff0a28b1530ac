//! A day of the demonstration study on a local cloud whose clock is moved, with the real binaries.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

use std::process::{Command, Output};

const LOCAL: &str = env!("CARGO_BIN_EXE_local");

fn simulate(options: &[&str]) -> Output {
    let output = Command::new(LOCAL).args(["simulate-day", "--port", "0", "--quiet"]).args(options).output();
    output.expect("the binary is built")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The numbers of a line of the report.
fn numbers(report: &str, line: &str) -> Vec<u64> {
    let found = report.lines().find(|found| found.trim_start().starts_with(line));
    let found = found.unwrap_or_else(|| unreachable!("no line {line}: {report}"));
    found.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

#[test]
fn a_day_passes_as_planned_and_each_kind_of_outcome_is_in_it() {
    let output = simulate(&["--patients", "24", "--seed", "3"]);
    let (report, errors) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{report}{errors}");
    assert!(report.contains("everything is as expected"), "{report}");
    let total = numbers(&report, "total");
    assert_eq!(total, numbers(&report, "expected"), "{report}");
    assert!(total.len() == 5 && total.iter().all(|number| *number > 0), "{report}");
    for site in ["S01", "S02"] {
        assert!(numbers(&report, site).iter().all(|number| *number > 0), "{report}");
    }
    let raised = |schedule: &str| {
        let line = report.lines().find(|line| line.starts_with(schedule)).unwrap_or_default();
        let word = line.split_whitespace().find_map(|word| word.parse::<u64>().ok());
        word.unwrap_or_default()
    };
    assert!(raised("daily") > 0 && raised("weekly") > 0, "{report}");
}

#[test]
fn a_day_that_the_clock_is_past_is_refused_and_a_data_folder_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let data = data.to_str().expect("UTF-8");
    let output = simulate(&["--patients", "6", "--seed", "1", "--data", data]);
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    let report = text(&output.stdout);
    let day = report.split([' ', ':']).nth(1).unwrap_or_default().to_owned();

    let again = simulate(&["--patients", "2", "--data", data, "--date", &day]);
    assert_eq!((again.status.code(), again.stdout.len()), (Some(2), 0));
    let message = text(&again.stderr);
    assert!(message.contains(&format!("the day {day} is too early")), "{message}");
    // Other patients, later; those of the first day are silent meanwhile.
    let later = simulate(&["--patients", "2", "--seed", "2", "--data", data]);
    assert_eq!(later.status.code(), Some(0), "{}{}", text(&later.stdout), text(&later.stderr));
}
