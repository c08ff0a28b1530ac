//! Modules and imports are written one way.

use house::{files, relative, text};

#[test]
fn a_module_is_a_file_beside_its_folder() {
    // Cargo would take a file beside the tests of a crate for a test of its own.
    let is_of_tests = |path: &str| path.split('/').any(|part| part == "tests") && !path.contains("/src/");
    for file in files("", "mod.rs") {
        let path = relative(&file);
        assert!(is_of_tests(&path), "{path}: write `name.rs` beside the folder `name`");
    }
}

#[test]
fn an_import_names_one_module() {
    let mut imports = 0;
    for file in files("", ".rs") {
        let text = text(&file);
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate().filter(|(_, line)| line.trim_start().starts_with("use ")) {
            let import: String = lines[number..].iter().take_while(|line| !line.contains("fn ")).copied().collect();
            let Some((import, _)) = import.split_once(';') else { continue };
            imports += 1;
            let names = import.split_once('{').map_or("", |(_, names)| names);
            let place = format!("{}:{}", relative(&file), number + 1);
            assert!(!names.contains("::"), "{place}: {line}: write a `use` for each module");
        }
    }
    assert!(imports > 1_000, "only {imports} imports were found");
}
