//! Properties of all sets of answers.

#![allow(clippy::unwrap_used, reason = "a test stops at what it cannot read")]

use clinical::instruments::definition::{Apply, Definition, Item, ItemKind, Operation, TableRow};
use clinical::instruments::{Answer, Answers, Catalog, Instrument};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::Index;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde_json::{Map, Value, json};

/// The greatest number of items of any instrument.
const MOST_ITEMS: usize = 130;

proptest! {
    #[test]
    fn a_score_stays_in_its_range_and_in_one_of_its_bands(which: Index, picks in picks()) {
        let instrument = pick(which);
        let sent = answers(instrument, &picks);
        let read = instrument.check(&sent).unwrap();
        let outcome = instrument.assess(&read).unwrap();
        for score in &outcome.scores {
            prop_assert!(score.range.0 <= score.value && score.value <= score.range.1, "{}", score.id);
            let definition = instrument.definition().scores.iter().find(|definition| definition.id == score.id).unwrap();
            prop_assert_eq!(score.band.is_some(), !definition.bands.is_empty());
        }
        let reported = outcome.scores.len() + outcome.not_scored.len();
        let optional = instrument.definition().scores.iter().filter(|score| score.optional).count();
        prop_assert!(reported + optional >= instrument.definition().scores.len());
    }

    #[test]
    fn a_sum_with_missing_items_is_not_scored_or_prorated(which: Index, picks in picks()) {
        let instrument = pick(which);
        let outcome = instrument.assess(&instrument.check(&answers(instrument, &picks)).unwrap()).unwrap();
        for score in &outcome.scores {
            let definition = instrument.definition().scores.iter().find(|definition| definition.id == score.id).unwrap();
            let Some(items) = plain_sum(&definition.value) else { continue };
            let answers = answers(instrument, &picks);
            let needed = items.iter().filter(|item| is_needed(instrument, item, &answers));
            for item in needed {
                prop_assert!(answers.contains_key(item.as_str()), "{}", item);
            }
        }
    }

    #[test]
    fn raising_an_item_never_lowers_a_sum(which: Index, item: Index, picks in vec(any::<Index>(), MOST_ITEMS)) {
        let instrument = pick(which);
        let picks: Vec<_> = picks.into_iter().map(Some).collect();
        let before = answers(instrument, &picks);
        let place = item.index(instrument.definition().items.len());
        let raised = &instrument.definition().items[place];
        let Some(higher) = allowed(instrument, raised).into_iter()
            .filter(|value| value.as_i64() > before[raised.id.as_str()].as_i64())
            .find(|value| value.is_number() && is_number_in_scores(instrument, raised, value)) else { return Ok(()) };
        let mut after = before.clone();
        after.insert(raised.id.to_string(), higher);
        let (before, after) = (values(instrument, &before), values(instrument, &after));
        for (definition, (low, high)) in instrument.definition().scores.iter().zip(before.iter().zip(&after)) {
            if plain_sum(&definition.value).is_some() {
                prop_assert!(low <= high, "{}", definition.id);
            }
        }
    }

    #[test]
    fn a_combination_has_a_value_once_missing_parts_cannot_change_it(picks in vec(0..6_usize, 124)) {
        let pro_ctcae = Catalog::shipped().latest(&"pro-ctcae".parse().unwrap()).unwrap();
        let sent: Map<String, Value> = pro_ctcae.definition().items.iter().zip(&picks)
            .filter_map(|(item, pick)| Some((item.id.to_string(), allowed(pro_ctcae, item).get(*pick)?.clone())))
            .filter(|(_, answer)| answer.as_i64() <= Some(4))
            .collect();
        let outcome = pro_ctcae.assess(&pro_ctcae.check(&sent).unwrap()).unwrap();
        let grades = pro_ctcae.definition().scores.iter().filter(|score| score.id.as_str().ends_with("_COMP"));
        for grade in grades {
            let Operation::Apply(apply) = &grade.value else { unreachable!("a grade is computed") };
            let Apply::Combination(combination) = apply.as_ref() else { unreachable!("a grade is a combination") };
            let parts: Vec<_> = combination.of.iter().map(|part| match part {
                Operation::Item(item) => sent.get(item.as_str()).and_then(Value::as_i64),
                _ => unreachable!("a grade is of items"),
            }).collect();
            // The result of each completion of the answers.
            let rows = &pro_ctcae.definition().tables[&combination.table];
            let mut possible: Vec<Decimal> = completions(&parts).iter().map(|parts| {
                let fits = |row: &&TableRow| row.when.iter().zip(parts).all(|(cell, part)| {
                    cell.is_none_or(|cell| (cell.from.0..=cell.to.0).contains(&Decimal::from(*part)))
                });
                let fitting: Vec<_> = rows.iter().filter(fits).collect();
                assert_eq!(fitting.len(), 1, "{parts:?}");
                fitting[0].value.0
            }).collect();
            possible.dedup();
            let found = outcome.scores.iter().find(|score| score.id == grade.id).map(|score| score.value);
            if parts.iter().all(Option::is_some) || parts[0] == Some(0) {
                prop_assert_eq!(found, Some(possible[0]), "{}", grade.id);
            } else {
                prop_assert_eq!(found, None, "{}", grade.id);
            }
            prop_assert!(found.is_none() || possible.len() == 1);
        }
    }

    #[test]
    fn the_order_of_answers_does_not_matter(which: Index, picks in picks(), order in vec(any::<u32>(), MOST_ITEMS)) {
        let instrument = pick(which);
        let read = instrument.check(&answers(instrument, &picks)).unwrap();
        let mut shuffled: Vec<_> = read.clone().into_iter().zip(order).collect();
        shuffled.sort_by_key(|(_, order)| *order);
        let shuffled: Answers = shuffled.into_iter().map(|(answer, _)| answer).collect();
        prop_assert!(instrument.assess(&read).unwrap() == instrument.assess(&shuffled).unwrap());
    }

    #[test]
    fn a_definition_with_any_change_is_rejected_or_scores_within_its_ranges(
        which: Index,
        place: Index,
        change in any_change(),
        sent in vec((any::<Index>(), any_value()), 0..60),
    ) {
        let mut document: Value = serde_json::from_str(pick(which).json()).unwrap();
        let mut places = places(&document, String::new());
        places.retain(|place| ["/items", "/scores", "/codeLists", "/tables", "/rules"].iter().any(|part| place.starts_with(part)));
        let place = document.pointer_mut(&places[place.index(places.len())]).unwrap();
        *place = change;
        let Ok(instrument) = Instrument::parse(&document.to_string()) else { return Ok(()) };
        let items = &instrument.definition().items;
        let mut sent: Map<_, _> = sent
            .into_iter()
            .map(|(item, value)| (items[item.index(items.len())].id.to_string(), value))
            .collect();
        while let Err(findings) = instrument.check(&sent) {
            sent.retain(|id, _| findings.iter().all(|finding| finding.pointer[1..] != *id));
        }
        for score in instrument.assess(&instrument.check(&sent).unwrap()).unwrap().scores {
            prop_assert!(score.range.0 <= score.value && score.value <= score.range.1, "{}", score.id);
        }
    }

    #[test]
    fn any_input_is_accepted_and_scored_or_rejected(
        which: Index,
        sent in vec((0..140_u32, any_value()), 0..20),
    ) {
        let instrument = pick(which);
        let sent: Map<_, _> = sent.into_iter().map(|(id, value)| (id.to_string(), value)).collect();
        match instrument.check(&sent) {
            Ok(read) => prop_assert!(instrument.assess(&read).is_ok()),
            Err(findings) => {
                prop_assert!(!findings.is_empty());
                for finding in findings {
                    prop_assert!(sent.contains_key(finding.pointer.trim_start_matches('/')));
                }
            }
        }
    }
}

