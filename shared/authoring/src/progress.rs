//! A progress bar on standard error at a terminal; a line every quarter anywhere else, a log file for example.
#![allow(clippy::print_stderr, reason = "it prints progress to a person at a terminal")]

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressDrawTarget, ProgressStyle};

/// The progress of one task, until it is dropped.
#[derive(Debug)]
pub struct ProgressBar {
    bar: indicatif::ProgressBar,
    task: &'static str,
    /// Steps done, where lines are written instead of a bar. Behind a lock, because several threads report steps and
    /// the lines have to be in order.
    lines: Option<Mutex<u64>>,
}

impl ProgressBar {
    /// Starts a task of `length` steps. `quiet`: nothing is shown.
    pub fn new(task: &'static str, length: usize, quiet: bool) -> Self {
        let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let lines = (!quiet && target.is_hidden()).then(Mutex::default);
        let bar = indicatif::ProgressBar::with_draw_target(Some(length as u64), target).with_message(task);
        if let Ok(style) = ProgressStyle::with_template("{msg:9} [{bar:40}] {pos}/{len} {elapsed}{prefix}") {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.enable_steady_tick(Duration::from_millis(250));
        Self { bar, task, lines }
    }

    /// Adds one step.
    pub fn step(&self) {
        self.steps(1);
    }

    /// Adds several steps at once.
    pub fn steps(&self, steps: usize) {
        self.bar.inc(steps as u64);
        if let Some(done) = &self.lines {
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            let (before, after) = (*done, *done + steps as u64);
            *done = after;
            let length = self.bar.length().unwrap_or_default().max(1);
            if (before * 4 / length) != (after * 4 / length) {
                eprintln!("{} {after} of {length}", self.task);
            }
        }
    }

    /// Runs `print` while the bar is not on the terminal.
    pub fn suspended<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }

    /// Shows `note` after the bar.
    pub fn note(&self, note: String) {
        self.bar.set_prefix(format!("  {note}"));
    }
}

impl Drop for ProgressBar {
    fn drop(&mut self) {
        self.bar.finish();
    }
}
