//! The walks through the API in the guides: each command is run as it is written, and answers what the guide shows.
//!
//! In a block that follows a command, `…` stands for any text. So do ids and times that no command has fixed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use end_to_end::Cloud;
use regex_lite::Regex;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::{Instant, sleep, timeout};

/// The time within which a read shows what was scored or published after the write.
const PATIENCE: Duration = Duration::from_secs(60);
const END: &str = "--end-of-block--";
/// Programs that a walk does not use: their blocks say how to start, deploy or subscribe.
const ELSEWHERE: [&str; 6] = ["cargo ", "aws ", "pip ", "sam ", "node ", "export AWS_"];

/// A block of commands in a guide, with what it answers if the guide shows it.
#[derive(Debug)]
struct Step {
    line: usize,
    commands: String,
    answer: Option<String>,
}

/// The steps of the walk in `guide`.
fn steps(guide: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut block: Option<(usize, String, Vec<&str>)> = None;
    let mut is_after_commands = false;
    for (number, line) in guide.lines().enumerate() {
        match (&mut block, line.strip_prefix("```")) {
            (None, Some(language)) => block = Some((number + 1, language.to_owned(), Vec::new())),
            (Some((start, language, lines)), Some(_)) => {
                let text = lines.join("\n");
                let is_walk = language == "sh" && !ELSEWHERE.iter().any(|program| text.starts_with(program));
                if is_walk {
                    steps.push(Step { line: *start, commands: text, answer: None });
                } else if language.is_empty() && is_after_commands {
                    steps.last_mut().unwrap().answer = Some(text);
                }
                is_after_commands = is_walk;
                block = None;
            }
            (Some((_, _, lines)), None) => lines.push(line),
            (None, None) => is_after_commands &= line.trim().is_empty(),
        }
    }
    steps
}

/// The pattern of what the guide shows as `answer`. Ids and times are any, unless `commands` has them.
fn pattern(answer: &str, commands: &str) -> Regex {
    let any = Regex::new(concat!(
        "…",
        "|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        "|[0-9a-f]{8}-…",
        r"|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z",
        r#"|"apiCalls":[0-9]+"#,
    ))
    .unwrap();
    let (mut pattern, mut end) = ("^".to_owned(), 0);
    for found in any.find_iter(answer).filter(|found| !commands.contains(found.as_str())) {
        pattern.push_str(&regex_lite::escape(&answer[end..found.start()]));
        pattern.push_str("[^\n]*?");
        end = found.end();
    }
    pattern.push_str(&regex_lite::escape(&answer[end..]));
    Regex::new(&(pattern + "$")).unwrap()
}

