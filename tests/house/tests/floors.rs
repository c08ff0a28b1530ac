//! Each crate depends only on crates of lower floors, and inside `shared/records` each room only on lower ones.

#![allow(clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use house::{Crate, crates, files, relative, text};

/// The floor of a crate by its folder, the lowest first. A crate on a floor may be built with crates of lower floors only.
fn floor(folder: &str) -> Option<u8> {
    Some(match folder {
        "shared/clinical" => 0,
        "shared/invocation" => 1,
        "shared/records" | "shared/notifications" => 2,
        "shared/verification" | "shared/releases" | "shared/scheduling" => 3,
        "shared/api" | "shared/scoring" | "shared/authoring" => 4,
        _ if folder.starts_with("functions/") => 5,
        _ if folder.starts_with("tests/") => 6,
        _ => return None,
    })
}

/// What `one` is built with and must not be.
fn upward<'a>(one: &Crate, all: &'a [Crate]) -> Vec<&'a str> {
    let own = floor(&one.folder).unwrap_or_else(|| panic!("{} has no floor: give it one here", one.folder));
    let is_upward = |other: &&Crate| floor(&other.folder).is_none_or(|floor| floor >= own);
    let used = all.iter().filter(|other| one.dependencies.contains(&other.name));
    used.filter(is_upward).map(|other| other.folder.as_str()).collect()
}

#[test]
fn no_crate_is_built_with_one_of_its_floor_or_above() {
    let all = crates();
    assert!(all.len() > 15, "cargo metadata lists {} crates only", all.len());
    for one in all.iter().filter(|one| !one.folder.starts_with("tests/")) {
        let upward = upward(one, &all);
        assert!(upward.is_empty(), "{} is built with {upward:?}: move what it needs down", one.folder);
    }
}

#[test]
fn an_upward_dependency_is_found() {
    let package = |name: &str, folder: &str, dependencies: &[&str]| Crate {
        name: name.to_owned(),
        folder: folder.to_owned(),
        dependencies: dependencies.iter().map(|name| (*name).to_owned()).collect(),
        all_dependencies: Default::default(),
    };
    let records = package("records", "shared/records", &["api"]);
    let sweep = package("sweep", "functions/sweep", &["score", "records"]);
    let all = [package("api", "shared/api", &[]), package("score", "functions/score", &[]), records, sweep];
    assert_eq!(upward(&all[2], &all), ["shared/api"]);
    assert_eq!(upward(&all[3], &all), ["functions/score"]);
}

#[test]
fn packages_are_named_as_their_folders() {
    for one in crates() {
        let folder = one.folder.rsplit('/').next().unwrap_or_default();
        assert_eq!(one.name, folder, "the package of {}", one.folder);
    }
}

#[test]
fn only_http_functions_know_http_and_only_records_knows_dynamodb() {
    for one in crates().iter().filter(|one| one.folder.starts_with("shared/") || one.folder.starts_with("functions/")) {
        let uses = |name: &str| one.all_dependencies.contains(name);
        let is_http = one.folder == "shared/api" || uses("api");
        assert!(is_http || !uses("lambda_http"), "{} knows HTTP", one.folder);
        assert!(one.folder == "shared/records" || !uses("aws-sdk-dynamodb"), "{} names DynamoDB", one.folder);
        assert!(one.folder == "shared/notifications" || !uses("aws-sdk-sns"), "{} names SNS", one.folder);
    }
}

#[test]
fn the_rooms_of_records_use_lower_ones_only() {
    let above = [
        ("table", ["crate::items", "crate::store", "impl Store {"].as_slice()),
        ("items", &["crate::store", "impl Store {"]),
    ];
    for (room, forbidden) in above {
        let files = files(&format!("shared/records/src/{room}"), ".rs");
        assert!(files.len() > 3, "shared/records/src/{room} has {} files only", files.len());
        for file in files {
            let text = text(&file);
            for name in forbidden {
                assert!(!text.contains(name), "{} has `{name}`, of a room above it", relative(&file));
            }
        }
    }
}
