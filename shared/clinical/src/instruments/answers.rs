//! The answers of a submission, by item.

use std::collections::BTreeMap;
use std::fmt;

use rust_decimal::Decimal;

use crate::ids::ItemId;

/// An answer. Its `Debug` shows only its kind.
#[derive(Clone, PartialEq)]
pub enum Answer {
    /// A number, or the code of a single choice.
    Number(Decimal),
    /// Yes or no.
    Boolean(bool),
    /// Free text.
    Text(String),
    /// The codes of a multiple choice.
    Codes(Vec<i64>),
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Answer::Number(_) => "Number(redacted)",
            Answer::Boolean(_) => "Boolean(redacted)",
            Answer::Text(_) => "Text(redacted)",
            Answer::Codes(_) => "Codes(redacted)",
        })
    }
}

/// The answers of one submission; unanswered items are absent. Its `Debug` shows only their number.
#[derive(Clone, PartialEq, Default)]
pub struct Answers(BTreeMap<ItemId, Answer>);

impl Answers {
    /// No answers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the answer to `item` and returns the previous one.
    pub fn insert(&mut self, item: ItemId, answer: Answer) -> Option<Answer> {
        self.0.insert(item, answer)
    }

    /// The answer to `item`, if there is one.
    pub fn get(&self, item: &ItemId) -> Option<&Answer> {
        self.0.get(item)
    }

    /// All answers, ordered by item id.
    pub fn iter(&self) -> impl Iterator<Item = (&ItemId, &Answer)> {
        self.0.iter()
    }

    /// The number of answered items.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no item was answered.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(ItemId, Answer)> for Answers {
    fn from_iter<I: IntoIterator<Item = (ItemId, Answer)>>(answers: I) -> Self {
        Self(answers.into_iter().collect())
    }
}

impl IntoIterator for Answers {
    type Item = (ItemId, Answer);
    type IntoIter = std::collections::btree_map::IntoIter<ItemId, Answer>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answers({} redacted)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_answer_is_in_debug_output() {
        let kinds = [
            (Answer::Number(Decimal::from(23)), "Number(redacted)"),
            (Answer::Boolean(true), "Boolean(redacted)"),
            (Answer::Text("worse".to_owned()), "Text(redacted)"),
            (Answer::Codes(vec![23]), "Codes(redacted)"),
        ];
        for (answer, debug) in &kinds {
            assert_eq!(format!("{answer:?}"), *debug);
        }
        let id = |number: usize| number.to_string().parse().expect("a number is an item id");
        let answers: Answers =
            kinds.into_iter().enumerate().map(|(number, (answer, _))| (id(number), answer)).collect();
        assert_eq!(format!("{answers:?}"), "Answers(4 redacted)");
        assert!(!answers.is_empty() && Answers::new().is_empty());
    }
}
