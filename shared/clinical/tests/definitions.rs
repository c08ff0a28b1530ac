//! Features of definitions: types of items, conditional items, operations, missing answers.

#![allow(clippy::unwrap_used, reason = "a test stops at what it cannot read")]

use std::sync::Arc;

use clinical::instruments::{Answer, Instrument, MissingRule, Outcome};
use serde_json::{Value, json};

#[test]
fn each_type_of_item_accepts_its_values() {
    let instrument = load(
        json!([
            {"id": "code", "type": "code", "codes": "list"},
            {"id": "codes", "type": "codes", "codes": "list"},
            {"id": "integer", "type": "integer", "min": -5, "max": 300},
            {"id": "decimal", "type": "decimal", "min": 30, "max": 45, "decimals": 2},
            {"id": "boolean", "type": "boolean"},
            {"id": "text", "type": "text", "maxLength": 3},
        ]),
        json!([]),
    );
    for (id, value) in [
        ("code", json!(2)),
        ("code", json!(2.0)),
        ("codes", json!([])),
        ("codes", json!([3, 1])),
        ("integer", json!(-5)),
        ("decimal", json!(36.65)),
        ("decimal", json!(37)),
        ("boolean", json!(true)),
        ("boolean", json!(0)),
        ("text", json!("äöü")),
        ("text", json!(null)),
    ] {
        assert_eq!(codes(&instrument, &json!({id: value})), [""; 0], "{id} {value}");
    }
    for (id, value, code) in [
        ("code", json!(4), "item.code"),
        ("code", json!("2"), "item.type"),
        ("code", json!(true), "item.type"),
        ("codes", json!(1), "item.type"),
        ("codes", json!([1.5]), "item.type"),
        ("codes", json!([1, 4]), "item.code"),
        ("codes", json!([1, 1]), "item.repeated"),
        ("integer", json!(301), "item.range"),
        ("integer", json!(1.5), "item.type"),
        ("decimal", json!(29.99), "item.range"),
        ("decimal", json!(1e300), "item.range"),
        ("decimal", json!(36.655), "item.decimals"),
        ("boolean", json!(2), "item.type"),
        ("boolean", json!("yes"), "item.type"),
        ("text", json!("four"), "item.length"),
        ("text", json!(1), "item.type"),
        ("other", json!(null), "item.unknown"),
    ] {
        assert_eq!(codes(&instrument, &json!({id: value})), [code], "{id} {value}");
    }
}

#[test]
fn an_item_that_is_not_asked_is_not_missing_and_must_not_be_answered() {
    let instrument = load(
        json!([
            {"id": "1", "type": "boolean"},
            {"id": "2", "type": "integer", "min": 1, "max": 4, "enableWhen": {"equals": ["1", 1]}},
        ]),
        json!([
            {"id": "total", "value": {"sum": ["1", "2"]}, "range": [0, 5]},
            {"id": "mean", "value": {"mean": ["1", "2"]}, "decimals": 2, "range": [0, 4]},
            {"id": "second", "value": "2", "range": [1, 4]},
            {"id": "much", "value": {"atLeast": ["2", 3]}, "range": [0, 1]},
        ]),
    );
    let no = assess(&instrument, json!({"1": false}));
    assert_eq!(written(&no), json!({"total": 0, "mean": 0, "much": 0}));
    assert_eq!(no.not_scored[0].reason, "its items are not asked");
    assert_eq!(
        written(&assess(&instrument, json!({"1": true, "2": 4}))),
        json!({"total": 5, "mean": 2.5, "second": 4, "much": 1})
    );
    let yes = assess(&instrument, json!({"1": true}));
    assert_eq!(yes.not_scored[0].reason, "item 2 is not answered; all 2 are needed");
    assert_eq!(codes(&instrument, &json!({"1": false, "2": 4})), ["item.hidden"]);
    // If the condition cannot be evaluated, the item is not asked.
    assert_eq!(codes(&instrument, &json!({"2": 4})), ["item.hidden"]);
}

