//! The contribution of an item's choices to a score, which FHIR calls `ordinalValue`.

use rust_decimal::Decimal;

use super::exact::{self, Exact};
use super::program::{CountsAs, LoadedKind, ScoringProgram};
use super::score::{Node, Value, Values};

/// The number of decimals of weights without a finite decimal expansion, such as a third.
const DECIMALS: u32 = 4;

/// The contribution of each choice of the item at index `place` to the sum or mean that it is part of.
///
/// Steps that follow the sum are ignored: WHO-5 multiplies its sum by 4, and its items are still published as 0 to 5.
/// Rescaling a score of a single item is such a step too, unless it reverses the order.
pub(crate) fn weights(program: &ScoringProgram, place: usize) -> Option<Vec<(i64, Decimal)>> {
    let codes: Vec<i64> = match &program.items[place].kind {
        LoadedKind::Code(codes) => {
            codes.iter().filter(|(_, counts_as)| *counts_as == CountsAs::Number).map(|(code, _)| *code).collect()
        }
        LoadedKind::Boolean => vec![0, 1],
        _ => return None,
    };
    let mut parts = Vec::new();
    for score in &program.scores {
        if is_of_one(&score.value, place) {
            parts.push(Part { node: &score.value, alone: true });
        } else {
            collect(&score.value, place, &mut parts)?;
        }
    }
    let mut added = parts.iter().map(|part| part.values(program, place, &codes));
    let first = added.next()??;
    added.all(|other| other.as_ref() == Some(&first)).then_some(())?;
    first.into_iter().zip(codes).map(|(value, code)| Some((code, exact::round_half_up(value, DECIMALS)?))).collect()
}

/// A part of a score that is computed from one item alone.
struct Part<'a> {
    node: &'a Node,
    /// Whether it is the entire score.
    alone: bool,
}

impl Part<'_> {
    /// The part's value for each of the item's `codes`.
    fn values(&self, program: &ScoringProgram, place: usize, codes: &[i64]) -> Option<Vec<Exact>> {
        let codes: Vec<Exact> = codes.iter().map(|code| Exact::from_integer(*code)).collect();
        let mut items = vec![Value::Missing; program.items.len()];
        let values = codes.iter().map(|code| {
            items[place] = Value::Known(*code);
            match self.node.value(&Values { items: &items, scores: &[] }, &mut None) {
                Value::Known(value) => Some(value),
                _ => None,
            }
        });
        let values: Vec<Exact> = values.collect::<Option<_>>()?;
        let mut by_code: Vec<_> = codes.iter().zip(&values).collect();
        by_code.sort();
        let rises = by_code.is_sorted_by(|(_, before), (_, after)| before < after);
        Some(if self.alone && rises { codes } else { values })
    }
}

/// Collects the parts of a score that depend on the item at index `place`; `None` if one is subtracted, or if a part
/// depends on several items.
fn collect<'a>(node: &'a Node, place: usize, parts: &mut Vec<Part<'a>>) -> Option<()> {
    match node {
        Node::Sum(list, _) | Node::Mean(list, _) | Node::Min(list) | Node::Max(list) => {
            for part in list {
                if is_of_one(part, place) {
                    parts.push(Part { node: part, alone: false });
                } else {
                    collect(part, place, parts)?;
                }
            }
            Some(())
        }
        Node::Linear(of, ..) | Node::Recode(of, _) | Node::Lookup(of, _) | Node::Round(of, _) => {
            collect(of, place, parts)
        }
        Node::Difference(pair) => {
            let mut both = Vec::new();
            for part in [&pair.0, &pair.1] {
                if is_of_one(part, place) {
                    return None;
                }
                collect(part, place, &mut both)?;
            }
            both.is_empty().then_some(())
        }
        // Comparisons, counts and tables have no additive parts. Other scores are visited by themselves.
        Node::Combination(..)
        | Node::CountAtLeast(..)
        | Node::AtLeast(_)
        | Node::AtMost(_)
        | Node::Equals(_)
        | Node::All(_)
        | Node::Any(_)
        | Node::Item(_)
        | Node::Score(_)
        | Node::Constant(_) => Some(()),
    }
}

/// Whether `node` depends on the item at index `place` only, through steps that each have one operand.
fn is_of_one(node: &Node, place: usize) -> bool {
    match node {
        Node::Item(item) => *item == place,
        Node::Linear(of, ..) | Node::Recode(of, _) | Node::Lookup(of, _) | Node::Round(of, _) => is_of_one(of, place),
        _ => false,
    }
}
