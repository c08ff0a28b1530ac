//! A pass over a whole store, step by step.

use std::collections::BTreeMap;
use std::time::Duration;

use clinical::ids::{SiteId, StudyId};
use futures::{StreamExt, TryStreamExt, stream};
use invocation::aws::Failure;
use invocation::{Backoff, Deadline};
use records::{
    AllCounts, DocumentName, PatientRecords, Store, StoredDocument, UnreadableItem, VerificationState, WalkPosition,
    Walked,
};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::counts::Brackets;
use crate::definitions::Definitions;
use crate::difference::{Difference, Kind};
use crate::patient::{Compared, compare};
use crate::{AT_ONCE, FIRST_WAIT, LONGEST_WAIT, Settings, audit, rows};

/// How often a patient whose records differ is read again. A read may meet a transaction half-way, but not each time the
/// same one.
const READS_AGAIN: usize = 2;
/// The number of sites whose counters are compared in one step.
const SITES_AT_ONCE: usize = 50;

/// A pass over all of a store: begun, done step by step, and resumed from its stored state. A step that fails or is
/// dropped leaves it as it was, and may be repeated.
#[derive(Debug)]
pub struct Pass {
    settings: Settings,
    state: State,
    definitions: Definitions,
}

/// The state of a pass.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct State {
    /// The number of the pass, from 0.
    number: u64,
    /// When it began, in seconds since 1970.
    #[serde(default)]
    began_at: i64,
    phase: Phase,
    brackets: Brackets,
    tally: Tally,
    /// The differences that were known when the last pass was done.
    #[serde(default)]
    differences_before: u64,
    /// The differences of the counters of each part when it was last compared.
    #[serde(default)]
    of_parts: BTreeMap<u64, u64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Phase {
    /// The counters are to be read.
    Begin,
    /// The records are walked over, after this position.
    Records(Option<(String, String)>),
    /// The counters of the sites after this one are to be compared.
    Counts(Option<String>),
    Done,
}

/// The numbers of what was compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Tally {
    /// Scored submissions that the counters had before the pass, by which progress can be estimated.
    pub submissions_before: u64,
    /// Patients.
    pub patients: u64,
    /// Submissions, scored or not.
    pub submissions: u64,
    /// Alerts.
    pub alerts: u64,
    /// Sites whose counters were compared.
    pub sites: u64,
    /// Submissions, alerts and courses that wait for something.
    pub waiting: u64,
    /// Submissions and alerts in quarantine, which has an alarm of its own.
    pub quarantined: u64,
    /// Differences.
    pub differences: u64,
    /// Differences, by the name of their kind.
    pub by_kind: BTreeMap<String, u64>,
}

/// The result of comparing one part of a page.
#[derive(Default)]
struct Part {
    differences: Vec<Difference>,
    patient: Option<(PatientRecords, Compared)>,
}

impl Pass {
    /// A pass that has not read anything.
    pub fn begin(settings: Settings) -> Self {
        Self::numbered(settings, 0, 0)
    }

    fn numbered(settings: Settings, number: u64, differences_before: u64) -> Self {
        let state = State {
            number,
            began_at: 0,
            phase: Phase::Begin,
            brackets: Brackets::default(),
            tally: Tally::default(),
            differences_before,
            of_parts: BTreeMap::new(),
        };
        Self { settings, state, definitions: Definitions::default() }
    }

    /// The pass whose stored state is `stored`, or a new one where there is none. One whose state another version of the
    /// code wrote otherwise begins again, with the differences that were known.
    pub fn resume(settings: Settings, stored: &VerificationState) -> Self {
        match serde_json::from_str(&stored.content) {
            Ok(state) => Self { settings, state, definitions: Definitions::default() },
            Err(_) if stored.revision == 0 => Self::begin(settings),
            Err(error) => {
                // Its text may quote the state, which names a patient.
                let (line, column) = (error.line(), error.column());
                tracing::error!(event = "verification_state_unreadable", revision = stored.revision, line, column);
                Self::numbered(settings, 0, stored.differences)
            }
        }
    }

    /// The state, to be stored. It has the position in the table, which names a patient.
    pub fn content(&self) -> String {
        serde_json::to_string(&self.state).expect("a state is names and numbers")
    }

    /// The pass that follows this one, which is done.
    #[must_use]
    pub fn next(self) -> Self {
        let differences = self.differences();
        let mut next = Self::numbered(self.settings, self.state.number + 1, differences);
        next.state.of_parts = self.state.of_parts;
        next
    }

    /// Whether all was compared.
    pub fn is_done(&self) -> bool {
        matches!(self.state.phase, Phase::Done)
    }

    /// The number of the pass, from 0.
    pub fn number(&self) -> u64 {
        self.state.number
    }