#[test]
fn every_operation_computes_its_documented_value() {
    for (value, range, expected) in [
        (json!("a"), json!([0, 10]), json!(7)),
        (json!({"sum": ["a", "b", 1]}), json!([1, 15]), json!(10)),
        (json!({"mean": ["a", "b"]}), json!([0, 7]), json!(4.5)),
        (json!({"linear": {"of": "a", "from": [0, 10], "to": [100, 0]}}), json!([0, 100]), json!(30)),
        (json!({"linear": {"of": "b", "from": [0, 3], "to": [0, 100]}}), json!([0, 133.33]), json!(66.67)),
        (json!({"reverse": "a"}), json!([0, 10]), json!(3)),
        (json!({"recode": {"of": "b", "to": [[0, 0], [1, 5], [2, 2.5], [3, 1], [4, 9]]}}), json!([0, 9]), json!(2.5)),
        (json!({"lookup": {"of": "a", "table": [[0, 6, 38.5], [7, 10, 41]]}}), json!([38.5, 41]), json!(41)),
        (json!({"combination": {"of": ["b", "a"], "table": "grade"}}), json!([0, 2.5]), json!(2.5)),
        (json!({"countAtLeast": {"of": ["a", "b"], "least": 3}}), json!([0, 2]), json!(1)),
        (json!({"min": ["a", "b"]}), json!([0, 4]), json!(2)),
        (json!({"max": ["a", "b"]}), json!([0, 10]), json!(7)),
        (json!({"difference": ["b", "a"]}), json!([-10, 4]), json!(-5)),
        (json!({"round": {"of": {"mean": ["a", "b"]}}}), json!([0, 7]), json!(5)),
        (json!({"atLeast": ["a", 7]}), json!([0, 1]), json!(1)),
        (json!({"atMost": ["a", 6]}), json!([0, 1]), json!(0)),
        (json!({"equals": ["b", 2]}), json!([0, 1]), json!(1)),
        (json!({"all": [{"atLeast": ["a", 7]}, {"atLeast": ["b", 3]}]}), json!([0, 1]), json!(0)),
        (json!({"any": [{"atLeast": ["a", 7]}, {"atLeast": ["b", 3]}]}), json!([0, 1]), json!(1)),
    ] {
        let mut definition = definition(
            json!([
                {"id": "a", "type": "integer", "min": 0, "max": 10},
                {"id": "b", "type": "integer", "min": 0, "max": 4},
            ]),
            json!([{"id": "score", "value": value, "decimals": 2, "range": range}]),
        );
        if value.to_string().contains("table\":\"grade") {
            definition["tables"] = json!({"grade": [
                {"when": [[0, 1], [0, 10]], "value": 0},
                {"when": [[2, 4], [0, 6]], "value": 1},
                {"when": [[2, 4], [7, 10]], "value": 2.5},
            ]});
        }
        let instrument = Instrument::parse(&definition.to_string()).unwrap();
        assert_eq!(written(&assess(&instrument, json!({"a": 7, "b": 2}))), json!({"score": expected}), "{value}");
        let missing = assess(&instrument, json!({"b": 2}));
        assert_eq!(missing.scores.is_empty(), value.to_string().contains("\"a\""), "{value}");
    }
}

#[test]
fn an_optional_item_is_not_missing_without_an_answer_and_is_scored_with_one() {
    let instrument = load(
        json!([
            {"id": "1", "type": "integer", "min": 0, "max": 4},
            {"id": "2", "type": "integer", "min": 0, "max": 4, "neededWhen": {"atLeast": ["1", 1]}},
        ]),
        json!([{"id": "total", "value": {"sum": ["1", "2"]}, "range": [0, 8]}]),
    );
    for (answers, total) in [
        (json!({"1": 0}), json!({"total": 0})),
        (json!({"1": 0, "2": null}), json!({"total": 0})),
        (json!({"1": 0, "2": 3}), json!({"total": 3})),
        (json!({"1": 1, "2": 3}), json!({"total": 4})),
        (json!({"1": 1}), json!({})),
        // If the condition cannot be evaluated, the item is required.
        (json!({"2": 3}), json!({})),
        (json!({}), json!({})),
    ] {
        assert_eq!(written(&assess(&instrument, answers.clone())), total, "{answers}");
    }
    let nothing = assess(&instrument, json!({}));
    assert_eq!(nothing.not_scored[0].reason, "items 1, 2 are not answered; all 2 are needed");
}

