//! `validate` run as a process: on the samples of this repository, on damaged copies, and on a real study.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_local"))
        .arg("validate")
        .args(arguments)
        .output()
        .expect("the binary is built");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// The sample of a form's domain.
fn sample(form: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../samples/data/{form}.json"))
}

/// Writes the vital signs of the sample's first two subjects, 22 clean rows, after a change.
fn changed(folder: &Path, change: impl FnOnce(&mut Vec<Value>)) -> PathBuf {
    let mut file: Value = serde_json::from_slice(&fs::read(sample("vs")).expect("it exists")).expect("JSON");
    let rows = file["rows"].as_array_mut().expect("it has rows");
    rows.truncate(22);
    change(rows);
    file["records"] = rows.len().into();
    let path = folder.join("changed.json");
    fs::write(&path, file.to_string()).expect("the folder is writable");
    path
}

#[test]
fn each_sample_has_exactly_its_known_damages() {
    for (form, counts) in [
        ("ae", "(ae 1.1.0): 145 rows: 138 clean, 1 with warnings, 6 rejected, 0 not evaluated"),
        ("dm", "(dm 1.1.0): 201 rows: 193 clean, 0 with warnings, 8 rejected, 0 not evaluated"),
        ("lb", "(lb 1.0.0): 1601 rows: 1589 clean, 6 with warnings, 6 rejected, 0 not evaluated"),
        ("vs", "(vs 1.0.0): 2201 rows: 2192 clean, 1 with warnings, 8 rejected, 0 not evaluated"),
    ] {
        let (code, table, _) = run(&[form, sample(form).to_str().expect("UTF-8"), "--quiet"]);
        assert_eq!(code, Some(1), "{table}");
        assert!(table.lines().last().is_some_and(|last| last.ends_with(counts)), "{table}");
    }
}

#[test]
#[ignore = "needs the CDISC pilot files: EPRO_PILOT_DATA names their folder"]
fn the_real_file_has_warnings_and_no_rejected_row() {
    let folder = std::env::var_os("EPRO_PILOT_DATA").expect("EPRO_PILOT_DATA names their folder");
    let real = Path::new(&folder).join("vs.json");
    let (code, table, progress) = run(&["vs", real.to_str().expect("UTF-8")]);
    assert_eq!(code, Some(0), "{table}");
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["ROW", "KEY", "WHAT", "CHECK", "FIELD", "MESSAGE"]);
    assert_eq!(lines.iter().filter(|line| line.contains("  warning  ")).count(), 11, "{table}");
    assert!(
        lines
            .last()
            .is_some_and(|last| last
                .ends_with("(vs 1.0.0): 1414 rows: 1403 clean, 11 with warnings, 0 rejected, 0 not evaluated")),
        "{table}"
    );
    assert!(table.contains("columns not checked: VSSEQ, VSTEST, VSSTRESC, VSLOC, EPOCH, VSDY\n"), "{table}");
    assert!(progress.ends_with("checked 1414 of 1414\n"), "{progress}");
}

#[test]
fn each_damage_is_reported_and_no_other_row_is_rejected() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = changed(folder.path(), |rows| {
        rows[3][14] = json!("2012-12-32");
        rows[13][6] = json!("720");
        rows[13][8] = json!(720);
        rows[5][7] = json!("");
        let again = rows[1].clone();
        rows.push(again);
    });
    let file = file.to_str().expect("UTF-8");
    let (code, table, _) = run(&["vs", file, "--quiet"]);
    assert_eq!(code, Some(1), "{table}");
    let rejected: Vec<(usize, &str)> = table
        .lines()
        .filter(|line| line.contains("  reject  "))
        .map(|line| {
            let check = line.split("  reject  ").nth(1).expect("a finding has more columns").split_whitespace().next();
            let row = line.split_whitespace().next().and_then(|row| row.parse().ok());
            (row.expect("a row"), check.expect("a check"))
        })
        .collect();
    assert_eq!(
        rejected,
        [
            (1, "one-row-a-measurement"),
            (3, "VSDTC.type"),
            (5, "unit-required"),
            (13, "pulse-possible"),
            (22, "one-row-a-measurement"),
        ],
        "{table}"
    );
    assert!(table.contains("23 rows: 18 clean, 0 with warnings, 5 rejected, 0 not evaluated"), "{table}");
    assert!(!table.contains("720"), "values are shown only where they are asked for");
    assert!(run(&["vs", file, "--quiet", "--values"]).1.contains("[720]"));

    let (code, answer, progress) = run(&["vs", file, "--json", "--quiet", "--lang", "zh"]);
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    assert_eq!((code, progress.as_str()), (Some(1), ""));
    assert_eq!((&answer["counts"]["rejected"], &answer["language"]), (&json!(5), &json!("zh-Hans")));
    assert_eq!(answer["rows"][3]["findings"][0]["check"], "VSDTC.type");
}

#[test]
fn an_unusable_form_or_file_is_an_error_that_says_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("the folder is writable");
        path.to_str().expect("UTF-8").to_owned()
    };
    let rows = path("rows.ndjson", "{\"ID\": \"x\"}\n{}\n");
    let form = |pattern: &str| {
        json!({
            "id": "own", "version": "2.0.0", "title": {"en": "Own"}, "sources": ["Us"], "key": ["ID"],
            "fields": [{"id": "ID", "type": "text", "title": {"en": "Id"}, "pattern": pattern, "required": true}],
        })
        .to_string()
    };
    let (own, broken) = (path("own.json", &form("[a-z]+")), path("broken.json", &form("[a-z")));
    for (arguments, expected) in [
        (["vital", &rows, "--quiet"], "no form vital ships; name one of ae, dm, lb, vs, or the path of a definition"),
        (["vs", &rows, "--version=2.0.0"], "the form does not ship in this version, but in 1.0.0"),
        (["vs", "/nowhere/rows.json", "--quiet"], "cannot read /nowhere/rows.json"),
        (["/nowhere/form.json", &rows, "--quiet"], "cannot read /nowhere/form.json"),
        ([&broken, &rows, "--quiet"], "broken.json: /fields/0/pattern: the pattern is not a valid regular expression"),
        ([&own, &rows, "--version=1.0.0"], "own.json is version 2.0.0 of the form"),
        (
            ["vs", &path("no.json", "rows"), "--quiet"],
            "no.json is not a batch of rows: it is not valid JSON at line 1, column 1",
        ),
    ] {
        let (code, output, error) = run(&arguments);
        assert_eq!((code, output.as_str()), (Some(2), ""), "{error}");
        assert!(error.contains(expected), "{error}");
    }
    let (code, table, _) = run(&[&own, &rows, "--quiet"]);
    assert_eq!(code, Some(1));
    assert!(
        table.ends_with("Own (own 2.0.0): 2 rows: 1 clean, 0 with warnings, 1 rejected, 0 not evaluated\n"),
        "{table}"
    );
}
