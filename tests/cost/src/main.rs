//! `costs`: works out the section `cost` of the ledger, `tests/bench/LEDGER.md` or the file that is named.
#![allow(clippy::print_stderr, reason = "it talks to a person at a terminal")]

use std::path::PathBuf;
use std::process::ExitCode;

use bench::{Fault, document};

#[tokio::main]
async fn main() -> ExitCode {
    let file = std::env::args_os().nth(1).unwrap_or_else(|| "tests/bench/LEDGER.md".into());
    match write(&PathBuf::from(file)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("{fault}");
            ExitCode::from(2)
        }
    }
}

async fn write(ledger: &std::path::Path) -> Result<(), Fault> {
    document::put(ledger, "cost", &cost::section().await?)
}