#[test]
fn items_are_optional_for_the_groups_that_they_name() {
    let instrument = load(
        json!([
            {"id": "1", "type": "integer", "min": 0, "max": 4},
            {"id": "2", "type": "integer", "min": 0, "max": 4, "notNeededFor": ["men"]},
        ]),
        json!([{"id": "total", "value": {"sum": ["1", "2"]}, "range": [0, 8]}]),
    );
    let watch =
        serde_json::from_value(json!({"id": "watch", "severity": "info", "when": {"item": {"of": "1", "atLeast": 2}}}));
    let under_rules = Arc::new(instrument.with_rules(&[watch.unwrap()], &[]).unwrap());
    let instrument = Arc::new(instrument);
    let [men, women] = ["men", "women"].map(|group| group.parse().ok());
    for others in [None, women.as_ref()] {
        assert!(Arc::ptr_eq(instrument.for_group(others), &instrument));
    }
    for (for_men, rules) in [(instrument.for_group(men.as_ref()), 0), (under_rules.for_group(men.as_ref()), 1)] {
        assert_eq!((for_men.hash(), for_men.rules().len()), (instrument.hash(), rules));
        assert_eq!(written(&assess(for_men, json!({"1": 2}))), json!({"total": 2}));
        assert_eq!(written(&assess(for_men, json!({"1": 2, "2": 1}))), json!({"total": 3}));
        assert_eq!(written(&assess(for_men, json!({"2": 1}))), json!({}));
        assert_eq!(assess(for_men, json!({"1": 2})).alerts.len(), rules);
    }
    assert_eq!(written(&assess(&instrument, json!({"1": 2}))), json!({}));
}

#[test]
fn lists_ignore_a_choice_that_counts_as_not_asked() {
    let mut definition = definition(
        json!([{"id": "1", "type": "code", "codes": "list"}, {"id": "2", "type": "code", "codes": "list"}]),
        json!([
            {"id": "total", "value": {"sum": ["1", "2"]}, "range": [0, 4]},
            {"id": "mean", "value": {"mean": ["1", "2"]}, "range": [1, 2]},
            {"id": "second", "value": "2", "range": [1, 2]},
        ]),
    );
    definition["codeLists"]["list"][2]["countsAsNotAsked"] = json!(true);
    let instrument = Instrument::parse(&definition.to_string()).unwrap();
    let not_asked = assess(&instrument, json!({"1": 2, "2": 3}));
    assert_eq!(written(&not_asked), json!({"total": 2, "mean": 2}));
    assert_eq!(not_asked.not_scored[0].reason, "its items are not asked");
    assert_eq!(written(&assess(&instrument, json!({"1": 2, "2": 1}))), json!({"total": 3, "mean": 2, "second": 1}));
}

#[test]
fn a_combination_needs_only_the_parts_that_its_row_depends_on() {
    let mut definition = definition(
        json!([
            {"id": "1", "type": "integer", "min": 0, "max": 2},
            {"id": "2", "type": "integer", "min": 0, "max": 2, "enableWhen": {"atLeast": ["1", 1]}},
        ]),
        json!([{"id": "grade", "value": {"combination": {"of": ["1", "2"], "table": "grade"}}, "range": [0, 3]}]),
    );
    definition["tables"] = json!({"grade": [
        {"when": [0, null], "value": 0},
        {"when": [[1, 2], [0, 1]], "value": 1},
        {"when": [[1, 2], 2], "value": 3},
    ]});
    let instrument = Instrument::parse(&definition.to_string()).unwrap();
    for (answers, grade) in [
        (json!({"1": 0}), Some(0)),
        (json!({"1": 1, "2": 1}), Some(1)),
        (json!({"1": 2, "2": 2}), Some(3)),
        (json!({"1": 2}), None),
        (json!({}), None),
    ] {
        let expected = grade.map_or(json!({}), |grade| json!({"grade": grade}));
        assert_eq!(written(&assess(&instrument, answers.clone())), expected, "{answers}");
    }
}

