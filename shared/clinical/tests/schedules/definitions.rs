//! The checks of schedules in a study.

use std::fs;
use std::path::Path;

use boon::{Compiler, Schemas};
use clinical::document::DefinitionFault;
use clinical::studies::{Enrolment, Protocol, Study};
use serde_json::{Value, json};

/// The schedules, and the code and pointer of the fault.
type Broken = (Value, &'static str, &'static str);

/// The codes of faults that the JSON Schema finds too.
const OF_THE_FORM: [&str; 2] = ["form", "bounds"];

/// A daily diary, with `changes`.
fn diary(changes: &Value) -> Value {
    let mut diary = json!({
        "id": "evening", "instrument": "gad-7", "anchor": {"enrolment": {}}, "every": {"days": 1, "count": 84},
        "window": {"opens": "18:00", "closes": "24:00"},
        "reminders": [{"minutesAfterOpening": 60}, {"minutesBeforeClosing": 30}],
        "missed": {"severity": "warning", "after": 3},
    });
    for (name, value) in changes.as_object().unwrap() {
        diary[name] = value.clone();
    }
    diary.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    diary
}

fn broken_alone() -> Vec<(Value, &'static str, &'static str)> {
    let window = |opens: &str, closes: &str| json!({"window": {"opens": opens, "closes": closes}, "reminders": null});
    let six = [0, 1, 2, 3, 4, 5].map(|n| json!({"minutesAfterOpening": n}));
    vec![
        (json!({"colour": "blue"}), "form", "/colour"),
        (json!({"anchor": {"enrolment": {"day": 1}}}), "form", "/anchor/day"),
        (json!({"anchor": {"weekday": "someday"}}), "form", "/anchor"),
        (json!({"anchor": {"date": "2026-02-30"}}), "form", "/anchor"),
        (json!({"anchor": {"date": "20260201"}}), "form", "/anchor"),
        (json!({"anchor": {}}), "form", "/anchor"),
        (json!({"every": {"days": 1}}), "form", "/every"),
        (json!({"every": {"days": 1, "count": 3, "until": "2026-11-01"}}), "form", "/every"),
        (window("18:60", "20:00"), "form", "/window/opens"),
        (window("18:00", "24:01"), "form", "/window/closes"),
        (window("8:00", "20:00"), "form", "/window/opens"),
        (window("+8:00", "20:00"), "form", "/window/opens"),
        (json!({"every": {"days": 0, "count": 84}}), "bounds", "/every/days"),
        (json!({"every": {"days": 367, "count": 84}}), "bounds", "/every/days"),
        (json!({"every": {"days": 1, "count": 0}, "missed": null}), "bounds", "/every/count"),
        (json!({"every": {"days": 1, "count": 4001}}), "bounds", "/every/count"),
        (json!({"delayDays": 3661}), "bounds", "/delayDays"),
        (json!({"anchor": {"event": "surgery"}, "delayDays": -367}), "bounds", "/delayDays"),
        (json!({"missed": {"severity": "info", "after": 0}}), "bounds", "/missed/after"),
        (json!({"missed": {"severity": "info", "after": 31}}), "bounds", "/missed/after"),
        (json!({"missed": {"severity": "info", "after": 1, "quietHours": 0}}), "bounds", "/missed/quietHours"),
        (json!({"missed": {"severity": "info", "after": 1, "quietHours": 721}}), "bounds", "/missed/quietHours"),
        (json!({"reminders": six}), "bounds", "/reminders"),
        (
            json!({"window": {"opens": "18:00", "closes": "18:00", "closesAfterDays": 367}, "every": null, "missed": null}),
            "bounds",
            "/window/closesAfterDays",
        ),
        (json!({"instrument": "phq-2"}), "instrument.unknown", "/instrument"),
        (json!({"version": "1.0.1"}), "instrument.version-unknown", "/version"),
        (json!({"sites": ["S01", "S09"]}), "site.unknown", "/sites/1"),
        (json!({"instrument": "phq-9", "sites": ["S01", "S02"]}), "schedule.site", "/sites/1"),
        (json!({"anchor": {"event": "relapse"}}), "event.unknown", "/anchor/event"),
        (json!({"id": "my-GAD-7"}), "schedule.telling", "/id"),
        (window("18:00", "18:00"), "schedule.window", "/window/closes"),
        (window("18:00", "06:00"), "schedule.window", "/window/closes"),
        (window("24:00", "24:00"), "schedule.window", "/window/opens"),
        (json!({"delayDays": -1}), "schedule.never", "/delayDays"),
        (json!({"anchor": {"weekday": "monday"}, "delayDays": -1}), "schedule.never", "/delayDays"),
        (
            json!({"anchor": {"date": "2026-11-01"}, "delayDays": 2, "every": {"days": 1, "until": "2026-11-02"}}),
            "schedule.never",
            "/every/until",
        ),
        (
            json!({"anchor": {"date": "2026-11-01"}, "every": {"days": 1, "until": "2037-10-14"}}),
            "schedule.too-long",
            "/every/until",
        ),
        (json!({"window": {"opens": "18:00", "closes": "18:01", "closesAfterDays": 1}}), "schedule.overlap", "/window"),
        (json!({"reminders": [{"minutesAfterOpening": 360}]}), "schedule.reminder", "/reminders/0"),
        (json!({"reminders": [{"minutesBeforeClosing": 361}]}), "schedule.reminder", "/reminders/0"),
        (
            json!({"reminders": [{"minutesBeforeClosing": 300}, {"minutesAfterOpening": 60}]}),
            "schedule.reminder",
            "/reminders/1",
        ),
        (json!({"every": {"days": 1, "count": 2}}), "schedule.missed", "/missed/after"),
        (json!({"every": null}), "schedule.missed", "/missed/after"),
        (
            json!({"anchor": {"date": "2026-11-01"}, "every": {"days": 1, "until": "2026-11-02"}}),
            "schedule.missed",
            "/missed/after",
        ),
    ]
}

