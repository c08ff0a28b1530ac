//! The committed files equal the generator's output, and the guides' commands name existing files.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[test]
fn the_committed_files_equal_the_generators_output() {
    let mut written = BTreeSet::new();
    for sample in samples::all() {
        let path = samples::folder().join(sample.file());
        let committed = fs::read_to_string(&path).unwrap_or_default();
        let hint = "run `cargo run --bin samples` and review the difference";
        assert!(committed == sample.text(), "{} differs from the generator's output: {hint}", path.display());
        written.insert(sample.file());
    }
    let names = fs::read_dir(samples::folder()).into_iter().flatten().flatten();
    let found: BTreeSet<_> = names.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    assert_eq!(found, written);
}

#[test]
fn the_files_that_the_guides_commands_name_are_in_the_repository() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let guides = ["README.md", "tests/README.md", "shared/clinical/README.md"];
    let text = guides.map(|guide| fs::read_to_string(root.join(guide)).unwrap_or_default()).concat();
    let commands = text.lines().filter(|line| line.contains("cargo run"));
    let named = commands.flat_map(|line| line.split([' ', '`', '(', ')', '<', '>'])).filter(|word| word.contains('/'));
    let files: Vec<&str> = named.filter(|word| word.ends_with(".json")).collect();
    assert!(files.contains(&"tests/samples/data/qs.json"), "{files:?}");
    for file in files {
        assert!(!file.contains("..") && root.join(file).is_file(), "{file} is not in the repository");
    }
}
