//! Studies: validation, groups, start date and versions.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it cannot read")]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use boon::{Compiler, Schemas};
use clinical::document::DefinitionFault;
use clinical::instruments::{Catalog, Instrument, Severity};
use clinical::studies::{Protocol, Study};
use serde_json::{Value, json};
use time::macros::datetime;

/// The pointer and the new value, and the code and pointer of the fault.
type Broken = (&'static str, Value, &'static str, &'static str);

fn broken() -> Vec<Broken> {
    let rule = |when: Value| json!([{"id": "watch", "severity": "info", "when": when}]);
    let in_score = |at_least: i64| rule(json!({"score": {"of": "total", "atLeast": at_least}}));
    vec![
        ("/colour", json!("blue"), "form", "/colour"),
        ("/version", json!("1"), "form", "/version"),
        ("/startsOn", json!("1 May"), "form", "/startsOn"),
        ("/startsOn", json!("2026-13-01"), "form", "/startsOn"),
        ("/languages", json!([]), "study.languages", "/languages"),
        ("/languages", json!(["en", "en"]), "study.languages", "/languages/1"),
        ("/title", json!({"de": "Studie", "zh-Hans": "研究"}), "study.title", "/title/en"),
        ("/sites", json!([]), "site.none", "/sites"),
        ("/sites/1/id", json!("S01"), "site.duplicate", "/sites/1/id"),
        ("/sites/1/name", json!(" "), "site.name", "/sites/1/name"),
        ("/sites/0/timeZone", json!("Europe/Atlantis"), "site.time-zone", "/sites/0/timeZone"),
        ("/instruments", json!([]), "instrument.none", "/instruments"),
        ("/instruments/1/id", json!("phq-9"), "instrument.duplicate", "/instruments/1"),
        ("/instruments/0/id", json!("phq-99"), "instrument.unknown", "/instruments/0/id"),
        ("/instruments/0/version", json!("7.0.0"), "instrument.version-unknown", "/instruments/0/version"),
        ("/instruments/0/sites", json!(["S01", "S09"]), "site.unknown", "/instruments/0/sites/1"),
        ("/instruments/0/languages", json!(["fr"]), "language.unknown", "/instruments/0/languages/0"),
        ("/instruments/1/id", json!("rand-36"), "instrument.language", "/instruments/1"),
        ("/instruments/0/everyDays", json!(0), "instrument.interval", "/instruments/0/everyDays"),
        ("/instruments/0/rules", in_score(28), "rule.never", "/instruments/0/rules/0/when/score"),
        ("/instruments/0/rules", in_score(0), "rule.always", "/instruments/0/rules/0/when/score"),
        (
            "/instruments/0/rules",
            rule(json!({"item": {"of": "99", "atLeast": 1}})),
            "rule.item",
            "/instruments/0/rules/0/when/item/of",
        ),
        (
            "/instruments/0/rules",
            json!([{"id": "phq-9-high", "severity": "info", "when": {"score": {"of": "total", "atLeast": 9}}}]),
            "rule.telling",
            "/instruments/0/rules/0/id",
        ),
        (
            "/instruments/0/rules",
            json!([in_score(3)[0], in_score(4)[0]]),
            "rule.duplicate",
            "/instruments/0/rules/1/id",
        ),
        (
            "/instruments/0/byGroup",
            json!({"women": in_score(3), "men": in_score(99)}),
            "rule.never",
            "/instruments/0/byGroup/men/0/when/score",
        ),
        ("/instruments/0/byGroup", json!({"a group": []}), "form", "/instruments/0/byGroup/a group"),
        ("/instruments/0/without", json!(["nothing"]), "rule.unknown", "/instruments/0/without/0"),
        (
            "/instruments/0/rules",
            json!([{
                "id": "watch", "severity": "info", "quietHours": 99_999_999, "when": {"score": {"of": "total", "atLeast": 9}}
            }]),
            "bounds",
            "/instruments/0/rules/0/quietHours",
        ),
        ("/sites/0/name", json!("x".repeat(201)), "bounds", "/sites/0/name"),
        ("/alerts", json!({"link": "https://a.example/alerts"}), "alerts.link", "/alerts/link"),
        ("/alerts", json!({"link": "javascript:x?{alertId}"}), "alerts.link", "/alerts/link"),
        ("/alerts", json!({"link": "https://a.example/my alerts/{alertId}"}), "alerts.link", "/alerts/link"),
        ("/alerts", json!({"link": link_of(201)}), "alerts.link", "/alerts/link"),
        ("/alerts", json!({"link": link_of(202)}), "alerts.link", "/alerts/link"),
        (
            "/alerts",
            json!({"escalation": {"afterMinutes": 0, "limit": 3}}),
            "alerts.escalation",
            "/alerts/escalation/afterMinutes",
        ),
        (
            "/alerts",
            json!({"escalation": {"afterMinutes": 5, "limit": 11}}),
            "alerts.escalation",
            "/alerts/escalation/limit",
        ),
        ("/alerts", json!({"snooze": {"mostMinutes": 0}}), "alerts.snooze", "/alerts/snooze/mostMinutes"),
        ("/alerts", json!({"snooze": {"mostMinutes": 10_081}}), "alerts.snooze", "/alerts/snooze/mostMinutes"),
        ("/alerts", rota(json!({"sites": ["S01", "S09"]})), "site.unknown", "/alerts/rota/0/sites/1"),
        ("/alerts", rota(json!({"to": "18:00"})), "rota.time", "/alerts/rota/0/to"),
        ("/alerts", rota(json!({"from": "24:00"})), "rota.time", "/alerts/rota/0/from"),
        ("/alerts", rota(json!({"from": "6pm"})), "form", "/alerts/rota/0/from"),
        ("/alerts", rota(json!({"days": ["someday"]})), "form", "/alerts/rota/0/days/0"),
        ("/alerts", rota(json!({"onCall": "Dr. Chen"})), "form", "/alerts/rota/0/onCall"),
        ("/alerts", json!({"rota": vec![rota(json!({}))["rota"][0].clone(); 201]}), "bounds", "/alerts/rota"),
    ]
}

/// The settings of alerts with a rota of one shift, from 18:00 to 08:00, with `changes`.
fn rota(changes: Value) -> Value {
    let mut shift = json!({"onCall": "night-team", "from": "18:00", "to": "08:00"});
    shift.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    json!({"rota": [shift]})
}

/// A link of `length` characters.
fn link_of(length: usize) -> String {
    format!("{:a<length$}", "https://a.example/{alertId}/")
}

fn study() -> Value {
    json!({
        "id": "ST", "version": "1.0.0", "title": {"en": "A study", "zh-Hans": "研究"}, "languages": ["en", "zh-Hans"],
        "sites": [
            {"id": "S01", "name": "One", "timeZone": "Europe/Berlin"},
            {"id": "S02", "name": "Two", "timeZone": "Asia/Shanghai"},
        ],
        "instruments": [{"id": "phq-9", "version": "1.0.0"}, {"id": "gad-7", "version": "1.0.0"}],
    })
}

fn load(study: &Value, own: &[Arc<Instrument>]) -> Result<Protocol, Vec<DefinitionFault>> {
    Study::parse(&study.to_string())?.with_instruments(own, is_time_zone)
}

fn is_time_zone(name: &str) -> bool {
    jiff::tz::db().get(name).is_ok()
}

fn with(pointer: &str, value: Value) -> Value {
    let mut study = study();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match study.pointer_mut(parent).unwrap() {
        Value::Array(list) => list[name.parse::<usize>().unwrap()] = value,
        object => object[name] = value,
    }
    study
}

#[test]
fn every_fault_has_a_pointer_and_advice() {
    assert!(load(&study(), &[]).is_ok());
    for (pointer, value, code, place) in broken() {
        let faults = load(&with(pointer, value), &[]).unwrap_err();
        let found: Vec<_> = faults.iter().map(|fault| (fault.code, fault.pointer.as_str())).collect();
        assert_eq!(found, [(code, place)]);
        assert!(!faults[0].problem.is_empty() && !faults[0].advice.is_empty());
    }
}

#[test]
fn all_faults_are_returned_at_once() {
    let mut study = with("/sites/0/timeZone", json!("Nowhere"));
    study["instruments"][0]["everyDays"] = json!(1000);
    study["instruments"][0]["id"] = json!("nothing");
    study["instruments"][1]["without"] = json!(["nothing"]);
    study["alerts"] = json!({"link": "x"});
    assert_eq!(load(&study, &[]).unwrap_err().len(), 5);
}

#[test]
fn the_pointer_of_a_rule_fault_is_into_the_study_whatever_rules_are_removed() {
    let phq_9 = json!({
        "id": "phq-9", "version": "1.0.0", "without": ["safety"],
        "rules": [
            {"id": "watch", "severity": "info", "when": {"score": {"of": "total", "atLeast": 3}}},
            {"id": "threshold", "severity": "info", "when": {"score": {"of": "total", "atLeast": 99}}},
        ],
    });
    let faults = load(&with("/instruments/0", phq_9), &[]).unwrap_err();
    assert_eq!(faults[0].pointer, "/instruments/0/rules/1/when/score");
}

#[test]
fn a_group_has_its_own_threshold_and_others_the_general_one() {
    let line = |at_least: i64| json!([{"id": "threshold", "severity": "info", "when": {"score": {"of": "total", "atLeast": at_least}}}]);
    let extra = json!({"id": "watch", "severity": "info", "when": {"item": {"of": "1", "atLeast": 4}}});
    let mut rules = line(3);
    rules.as_array_mut().unwrap().push(extra);
    let audit_c =
        json!({"id": "audit-c", "version": "1.1.0", "languages": ["en"], "rules": rules, "byGroup": {"men": line(4)}});
    let protocol = load(&with("/instruments/0", audit_c), &[]).unwrap();
    let (id, version) = ("audit-c".parse().unwrap(), "1.1.0".parse().unwrap());
    for (group, answers, expected) in [
        (None, json!({"1": 3, "2": 0, "3": 0}), vec!["threshold"]),
        (Some("women"), json!({"1": 3, "2": 0, "3": 0}), vec!["threshold"]),
        (Some("men"), json!({"1": 3, "2": 0, "3": 0}), vec![]),
        (Some("men"), json!({"1": 4, "2": 0, "3": 0}), vec!["threshold", "watch"]),
    ] {
        let group = group.map(|group| group.parse().unwrap());
        let instrument = protocol.instrument_for(&id, &version, group.as_ref()).unwrap();
        let answers = instrument.check(answers.as_object().unwrap()).unwrap();
        let outcome = instrument.assess(&answers).unwrap();
        let fired: Vec<&str> = outcome.alerts.iter().map(|fired| fired.rule.as_str()).collect();
        assert_eq!(fired, expected, "{group:?}");
    }
}

#[test]
fn a_study_starts_on_a_day_in_the_patients_local_time() {
    let protocol = load(&with("/startsOn", json!("2026-11-01")), &[]).unwrap();
    for (completed, begun) in [
        (datetime!(2026-10-31 23:59 +08:00), false),
        (datetime!(2026-11-01 00:00 +08:00), true),
        (datetime!(2026-10-31 23:59 -05:00), false),
        (datetime!(2010-01-01 00:00 UTC), false),
    ] {
        assert_eq!(protocol.has_begun(completed), begun, "{completed}");
        assert!(Protocol::of_no_study().has_begun(completed));
    }
}

#[test]
fn a_study_can_use_its_own_instruments_in_existing_versions_only() {
    let phq_2 = Catalog::shipped().find(&"phq-2".parse().unwrap(), &"1.0.0".parse().unwrap()).unwrap();
    let own = Arc::new(Instrument::parse(&phq_2.json().replacen("\"phq-2\"", "\"diary\"", 1)).unwrap());
    let named = with("/instruments/0/id", json!("diary"));
    let protocol = load(&named, std::slice::from_ref(&own)).unwrap();
    assert_eq!(protocol.catalog().iter().map(|one| one.id().as_str()).collect::<Vec<_>>(), ["diary", "gad-7"]);
    assert_eq!(load(&named, &[]).unwrap_err()[0].code, "instrument.unknown");
    let mut later = named;
    later["instruments"][0]["version"] = json!("1.0.1");
    assert_eq!(load(&later, &[own]).unwrap_err()[0].code, "instrument.version-unknown");
}

#[test]
fn a_study_at_its_limits_is_accepted_and_keeps_its_settings() {
    let shift = json!({
        "onCall": "weekend", "sites": ["S01"], "severities": ["critical"], "days": ["saturday"], "from": "00:00",
        "to": "24:00",
    });
    let alerts = json!({
        "link": link_of(200), "escalation": {"afterMinutes": 10_080, "limit": 10}, "snooze": {"mostMinutes": 10_080},
        "rota": vec![shift; 200],
    });
    let protocol = load(&with("/alerts", alerts.clone()), &[]).unwrap();
    let study = protocol.study().unwrap();
    assert_eq!(serde_json::to_value(study.definition()).unwrap()["alerts"], alerts);
    assert_eq!(protocol.most_snooze_minutes(), Some(10_080));
    assert_eq!(protocol.alert_link(), Some(link_of(200).as_str()));
    assert_eq!(
        protocol.escalation().map(|escalation| (escalation.after_minutes, escalation.limit)),
        Some((10_080, 10))
    );
    assert_eq!(study.site(&"S02".parse().unwrap()).unwrap().name, "Two");
    assert!(study.site(&"S03".parse().unwrap()).is_none());
    assert_eq!(study.hash().len(), 64);
}

#[test]
fn a_protocol_answers_what_its_study_says() {
    let later = json!({"id": "phq-9", "version": "1.0.0", "everyDays": 7, "sites": ["S01"]});
    let mut study = with("/instruments/0", later);
    study["patientsSeeScores"] = json!(true);
    study["subjectsEnrolFirst"] = json!(true);
    let of_study = load(&study, &[]).unwrap();
    let plain = load(&self::study(), &[]).unwrap();
    let nothing = Protocol::of_no_study();
    let (phq_9, gad_7, version) = ("phq-9".parse().unwrap(), "gad-7".parse().unwrap(), "1.0.0".parse().unwrap());
    let (one, two, three) = ("S01".parse().unwrap(), "S02".parse().unwrap(), "S03".parse().unwrap());
    for (protocol, flags) in [(&of_study, (true, true)), (&plain, (false, false)), (&nothing, (false, false))] {
        assert_eq!((protocol.patients_see_scores(), protocol.subjects_enrol_first()), flags);
    }
    assert_eq!([&one, &three].map(|site| of_study.has_site(site)), [true, false]);
    assert!(nothing.has_site(&three));
    assert_eq!([&one, &two].map(|site| of_study.asks(site, &phq_9, &version)), [true, false]);
    assert_eq!([&one, &two].map(|site| of_study.asks(site, &gad_7, &version)), [true, true]);
    assert!(nothing.asks(&three, &phq_9, &version));
    assert_eq!([&phq_9, &gad_7].map(|id| of_study.every_days(id)), [Some(7), None]);
    assert_eq!(of_study.instrument(&gad_7, &version).map(|asked| &asked.id), Some(&gad_7));
    assert!(of_study.instrument(&gad_7, &"1.0.1".parse().unwrap()).is_none());
    assert_eq!((plain.alert_link(), plain.escalation()), (None, None));
}

#[test]
fn a_group_may_have_a_rule_that_others_do_not_have() {
    let rule = |id: &str, at_least: i64| json!([{"id": id, "severity": "info", "when": {"item": {"of": "1", "atLeast": at_least}}}]);
    let audit_c = json!({
        "id": "audit-c", "version": "1.1.0", "languages": ["en"], "rules": rule("watch", 4), "byGroup": {"men": rule("men-only", 3)},
    });
    let protocol = load(&with("/instruments/0", audit_c), &[]).unwrap();
    let (id, version) = ("audit-c".parse().unwrap(), "1.1.0".parse().unwrap());
    let rules = |group: Option<&str>| {
        let group = group.map(|group| group.parse().unwrap());
        let instrument = protocol.instrument_for(&id, &version, group.as_ref()).unwrap();
        instrument.rules().map(|rule| rule.to_string()).filter(|rule| rule != "threshold").collect::<Vec<_>>()
    };
    assert_eq!(
        (rules(None), rules(Some("men"))),
        (vec!["watch".to_owned()], vec!["watch".to_owned(), "men-only".to_owned()])
    );
}

#[test]
fn a_study_too_large_to_be_stored_is_rejected() {
    let named = |length: usize| with("/sites/0/name", json!("x".repeat(length)));
    let most = 350_000 - Study::parse(&named(0).to_string()).unwrap().json().len();
    for (length, refused) in [(most, false), (most + 1, true), (360_000, true)] {
        let faults = load(&named(length), &[]).unwrap_err();
        assert_eq!(faults.iter().any(|fault| fault.code == "study.too-large"), refused, "{length}");
    }
}

#[test]
fn who_is_on_call_is_found_by_site_severity_and_the_clock_of_the_site() {
    let mut study = study();
    study["alerts"] = json!({"rota": [
        {"onCall": "night", "severities": ["critical"], "from": "18:00", "to": "08:00"},
        {"onCall": "weekend", "sites": ["S01"], "days": ["saturday", "sunday"], "from": "00:00", "to": "24:00"},
        {"onCall": "friday-night", "sites": ["S02"], "days": ["friday"], "from": "20:00", "to": "06:00"},
        {"onCall": "day", "sites": ["S01"], "from": "08:00", "to": "18:00"},
    ]});
    let protocol = load(&study, &[]).unwrap();
    let zone = |name: &str| jiff::tz::db().get(name).ok();
    let on_call = |site: &str, severity, at: time::OffsetDateTime| {
        protocol.on_call(&site.parse().unwrap(), severity, at, zone).map(|id| id.as_str().to_owned())
    };
    // In Berlin it is one hour later in winter and two in summer, in Shanghai eight.
    for (site, severity, at, expected) in [
        ("S01", Severity::Critical, datetime!(2026-11-23 16:59:59 UTC), Some("day")),
        ("S01", Severity::Critical, datetime!(2026-11-23 17:00 UTC), Some("night")),
        ("S01", Severity::Critical, datetime!(2026-11-24 06:59 UTC), Some("night")),
        ("S01", Severity::Critical, datetime!(2026-11-24 07:00 UTC), Some("day")),
        ("S01", Severity::Critical, datetime!(2026-07-21 05:59 UTC), Some("night")),
        ("S01", Severity::Critical, datetime!(2026-07-21 06:00 UTC), Some("day")),
        ("S01", Severity::Warning, datetime!(2026-11-23 17:00 UTC), None),
        ("S01", Severity::Warning, datetime!(2026-11-27 22:59 UTC), None),
        ("S01", Severity::Warning, datetime!(2026-11-27 23:00 UTC), Some("weekend")),
        ("S01", Severity::Warning, datetime!(2026-11-29 22:59 UTC), Some("weekend")),
        ("S01", Severity::Warning, datetime!(2026-11-29 23:00 UTC), None),
        // The shift of Friday ends on Saturday, and there is none of Thursday.
        ("S02", Severity::Info, datetime!(2026-11-27 12:00 UTC), Some("friday-night")),
        ("S02", Severity::Info, datetime!(2026-11-27 21:59 UTC), Some("friday-night")),
        ("S02", Severity::Info, datetime!(2026-11-27 22:00 UTC), None),
        ("S02", Severity::Info, datetime!(2026-11-26 21:59 UTC), None),
        ("S02", Severity::Info, datetime!(2026-11-28 12:00 UTC), None),
    ] {
        assert_eq!(on_call(site, severity, at).as_deref(), expected, "{site} {severity} {at}");
    }
    let without = load(&self::study(), &[]).unwrap();
    let no_zone = |_: &str| panic!("a study without a rota needs no time zone");
    let noon = datetime!(2026-11-23 12:00 UTC);
    assert_eq!(without.on_call(&"S01".parse().unwrap(), Severity::Info, noon, no_zone), None);
}

#[test]
fn a_study_round_trips_through_json() {
    let study = Study::parse(&study().to_string()).unwrap();
    let again = Study::parse(&serde_json::to_string(study.definition()).unwrap()).unwrap();
    assert_eq!((study.definition(), study.hash(), study.json()), (again.definition(), again.hash(), again.json()));
}

#[test]
fn the_demonstration_study_has_no_faults() {
    let json = fs::read_to_string(root().join("studies/demo.json")).unwrap();
    let protocol = Study::parse(&json).unwrap().with_instruments(&[], is_time_zone).unwrap();
    assert!(protocol.study().unwrap().site(&"S02".parse().unwrap()).is_some());
}

#[test]
fn the_schema_accepts_what_loads_and_rejects_invalid_formats() {
    let read = |file: &str| serde_json::from_str::<Value>(&fs::read_to_string(root().join(file)).unwrap()).unwrap();
    let mut compiler = Compiler::new();
    compiler.add_resource("instrument.schema.json", read("instruments/instrument.schema.json")).unwrap();
    compiler.add_resource("study.schema.json", read("studies/study.schema.json")).unwrap();
    let mut schemas = Schemas::new();
    let schema = compiler.compile("study.schema.json", &mut schemas).unwrap();
    for good in [study(), read("studies/demo.json")] {
        assert!(schemas.validate(&good, schema).is_ok());
    }
    let of_the_form =
        ["form", "study.languages", "site.none", "instrument.none", "instrument.interval", "alerts.link", "bounds"];
    for (pointer, value, code, _) in broken() {
        let refused = schemas.validate(&with(pointer, value.clone()), schema).is_err();
        let expected = of_the_form.contains(&code) || ["alerts.escalation", "alerts.snooze"].contains(&code);
        assert_eq!(refused, expected, "{pointer} {value}");
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
