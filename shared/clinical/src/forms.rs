//! Case-report forms as data, and the edit checks of batches of their rows.
//!
//! A form is a versioned JSON definition that a data manager can read and sign off; the code knows only a closed set of
//! rules and checks every definition when it is loaded. Rows are checked side by side on as many threads as the caller gives,
//! and what comes out does not depend on how many those are.
//!
//! ```
//! use clinical::forms::{Context, Register, Workers, batch::{Batch, Notation}, catalog};
//!
//! let form = catalog::find(&"vs".parse()?, &"1.0.0".parse()?)?;
//! let rows = br#"[{"USUBJID": "P-1", "VSTESTCD": "SYSBP", "VSORRES": "720", "VSORRESU": "mmHg", "VSDTC": "2012-11-23"}]"#;
//! let batch = Batch::read(rows, Notation::Any)?;
//! let everybody = Register::Known(["P-1".to_owned()].into());
//! let context = Context { now: 1_800_000_000, sites: everybody.clone(), subjects: everybody };
//! let report = form.check(&batch, &context, Workers::new(2)).map_err(|_| "nobody stopped it")?;
//! assert_eq!(report.counts.rejected, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod across;
pub mod answer;
pub mod batch;
pub mod catalog;
mod cell;
mod date;
pub mod definition;
mod load;
pub mod report;
mod row;
mod texts;

use std::collections::{BTreeSet, HashSet};
use std::hash::RandomState;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use self::across::{SHARES, Verdict};
use self::batch::{Batch, Row};
use self::definition::FormDefinition;
use self::load::{LoadedRule, Program};
use self::report::{CheckOf, Counts, NotKept, Report};
use self::row::{RowChecker, States};
use crate::canonical::{canonical, sha256};
use crate::ids::{FormId, FormVersion};
use crate::instrument::DefinitionFault;

/// So many rows take about a millisecond: a worker asks no more often than that whether it should stop.
const CHUNK: usize = 256;
/// As many unknown columns as a report names.
const NOT_CHECKED: usize = 100;

/// A definition that was checked. Immutable; the definition's content hash identifies it.
#[derive(Debug)]
pub struct Form {
    definition: FormDefinition,
    program: Program,
    hash: String,
}

/// What is known outside a batch.
#[derive(Debug, Clone)]
pub struct Context {
    /// Now, in seconds of UTC since 1970.
    pub now: i64,
    /// The sites that rows may name.
    pub sites: Register,
    /// The subjects that are enrolled.
    pub subjects: Register,
}

/// Names that are known.
#[derive(Debug, Clone)]
pub enum Register {
    /// These.
    Known(HashSet<String>),
    /// Nobody knows now: a row that names one is not evaluated.
    Unreachable,
    /// Nobody keeps them: the check is not run.
    NotKept(NotKept),
}

/// Who checks, and for how long.
pub struct Workers<'a> {
    threads: usize,
    stop: &'a (dyn Fn() -> bool + Sync),
    tell: &'a (dyn Fn(usize) + Sync),
}

/// Checking was stopped before its end. Nothing is told of the rows that were checked, since checks over several rows need
/// all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stopped after {checked} of {rows} rows")]
pub struct Stopped {
    /// How many rows were checked.
    pub checked: usize,
    /// How many there are.
    pub rows: usize,
}

impl Workers<'static> {
    /// So many threads, at least one, that go on to the end.
    pub fn new(threads: usize) -> Self {
        Self { threads, stop: &|| false, tell: &|_| {} }
    }
}

impl<'a> Workers<'a> {
    /// These, until `stop` says so. It is asked now and then, from any of the threads.
    pub fn until(self, stop: &'a (dyn Fn() -> bool + Sync)) -> Self {
        Self { stop, ..self }
    }

    /// These, telling `tell` now and then, from any of the threads, that so many more rows were checked.
    pub fn telling(self, tell: &'a (dyn Fn(usize) + Sync)) -> Self {
        Self { tell, ..self }
    }
}

impl Form {
    /// Reads and checks a definition.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, each fault with its place and what to do; of faults in its form the first only.
    pub fn parse(json: &str) -> Result<Self, Vec<DefinitionFault>> {
        let (definition, program, document) = load::load(json)?;
        let hash = sha256(&canonical(&document));
        Ok(Self { definition, program, hash })
    }

