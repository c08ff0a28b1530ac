//! The promises, as they are seen from outside: what was accepted is stored and scored as the reference says, alerts
//! have arrived, counts are exact, and a repeat changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use authoring::progress::ProgressBar;
use clinical::ids::{SiteId, StudyId};
use futures::{StreamExt, TryStreamExt, stream};
use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::diary::Diary;
use super::phones::{Accepted, NotAccepted, Sent};
use crate::client::{Alert, Api, ApiError};

/// Requests of the checks that are sent at the same time.
const AT_ONCE: usize = 16;

/// The pause after a look that saw nothing new, doubled up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How often the counts of API calls are looked at.
const CALL_LOOKS: usize = 20;

/// One in so many accepted submissions is sent with other answers too.
const OTHER_BODY: usize = 25;

/// The checks of one surge, with the state before it.
pub(super) struct Checks<'a> {
    api: &'a Api,
    sites: Vec<Site<'a>>,
    patience: Duration,
    quiet: bool,
    failures: usize,
    timed_out: u64,
}

/// What happened during the surge.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct During {
    /// Whether faults were injected: then submissions may be left that were accepted in none of their tries.
    pub(super) faults: bool,
    /// The invocations that were stopped at their timeout in local clouds that were killed.
    pub(super) timed_out: u64,
}

struct Site<'a> {
    id: &'a SiteId,
    staff: String,
    before: Counts,
}

/// The counts of a site.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Counts {
    api_calls: u64,
    submissions: u64,
    alerts: u64,
    #[serde(default)]
    by_instrument: BTreeMap<String, u64>,
}

/// What the checks found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// What breaks a promise, with the promise's number.
    pub(super) broken: Vec<(u8, String)>,
    /// What is stored otherwise than follows from the submissions.
    pub(super) different: Vec<String>,
    /// Submissions that were recomputed, of all patients.
    pub(super) recomputed: u64,
    /// Submissions that are stored.
    pub(super) stored: usize,
    /// Submissions that are stored and scored.
    pub(super) scored: usize,
    /// From the last answer until all that was accepted was scored.
    pub(super) scored_after: Option<Duration>,
    /// Alerts that the scores name.
    pub(super) alerts: usize,
    /// Messages in the inbox, with repeats.
    pub(super) messages: usize,
    /// Submissions that were repeated, and those that were sent with other answers.
    pub(super) repeated: usize,
    pub(super) changed: usize,
    /// Requests to the API that were answered, and those that the sites count.
    pub(super) calls_answered: u64,
    pub(super) calls_counted: u64,
    /// Batches that the stream gave up and left to the sweep.
    pub(super) given_up: usize,
}

/// A submission as site staff see it.
struct Seen<'a> {
    diary: &'a Diary,
    accepted: bool,
    /// The API's `score`; `None` if the submission is not stored.
    score: Option<Value>,
}

impl<'a> Checks<'a> {
    /// Reads the state before the surge.
    pub(super) async fn begin(
        api: &'a Api,
        study: &StudyId,
        sites: &'a [SiteId],
        patience: Duration,
        quiet: bool,
    ) -> Result<Self, ApiError> {
        let mut read = Vec::new();
        for id in sites {
            let staff = api.staff_token(study, id).await?;
            let before = counts(api, &staff, id).await?;
            read.push(Site { id, staff, before });
        }
        let (failures, timed_out) = (failures(api).await?, timed_out(api).await?);
        Ok(Self { api, sites: read, patience, quiet, failures, timed_out })
    }

    /// Waits until everything is scored and published, and checks it.
    pub(super) async fn run(
        self,
        diaries: &[Diary],
        tokens: &[String],
        sent: &Sent,
        during: During,
    ) -> Result<Findings, ApiError> {
        let mut findings = Findings::default();
        let mut unsettled = 0;
        for result in &sent.results {
            match result {
                Ok(_) => {}
                Err(NotAccepted::Refused(status)) => {
                    let what = if *status == StatusCode::CONFLICT { 5 } else { 1 };
                    findings.broken.push((what, format!("a valid submission with a new id was refused with {status}")));
                }
                Err(NotAccepted::Unsettled) => unsettled += 1,
            }
        }
        // Otherwise the checks of what was accepted pass, because there is nothing to check.
        if unsettled > 0 && (!during.faults || unsettled == diaries.len()) {
            let why = format!("{unsettled} of {} submissions were accepted in none of their tries", diaries.len());
            findings.broken.push((7, why));
        }
        self.wait_until_scored(sent, &mut findings).await?;
        let seen = self.read_scores(diaries, sent, &mut findings).await?;
        let inbox = self.wait_until_delivered(&seen).await?;
        self.check_alerts(&seen, &inbox, &mut findings);
        self.check_counts(&seen, &mut findings).await?;
        self.check_repeats(diaries, tokens, sent, &mut findings).await?;
        self.check_others(&seen, diaries, tokens, &mut findings).await?;
        findings.given_up = failures(self.api).await?.saturating_sub(self.failures);
        let late = (during.timed_out + timed_out(self.api).await?).saturating_sub(self.timed_out);
        if late > 0 {
            findings.broken.push((6, format!("{late} invocations were stopped at their timeout")));
        }
        Ok(findings)
    }

