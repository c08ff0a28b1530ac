//! The errors of a local cloud that does not start. All of them are found before anything is built.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

/// Exit code, stdout and stderr.
fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_local")).args(arguments).output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a folder for tests has a plain name")
}

#[test]
fn a_taken_port_is_an_error_that_says_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = taken.local_addr().expect("it listens").port();
    let (code, stdout, stderr) = run(&["--memory", "--port", &port.to_string()]);
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    let next = port.saturating_add(1);
    assert_eq!(
        stderr,
        format!(
            "error: port {port} is taken by another program. Stop that one, or choose another port: `--port {next}` \
             (`--port 0` takes any that is free)\n"
        )
    );
}

#[test]
fn a_data_folder_of_another_version_or_with_other_files_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("version"), "0").expect("the folder is writable");
    let (code, _, stderr) = run(&["--port", "0", "--data", text(folder.path())]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("has version \"0\", and this local cloud uses version \"1\""), "{stderr}");

    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("thesis.txt"), "").expect("the folder is writable");
    let (code, _, stderr) = run(&["--port", "0", "--data", text(folder.path())]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("contains files that are not the local cloud's"), "{stderr}");
}

#[test]
fn a_template_that_cannot_be_read_is_an_error_with_its_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("template.yaml");
    let template = "Resources:\n  Work:\n    Type: AWS::Serverless::Function\n    Properties: {Timeout: 5}\n";
    fs::write(&file, template).expect("the folder is writable");
    let (code, stdout, stderr) = run(&["--memory", "--port", "0", "--template", text(&file)]);
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(stderr.contains("template.yaml, line 2, at Resources.Work: the function's binary is missing"), "{stderr}");
    let (_, _, stderr) = run(&["--memory", "--port", "0", "--template", "/nowhere/template.yaml"]);
    assert!(stderr.contains("cannot read the template /nowhere/template.yaml"), "{stderr}");
}

#[test]
fn an_unknown_parameter_is_an_error_that_lists_the_known_ones() {
    let (code, _, stderr) = run(&["--memory", "--port", "0", "--quiet", "--parameter", "EscalationMinute=1"]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("no parameter EscalationMinute. It has: Stage, "), "{stderr}");
    assert!(stderr.contains("EscalationMinutes"), "{stderr}");
    assert_eq!(run(&["--parameter", "EscalationMinutes"]).0, Some(2));
}

#[test]
fn options_that_exclude_each_other_or_do_not_exist_are_refused() {
    for arguments in [["--memory", "--data=x"], ["--prot", "1"], ["--port", "70000"], ["--concurrency", "0"]] {
        let (code, _, stderr) = run(&arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {stderr}");
    }
    assert!(run(&["--prot", "1"]).2.contains("'--port'"), "a slip of the finger is understood");
}
