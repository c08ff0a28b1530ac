//! Checking of batches: each row by itself, then several rows together.

use std::collections::BTreeSet;
use std::hash::RandomState;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::across::{self, GroupVerdict, SHARES};
use super::batch::{Batch, Row};
use super::context::{CheckContext, Register};
use super::form::Form;
use super::program::LoadedRule;
use super::report::{CheckReport, FindingSource, NoRegister, RowCounts};
use super::row::{CHUNK, RowChecker, States};
use super::workers::{Stopped, Workers, in_parallel};

/// The maximum number of unknown columns that a report lists.
const MAX_UNKNOWN_COLUMNS: usize = 100;

impl Form {
    /// The subjects of `batch` that the form's checks look up in the register.
    pub fn subjects<'a>(&self, batch: &'a Batch) -> BTreeSet<&'a str> {
        let asked = |rule: &LoadedRule| if let LoadedRule::KnownSubject(field) = rule { Some(*field) } else { None };
        let fields: Vec<usize> = self.program.checks.iter().filter_map(|check| asked(&check.rule)).collect();
        let columns = self.columns(batch);
        let is_asked = |column: usize| columns[column].is_some_and(|(field, _)| fields.contains(&field));
        let mut subjects = BTreeSet::new();
        for row in &batch.rows {
            let mut take = |column: usize, value: &'a serde_json::Value| {
                if let Some(text) = value.as_str().map(str::trim).filter(|text| !text.is_empty() && is_asked(column)) {
                    subjects.insert(text);
                }
            };
            match row {
                Row::Cells(cells) => cells.iter().for_each(|(column, value)| take(*column as usize, value)),
                Row::List(values) => values.iter().enumerate().for_each(|(column, value)| take(column, value)),
                Row::Broken(_) => {}
            }
        }
        subjects
    }

    /// Checks all rows of `batch`.
    ///
    /// # Errors
    ///
    /// The workers were stopped.
    pub fn check<'a>(
        &self,
        batch: &'a Batch,
        context: &CheckContext,
        workers: Workers<'_>,
    ) -> Result<CheckReport<'a>, Stopped> {
        let columns = self.columns(batch);
        let checker = RowChecker { program: &self.program, context, columns: &columns, hash: RandomState::new() };
        let chunks: Vec<&[Row]> = batch.rows.chunks(CHUNK).collect();
        let checked = AtomicUsize::new(0);
        let states = in_parallel(chunks.len(), &workers, |task| {
            let chunk = checker.chunk(chunks[task]);
            checked.fetch_add(chunk.reports.len(), Ordering::Relaxed);
            (workers.progress)(chunk.reports.len());
            chunk
        });
        let stopped = |checked| Stopped { checked, rows: batch.len() };
        let mut chunks = states.ok_or_else(|| stopped(checked.load(Ordering::Relaxed)))?;

        let checks = self.program.checks.iter().enumerate();
        let over_rows: Vec<_> = checks.filter(|(_, check)| check.rule.is_over_rows()).collect();
        let states = States { chunks: &chunks, rows: batch.len(), parts: over_rows.len() };
        let verdicts = in_parallel(over_rows.len() * SHARES, &workers, |task| {
            let (part, share) = (task / SHARES, task % SHARES);
            let (place, check) = over_rows[part];
            (place, across::check(states, part, place, check, share))
        });
        let verdicts = verdicts.ok_or_else(|| stopped(batch.len()))?;
        for (place, verdicts) in verdicts {
            for (row, verdict) in verdicts {
                let report = &mut chunks[row / CHUNK].reports[row % CHUNK];
                match verdict {
                    GroupVerdict::Finding(finding) => report.findings.push(finding),
                    GroupVerdict::NotEvaluated(reason) => report.not_evaluated.push((place, reason)),
                }
                report.findings.sort_by_key(|finding| match finding.check {
                    FindingSource::Row(_) | FindingSource::Field(..) => 0,
                    FindingSource::Check(place) => place + 1,
                });
                report.not_evaluated.sort_by_key(|(place, _)| *place);
            }
        }
        let mut keys = Vec::with_capacity(batch.len() * self.program.key.len());
        let mut rows = Vec::with_capacity(batch.len());
        for chunk in chunks {
            keys.extend(chunk.keys);
            rows.extend(chunk.reports);
        }
        let unknown = batch.columns.iter().zip(&columns).filter(|(_, known)| known.is_none());
        Ok(CheckReport {
            counts: RowCounts::of(&rows),
            not_run: self.not_run(context),
            not_checked: unknown.map(|(name, _)| name.as_str()).take(MAX_UNKNOWN_COLUMNS).collect(),
            keys,
            rows,
        })
    }

    /// By column of the batch: the index of the field, and the rank of the name among the field's names.
    fn columns(&self, batch: &Batch) -> Vec<Option<(usize, usize)>> {
        batch.columns.iter().map(|name| self.program.names.get(name).copied()).collect()
    }

    fn not_run(&self, context: &CheckContext) -> Vec<(usize, NoRegister)> {
        let register = |rule: &LoadedRule| match rule {
            LoadedRule::KnownSite(_) => Some(&context.sites),
            LoadedRule::KnownSubject(_) => Some(&context.subjects),
            _ => None,
        };
        let checks = self.program.checks.iter().enumerate();
        checks
            .filter_map(|(place, check)| match register(&check.rule) {
                Some(Register::Absent(why)) => Some((place, *why)),
                _ => None,
            })
            .collect()
    }
}
