//! Instructions, counted by valgrind. They do not depend on what else the machine does, and hardly on the machine:
//! valgrind's own processor has AVX2 and no instructions for SHA, so that a hash takes more of them than on Lambda.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::Fault;
use crate::runtime_api::{Environment, Program};

/// Runs `program` under valgrind, does `work` with it once it has asked for its first event, and returns the
/// instructions from exec to its end. Valgrind's file is `out`.
///
/// # Errors
/// If it cannot be run, or the work fails.
pub async fn count(
    program: &Program,
    variables: &BTreeMap<String, String>,
    logs: &Path,
    out: &Path,
    work: impl AsyncFnOnce(&mut Environment) -> Result<(), Fault>,
) -> Result<u64, Fault> {
    let option = |name: &str, value: &Path| {
        let mut option = OsString::from(name);
        option.push(value);
        option
    };
    let command = ["valgrind".into(), "--tool=callgrind".into(), option("--callgrind-out-file=", out)];
    let mut environment = Environment::start(&program.clone().under(command), variables, logs, None).await?;
    work(&mut environment).await?;
    environment.end().await?;
    let text = std::fs::read_to_string(out).map_err(Fault::io(out.display().to_string()))?;
    total(&text).ok_or_else(|| Fault::Wrong(format!("{} has no total", out.display())))
}

/// The file of a count in the folder of `logs`.
pub fn out(logs: &Path, name: &str) -> PathBuf {
    logs.join(format!("callgrind.{name}"))
}

/// The instructions in all, which the end of valgrind's file has.
fn total(text: &str) -> Option<u64> {
    text.lines().rev().find_map(|line| line.strip_prefix("totals: ")).and_then(|total| total.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_of_a_file_is_its_last() {
        let text = "summary: 12\n\nfn=(1) main\n1 12\n\ntotals: 1643012\n";
        assert_eq!(total(text), Some(1_643_012));
        assert_eq!(total("summary: 12\n"), None);
    }
}
