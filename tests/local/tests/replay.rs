//! Replays with the real binaries: the local cloud, its functions, and `replay` run as a process.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

const LOCAL: &str = env!("CARGO_BIN_EXE_local");

/// A local cloud that is killed at the end of the test.
struct Cloud {
    process: Child,
    port: String,
}

impl Cloud {
    fn start(options: &[&str]) -> Self {
        let mut process = Command::new(LOCAL)
            .args(["--port", "0", "--quiet"])
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary is built");
        let stdout = process.stdout.take().expect("the stream is piped");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("it prints the ready line");
        let port = line.trim().rsplit_once(':').map(|(_, port)| port.to_owned());
        assert!(port.is_some(), "it is not ready: {line:?}");
        Self { process, port: port.unwrap_or_default() }
    }

    fn replay(&self, file: &Path, more: &[&str]) -> Command {
        let mut command = Command::new(LOCAL);
        command.arg("replay").arg(file).args(["--port", &self.port]).args(more);
        command
    }

    /// The process ids of a function's environments.
    fn environments(&self, function: &str) -> BTreeSet<u32> {
        let of_ours = |pid: &u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            // pid (name) state parent
            let Some((name, rest)) = stat.rsplit_once(") ") else { return false };
            let parent = rest.split(' ').nth(1).and_then(|parent| parent.parse().ok());
            name.ends_with(&format!("({function}")) && parent == Some(self.process.id())
        };
        let entries = fs::read_dir("/proc").expect("Linux has it");
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).filter(of_ours).collect()
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        // It may have ended already; its functions end with it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The questionnaires of the sample's first twenty subjects: twenty PHQ-9 and fourteen pain diaries.
fn sample(folder: &Path) -> PathBuf {
    changed(folder, |_| {})
}

/// The same file after a change of its rows.
fn changed(folder: &Path, change: impl FnOnce(&mut Vec<Value>)) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples/data/qs.json");
    let mut file: Value = serde_json::from_slice(&fs::read(path).expect("it exists")).expect("JSON");
    let rows = file["rows"].as_array_mut().expect("it has rows");
    rows.retain(|row| row[2].as_str().is_some_and(|subject| subject <= "SAMPLE-020"));
    change(rows);
    file["records"] = rows.len().into();
    let path = folder.join("changed.json");
    fs::write(&path, file.to_string()).expect("the folder is writable");
    path
}

/// The path of the real file, which is not part of this repository.
fn real() -> PathBuf {
    let folder =
        std::env::var_os("EPRO_PILOT_DATA").expect("EPRO_PILOT_DATA names the folder of the CDISC pilot files");
    Path::new(&folder).join("qsph.json")
}

fn ended(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn run(command: &mut Command) -> (Option<i32>, String, String) {
    ended(&command.output().expect("the binary is built"))
}

#[track_caller]
fn assert_contains(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.contains(line), "{line:?} is not in:\n{text}");
    }
}

