//! Bugs that are planted on purpose, to show that the simulation catches them.
//!
//! Each is a change of the source as somebody might have written it. They are not in the tree: a copy of the workspace
//! gets all of them, each behind the environment variable `PLANTED`, and is built once.

mod alerts;
mod api;
mod scores;
mod windows;

/// The variable that switches a bug on in the copy.
pub const SWITCH: &str = "PLANTED";

/// A bug.
#[derive(Clone, Copy, Debug)]
pub struct Planted {
    /// Its name, and the value of the variable.
    pub name: &'static str,
    /// What is wrong with it.
    pub what: &'static str,
    /// The changes of the source.
    pub edits: &'static [Edit],
}

/// A change of a source file. In `planted`, the word `PLANTED` stands for whether the bug is switched on.
#[derive(Clone, Copy, Debug)]
pub struct Edit {
    /// The file, from the root of the workspace.
    pub file: &'static str,
    /// The text to replace, which the file has once.
    pub original: &'static str,
    /// The text in its place.
    pub planted: &'static str,
}

impl Planted {
    /// Puts this bug into the text of `file`.
    ///
    /// # Errors
    /// If the text does not have an original exactly once: the code has changed, and the bug must follow it.
    pub fn plant(&self, file: &str, text: &str) -> Result<String, String> {
        let switched_on = format!("std::env::var(\"{SWITCH}\").is_ok_and(|bug| bug == \"{}\")", self.name);
        self.edits.iter().filter(|edit| edit.file == file).try_fold(text.to_owned(), |text, edit| {
            match text.matches(edit.original).count() {
                1 => Ok(text.replace(edit.original, &edit.planted.replace("PLANTED", &switched_on))),
                times => Err(format!("{file} has the text of \"{}\" {times} times and not once", self.name)),
            }
        })
    }
}

/// All bugs.
pub fn all() -> impl Iterator<Item = Planted> {
    [api::BUGS, scores::BUGS, alerts::BUGS, windows::BUGS].into_iter().flatten().copied()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn each_bug_can_be_planted_in_the_code_as_it_is() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the crate is in the workspace");
        let mut stale = Vec::new();
        for bug in all() {
            let files: BTreeSet<&str> = bug.edits.iter().map(|edit| edit.file).collect();
            for file in files {
                let text = std::fs::read_to_string(root.join(file)).expect("the file is there");
                stale.extend(bug.plant(file, &text).err());
            }
        }
        assert!(stale.is_empty(), "{}", stale.join("\n"));
    }
}
