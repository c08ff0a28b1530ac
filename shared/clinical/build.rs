//! Writes the embedded definitions in canonical form, each with its hash, and their schemas without descriptions to
//! `OUT_DIR`: a function that starts computes neither, and `submit`'s bootstrap is 60 KB smaller.

#![allow(clippy::print_stdout, reason = "cargo reads the files to watch from standard output")]

#[path = "src/document/canonical.rs"]
#[allow(dead_code, reason = "the library uses the rest")]
mod canonical;

use std::error::Error;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::canonical::Canonical;

const FOLDERS: [&str; 4] = ["instruments", "forms", "studies", "fhir"];

fn main() -> Result<(), Box<dyn Error>> {
    let out = std::env::var("OUT_DIR")?;
    for file in ["build.rs", "src/document/canonical.rs"] {
        println!("cargo::rerun-if-changed={file}");
    }
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
            let (json, hash) = match serde_json::from_str(&text) {
                Ok(mut json) => {
                    if is_schema {
                        drop_descriptions(&mut json);
                    }
                    let Canonical { json, hash } = Canonical::of(&json);
                    (json, hash)
                }
                // An invalid file is copied unchanged: the tests report it with its position.
                Err(_) => (text.into(), "".into()),
            };
            fs::write(out.join(&path), json.as_bytes())?;
            fs::write(out.join(&path).with_extension("sha256"), hash.as_bytes())?;
        }
    }
    Ok(())
}

/// Removes the descriptions of a schema. A property that is named `description` has a schema as its value and stays.
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