    /// How long ago it began, at `now`; zero if it did not.
    pub fn age(&self, now: OffsetDateTime) -> time::Duration {
        match self.state.phase {
            Phase::Begin => time::Duration::ZERO,
            _ => time::Duration::seconds(now.unix_timestamp().saturating_sub(self.state.began_at)),
        }
    }

    /// The numbers of what was compared so far.
    pub fn tally(&self) -> &Tally {
        &self.state.tally
    }

    /// The differences that are known: of this pass if it is done, else of this pass so far or, where those are more, of
    /// the last one that was done. Those of counters that another pass compares stay until it does. What only waits too
    /// long is not among them: it has an alarm of its own.
    pub fn differences(&self) -> u64 {
        let of_others: u64 =
            self.state.of_parts.iter().filter(|(part, _)| **part != self.state.brackets.part()).map(|one| one.1).sum();
        let of_pass = self.state.tally.altered() + of_others;
        if self.is_done() { of_pass } else { of_pass.max(self.state.differences_before) }
    }

    /// Compares the next part of the store at `now`, and returns what differs.
    ///
    /// # Errors
    /// If the store did not return it in time. The pass stays as it was.
    pub async fn step(
        &mut self,
        store: &Store,
        now: OffsetDateTime,
        deadline: Deadline,
    ) -> Result<Vec<Difference>, Failure> {
        let mut state = self.state.clone();
        let differences = match &self.state.phase {
            Phase::Begin => {
                let AllCounts { sites, unreadable } = store.all_counts(deadline).await?;
                // It may have met a transaction half-way, whose score the walk must not miss.
                if !Backoff::new(LONGEST_WAIT, LONGEST_WAIT).wait(deadline, Duration::ZERO).await {
                    return Err(no_time());
                }
                state.brackets = Brackets::begin(sites, state.number, self.settings.most_bytes);
                state.of_parts.retain(|part, _| *part < state.brackets.parts());
                state.tally.submissions_before = state.brackets.submissions_before();
                state.began_at = now.unix_timestamp();
                state.phase = Phase::Records(None);
                let difference = |(of, item): (Option<(StudyId, SiteId)>, UnreadableItem)| {
                    let (study, site) = of.unzip();
                    let detail = item.to_string();
                    Difference { kind: Kind::Unreadable, study, site, submission: None, alert: None, detail }
                };
                unreadable.into_iter().map(difference).collect()
            }
            Phase::Records(position) => {
                let after = position.as_ref().map(|(pk, sk)| WalkPosition { pk: pk.clone(), sk: sk.clone() });
                let page = store.walk(after.as_ref(), self.settings.page, deadline).await?;
                state.phase = match page.next {
                    Some(WalkPosition { pk, sk }) => Phase::Records(Some((pk, sk))),
                    None => Phase::Counts(None),
                };
                let parts = page.found.into_iter().map(|found| self.part(found, store, now, deadline));
                // Collected first: otherwise the compiler asks for more of the closure's lifetimes than hold.
                let parts: Vec<_> = parts.collect();
                let parts: Vec<Part> = stream::iter(parts).buffered(AT_ONCE).try_collect().await?;
                let mut differences = Vec::new();
                for part in parts {
                    differences.extend(part.differences);
                    if let Some((records, compared)) = part.patient {
                        state.add(&records, &compared);
                        differences.extend(compared.differences);
                    }
                }
                differences
            }
            Phase::Counts(after) => {
                let (sites, next) = state.brackets.sites_after(after.as_deref(), SITES_AT_ONCE);
                let compare = async || {
                    let counts = store.counts_of(&sites, deadline).await?;
                    // One that cannot be read was reported when the counters were read before, or is in the next pass.
                    let pairs = sites.iter().zip(&counts).filter_map(|(site, counts)| Some((site, counts.as_ref()?)));
                    let brackets = &state.brackets;
                    Ok(pairs.flat_map(|((study, site), counts)| brackets.compare(study, site, counts)).collect())
                };
                let differences = repeated(compare, deadline).await?;
                let known = if after.is_none() {
                    0
                } else {
                    state.of_parts.get(&state.brackets.part()).copied().unwrap_or_default()
                };
                state.of_parts.insert(state.brackets.part(), known + differences.len() as u64);
                state.phase = match next {
                    Some(next) => Phase::Counts(Some(next)),
                    None => {
                        state.tally.sites = state.brackets.number();
                        state.brackets.forget();
                        Phase::Done
                    }
                };
                differences
            }
            Phase::Done => Vec::new(),
        };
        for difference in &differences {
            state.tally.differences += 1;
            *state.tally.by_kind.entry(difference.kind.name().to_owned()).or_default() += 1;
        }
        self.state = state;
        Ok(differences)
    }

