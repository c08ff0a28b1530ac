//! The settings of a function: its environment variables.

use std::collections::HashMap;
use std::ops::RangeInclusive;

/// The settings of a function, from its environment variables. An empty variable counts as not set, because SAM cannot
/// omit one that the template declares.
#[derive(Clone, Debug, Default)]
pub struct Environment(HashMap<String, String>);

/// A setting is missing or invalid, so that the function cannot start.
#[derive(Debug, thiserror::Error)]
#[error("environment variable {name} {problem}: set it in template.yaml")]
pub struct EnvironmentError {
    name: &'static str,
    problem: &'static str,
}

impl Environment {
    /// The environment variables of this process.
    pub fn of_process() -> Self {
        Self(std::env::vars().collect())
    }

    /// The value of `name`, if it is set.
    pub fn optional(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The value of `name`.
    ///
    /// # Errors
    /// If it is not set.
    pub fn required(&self, name: &'static str) -> Result<&str, EnvironmentError> {
        self.optional(name).ok_or(EnvironmentError { name, problem: "is not set" })
    }

    /// The value of `name`, a whole number within `bounds`, which are those of the template's parameter.
    ///
    /// # Errors
    /// If it is not set, no whole number, or out of bounds.
    pub fn number(&self, name: &'static str, bounds: RangeInclusive<u32>) -> Result<u32, EnvironmentError> {
        let number =
            self.required(name)?.parse().map_err(|_| EnvironmentError { name, problem: "is not a whole number" });
        number.and_then(|number| {
            let within = bounds.contains(&number).then_some(number);
            within.ok_or(EnvironmentError { name, problem: "is out of bounds" })
        })
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_whole_and_not_negative() {
        let environment = Environment::from_iter([("A", "30"), ("B", "-1"), ("C", "1.5")]);
        assert_eq!(environment.number("A", 0..=30).unwrap(), 30);
        for name in ["B", "C"] {
            let error = environment.number(name, 0..=30).unwrap_err().to_string();
            assert!(error.contains("is not a whole number"), "{error}");
        }
    }

    #[test]
    fn a_number_is_within_its_bounds() {
        let environment = Environment::from_iter([("A", "10081"), ("B", "4294967295"), ("C", "0")]);
        for name in ["A", "B", "C"] {
            let error = environment.number(name, 1..=10_080).unwrap_err().to_string();
            assert!(error.contains("is out of bounds"), "{error}");
        }
    }

    #[test]
    fn the_settings_are_the_variables_of_the_process() {
        let path = std::env::var("PATH").unwrap();
        assert_eq!(Environment::of_process().optional("PATH"), Some(path.as_str()));
    }

    #[test]
    fn an_empty_variable_counts_as_not_set() {
        let environment = Environment::from_iter([("A", "a"), ("B", "")]);
        assert_eq!(environment.optional("A"), Some("a"));
        assert_eq!(environment.optional("B"), None);
        let error = environment.required("B").unwrap_err().to_string();
        assert_eq!(error, "environment variable B is not set: set it in template.yaml");
    }
}
