//! How far something has come, on stderr: a bar at a terminal, now and then a line anywhere else.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// One stretch of it.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    what: &'static str,
    /// Lines instead of a bar: how many steps they have come to. Steps are taken by several threads, lines in order.
    lines: Option<Mutex<u64>>,
}

impl Progress {
    /// Begins a stretch of `length` steps.
    pub(crate) fn new(what: &'static str, length: usize, quiet: bool) -> Self {
        let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let lines = (!quiet && target.is_hidden()).then(Mutex::default);
        let bar = ProgressBar::with_draw_target(Some(length as u64), target).with_message(what);
        if let Ok(style) = ProgressStyle::with_template("{msg:9} [{bar:40}] {pos}/{len} {elapsed}{prefix}") {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.enable_steady_tick(Duration::from_millis(250));
        Self { bar, what, lines }
    }

    /// Takes a step.
    pub(crate) fn step(&self) {
        self.steps(1);
    }

    /// Takes several steps at once.
    pub(crate) fn steps(&self, steps: usize) {
        self.bar.inc(steps as u64);
        if let Some(done) = &self.lines {
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            let (before, after) = (*done, *done + steps as u64);
            *done = after;
            // A line every quarter is enough for a log.
            let length = self.bar.length().unwrap_or_default().max(1);
            if (before * 4 / length) != (after * 4 / length) {
                eprintln!("{} {after} of {length}", self.what);
            }
        }
    }

    /// Says something beside the bar.
    pub(crate) fn note(&self, note: String) {
        self.bar.set_prefix(format!("  {note}"));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish();
    }
}
