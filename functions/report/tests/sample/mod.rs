//! A generated site for tests and sample reports: the same data for the same arguments.

use clinical::ids::InstrumentId;
use clinical::instruments::{Answer, Answers, Catalog, Place, Severity};
use records::{AlertHandling, AlertStatus, InstrumentRef, PatientPeriod, SitePeriod, Stay, SubmissionSummary};
use rust_decimal::Decimal;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

/// The day and the earliest time of the first submission.
pub(crate) const START: OffsetDateTime = datetime!(2026-10-25 07:30 UTC);

/// Patients who answer all of `instruments` on each of `days` days, except for some days that they miss.
pub(crate) fn site(patients: usize, days: usize, instruments: &[&str]) -> SitePeriod {
    let mut random = Random(7);
    let patients = (0..patients).map(|n| patient(&format!("P-{:04}", n + 1), days, instruments, &mut random)).collect();
    SitePeriod { patients, unreadable: 0 }
}

/// One such patient, with the id `id`.
pub(crate) fn patient(id: &str, days: usize, instruments: &[&str], random: &mut Random) -> PatientPeriod {
    let (mut submissions, mut alerts) = (Vec::new(), Vec::new());
    let mut level = random.below(60);
    for day in 0..days {
        level = (level + random.below(31)).saturating_sub(15).min(100);
        if random.below(10) == 0 {
            continue;
        }
        for (index, instrument) in instruments.iter().enumerate() {
            let authored_at =
                START + Duration::days(day as i64) + Duration::minutes((random.below(300) + index) as i64);
            let submission = submission(instrument, authored_at, level, random);
            if level > 80 && index == 0 {
                alerts.push(alert(&submission, alerts.len(), random));
            }
            submissions.push(submission);
        }
    }
    submissions.sort_by_key(|submission| submission.place);
    alerts.sort_by_key(|alert| (alert.raised_at, alert.id));
    let first_submission = submissions.first().map(|submission| submission.place.at);
    PatientPeriod {
        patient: id.parse().unwrap(),
        first_submission,
        stay: Stay::default(),
        submissions,
        alerts,
        compliance: [].into(),
    }
}

/// A submission scored by the shipped definition. Each answer is at about `level` percent of its range.
pub(crate) fn submission(
    instrument: &str,
    authored_at: OffsetDateTime,
    level: usize,
    random: &mut Random,
) -> SubmissionSummary {
    let id: InstrumentId = instrument.parse().unwrap();
    let instrument = Catalog::shipped().latest(&id).unwrap();
    let definition = instrument.definition();
    let mut answers = Answers::new();
    for item in &definition.items {
        let choices: Vec<Decimal> = match item.codes.as_ref().and_then(|name| definition.code_lists.get(name)) {
            Some(codes) => codes.iter().map(|code| code.code.into()).collect(),
            None => (0..=10).map(Decimal::from).collect(),
        };
        let target = (level + random.below(40)).saturating_sub(20).min(100);
        answers.insert(item.id.clone(), Answer::Number(choices[target * (choices.len() - 1) / 100]));
    }
    let outcome = instrument.assess(&answers).unwrap();
    let submission = random.id().parse().unwrap();
    SubmissionSummary {
        id: submission,
        instrument: InstrumentRef { id, version: instrument.version().clone(), hash: instrument.hash().to_owned() },
        place: Place { at: authored_at, id: submission },
        clock_corrected: false,
        amends: None,
        amended_by: None,
        scores: Some(outcome.scores),
    }
}

fn alert(submission: &SubmissionSummary, index: usize, random: &mut Random) -> AlertHandling {
    let raised_at = submission.place.at + Duration::seconds(2);
    let status = [AlertStatus::Sent, AlertStatus::Acknowledged, AlertStatus::Pending, AlertStatus::Quiet][index % 4];
    let acknowledged = (raised_at + Duration::minutes(47), "5f0c1f9e-6a53-4b8b-9a39-0c86bb6b1f33".to_owned());
    AlertHandling {
        id: random.id().parse().unwrap(),
        submission: Some(submission.id),
        instrument: None,
        rule: ["safety", "threshold"][index % 2].parse().unwrap(),
        severity: [Severity::Critical, Severity::Warning, Severity::Info][index % 3],
        raised_at,
        status,
        sent_at: matches!(status, AlertStatus::Sent | AlertStatus::Acknowledged)
            .then(|| raised_at + Duration::seconds(1)),
        escalation: if index.is_multiple_of(8) { 2 } else { 0 },
        acknowledged: (status == AlertStatus::Acknowledged).then_some(acknowledged),
    }
}

/// A pseudo-random sequence that is the same each time (xorshift).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number from 0 to `limit` - 1.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn id(&mut self) -> String {
        let (high, low) = (self.next(), self.next());
        format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xfff,
            low >> 52,
            low & 0xffff_ffff_ffff
        )
    }
}
