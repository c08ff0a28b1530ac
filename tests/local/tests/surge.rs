//! Surges with the real binaries: under faults between functions and services, and with kills.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};

const LOCAL: &str = env!("CARGO_BIN_EXE_local");

/// What a surge reports of faults.
const KINDS: [&str; 9] = [
    "conflict",
    "cutAfter",
    "cutBefore",
    "delayedAfter",
    "delayedBefore",
    "error500",
    "error500Applied",
    "error503",
    "throttled",
];

/// A local cloud that is killed at the end of the test.
struct Cloud {
    process: Child,
    port: String,
    log: Option<JoinHandle<String>>,
}

impl Cloud {
    fn start(options: &[&str]) -> Self {
        let mut process = Command::new(LOCAL)
            .args(["--port", "0"])
            .args(options)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary is built");
        let mut stderr = process.stderr.take().expect("the stream is piped");
        let log = thread::spawn(move || {
            let mut text = Vec::new();
            stderr.read_to_end(&mut text).expect("it can be read");
            String::from_utf8_lossy(&text).into_owned()
        });
        let stdout = process.stdout.take().expect("the stream is piped");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("it prints the ready line");
        let port = line.trim().rsplit_once(':').map(|(_, port)| port.to_owned());
        assert!(port.is_some(), "it is not ready: {line:?}");
        Self { process, port: port.unwrap_or_default(), log: Some(log) }
    }

    /// Stops it as Ctrl-C does, and returns what it wrote.
    fn stop(mut self) -> String {
        let stopped = Command::new("kill").args(["-INT", &self.process.id().to_string()]).status();
        assert!(stopped.is_ok_and(|status| status.success()));
        assert_eq!(self.process.wait().expect("it ends").code(), Some(0));
        self.log.take().expect("it is read once").join().expect("the thread does not panic")
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        // It may have ended already; its functions end with it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Exit code, stdout and stderr.
fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(LOCAL).args(arguments).output().expect("the binary is built");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// The number after `name` in a report.
#[track_caller]
fn figure(report: &str, name: &str) -> usize {
    let rest = report.split(name).nth(1).unwrap_or_default().trim_start();
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| unreachable!("no number after {name:?} in:\n{report}"))
}

#[test]
fn with_a_tenth_of_all_requests_faulty_three_tries_of_a_phone_are_enough_and_no_promise_is_broken() {
    let cloud = Cloud::start(&["--memory", "--faults", "10%", "--fault-seed", "1", "--logs"]);
    let mut met = String::new();
    // The second finds what the first one left.
    for _ in 0..2 {
        let (code, report, stderr) = run(&["surge", "--patients", "100", "--connections", "16", "--port", &cloud.port]);
        assert_eq!(code, Some(0), "{report}{stderr}");
        assert!(report.ends_with("nothing lost, nothing twice\n"), "{report}");
        // At least 99.9 % of a hundred are all.
        assert_eq!(figure(&report, "accepted within 3 tries:"), 100, "{report}");
        assert!(report.contains("stored: 100, scored: 100, "), "{report}");
        assert!(figure(&report, "alerts:") >= 10, "{report}");
        assert_eq!((figure(&report, "checked:"), figure(&report, "sent again,")), (100, 4), "{report}");
        met = report;
    }
    for kind in KINDS {
        assert!(figure(&met, &format!("{kind} ")) > 0, "no {kind} came about:\n{met}");
    }
    let (code, _, stderr) = run(&["surge", "--kill", "cloud", "--port", &cloud.port]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("a surge kills only one of its own"), "{stderr}");

    let log = cloud.stop();
    assert!(log.contains("10% of the functions' requests to DynamoDB and SNS meet a fault; `--fault-seed 1`"), "{log}");
    assert!(log.contains("faults: 10% of the requests, seed 1\n  DynamoDB: "), "{log}");
    assert!(log.contains("submit | {"), "function logs were asked for: {log}");
    for secret in ["SURGE-", "eyJ", "\"answers\"", "\"value\"", "mild"] {
        assert!(!log.contains(secret), "promise 10: {secret} in the logs");
    }
}

#[test]
fn with_half_of_all_requests_faulty_no_promise_is_broken() {
    let surge = ["surge", "--patients", "50", "--connections", "8", "--memory", "--port", "0", "--quiet"];
    let (code, report, stderr) = run(&[surge.as_slice(), &["--faults", "50%", "--fault-seed", "2"]].concat());
    assert_eq!(code, Some(0), "{report}{stderr}");
    assert!(report.ends_with("nothing lost, nothing twice\n"), "{report}");
    let accepted = figure(&report, "accepted in the end:");
    assert!(accepted > 0 && figure(&report, "stored:") >= accepted, "{report}");
}

#[test]
fn killing_functions_and_the_cloud_itself_loses_nothing_and_does_nothing_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().to_str().expect("UTF-8");
    let surge = ["surge", "--patients", "120", "--connections", "16", "--port", "0", "--data", data];
    let (code, report, stderr) = run(&[surge.as_slice(), &["--kill", "functions", "--kill", "cloud"]].concat());
    assert_eq!(code, Some(0), "{report}{stderr}");
    assert!(report.ends_with("nothing lost, nothing twice\n"), "{report}");
    assert_eq!(figure(&report, "accepted in the end:"), 120, "{report}");
    assert!(figure(&report, "killed:") > 0, "{report}");
    assert!(report.contains(" function processes, the local cloud 3 times\n"), "{report}");
}

#[test]
fn options_that_make_no_sense_are_refused() {
    for (arguments, expected) in [
        (["--faults", "101%"].as_slice(), "is not a percentage from 0% to 100%"),
        (&["--faults", "10"], "is not a percentage from 0% to 100%"),
        (&["--fault-seed", "1"], "--faults"),
        (&["surge", "--patients", "0"], "0 is not in 1..=1000000"),
        (&["surge", "--connections", "0"], "0 is not in 1..=1000"),
        (&["surge", "--kill", "everything"], "is neither `functions` nor `cloud`"),
        (&["surge", "--kill", "cloud", "--memory", "--port", "0"], "`--kill cloud` needs a data folder"),
    ] {
        let (code, stdout, stderr) = run(arguments);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(stderr.contains(expected), "{arguments:?}: {stderr}");
    }
    let (code, _, stderr) =
        run(&["--faults", "1%", "--memory", "--quiet", "--port", "0", "--dynamodb", "https://example.org"]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("faults are injected only into requests to a DynamoDB over http"), "{stderr}");
    // What the surge starts, it says why it could not.
    let (code, _, stderr) = run(&["surge", "--port", "0", "--template", "/nowhere/template.yaml", "--memory"]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("the local cloud ended before it served"), "{stderr}");
    assert!(stderr.contains("cannot read the template /nowhere/template.yaml"), "{stderr}");
}
