//! The library that moves the clock of a process, in processes that are not ours.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{SystemTime, UNIX_EPOCH};

use local::executables::build_clock;

async fn library() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    build_clock(&root, "dev", true).await.expect("it builds")
}

/// The output of a shell with the library and the clock's `file`.
fn run(library: &Path, file: &Path, script: &str) -> Output {
    let command = Command::new("bash").args(["-c", script]).env("LD_PRELOAD", library).env("EPRO_CLOCK", file).output();
    command.expect("bash is installed")
}

fn seconds(output: &Output) -> u64 {
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().unwrap_or(0)
}

#[tokio::test]
async fn each_way_to_ask_libc_for_the_time_of_day_is_moved_and_follows_the_file() {
    let library = library().await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("clock");
    for ahead in [0_i64, 1_000, 86_400_000, 315_000_000_999] {
        std::fs::write(&file, [ahead.to_ne_bytes(), (!ahead).to_ne_bytes()].concat()).expect("it is written");
        // `date` calls clock_gettime, and bash's own `%(…)T` time; EPOCHSECONDS is gettimeofday's.
        for script in ["date +%s", "printf '%(%s)T' -1", "echo $EPOCHSECONDS"] {
            let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
            let (before, shown, after) = (now(), seconds(&run(&library, &file, script)), now());
            let ahead = ahead.unsigned_abs() / 1_000;
            assert!(
                (before + ahead..=after + ahead + 1).contains(&shown),
                "{script}: {shown}, {ahead} ahead of {before}"
            );
        }
    }
}

#[tokio::test]
async fn a_process_that_cannot_follow_its_clock_does_not_start() {
    let library = library().await;
    let folder = tempfile::tempdir().expect("a folder");
    for file in ["missing", "short"] {
        std::fs::write(folder.path().join("short"), "12345678").expect("it is written");
        let output = run(&library, &folder.path().join(file), "date");
        assert_eq!(output.status.code(), Some(1), "{file}: {output:?}");
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(message.contains("EPRO_CLOCK names cannot be mapped"), "{file}: {message}");
    }
}