/// A second schedule whose windows overlap with those of the first, and whether it may.
fn beside_another() -> Vec<(Value, Value, bool)> {
    let weekly =
        |anchor: Value, delay: i32| json!({"anchor": anchor, "delayDays": delay, "every": {"days": 7, "count": 10}});
    let day = |anchor: Value, delay: i32| json!({"anchor": anchor, "delayDays": delay, "every": null, "missed": null});
    let (enrolment, surgery) = (json!({"enrolment": {}}), json!({"event": "surgery"}));
    let (monday, tuesday) = (json!({"weekday": "monday"}), json!({"weekday": "tuesday"}));
    let of = |name: &str, value: Value| json!({name: value});
    vec![
        (json!({}), json!({}), false),
        (json!({}), of("instrument", json!("phq-9")), true),
        (json!({}), json!({"window": {"opens": "08:00", "closes": "18:00"}}), true),
        (json!({}), json!({"window": {"opens": "08:00", "closes": "18:01"}}), false),
        (of("sites", json!(["S01"])), of("sites", json!(["S02"])), true),
        (of("sites", json!(["S01"])), json!({}), false),
        (of("groups", json!(["men"])), of("groups", json!(["women"])), true),
        (of("groups", json!(["men", "women"])), of("groups", json!(["women"])), false),
        // One is over when the other begins.
        (json!({}), of("delayDays", json!(84)), true),
        (json!({}), of("delayDays", json!(83)), false),
        (weekly(enrolment.clone(), 0), weekly(enrolment.clone(), 3), true),
        (weekly(enrolment.clone(), 0), weekly(enrolment.clone(), 14), false),
        (weekly(enrolment.clone(), 0), day(enrolment.clone(), 62), true),
        (weekly(enrolment.clone(), 0), day(enrolment.clone(), 63), false),
        (weekly(monday.clone(), 0), weekly(tuesday, 0), true),
        (weekly(monday.clone(), 0), weekly(monday.clone(), 3), false),
        // For patients who are enrolled on a Monday.
        (weekly(monday.clone(), 0), day(enrolment.clone(), 0), false),
        // A patient is enrolled on some day of the week.
        (weekly(monday, 3), day(enrolment.clone(), 2), true),
        (day(surgery.clone(), 1), day(surgery.clone(), 1), false),
        (day(surgery.clone(), 1), day(surgery.clone(), 2), true),
        // It depends on the patient.
        (day(surgery, 1), day(enrolment.clone(), 1), true),
        (day(json!({"date": "2026-11-01"}), 1), day(enrolment.clone(), 1), true),
        (day(json!({"date": "2026-11-01"}), 1), day(json!({"date": "2026-10-31"}), 2), false),
        (day(json!({"date": "2026-11-01"}), 1), day(json!({"date": "2026-10-31"}), 1), true),
        (
            json!({"anchor": {"date": "2026-11-01"}, "every": {"days": 1, "until": "2026-11-05"}}),
            day(json!({"date": "2026-11-06"}), 0),
            true,
        ),
        (
            json!({"anchor": {"date": "2026-11-01"}, "every": {"days": 1, "until": "2026-11-06"}}),
            day(json!({"date": "2026-11-06"}), 0),
            false,
        ),
        (json!({"every": {"days": 1, "until": "2026-11-06"}}), day(enrolment, 300), false),
    ]
}

