//! What `sam local` reads, in a folder of its own, by whose path the containers of this run are found.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use local::template::Function;
use sam_local::{Cloud, DYNAMODB, SNS};
use tempfile::TempDir;

use crate::{Result, containers};

/// The name of a function's own bootstrap beside a program that takes its place.
pub(crate) const REAL: &str = "function";

/// The template, the functions' bootstraps where its `CodeUri` expects the sources, and the functions' variables. With
/// its end go the containers that use it.
#[derive(Debug)]
pub(crate) struct RunFolder {
    folder: TempDir,
}

impl RunFolder {
    /// The folder for functions that reach the services at `host`. The program `instead` takes the place of the
    /// bootstraps, which lie beside it.
    pub(crate) fn new(cloud: &Cloud, host: &str, instead: Option<&Path>) -> Result<Self> {
        // Docker Desktop shares the home folder, not each system's folder for temporary files.
        let parent = Cloud::root().join(".aws-sam");
        fs::create_dir_all(&parent)?;
        let folder = tempfile::Builder::new().prefix("run-").tempdir_in(parent.canonicalize()?)?;
        let this = Self { folder };
        for function in cloud.functions() {
            let code = this.path().join("functions").join(&function.binary);
            fs::create_dir_all(&code)?;
            link(&bootstrap(function), &code.join(if instead.is_some() { REAL } else { "bootstrap" }))?;
            if let Some(instead) = instead {
                link(instead, &code.join("bootstrap"))?;
            }
        }
        fs::write(this.template(), template()?)?;
        fs::write(this.variables(), variables(cloud, host)?)?;
        Ok(this)
    }

    /// The template.
    pub(crate) fn template(&self) -> PathBuf {
        self.path().join("template.yaml")
    }

    /// A file for `--env-vars`.
    pub(crate) fn variables(&self) -> PathBuf {
        self.path().join("variables.json")
    }

    /// Where processes may write.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for RunFolder {
    #[allow(clippy::print_stderr, reason = "it talks to a person at a terminal")]
    fn drop(&mut self) {
        if let Err(error) = containers::remove(self.path()) {
            eprintln!("containers that use {} could not be removed: {error}", self.path().display());
        }
    }
}

/// The bootstrap of a function: the one that `sam build` made, or the one in the folder that `BOOTSTRAPS` names.
pub(crate) fn bootstrap(function: &Function) -> PathBuf {
    match env::var_os("BOOTSTRAPS") {
        Some(folder) => PathBuf::from(folder).join(&function.binary),
        None => Cloud::root().join(".aws-sam/build").join(&function.name).join("bootstrap"),
    }
}

/// Like a copy, without its bytes where both are on one disk.
fn link(from: &Path, to: &Path) -> Result<()> {
    let linked = fs::hard_link(from, to).or_else(|_| fs::copy(from, to).map(drop));
    linked.map_err(|e: io::Error| format!("{}: {e}: `tests/sam-local/run docker` builds it", from.display()).into())
}

/// The template with the endpoint variables declared, because `sam local` passes only declared ones. The deployed
/// template has none of them.
fn template() -> Result<String> {
    let text = fs::read_to_string(Cloud::root().join("template.yaml"))?;
    let (mut declared, mut changed) = (0, String::new());
    for line in text.lines() {
        changed.push_str(line);
        changed.push('\n');
        if let Some(indent) = line.find("OPEN_STUDIES:") {
            changed.push_str(&format!("{:indent$}{DYNAMODB}: ''\n{:indent$}{SNS}: ''\n", "", ""));
            declared += 1;
        }
    }
    match declared {
        1 => Ok(changed),
        other => {
            Err(format!("template.yaml declares OPEN_STUDIES {other} times, and not once for all functions").into())
        }
    }
}

/// The functions' variables from the template, with `host` in the services' addresses.
fn variables(cloud: &Cloud, host: &str) -> Result<String> {
    let functions = cloud.functions().iter().map(|function| {
        let variables = function.environment.iter();
        let variables = variables.map(|(name, value)| (name.as_str(), value.replace("127.0.0.1", host)));
        (function.name.as_str(), variables.collect::<BTreeMap<_, _>>())
    });
    Ok(serde_json::to_string(&functions.collect::<BTreeMap<_, _>>())?)
}
