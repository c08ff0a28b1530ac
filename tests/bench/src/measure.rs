//! What a process took, and figures of several runs.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use nix::time::ClockId;

use crate::Fault;

/// The processor time of one process: user and system, all threads, ended ones included. The operating system counts it
/// in nanoseconds, whatever else runs on the machine.
#[derive(Clone, Copy, Debug)]
pub struct CpuClock(ClockId);

impl CpuClock {
    /// The clock of the process `pid`.
    ///
    /// # Errors
    /// If there is no such process, or elsewhere than on Linux.
    #[cfg(target_os = "linux")]
    pub fn of(pid: u32) -> Result<Self, Fault> {
        let clock = ClockId::pid_cpu_clock_id(nix::unistd::Pid::from_raw(pid.cast_signed()));
        clock.map(Self).map_err(|error| Fault::Io("the CPU clock".to_owned(), error.into()))
    }

    /// The clock of the process `pid`.
    ///
    /// # Errors
    /// If there is no such process, or elsewhere than on Linux.
    #[cfg(not(target_os = "linux"))]
    pub fn of(_pid: u32) -> Result<Self, Fault> {
        Err(Fault::Wrong("the ledger is made on Linux, which reads the processor time of another process".to_owned()))
    }

    /// The processor time so far.
    ///
    /// # Errors
    /// If the process has ended.
    pub fn now(self) -> Result<Duration, Fault> {
        self.0.now().map(Duration::from).map_err(|error| Fault::Io("the CPU clock".to_owned(), error.into()))
    }
}

/// The resident memory of the process `pid`, in MB.
///
/// # Errors
/// If the operating system does not list it.
pub fn resident_mb(pid: u32) -> Result<f64, Fault> {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path).map_err(Fault::io(path.as_str()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kilobytes.map(|kilobytes| kilobytes / 1024.0).ok_or_else(|| Fault::Wrong(format!("{path} has no VmRSS")))
}

/// The bytes of a file, or of all files in a folder.
///
/// # Errors
/// If one cannot be read.
pub fn bytes(path: &Path) -> Result<u64, Fault> {
    let io = |error| Fault::Io(path.display().to_string(), error);
    let metadata = std::fs::metadata(path).map_err(io)?;
    if !metadata.is_dir() {
        return Ok(metadata.len());
    }
    std::fs::read_dir(path).map_err(io)?.map(|entry| bytes(&entry.map_err(io)?.path())).sum()
}

/// One figure in several runs.
#[derive(Clone, Debug, Default)]
pub struct Runs(Vec<f64>);

impl Runs {
    /// Adds the figure of a run.
    pub fn add(&mut self, value: f64) {
        self.0.push(value);
    }

    /// Adds the milliseconds of a run.
    pub fn add_time(&mut self, time: Duration) {
        self.add(time.as_secs_f64() * 1_000.0);
    }

    /// The median; 0 of no runs.
    pub fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        match sorted.len() {
            0 => 0.0,
            length if length % 2 == 0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
            _ => sorted[middle],
        }
    }

    /// How many times the median of `other` this one is.
    pub fn times(&self, other: &Self) -> f64 {
        self.median() / other.median()
    }
}

impl FromIterator<f64> for Runs {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

/// The median, with the least and the most: `8.51 (8.40–9.02)`.
impl fmt::Display for Runs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let least = self.0.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.0.iter().copied().fold(0.0, f64::max);
        write!(f, "{} ({}–{})", figure(self.median()), figure(least), figure(most))
    }
}

/// `value` with three figures that mean something.
pub fn figure(value: f64) -> String {
    let decimals = match value.abs() {
        value if value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        value if value >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_the_median_with_its_spread() {
        let runs: Runs = [3.0, 1.0, 2.0].into_iter().collect();
        assert_eq!(runs.to_string(), "2.00 (1.00–3.00)");
        let even: Runs = [400.0, 100.0].into_iter().collect();
        assert_eq!(even.to_string(), "250 (100–400)");
        assert!((even.times(&runs) - 125.0).abs() < 1e-9);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_clock_of_a_process_runs_while_it_works() {
        let clock = CpuClock::of(std::process::id()).unwrap();
        let before = clock.now().unwrap();
        let mut sum = 0_u64;
        while clock.now().unwrap() < before + Duration::from_millis(5) {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(resident_mb(std::process::id()).unwrap() > 1.0);
    }
}
