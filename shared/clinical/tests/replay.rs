//! The replay of a patient's submissions.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it cannot read")]

use clinical::ids::SubmissionId;
use clinical::instruments::{Answers, Basis, Instrument, Place, Replay, ReplayEntry, replay};
use proptest::prelude::*;
use serde_json::json;
use time::Duration;
use time::macros::datetime;
use uuid::Uuid;

/// A pain scale with alerts for three high values in a row and for an increase by 30 since the baseline.
fn pain(version: &str, comparable_to: Option<&str>) -> Instrument {
    let mut definition = json!({
        "id": "pain", "version": version, "title": {"en": "Pain"},
        "licence": {"terms": "Public domain", "texts": "included"}, "sources": ["A paper"],
        "items": [{"id": "1", "type": "integer", "min": 0, "max": 100, "text": {"en": "Pain?"}}],
        "scores": [{"id": "total", "value": "1", "range": [0, 100]}],
        "rules": [
            {"id": "lasting", "severity": "warning", "when": {"consecutive": {"of": "total", "atLeast": 80, "times": 3, "last": 3}}},
            {"id": "worse", "severity": "warning", "when": {"change": {"of": "total", "against": "baseline", "worse": "higher", "by": 30}}},
            {"id": "jump", "severity": "warning", "when": {"change": {"of": "total", "against": "previous", "worse": "higher", "by": 50}}},
        ],
    });
    if let Some(version) = comparable_to {
        definition["comparableTo"] = json!(version);
    }
    Instrument::parse(&definition.to_string()).unwrap()
}

struct Sent {
    n: u128,
    day: i64,
    pain: Option<i64>,
    amends: Option<u128>,
    /// For a correction, its position: the day and number of the root of its chain.
    root: Option<(i64, u128)>,
}

fn sent(n: u128, day: i64, pain: i64) -> Sent {
    Sent { n, day, pain: Some(pain), amends: None, root: None }
}

fn id(n: u128) -> SubmissionId {
    Uuid::from_u128(n).into()
}

fn answers(instrument: &Instrument, pain: Option<i64>) -> Answers {
    instrument.check(json!({"1": pain}).as_object().unwrap()).unwrap()
}

fn run(instrument: &Instrument, sent: &[Sent]) -> Replay {
    let answers: Vec<Answers> = sent.iter().map(|sent| answers(instrument, sent.pain)).collect();
    let entries: Vec<ReplayEntry<'_>> = sent
        .iter()
        .zip(&answers)
        .map(|(sent, answers)| {
            let (day, n) = sent.root.unwrap_or((sent.day, sent.n));
            ReplayEntry {
                id: id(sent.n),
                place: Place { at: datetime!(2026-11-01 08:00 UTC) + Duration::days(day), id: id(n) },
                amends: sent.amends.map(id),
                in_study: day >= 0,
                basis: Basis::Answers { instrument, answers },
            }
        })
        .collect();
    replay(&entries)
}

fn fired(replay: &Replay, n: u128) -> Vec<&str> {
    let alerts = replay.outcomes.get(&id(n)).map_or([].as_slice(), |outcome| &outcome.alerts);
    alerts.iter().map(|fired| fired.rule.as_str()).collect()
}

#[test]
fn the_order_of_arrival_does_not_matter() {
    let instrument = pain("1.0.0", None);
    let history = || [sent(1, 1, 80), sent(2, 2, 85), sent(3, 3, 90)];
    let expected = run(&instrument, &history());
    assert_eq!(fired(&expected, 3), ["lasting"]);
    for order in [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut history: Vec<_> = history().into_iter().map(Some).collect();
        let shuffled: Vec<Sent> = order.iter().map(|place| history[*place].take().unwrap()).collect();
        assert_eq!(run(&instrument, &shuffled), expected, "{order:?}");
    }
}

#[test]
fn a_correction_has_the_position_of_the_corrected_submission() {
    let instrument = pain("1.0.0", None);
    let mistyped = [sent(1, 1, 80), sent(2, 2, 8), sent(3, 3, 80)];
    assert_eq!(fired(&run(&instrument, &mistyped), 3), ["jump"]);
    let [one, two, three] = mistyped;
    let correction = Sent { n: 4, day: 9, pain: Some(80), amends: Some(2), root: Some((2, 2)) };
    let replay = run(&instrument, &[one, two, three, correction]);
    assert_eq!(fired(&replay, 3), ["lasting"]);
    assert_eq!(replay.corrected.iter().collect::<Vec<_>>(), [&id(2)]);
    let course = replay.courses.values().next().unwrap();
    assert_eq!(course.last.iter().map(|point| point.submission).collect::<Vec<_>>(), [id(3), id(4), id(1)]);
}