#[test]
fn a_score_is_rounded_once_and_others_use_it_unrounded() {
    let instrument = load(
        json!([{"id": "1", "type": "integer", "min": 0, "max": 3}]),
        json!([
            {"id": "third", "value": {"linear": {"of": "1", "from": [0, 3], "to": [0, 1]}}, "range": [0, 1]},
            {"id": "again", "value": {"linear": {"of": {"score": "third"}, "from": [0, 1], "to": [0, 3]}}, "range": [0, 3]},
        ]),
    );
    assert_eq!(written(&assess(&instrument, json!({"1": 1}))), json!({"third": 0, "again": 1}));
}

#[test]
fn a_score_names_the_missing_data_rule_that_was_applied() {
    let items: Vec<_> =
        (1..=4).map(|id| json!({"id": id.to_string(), "type": "integer", "min": 0, "max": 4})).collect();
    let instrument = load(
        json!(items),
        json!([
            {"id": "sum", "value": {"sum": ["1", "2", "3", "4"]}, "missing": {"minAnswered": 3, "prorate": "mean"}, "range": [0, 16]},
            {"id": "mean", "value": {"mean": ["1", "2", "3", "4"]}, "missing": {"minAnswered": 2}, "decimals": 2, "range": [0, 4]},
        ]),
    );
    let all = assess(&instrument, json!({"1": 1, "2": 2, "3": 1, "4": 1}));
    assert!(all.scores.iter().all(|score| score.missing.is_none()));
    let three = assess(&instrument, json!({"1": 1, "2": 2, "3": 2}));
    assert_eq!(written(&three), json!({"sum": 7, "mean": 1.67}));
    let applied = three.scores.iter().map(|score| score.missing.unwrap());
    let applied: Vec<_> = applied.map(|missing| (missing.rule, missing.answered, missing.of)).collect();
    assert_eq!(applied, [(MissingRule::Prorated, 3, 4), (MissingRule::MeanOfAnswered, 3, 4)]);
    let two = assess(&instrument, json!({"1": 1, "4": 2}));
    assert_eq!(written(&two), json!({"mean": 1.5}));
    assert_eq!(two.not_scored[0].reason, "items 2, 3 are not answered; at least 3 of 4 are needed");
}

#[test]
fn a_code_that_counts_as_missing_is_stored_and_not_scored() {
    let mut definition = definition(
        json!([{"id": "1", "type": "code", "codes": "list"}, {"id": "2", "type": "code", "codes": "list"}]),
        json!([{"id": "total", "value": {"sum": ["1", "2"]}, "range": [2, 4]}]),
    );
    definition["codeLists"]["list"][2]["countsAsMissing"] = json!(true);
    let instrument = Instrument::parse(&definition.to_string()).unwrap();
    let answers = json!({"1": 3, "2": 1});
    assert_eq!(instrument.check(answers.as_object().unwrap()).unwrap().len(), 2);
    assert_eq!(assess(&instrument, answers).not_scored[0].reason, "item 1 is not answered; all 2 are needed");
}

#[test]
fn a_definition_can_be_reduced_to_one_language() {
    let phq_9 =
        clinical::instruments::Catalog::shipped().find(&"phq-9".parse().unwrap(), &"1.0.0".parse().unwrap()).unwrap();
    assert_eq!(phq_9.languages().collect::<Vec<_>>(), ["en", "zh-Hans"]);
    let chinese = serde_json::to_string(&phq_9.definition().in_language("zh-Hans").unwrap()).unwrap();
    assert!(chinese.contains("几乎每天") && !chinese.contains("\"en\""));
    assert_eq!(phq_9.definition().in_language("fr"), None);
}

/// The codes of the findings.
fn codes(instrument: &Instrument, answers: &Value) -> Vec<&'static str> {
    let findings = instrument.check(answers.as_object().unwrap()).err().unwrap_or_default();
    findings.into_iter().map(|finding| finding.code).collect()
}

fn assess(instrument: &Instrument, answers: Value) -> Outcome {
    instrument.assess(&instrument.check(answers.as_object().unwrap()).unwrap()).unwrap()
}

/// The scores as JSON, by id.
fn written(outcome: &Outcome) -> Value {
    let scores = serde_json::to_value(&outcome.scores).unwrap();
    let scores = scores.as_array().unwrap().iter();
    scores.map(|score| (score["id"].as_str().unwrap().to_owned(), score["value"].clone())).collect()
}

fn load(items: Value, scores: Value) -> Instrument {
    Instrument::parse(&definition(items, scores).to_string()).unwrap()
}

