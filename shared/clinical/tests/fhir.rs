//! FHIR in and out: official examples, every fault by its place, and round trips.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it cannot read")]

use clinical::catalog::Catalog;
use clinical::fhir::{Response, import, questionnaire};
use clinical::instrument::Instrument;
use clinical::outcome::Outcome;
use serde_json::{Map, Value, json};

const ORDINAL: &str = "http://hl7.org/fhir/StructureDefinition/ordinalValue";

/// As HL7's US Core guide has it, without the texts of the questions.
fn us_core() -> Value {
    serde_json::from_str(include_str!("fhir/us-core-phq-9.json")).unwrap()
}

/// As HL7's US Quality Core guide has it, after the questionnaire of the SDC guide, without the texts of the questions. It
/// states a total of 13.
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
fn official_examples_are_read_by_the_names_that_they_use() {
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
fn a_code_of_others_means_the_choice_with_the_text_that_they_give_it() {
    // From the Questionnaire of HL7's US Core guide, and of LOINC for the GAD-7; the numbers in the codes are in no order.
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
            let mut response = response(json!([{"linkId": item, "answer": [{"valueCoding": {"code": code}}]}]));
            response["questionnaire"] = json!(format!("urn:epro:questionnaire:{id}|1.0.0"));
            let meant = read(&response).submission["answers"][item].as_i64().unwrap();
            let choice = choices.iter().find(|choice| choice.code == meant).unwrap();
            assert_eq!(choice.text.as_ref().unwrap()["en"], text, "{id} {code}");
        }
    }
}

/// `json` once for each of its parts and each of some values, with that part replaced by that value.
fn spoiled(json: &Value) -> Vec<Value> {
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
            let mut spoiled = json.clone();
            *spoiled.pointer_mut(at).unwrap() = value.clone();
            spoiled
        })
        .collect()
}

#[test]
fn no_part_that_is_something_else_brings_the_readers_down_or_changes_other_answers() {
    let whole = read(&sdc()).submission["answers"].clone();
    for spoiled in spoiled(&sdc()) {
        let read = read(&spoiled);
        for (item, answer) in read.submission["answers"].as_object().unwrap() {
            assert!(answer == &whole[item] || !answer.is_i64(), "{item}");
        }
    }
    for spoiled in spoiled(&questionnaire(instrument("gad-2"), "en")) {
        if let Ok(imported) = import(&spoiled) {
            assert!(serde_json::from_str::<Value>(&imported.definition).is_ok());
        }
    }
}

#[test]
fn a_total_in_a_response_is_no_answer_and_is_not_believed() {
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

#[test]
fn an_answer_is_read_by_code_by_weight_and_as_a_number() {
    let weight = |url: &str, value: Value| json!({"url": url, "valueDecimal": value});
    let item_weight = "http://hl7.org/fhir/StructureDefinition/itemWeight";
    let same = [
        json!({"valueCoding": {"code": "2"}}),
        json!({"valueCoding": {"system": "http://loinc.org", "code": "LA6570-1"}}),
        json!({"valueCoding": {"code": "often", "extension": [weight(ORDINAL, json!(2))]}}),
        json!({"valueCoding": {"display": "often", "extension": [weight(item_weight, json!(2.0))]}}),
        json!({"valueCoding": {"code": "often"}, "extension": [weight(ORDINAL, json!(2))]}),
        json!({"valueCoding": {"code": "2", "extension": [weight(ORDINAL, json!(2))]}}),
        json!({"valueInteger": 2}),
        json!({"valueDecimal": 2}),
    ];
    for answer in same {
        let read = read(&response(json!([{"linkId": "7", "answer": [answer]}])));
        assert_eq!((read.submission["answers"].clone(), read.findings), (json!({"7": 2}), vec![]), "{answer}");
    }
}

#[test]
fn each_type_of_item_takes_its_own_values() {
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
fn every_fault_is_found_at_once_and_where_it_is() {
    let items = json!([
        {"linkId": "1", "answer": [{"valueCoding": {"code": "0"}}, {"valueCoding": {"code": "1"}}]},
        {"linkId": "2", "answer": [{"valueString": "often"}]},
        {"linkId": "group", "item": [{"linkId": "3", "answer": [{"valueCoding": {"code": "often"}}]}]},
        {"linkId": "99", "answer": [{"valueInteger": 1}]},
        {"linkId": "4", "answer": [{"valueInteger": 1, "valueString": "x"}]},
        {"linkId": "5", "answer": [{"valueCoding": {"code": "1", "extension": [{"url": ORDINAL, "valueDecimal": 2}]}}]},
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
fn only_what_is_done_is_a_submission() {
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
fn what_is_no_response_or_names_no_questionnaire_is_told_so() {
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
fn the_id_is_the_identifier_or_the_resources_own() {
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
fn every_shipped_definition_told_in_fhir_and_answered_gives_the_same_result() {
    for instrument in Catalog::shipped().iter() {
        for last in [false, true] {
            let questionnaire = questionnaire(instrument, "en");
            let mut plain = Map::new();
            let mut items = Vec::new();
            for (item, asked) in questionnaire["item"].as_array().unwrap().iter().filter_map(|item| {
                let id = item["linkId"].as_str().unwrap();
                let asked = instrument.definition().items.iter().find(|asked| asked.id.as_str() == id);
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
fn a_questionnaire_says_what_the_definition_says() {
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
fn an_exported_questionnaire_comes_back_as_a_definition_that_scores_alike() {
    for id in ["phq-9", "gad-7", "gad-2"] {
        let instrument = instrument(id);
        let imported = import(&questionnaire(instrument, "en")).unwrap();
        let again = Instrument::parse(&imported.definition).unwrap_or_else(|faults| panic!("{id}: {faults:?}"));
        assert_eq!(again.definition().items.len(), instrument.definition().items.len());
        let answers: Map<String, Value> =
            again.definition().items.iter().map(|item| (item.id.to_string(), json!(1))).collect();
        let outcome = again.assess(&again.check(&answers).unwrap()).unwrap();
        assert_eq!(total(&outcome), answers.len().to_string(), "{id}");
        assert!(imported.notes.iter().any(|note| note.contains("`bands`")));
    }
}

#[test]
fn what_an_import_cannot_carry_over_is_said() {
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