    /// Like `parse`, for a definition from a file: its faults tell the file's name.
    ///
    /// # Errors
    ///
    /// As `parse`.
    pub fn parse_file(name: &str, json: &str) -> Result<Self, Vec<DefinitionFault>> {
        Self::parse(json).map_err(|mut faults| {
            faults.iter_mut().for_each(|fault| fault.file = Some(name.to_owned()));
            faults
        })
    }

    /// The form's id, for example `vs`.
    pub fn id(&self) -> &FormId {
        &self.definition.id
    }

    /// The version of the definition.
    pub fn version(&self) -> &FormVersion {
        &self.definition.version
    }

    /// The SHA-256, in hexadecimal, of the definition's canonical form.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The definition.
    pub fn definition(&self) -> &FormDefinition {
        &self.definition
    }

    /// The languages that messages are there in.
    pub fn languages(&self) -> impl Iterator<Item = &str> {
        self.definition.title.keys().map(String::as_str)
    }

    /// The subjects that the form's checks ask the register for.
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
    /// If it was stopped.
    pub fn check<'a>(&self, batch: &'a Batch, context: &Context, workers: Workers<'_>) -> Result<Report<'a>, Stopped> {
        let columns = self.columns(batch);
        let checker = RowChecker { program: &self.program, context, columns: &columns, hash: RandomState::new() };
        let chunks: Vec<&[Row]> = batch.rows.chunks(CHUNK).collect();
        let checked = AtomicUsize::new(0);
        let states = in_parallel(chunks.len(), &workers, |task| {
            let chunk = checker.chunk(chunks[task]);
            checked.fetch_add(chunk.reports.len(), Ordering::Relaxed);
            (workers.tell)(chunk.reports.len());
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
                    Verdict::Finding(finding) => report.findings.push(finding),
                    Verdict::NotEvaluated(reason) => report.not_evaluated.push((place, reason)),
                }
                report.findings.sort_by_key(|finding| match finding.check {
                    CheckOf::Row(_) | CheckOf::Field(..) => 0,
                    CheckOf::Check(place) => place + 1,
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
        Ok(Report {
            counts: Counts::of(&rows),
            not_run: self.not_run(context),
            not_checked: unknown.map(|(name, _)| name.as_str()).take(NOT_CHECKED).collect(),
            keys,
            rows,
        })
    }

    /// By column of the batch: the field, and which of its names it is.
    fn columns(&self, batch: &Batch) -> Vec<Option<(usize, usize)>> {
        batch.columns.iter().map(|name| self.program.names.get(name).copied()).collect()
    }

    fn not_run(&self, context: &Context) -> Vec<(usize, NotKept)> {
        let register = |rule: &LoadedRule| match rule {
            LoadedRule::KnownSite(_) => Some(&context.sites),
            LoadedRule::KnownSubject(_) => Some(&context.subjects),
            _ => None,
        };
        let checks = self.program.checks.iter().enumerate();
        checks
            .filter_map(|(place, check)| match register(&check.rule) {
                Some(Register::NotKept(why)) => Some((place, *why)),
                _ => None,
            })
            .collect()
    }
}

/// What `work` gives for each of `tasks`, in their order, whichever thread did it and when; `None` if it was stopped.
fn in_parallel<T: Send>(tasks: usize, workers: &Workers<'_>, work: impl Fn(usize) -> T + Sync) -> Option<Vec<T>> {
    let next = AtomicUsize::new(0);
    let stopped = AtomicBool::new(false);
    let done = Mutex::new(Vec::with_capacity(tasks));
    let run = || {
        loop {
            if stopped.load(Ordering::Relaxed) || (workers.stop)() {
                stopped.store(true, Ordering::Relaxed);
                return;
            }
            let task = next.fetch_add(1, Ordering::Relaxed);
            if task >= tasks {
                return;
            }
            let result = work(task);
            done.lock().unwrap_or_else(PoisonError::into_inner).push((task, result));
        }
    };
    thread::scope(|scope| {
        for _ in 1..workers.threads.clamp(1, tasks.max(1)) {
            scope.spawn(run);
        }
        run();
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    if done.len() < tasks {
        return None;
    }
    done.sort_by_key(|(task, _)| *task);
    Some(done.into_iter().map(|(_, result)| result).collect())
}