fn definition(items: Value, scores: Value) -> Value {
    let mut definition = json!({
        "id": "mood", "version": "1.0.0", "title": {"en": "Mood"},
        "licence": {"terms": "Licensed", "texts": "not-included"}, "sources": ["A paper"],
        "items": items, "scores": scores,
    });
    if definition["items"].as_array().unwrap().iter().any(|item| item.get("codes").is_some()) {
        definition["codeLists"] = json!({"list": [{"code": 1}, {"code": 2}, {"code": 3}]});
    }
    definition
}

/// Items that are always asked (`a`, `b`, the decimal `d`), and items that may not be asked: `h`, `g` and `yes` by
/// `enableWhen`, `n` by `neededWhen`, `men` by the patient's group.
fn items() -> Value {
    let number = |id: &str, kind: &str, min: Value, max: Value| json!({"id": id, "type": kind, "min": min, "max": max});
    let mut items = vec![
        number("a", "integer", json!(1), json!(10)),
        number("b", "integer", json!(1), json!(4)),
        number("d", "decimal", json!(0.5), json!(2.5)),
        number("h", "integer", json!(3), json!(5)),
        number("g", "integer", json!(2), json!(6)),
        json!({"id": "yes", "type": "boolean"}),
        number("n", "integer", json!(1), json!(3)),
        number("men", "integer", json!(1), json!(3)),
    ];
    for item in &mut items[3..6] {
        item["enableWhen"] = json!({"atLeast": ["a", 5]});
    }
    items[6]["neededWhen"] = json!({"atLeast": ["a", 5]});
    items[7]["notNeededFor"] = json!(["men"]);
    json!(items)
}

/// The codes and pointers of the faults of a score with this value and range.
fn faults(value: &Value, range: &Value) -> Vec<(&'static str, String)> {
    let scores = json!([{"id": "score", "value": value, "decimals": 4, "range": range}]);
    let faults = Instrument::parse(&definition(items(), scores).to_string()).err().unwrap_or_default();
    faults.into_iter().map(|fault| (fault.code, fault.pointer)).collect()
}

#[test]
fn the_range_of_a_score_is_exactly_what_it_can_reach() {
    let count = |of: &[&str]| json!({"countAtLeast": {"of": of, "least": 1}});
    let max = |of: Value, other: i64| json!({"max": [of, other]});
    for (value, range) in [
        // Parts that may not be asked count as nothing.
        (count(&["a", "b", "h"]), json!([2, 3])),
        (json!({"sum": ["a", "h"]}), json!([1, 15])),
        (json!({"max": ["a", "h"]}), json!([1, 10])),
        (json!({"min": ["a", "h"]}), json!([1, 10])),
        // Where none is asked there is no value, and the other part decides.
        (max(count(&["h", "g"]), -1), json!([-1, 2])),
        (max(json!({"difference": ["a", "h"]}), -20), json!([-20, 7])),
        (max(json!({"sum": ["h", "g"]}), -1), json!([-1, 11])),
        (max(json!("yes"), -1), json!([-1, 1])),
        (max(json!("n"), -1), json!([-1, 3])),
        (max(json!("men"), -1), json!([-1, 3])),
        (max(json!({"mean": ["h", "g"]}), -1), json!([-1, 6])),
        // And where one is asked there is.
        (max(json!({"sum": ["a", "b"]}), -1), json!([2, 14])),
        (max(json!({"sum": ["a", "h"]}), -1), json!([1, 15])),
        (json!({"round": {"of": {"mean": ["a", "b", "d"]}, "decimals": 4}}), json!([0.8333, 5.5])),
        (json!({"round": {"of": {"mean": ["a", "b", "d"]}, "decimals": 1}}), json!([0.8, 5.5])),
        (
            json!({"round": {"of": {"linear": {"of": "a", "from": [0, 3], "to": [0, 1]}}, "decimals": 1}}),
            json!([0.3, 3.3]),
        ),
    ] {
        assert_eq!(faults(&value, &range), [], "{value}");
        let mut narrower = range.clone();
        narrower[0] = json!(range[0].as_f64().unwrap() + 0.5);
        assert_eq!(faults(&value, &narrower), [("score.range", "/scores/0/range".to_owned())]);
    }
}

