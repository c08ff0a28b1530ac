//! What the patients submit, and what the reference makes of it.

use std::collections::BTreeSet;

use clinical::ids::{PatientId, SiteId, SubmissionId};
use clinical::instruments::{Basis, Instrument, Place, ReplayEntry, replay};
use clinical::studies::Protocol;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::faults::Dice;

/// The instruments of ten patients.
const MIX: [(&str, &str); 10] = [
    ("phq-9", "1.0.0"),
    ("phq-9", "1.0.0"),
    ("phq-9", "1.0.0"),
    ("phq-9", "1.0.0"),
    ("gad-7", "1.0.0"),
    ("gad-7", "1.0.0"),
    ("pain-nrs", "1.0.0"),
    ("pain-nrs", "1.0.0"),
    ("pain-nrs", "1.0.0"),
    ("audit-c", "1.1.0"),
];

/// The first submission of one patient.
#[derive(Debug)]
pub(super) struct Diary {
    pub(super) id: SubmissionId,
    pub(super) site: SiteId,
    pub(super) patient: PatientId,
    pub(super) instrument: String,
    /// The body as it is sent, every time.
    pub(super) body: Value,
    pub(super) expected: Expected,
}

/// What the reference, the pure replay of the submission, says of it.
#[derive(Debug)]
pub(super) struct Expected {
    /// The hash of the definition that it names.
    pub(super) hash: String,
    /// In the shape of the API.
    pub(super) scores: Value,
    /// In the shape of the API.
    pub(super) not_scored: Value,
    /// The rules that fire, with their severities.
    pub(super) alerts: BTreeSet<(String, String)>,
}

/// A submission of each of `patients` new patients; `None` if the study has no site or none of the instruments. The
/// answers depend on the patient's number only.
pub(super) fn diaries(protocol: &Protocol, sites: &[SiteId], patients: usize) -> Option<Vec<Diary>> {
    let instruments: Vec<_> = MIX
        .iter()
        .filter_map(|(id, version)| {
            let instrument = protocol.instrument_for(&id.parse().ok()?, &version.parse().ok()?, None);
            instrument.ok()
        })
        .collect();
    if instruments.is_empty() || sites.is_empty() {
        return None;
    }
    let mut run = uuid::Uuid::new_v4().simple().to_string();
    run.truncate(8);
    let now = OffsetDateTime::now_utc().replace_nanosecond(0).unwrap_or_else(|_| OffsetDateTime::now_utc());
    (0..patients)
        .map(|number| {
            let instrument = instruments[number % instruments.len()];
            // Each instrument's patients are of all sites.
            let site = &sites[number / instruments.len() % sites.len()];
            let patient = format!("SURGE-{run}-{number:06}").parse().ok()?;
            diary(instrument, site.clone(), patient, number, now)
        })
        .collect()
}

fn diary(
    instrument: &Instrument,
    site: SiteId,
    patient: PatientId,
    number: usize,
    now: OffsetDateTime,
) -> Option<Diary> {
    let id = SubmissionId::from(uuid::Uuid::now_v7());
    let answers = answers(instrument.id().as_str(), &mut Dice::new(number as u64));
    let checked = instrument.check(&answers).ok()?;
    let entry = ReplayEntry {
        id,
        place: Place { at: now, id },
        amends: None,
        in_study: true,
        basis: Basis::Answers { instrument, answers: &checked },
    };
    let outcome = replay(&[entry]).outcomes.remove(&id)?;
    let body = json!({
        "id": id,
        "instrument": instrument.id(),
        "version": instrument.version(),
        "authoredAt": now.format(&Rfc3339).ok()?,
        "answers": answers,
    });
    let expected = Expected {
        hash: instrument.hash().to_owned(),
        scores: serde_json::to_value(&outcome.scores).ok()?,
        not_scored: serde_json::to_value(&outcome.not_scored).ok()?,
        alerts: outcome.alerts.iter().map(|fired| (fired.rule.to_string(), fired.severity.to_string())).collect(),
    };
    Some(Diary { id, site, patient, instrument: instrument.id().to_string(), body, expected })
}

/// Answers as patients give them: mostly mild, about one in six with an alert.
fn answers(instrument: &str, dice: &mut Dice) -> Map<String, Value> {
    let severe = dice.below(8) == 0;
    let code = |dice: &mut Dice, most: u64| if severe { most } else { dice.below(2) };
    let mut answers: Vec<(u32, u64)> = match instrument {
        "phq-9" => (1..=8).map(|item| (item, code(dice, 3))).collect(),
        "gad-7" => (1..=7).map(|item| (item, code(dice, 3))).collect(),
        "audit-c" => (1..=3).map(|item| (item, if severe { 4 } else { u64::from(item == 1) })).collect(),
        _ => vec![(1, if severe { 7 + dice.below(4) } else { dice.below(7) })],
    };
    if instrument == "phq-9" {
        answers.push((9, if dice.below(8) == 0 { 1 + dice.below(3) } else { 0 }));
        answers.push((10, dice.below(4)));
    }
    answers.into_iter().map(|(item, answer)| (item.to_string(), answer.into())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patients_differ_their_answers_fit_and_some_alert_at_every_site_by_every_instrument() {
        let sites: Vec<SiteId> = ["S01", "S02"].map(|site| site.parse().expect("well formed")).into();
        let protocol = Protocol::of_no_study();
        let diaries = diaries(&protocol, &sites, 2_000).expect("the instruments ship");
        assert_eq!(diaries.iter().map(|diary| &diary.patient).collect::<BTreeSet<_>>().len(), 2_000);
        assert_eq!(diaries.iter().map(|diary| diary.id).collect::<BTreeSet<_>>().len(), 2_000);
        for site in &sites {
            for (instrument, _) in MIX {
                let own: Vec<_> = diaries.iter().filter(|d| d.site == *site && d.instrument == instrument).collect();
                // The audit-c has its rules from the study.
                let alerts = own.iter().filter(|diary| !diary.expected.alerts.is_empty()).count();
                let some = if instrument == "audit-c" { 0..1 } else { own.len() / 20..own.len() / 3 };
                assert!(own.len() >= 100 && some.contains(&alerts), "{instrument}: {alerts} of {}", own.len());
            }
        }
        assert!(diaries.iter().all(|diary| diary.expected.not_scored == json!([])));
    }
}