#[test]
fn a_corrected_baseline_is_the_baseline() {
    let instrument = pain("1.0.0", None);
    let corrected = Sent { n: 3, day: 1, pain: Some(20), amends: Some(1), root: Some((1, 1)) };
    let again = Sent { n: 4, day: 5, pain: Some(40), amends: Some(3), root: Some((1, 1)) };
    assert_eq!(fired(&run(&instrument, &[sent(1, 1, 80), sent(2, 2, 60), corrected]), 2), ["worse"]);
    let corrected = Sent { n: 3, day: 1, pain: Some(20), amends: Some(1), root: Some((1, 1)) };
    let replay = run(&instrument, &[sent(1, 1, 80), sent(2, 2, 60), corrected, again]);
    assert_eq!(fired(&replay, 2), Vec::<&str>::new(), "the last link of a chain counts");
    assert_eq!(replay.corrected.len(), 2);
}

#[test]
fn submissions_before_the_start_date_are_evaluated_and_are_no_baseline() {
    let instrument = pain("1.0.0", None);
    let replay = run(&instrument, &[sent(1, -9, 0), sent(2, 1, 70), sent(3, 2, 75)]);
    assert_eq!((fired(&replay, 2), fired(&replay, 3)), (vec!["jump"], vec![]));
    assert_eq!(replay.courses.values().next().unwrap().baseline.as_ref().unwrap().submission, id(2));
}

#[test]
fn versions_share_a_course_only_if_the_definition_declares_them_comparable() {
    let (first, other, continued) = (pain("1.0.0", None), pain("2.0.0", None), pain("2.0.0", Some("1.0.0")));
    let at = |n: u128| Place { at: datetime!(2026-11-01 08:00 UTC) + Duration::days(n as i64), id: id(n) };
    for (second, expected) in [(&other, vec![]), (&continued, vec!["worse", "jump"])] {
        let (one, two) = (answers(&first, Some(10)), answers(second, Some(70)));
        let entry = |n, instrument, answers| ReplayEntry {
            id: id(n),
            place: at(n),
            amends: None,
            in_study: true,
            basis: Basis::Answers { instrument, answers },
        };
        assert_eq!(fired(&replay(&[entry(1, &first, &one), entry(2, second, &two)]), 2), expected);
    }
}

#[test]
fn recorded_scores_are_not_evaluated_and_stay_in_the_course() {
    let instrument = pain("1.0.0", None);
    let answers = answers(&instrument, Some(60));
    let place = |n: u128| Place { at: datetime!(2026-11-01 08:00 UTC) + Duration::days(n as i64), id: id(n) };
    let entry = |n, basis| ReplayEntry { id: id(n), place: place(n), amends: None, in_study: true, basis };
    let scores = [("total".parse().unwrap(), 10.into())].into();
    let lost = entry(1, Basis::Recorded { course: instrument.course(), version: "1.0.0".parse().unwrap(), scores });
    let replay = replay(&[lost, entry(2, Basis::Answers { instrument: &instrument, answers: &answers })]);
    assert_eq!(fired(&replay, 2), ["worse", "jump"]);
    assert!(replay.not_evaluated.contains(&id(1)) && !replay.outcomes.contains_key(&id(1)));
}

proptest! {
    #[test]
    fn a_course_that_grows_in_order_gives_the_outcomes_of_a_replay(
        pains in prop::collection::vec(prop::option::weighted(0.9, 0..=100_i64), 1..12)
    ) {
        let instrument = pain("1.0.0", None);
        let history: Vec<Sent> = pains
            .iter()
            .enumerate()
            .map(|(day, pain)| Sent { n: day as u128 + 1, day: day as i64, pain: *pain, amends: None, root: None })
            .collect();
        let expected = run(&instrument, &history);
        let mut course = clinical::instruments::Course::default();
        for sent in &history {
            let outcome = instrument.assess_with(&answers(&instrument, sent.pain), &course.history()).unwrap();
            prop_assert_eq!(Some(&outcome), expected.outcomes.get(&id(sent.n)));
            let place = Place { at: datetime!(2026-11-01 08:00 UTC) + Duration::days(sent.day), id: id(sent.n) };
            if !outcome.scores.is_empty() {
                prop_assert!(course.is_newest(place) && course.reaches_back(instrument.looks_back()));
                let point = clinical::instruments::Point {
                    submission: id(sent.n), place, version: instrument.version().clone(), in_study: true, scores: outcome.scores_by_id(),
                };
                course.push(point, instrument.looks_back());
            }
        }
        let of_reference = expected.courses.get(&instrument.course()).cloned().unwrap_or_default();
        prop_assert_eq!(&course.baseline, &of_reference.baseline);
        prop_assert_eq!(course.count, of_reference.count);
        prop_assert_eq!(&course.last[..], &of_reference.last[..course.last.len()]);
    }
}
