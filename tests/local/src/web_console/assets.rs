//! The files of the page, compiled into this program.

/// A file of the page.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asset {
    name: &'static str,
    /// Its media type.
    pub(super) kind: &'static str,
    pub(super) text: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const ICON: &str = "image/svg+xml";

macro_rules! assets {
    ($($name:literal: $kind:ident),* $(,)?) => {
        &[$(Asset { name: $name, kind: $kind, text: include_str!(concat!("../../console/", $name)) }),*]
    };
}

const PAGE: &[Asset] = assets!["index.html": HTML];

const FILES: &[Asset] = assets![
    "style.css": STYLE,
    "icon.svg": ICON,
    "app.js": SCRIPT,
    "api.js": SCRIPT,
    "branching.js": SCRIPT,
    "clinician.js": SCRIPT,
    "course.js": SCRIPT,
    "dom.js": SCRIPT,
    "engineer.js": SCRIPT,
    "events.js": SCRIPT,
    "i18n.js": SCRIPT,
    "identity.js": SCRIPT,
    "outbox.js": SCRIPT,
    "patient.js": SCRIPT,
    "question.js": SCRIPT,
    "sending.js": SCRIPT,
    "site.js": SCRIPT,
    "texts.en.js": SCRIPT,
    "texts.zh-Hans.js": SCRIPT,
];

impl Asset {
    /// The page itself.
    pub(super) fn page() -> Self {
        PAGE[0]
    }

    /// The file of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        FILES.iter().find(|asset| asset.name == name).copied()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_file_of_the_folder_is_served() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("console");
        let files = fs::read_dir(folder).expect("the folder exists");
        let names = files.filter_map(|file| file.ok()?.file_name().into_string().ok());
        // Declarations are for the check of the scripts' types alone.
        let served_ones: BTreeSet<String> = names.filter(|name| !name.ends_with(".d.ts")).collect();
        let served = PAGE.iter().chain(FILES).map(|asset| asset.name.to_owned());
        assert_eq!(served.collect::<BTreeSet<_>>(), served_ones);
    }

    #[test]
    fn the_differences_that_speak_against_a_promise_are_kinds_of_the_verification() {
        let script = FILES.iter().find(|asset| asset.name == "engineer.js").map(|asset| asset.text).unwrap_or_default();
        let list =
            script.split("const AGAINST = {").nth(1).and_then(|rest| rest.split("};").next()).unwrap_or_default();
        let named: Vec<&str> = list.split('"').skip(1).step_by(2).collect();
        assert!(named.len() > 10, "{named:?}");
        for name in named {
            assert!(verification::Kind::ALL.iter().any(|kind| kind.name() == name), "{name}");
        }
    }

    #[test]
    fn no_file_names_an_outside_address() {
        for asset in PAGE.iter().chain(FILES) {
            let addresses = asset.text.match_indices("//").filter(|(place, _)| asset.text[..*place].ends_with(':'));
            let outside: Vec<&str> = addresses
                .map(|(place, _)| asset.text[place..].lines().next().unwrap_or_default())
                .filter(|address| !address.starts_with("//www.w3.org/2000/svg"))
                .collect();
            assert!(outside.is_empty(), "{}: {outside:?}", asset.name);
        }
    }
}
