//! Features of definitions: types of items, conditional items, operations, missing answers.

#![allow(clippy::unwrap_used, reason = "a test stops at what it cannot read")]

use std::sync::Arc;

use clinical::instruments::{Instrument, MissingRule, Outcome};
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
