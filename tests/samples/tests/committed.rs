//! The committed files equal the generator's output, and the README names existing files.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[test]
fn the_committed_files_are_what_the_generator_writes() {
    let mut written = BTreeSet::new();
    for sample in samples::all() {
        let path = samples::folder().join(sample.file());
        let committed = fs::read_to_string(&path).unwrap_or_default();
        let hint = "run `cargo run --bin samples` and look at the difference";
        assert!(committed == sample.text(), "{} is not what the generator writes: {hint}", path.display());
        written.insert(sample.file());
    }
    let names = fs::read_dir(samples::folder()).into_iter().flatten().flatten();
    let there: BTreeSet<_> = names.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    assert_eq!(there, written);
}

#[test]
fn the_files_that_the_readme_names_are_in_the_repository() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let readme = fs::read_to_string(root.join("README.md")).unwrap_or_default();
    let commands = readme.lines().filter(|line| line.contains("cargo run"));
    let named = commands.flat_map(|line| line.split([' ', '`', '(', ')', '<', '>'])).filter(|word| word.contains('/'));
    let files: Vec<&str> = named.filter(|word| word.ends_with(".json")).collect();
    assert!(files.contains(&"tests/samples/data/qs.json"), "{files:?}");
    for file in files {
        assert!(!file.contains("..") && root.join(file).is_file(), "{file} is not in the repository");
    }
}
