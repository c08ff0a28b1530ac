//! The ledger's file: each section is between two markers, so that one can be made again without the others.

use std::path::Path;
use std::process::Command;

use time::OffsetDateTime;

use crate::{Fault, root};

const HEAD: &str =
    "# The ledger of speed\n\nMade by `tests/bench/run`, which says how. Do not edit it between the markers.\n";

/// Puts `text` into the file at `path` as its section `name`.
///
/// # Errors
/// If the file cannot be written.
pub fn put(path: &Path, name: &str, text: &str) -> Result<(), Fault> {
    let before = std::fs::read_to_string(path).unwrap_or_else(|_| HEAD.to_owned());
    std::fs::write(path, replaced(&before, name, text)).map_err(Fault::io(path.display().to_string()))
}

/// `document` with `text` as its section `name`: in its place, or at the end.
fn replaced(document: &str, name: &str, text: &str) -> String {
    let (begin, end) = (format!("<!-- section {name} -->"), format!("<!-- end of {name} -->"));
    let section = format!("{begin}\n{}\n{end}", text.trim());
    match (document.split_once(&begin), document.split_once(&end)) {
        (Some((before, _)), Some((_, after))) => format!("{before}{section}{after}"),
        _ => format!("{}\n\n{section}\n", document.trim_end()),
    }
}

/// The versions of the other languages' compilers and runtimes.
pub fn languages() -> String {
    let go = output("go", &["env", "GOVERSION"]);
    format!("{go}, Node {}, {}", output("node", &["--version"]), output("python3", &["--version"]))
}

/// When, on which machine and of which commit a section was made.
pub fn provenance() -> String {
    let commit = output("git", &["rev-parse", "--short=12", "HEAD"]);
    let changed =
        if output("git", &["status", "--porcelain", "--untracked-files=no"]).is_empty() { "" } else { " with changes" };
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("", |(_, model)| model);
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = output("uname", &["-sr"]);
    let rust = output("rustc", &["--version"]);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    format!(
        "{}, commit {commit}{changed}; {processors} processors {model}, {kernel}, {rust}; load of the machine {load}.",
        OffsetDateTime::now_utc().date()
    )
}

/// What a program prints; nothing if it cannot be run.
fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(root()).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_takes_its_own_place_and_leaves_the_others() {
        let first = replaced("# Head\n", "start", "one");
        assert_eq!(first, "# Head\n\n<!-- section start -->\none\n<!-- end of start -->\n");
        let second = replaced(&first, "score", "two");
        let third = replaced(&second, "start", "three");
        assert_eq!(third, second.replace("one", "three"));
    }
}
