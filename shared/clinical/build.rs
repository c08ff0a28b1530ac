//! Writes the definitions that the library carries without white space, and their schemas without descriptions, to
//! `OUT_DIR`: `submit`'s bootstrap is 60 KB smaller for it. Content hashes are those of the canonical form, so they stay.

#![allow(clippy::print_stdout, reason = "cargo is told by standard output what to watch")]

use std::error::Error;
use std::fs;
use std::path::Path;

use serde_json::Value;

const FOLDERS: [&str; 4] = ["instruments", "forms", "studies", "fhir"];

fn main() -> Result<(), Box<dyn Error>> {
    let out = std::env::var("OUT_DIR")?;
    println!("cargo::rerun-if-changed=build.rs");
    for folder in FOLDERS {
        println!("cargo::rerun-if-changed={folder}");
        write_all(Path::new(folder), Path::new(&out))?;
    }
    Ok(())
}

fn write_all(folder: &Path, out: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(out.join(folder))?;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            write_all(&path, out)?;
        } else if path.extension().is_some_and(|extension| extension == "json") {
            let text = fs::read_to_string(&path)?;
            let is_schema = path.to_string_lossy().ends_with(".schema.json");
            // A file that is no JSON stays as it is: the tests say which, and where.
            let written = match serde_json::from_str::<Value>(&text) {
                Ok(mut json) => {
                    if is_schema {
                        drop_descriptions(&mut json);
                    }
                    json.to_string()
                }
                Err(_) => text,
            };
            fs::write(out.join(&path), written)?;
        }
    }
    Ok(())
}

/// Removes what a schema says to people. A property that is called `description` has a schema, not a text, and stays.
fn drop_descriptions(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if members.get("description").is_some_and(Value::is_string) {
                members.remove("description");
            }
            members.values_mut().for_each(drop_descriptions);
        }
        Value::Array(entries) => entries.iter_mut().for_each(drop_descriptions),
        _ => {}
    }
}
