//! The report of a surge.

use std::fmt::Write;
use std::time::Duration;

use serde_json::Value;

use super::Verdict;
use super::checks::Findings;
use super::kills::Killed;
use super::phones::{Sent, TRIES};

/// Broken promises that are listed one by one.
const LISTED: usize = 20;

/// What was done and measured.
pub(super) struct Figures<'a> {
    pub(super) patients: usize,
    pub(super) connections: usize,
    pub(super) sent: &'a Sent,
    pub(super) killed: Killed,
    /// The body of `GET /local/faults`.
    pub(super) faults: &'a Value,
}

/// The report and what it comes to.
pub(super) fn render(figures: &Figures<'_>, findings: &Findings) -> (String, Verdict) {
    let kept = findings.broken.is_empty() && findings.different.is_empty();
    let verdict = if kept { Verdict::Kept } else { Verdict::Broken };
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut text, figures, findings);
    (text, verdict)
}

fn write(text: &mut String, figures: &Figures<'_>, findings: &Findings) -> std::fmt::Result {
    let Figures { patients, connections, sent, killed, faults } = figures;
    writeln!(text, "{patients} submissions by {connections} connections")?;
    writeln!(text, "  accepted within {TRIES} tries: {} ({})", sent.at_first, share(sent.at_first, *patients))?;
    let in_the_end = sent.results.iter().filter(|result| result.is_ok()).count();
    writeln!(text, "  accepted in the end: {in_the_end}")?;
    let seconds = sent.took.as_secs_f64();
    writeln!(text, "  a second: {:.1} in {seconds:.1} s", sent.at_first as f64 / seconds.max(f64::MIN_POSITIVE))?;
    writeln!(
        text,
        "  answers: p50 {}, p99 {}, longest {}",
        quantile(&sent.answers, 50),
        quantile(&sent.answers, 99),
        quantile(&sent.answers, 100)
    )?;
    let by_status: Vec<String> = sent.by_status.iter().map(|(status, count)| format!("{status}: {count}")).collect();
    writeln!(text, "  by status: {}", by_status.join(", "))?;
    writeln!(text, "  retries: {}", sent.retries)?;
    match findings.scored_after {
        Some(after) => writeln!(text, "  scored: all {:.1} s after the last answer", after.as_secs_f64())?,
        None => writeln!(text, "  scored: not all that was accepted")?,
    }
    let Findings { stored, scored, alerts, messages, repeated, changed, .. } = findings;
    writeln!(text, "  stored: {stored}, scored: {scored}, alerts: {alerts} in {messages} messages")?;
    writeln!(text, "  API calls: {} answered, {} counted", findings.calls_answered, findings.calls_counted)?;
    if findings.given_up > 0 {
        writeln!(text, "  batches that the stream gave up and the sweep took over: {}", findings.given_up)?;
    }
    if killed.functions > 0 || killed.clouds > 0 {
        writeln!(text, "  killed: {} function processes, the local cloud {} times", killed.functions, killed.clouds)?;
    }
    for (service, counts) in faults.as_object().into_iter().flatten() {
        let Some(kinds) = counts["faults"].as_object() else { continue };
        let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        writeln!(text, "  faults, {service}: {} requests; {}", counts["requests"], kinds.join(", "))?;
    }
    writeln!(text, "checked: {repeated} sent again, {changed} with other answers, every score, alert and count")?;
    writeln!(text, "recomputed from what is stored: {} submissions, of all patients", findings.recomputed)?;
    let broken = findings.broken.iter().map(|(promise, what)| format!("promise {promise}: {what}"));
    let broken: Vec<String> = broken.chain(findings.different.iter().cloned()).collect();
    if broken.is_empty() {
        return writeln!(text, "nothing lost, nothing twice");
    }
    writeln!(text, "BROKEN: {}", broken.len())?;
    for what in broken.iter().take(LISTED) {
        writeln!(text, "  {what}")?;
    }
    if broken.len() > LISTED {
        writeln!(text, "  and {} more", broken.len() - LISTED)?;
    }
    Ok(())
}

fn share(part: usize, whole: usize) -> String {
    format!("{:.2}%", 100.0 * part as f64 / whole.max(1) as f64)
}

/// The time within which this percentage of the sorted answers came.
fn quantile(sorted: &[Duration], percent: usize) -> String {
    let place = (sorted.len() * percent).div_ceil(100).max(1) - 1;
    sorted.get(place).map_or_else(|| "none".to_owned(), |took| format!("{:.3} s", took.as_secs_f64()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_the_times_within_which_that_many_answers_came() {
        let answers: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        let found = [50, 99, 100].map(|percent| quantile(&answers, percent));
        assert_eq!(found, ["0.100 s", "0.198 s", "0.200 s"]);
        assert_eq!((quantile(&answers[..1], 50), quantile(&[], 99)), ("0.001 s".to_owned(), "none".to_owned()));
    }
}
