//! `validate` as a person calls it, on the vital signs of a real study and on damaged copies of them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_local")).arg("validate").args(arguments).output().expect("it is built");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// The real file; it lies beside the checkout.
fn real() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/vs.json");
    assert!(path.is_file(), "this test reads {}, which is not there", path.display());
    path
}

/// The real file with other rows.
fn changed(folder: &Path, change: impl FnOnce(&mut Vec<Value>)) -> PathBuf {
    let mut file: Value = serde_json::from_slice(&fs::read(real()).expect("it is there")).expect("it is JSON");
    let rows = file["rows"].as_array_mut().expect("it has rows");
    change(rows);
    file["records"] = rows.len().into();
    let path = folder.join("changed.json");
    fs::write(&path, file.to_string()).expect("the folder is writable");
    path
}

#[test]
fn the_real_file_asks_for_a_second_look_and_nothing_of_it_is_rejected() {
    let (code, table, progress) = run(&["vs", real().to_str().expect("it is text")]);
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
fn each_damage_is_named_and_nothing_else_is_rejected() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = changed(folder.path(), |rows| {
        rows[3][19] = json!("2012-12-32");
        rows[16][7] = json!("720");
        rows[16][10] = json!(720);
        rows[30][8] = json!("");
        let again = rows[50].clone();
        rows.push(again);
    });
    let file = file.to_str().expect("it is text");
    let (code, table, _) = run(&["vs", file, "--quiet"]);
    assert_eq!(code, Some(1), "{table}");
    let rejected: Vec<(usize, &str)> = table
        .lines()
        .filter(|line| line.contains("  reject  "))
        .map(|line| {
            let check = line.split("  reject  ").nth(1).expect("it has more").split_whitespace().next();
            let row = line.split_whitespace().next().and_then(|row| row.parse().ok());
            (row.expect("a row"), check.expect("a check"))
        })
        .collect();
    assert_eq!(
        rejected,
        [
            (3, "VSDTC.type"),
            (16, "pulse-possible"),
            (30, "unit-required"),
            (50, "one-row-a-measurement"),
            (1414, "one-row-a-measurement"),
        ],
        "{table}"
    );
    assert!(table.contains("1415 rows: 1399 clean, 11 with warnings, 5 rejected, 0 not evaluated"), "{table}");
    assert!(!table.contains("720"), "values are shown only where they are asked for");
    assert!(run(&["vs", file, "--quiet", "--values"]).1.contains("[720]"));

    let (code, answer, said) = run(&["vs", file, "--json", "--quiet", "--lang", "zh"]);
    let answer: Value = serde_json::from_str(&answer).expect("it is JSON");
    assert_eq!((code, said.as_str()), (Some(1), ""));
    assert_eq!((&answer["counts"]["rejected"], &answer["language"]), (&json!(5), &json!("zh-Hans")));
    assert_eq!(answer["rows"][3]["findings"][0]["check"], "VSDTC.type");
}

#[test]
fn what_cannot_be_used_is_said_with_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("the folder is writable");
        path.to_str().expect("it is text").to_owned()
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
    for (arguments, said) in [
        (["vital", &rows, "--quiet"], "there is no form vital; there are ae, dm, vs, or name the file of a definition"),
        (["vs", &rows, "--version=2.0.0"], "the form is not there in this version, but in 1.0.0"),
        (["vs", "/nowhere/rows.json", "--quiet"], "cannot read /nowhere/rows.json"),
        (["/nowhere/form.json", &rows, "--quiet"], "cannot read /nowhere/form.json"),
        ([&broken, &rows, "--quiet"], "broken.json: /fields/0/pattern: the pattern is no regular expression"),
        ([&own, &rows, "--version=1.0.0"], "own.json is version 2.0.0 of the form"),
        (
            ["vs", &path("no.json", "rows"), "--quiet"],
            "no.json is no batch of rows: it is no JSON from line 1, column 1 on",
        ),
    ] {
        let (code, output, error) = run(&arguments);
        assert_eq!((code, output.as_str()), (Some(2), ""), "{error}");
        assert!(error.contains(said), "{error}");
    }
    let (code, table, _) = run(&[&own, &rows, "--quiet"]);
    assert_eq!(code, Some(1));
    assert!(
        table.ends_with("Own (own 2.0.0): 2 rows: 1 clean, 0 with warnings, 1 rejected, 0 not evaluated\n"),
        "{table}"
    );
}
