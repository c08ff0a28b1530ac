//! Renders the report of a generated site to a file, and prints how long that takes. From the workspace root:
//!
//! `cargo run --example sample_report -- [FILE] [PATIENTS] [DAYS] [LANGUAGE] [INSTRUMENT]...`
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "it is run by a person at a terminal")]

#[path = "../tests/sample/mod.rs"]
#[allow(dead_code, reason = "tests use the rest")]
mod sample;

use clinical::studies::Protocol;
use report::period::{ReportPeriod, Zone};
use report::render::{self, Heading, Language};
use report::statistics::{SitePlan, statistics};
use time::macros::datetime;
use tokio::time::Instant;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument =
        |index: usize, default: &'static str| arguments.get(index).map_or(default, String::as_str).to_owned();
    let (patients, days) = (argument(1, "3").parse().unwrap(), argument(2, "30").parse().unwrap());
    let mut instruments: Vec<&str> = arguments.iter().skip(4).map(String::as_str).collect();
    if instruments.is_empty() {
        instruments.push("phq-9");
    }
    let data = sample::site(patients, days, &instruments);
    let now = datetime!(2026-11-24 07:58 UTC);
    let period = ReportPeriod::parse(Some("2026-10-25"), Some("2026-11-23"), now, Zone::utc()).unwrap();
    let protocol = Protocol::of_no_study();
    let first = instruments[0].parse().unwrap();
    let plan = SitePlan { protocol: &protocol, intervals: [(&first, 1)].into(), scheduled: [].into() };

    let start = Instant::now();
    let statistics = statistics(&data, &plan, &period, now.date());
    let (computed, expected) = (start.elapsed(), render::expected_duration(&statistics));
    let heading = Heading {
        study: "DEMO · A sample study",
        site: "S01",
        plan: &plan,
        period: &period,
        generated_at: now,
        hash: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        language: Language::of(&argument(3, "en")),
    };
    let start = Instant::now();
    let pdf = render::render(&heading, &statistics, || true).unwrap();
    println!(
        "statistics {computed:.1?}, render {:.1?} (expected {expected:.1?}), {} bytes",
        start.elapsed(),
        pdf.len()
    );
    std::fs::write(argument(0, "report.pdf"), pdf).unwrap();
}
