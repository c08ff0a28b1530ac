//! The forms that ship with the library.

use super::form::Form;
use crate::document::{self, shipped};
use crate::ids::FormId;

/// A set of forms by id and version.
pub type Catalog = document::Catalog<Form>;

shipped!(Form, FormId, "forms", [
    "ae" "1.0.0",
    "ae" "1.1.0",
    "dm" "1.0.0",
    "dm" "1.1.0",
    "lb" "1.0.0",
    "vs" "1.0.0",
]);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::NotFound;

    #[test]
    fn every_shipped_form_loads_under_its_own_name() {
        for entry in &ENTRIES {
            let form = Form::parse(entry.json).unwrap_or_else(|faults| panic!("{}: {faults:#?}", entry.id));
            assert_eq!((form.id().as_str(), form.version().as_str()), (entry.id, entry.version));
            assert_eq!(form.hash(), entry.hash, "{}", entry.id);
        }
    }

    #[test]
    fn an_unknown_version_is_not_reported_as_an_unknown_form() {
        let find = |id: &str, version: &str| {
            Catalog::shipped().find(&id.parse().unwrap(), &version.parse().unwrap()).map(|found| found.hash())
        };
        assert!(find("vs", "1.0.0").is_ok());
        assert_eq!(find("vs", "9.9.9"), Err(NotFound::Version { known: vec!["1.0.0".parse().unwrap()] }));
        assert_eq!(find("nope", "1.0.0"), Err(NotFound::Id));
    }
}