#[test]
fn a_table_is_of_integers_that_can_be_listed() {
    let linear = |of: &str, to: Value| json!({"linear": {"of": of, "from": [1, 10], "to": to}});
    let round = |of: Value, decimals: u32| json!({"round": {"of": of, "decimals": decimals}});
    let lookup = |of: &Value| json!({"lookup": {"of": of, "table": [[-20, 30, 1]]}});
    for of in [
        json!({"sum": ["a", "b"]}),
        json!({"difference": ["a", "b"]}),
        linear("a", json!([2, 20])),
        round(json!({"mean": ["a", "b"]}), 0),
        round(json!("a"), 2),
    ] {
        assert_eq!(faults(&lookup(&of), &json!([1, 1])), [], "{of}");
    }
    for of in [
        json!("d"),
        json!({"sum": ["a", "d"]}),
        json!({"difference": ["a", "d"]}),
        json!({"difference": ["d", "a"]}),
        json!({"mean": ["a", "h"]}),
        json!({"mean": ["a", "b"]}),
        // A slope, an intercept, or an operand that is no integer.
        json!({"linear": {"of": "a", "from": [0, 2], "to": [0, 1]}}),
        linear("a", json!([0.5, 9.5])),
        json!({"linear": {"of": "d", "from": [0, 1], "to": [0, 3]}}),
        round(json!("d"), 1),
        json!({"recode": {"of": "b", "to": [[1, 1], [2, 2.5], [3, 3], [4, 4]]}}),
    ] {
        let expected = [("operation.table", "/scores/0/value/lookup/of".to_owned())];
        assert_eq!(faults(&lookup(&of), &json!([1, 1])), expected, "{of}");
    }
    let span = |max: i64| {
        let items = json!([{"id": "a", "type": "integer", "min": 0, "max": max}]);
        let value = json!({"lookup": {"of": "a", "table": [[0, max, 1]]}});
        let scores = json!([{"id": "score", "value": value, "range": [1, 1]}]);
        Instrument::parse(&definition(items, scores).to_string()).map_or_else(|faults| faults[0].code, |_| "")
    };
    assert_eq!([1_000, 1_001, 1_002].map(span), ["", "operation.table", "operation.table"]);
}

#[test]
fn numbers_are_within_their_limits() {
    let round = |decimals: u32| json!({"round": {"of": "a", "decimals": decimals}});
    assert_eq!(faults(&round(4), &json!([1, 10])), []);
    for decimals in [5, 6] {
        let expected = ("number.decimals", "/scores/0/value/round/decimals".to_owned());
        assert_eq!(faults(&round(decimals), &json!([1, 10])), [expected]);
    }
    // A number that is beyond the limits is one fault, and not also one of each computation with it.
    let huge = 9_000_000_000_000_000_000_i64;
    for (min, max, place) in [(0, huge, "/items/0/max"), (-huge, 0, "/items/0/min")] {
        let items = json!([
            {"id": "a", "type": "integer", "min": min, "max": max}, {"id": "b", "type": "integer", "min": min, "max": max},
        ]);
        let sum = json!({"sum": [{"linear": {"of": "a", "from": [0, 1], "to": [0, 2]}}, "b"]});
        let scores = json!([{"id": "score", "value": sum, "range": [0, 1]}]);
        let faults = Instrument::parse(&definition(items, scores).to_string()).unwrap_err();
        assert!(faults.iter().any(|fault| fault.code == "number.limits" && fault.pointer == place));
        assert!(!faults.iter().any(|fault| fault.code == "number.limits" && fault.pointer.starts_with("/scores")));
    }
    let mut steep = json!("a");
    for _ in 0..4 {
        steep = json!({"linear": {"of": steep, "from": [0, 0.0001], "to": [0, 1_000_000]}});
    }
    assert!(faults(&steep, &json!([0, 1])).iter().any(|(code, _)| *code == "number.limits"));
    let items = json!([{"id": "a", "type": "integer", "min": 3, "max": 3}]);
    let scores = json!([{"id": "score", "value": 1, "range": [1, 1]}]);
    let faults = Instrument::parse(&definition(items, scores).to_string()).unwrap_err();
    assert_eq!((faults[0].code, faults[0].pointer.as_str()), ("item.range", "/items/0"));
}

