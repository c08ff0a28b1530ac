//! The guides: short enough to be read, their links lead somewhere, the notices are complete.

use std::fs;

use house::{files, relative, root, text};
use serde_json::Value;

/// As large as the README may be: what a newcomer reads in one go.
const LARGEST_README: u64 = 12 * 1024;

#[test]
fn the_readme_is_short() {
    let size = fs::metadata(root().join("README.md")).unwrap().len();
    assert!(size <= LARGEST_README, "README.md has {size} bytes: move reference to the folder that it is about");
}

#[test]
fn links_of_guides_lead_to_files() {
    let mut links = 0;
    for guide in files("", ".md") {
        for target in text(&guide).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap_or_default();
            if path.is_empty() || path.contains("://") {
                continue;
            }
            links += 1;
            assert!(guide.parent().unwrap().join(path).exists(), "{} links to {target}", relative(&guide));
        }
    }
    assert!(links > 10, "only {links} links were found");
}

#[test]
fn commands_in_guides_build_with_the_features_of_the_workspace() {
    // `-p` unites the features of one package and compiles the dependencies again. `clinical` has few of them.
    for guide in files("", ".md") {
        for line in text(&guide).lines().filter(|line| line.contains("cargo ") && line.contains(" -p ")) {
            let is_cheap = line.contains("-p clinical") || line.contains("cargo tree");
            assert!(is_cheap, "{}: {line}", relative(&guide));
        }
    }
}

#[test]
fn the_notice_names_each_instrument_that_ships() {
    let notice = text(&root().join("NOTICE"));
    let names: Vec<&str> = notice.split([' ', ',', '\n']).collect();
    let definitions = files("shared/clinical/instruments", ".json");
    let mut instruments = 0;
    for file in definitions.iter().filter(|file| !relative(file).ends_with(".cases.json")) {
        let definition: Value = serde_json::from_str(&text(file)).unwrap();
        let Some(id) = definition["id"].as_str() else { continue };
        instruments += 1;
        assert!(names.contains(&id), "NOTICE does not name {id}");
    }
    assert!(instruments > 20, "only {instruments} definitions were found");
}