#[test]
fn a_definition_round_trips_through_json() {
    for instrument in Catalog::shipped().iter() {
        let printed = serde_json::to_string_pretty(instrument.definition()).unwrap();
        let parsed: Definition = serde_json::from_str(&printed).unwrap();
        assert_eq!(&parsed, instrument.definition());
        let again = Instrument::parse(&printed).unwrap();
        assert_eq!(again.hash(), instrument.hash(), "{}", instrument.id());
        assert_eq!(Instrument::parse(instrument.json()).unwrap().hash(), instrument.hash());
    }
}

/// The instrument at an index.
fn pick(which: Index) -> &'static Instrument {
    let all: Vec<_> = Catalog::shipped().iter().collect();
    all[which.index(all.len())]
}

/// For each item the index of an allowed answer, if any.
fn picks() -> impl Strategy<Value = Vec<Option<Index>>> {
    vec(option::weighted(0.9, any::<Index>()), MOST_ITEMS)
}

fn answers(instrument: &Instrument, picks: &[Option<Index>]) -> Map<String, Value> {
    let items = instrument.definition().items.iter().zip(picks);
    items
        .filter_map(|(item, pick)| Some((item.id.to_string(), (*pick)?.get(&allowed(instrument, item)).clone())))
        .collect()
}

fn allowed(instrument: &Instrument, item: &Item) -> Vec<Value> {
    match item.kind {
        ItemKind::Code => {
            let list = &instrument.definition().code_lists[item.codes.as_ref().unwrap()];
            list.iter().map(|code| json!(code.code)).collect()
        }
        ItemKind::Integer => {
            let end = |number: Option<clinical::document::Number>| number.unwrap().0.to_i64().unwrap();
            (end(item.min)..=end(item.max)).map(|number| json!(number)).collect()
        }
        ItemKind::Boolean => vec![json!(false), json!(true)],
        other => unreachable!("no shipped item is {other:?}"),
    }
}

