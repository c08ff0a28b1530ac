//! What a record costs `score`, by the size of its batch.

use super::watch::{records, require_all_done, score_record};
use super::{Bench, table};
use crate::measure::{Runs, figure};
use crate::{Fault, document};

/// Sizes of batches, with the number of batches whose mean is one figure, and the numbers that are counted.
const SIZES: [(u64, u32, [u64; 2]); 3] = [(1, 200, [10, 60]), (10, 40, [2, 12]), (100, 10, [1, 4])];

/// Measures it, and returns the section.
///
/// # Errors
/// If a record is not scored.
pub async fn section(bench: &Bench) -> Result<String, Fault> {
    let score = bench.function("score");
    let mut times = SIZES.map(|_| Runs::default());
    let mut calls = SIZES.map(|_| String::new());
    for _ in 0..bench.rounds {
        for ((size, batches, _), (times, calls)) in SIZES.iter().zip(times.iter_mut().zip(&mut calls)) {
            let batch = records(bench, *size).await?;
            let mut environment = bench.start(&score).await?;
            for _ in 0..(*batches / 2).max(2) {
                require_all_done(&environment.invoke(batch.clone()).await?)?;
            }
            bench.aws.take_calls();
            let before = environment.cpu()?;
            for _ in 0..*batches {
                require_all_done(&environment.invoke(batch.clone()).await?)?;
            }
            let per_record =
                (environment.cpu()? - before).as_secs_f64() * 1_000.0 / (f64::from(*batches) * *size as f64);
            times.add(per_record);
            let of_batch = |count: u64| figure(count as f64 / f64::from(*batches));
            let made = bench.aws.take_calls();
            *calls =
                made.iter().map(|(name, count)| format!("{} {name}", of_batch(*count))).collect::<Vec<_>>().join(", ");
            environment.end().await?;
        }
    }
    let mut rows = Vec::new();
    for ((size, _, counted), (times_of_size, calls)) in SIZES.iter().zip(times.iter().zip(&calls)) {
        let instructions = score_record(bench, *size, *counted).await?;
        rows.push(vec![
            size.to_string(),
            times_of_size.to_string(),
            figure(times_of_size.times(&times[0])),
            figure(instructions as f64 / 1e6),
            calls.clone(),
        ]);
    }
    let mut text = format!(
        "## Score\n\n{}\n\nOne record of a batch in the binary of `score`, with records as `submit` puts them: a PHQ-9 of \
         another patient each, of four sites, one in six with an alert, which is published. Processor time in ms, median \
         (least–most) of {} interleaved runs; instructions by callgrind, from the difference of two numbers of batches.\n\n",
        document::provenance(),
        bench.rounds
    );
    let head =
        ["records in a batch", "ms a record", "times a batch of 1", "million instructions a record", "calls a batch"];
    text += &table(&head, rows);
    Ok(text)
}