    /// Compares `found`, and again where it differs.
    async fn part(
        &self,
        found: Walked,
        store: &Store,
        now: OffsetDateTime,
        deadline: Deadline,
    ) -> Result<Part, Failure> {
        let found = match found {
            Walked::Patient(records) => {
                let (records, compared) = self.patient(*records, store, now, deadline).await?;
                return Ok(Part { differences: Vec::new(), patient: Some((records, compared)) });
            }
            found => found,
        };
        let compare = async || {
            Ok(match &found {
                Walked::Alert(row) => rows::not_named(row, store, deadline).await?.into_iter().collect(),
                Walked::Audit(entry) => audit::without_change(entry, store, deadline).await?.into_iter().collect(),
                Walked::Document(document) => document_differs(document, store, deadline).await?,
                Walked::Unreadable(item) => {
                    let (kind, detail) = (Kind::Unreadable, item.to_string());
                    let submission = item.submission;
                    vec![Difference { kind, study: None, site: None, submission, alert: None, detail }]
                }
                Walked::Patient(_) => Vec::new(),
            })
        };
        Ok(Part { differences: repeated(compare, deadline).await?, patient: None })
    }

    /// Compares a patient, and reads the records again where they differ: what does not differ each time was being
    /// written.
    async fn patient(
        &self,
        mut records: PatientRecords,
        store: &Store,
        now: OffsetDateTime,
        deadline: Deadline,
    ) -> Result<(PatientRecords, Compared), Failure> {
        let mut compared = self.compare(&records, store, now, deadline).await?;
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        for _ in 0..READS_AGAIN {
            if compared.differences.is_empty() {
                break;
            }
            if !backoff.wait(deadline, FIRST_WAIT).await {
                return Err(no_time());
            }
            self.definitions.forget();
            records = store.patient_records(&records.study, &records.patient, deadline).await?;
            let again = self.compare(&records, store, now, deadline).await?;
            let differ_again = |one: &Difference| again.differences.contains(one);
            let differences = compared.differences.into_iter().filter(differ_again).collect();
            compared = Compared { differences, ..again };
        }
        Ok((records, compared))
    }

    async fn compare(
        &self,
        records: &PatientRecords,
        store: &Store,
        now: OffsetDateTime,
        deadline: Deadline,
    ) -> Result<Compared, Failure> {
        let defined = self.definitions.of(records, store, deadline).await?;
        let limits = self.definitions.limits(&records.study, store, deadline).await?;
        let mut compared = compare(records, &defined, &limits, &self.settings, now);
        compared.differences.extend(audit::of_patient(records, store, deadline).await?);
        Ok(compared)
    }
}

impl Tally {
    /// The differences but for those of the kind [`Kind::WaitsTooLong`].
    pub fn altered(&self) -> u64 {
        let waits = self.by_kind.get(Kind::WaitsTooLong.name()).copied().unwrap_or_default();
        self.differences.saturating_sub(waits)
    }
}

impl State {
    fn add(&mut self, records: &PatientRecords, compared: &Compared) {
        for scored in &compared.scored {
            self.brackets.add_submission(&records.study, scored);
        }
        for site in &compared.alerts {
            self.brackets.add_alert(&records.study, site);
        }
        self.tally.patients += 1;
        self.tally.submissions += compared.submissions;
        self.tally.alerts += compared.alerts.len() as u64;
        self.tally.waiting += compared.waiting;
        self.tally.quarantined += compared.quarantined;
    }
}

/// Compares a stored study or instrument with the audit trail, and a study in force with its versions.
async fn document_differs(
    document: &StoredDocument,
    store: &Store,
    deadline: Deadline,
) -> Result<Vec<Difference>, Failure> {
    let DocumentName::InForce(study, version) = &document.name else {
        return Ok(audit::of_document(document, store, deadline).await?.into_iter().collect());
    };
    // The copy is read again after the walk found it: another version may be in force by now.
    let in_force = store.document(&document.name, deadline).await?;
    let versions = store.study_versions(study, deadline).await?;
    let latest = versions.iter().max_by(|one, other| one.version().cmp(other.version()));
    let is_latest = in_force.zip(latest).is_some_and(|(in_force, latest)| latest.hash() == in_force.hash);
    let difference = || Difference::new(Kind::InForceDiffers, study).about(version);
    Ok((!is_latest).then(difference).into_iter().collect())
}

/// The differences that `compare` returns each time: what does not differ each time was being written.
async fn repeated(
    compare: impl AsyncFn() -> Result<Vec<Difference>, Failure>,
    deadline: Deadline,
) -> Result<Vec<Difference>, Failure> {
    let mut differences = compare().await?;
    let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    for _ in 0..READS_AGAIN {
        if differences.is_empty() {
            break;
        }
        if !backoff.wait(deadline, FIRST_WAIT).await {
            return Err(no_time());
        }
        let again = compare().await?;
        differences.retain(|difference| again.contains(difference));
    }
    Ok(differences)
}

/// What differs once is not reported without another look, for which the time is missing.
fn no_time() -> Failure {
    Failure::transient("the comparison of the records", "the time was too short to repeat it")
}