/// All broken lists of schedules.
fn broken() -> Vec<Broken> {
    let mut broken: Vec<Broken> = Vec::new();
    for (changes, code, place) in broken_alone() {
        broken.push((json!([diary(&changes)]), code, place));
    }
    broken.push((
        json!([diary(&json!({})), diary(&json!({"delayDays": 90}))]),
        "schedule.duplicate",
        "/schedules/1/id",
    ));
    let many = (0..51)
        .map(|n| diary(&json!({"id": format!("diary-{n}"), "delayDays": n * 3, "every": {"days": 1, "count": 3}})))
        .collect();
    broken.push((Value::Array(many), "bounds", "/schedules"));
    broken
}

fn study(schedules: &Value) -> Value {
    json!({
        "id": "ST", "version": "1.0.0", "title": {"en": "A study"}, "languages": ["en"],
        "sites": [
            {"id": "S01", "name": "One", "timeZone": "Europe/Berlin"},
            {"id": "S02", "name": "Two", "timeZone": "Asia/Shanghai"},
        ],
        "instruments": [
            {"id": "phq-9", "version": "1.0.0", "sites": ["S01"]}, {"id": "gad-7", "version": "1.0.0"},
        ],
        "events": ["surgery"],
        "schedules": schedules,
    })
}

fn load(study: &Value) -> Result<Protocol, Vec<DefinitionFault>> {
    Study::parse(&study.to_string())?.with_instruments(&[], |name| jiff::tz::db().get(name).is_ok())
}

fn found(faults: &[DefinitionFault]) -> Vec<(&str, &str)> {
    faults.iter().map(|fault| (fault.code, fault.pointer.as_str())).collect()
}

#[test]
fn every_fault_of_a_schedule_has_a_pointer_and_advice() {
    assert!(load(&study(&json!([diary(&json!({}))]))).is_ok());
    for (schedules, code, place) in broken() {
        let faults = load(&study(&schedules)).unwrap_err();
        let place = if place.starts_with("/schedules") { place.to_owned() } else { format!("/schedules/0{place}") };
        assert_eq!(found(&faults), [(code, place.as_str())], "{schedules}");
        assert!(!faults[0].problem.is_empty() && !faults[0].advice.is_empty());
    }
}

#[test]
fn two_schedules_never_ask_a_patient_for_one_instrument_at_the_same_time() {
    for (first, second, may) in beside_another() {
        let mut second = diary(&second);
        second["id"] = json!("another");
        let loaded = load(&study(&json!([diary(&first), second])));
        let faults = loaded.err().unwrap_or_default();
        let expected: &[_] = if may { &[] } else { &[("schedule.overlap", "/schedules/1/window")] };
        assert_eq!(found(&faults), expected, "{first} {second}");
    }
}

