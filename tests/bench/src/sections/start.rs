//! Start, first call and warm call of each function.

use std::fmt::Write;

use super::{Bench, Figures, megabytes, table};
use crate::measure::{Runs, figure};
use crate::quota::Quota;
use crate::runtime_api::Environment;
use crate::{Fault, document, events};

/// The functions, each with an event that it answers.
const FUNCTIONS: [(&str, &str); 15] = [
    ("submit", "submit-post"),
    ("score", "score-stream"),
    ("sweep", "sweep-schedule"),
    ("reconcile", "reconcile-schedule"),
    ("alerts", "alerts-get"),
    ("counts", "counts-get"),
    ("patients", "patients-get"),
    ("audit", "audit-get"),
    ("registry", "registry-put"),
    ("instruments", "instruments-get"),
    ("definitions", "definitions-put-instrument"),
    ("drafts", "drafts-put"),
    ("due", "due-get"),
    ("validate", "validate-post"),
    ("report", "report-get"),
];
const FLOOR: (&str, &str) = ("floor", "submit-post");
/// Calls before and while a warm call is measured.
const WARMING: usize = 20;
const WARM: u32 = 40;
/// The amounts of memory whose share of a processor is tried.
const MEMORIES: [u32; 2] = [128, 256];

/// Wall time to the first `/next`, and of the first call, with the quota of each amount of memory.
type Limited = [(Runs, Runs); MEMORIES.len()];

/// Measures it, and returns the section.
///
/// # Errors
/// If a function does not start or does not answer.
pub async fn section(bench: &Bench) -> Result<String, Fault> {
    let all: Vec<_> = [FLOOR].into_iter().chain(FUNCTIONS).collect();
    let mut figures: Vec<(Figures, Limited)> = all.iter().map(|_| Default::default()).collect();
    let mut no_quota = None;
    for _ in 0..bench.rounds {
        for ((name, event), (figures, limited)) in all.iter().zip(&mut figures) {
            unlimited(bench, name, event, figures).await?;
            for (megabytes, (start, first)) in MEMORIES.into_iter().zip(limited) {
                if no_quota.is_some() {
                    continue;
                }
                let quota = match Quota::of_memory(megabytes) {
                    Ok(quota) => quota,
                    Err(reason) => {
                        no_quota = Some(reason);
                        continue;
                    }
                };
                let program = bench.function(name);
                bench.aws.clear();
                let mut environment = Environment::start(&program, &bench.variables, &bench.work, Some(&quota)).await?;
                let until_next = environment.age();
                environment.invoke(events::of_file(event)?).await?;
                start.add_time(until_next);
                first.add_time(environment.age() - until_next);
                environment.end().await?;
            }
        }
    }
    let [(floor, limited_floor), (submit, _), ..] = figures.as_slice() else {
        return Err(Fault::Wrong("nothing was measured".to_owned()));
    };
    let mut text = format!(
        "## Start\n\n{}\n\nProcessor time in ms, user and system, median (least–most) of {} interleaved runs: from exec \
         to the first `/next`, with the connections of start-up; then of the first call, and of a warm call (mean of \
         {WARM} after {WARMING}). The services answer at once. *Times floor* is beside a program without SDK that does \
         nothing but the route of `submit`, *times submit* beside `submit`.\n\n",
        document::provenance(),
        bench.rounds
    );
    let mut rows = Vec::new();
    for ((name, _), (own, _)) in all.iter().zip(&figures) {
        rows.push(vec![
            format!("`{name}`"),
            figure(megabytes(&bench.function(name).artefact)?),
            own.start.to_string(),
            figure(own.start.times(&floor.start)),
            figure(own.start.times(&submit.start)),
            own.first.to_string(),
            own.warm.to_string(),
            figure(own.first.times(&own.warm)),
            figure(own.resident.median()),
        ]);
    }
    let head =
        ["", "MB", "start", "times floor", "times submit", "first call", "warm call", "first / warm", "resident MB"];
    text += &table(&head, rows);
    match no_quota {
        Some(reason) => {
            let _infallible = write!(text, "\nNot measured with a quota of processor time: {reason}.\n");
        }
        None => {
            text += "\nWall time in ms with the share of a processor that Lambda gives a function of so much memory, by a \
                     control group with periods of 20 ms. Lambda itself gives the start a whole processor; the first \
                     call has only the share. `reconcile` waits before it reads something again.\n\n";
            let rows = all.iter().zip(&figures).map(|((name, _), (_, limited))| {
                let mut row = vec![format!("`{name}`")];
                for ((start, first), of_floor) in limited.iter().zip(limited_floor) {
                    row.extend([start.to_string(), figure(start.times(&of_floor.0)), first.to_string()]);
                }
                row
            });
            let head = ["", "128 MB: start", "times floor", "first call", "256 MB: start", "times floor", "first call"];
            text += &table(&head, rows);
        }
    }
    Ok(text)
}

async fn unlimited(bench: &Bench, name: &str, event: &str, figures: &mut Figures) -> Result<(), Fault> {
    let event = events::of_file(event)?;
    let mut submissions = events::Submissions::new()?;
    let is_submission = matches!(name, "submit" | "floor");
    let next = || if is_submission { submissions.next_event() } else { event.clone() };
    figures.add_run(bench, &bench.function(name), (WARMING, WARM), next).await
}
