//! Alert rules: when they fire, when not, and when they cannot be evaluated.

#![allow(clippy::unwrap_used, reason = "a test stops at what it cannot read")]

use clinical::instruments::{EarlierScores, History, Instrument, Outcome, Severity};
use rust_decimal::Decimal;
use serde_json::{Value, json};

#[test]
fn a_change_fires_from_its_minimum_and_only_for_the_worse() {
    let rule = json!({"change": {"of": "total", "against": "previous", "worse": "higher", "by": 3}});
    assert_eq!(fires(&rule, 7, &after(&[4])), Ok(true));
    assert_eq!(fires(&rule, 6, &after(&[4])), Ok(false));
    assert_eq!(fires(&rule, 1, &after(&[9])), Ok(false));
    let lower = json!({"change": {"of": "total", "against": "previous", "worse": "lower", "by": 3}});
    assert_eq!(fires(&lower, 1, &after(&[4])), Ok(true));
    assert_eq!(fires(&lower, 7, &after(&[4])), Ok(false));
}

#[test]
fn a_change_in_percent_is_of_the_earlier_score() {
    let rule = json!({"change": {"of": "total", "against": "previous", "worse": "higher", "byPercent": 50}});
    assert_eq!(fires(&rule, 6, &after(&[4])), Ok(true));
    assert_eq!(fires(&rule, 5, &after(&[4])), Ok(false));
    assert_eq!(
        fires(&rule, 5, &after(&[0])),
        Err("score total of the previous submission is 0, so there is no percentage".to_owned())
    );
}

#[test]
fn a_change_from_an_impossible_score_is_not_evaluated() {
    let absurd = EarlierScores::from([("total".parse().unwrap(), Decimal::MIN)]);
    let history = History::Known { baseline: Some(absurd.clone()), latest: vec![absurd], more: false };
    for by in ["by", "byPercent"] {
        let rule = json!({"change": {"of": "total", "against": "previous", "worse": "higher", (by): 3}});
        assert_eq!(fires(&rule, 7, &history), Err("the change of score total is too large".to_owned()));
    }
}

#[test]
fn a_change_is_measured_from_the_baseline_or_the_previous_submission() {
    let history = History::Known { baseline: Some(scored(2)), latest: vec![scored(6), scored(4)], more: false };
    let against = |what: &str| json!({"change": {"of": "total", "against": what, "worse": "higher", "by": 4}});
    assert_eq!(fires(&against("baseline"), 7, &history), Ok(true));
    assert_eq!(fires(&against("previous"), 7, &history), Ok(false));
}

#[test]
fn a_first_submission_has_not_changed() {
    for against in ["baseline", "previous"] {
        let rule = json!({"change": {"of": "total", "against": against, "worse": "higher", "by": 1}});
        assert_eq!(fires(&rule, 10, &History::first()), Ok(false));
    }
}

#[test]
fn a_change_that_cannot_be_evaluated_has_a_reason() {
    let rule = json!({"change": {"of": "total", "against": "previous", "worse": "higher", "by": 1}});
    let without =
        History::Known { baseline: Some(EarlierScores::new()), latest: vec![EarlierScores::new()], more: false };
    assert_eq!(fires(&rule, 5, &without), Err("the previous submission has no score total".to_owned()));
    assert_eq!(fires(&rule, 5, &History::unknown("authored before others")), Err("authored before others".to_owned()));
    let unseen = History::Known { baseline: Some(scored(1)), latest: Vec::new(), more: true };
    assert_eq!(fires(&rule, 5, &unseen), Err("the previous submission is not known".to_owned()));
    let outcome = assess(&rule, &json!({"2": 1}), &after(&[1]));
    assert_eq!(outcome.not_evaluated[0].reason, "score total could not be computed");
}

#[test]
fn times_are_counted_among_the_last_submissions_with_this_one() {
    let rule = json!({"consecutive": {"of": "total", "atLeast": 5, "times": 2, "last": 3}});
    assert_eq!(fires(&rule, 5, &after(&[1, 5])), Ok(true));
    assert_eq!(fires(&rule, 5, &after(&[1, 1, 5])), Ok(false));
    assert_eq!(fires(&rule, 4, &after(&[5, 5])), Ok(false));
    assert_eq!(fires(&rule, 5, &History::first()), Ok(false));
    let without = History::Known { baseline: None, latest: vec![EarlierScores::new(), scored(5)], more: false };
    assert_eq!(fires(&rule, 5, &without), Ok(true));
}

