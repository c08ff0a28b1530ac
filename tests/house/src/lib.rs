//! Reads the repository for its tests: crates with their dependencies, source files, guides, the template.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

pub mod template;

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

/// A crate of the workspace.
#[derive(Debug)]
pub struct Crate {
    /// Its package's name.
    pub name: String,
    /// Its folder, relative to the root: `shared/records`.
    pub folder: String,
    /// The crates of the workspace that it is built with. Dependencies of its tests alone are not among them.
    pub dependencies: BTreeSet<String>,
    /// All crates that it is built with, by name.
    pub all_dependencies: BTreeSet<String>,
}

/// The crates of the workspace, as `cargo metadata` lists them.
pub fn crates() -> Vec<Crate> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--locked", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    packages
        .iter()
        .map(|package| {
            let built_with = || {
                let dependencies = package["dependencies"].as_array().unwrap().iter();
                dependencies.filter(|dependency| dependency["kind"] != "dev")
            };
            let name = |dependency: &Value| dependency["name"].as_str().unwrap().to_owned();
            let manifest = Path::new(package["manifest_path"].as_str().unwrap());
            let folder = manifest.parent().unwrap().strip_prefix(root()).unwrap();
            Crate {
                name: name(package),
                folder: folder.to_str().unwrap().to_owned(),
                dependencies: built_with().filter(|dependency| !dependency["path"].is_null()).map(name).collect(),
                all_dependencies: built_with().map(name).collect(),
            }
        })
        .collect()
}

/// The files below `folder` (relative to the root) whose names end in `ending`, by path; none of build output.
pub fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![root().join(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            let is_output = matches!(name, "target" | ".git" | ".aws-sam" | ".local" | "node_modules");
            if path.is_dir() && !is_output {
                folders.push(path);
            } else if path.is_file() && name.ends_with(ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The text of `path`.
pub fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{} cannot be read: {error}", path.display()))
}

/// `path` relative to the root.
pub fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}