    /// Looks at the counts until they have as many new submissions as were accepted.
    async fn wait_until_scored(&self, sent: &Sent, findings: &mut Findings) -> Result<(), ApiError> {
        let accepted = sent.results.iter().filter(|result| result.is_ok()).count();
        let progress = ProgressBar::new("scored", accepted, self.quiet);
        let (mut scored, mut changed, mut pause) = (0, Instant::now(), FIRST_PAUSE);
        loop {
            let mut now = 0;
            for site in &self.sites {
                let counts = counts(self.api, &site.staff, site.id).await?;
                now += counts.submissions.saturating_sub(site.before.submissions) as usize;
            }
            if now > scored {
                progress.steps(now.min(accepted) - scored.min(accepted));
                (scored, changed, pause) = (now, Instant::now(), FIRST_PAUSE);
            }
            if scored >= accepted {
                findings.scored_after = Some(sent.ended.elapsed());
                return Ok(());
            }
            if changed.elapsed() >= self.patience {
                return Ok(());
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Reads each submission until all that are stored are scored, and compares them with the reference.
    async fn read_scores<'d>(
        &self,
        diaries: &'d [Diary],
        sent: &Sent,
        findings: &mut Findings,
    ) -> Result<Vec<Seen<'d>>, ApiError> {
        let progress = ProgressBar::new("compared", diaries.len(), self.quiet);
        let mut waiting: Vec<usize> = (0..diaries.len()).collect();
        let (mut seen, mut changed, mut pause) = (Vec::new(), Instant::now(), FIRST_PAUSE);
        loop {
            let round = std::mem::take(&mut waiting);
            let answers: Vec<_> = stream::iter(round)
                .map(|place| async move {
                    let diary = &diaries[place];
                    let path = format!("/v1/submissions/{}?patient={}", diary.id, diary.patient);
                    let answer = self.api.get(&path, Some(self.staff(&diary.site))).await?;
                    Ok::<_, ApiError>((place, answer))
                })
                .buffer_unordered(AT_ONCE)
                .try_collect()
                .await?;
            for (place, answer) in answers {
                let (diary, accepted) = (&diaries[place], sent.results[place].is_ok());
                let body = answer.json();
                if answer.status == StatusCode::OK && body["status"] != "scored" {
                    waiting.push(place);
                    continue;
                }
                let score = (answer.status == StatusCode::OK).then(|| body["score"].clone());
                if score.is_some() {
                    findings.stored += 1;
                    findings.scored += 1;
                } else if accepted {
                    let why = format!("submission {} was accepted, and reading it gives {}", diary.id, answer.status);
                    findings.broken.push((1, why));
                }
                if score.is_some()
                    && let Some(what) = difference(diary, &body)
                {
                    findings.broken.push((2, format!("submission {} has {what} than the reference", diary.id)));
                }
                seen.push(Seen { diary, accepted, score });
                progress.step();
                (changed, pause) = (Instant::now(), FIRST_PAUSE);
            }
            if waiting.is_empty() {
                return Ok(seen);
            }
            if changed.elapsed() >= self.patience {
                for place in waiting {
                    findings.stored += 1;
                    findings.broken.push((2, format!("submission {} is stored and not scored", diaries[place].id)));
                }
                return Ok(seen);
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// The messages of all sites, once every alert that a score names has arrived, or nothing has for the patience.
    async fn wait_until_delivered(&self, seen: &[Seen<'_>]) -> Result<Vec<Alert>, ApiError> {
        let raised: BTreeSet<&str> = seen.iter().flat_map(Seen::alert_ids).collect();
        let progress = ProgressBar::new("alerts", raised.len(), self.quiet);
        let (mut arrived, mut changed, mut pause) = (0, Instant::now(), FIRST_PAUSE);
        loop {
            let mut inbox = Vec::new();
            for site in &self.sites {
                inbox.extend(self.api.inbox(site.id).await?);
            }
            let ids: BTreeSet<&str> = inbox.iter().map(|alert| alert.alert_id.as_str()).collect();
            let here = raised.intersection(&ids).count();
            if here > arrived {
                progress.steps(here - arrived);
                (arrived, changed, pause) = (here, Instant::now(), FIRST_PAUSE);
            }
            if arrived == raised.len() || changed.elapsed() >= self.patience {
                return Ok(inbox);
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Each rule that fires has one alert in the inbox at least, and no other message is of these submissions.
    fn check_alerts(&self, seen: &[Seen<'_>], inbox: &[Alert], findings: &mut Findings) {
        let mut published: BTreeMap<&str, Vec<&Alert>> = BTreeMap::new();
        for alert in inbox {
            // The alert of missed windows has none.
            if let Some(id) = &alert.submission_id {
                published.entry(id).or_default().push(alert);
            }
        }
        for one in seen {
            let id = one.diary.id.to_string();
            let messages = published.get(id.as_str()).map_or([].as_slice(), Vec::as_slice);
            let named: BTreeSet<&str> = one.alert_ids().collect();
            findings.alerts += named.len();
            findings.messages += messages.len();
            if one.score.is_none() {
                if !messages.is_empty() {
                    findings
                        .broken
                        .push((4, format!("an alert of submission {id} was published, which is not stored")));
                }
                continue;
            }
            let rules: BTreeSet<(String, String)> =
                messages.iter().map(|alert| (alert.rule.clone(), alert.severity.clone())).collect();
            if rules != one.diary.expected.alerts {
                let why = format!("submission {id} has other alerts in the inbox than the rules that fire");
                findings.broken.push((4, why));
            }
            let ids: BTreeSet<&str> = messages.iter().map(|alert| alert.alert_id.as_str()).collect();
            if ids != named || named.len() != one.diary.expected.alerts.len() {
                let why = format!("submission {id} names other alerts in its score than were published");
                findings.broken.push((4, why));
            }
        }
    }

    /// The new counts of each site are what is stored there.
    async fn check_counts(&self, seen: &[Seen<'_>], findings: &mut Findings) -> Result<(), ApiError> {
        findings.calls_answered = self.api.answered();
        for site in &self.sites {
            let of_site = |one: &&Seen<'_>| one.diary.site == *site.id && one.score.is_some();
            let stored: Vec<&Seen<'_>> = seen.iter().filter(of_site).collect();
            let after = counts(self.api, &site.staff, site.id).await?;
            let before = &site.before;
            let mut check = |what: &str, counted: u64, expected: usize| {
                if counted != expected as u64 {
                    let why = format!("site {} counts {counted} new {what}, and {expected} are stored", site.id);
                    findings.broken.push((3, why));
                }
            };
            check("submissions", after.submissions.wrapping_sub(before.submissions), stored.len());
            let alerts = stored.iter().map(|one| one.diary.expected.alerts.len()).sum();
            check("alerts", after.alerts.wrapping_sub(before.alerts), alerts);
            let instruments: BTreeSet<&str> = stored.iter().map(|one| one.diary.instrument.as_str()).collect();
            for instrument in instruments {
                let of = |counts: &Counts| counts.by_instrument.get(instrument).copied().unwrap_or_default();
                let expected = stored.iter().filter(|one| one.diary.instrument == instrument).count();
                check(&format!("submissions of {instrument}"), of(&after).wrapping_sub(of(before)), expected);
            }
        }
        findings.calls_counted = self.count_calls(findings.calls_answered).await?;
        Ok(())
    }

    /// The API calls that all sites count, once there are as many as were answered. They are counted beside a request's
    /// work, and of a killed environment not at all.
    async fn count_calls(&self, answered: u64) -> Result<u64, ApiError> {
        let mut counted = 0;
        for _ in 0..CALL_LOOKS {
            counted = 0;
            for site in &self.sites {
                let after = counts(self.api, &site.staff, site.id).await?;
                counted += after.api_calls.saturating_sub(site.before.api_calls);
            }
            if counted >= answered {
                break;
            }
            sleep(FIRST_PAUSE).await;
        }
        Ok(counted)
    }

    /// Everything that was accepted is sent again, and gives the same receipt: it is stored as it was sent, once. Other
    /// answers under the same id are a conflict.
    async fn check_repeats(
        &self,
        diaries: &[Diary],
        tokens: &[String],
        sent: &Sent,
        findings: &mut Findings,
    ) -> Result<(), ApiError> {
        let accepted: Vec<(usize, &Accepted)> = sent
            .results
            .iter()
            .enumerate()
            .filter_map(|(place, result)| Some((place, result.as_ref().ok()?)))
            .collect();
        let progress = ProgressBar::new("repeated", accepted.len(), self.quiet);
        let progress = &progress;
        let wrong: Vec<Vec<(u8, String)>> = stream::iter(accepted.iter().enumerate())
            .map(|(number, (place, first))| async move {
                let (diary, token) = (&diaries[*place], &tokens[*place]);
                let mut wrong = Vec::new();
                let again = self.api.repeat(token, &diary.body).await?;
                if again.status != StatusCode::OK || again.json() != first.receipt {
                    let why = format!("submission {} was sent again, and its receipt is another one", diary.id);
                    wrong.push((if again.status == StatusCode::OK { 5 } else { 1 }, why));
                }
                if number % OTHER_BODY == 0 {
                    let mut other = diary.body.clone();
                    other["answers"]["1"] = if other["answers"]["1"] == 0 { 1.into() } else { 0.into() };
                    let refused = self.api.repeat(token, &other).await?.status;
                    if refused != StatusCode::CONFLICT {
                        let why = format!("submission {} was sent with other answers, which gives {refused}", diary.id);
                        wrong.push((5, why));
                    }
                }
                progress.step();
                Ok::<_, ApiError>(wrong)
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        findings.broken.extend(wrong.into_iter().flatten());
        findings.repeated = accepted.len();
        findings.changed = accepted.len().div_ceil(OTHER_BODY);
        Ok(())
    }

    /// No patient reads the submission of another.
    async fn check_others(
        &self,
        seen: &[Seen<'_>],
        diaries: &[Diary],
        tokens: &[String],
        findings: &mut Findings,
    ) -> Result<(), ApiError> {
        let stored = seen.iter().find(|one| one.accepted && one.score.is_some());
        let Some(Seen { diary, .. }) = stored else { return Ok(()) };
        let of_others = diaries.iter().zip(tokens).filter(|(other, _)| other.patient != diary.patient);
        let of_others: Vec<&String> = of_others.map(|(_, token)| token).collect();
        let path = format!("/v1/submissions/{}", diary.id);
        // Patients of both sites.
        for token in of_others.iter().take(2).chain(of_others.iter().skip(2).last()) {
            if self.api.get(&path, Some(token)).await?.status == StatusCode::OK {
                findings.broken.push((9, format!("another patient reads submission {}", diary.id)));
            }
        }
        Ok(())
    }

    fn staff(&self, site: &SiteId) -> &str {
        self.sites.iter().find(|one| one.id == site).map_or("", |one| &one.staff)
    }
}

impl Seen<'_> {
    fn alert_ids(&self) -> impl Iterator<Item = &str> {
        let alerts = self.score.as_ref().and_then(|score| score["alerts"].as_array());
        alerts.into_iter().flatten().filter_map(Value::as_str)
    }
}

/// What of a scored submission is not as the reference says. It names no value.
fn difference(diary: &Diary, body: &Value) -> Option<&'static str> {
    let (score, expected) = (&body["score"], &diary.expected);
    if body["instrument"] != diary.body["instrument"] || body["version"] != diary.body["version"] {
        return Some("another instrument or version");
    }
    if score["instrumentHash"] != expected.hash.as_str() {
        return Some("another definition");
    }
    if score["scores"] != expected.scores {
        return Some("another score");
    }
    (score["notScored"] != expected.not_scored).then_some("other scores left out")
}

async fn counts(api: &Api, staff: &str, site: &SiteId) -> Result<Counts, ApiError> {
    #[derive(Deserialize)]
    struct Body {
        counts: Vec<Counts>,
    }
    let body: Body = api.read(&format!("/v1/sites/{site}/counts"), Some(staff)).await?;
    Ok(body.counts.into_iter().next().unwrap_or_default())
}

/// How many batches the stream has given up.
async fn failures(api: &Api) -> Result<usize, ApiError> {
    let body: Value = api.read("/local/failures", None).await?;
    Ok(body["failures"].as_array().map_or(0, Vec::len))
}

/// How many invocations were stopped at their timeout since the local cloud started.
pub(super) async fn timed_out(api: &Api) -> Result<u64, ApiError> {
    let body: Value = api.read("/local/invocations", None).await?;
    let totals = body["totals"].as_object().into_iter().flatten();
    Ok(totals.filter_map(|(_, outcomes)| outcomes["timedOut"].as_u64()).sum())
}

#[cfg(test)]
mod tests;
