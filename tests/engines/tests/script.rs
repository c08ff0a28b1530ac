//! The script `run` ends with the status of its parts. The engines, cargo and the tests are replaced by stubs.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, and so does what helps it")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

const FOLDER: &str = env!("CARGO_MANIFEST_DIR");

fn stub(path: &Path, script: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, format!("#!/usr/bin/env bash\n{script}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Runs all parts; `test` is the script of each end-to-end test, and `cargo` that of cargo after it named all programs.
fn run(test: &str, cargo: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let versions = "cat requirements.txt package-lock.json | sha256sum | cut -c1-16";
    let versions = Command::new("bash").args(["-c", versions]).current_dir(FOLDER).output().unwrap().stdout;
    let tools = at("cache/epro-ci").join(format!("engines-{}", String::from_utf8(versions).unwrap().trim()));
    // The checks of the requests need botocore.
    let python = r#"[[ $1 != *executables.py ]] && echo "ran ${1##*/}" && exit 0; exec python3 "$@""#;
    stub(&tools.join("python/bin/python"), python);
    fs::write(tools.join("complete"), "").unwrap();
    for name in ["bin/node", "bin/npm"] {
        stub(&at(name), "exit 0");
    }
    stub(&at("test"), test);
    stub(&at("functions-test"), "exit 0");
    stub(&at("engines"), "echo ran the differential test");
    let root = Path::new(FOLDER).ancestors().nth(2).unwrap();
    let message = |package: &str, name: &str, is_test: bool| {
        let manifest = root.join(package).join("Cargo.toml");
        serde_json::json!({
            "reason": "compiler-artifact", "manifest_path": manifest, "executable": at(name),
            "profile": {"test": is_test}, "target": {"name": name},
        })
    };
    let messages = [
        message("tests/end-to-end", "test", true),
        message("functions/submit", "functions-test", true),
        message("tests/engines", "engines", false),
    ];
    let messages: Vec<String> = messages.iter().map(ToString::to_string).collect();
    fs::write(at("messages"), messages.join("\n")).unwrap();
    stub(&at("bin/cargo"), &format!("messages={}\n{cargo}", at("messages").display()));
    let path = format!("{}:{}", at("bin").display(), std::env::var("PATH").unwrap());
    let mut command = Command::new(Path::new(FOLDER).join("run"));
    command.env("PATH", path).env("XDG_CACHE_HOME", at("cache")).env_remove("EPRO_RECORDED").output().unwrap()
}

fn text(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

#[test]
fn all_parts_run_and_the_worst_status_is_the_result() {
    for (test, expected) in [("exit 0", 0), ("exit 101", 1)] {
        let output = run(test, "cat \"$messages\"");
        assert_eq!(output.status.code(), Some(expected), "{}", text(&output));
        for part in ["ran check_requests.py", "ran the differential test"] {
            assert!(text(&output).contains(part), "{}", text(&output));
        }
    }
}

#[test]
fn nothing_passes_where_nothing_can_be_run() {
    for cargo in ["exit 0", "exit 101", "cat \"$messages\"; exit 101", "grep -v end-to-end \"$messages\""] {
        let output = run("exit 0", cargo);
        assert_ne!(output.status.code(), Some(0), "{cargo}: {}", text(&output));
    }
}