/// The items of a score that is a plain sum.
fn plain_sum(value: &Operation) -> Option<Vec<String>> {
    let Operation::Apply(apply) = value else { return None };
    let Apply::Sum(parts) = apply.as_ref() else { return None };
    let items = parts.iter().map(|part| match part {
        Operation::Item(item) => Some(item.to_string()),
        _ => None,
    });
    items.collect()
}

/// Whether an item is required with these answers: the only condition in shipped instruments is that another item has
/// a minimum.
fn is_needed(instrument: &Instrument, item: &str, answers: &Map<String, Value>) -> bool {
    let item = instrument.definition().items.iter().find(|asked| asked.id.as_str() == item).unwrap();
    let Some(condition) = &item.needed_when else { return true };
    let Operation::Apply(apply) = condition else { unreachable!("a condition is an operation") };
    let Apply::AtLeast(pair) = apply.as_ref() else { unreachable!("no shipped item has another condition") };
    let (Operation::Item(of), Operation::Constant(least)) = pair.as_ref() else { unreachable!("an item, a number") };
    answers.get(of.as_str()).is_none_or(|answer| Decimal::from(answer.as_i64().unwrap()) >= least.0)
}

/// Whether an answer is a number in scores, neither missing nor not asked.
fn is_number_in_scores(instrument: &Instrument, item: &Item, answer: &Value) -> bool {
    let Some(list) = item.codes.as_ref().map(|name| &instrument.definition().code_lists[name]) else { return true };
    let code = list.iter().find(|code| Some(code.code) == answer.as_i64()).unwrap();
    !code.counts_as_missing && !code.counts_as_not_asked
}

/// Every completion of the missing parts.
fn completions(parts: &[Option<i64>]) -> Vec<Vec<i64>> {
    parts.iter().fold(vec![Vec::new()], |so_far, part| {
        let values = part.map_or(0..=4, |part| part..=part);
        values.flat_map(|value| so_far.iter().map(move |before| [before.as_slice(), &[value]].concat())).collect()
    })
}

/// All scores by index.
fn values(instrument: &Instrument, answers: &Map<String, Value>) -> Vec<Option<Decimal>> {
    let outcome = instrument.assess(&instrument.check(answers).unwrap()).unwrap();
    let score = |id| outcome.scores.iter().find(|score| score.id == id).map(|score| score.value);
    instrument.definition().scores.iter().map(|definition| score(definition.id.clone())).collect()
}

/// The pointers of all values in a document.
fn places(document: &Value, at: String) -> Vec<String> {
    let inner: Vec<String> = match document {
        Value::Object(fields) => {
            fields.iter().flat_map(|(key, value)| places(value, clinical::document::pointer(&at, key))).collect()
        }
        Value::Array(values) => {
            values.iter().enumerate().flat_map(|(place, value)| places(value, format!("{at}/{place}"))).collect()
        }
        _ => Vec::new(),
    };
    std::iter::once(at).chain(inner).collect()
}

/// A value for a definition, valid or not.
fn any_change() -> impl Strategy<Value = Value> {
    let number = prop_oneof![-3..40_i64, Just(i64::MIN), Just(i64::MAX), Just(1_000_000), Just(-1_000_000),];
    prop_oneof![
        any_value(),
        number.clone().prop_map(Value::from),
        (1..12_u8).prop_map(|item| json!(item.to_string())),
        number.clone().prop_map(|number| json!({"linear": {"of": "1", "from": [0, 3], "to": [0, number]}})),
        number.clone().prop_map(|number| json!({"max": [{"min": ["1", number]}, {"reverse": "1"}]})),
        number.clone().prop_map(|number| json!({"difference": [number, {"mean": ["1", "2"]}]})),
        (number.clone(), number).prop_map(|pair| json!([pair.0, pair.1])),
        Just(json!("boolean")),
        Just(json!("text")),
        Just(json!({"sum": ["1", {"score": "total"}]})),
    ]
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-2..12_i64).prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        vec(-1..5_i64, 0..4).prop_map(Value::from),
    ]
}

#[test]
fn a_decimal_beyond_every_range_is_rejected() {
    let instrument = Catalog::shipped().find(&"pain-nrs".parse().unwrap(), &"1.0.0".parse().unwrap()).unwrap();
    for number in [Decimal::MAX, Decimal::MIN, Decimal::new(5, 1), Decimal::new(1, 28)] {
        let answers = [("1".parse().unwrap(), Answer::Number(number))].into_iter().collect();
        assert!(instrument.assess(&answers).is_err(), "{number}");
    }
}
