//! What a run does when the process of a target dies.

#![cfg(target_os = "linux")]

use std::fs;
use std::process::{Command, Stdio};
use std::thread;

#[test]
fn a_death_that_does_not_repeat_is_a_finding_without_an_input_and_the_run_ends() {
    let findings = tempfile::tempdir().unwrap();
    let mut run = Command::new(env!("CARGO_BIN_EXE_fuzz"));
    run.args(["--target", "cursor", "--seconds", "4", "--findings"]).arg(findings.path());
    let run = run.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    // A thread of the run starts its children.
    let killed = loop {
        let threads = fs::read_dir(format!("/proc/{}/task", run.id())).unwrap();
        let children: String =
            threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("children")).ok()).collect();
        if let Some(child) = children.split_whitespace().next() {
            break Command::new("kill").args(["-KILL", child]).status().unwrap();
        }
        thread::yield_now();
    };
    assert!(killed.success());
    let output = run.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("1 findings"), "{text}");
    assert!(text.contains("died after this input, and did not when it was repeated"), "{text}");
    assert_eq!(fs::read_dir(findings.path()).unwrap().count(), 0);
}
