//! FHIR: official examples, findings with their expressions, and round trips.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it cannot read")]

use std::sync::Arc;

use clinical::fhir::{Response, import, questionnaire};
use clinical::instruments::definition::{Apply, Operation};
use clinical::instruments::{Catalog, Instrument, Outcome};
use clinical::studies::Study;
use serde_json::{Map, Value, json};

const ORDINAL: &str = "http://hl7.org/fhir/StructureDefinition/ordinalValue";

/// The example of HL7's US Core guide, without the texts of the questions.
fn us_core() -> Value {
    serde_json::from_str(include_str!("fhir/us-core-phq-9.json")).unwrap()
}

/// The example of HL7's US Quality Core guide, after the questionnaire of the SDC guide, without the texts of the
/// questions. It states a total of 13.
fn sdc() -> Value {
    serde_json::from_str(include_str!("fhir/sdc-phq-9.json")).unwrap()
}

fn response(items: Value) -> Value {
    json!({
        "resourceType": "QuestionnaireResponse", "id": "x", "status": "completed",
        "questionnaire": "urn:epro:questionnaire:phq-9|1.0.0", "authored": "2026-11-01T07:58:03+08:00", "item": items,
    })
}

fn instrument(id: &str) -> &'static Instrument {
    Catalog::shipped().latest(&id.parse().unwrap()).unwrap()
}

fn read(json: &Value) -> Response {
    Response::read(json, Catalog::shipped())
}

fn findings(json: &Value) -> Vec<(String, &'static str)> {
    read(json).findings.into_iter().map(|finding| (finding.pointer, finding.code)).collect()
}

fn assessed(response: &Response, instrument: &Instrument) -> Outcome {
    assert_eq!(response.findings, []);
    let answers = instrument.check(response.submission["answers"].as_object().unwrap()).unwrap();
    instrument.assess(&answers).unwrap()
}

fn claimed(response: &Response) -> Vec<(String, String)> {
    response.claimed.iter().map(|(score, value)| (score.to_string(), value.to_string())).collect()
}

fn total(outcome: &Outcome) -> String {
    outcome.scores[0].value.to_string()
}

#[test]
fn official_examples_are_converted_by_their_link_ids() {
    let read_us_core = read(&us_core());
    assert_eq!(
        read_us_core.submission["answers"],
        json!({"1": 2, "2": 2, "3": 2, "4": 2, "5": 1, "6": 1, "7": 2, "8": 0, "9": 0, "10": 1})
    );
    assert_eq!(
        (&read_us_core.submission["instrument"], &read_us_core.submission["version"]),
        (&json!("phq-9"), &json!("1.0.0"))
    );
    assert_eq!(total(&assessed(&read_us_core, instrument("phq-9"))), "12");
    assert_eq!(claimed(&read_us_core), [("total".to_owned(), "12".to_owned())]);
}

#[test]
fn an_external_code_stands_for_the_choice_with_its_display() {
    // From the Questionnaire of HL7's US Core guide, and of LOINC for the GAD-7; the numbers in the codes are in no
    // order.
    let frequency = [
        ("LA6568-5", "Not at all"),
        ("LA6569-3", "Several days"),
        ("LA6570-1", "More than half the days"),
        ("LA6571-9", "Nearly every day"),
    ];
    let difficulty = [
        ("LA6572-7", "Not difficult at all"),
        ("LA6573-5", "Somewhat difficult"),
        ("LA6575-0", "Very difficult"),
        ("LA6574-3", "Extremely difficult"),
    ];
    for (id, item, published) in [("phq-9", "1", frequency), ("phq-9", "10", difficulty), ("gad-7", "7", frequency)] {
        let definition = instrument(id).definition();
        let asked = definition.items.iter().find(|asked| asked.id.as_str() == item).unwrap();
        let choices = &definition.code_lists[asked.codes.as_ref().unwrap()];
        for (code, text) in published {
            let coding = json!({"system": "http://loinc.org", "code": code, "display": text});
            let mut response = response(json!([{"linkId": item, "answer": [{"valueCoding": coding}]}]));
            response["questionnaire"] = json!(format!("urn:epro:questionnaire:{id}|1.0.0"));
            let meant = read(&response).submission["answers"][item].as_i64().unwrap();
            let choice = choices.iter().find(|choice| choice.code == meant).unwrap();
            assert_eq!(choice.text.as_ref().unwrap()["en"], text, "{id} {code}");
        }
    }
}

