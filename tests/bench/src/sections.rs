//! The sections of the ledger.

pub mod checks;
pub mod medicine;
pub mod peers;
pub mod score;
pub mod start;
pub mod watch;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::Fault;
use crate::aws::Aws;
use crate::measure::{Runs, resident_mb};
use crate::runtime_api::{Environment, Program};

/// What every section uses.
#[derive(Debug)]
pub struct Bench {
    /// The folder of the functions' executables.
    pub bootstraps: PathBuf,
    /// The folder of the built peers.
    pub peers: PathBuf,
    /// How often each is run.
    pub rounds: usize,
    /// A folder for the output of what is run.
    pub work: PathBuf,
    /// The services that are called.
    pub aws: Aws,
    /// The variables of each program.
    pub variables: BTreeMap<String, String>,
}

impl Bench {
    /// The services, with the folder `work`.
    ///
    /// # Errors
    /// If there is no port for them.
    pub async fn new(bootstraps: PathBuf, peers: PathBuf, rounds: usize, work: PathBuf) -> Result<Self, Fault> {
        let aws = Aws::start().await?;
        let variables = aws.variables();
        Ok(Self { bootstraps, peers, rounds, work, aws, variables })
    }

    /// One of the functions, or of the programs in Rust beside them.
    pub fn function(&self, name: &str) -> Program {
        let executable = self.bootstraps.join(name);
        Program {
            name: name.to_owned(),
            command: vec![executable.clone().into()],
            variables: BTreeMap::new(),
            artefact: executable,
        }
    }

    /// Starts `program`.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn start(&self, program: &Program) -> Result<Environment, Fault> {
        Environment::start(program, &self.variables, &self.work, None).await
    }
}

/// The figures of a program: start, first call, warm call, memory.
#[derive(Default)]
pub(crate) struct Figures {
    pub(crate) start: Runs,
    pub(crate) first: Runs,
    pub(crate) warm: Runs,
    pub(crate) resident: Runs,
}

impl Figures {
    /// Adds one run of `program` with the events that `next` returns: a warm call is the mean of `warm` after `warming`.
    async fn add_run(
        &mut self,
        bench: &Bench,
        program: &Program,
        (warming, warm): (usize, u32),
        mut next: impl FnMut() -> Bytes,
    ) -> Result<(), Fault> {
        bench.aws.clear();
        let mut environment = bench.start(program).await?;
        let started = environment.cpu()?;
        require_success(&program.name, &environment.invoke(next()).await?)?;
        let first = environment.cpu()? - started;
        for _ in 0..warming {
            environment.invoke(next()).await?;
        }
        let before = environment.cpu()?;
        for _ in 0..warm {
            environment.invoke(next()).await?;
        }
        self.start.add_time(started);
        self.first.add_time(first);
        self.warm.add_time((environment.cpu()? - before) / warm);
        self.resident.add(resident_mb(environment.pid())?);
        environment.end().await
    }
}

/// A table in Markdown.
pub fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
    for row in rows {
        let _infallible = writeln!(table, "| {} |", row.join(" | "));
    }
    table
}

/// Where an HTTP function's answer is no success, what it says.
pub(crate) fn require_success(name: &str, answer: &[u8]) -> Result<(), Fault> {
    let answer: serde_json::Value = serde_json::from_slice(answer).unwrap_or_default();
    match answer["statusCode"].as_u64() {
        Some(status) if status >= 300 => Err(Fault::Wrong(format!("{name} answered {answer}"))),
        _ => Ok(()),
    }
}

/// The size of what is deployed, in MB.
pub(crate) fn megabytes(path: &Path) -> Result<f64, Fault> {
    Ok(crate::measure::bytes(path)? as f64 / 1e6)
}