#[test]
fn times_that_could_be_among_unknown_submissions_are_not_evaluated() {
    let rule = json!({"consecutive": {"of": "total", "atLeast": 5, "times": 3, "last": 3}});
    let known = |latest: &[i64]| History::Known {
        baseline: None,
        latest: latest.iter().map(|total| scored(*total)).collect(),
        more: true,
    };
    assert_eq!(fires(&rule, 5, &known(&[5])), Err("of the last 3 submissions 1 are not known".to_owned()));
    assert_eq!(fires(&rule, 5, &known(&[1])), Ok(false));
    assert_eq!(fires(&rule, 5, &known(&[5, 5])), Ok(true));
}

#[test]
fn an_incomplete_score_can_fire_a_rule() {
    let rule = json!({"incomplete": {"of": "total"}});
    assert_eq!(fires(&rule, 5, &History::first()), Ok(false));
    assert_eq!(assess(&rule, &json!({"2": 1}), &History::first()).alerts.len(), 1);
}

#[test]
fn an_item_rule_can_have_an_upper_bound() {
    let rule = json!({"item": {"of": "2", "atMost": 0}});
    assert_eq!(assess(&rule, &json!({"2": 0}), &History::first()).alerts.len(), 1);
    assert!(assess(&rule, &json!({"2": 1}), &History::first()).alerts.is_empty());
    assert!(assess(&rule, &json!({"1": 1}), &History::first()).alerts.is_empty());
}

#[test]
fn a_fired_rule_has_its_severity_and_its_quiet_period() {
    let outcome = assess(&json!({"score": {"of": "total", "atLeast": 5}}), &json!({"1": 5, "2": 1}), &History::first());
    assert_eq!((outcome.alerts[0].severity, outcome.alerts[0].quiet_hours), (Severity::Warning, 72));
    assert_eq!(
        serde_json::to_value(&outcome).unwrap()["alerts"],
        json!([{"rule": "watch", "severity": "warning", "quietHours": 72}])
    );
}

#[test]
fn a_study_replaces_and_adds_rules_without_changing_the_hash() {
    let own = with_rule(&json!({"score": {"of": "total", "atLeast": 5}}));
    let rules = serde_json::from_value::<Vec<_>>(json!([
        {"id": "watch", "severity": "critical", "when": {"score": {"of": "total", "atLeast": 3}}},
        {"id": "safety", "severity": "info", "when": {"item": {"of": "2", "atLeast": 1}}},
    ]))
    .unwrap();
    let tightened = own.with_rules(&rules, &[]).unwrap();
    let answers = tightened.check(json!({"1": 2, "2": 1}).as_object().unwrap()).unwrap();
    assert!(own.assess(&answers).unwrap().alerts.is_empty());
    let outcome = tightened.assess(&answers).unwrap();
    let fired: Vec<_> = outcome.alerts.iter().map(|alert| (alert.rule.as_str(), alert.severity)).collect();
    assert_eq!(fired, [("watch", Severity::Critical), ("safety", Severity::Info)]);
    assert_eq!(own.hash(), tightened.hash());
}

#[test]
fn a_study_rule_with_a_fault_is_rejected() {
    let own = with_rule(&json!({"score": {"of": "total", "atLeast": 5}}));
    let rules = serde_json::from_value::<Vec<_>>(json!([
        {"id": "more", "severity": "info", "when": {"score": {"of": "total", "atLeast": 12}}},
    ]))
    .unwrap();
    let faults = own.with_rules(&rules, &[]).unwrap_err();
    assert_eq!((faults[0].pointer.as_str(), faults[0].code), ("/rules/1/when/score", "rule.never"));
}

#[test]
fn the_number_of_rules_in_force_is_limited_to_one_transaction() {
    let own = with_rule(&json!({"score": {"of": "total", "atLeast": 5}}));
    let rules = |n: usize| -> Vec<_> {
        let rule =
            |n| json!({"id": format!("r{n}"), "severity": "info", "when": {"score": {"of": "total", "atLeast": 3}}});
        (0..n).map(|n| serde_json::from_value(rule(n)).unwrap()).collect()
    };
    assert!(own.with_rules(&rules(39), &[]).is_ok());
    let faults = own.with_rules(&rules(40), &[]).unwrap_err();
    assert_eq!((faults[0].pointer.as_str(), faults[0].code), ("/rules", "rule.many"));
}

/// Whether the rule fires for a total, or why it cannot be evaluated.
fn fires(rule: &Value, total: i64, history: &History) -> Result<bool, String> {
    let outcome = assess(rule, &json!({"1": total - total / 10, "2": total / 10}), history);
    match outcome.not_evaluated.into_iter().next() {
        Some(not_evaluated) => Err(not_evaluated.reason),
        None => Ok(!outcome.alerts.is_empty()),
    }
}

fn assess(rule: &Value, answers: &Value, history: &History) -> Outcome {
    let instrument = with_rule(rule);
    let answers = instrument.check(answers.as_object().unwrap()).unwrap();
    instrument.assess_with(&answers, history).unwrap()
}