/// Copies of `json`, each with one of its parts replaced by one of some values.
fn mutated(json: &Value) -> Vec<Value> {
    fn pointers(json: &Value, at: &str, found: &mut Vec<String>) {
        found.push(at.to_owned());
        match json {
            Value::Object(members) => {
                members.iter().for_each(|(name, part)| pointers(part, &format!("{at}/{name}"), found))
            }
            Value::Array(list) => {
                list.iter().enumerate().for_each(|(n, part)| pointers(part, &format!("{at}/{n}"), found))
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    pointers(json, "", &mut found);
    let values =
        [json!(null), json!([]), json!([1]), json!({}), json!({"item": [{}]}), json!(1e300), json!(""), json!(true)];
    let places = found.iter().flat_map(|at| values.iter().map(move |value| (at, value)));
    places
        .map(|(at, value)| {
            let mut mutated = json.clone();
            *mutated.pointer_mut(at).unwrap() = value.clone();
            mutated
        })
        .collect()
}

#[test]
fn no_replaced_part_causes_a_panic_or_changes_other_answers() {
    let original = read(&sdc()).submission["answers"].clone();
    for mutated in mutated(&sdc()) {
        let read = read(&mutated);
        for (item, answer) in read.submission["answers"].as_object().unwrap() {
            assert!(answer == &original[item] || !answer.is_i64(), "{item}");
        }
    }
    for mutated in mutated(&questionnaire(instrument("gad-2"), "en")) {
        if let Ok(imported) = import(&mutated) {
            assert!(serde_json::from_str::<Value>(&imported.definition).is_ok());
        }
    }
}

#[test]
fn a_total_in_a_response_is_a_claim_and_not_an_answer() {
    let read_sdc = read(&sdc());
    assert_eq!(total(&assessed(&read_sdc, instrument("phq-9"))), "10");
    assert_eq!(claimed(&read_sdc), [("total".to_owned(), "13".to_owned())]);
    for (link_id, value) in
        [("total", json!({"valueInteger": 27})), ("/44261-6", json!({"valueQuantity": {"value": 27}}))]
    {
        let read = read(&response(json!([{"linkId": link_id, "answer": [value]}])));
        assert_eq!(
            (read.submission["answers"].clone(), claimed(&read)),
            (json!({}), vec![("total".to_owned(), "27".to_owned())])
        );
    }
}

/// The native answers for `answer` to `item` of `instrument`, and the codes of the findings.
fn answered(instrument: &Instrument, item: &str, answer: &Value) -> (Value, Vec<&'static str>) {
    let mut response = response(json!([{"linkId": item, "answer": [answer]}]));
    response["questionnaire"] = json!(format!("urn:epro:questionnaire:{}|{}", instrument.id(), instrument.version()));
    let read = read(&response);
    (read.submission["answers"].clone(), read.findings.iter().map(|finding| finding.code).collect())
}

#[test]
fn an_answer_is_accepted_as_a_code_of_a_known_system_and_as_a_number() {
    const OWN: &str = "urn:epro:questionnaire:phq-9:frequency";
    const HL7: &str = "http://hl7.org/fhir/uv/sdc/CodeSystem/CSPHQ9";
    let weight = |url: &str, value: Value| json!({"url": url, "valueDecimal": value});
    let item_weight = "http://hl7.org/fhir/StructureDefinition/itemWeight";
    let same = [
        json!({"valueCoding": {"system": OWN, "code": "2"}}),
        json!({"valueCoding": {"system": OWN, "code": "2", "version": "1.0.0"}}),
        json!({"valueCoding": {"system": OWN, "code": "2", "display": " More than half  the Days"}}),
        json!({"valueCoding": {"system": OWN, "code": "2", "display": "一半以上的天数"}}),
        json!({"valueCoding": {"system": OWN, "code": "2", "display": "mehr als die Hälfte der Tage"}}),
        json!({"valueCoding": {"system": "http://loinc.org", "code": "LA6570-1"}}),
        json!({"valueCoding": {"system": HL7, "code": "More than half the days"}}),
        json!({"valueCoding": {"system": HL7, "code": "More than half the days", "extension": [weight(ORDINAL, json!(2))]}}),
        json!({"valueCoding": {"system": OWN, "code": "2", "extension": [weight(item_weight, json!(2.0))]}}),
        json!({"valueCoding": {"system": OWN, "code": "2"}, "extension": [weight(ORDINAL, json!(2))]}),
        json!({"valueInteger": 2}),
        json!({"valueDecimal": 2}),
    ];
    for answer in same {
        assert_eq!(answered(instrument("phq-9"), "7", &answer), (json!({"7": 2}), vec![]), "{answer}");
    }
}

#[test]
fn a_code_of_an_unknown_system_or_with_the_display_of_another_choice_is_rejected() {
    const OWN: &str = "urn:epro:questionnaire:phq-9:frequency";
    let ordinal = json!([{"url": ORDINAL, "valueDecimal": 1}]);
    for (coding, code) in [
        (json!({"system": "http://example.org/phq9-1-to-4", "code": "1"}), "item.system"),
        (json!({"system": "http://example.org/phq9-1-to-4", "code": "1", "extension": ordinal}), "item.system"),
        (json!({"system": "http://example.org/phq9-1-to-4", "code": "LA6569-3"}), "item.system"),
        (json!({"system": "urn:epro:questionnaire:phq-9:difficulty", "code": "1"}), "item.system"),
        (json!({"system": "urn:epro:questionnaire:gad-7:frequency", "code": "1"}), "item.system"),
        (json!({"system": OWN, "version": "0.9.0", "code": "1"}), "item.system"),
        (json!({"system": 1, "code": "1"}), "item.system"),
        // A code without a system is ambiguous, and a weight or a display is not a code.
        (json!({"code": "1"}), "item.system"),
        (json!({"code": "1", "extension": ordinal}), "item.system"),
        (json!({"display": "Several days", "extension": ordinal}), "item.system"),
        (json!({"system": OWN}), "item.code"),
        (json!({"system": OWN, "code": "7"}), "item.code"),
        (json!({"system": OWN, "code": "01"}), "item.code"),
        (json!({"system": OWN, "code": "LA6569-3"}), "item.code"),
        (json!({"system": "http://loinc.org", "code": "1"}), "item.code"),
        // A LOINC answer to another question, the difficulty of daily life.
        (json!({"system": "http://loinc.org", "code": "LA6572-7"}), "item.code"),
        (json!({"system": "http://loinc.org", "code": "LA6568-5", "extension": ordinal}), "item.weight"),
        (json!({"system": OWN, "code": "2", "extension": ordinal}), "item.weight"),
        (json!({"system": OWN, "code": "1", "display": "Nearly every day"}), "item.display"),
        (json!({"system": OWN, "code": "1", "display": "几乎每天"}), "item.display"),
        (json!({"system": "http://loinc.org", "code": "LA6569-3", "display": "not at all"}), "item.display"),
    ] {
        let read = answered(instrument("phq-9"), "7", &json!({"valueCoding": coding}));
        assert_eq!(read, (json!({}), vec![code]), "{coding}");
    }
    let pain = json!({"valueCoding": {"system": "http://loinc.org", "code": "LA6111-4"}});
    assert_eq!(answered(instrument("pain-nrs"), "1", &pain), (json!({}), vec!["item.type"]));
}

#[test]
fn a_yes_or_no_is_accepted_from_the_known_systems() {
    let coding = |system: &str, code: &str| json!({"valueCoding": {"system": system, "code": code}});
    let gds_15 = instrument("gds-15");
    for (yes, no) in [
        (json!({"valueBoolean": true}), json!({"valueBoolean": false})),
        (
            coding("http://terminology.hl7.org/CodeSystem/v2-0136", "Y"),
            coding("http://terminology.hl7.org/CodeSystem/v2-0136", "N"),
        ),
        (coding("http://loinc.org", "LA33-6"), coding("http://loinc.org", "LA32-8")),
        (coding("http://snomed.info/sct", "373066001"), coding("http://snomed.info/sct", "373067005")),
    ] {
        assert_eq!(answered(gds_15, "1", &yes), (json!({"1": true}), vec![]));
        assert_eq!(answered(gds_15, "1", &no), (json!({"1": false}), vec![]));
    }
    let weight = |value: i64| json!([{"url": ORDINAL, "valueDecimal": value}]);
    // Not being satisfied with life contributes 1.
    let no =
        |weight: Value| json!({"valueCoding": {"system": "http://loinc.org", "code": "LA32-8", "extension": weight}});
    assert_eq!(answered(gds_15, "1", &no(weight(1))), (json!({"1": false}), vec![]));
    assert_eq!(answered(gds_15, "1", &no(weight(0))), (json!({}), vec!["item.weight"]));
    for (answer, code) in [
        (coding("http://example.org/yes", "Y"), "item.system"),
        (json!({"valueCoding": {"code": "Y"}}), "item.system"),
        (coding("http://terminology.hl7.org/CodeSystem/v2-0532", "UNK"), "item.code"),
        (json!({"valueCoding": {"system": "http://loinc.org", "code": "LA33-6", "display": "No"}}), "item.display"),
        // 1 is the code of yes and the weight of no.
        (json!({"valueInteger": 1}), "item.ambiguous"),
    ] {
        assert_eq!(answered(gds_15, "1", &answer), (json!({}), vec![code]), "{answer}");
    }
    assert_eq!(answered(gds_15, "2", &json!({"valueInteger": 1})), (json!({"2": 1}), vec![]));
}

#[test]
fn a_number_that_is_the_code_of_one_choice_and_the_weight_of_another_is_rejected() {
    for (id, item, number, expected) in [
        ("ces-d", "4", json!({"valueInteger": 3}), Err("item.ambiguous")),
        ("ces-d", "4", json!({"valueDecimal": 0.0}), Err("item.ambiguous")),
        ("ces-d", "3", json!({"valueInteger": 3}), Ok(3)),
        ("epds", "10", json!({"valueInteger": 3}), Ok(3)),
        // The codes of the RAND-36 are 1 to 5, its weights 0 to 100: a 5 can only be a code.
        ("rand-36", "1", json!({"valueInteger": 5}), Ok(5)),
        // A weight that is no code is not ambiguous, and is refused as an answer.
        ("rand-36", "1", json!({"valueInteger": 100}), Ok(100)),
        ("phq-9", "10", json!({"valueInteger": 3}), Ok(3)),
    ] {
        let read = answered(instrument(id), item, &number);
        let expected = match expected {
            Ok(code) => (json!({item: code}), vec![]),
            Err(code) => (json!({}), vec![code]),
        };
        assert_eq!(read.1, expected.1, "{id} {number}");
        assert_eq!(read.0.to_string().parse::<Value>().unwrap(), expected.0, "{id} {number}");
    }
}

/// A choice in FHIR: its code, its weight, and its `answerOption`.
type Choice = (i64, Option<f64>, Value);

/// The choices of each item of `instrument` in FHIR, by item id.
fn options(instrument: &Instrument) -> Vec<(String, Vec<Choice>)> {
    let questionnaire = questionnaire(instrument, "en");
    let items = questionnaire["item"].as_array().unwrap().iter();
    let items = items.filter_map(|item| {
        let name = item["linkId"].as_str().unwrap();
        let asked = instrument.definition().items.iter().find(|asked| asked.published_name().as_str() == name)?;
        let options = item["answerOption"].as_array()?.iter().map(|option| {
            let weight = &option["valueCoding"]["extension"][0];
            assert!(weight.is_null() || weight["url"] == ORDINAL);
            let code = option["valueCoding"]["code"].as_str().unwrap().parse().unwrap();
            (code, weight["valueDecimal"].as_f64(), option.clone())
        });
        Some((asked.id.to_string(), options.collect()))
    });
    items.collect()
}

#[test]
fn an_ordinal_value_is_the_contribution_of_the_choice_to_its_score() {
    let mut checked = 0;
    for instrument in Catalog::shipped().iter() {
        let options = options(instrument);
        let number = |code: &i64| json!(code);
        // All items are answered, so that only one changes at a time.
        let mut start: Map<String, Value> = instrument
            .definition()
            .items
            .iter()
            .map(|item| (item.id.to_string(), item.min.map_or(json!(false), |min| json!(min))))
            .collect();
        start.extend(options.iter().map(|(item, options)| (item.clone(), number(&options[0].0))));
        let scores = |answers: &Map<String, Value>| -> Vec<Option<f64>> {
            let outcome = instrument.assess(&instrument.check(answers).unwrap()).unwrap();
            let value = |score: &clinical::instruments::Score| score.value.to_string().parse::<f64>().unwrap();
            let find = |id| outcome.scores.iter().find(|score| score.id == id).map(value);
            instrument.definition().scores.iter().map(|score| find(score.id.clone())).collect()
        };
        let before = scores(&start);
        // The change of a score per unit of weight, for each item and choice that affects it.
        let mut slopes: Vec<Vec<(String, f64)>> = vec![Vec::new(); before.len()];
        for (item, options) in &options {
            for (code, weight, _) in &options[1..] {
                let mut answers = start.clone();
                answers.insert(item.clone(), number(code));
                for (place, (old, new)) in before.iter().zip(scores(&answers)).enumerate() {
                    let (Some(old), Some(new)) = (old, new) else { continue };
                    let (first, weight) = (options[0].1, weight);
                    match weight.zip(first) {
                        Some((weight, first)) if new != *old => {
                            slopes[place].push((format!("{item}={code}"), (new - old) / (weight - first)));
                        }
                        Some((weight, first)) => assert!(weight != first, "{} {item}={code}", instrument.id()),
                        None => assert_eq!(new, *old, "{} {item}={code} has no weight", instrument.id()),
                    }
                }
            }
        }
        for (score, slopes) in instrument.definition().scores.iter().zip(slopes) {
            let Some((_, first)) = slopes.first() else { continue };
            let name = format!("{} {}: {slopes:?}", instrument.id(), score.id);
            let rounding = if score.decimals == 0 { 0.0 } else { 0.01 };
            checked += slopes.len();
            // All items affect the score in the same direction.
            assert!(slopes.iter().all(|(_, slope)| slope.signum() == first.signum()), "{name}");
            let Operation::Apply(apply) = &score.value else {
                assert!(slopes.iter().all(|(_, slope)| *slope == 1.0), "{name}");
                continue;
            };
            match apply.as_ref() {
                Apply::Sum(_) => assert!(slopes.iter().all(|(_, slope)| *slope == 1.0), "{name}"),
                // A mean of scores of several items each.
                Apply::Mean(parts) if parts.iter().any(is_score) => {}
                Apply::Mean(_) | Apply::Linear(_) => {
                    assert!(slopes.iter().all(|(_, slope)| (slope - first).abs() <= rounding), "{name}");
                }
                _ => {}
            }
        }
    }
    assert!(checked > 1_000, "{checked}");
}

fn is_score(part: &Operation) -> bool {
    serde_json::to_value(part).unwrap().to_string().contains("\"score\"")
}

#[test]
fn the_choices_of_reversed_items_have_reversed_weights() {
    let weights = |id: &str, item: &str| -> Vec<Option<f64>> {
        let all = options(instrument(id));
        all.iter().find(|(asked, _)| asked == item).unwrap().1.iter().map(|(_, weight, _)| *weight).collect()
    };
    let known = |weights: &[f64]| weights.iter().copied().map(Some).collect::<Vec<_>>();
    assert_eq!(weights("ces-d", "4"), known(&[3.0, 2.0, 1.0, 0.0]));
    assert_eq!(weights("ces-d", "3"), known(&[0.0, 1.0, 2.0, 3.0]));
    assert_eq!(weights("epds", "1"), known(&[0.0, 1.0, 2.0, 3.0]));
    assert_eq!(weights("epds", "3"), known(&[3.0, 2.0, 1.0, 0.0]));
    assert_eq!(weights("rand-36", "1"), known(&[100.0, 75.0, 50.0, 25.0, 0.0]));
    assert_eq!(weights("rand-36", "24"), known(&[0.0, 20.0, 40.0, 60.0, 80.0, 100.0]));
    assert_eq!(weights("eortc-qlq-c30", "8"), known(&[1.0, 2.0, 3.0, 4.0]));
    assert_eq!(weights("who-5", "1"), known(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]));
    assert_eq!(weights("phq-15", "4"), [Some(0.0), Some(1.0), Some(2.0), None]);
    // These items are part of no score.
    assert_eq!(weights("phq-9", "10"), [None; 4]);
    assert_eq!(weights("rand-36", "2"), [None; 5]);
}

#[test]
fn the_worst_answers_to_the_epds_give_30_in_every_representation() {
    let epds = instrument("epds");
    let by_option = options(epds).into_iter().map(|(item, options)| {
        let worst = options.into_iter().find(|(_, weight, _)| *weight == Some(3.0)).unwrap();
        json!({"linkId": item, "answer": [worst.2]})
    });
    let by_number = (1..=10).map(|item| json!({"linkId": item.to_string(), "answer": [{"valueInteger": 3}]}));
    for items in [by_option.collect::<Vec<_>>(), by_number.collect()] {
        let mut response = response(json!(items));
        response["questionnaire"] = json!(format!("urn:epro:questionnaire:epds|{}", epds.version()));
        let outcome = assessed(&read(&response), epds);
        assert_eq!((total(&outcome).as_str(), outcome.scores[0].band.as_deref()), ("30", Some("probable")));
        let fired: Vec<_> = outcome.alerts.iter().map(|fired| fired.rule.as_str()).collect();
        assert_eq!(fired, ["safety", "threshold"]);
    }
}

#[test]
fn an_item_is_exported_under_its_name_and_answered_by_name_or_id() {
    let pro_ctcae = instrument("pro-ctcae");
    let questionnaire = questionnaire(pro_ctcae, "en");
    let names: Vec<_> =
        questionnaire["item"].as_array().unwrap().iter().map(|item| item["linkId"].as_str().unwrap()).collect();
    assert_eq!(
        (names[0], names[5], names[68], names[123]),
        ("PROCTCAE_1A", "PROCTCAE_5A", "PROCTCAE_48A", "PROCTCAE_80A")
    );
    for name in ["PROCTCAE_48C", "71"] {
        assert_eq!(answered(pro_ctcae, name, &json!({"valueInteger": 4})), (json!({"71": 4}), vec![]));
    }
    let prefers_not = json!({"valueCoding": {"system": "urn:epro:questionnaire:pro-ctcae:present-or-not-sexually-active", "code": "99"}});
    assert_eq!(answered(pro_ctcae, "PROCTCAE_69A", &prefers_not), (json!({"109": 99}), vec![]));
}

#[test]
fn an_optional_item_need_not_be_asked() {
    let audit_c = questionnaire(instrument("audit-c"), "en");
    let asked_when = audit_c["item"][1]["enableWhen"].as_array().unwrap();
    let codes: Vec<_> = asked_when.iter().map(|when| when["answerCoding"]["code"].as_str().unwrap()).collect();
    assert_eq!((codes, &audit_c["item"][1]["enableBehavior"]), (vec!["1", "2", "3", "4"], &json!("any")));
}

#[test]
fn the_notice_of_loinc_is_included_with_its_codes() {
    for (id, there) in [("phq-9", true), ("gad-7", true), ("pcl-5", false)] {
        let questionnaire = questionnaire(instrument(id), "en");
        assert_eq!(
            questionnaire["copyright"].as_str().unwrap().contains("content from LOINC (http://loinc.org)"),
            there
        );
        assert_eq!(questionnaire.to_string().contains("\"system\":\"http://loinc.org\""), there);
    }
}

#[test]
fn each_type_of_item_accepts_its_own_value_type() {
    let definition = json!({
        "id": "mix", "version": "1.0.0", "title": {"en": "Mix"}, "licence": {"terms": "Ours", "texts": "included"},
        "sources": ["Nobody"], "codeLists": {"list": [{"code": 1, "text": {"en": "a"}}, {"code": 2, "text": {"en": "b"}}]},
        "items": [
            {"id": "many", "type": "codes", "codes": "list", "text": {"en": "?"}},
            {"id": "yes", "type": "boolean", "text": {"en": "?"}},
            {"id": "days", "type": "integer", "min": 0, "max": 30, "text": {"en": "?"}},
            {"id": "hours", "type": "decimal", "min": 0, "max": 24, "decimals": 2, "text": {"en": "?"},
             "enableWhen": {"equals": ["yes", 1]}},
            {"id": "note", "type": "text", "text": {"en": "?"}},
        ],
        "scores": [{"id": "total", "value": {"sum": ["yes", "days"]}, "range": [0, 31]}],
    });
    let instrument = Instrument::parse(&definition.to_string()).unwrap();
    let questionnaire = questionnaire(&instrument, "en");
    let types: Vec<_> =
        questionnaire["item"].as_array().unwrap().iter().map(|item| item["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["choice", "boolean", "integer", "decimal", "text"]);
    assert_eq!(questionnaire["item"][0]["repeats"], true);
    assert_eq!(
        questionnaire["item"][3]["enableWhen"],
        json!([{"question": "yes", "operator": "=", "answerBoolean": true}])
    );
    let imported = import(&questionnaire).unwrap();
    let again: Value = serde_json::from_str(&imported.definition).unwrap();
    assert_eq!(again["items"][3]["enableWhen"], json!({"equals": ["yes", 1]}));
    assert_eq!((&again["items"][2]["max"], &again["items"][3]["decimals"]), (&json!(30), &json!(2)));
}

#[test]
fn all_findings_are_returned_at_once_with_their_expression() {
    let own = |code: &str| json!({"system": "urn:epro:questionnaire:phq-9:frequency", "code": code});
    let items = json!([
        {"linkId": "1", "answer": [{"valueCoding": own("0")}, {"valueCoding": own("1")}]},
        {"linkId": "2", "answer": [{"valueString": "often"}]},
        {"linkId": "group", "item": [{"linkId": "3", "answer": [{"valueCoding": own("often")}]}]},
        {"linkId": "99", "answer": [{"valueInteger": 1}]},
        {"linkId": "4", "answer": [{"valueInteger": 1, "valueString": "x"}]},
        {"linkId": "5", "answer": [{"valueCoding": own("1"), "extension": [{"url": ORDINAL, "valueDecimal": 2}]}]},
        {"linkId": "6", "answer": [{"valueInteger": 1}]},
        {"linkId": "6", "answer": [{"valueInteger": 2}]},
        {"answer": []},
        {"linkId": "7", "answer": {"valueInteger": 1}},
        {"linkId": "8", "answer": [{"valueInteger": 1, "value": 2, "colour": "red"}]},
        {"linkId": "total", "answer": [{"valueString": "13"}]},
        {"linkId": "nothing answered"},
        {"linkId": "9", "answer": [{"valueInteger": 0}], "modifierExtension": []},
    ]);
    let mut response = response(items);
    response["status"] = json!("in-progress");
    response["colour"] = json!("red");
    let at = |place: &str| format!("QuestionnaireResponse{place}");
    let mut expected = vec![
        (at(".colour"), "field.unknown"),
        (at(".status"), "fhir.status"),
        (at(".item[0].answer[1]"), "item.answers"),
        (at(".item[1].answer[0]"), "item.type"),
        (at(".item[2].item[0].answer[0]"), "item.code"),
        (at(".item[3].answer[0]"), "item.unknown"),
        (at(".item[4].answer[0]"), "fhir.value"),
        (at(".item[5].answer[0]"), "item.weight"),
        (at(".item[7].answer[0]"), "item.answered-twice"),
        (at(".item[8]"), "field.required"),
        (at(".item[9].answer"), "field.type"),
        (at(".item[10].answer[0]"), "fhir.value"),
        (at(".item[10].answer[0].colour"), "field.unknown"),
        (at(".item[11].answer[0]"), "item.type"),
        (at(".item[13].modifierExtension"), "fhir.modifier"),
    ];
    let mut found = findings(&response);
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn only_finished_responses_are_submissions() {
    for (status, taken) in [
        (json!("completed"), true),
        (json!("stopped"), true),
        (json!("in-progress"), false),
        (json!("amended"), false),
        (json!("entered-in-error"), false),
        (json!("done"), false),
        (json!(1), false),
    ] {
        let mut response = response(json!([]));
        response["status"] = status.clone();
        assert_eq!(findings(&response).is_empty(), taken, "{status}");
    }
}

#[test]
fn other_resources_and_unknown_questionnaires_are_reported() {
    for body in [json!([]), json!({}), json!({"resourceType": "Questionnaire"})] {
        assert_eq!(findings(&body), [("QuestionnaireResponse".to_owned(), "fhir.resource-type")]);
    }
    let at = "QuestionnaireResponse.questionnaire".to_owned();
    for canonical in [json!(null), json!("urn:epro:questionnaire:phq-9"), json!({"reference": "Questionnaire/phq-9"})] {
        let mut response = response(json!([]));
        response["questionnaire"] = canonical.clone();
        assert_eq!(findings(&response), [(at.clone(), "field.required")], "{canonical}");
        assert_eq!(read(&response).expression("/version"), at);
    }
    let mut elsewhere = response(json!([]));
    elsewhere["questionnaire"] = json!("https://example.org/fhir/Questionnaire/gad-7|1.0.0");
    assert_eq!(read(&elsewhere).submission["instrument"], "gad-7");
}

#[test]
fn the_id_is_the_identifier_or_the_id_of_the_resource() {
    let mut response = response(json!([]));
    assert_eq!(
        (read(&response).submission["id"].clone(), read(&response).expression("/id")),
        (json!("x"), "QuestionnaireResponse.id".to_owned())
    );
    response["identifier"] =
        json!({"system": "urn:ietf:rfc:3986", "value": "urn:uuid:0192f3a4-7c1e-7b2a-9d4e-5f6a7b8c9d0e"});
    let read = read(&response);
    assert_eq!(read.submission["id"], "0192f3a4-7c1e-7b2a-9d4e-5f6a7b8c9d0e");
    assert_eq!(read.expression("/id"), "QuestionnaireResponse.identifier.value");
    assert_eq!(read.expression("/answers/9/3"), "QuestionnaireResponse");
}

#[test]
fn every_shipped_definition_gives_the_same_result_through_fhir() {
    for instrument in Catalog::shipped().iter() {
        for last in [false, true] {
            let questionnaire = questionnaire(instrument, "en");
            let mut plain = Map::new();
            let mut items = Vec::new();
            for (item, asked) in questionnaire["item"].as_array().unwrap().iter().filter_map(|item| {
                let id = item["linkId"].as_str().unwrap();
                let mut items = instrument.definition().items.iter();
                let asked = items.find(|asked| asked.published_name().as_str() == id);
                asked.map(|asked| (item, asked))
            }) {
                let (answer, value) = match item["type"].as_str().unwrap() {
                    "choice" => {
                        let options = item["answerOption"].as_array().unwrap();
                        let option = if last { options.last() } else { options.first() }.unwrap();
                        let code: i64 = option["valueCoding"]["code"].as_str().unwrap().parse().unwrap();
                        (option.clone(), json!(code))
                    }
                    "integer" => {
                        let bound = item["extension"][usize::from(last)]["valueInteger"].clone();
                        (json!({"valueInteger": bound}), bound)
                    }
                    "decimal" => {
                        let bound = item["extension"][usize::from(last)]["valueDecimal"].clone();
                        (json!({"valueDecimal": bound}), bound)
                    }
                    "boolean" => (json!({"valueBoolean": last}), json!(last)),
                    other => panic!("{other}"),
                };
                plain.insert(asked.id.to_string(), value);
                items.push(json!({"linkId": item["linkId"], "answer": [answer]}));
            }
            let mut response = response(json!(items));
            let canonical =
                format!("{}|{}", questionnaire["url"].as_str().unwrap(), questionnaire["version"].as_str().unwrap());
            response["questionnaire"] = json!(canonical);
            let expected = instrument.assess(&instrument.check(&plain).unwrap()).unwrap();
            assert_eq!(assessed(&read(&response), instrument), expected, "{}", instrument.id());
        }
    }
}

#[test]
fn a_questionnaire_has_the_content_of_the_definition() {
    let phq_9 = questionnaire(instrument("phq-9"), "zh-Hans");
    assert_eq!((&phq_9["url"], &phq_9["version"]), (&json!("urn:epro:questionnaire:phq-9"), &json!("1.0.0")));
    assert_eq!((&phq_9["language"], &phq_9["status"]), (&json!("zh-Hans"), &json!("active")));
    assert!(phq_9["copyright"].as_str().unwrap().starts_with("Public domain"));
    assert_eq!(phq_9["item"][0]["type"], "display");
    let first = &phq_9["item"][1];
    assert_eq!((&first["linkId"], &first["code"][0]["code"]), (&json!("1"), &json!("44250-9")));
    assert_eq!(
        first["answerOption"][3]["valueCoding"],
        json!({"system": "urn:epro:questionnaire:phq-9:frequency", "code": "3", "display": "几乎每天",
               "extension": [{"url": ORDINAL, "valueDecimal": 3}]})
    );
    assert_eq!(questionnaire(instrument("phq-9"), "xx")["language"], "en");
}

#[test]
fn an_exported_questionnaire_imports_as_a_definition_with_the_same_scores() {
    for id in ["phq-9", "gad-7", "gad-2"] {
        let instrument = instrument(id);
        let imported = import(&questionnaire(instrument, "en")).unwrap();
        let again = Instrument::parse(&imported.definition).unwrap_or_else(|faults| panic!("{id}: {faults:?}"));
        assert_eq!(again.definition().items.len(), instrument.definition().items.len());
        let answers: Map<String, Value> =
            again.definition().items.iter().map(|item| (item.id.to_string(), json!(1))).collect();
        let (again, own) = [&again, instrument].map(|one| one.assess(&one.check(&answers).unwrap()).unwrap()).into();
        assert_eq!(total(&again), total(&own), "{id}");
        assert!(imported.notes.iter().any(|note| note.contains("`bands`")));
    }
}

#[test]
fn an_import_notes_what_it_cannot_convert() {
    let scale = json!([
        {"valueCoding": {"code": "LA1", "display": "never"}, "extension": [{"url": ORDINAL, "valueDecimal": 0}]},
        {"valueCoding": {"code": "LA2", "display": "always"}, "extension": [{"url": ORDINAL, "valueDecimal": 4}]},
    ]);
    let source = json!({
        "resourceType": "Questionnaire", "name": "Sleep_Form", "url": "https://example.org/Questionnaire/sleep",
        "contained": [{"resourceType": "ValueSet", "id": "scale", "compose": {"include": [{"concept": [
            {"code": "n", "display": "no", "extension": [{"url": ORDINAL, "valueDecimal": 0}]},
            {"code": "y", "display": "yes", "extension": [{"url": ORDINAL, "valueDecimal": 1}]},
        ]}]}}],
        "item": [
            {"linkId": "intro", "type": "display", "text": "In the last week:"},
            {"linkId": "/g", "type": "group", "text": "How often", "item": [
                {"linkId": "/g/1", "type": "choice", "text": "did you sleep badly?", "answerOption": scale},
                {"linkId": "/g/2", "type": "choice", "text": "did you dream?", "answerValueSet": "#scale",
                 "enableWhen": [{"question": "/g/1", "operator": "=", "answerCoding": {"code": "LA2"}}]},
            ]},
            {"linkId": "when", "type": "dateTime", "text": "When?"},
            {"linkId": "other", "type": "choice", "text": "Other?", "answerValueSet": "http://example.org/vs"},
            {"linkId": "hours", "type": "decimal", "text": "Hours?"},
            {"linkId": "sum", "type": "integer", "readOnly": true, "text": "Sum"},
        ],
    });
    let imported = import(&source).unwrap();
    let definition: Value = serde_json::from_str(&imported.definition).unwrap();
    assert_eq!(
        (&definition["id"], &definition["instruction"]["en"]),
        (&json!("sleep-form"), &json!("In the last week:"))
    );
    assert_eq!(definition["items"][0]["preface"]["en"], "How often");
    assert_eq!(definition["items"][1]["enableWhen"], json!({"equals": ["1", 4]}));
    assert_eq!(definition["scores"][0]["range"], json!([0, 5]));
    for expected in ["when: ", "other: ", "hours: its min", "sum: is computed", "/g/1: is the item 1", "version"] {
        assert!(imported.notes.iter().any(|note| note.contains(expected)), "{expected}: {:#?}", imported.notes);
    }
    assert!(import(&json!({"resourceType": "Patient"})).is_err());
}

#[test]
fn choices_come_from_contained_value_sets_and_others_are_noted() {
    let weighed = |code: &str, display: &str, weight: i64| {
        json!({"system": "http://x", "code": code, "display": display,
               "extension": [{"url": ORDINAL, "valueDecimal": weight}]})
    };
    let yes_and_no = [weighed("n", "No", 0), weighed("y", "Yes", 1)];
    let mut retired = weighed("r", "Retired", 7);
    retired["inactive"] = json!(true);
    let contained = json!([
        {"resourceType": "ValueSet", "id": "composed", "url": "http://x/vs/composed", "version": "2",
         "compose": {"include": [{"system": "http://x", "concept": yes_and_no}]}},
        {"resourceType": "ValueSet", "id": "expanded", "compose": {"include": [{"system": "http://x"}]},
         "expansion": {"contains": [
            {"abstract": true, "display": "Answers", "contains": [yes_and_no[0], retired]}, yes_and_no[1],
         ]}},
        {"resourceType": "ValueSet", "id": "including",
         "compose": {"include": [{"valueSet": ["http://x/vs/composed|2"]}, {"concept": [weighed("m", "Maybe", 2)]}],
                     "exclude": [{"concept": [{"code": "m"}]}]}},
        {"resourceType": "ValueSet", "id": "whole", "compose": {"include": [{"system": "http://x/cs"}]}},
        {"resourceType": "CodeSystem", "id": "cs", "url": "http://x/cs", "concept": yes_and_no},
        {"resourceType": "ValueSet", "id": "unlisted", "compose": {"include": [{"system": "http://snomed.info/sct"}]}},
        {"resourceType": "ValueSet", "id": "circle", "url": "http://x/circle",
         "compose": {"include": [{"valueSet": ["http://x/circle"]}]}},
    ]);
    let asked = |set: &str| {
        let source = json!({
            "resourceType": "Questionnaire", "id": "q", "title": "Q", "contained": contained,
            "item": [
                {"linkId": "1", "type": "boolean", "text": "Well?"},
                {"linkId": "2", "type": "choice", "text": "How?", "answerValueSet": set},
            ],
        });
        import(&source).unwrap()
    };
    for set in ["#composed", "http://x/vs/composed", "http://x/vs/composed|2", "#expanded", "#including", "#whole"] {
        let imported = asked(set);
        let definition: Value = serde_json::from_str(&imported.definition).unwrap();
        let expected = json!([{"code": 0, "text": {"en": "No"}}, {"code": 1, "text": {"en": "Yes"}}]);
        assert_eq!(definition["codeLists"]["list-1"], expected, "{set}");
        assert!(Instrument::parse(&imported.definition).is_ok());
    }
    for (set, note_start) in [
        (
            "http://loinc.org/vs/LL358-3",
            "2: its choices are in the ValueSet http://loinc.org/vs/LL358-3, which is not in the file",
        ),
        (
            "http://x/vs/composed|3",
            "2: its choices are in the ValueSet http://x/vs/composed|3, which is not in the file",
        ),
        ("#nowhere", "2: its choices are in the ValueSet #nowhere, which is not in the file"),
        ("#unlisted", "2: its choices are codes of http://snomed.info/sct, which the ValueSet #unlisted does not list"),
        ("#circle", "2: its choices are in the ValueSet http://x/circle, which is not in the file"),
    ] {
        let imported = asked(set);
        let definition: Value = serde_json::from_str(&imported.definition).unwrap();
        assert_eq!(definition["items"].as_array().unwrap().len(), 1, "{set}");
        assert!(imported.notes.iter().any(|note| note.starts_with(note_start)), "{set}: {:?}", imported.notes);
    }
}

/// The importer is limited as a definition is, so that a small file has no draft of any size.
#[test]
fn an_import_stays_within_the_limits_of_a_definition() {
    let imported = |changes: Value| {
        let mut source = json!({"resourceType": "Questionnaire", "id": "q", "title": "Q", "version": "1.0.0"});
        source.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        import(&source).unwrap()
    };
    let has_note = |notes: &[String], part: &str| notes.iter().any(|note| note.contains(part));
    let boolean = |id: usize| json!({"linkId": id.to_string(), "type": "boolean", "text": "Well?"});

    let many: Vec<Value> = (0..502).map(boolean).collect();
    let draft = imported(json!({"language": "e".repeat(40), "item": many}));
    let definition: Value = serde_json::from_str(&draft.definition).unwrap();
    assert_eq!(definition["items"].as_array().unwrap().len(), 500);
    assert_eq!(definition["items"][0]["text"]["en"], "Well?");
    assert!(has_note(&draft.notes, "501: is beyond the 500 questions") && has_note(&draft.notes, "en is used"));

    let group = json!({"linkId": "g", "type": "group", "text": "é".repeat(4_001), "item": [boolean(1)]});
    let draft = imported(json!({"item": [group]}));
    let definition: Value = serde_json::from_str(&draft.definition).unwrap();
    assert!(definition["items"][0].get("preface").is_none());
    assert!(has_note(&draft.notes, "g: its text has more than 4000 characters"));

    let asked = |set: Value| {
        let choice = json!({"linkId": "2", "type": "choice", "text": "How?", "answerValueSet": "#v0"});
        imported(json!({"contained": set, "item": [boolean(1), choice]})).notes
    };
    let codes: Vec<Value> = (0..201).map(|code| json!({"code": code.to_string()})).collect();
    let notes = asked(json!([{"resourceType": "ValueSet", "id": "v0", "compose": {"include": [{"concept": codes}]}}]));
    assert!(has_note(&notes, "2: it has more than 200 choices"), "{notes:?}");
    // Forty value sets in each of forty, and so on, of which the last have no codes.
    let set = |depth: usize| {
        let inner = vec![format!("#v{}", depth + 1); 40];
        json!({"resourceType": "ValueSet", "id": format!("v{depth}"), "compose": {"include": [{"valueSet": inner}]}})
    };
    let mut sets: Vec<Value> = (0..6).map(set).collect();
    sets.push(json!({"resourceType": "ValueSet", "id": "v6", "compose": {"include": [{"concept": []}]}}));
    let notes = asked(json!(sets));
    assert!(has_note(&notes, "2: its choices are in more than 100 value sets"), "{notes:?}");

    let heavy = |id: &str| {
        let option = |code: &str, weight: i64| json!({"valueCoding": {"code": code}, "extension": [{"url": ORDINAL, "valueDecimal": weight}]});
        let options = [option("a", 9_000_000_000_000_000_000), option("b", 1)];
        json!({"linkId": id, "type": "choice", "text": "How?", "answerOption": options})
    };
    let draft = imported(json!({"item": [heavy("1"), heavy("2")]}));
    assert!(has_note(&draft.notes, "the weights are too large for a sum"), "{:?}", draft.notes);
}

/// The draft that a Questionnaire with `changes` is converted to, and the notes.
fn draft(changes: Value) -> (Value, Vec<String>) {
    let mut source = json!({"resourceType": "Questionnaire", "id": "q", "title": "Q", "version": "1.0.0"});
    source.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    let imported = import(&source).unwrap();
    (serde_json::from_str(&imported.definition).unwrap(), imported.notes)
}

fn asked(link_id: &str, kind: &str, more: Value) -> Value {
    let mut item = json!({"linkId": link_id, "type": kind, "text": "How?"});
    item.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    item
}

/// Choices with a code and a weight each.
fn weighed(choices: &[(&str, i64)]) -> Value {
    let choices = choices.iter().map(|(code, weight)| {
        json!({"valueCoding": {"code": code}, "extension": [{"url": ORDINAL, "valueDecimal": weight}]})
    });
    json!({"answerOption": choices.collect::<Vec<_>>()})
}

fn notes_of<'a>(notes: &'a [String], part: &str) -> Vec<&'a str> {
    notes.iter().filter(|note| note.contains(part)).map(String::as_str).collect()
}

#[test]
fn the_texts_of_an_import_are_in_its_language() {
    // The longest tag that a definition may have has 35 bytes.
    for (language, used) in [
        (json!(null), "en"),
        (json!("de"), "de"),
        (json!("en-aaaaaaaa-bbbbbbbb-cccccccc-ddddd"), "en-aaaaaaaa-bbbbbbbb-cccccccc-ddddd"),
    ] {
        let (definition, notes) = draft(json!({"language": language, "item": [asked("1", "boolean", json!({}))]}));
        assert_eq!(definition["items"][0]["text"], json!({used: "How?"}));
        assert_eq!(notes_of(&notes, "language"), [""; 0]);
    }
    for language in ["English", "en-a", "en-a_b", "en-aaaaaaaaa", "en-aaaaaaaa-bbbbbbbb-cccccccc-dddddd"] {
        let (definition, notes) = draft(json!({"language": language, "item": [asked("1", "boolean", json!({}))]}));
        assert_eq!(definition["title"], json!({"en": "Q"}));
        assert_eq!(notes_of(&notes, "language"), ["the language is not a tag such as en or zh-Hans; en is used"]);
    }
}

#[test]
fn an_import_notes_each_property_that_is_lost() {
    let display = |link_id: &str| asked(link_id, "display", json!({"text": link_id}));
    let yes = json!([{"question": "1", "operator": "=", "answerBoolean": true}]);
    let group = |link_id: &str, more: Value| {
        let mut group =
            asked(link_id, "group", json!({"item": [asked(&format!("in-{link_id}"), "boolean", json!({}))]}));
        group.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        group
    };
    let (definition, notes) = draft(json!({"item": [
        display("first"), display("second"), asked("1", "boolean", json!({})), display("third"),
        group("plain", json!({"repeats": false})), group("lossy", json!({"repeats": true, "enableWhen": yes})),
        asked("open", "open-choice", weighed(&[("a", 0), ("b", 1)])),
        asked("many", "choice", json!({"repeats": true, "answerOption": [{"valueInteger": 1}, {"valueInteger": 2}]})),
        asked("often", "integer", json!({"repeats": true})),
        asked("chosen", "boolean", json!({"initial": [{"valueBoolean": true}]})),
        asked("computed", "integer", json!({"readOnly": true})),
        asked("written", "integer", json!({"readOnly": false})),
    ]}));
    assert_eq!(definition["instruction"], json!({"en": "first"}));
    let of = |part: &str| notes_of(&notes, part);
    assert_eq!(of("second"), ["second: a text between questions is not converted"]);
    assert_eq!(of("third"), ["third: a text between questions is not converted"]);
    assert_eq!(of("plain"), [""; 0]);
    assert_eq!(
        of("lossy"),
        ["lossy: the condition of a group is not converted", "lossy: the repetition of a group is not converted"]
    );
    assert_eq!(of("open"), ["open: free text beside the choices is not converted"]);
    assert_eq!(of("many: now allows one answer"), [""; 0]);
    assert_eq!(of("often: now"), ["often: now allows one answer; only choices can have several"]);
    assert_eq!(of("chosen"), ["chosen: an initial answer is not converted: patients answer themselves"]);
    assert_eq!(of("computed: is"), ["computed: is computed, not asked: define it as a score"]);
    let ids: Vec<_> = definition["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["1", "in-plain", "in-lossy", "open", "many", "often", "chosen", "written"]);
}

#[test]
fn a_condition_of_an_import_compares_with_the_same_answer() {
    let when = |question: &str, operator: &str, name: &str, value: Value| json!({"question": question, "operator": operator, name: value});
    let asked_when = |link_id: &str, conditions: Value, behavior: Value| {
        asked(link_id, "boolean", json!({"enableWhen": conditions, "enableBehavior": behavior}))
    };
    let never = when("2", "=", "answerCoding", json!({"code": "never"}));
    let daily = when("1", "=", "answerCoding", json!({"code": "daily"}));
    let (definition, notes) = draft(json!({"item": [
        asked("1", "choice", weighed(&[("seldom", 0), ("daily", 7)])),
        asked("2", "choice", weighed(&[("never", 3), ("always", 4)])),
        asked("3", "choice", weighed(&[("seldom", 0), ("daily", 7)])),
        asked("4", "integer", json!({})),
        asked_when("5", json!([never]), json!(null)),
        asked_when("6", json!([daily, never]), json!("all")),
        asked_when("7", json!([daily, never]), json!("any")),
        asked_when("8", json!([when("4", ">=", "answerInteger", json!(3))]), json!(null)),
        asked_when("9", json!([when("4", "<=", "answerInteger", json!(5))]), json!(null)),
        asked_when("10", json!([when("4", ">", "answerInteger", json!(5))]), json!(null)),
    ]}));
    let items = definition["items"].as_array().unwrap();
    // Equal choices share a list, and others do not.
    let lists: Vec<_> = items[..3].iter().map(|item| item["codes"].as_str().unwrap()).collect();
    assert_eq!(lists, ["list-1", "list-2", "list-1"]);
    let conditions: Vec<_> = items[4..].iter().map(|item| item["enableWhen"].clone()).collect();
    assert_eq!(
        conditions,
        [
            json!({"equals": ["2", 3]}),
            json!({"all": [{"equals": ["1", 7]}, {"equals": ["2", 3]}]}),
            json!({"any": [{"equals": ["1", 7]}, {"equals": ["2", 3]}]}),
            json!({"atLeast": ["4", 3]}),
            json!({"atMost": ["4", 5]}),
            json!(null),
        ]
    );
    assert_eq!(notes_of(&notes, "condition"), ["10: its condition cannot be converted: write its `enableWhen`"]);
}

#[test]
fn a_link_id_that_is_no_item_id_is_replaced_by_the_number_of_the_question() {
    let (definition, notes) = draft(json!({"item": [
        asked("a", "boolean", json!({})), asked("b", "boolean", json!({})), asked("(?)", "boolean", json!({})),
    ]}));
    assert_eq!(definition["items"][2]["id"], "3");
    assert_eq!(notes_of(&notes, "is the item"), ["(?): is the item 3 now"]);
}

#[test]
fn value_sets_are_read_up_to_their_limits_and_not_beyond() {
    let set =
        |id: String, compose: Value| json!({"resourceType": "ValueSet", "id": id, "compose": {"include": compose}});
    let codes = |count: usize| {
        let codes: Vec<Value> = (0..count).map(|code| json!({"code": code.to_string()})).collect();
        json!([{"concept": codes}])
    };
    let read = |contained: Value| {
        let (definition, notes) = draft(json!({"contained": contained, "item": [
            asked("1", "boolean", json!({})), asked("2", "choice", json!({"answerValueSet": "#v0"})),
        ]}));
        let choices = definition["codeLists"]["list-1"].as_array().map_or(0, Vec::len);
        let notes = notes.into_iter().find(|note| note.starts_with("2: ") && note.ends_with("omitted"));
        (choices, notes.map(|note| note[..30].to_owned()))
    };
    let refused = |part: &str| (0, Some(part.to_owned()));
    assert_eq!(read(json!([set("v0".to_owned(), codes(200))])), (200, None));
    for beyond in [201, 202] {
        assert_eq!(read(json!([set("v0".to_owned(), codes(beyond))])), refused("2: it has more than 200 choice"));
    }
    let chain = |length: usize| {
        let link = |depth: usize| set(format!("v{depth}"), json!([{"valueSet": [format!("#v{}", depth + 1)]}]));
        let mut sets: Vec<Value> = (0..length - 1).map(link).collect();
        sets.push(set(format!("v{}", length - 1), codes(2)));
        json!(sets)
    };
    assert_eq!(read(chain(8)), (2, None));
    assert_eq!(read(chain(9)), refused("2: its choices are in the Valu"));
    let wide = |others: usize| {
        let named: Vec<Value> = (0..others).map(|other| json!({"valueSet": [format!("#e{other}")]})).collect();
        let mut sets = vec![set("v0".to_owned(), json!(named))];
        sets.extend((1..others).map(|other| set(format!("e{other}"), json!([{"concept": []}]))));
        sets.push(set("e0".to_owned(), codes(2)));
        json!(sets)
    };
    assert_eq!(read(wide(99)), (2, None));
    assert_eq!(read(wide(100)), refused("2: its choices are in more tha"));
}

#[test]
fn a_condition_is_exported_as_the_answers_that_meet_it() {
    let exported = |condition: Value| {
        let definition = json!({
            "id": "asked", "version": "1.0.0", "title": {"en": "Asked"}, "sources": ["Nobody"],
            "licence": {"terms": "Ours", "texts": "included"},
            "codeLists": {"often": [
                {"code": 0, "text": {"en": "a"}}, {"code": 1, "text": {"en": "b"}}, {"code": 2, "text": {"en": "c"}},
                {"code": 9, "text": {"en": "d"}, "countsAsMissing": true},
            ]},
            "items": [
                {"id": "often", "type": "code", "codes": "often", "text": {"en": "?"}},
                {"id": "yes", "type": "boolean", "text": {"en": "?"}},
                {"id": "days", "type": "integer", "min": 0, "max": 30, "text": {"en": "?"}},
                {"id": "why", "type": "text", "text": {"en": "?"}, "enableWhen": condition},
            ],
            "scores": [{"id": "total", "value": "days", "range": [0, 30]}],
        });
        let instrument = Instrument::parse(&definition.to_string()).unwrap_or_else(|faults| panic!("{faults:?}"));
        let item = questionnaire(&instrument, "en")["item"][3].clone();
        let parts: Vec<String> = item["enableWhen"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|part| {
                let answer = [&part["answerCoding"]["code"], &part["answerBoolean"], &part["answerInteger"]];
                let answer = answer.into_iter().find(|answer| !answer.is_null()).unwrap();
                format!("{} {} {answer}", part["question"].as_str().unwrap(), part["operator"].as_str().unwrap())
            })
            .collect();
        let extension = item["extension"][0]["valueString"].as_str().map(|text| text.parse::<Value>().unwrap());
        (parts.join(", "), item["enableBehavior"].as_str().unwrap_or("").to_owned(), extension)
    };
    let at_least = json!({"atLeast": ["days", 3]});
    let yes = json!({"equals": ["yes", 1]});
    for (condition, parts, behavior) in [
        (json!({"equals": ["often", 1]}), r#"often = "1""#, ""),
        (json!({"atLeast": ["often", 1]}), r#"often = "1", often = "2""#, "any"),
        (json!({"atMost": ["often", 1]}), r#"often = "0", often = "1""#, "any"),
        (json!("often"), r#"often = "1", often = "2""#, "any"),
        (json!("yes"), "yes = true", ""),
        (at_least.clone(), "days >= 3", ""),
        (json!({"atMost": ["days", 3]}), "days <= 3", ""),
        (json!("days"), "days != 0", ""),
        (json!({"all": [yes, at_least]}), "yes = true, days >= 3", "all"),
        (json!({"any": [yes, at_least]}), "yes = true, days >= 3", "any"),
        (json!({"any": [{"atLeast": ["often", 1]}, yes]}), r#"often = "1", often = "2", yes = true"#, "any"),
        (json!({"all": [{"atLeast": ["often", 1]}]}), r#"often = "1", often = "2""#, "any"),
    ] {
        assert_eq!(exported(condition.clone()), (parts.to_owned(), behavior.to_owned(), None), "{condition}");
    }
    // FHIR cannot express these: they stay in the format of the definition.
    for condition in [
        json!({"all": [{"atLeast": ["often", 1]}, yes]}),
        json!({"any": [{"all": [yes, at_least]}, {"equals": ["often", 0]}]}),
        json!({"atLeast": ["days", 2.5]}),
        json!({"atLeast": [{"sum": ["days", "yes"]}, 2]}),
    ] {
        assert_eq!(exported(condition.clone()), (String::new(), String::new(), Some(condition)));
    }
}

#[test]
fn the_bounds_of_a_number_are_exported_in_its_type() {
    let definition = json!({
        "id": "asked", "version": "1.0.0", "title": {"en": "Asked"}, "sources": ["Nobody"],
        "licence": {"terms": "Ours", "texts": "included"},
        "items": [
            {"id": "days", "type": "integer", "min": 0, "max": 30, "text": {"en": "?"}},
            {"id": "hours", "type": "decimal", "min": 0.5, "max": 24, "text": {"en": "?"}},
            {"id": "why", "type": "text", "text": {"en": "?"}, "neededWhen": {"atLeast": [{"sum": ["days", "hours"]}, 9]}},
        ],
        "scores": [{"id": "total", "value": "days", "range": [0, 30]}],
    });
    let exported = questionnaire(&Instrument::parse(&definition.to_string()).unwrap(), "en");
    let extensions = |item: usize| -> Vec<Value> {
        let extensions = exported["item"][item]["extension"].as_array().cloned().unwrap_or_default();
        extensions
            .into_iter()
            .filter(|extension| !extension["url"].as_str().unwrap().ends_with("DecimalPlaces"))
            .collect()
    };
    let bound = |name: &str, value: Value| json!({"url": format!("http://hl7.org/fhir/StructureDefinition/{name}Value"), (value["key"].as_str().unwrap()): value["value"]});
    let integer = |value: i64| json!({"key": "valueInteger", "value": value});
    let decimal = |value: Value| json!({"key": "valueDecimal", "value": value});
    assert_eq!(extensions(0), [bound("min", integer(0)), bound("max", integer(30))]);
    assert_eq!(extensions(1), [bound("min", decimal(json!(0.5))), bound("max", decimal(json!(24)))]);
    // An item that may be left out is asked: a condition that FHIR cannot express is not needed.
    assert_eq!(extensions(2), Vec::<Value>::new());
}

#[test]
fn several_choices_are_several_answers() {
    let definition = json!({
        "id": "pick", "version": "1.0.0", "title": {"en": "Pick"}, "licence": {"terms": "Ours", "texts": "included"},
        "sources": ["Nobody"], "codeLists": {"list": [{"code": 1, "text": {"en": "a"}}, {"code": 2, "text": {"en": "b"}}]},
        "items": [
            {"id": "many", "type": "codes", "codes": "list", "text": {"en": "?"}},
            {"id": "days", "type": "integer", "min": 0, "max": 30, "text": {"en": "?"}},
        ],
        "scores": [{"id": "total", "value": "days", "range": [0, 30]}],
    });
    let study = json!({
        "id": "ST", "version": "1.0.0", "title": {"en": "A study"}, "languages": ["en"],
        "sites": [{"id": "S01", "name": "One", "timeZone": "Europe/Berlin"}],
        "instruments": [{"id": "pick", "version": "1.0.0"}],
    });
    let own = Arc::new(Instrument::parse(&definition.to_string()).unwrap());
    let protocol = Study::parse(&study.to_string()).unwrap().with_instruments(&[own], |_| true).unwrap();
    let answers = |answers: Value| {
        let mut response = response(json!([{"linkId": "many", "answer": answers}]));
        response["questionnaire"] = json!("urn:epro:questionnaire:pick|1.0.0");
        let read = Response::read(&response, protocol.catalog());
        assert_eq!(read.findings, []);
        read.submission["answers"].clone()
    };
    let choice = |code: &str| json!({"valueCoding": {"system": "urn:epro:questionnaire:pick:list", "code": code}});
    assert_eq!(answers(json!([choice("2"), choice("1")])), json!({"many": [2, 1]}));
    assert_eq!(answers(json!([{}])), json!({}));
}