/// A shell, as a reader has it open beside the cloud.
struct Shell {
    _process: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Shell {
    fn start(folder: &Path) -> Self {
        let mut process = Command::new("bash")
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("bash is installed");
        let (input, output) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        Self { _process: process, input, output: BufReader::new(output).lines() }
    }

    /// What `commands` print, and the status of the last of them.
    async fn run(&mut self, commands: &str) -> (String, String) {
        let text = format!("{commands}\nprintf '\\n%s %s\\n' '{END}' $?\n");
        self.input.write_all(text.as_bytes()).await.unwrap();
        let mut printed = Vec::new();
        loop {
            let line = timeout(PATIENCE, self.output.next_line()).await.expect("a command ends").unwrap();
            let line = line.expect("the shell runs on");
            if let Some(status) = line.strip_prefix(END) {
                return (printed.join("\n").trim().to_owned(), status.trim().to_owned());
            }
            printed.push(line);
        }
    }
}

/// Runs the walk in `guide` against `cloud`.
async fn walk(cloud: &Cloud, guide: &Path) -> usize {
    let name = guide.file_name().unwrap().to_str().unwrap();
    let text = std::fs::read_to_string(guide).unwrap().replace("http://127.0.0.1:3000", cloud.address());
    let steps = steps(&text);
    let folder = tempfile::tempdir().unwrap();
    let mut shell = Shell::start(folder.path());
    let commands: String = steps.iter().map(|step| step.commands.as_str()).collect();
    for step in &steps {
        let place = format!("{name}:{}", step.line);
        // A read may come before the score. What writes is sent once: its first answer is the one that the guide shows.
        let is_write = [" -d ", "send ", "-X ", "later "].iter().any(|sign| step.commands.contains(sign));
        let end = Instant::now() + PATIENCE;
        loop {
            let (printed, status) = shell.run(&step.commands).await;
            let expected = step.answer.as_deref().map(|answer| pattern(answer, &commands));
            let is_expected = status == "0" && expected.as_ref().is_none_or(|expected| expected.is_match(&printed));
            if is_expected {
                break;
            }
            let is_late = is_write || Instant::now() > end;
            let Step { commands, answer, .. } = step;
            assert!(
                !is_late,
                "{place}: status {status}\n{commands}\n-- printed --\n{printed}\n-- shown --\n{answer:?}"
            );
            sleep(Duration::from_millis(50)).await;
        }
    }
    steps.len()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

#[tokio::test]
async fn the_readmes_walk_answers_as_it_says() {
    let (cloud, _data) = Cloud::fresh(&["--memory"]).await;
    assert!(walk(&cloud, &root().join("README.md")).await > 6);
}

#[tokio::test]
async fn the_integration_guide_answers_as_it_says_and_the_data_model_has_all_that_it_stores() {
    let (cloud, _data) = Cloud::fresh(&["--memory"]).await;
    assert!(walk(&cloud, &root().join("functions/INTEGRATION.md")).await > 15);
    let summary = cloud.post("/local/schedules/reconcile", None, &json!({})).await;
    assert_eq!(summary.status, 200, "{summary:?}");

    let documented = attributes_by_kind(&std::fs::read_to_string(root().join("shared/records/README.md")).unwrap());
    let mut kinds = BTreeSet::new();
    for item in cloud.items("recordsTable").await {
        let kind = item["kind"]["S"].as_str().unwrap().to_owned();
        let known = documented.get(&kind).unwrap_or_else(|| panic!("the data model has no kind {kind}"));
        for name in item.as_object().unwrap().keys().filter(|name| !["pk", "sk", "kind"].contains(&name.as_str())) {
            assert!(known.contains(name), "the data model has no {name} of {kind}");
        }
        kinds.insert(kind);
    }
    let expected = ["alert", "audit", "key", "plan", "profile", "rollout", "study", "submission", "verification"];
    assert_eq!(kinds, expected.map(str::to_owned).into(), "kinds that the walk stores");
    for item in cloud.items("countsTable").await {
        for name in item.as_object().unwrap().keys() {
            let known = ["pk", "api_calls", "calls", "submissions", "alerts"].contains(&name.as_str());
            assert!(known || name.starts_with("instrument#"), "the data model has no counter {name}");
        }
    }
}

/// The attributes that the data model names for each kind of item.
fn attributes_by_kind(guide: &str) -> BTreeMap<String, BTreeSet<String>> {
    let (mut kinds, mut current) = (BTreeMap::<String, BTreeSet<String>>::new(), None);
    for line in guide.lines() {
        if let Some(title) = line.strip_prefix('#') {
            current = title.strip_prefix("## `").and_then(|kind| kind.strip_suffix('`')).map(str::to_owned);
        } else if let (Some(kind), Some(row)) = (&current, line.strip_prefix("| `")) {
            let names = row.split(" | ").next().unwrap().split('`').step_by(2).map(str::to_owned);
            kinds.entry(kind.clone()).or_default().extend(names);
        }
    }
    kinds
}

#[test]
fn a_wrong_answer_is_noticed() {
    let shown = "{\"id\":\"0192f3a4-7c1e-7b2a-9d4e-5f6a7b8c9d0e\",\"at\":\"2026-11-23T14:42:29.184Z\",\"n\":1,…}\n202";
    let fixed = "id=0192f3a4-7c1e-7b2a-9d4e-5f6a7b8c9d0e";
    let printed = |id: &str, n: u8, status: u16| {
        format!("{{\"id\":\"{id}\",\"at\":\"2027-01-01T00:00:00Z\",\"n\":{n},\"more\":{{}}}}\n{status}")
    };
    let (own, other) = (&fixed[3..], "1192f3a4-7c1e-7b2a-9d4e-5f6a7b8c9d0e");
    assert!(pattern(shown, fixed).is_match(&printed(own, 1, 202)));
    assert!(pattern(shown, "").is_match(&printed(other, 1, 202)));
    for wrong in [printed(other, 1, 202), printed(own, 2, 202), printed(own, 1, 200)] {
        assert!(!pattern(shown, fixed).is_match(&wrong), "{wrong}");
    }
    let guide = "```sh\na\n```\n\n```\nb\n```\ntext\n```\nc\n```\n```sh\ncargo run\n```\n```\nd\n```\n";
    let found: Vec<_> = steps(guide).into_iter().map(|step| (step.commands, step.answer)).collect();
    assert_eq!(found, [("a".to_owned(), Some("b".to_owned()))]);
}