fn with_rule(when: &Value) -> Instrument {
    let definition = json!({
        "id": "mood", "version": "1.0.0", "title": {"en": "Mood"},
        "licence": {"terms": "Public domain", "texts": "included"}, "sources": ["A paper"],
        "items": [
            {"id": "1", "type": "integer", "min": 0, "max": 9, "text": {"en": "Days?"}},
            {"id": "2", "type": "boolean", "text": {"en": "Today?"}},
        ],
        "scores": [{"id": "total", "value": {"sum": ["1", "2"]}, "range": [0, 10]}],
        "rules": [{"id": "watch", "severity": "warning", "quietHours": 72, "when": when}],
    });
    Instrument::parse(&definition.to_string()).unwrap()
}

/// The history of a patient with these totals, newest first.
fn after(totals: &[i64]) -> History {
    let latest: Vec<_> = totals.iter().map(|total| scored(*total)).collect();
    History::Known { baseline: latest.last().cloned(), latest, more: false }
}

fn scored(total: i64) -> EarlierScores {
    [("total".parse().unwrap(), Decimal::from(total))].into()
}

#[test]
fn a_rule_that_never_fires_is_rejected() {
    let fault = |when: Value| {
        let rule: Vec<_> = serde_json::from_value(json!([{"id": "r", "severity": "info", "when": when}])).unwrap();
        let own = with_rule(&json!({"score": {"of": "total", "atLeast": 5}}));
        own.with_rules(&rule, &[]).map_or_else(|faults| faults[0].code, |_| "")
    };
    let change = |by: &str, number: Value| json!({"change": {"of": "total", "against": "previous", "worse": "higher", by: number}});
    let times =
        |times: u32, last: u32| json!({"consecutive": {"of": "total", "atLeast": 5, "times": times, "last": last}});
    let score = |at_least: i64, at_most: i64| json!({"score": {"of": "total", "atLeast": at_least, "atMost": at_most}});
    for possible in [
        change("by", json!(0.1)),
        change("byPercent", json!(0.1)),
        times(2, 2),
        times(2, 31),
        score(3, 30),
        score(-3, 3),
    ] {
        assert_eq!(fault(possible.clone()), "", "{possible}");
    }
    for never in [
        change("by", json!(0)),
        change("by", json!(-1)),
        change("byPercent", json!(0)),
        change("byPercent", json!(-1)),
        times(1, 3),
        times(3, 2),
        times(2, 32),
        times(2, 33),
        // Beside the values on either side, and empty.
        score(100, 200),
        score(-200, -100),
        score(5, 4),
    ] {
        assert_eq!(fault(never.clone()), "rule.never", "{never}");
    }
}

#[test]
fn a_rule_of_bands_names_some_of_the_scores_bands() {
    let fault = |bands: Value| {
        let json = with_rule(&json!({"score": {"of": "total", "atLeast": 5}})).json().to_owned();
        let mut definition: Value = serde_json::from_str(&json).unwrap();
        definition["scores"][0]["bands"] = json!([{"id": "low", "from": 0, "to": 5}, {"id": "high", "from": 6, "to": definition["scores"][0]["range"][1]}]);
        definition["rules"] = json!([{"id": "r", "severity": "info", "when": {"band": {"of": "total", "in": bands}}}]);
        Instrument::parse(&definition.to_string()).map_or_else(|faults| faults[0].code, |_| "")
    };
    assert_eq!(fault(json!(["high"])), "");
    for bands in [json!([]), json!(["low", "high"]), json!(["high", "higher"]), json!(["higher"])] {
        assert_eq!(fault(bands.clone()), "rule.band", "{bands}");
    }
}

#[test]
fn an_instrument_looks_back_as_far_as_its_rules() {
    let consecutive = json!({"consecutive": {"of": "total", "atLeast": 5, "times": 2, "last": 4}});
    let against = |what: &str| json!({"change": {"of": "total", "against": what, "worse": "higher", "by": 3}});
    for (rule, back) in [
        (consecutive, 3),
        (against("previous"), 1),
        (against("baseline"), 0),
        (json!({"score": {"of": "total", "atLeast": 5}}), 0),
    ] {
        assert_eq!(with_rule(&rule).looks_back(), back, "{rule}");
    }
}

#[test]
fn a_rule_in_force_is_found_by_its_id() {
    let instrument = with_rule(&json!({"score": {"of": "total", "atLeast": 5}}));
    let rule = instrument.rule(&"watch".parse().unwrap()).unwrap();
    assert_eq!((rule.rule.as_str(), rule.severity, rule.quiet_hours), ("watch", Severity::Warning, 72));
    assert!(instrument.rule(&"other".parse().unwrap()).is_none());
}
