//! The instructions that CI watches: a start, a warm submission, a scored record.

use bytes::Bytes;

use super::{Bench, require_success};
use crate::runtime_api::{Environment, Program};
use crate::{Fault, bounds, callgrind, events};

/// What is watched, as `bounds.json` names it.
pub const NAMES: [&str; 4] = ["submit: start", "submit: first call", "submit: warm call", "score: record of 100"];

/// Calls in the shorter and in the longer run: their difference is without start and first call.
const CALLS: [u64; 2] = [20, 120];
const BATCHES: [u64; 2] = [1, 4];
/// The records of a batch.
pub const BATCH: u64 = 100;

/// Counts them. Each has its name and its instructions.
///
/// # Errors
/// If a function does not start or does not answer.
pub async fn measure(bench: &Bench) -> Result<Vec<(&'static str, u64)>, Fault> {
    let submit = bench.function("submit");
    let start = calls(bench, &submit, "submit-start", 0).await?;
    let first = calls(bench, &submit, "submit-first", 1).await?;
    let warm = warm_call(bench, &submit).await?;
    let record = score_record(bench, BATCH, BATCHES).await?;
    let counts = [start, first - start, warm, record];
    Ok(NAMES.into_iter().zip(counts).collect())
}

/// Compares them with the bounds, prints each, and returns whether all are within.
///
/// # Errors
/// As [`measure`], and if the bounds cannot be read.
pub async fn section(bench: &Bench, planted: bool) -> Result<bool, Fault> {
    let bounds = bounds::read()?;
    let mut all_within = true;
    for (name, measured) in measure(bench).await? {
        // As if a change had added 6 %.
        let measured = if planted { measured + measured * 6 / 100 } else { measured };
        let (line, within) = bounds::judge(&bounds, name, measured);
        println!("{line}");
        all_within &= within;
    }
    Ok(all_within)
}

/// The instructions for one record in batches of `size`: the difference between two numbers of batches.
pub(super) async fn score_record(bench: &Bench, size: u64, batches: [u64; 2]) -> Result<u64, Fault> {
    let score = bench.function("score");
    let batch = records(bench, size).await?;
    let mut counts = [0; 2];
    for (count, times) in counts.iter_mut().zip(batches) {
        let out = callgrind::out(&bench.work, &format!("score-{size}-{times}"));
        *count = callgrind::count(&score, &bench.variables, &bench.work, &out, async |environment| {
            for _ in 0..times {
                require_all_done(&environment.invoke(batch.clone()).await?)?;
            }
            Ok(())
        })
        .await?;
    }
    Ok((counts[1] - counts[0]) / ((batches[1] - batches[0]) * size))
}

/// A batch of the stream with `size` submissions, as `submit` has put them.
pub(super) async fn records(bench: &Bench, size: u64) -> Result<Bytes, Fault> {
    bench.aws.clear();
    bench.aws.keep(true);
    let mut submit = bench.start(&bench.function("submit")).await?;
    let mut submissions = events::Submissions::new()?;
    for _ in 0..size {
        require_success("submit", &submit.invoke(submissions.next_patient()).await?)?;
    }
    submit.end().await?;
    let batch = events::batch(&bench.aws.sent());
    bench.aws.keep(false);
    bench.aws.clear();
    Ok(batch)
}

/// The error names what `score` has not done of a batch.
pub(super) fn require_all_done(answer: &[u8]) -> Result<(), Fault> {
    if answer == br#"{"batchItemFailures":[]}"# {
        return Ok(());
    }
    Err(Fault::Wrong(format!("score has not done all records: {}", String::from_utf8_lossy(answer))))
}

/// The instructions of a warm submission in `program`: the difference between two numbers of calls.
pub(super) async fn warm_call(bench: &Bench, program: &Program) -> Result<u64, Fault> {
    let few = calls(bench, program, &format!("{}-few", program.name), CALLS[0]).await?;
    let many = calls(bench, program, &format!("{}-many", program.name), CALLS[1]).await?;
    Ok((many - few) / (CALLS[1] - CALLS[0]))
}

async fn calls(bench: &Bench, program: &Program, name: &str, calls: u64) -> Result<u64, Fault> {
    bench.aws.clear();
    let mut submissions = events::Submissions::new()?;
    let out = callgrind::out(&bench.work, name);
    callgrind::count(program, &bench.variables, &bench.work, &out, async |environment: &mut Environment| {
        for _ in 0..calls {
            require_success("submit", &environment.invoke(submissions.next_event()).await?)?;
        }
        Ok(())
    })
    .await
}