#[test]
fn each_end_of_a_cell_is_within_the_limits() {
    for (cell, reported) in
        [(json!([1, 4.00001]), 1), (json!([0.00001, 4]), 1), (json!(1.00001), 1), (json!([1, 4]), 0)]
    {
        let mut definition = definition(
            items(),
            json!([{"id": "score", "value": {"combination": {"of": ["b"], "table": "grade"}}, "range": [0, 0]}]),
        );
        definition["tables"] = json!({"grade": [{"when": [cell], "value": 0}]});
        let faults = Instrument::parse(&definition.to_string()).err().unwrap_or_default();
        let limits = faults.iter().filter(|fault| fault.code == "number.limits");
        assert_eq!(limits.filter(|fault| fault.pointer == "/tables/grade/0/when/0").count(), reported, "{cell}");
    }
}

#[test]
fn a_missing_data_rule_fits_its_list() {
    let with = |value: Value, missing: Value| {
        let scores = json!([{"id": "score", "value": value, "range": [1, 10], "decimals": 2, "missing": missing}]);
        let items = json!([
            {"id": "a", "type": "integer", "min": 1, "max": 10}, {"id": "b", "type": "integer", "min": 1, "max": 10},
        ]);
        Instrument::parse(&definition(items, scores).to_string()).map_or_else(|faults| faults[0].code, |_| "")
    };
    let mean = json!({"mean": ["a", "b"]});
    assert_eq!(with(mean.clone(), json!({"minAnswered": 1})), "");
    assert_eq!(with(mean, json!({"minAnswered": 1, "prorate": "mean"})), "missing.prorate");
}

#[test]
fn a_score_of_which_nothing_is_asked_is_not_zero() {
    let sum = json!({"sum": ["h", "g"]});
    let scores = json!([
        {"id": "sum", "value": sum, "range": [0, 11]}, {"id": "mean", "value": {"mean": ["h", "g"]}, "range": [2, 6]},
    ]);
    let instrument = load(items(), scores);
    let outcome = assess(&instrument, json!({"a": 1, "b": 1, "d": 1, "men": 1}));
    assert_eq!(written(&outcome), json!({}));
    assert_eq!(outcome.not_scored.len(), 2);
    assert!(outcome.not_scored.iter().all(|not| not.reason == "its items are not asked"));
    let asked = json!({"a": 5, "b": 1, "d": 1, "h": 3, "g": 4, "yes": true, "n": 1, "men": 1});
    assert_eq!(written(&assess(&instrument, asked)), json!({"sum": 7, "mean": 4}));
}

#[test]
fn a_missing_score_names_each_missing_part_once() {
    let twice = |of: Value| json!({"difference": [of, {"atLeast": [of, 3]}]});
    let score = |id: &str| json!({"score": id});
    let instrument = load(
        json!([
            {"id": "a", "type": "integer", "min": 0, "max": 10}, {"id": "b", "type": "integer", "min": 0, "max": 10},
        ]),
        json!([
            {"id": "one", "value": "a", "range": [0, 10]},
            {"id": "two", "value": {"sum": ["a", "b"]}, "range": [0, 20]},
            {"id": "again", "value": twice(json!("a")), "range": [-1, 10]},
            {"id": "of-one", "value": twice(score("one")), "range": [-1, 10]},
            {"id": "of-two", "value": {"sum": [score("one"), score("two")]}, "range": [0, 30]},
            {"id": "of-known", "value": {"sum": [score("one"), score("b-alone")]}, "range": [0, 20]},
            {"id": "b-alone", "value": "b", "range": [0, 10]},
        ]),
    );
    let reason = |answers: Value| -> Vec<String> {
        let outcome = assess(&instrument, answers);
        outcome.not_scored.into_iter().map(|not| format!("{}: {}", not.id, not.reason)).collect()
    };
    assert_eq!(
        reason(json!({"b": 1})),
        [
            "one: item a is not answered",
            "two: item a is not answered; all 2 are needed",
            "again: item a is not answered",
            "of-one: score one could not be computed",
            "of-two: scores one, two could not be computed; all 2 are needed",
            "of-known: score one could not be computed; all 2 are needed",
        ]
    );
}