#[tokio::test]
async fn the_samples_result_is_the_same_after_kills_and_repeats() {
    let cloud = Cloud::start(&["--memory"]);
    let folder = tempfile::tempdir().expect("a folder");
    let file = sample(folder.path());

    let mut replay = cloud
        .replay(&file, &["--speed", "20"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary is built");
    let mut killed = BTreeSet::new();
    while replay.try_wait().expect("it belongs to this test").is_none() {
        if killed.len() < 4
            && let Some(pid) = cloud.environments("score").into_iter().find(|pid| !killed.contains(pid))
        {
            // It may have ended by itself.
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
            killed.insert(pid);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(killed.len() > 1, "nothing was killed");
    let (code, stdout, stderr) = ended(&replay.wait_with_output().expect("it ended"));
    assert_eq!(code, Some(1), "{stdout}{stderr}");
    assert_contains(&stderr, &["34 administrations", "sending to the local cloud that serves at http://127.0.0.1:"]);
    let found = [
        "totals: 19 equal, 1 different, 14 without one in the file, 0 not scored",
        "alerts: 10 in the scores, 10 in the inbox\n  safety (critical): 4\n  threshold (warning): 6",
        "DIFFERENCES: 1\n  SAMPLE-017 BASELINE 2025-02-07: the file says 17, its items give 16\n",
    ];
    assert_contains(&stdout, &found);
    assert_contains(
        &stdout,
        &["34 (patients: 20): 34 stored now, 0 already there", "submissions: 34 (0 before)", "alerts: 10 (0 before)"],
    );

    let (code, stdout, stderr) = run(&mut cloud.replay(&file, &["--quiet"]));
    assert_eq!(code, Some(1), "{stdout}{stderr}");
    assert_eq!(stderr, "");
    assert_contains(&stdout, &found);
    assert_contains(
        &stdout,
        &["0 stored now, 34 already there", "submissions: 34 (34 before)", "alerts: 10 (10 before)"],
    );

    // Another answer under the same id is refused, and the stored submission keeps its alerts.
    let another = changed(folder.path(), |rows| {
        rows.retain(|row| row[2] == "SAMPLE-002");
        rows[0][9] = json!(3 - rows[0][9].as_i64().expect("a code"));
    });
    let (code, stdout, stderr) = run(&mut cloud.replay(&another, &[]));
    assert_eq!(code, Some(1), "{stdout}{stderr}");
    assert_contains(
        &stdout,
        &[
            "0 stored now, 0 already there, 1 not stored",
            "SAMPLE-002 BASELINE 2025-04-04: not stored: other content is already stored under its id (409)",
            "submissions: 34 (34 before)",
            "DIFFERENCES: 1\n",
        ],
    );

    // Staff of another site may not read them.
    let (code, stdout, _) = run(&mut cloud.replay(&sample(folder.path()), &["--site", "OTHER"]));
    assert_eq!(code, Some(1));
    assert_contains(
        &stdout,
        &["it may have been sent for another site before", "counts of site OTHER:\n  submissions: 0 (0 before)"],
    );
}

#[test]
fn a_killed_local_cloud_ends_a_replay_and_the_next_one_completes_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().to_str().expect("a plain path");
    let questionnaires = tempfile::tempdir().expect("a folder");
    let file = sample(questionnaires.path());
    let cloud = Cloud::start(&["--data", data]);
    let mut first = cloud
        .replay(&file, &["--speed", "20", "--patience", "1"])
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary is built");
    let mut stderr = BufReader::new(first.stderr.take().expect("the stream is piped"));
    let mut printed = String::new();
    while !printed.contains("sent 9 of 34") {
        assert!(stderr.read_line(&mut printed).expect("UTF-8") > 0, "it ended: {printed}");
    }
    drop(cloud);
    std::io::Read::read_to_string(&mut stderr, &mut printed).expect("UTF-8");
    let (code, stdout, _) = ended(&first.wait_with_output().expect("it ended"));
    assert_eq!((code, stdout.as_str()), (Some(2), ""), "{printed}");
    assert_contains(&printed, &["error: the replay cannot continue: "]);

    let (code, stdout, stderr) =
        run(Command::new(LOCAL).arg("replay").arg(&file).args(["--data", data, "--port", "0"]));
    assert_eq!(code, Some(1), "{stdout}{stderr}");
    assert_contains(
        &stdout,
        &[
            "totals: 19 equal, 1 different, 14 without one in the file, 0 not scored",
            "alerts: 10 in the scores, 10 in the inbox",
            "submissions: 34 (",
            "DIFFERENCES: 1\n",
        ],
    );
}

#[test]
fn without_a_local_cloud_one_is_started_and_stopped() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = changed(folder.path(), |rows| {
        rows.retain(|row| row[2] == "SAMPLE-009" || row[2] == "SAMPLE-010");
        // The file's own total of the first administration.
        rows.remove(10);
    });
    let (code, stdout, stderr) = run(Command::new(LOCAL).arg("replay").arg(&file).args(["--memory", "--port", "0"]));
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert_contains(
        &stderr,
        &["starting one for this replay", "sending to http://127.0.0.1:", "sent 9 of 9", "scored 9 of 9"],
    );
    assert_contains(
        &stdout,
        &[
            "totals: 1 equal, 0 different, 8 without one in the file, 0 not scored",
            "no total in the file",
            "alerts: 2 in the scores, 2 in the inbox",
            "no differences",
        ],
    );
    let url = stderr.lines().find_map(|line| line.strip_prefix("sending to http://")).expect("it prints the address");
    assert!(std::net::TcpStream::connect(url).is_err(), "it still serves at {url}");
}

#[test]
fn a_file_with_faults_is_refused_before_a_local_cloud_is_started() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = changed(folder.path(), |rows| {
        rows.remove(3);
    });
    let (code, stdout, stderr) = run(Command::new(LOCAL).arg("replay").arg(&file).args(["--port", "0", "--memory"]));
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    assert_contains(
        &stderr,
        &["SAMPLE-001 BASELINE 2025-05-07: lacks the answers to the items 4 (PHQ0104)", "nothing was sent"],
    );
    assert!(!stderr.contains("starting"), "{stderr}");
}

#[test]
fn a_port_of_another_program_is_no_local_cloud() {
    let folder = tempfile::tempdir().expect("a folder");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    let (code, _, stderr) =
        run(Command::new(LOCAL).arg("replay").arg(sample(folder.path())).args(["--port", &port, "--memory"]));
    assert_eq!(code, Some(2), "{stderr}");
    assert_contains(&stderr, &["error: no local cloud to replay to: ", "is taken by another program"]);
}

#[test]
#[ignore = "needs the CDISC pilot files: EPRO_PILOT_DATA names their folder"]
fn one_total_of_the_real_file_differs_from_its_items() {
    let (code, stdout, stderr) = run(Command::new(LOCAL).arg("replay").arg(real()).args(["--memory", "--port", "0"]));
    assert_eq!(code, Some(1), "{stdout}{stderr}");
    assert_contains(&stderr, &["30 administrations"]);
    assert_contains(
        &stdout,
        &[
            "totals: 29 equal, 1 different, 0 without one in the file, 0 not scored",
            "alerts: 23 in the scores, 23 in the inbox\n  safety (critical): 16\n  threshold (warning): 7",
            "DIFFERENCES: 1\n  CDISC004 BASELINE 2013-10-08: the file says 27, its items give 26\n",
            "note: CDISC014 BASELINE 2013-04-03: sent without the unscored item 10",
            "30 (patients: 13): 30 stored now, 0 already there",
            "submissions: 30 (0 before)",
            "alerts: 23 (0 before)",
        ],
    );
}
