//! Builds a copy of the workspace with all planted bugs in it, and counts the seeds until each is caught.

use std::collections::VecDeque;
use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::planted::{Planted, SWITCH, all};

/// A bug, and what became of it.
#[derive(Clone, Debug)]
pub struct Caught {
    /// The bug.
    pub bug: Planted,
    /// The number of seeds until a promise was broken, and that promise; `None` if the bug survived.
    pub after: Option<(u64, String)>,
}

/// Why the bugs could not be run.
#[derive(Debug, thiserror::Error)]
pub enum PlantingError {
    /// A file cannot be read or written.
    #[error("{}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A bug no longer fits the code.
    #[error("{0}; change the bug in tests/simulation/src/planted.rs as the code has changed")]
    DoesNotFit(String),
    /// A program failed.
    #[error("{program} failed: {output}")]
    Program {
        /// The program.
        program: &'static str,
        /// What it wrote.
        output: String,
    },
}

/// The copy with all bugs, as a program.
#[derive(Clone, Debug)]
pub struct PlantedCopy(PathBuf);

impl PlantedCopy {
    /// Builds the copy below the folder of Cargo's builds, `target`, whose compiled dependencies it uses.
    ///
    /// # Errors
    /// If a bug does not fit, or a file or a program fails.
    pub fn build(target: &Path) -> Result<Self, PlantingError> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let (copy, own_target) = (target.join("planted/epro"), target.join("planted/target"));
        for file in files(&root)? {
            plant(&root, &copy, &file)?;
        }
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        // Dependencies are shared; what is linked in the end is not.
        let build_dir = format!("build.build-dir={:?}", target.display().to_string());
        let mut build = Command::new(cargo);
        build.args(["build", "--profile", "quick", "--bin", "simulation", "--config", &build_dir, "--target-dir"]);
        build.arg(&own_target).current_dir(&copy).env_remove("CARGO_TARGET_DIR");
        output("cargo", &mut build)?;
        Ok(Self(own_target.join("quick/simulation")))
    }

    /// Runs each bug for at most `seeds` seeds, as many at the same time as there are processors. `done` is called with
    /// each.
    ///
    /// # Errors
    /// If a run fails.
    pub fn run_all(&self, seeds: u64, done: impl Fn(&Caught) + Sync) -> Result<Vec<Caught>, PlantingError> {
        let waiting: Mutex<VecDeque<Planted>> = Mutex::new(all().collect());
        let results = Mutex::new(Vec::new());
        let jobs = thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| {
            for _ in 0..jobs {
                scope.spawn(|| {
                    while let Some(bug) = { lock(&waiting).pop_front() } {
                        let result = self.run(bug, seeds).inspect(&done);
                        lock(&results).push(result);
                    }
                });
            }
        });
        let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut caught: Vec<Caught> = results.into_iter().collect::<Result<_, _>>()?;
        caught.sort_by_key(|caught| all().position(|bug| bug.name == caught.bug.name));
        Ok(caught)
    }

    fn run(&self, bug: Planted, seeds: u64) -> Result<Caught, PlantingError> {
        let mut run = Command::new(&self.0);
        run.args(["--until-broken", "--seeds", &seeds.to_string()]).env(SWITCH, bug.name);
        let output = run.output().map_err(|source| PlantingError::File { path: self.0.clone(), source })?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let after = match output.status.code() {
            Some(0) => None,
            Some(1) => text
                .split_once('\t')
                .and_then(|(seeds, promise)| Some((seeds.trim().parse().ok()?, promise.trim().to_owned()))),
            _ => {
                let output = String::from_utf8_lossy(&output.stderr).into_owned();
                return Err(PlantingError::Program { program: bug.name, output });
            }
        };
        Ok(Caught { bug, after })
    }
}

/// The files of the repository.
fn files(root: &Path) -> Result<Vec<String>, PlantingError> {
    let mut list = Command::new("git");
    list.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(root);
    let output = output("git ls-files", &mut list)?;
    Ok(output.split('\0').filter(|file| !file.is_empty()).map(str::to_owned).collect())
}

/// Copies `file` with its bugs. A file that has not changed keeps its time, by which Cargo knows what it has built.
fn plant(root: &Path, copy: &Path, file: &str) -> Result<(), PlantingError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| PlantingError::File { path, source }
    };
    let (from, to) = (root.join(file), copy.join(file));
    // A file that was deleted and not committed yet is still listed.
    if !from.exists() {
        return Ok(());
    }
    let mut bytes = fs::read(&from).map_err(at(&from))?;
    // Cargo keeps what it builds of a package by its name, version and place in the workspace. Without a version of their
    // own, the packages of the copy would take the place of those of the workspace.
    if file == "Cargo.toml" {
        bytes =
            String::from_utf8_lossy(&bytes).replacen("\nversion = \"", "\nversion = \"0.0.0-planted.", 1).into_bytes();
    }
    for bug in all().filter(|bug| bug.edits.iter().any(|edit| edit.file == file)) {
        let text = String::from_utf8_lossy(&bytes);
        bytes = bug.plant(file, &text).map_err(PlantingError::DoesNotFit)?.into_bytes();
    }
    if fs::read(&to).is_ok_and(|known| known == bytes) {
        return Ok(());
    }
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(at(folder))?;
    }
    fs::write(&to, bytes).map_err(at(&to))
}

fn output(program: &'static str, command: &mut Command) -> Result<String, PlantingError> {
    let output = command.output().map_err(|source| PlantingError::File { path: program.into(), source })?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(PlantingError::Program { program, output: String::from_utf8_lossy(&output.stderr).into_owned() })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
