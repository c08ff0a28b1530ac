//! The commands that need no local cloud, run as processes.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn run(arguments: &[&str], input: &str) -> Output {
    let mut process = Command::new(env!("CARGO_BIN_EXE_local"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary is built");
    let mut stdin = process.stdin.take().expect("the stream is piped");
    stdin.write_all(input.as_bytes()).expect("it reads its input");
    drop(stdin);
    process.wait_with_output().expect("it ends")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn answers_are_scored_line_by_line_and_the_exit_code_reports_an_invalid_line() {
    let good = "{\"answers\":{\"1\":2,\"2\":1}}\n";
    let output = run(&["score", "phq-2"], good);
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
    let line: Value = serde_json::from_slice(&output.stdout).expect("a line of JSON");
    assert_eq!((&line["scores"][0]["value"], &line["alerts"][0]), (&3.into(), &"threshold".into()));

    let output = run(&["score", "phq-2@1.0.0"], &format!("{good}{{\"answers\":{{\"1\":9}}}}\n{good}"));
    assert_eq!(output.status.code(), Some(1));
    let lines = text(&output.stdout);
    assert_eq!(lines.lines().count(), 3);
    assert!(lines.contains("\"line\":2,\"errors\":[{\"pointer\":\"/answers/1\",\"code\":\"item.code\""), "{lines}");
}

#[test]
fn answers_are_scored_with_the_definition_in_a_file_and_for_a_group() {
    let folder = tempfile::tempdir().expect("there is room for temporary files");
    let file = folder.path().join("own.json");
    let path = file.to_str().expect("UTF-8");
    let shipped = include_str!("../../../shared/clinical/instruments/phq-15/1.1.0.json");
    std::fs::write(&file, shipped.replace("\"phq-15\"", "\"own-15\"")).expect("the folder is writable");
    let answers: Vec<_> = (1..=15).filter(|item| *item != 4).map(|item| format!("\"{item}\":1")).collect();
    let answers = format!("{{\"answers\":{{{}}}}}", answers.join(","));
    for (arguments, total) in [(&["score", path][..], Value::Null), (&["score", path, "--group", "men"], 14.into())] {
        let output = run(arguments, &answers);
        assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
        let line: Value = serde_json::from_slice(&output.stdout).expect("a line of JSON");
        assert_eq!(line["scores"][0]["value"], total, "{arguments:?}");
    }
    std::fs::write(&file, shipped.replace("[0, 30]", "[0, 31]")).expect("the folder is writable");
    let output = run(&["score", path], &answers);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    assert!(text(&output.stderr).contains("own.json: /scores/0/range: "), "{}", text(&output.stderr));
}

#[test]
fn an_unknown_instrument_is_an_error_that_says_what_to_do() {
    for (named, expected) in
        [("phq-99", "`cargo run -- instruments` lists those that do"), ("phq-9@7.0.0", "but in 1.0.0")]
    {
        let output = run(&["score", named], "");
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
        assert!(text(&output.stderr).contains(expected), "{}", text(&output.stderr));
    }
}

#[test]
fn a_questionnaire_becomes_a_definition_on_stdout_and_the_remaining_work_is_listed_on_stderr() {
    let folder = tempfile::tempdir().expect("there is room for temporary files");
    let file = folder.path().join("questionnaire.json");
    let import = || run(&["instrument", "import", file.to_str().expect("UTF-8")], "");
    let option = r#"{"valueCoding":{"code":"a"},"extension":[{"url":"http://hl7.org/fhir/StructureDefinition/ordinalValue","valueDecimal":1}]}"#;
    let other = option.replace("\"a\"", "\"b\"").replace(":1}", ":2}");
    for (item, code, expected) in [
        (format!(r#"{{"linkId":"1","type":"choice","text":"How?","answerOption":[{option},{other}]}}"#), 0, "note: "),
        (r#"{"linkId":"1","type":"integer","text":"How many?"}"#.to_owned(), 1, "fault: /items/0"),
        (r#"{"linkId":"1","type":"display","text":"Hello"}"#.to_owned(), 2, "no question"),
    ] {
        let questionnaire = format!(r#"{{"resourceType":"Questionnaire","id":"how","title":"How","item":[{item}]}}"#);
        std::fs::write(&file, questionnaire).expect("the folder is writable");
        let output = import();
        assert_eq!(output.status.code(), Some(code), "{item}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(expected), "{}", text(&output.stderr));
        assert_eq!(serde_json::from_slice::<Value>(&output.stdout).is_ok(), code < 2, "{item}");
    }
}

#[test]
fn the_instruments_are_listed() {
    let output = run(&["instruments"], "");
    assert_eq!(output.status.code(), Some(0));
    let table = text(&output.stdout);
    assert!(table.starts_with("ID "), "{table}");
    assert!(table.contains("\nrand-36 "), "{table}");
}

#[test]
fn a_reader_that_closes_the_output_causes_no_error() {
    let mut process = Command::new(env!("CARGO_BIN_EXE_local"))
        .args(["score", "phq-2"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary is built");
    drop(process.stdout.take());
    let mut stdin = process.stdin.take().expect("the stream is piped");
    // More than a pipe holds: the process ends before it has read everything.
    let mut written = 0;
    while stdin.write_all(b"{\"answers\":{\"1\":2,\"2\":1}}\n").is_ok() {
        written += 1;
        assert!(written < 10_000_000, "it does not end");
    }
    drop(stdin);
    let output = process.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
}

#[test]
fn a_study_is_checked_with_its_own_instruments_and_every_fault_is_listed_with_its_place() {
    let folder = tempfile::tempdir().expect("there is room for temporary files");
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/clinical");
    let write = |name: &str, text: String| {
        let file = folder.path().join(name);
        std::fs::write(&file, text).expect("the folder is writable");
        file.to_str().expect("UTF-8").to_owned()
    };
    let read = |name: &str| std::fs::read_to_string(format!("{root}/{name}")).expect("it exists");
    let demo = read("studies/demo.json");
    let own = read("instruments/gad-7/1.0.0.json").replace("\"id\": \"gad-7\"", "\"id\": \"own-7\"");
    let study = write("study.json", demo.replace("\"gad-7\"", "\"own-7\""));
    let instrument = write("own.json", own);

    let output = run(&["study", "check", &study, "--instrument", &instrument], "");
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
    assert_eq!(text(&output.stdout), "EPRO-DEMO 1.0.0 has no faults (5 instruments)\n");
    let output = run(&["instrument", "check", &instrument], "");
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).starts_with("own-7 1.0.0 has no faults; its hash is "), "{}", text(&output.stdout));

    let broken =
        write("broken.json", demo.replace("\"gad-7\"", "\"own-7\"").replace("Europe/Berlin", "Europe/Atlantis"));
    let output = run(&["study", "check", &broken], "");
    let stderr = text(&output.stderr);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    for expected in
        ["broken.json: /sites/0/timeZone: ", "broken.json: /instruments/1/id: there is no instrument own-7", "2 faults"]
    {
        assert!(stderr.contains(expected), "{stderr}");
    }
    assert_eq!(run(&["study", "check", "/nowhere/study.json"], "").status.code(), Some(2));
}

#[test]
fn a_put_that_fails_says_why_and_what_to_do() {
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/clinical/studies/demo.json");
    // No service uses this port, and only root may listen on it.
    let output = run(&["study", "put", demo, "--reason", "a test", "--port", "1"], "");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("no local cloud answers on port 1"), "{}", text(&output.stderr));
    let phq_2 = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/clinical/instruments/phq-2/1.0.0.json");
    let output = run(&["instrument", "put", phq_2, "--reason", "a test"], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("ships with the program"), "{}", text(&output.stderr));
}