#[test]
fn an_event_is_listed_once() {
    let mut study = study(&json!([]));
    study["events"] = json!(["surgery", "relapse", "surgery"]);
    assert_eq!(found(&load(&study).unwrap_err()), [("event.duplicate", "/events/2")]);
    study["events"] = json!(["a surgery"]);
    assert_eq!(found(&load(&study).unwrap_err()), [("form", "/events/0")]);
    study["events"] = (0..51).map(|n| json!(format!("event-{n}"))).collect();
    assert_eq!(found(&load(&study).unwrap_err()), [("bounds", "/events")]);
}

#[test]
fn a_schedule_at_its_limits_is_accepted_and_keeps_its_settings() {
    let all = json!([
        diary(&json!({"every": {"days": 1, "count": 4000}, "delayDays": 3660, "version": "1.0.0"})),
        diary(
            &json!({"id": "before", "anchor": {"event": "surgery"}, "delayDays": -366, "every": null, "missed": null})
        ),
        diary(&json!({
            "id": "weekly", "instrument": "phq-9", "anchor": {"weekday": "sunday"}, "groups": ["men"], "sites": ["S01"],
            "every": {"days": 366, "until": "2036-11-01"},
            "window": {"opens": "00:00", "closes": "00:00", "closesAfterDays": 366},
            "missed": {"severity": "critical", "after": 30},
        })),
        diary(&json!({"id": "dated", "anchor": {"date": "2026-11-01"}, "every": {"days": 1, "until": "2037-10-13"}})),
    ]);
    let mut study = study(&all);
    study["enrolment"] = json!("required");
    let protocol = load(&study).unwrap();
    assert_eq!(serde_json::to_value(protocol.schedules()).unwrap(), all);
    assert_eq!(protocol.enrolment(), Enrolment::Required);
    assert!(protocol.has_event(&"surgery".parse().unwrap()) && !protocol.has_event(&"relapse".parse().unwrap()));
    let again = Study::parse(&serde_json::to_string(protocol.study().unwrap().definition()).unwrap()).unwrap();
    assert_eq!(again.hash(), protocol.study().unwrap().hash());
    assert_eq!(Protocol::of_no_study().enrolment(), Enrolment::ByFirstSubmission);
    assert!(Protocol::of_no_study().schedules().is_empty());
}

#[test]
fn a_schedule_is_for_patients_of_its_sites_and_groups_whose_site_uses_the_instrument() {
    let schedules = json!([
        diary(&json!({})),
        diary(&json!({"id": "weekly", "instrument": "phq-9"})),
        diary(&json!({"id": "men", "groups": ["men"], "delayDays": 100})),
        diary(&json!({"id": "second", "sites": ["S02"], "delayDays": 200})),
    ]);
    let protocol = load(&study(&schedules)).unwrap();
    let of = |site: &str, group: Option<&str>| {
        let group = group.map(|group| group.parse().unwrap());
        let site = site.parse().unwrap();
        let schedules = protocol.schedules_for(&site, group.as_ref());
        schedules.map(|schedule| schedule.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(of("S01", None), ["evening", "weekly"]);
    assert_eq!(of("S01", Some("men")), ["evening", "weekly", "men"]);
    assert_eq!(of("S02", Some("women")), ["evening", "second"]);
}

#[test]
fn the_schema_rejects_exactly_the_schedules_of_invalid_format() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut compiler = Compiler::new();
    for file in ["instruments/instrument.schema.json", "studies/study.schema.json"] {
        let schema = serde_json::from_str(&fs::read_to_string(root.join(file)).unwrap()).unwrap();
        compiler.add_resource(file.rsplit('/').next().unwrap(), schema).unwrap();
    }
    let mut schemas = Schemas::new();
    let schema = compiler.compile("study.schema.json", &mut schemas).unwrap();
    assert!(schemas.validate(&study(&json!([diary(&json!({}))])), schema).is_ok());
    for (schedules, code, _) in broken() {
        // That a month has no such day is beyond a pattern.
        let is_of_the_form = OF_THE_FORM.contains(&code) && !schedules.to_string().contains("2026-02-30");
        let refused = schemas.validate(&study(&schedules), schema).is_err();
        assert_eq!(refused, is_of_the_form, "{schedules}");
    }
}
