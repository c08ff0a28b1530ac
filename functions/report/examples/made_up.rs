//! The report of a made-up site, to look at, and how long it takes: `made_up FILE [PATIENTS] [DAYS] [LANGUAGE] [INSTRUMENT]...`
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "it talks to a person at a terminal")]

#[path = "../tests/made_up/mod.rs"]
#[allow(dead_code, reason = "tests use more of it")]
mod made_up;

use clinical::studies::Protocol;
use report::period::{Period, Zone};
use report::render::{self, Heading, Language};
use report::statistics::{Asked, statistics};
use time::macros::datetime;
use tokio::time::Instant;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |place: usize, usual: &'static str| arguments.get(place).map_or(usual, String::as_str).to_owned();
    let (patients, days) = (argument(1, "3").parse().unwrap(), argument(2, "30").parse().unwrap());
    let mut instruments: Vec<&str> = arguments.iter().skip(4).map(String::as_str).collect();
    if instruments.is_empty() {
        instruments.push("phq-9");
    }
    let data = made_up::site(patients, days, &instruments);
    let now = datetime!(2026-11-24 07:58 UTC);
    let period = Period::read(Some("2026-10-25"), Some("2026-11-23"), now, Zone::utc()).unwrap();
    let protocol = Protocol::of_no_study();
    let first = instruments[0].parse().unwrap();
    let asked = Asked { protocol: &protocol, schedule: [(&first, 1)].into() };

    let start = Instant::now();
    let statistics = statistics(&data, &asked, &period, now.date());
    let (counted, expected) = (start.elapsed(), render::expected(&statistics));
    let heading = Heading {
        study: "DEMO · A study of nothing in particular",
        site: "S01",
        asked: &asked,
        period: &period,
        generated_at: now,
        hash: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        language: Language::of(&argument(3, "en")),
    };
    let start = Instant::now();
    let pdf = render::render(&heading, &statistics, || true).unwrap();
    println!("statistics {counted:.1?}, render {:.1?} (expected {expected:.1?}), {} bytes", start.elapsed(), pdf.len());
    std::fs::write(argument(0, "report.pdf"), pdf).unwrap();
}