#[test]
fn the_detail_of_a_finding_says_what_is_allowed() {
    let instrument = load(
        json!([
            {"id": "code", "type": "code", "codes": "list"}, {"id": "codes", "type": "codes", "codes": "list"},
            {"id": "integer", "type": "integer", "min": 0, "max": 9}, {"id": "decimal", "type": "decimal", "min": 0, "max": 9},
            {"id": "boolean", "type": "boolean"}, {"id": "text", "type": "text"},
        ]),
        json!([{"id": "score", "value": "integer", "range": [0, 9]}]),
    );
    for (item, expected) in [
        ("code", "must be a code (a whole number)"),
        ("codes", "must be a list of codes (whole numbers)"),
        ("integer", "must be a whole number"),
        ("decimal", "must be a number"),
        ("boolean", "must be true or false"),
        ("text", "must be a string"),
    ] {
        let findings = instrument.check(json!({item: {}}).as_object().unwrap()).unwrap_err();
        assert_eq!(findings[0].detail, expected);
        assert_eq!(findings[0].to_string(), format!("/{item}: {expected}"));
    }
}

#[test]
fn the_weight_of_a_choice_is_its_code_where_the_score_is_the_rising_item_itself() {
    let weights = |value: Value, range: Value| {
        let items = json!([{"id": "a", "type": "code", "codes": "list"}]);
        let instrument = load(items, json!([{"id": "score", "value": value, "range": range}]));
        let weights = instrument.weights(&"a".parse().unwrap()).unwrap();
        weights.into_iter().map(|(code, weight)| (code, weight.to_string())).collect::<Vec<_>>()
    };
    let expected = |weights: [&str; 3]| (1..).zip(weights.map(str::to_owned)).collect::<Vec<(i64, String)>>();
    let recode = |to: [i64; 3]| json!({"recode": {"of": "a", "to": [[1, to[0]], [2, to[1]], [3, to[2]]]}});
    assert_eq!(weights(recode([0, 50, 100]), json!([0, 100])), expected(["1", "2", "3"]));
    assert_eq!(weights(json!({"reverse": "a"}), json!([1, 3])), expected(["3", "2", "1"]));
    assert_eq!(weights(recode([0, 0, 100]), json!([0, 100])), expected(["0", "0", "100"]));
    assert_eq!(weights(recode([7, 7, 7]), json!([7, 7])), expected(["7", "7", "7"]));
}

#[test]
fn answers_that_do_not_fit_are_an_error_without_a_value() {
    let instrument = load(
        json!([{"id": "a", "type": "integer", "min": 0, "max": 9}]),
        json!([{"id": "score", "value": "a", "range": [0, 9]}]),
    );
    let answers = [("a".parse().unwrap(), Answer::Number(77.into())), ("b".parse().unwrap(), Answer::Boolean(true))];
    let error = instrument.assess(&answers.into_iter().collect()).unwrap_err();
    assert_eq!(error.findings.len(), 2);
    assert!(error.to_string().starts_with("2 of the answers do not fit mood 1.0.0, first /a: "), "{error}");
    assert!(!error.to_string().contains("77"), "{error}");
}

#[test]
fn a_fault_of_the_format_says_what_is_expected() {
    let items = json!([{"id": "a", "type": "integer", "min": 0, "max": 9}]);
    let problem = |value: Value, tables: Value, bands: Value| {
        let mut definition =
            definition(items.clone(), json!([{"id": "score", "value": value, "range": [0, 9], "bands": bands}]));
        definition["tables"] = tables;
        Instrument::parse(&definition.to_string()).unwrap_err().remove(0).problem
    };
    let no_operation = problem(json!(true), json!({}), json!([]));
    assert!(no_operation.contains("an item id, a number, or an object with one operation"), "{no_operation}");
    let no_cell = problem(json!("a"), json!({"grade": [{"when": ["x"], "value": 0}]}), json!([]));
    assert!(no_cell.contains("a number, or the least and the greatest value"), "{no_cell}");
    let bands = json!([{"id": "low", "from": 0, "to": 5}, {"id": "high", "from": 5, "to": 9}]);
    assert_eq!(problem(json!("a"), json!({}), bands), "the band begins at 5, before 6");
}
