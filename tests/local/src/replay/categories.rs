//! The instruments of the questionnaire categories in CDISC files. A further category is a further row of data.

/// A category of questionnaires, with the names of the CDISC controlled terminology.
pub(super) struct Category {
    /// `QSCAT`.
    pub(super) name: &'static str,
    /// The instrument's id and version.
    pub(super) instrument: (&'static str, &'static str),
    /// `QSTESTCD` and id of the required items.
    pub(super) scored: &'static [(&'static str, &'static str)],
    /// `QSTESTCD` and id of optional items, which are in no score.
    pub(super) unscored: &'static [(&'static str, &'static str)],
    /// The score that is compared with the sponsor's total.
    pub(super) score: &'static str,
    /// `QSTESTCD` of the sponsor's total, where the category has one.
    pub(super) total: Option<&'static str>,
}

pub(super) const CATEGORIES: &[Category] = &[PHQ_9, PAIN_DIARY];

const PHQ_9: Category = Category {
    name: "PHQ-9",
    instrument: ("phq-9", "1.0.0"),
    scored: &[
        ("PHQ0101", "1"),
        ("PHQ0102", "2"),
        ("PHQ0103", "3"),
        ("PHQ0104", "4"),
        ("PHQ0105", "5"),
        ("PHQ0106", "6"),
        ("PHQ0107", "7"),
        ("PHQ0108", "8"),
        ("PHQ0109", "9"),
    ],
    unscored: &[("PHQ0110", "10")],
    score: "total",
    total: Some("PHQ0111"),
};

/// A diary has one answer, which is its score. The names are the sponsor's.
const PAIN_DIARY: Category = Category {
    name: "PAIN DIARY",
    instrument: ("pain-nrs", "1.0.0"),
    scored: &[("PAIN0101", "1")],
    unscored: &[],
    score: "total",
    total: None,
};

impl Category {
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        CATEGORIES.iter().find(|category| category.name == name)
    }

    /// The meaning of a test code.
    pub(super) fn test(&self, code: &str) -> Option<Test> {
        let item = |items: &'static [(&str, &str)]| items.iter().find(|(test, _)| *test == code).map(|(_, item)| *item);
        if self.total == Some(code) {
            return Some(Test::Total);
        }
        item(self.scored).map(Test::Scored).or_else(|| item(self.unscored).map(Test::Unscored))
    }

    /// The test code of an item.
    pub(super) fn code(&self, item: &str) -> Option<&'static str> {
        self.scored.iter().chain(self.unscored).find(|(_, id)| *id == item).map(|(code, _)| *code)
    }
}

/// The meaning of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Test {
    /// The answer to an item that is scored.
    Scored(&'static str),
    /// The answer to an item that is in no score.
    Unscored(&'static str),
    /// The sponsor's total.
    Total,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clinical::ids::ItemId;
    use clinical::instruments::Catalog;

    use super::*;

    #[test]
    fn every_row_names_all_items_of_an_instrument_that_ships_and_one_of_its_scores() {
        for category in CATEGORIES {
            let (id, version) = category.instrument;
            let instrument = Catalog::shipped()
                .find(&id.parse().expect("an id"), &version.parse().expect("a version"))
                .unwrap_or_else(|error| panic!("{id} {version}: {error}"));
            let items: BTreeSet<&str> =
                instrument.definition().items.iter().map(|item| ItemId::as_str(&item.id)).collect();
            let named: BTreeSet<&str> =
                category.scored.iter().chain(category.unscored).map(|(_, item)| *item).collect();
            assert_eq!(named, items, "{}", category.name);
            assert!(instrument.definition().scores.iter().any(|score| score.id.as_str() == category.score));
        }
    }
}
