//! What is done in time where nothing is wrong.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::Value;
use time::OffsetDateTime;

use super::{LONGEST_REQUEST, instant};
use crate::clock;
use crate::plan::{Happening, Plan, WeatherFault};
use crate::run::{OUT_OF_RETENTION, Simulation};

/// How long a submission may wait for its score, and an alert for its publication: the batch before it publishes for at
/// most a few seconds more.
const LONGEST_WAIT: time::Duration = time::Duration::seconds(20);
/// For how many seconds trouble may have consequences: environments that froze, batches that wait to be sent again.
const AFTERMATH: i64 = 600;

/// Where nothing was wrong for ten minutes before and while something waited, it did not wait long: a submission for its
/// score, whatever SNS does, and an alert for its publication. And no step of an escalation comes early.
pub(super) fn in_time(simulation: &Simulation) {
    let plan = simulation.plan();
    // The times of the rows would be off.
    if simulation.has_clock_steps() {
        return;
    }
    let all = Trouble::of(plan);
    let apart_from_sns = Trouble::apart_from_sns(plan);
    for item in simulation.settled("submission") {
        let (Some(received), Some(scored)) = (instant(&item["received_at"]), instant(&item["scored_at"])) else {
            continue;
        };
        if scored - received > LONGEST_WAIT && apart_from_sns.is_fair(received, received + LONGEST_WAIT) {
            let waited = scored - received;
            simulation.journal.violation(format!("promise 2: {} waited {waited} for its score", item["id"]));
        }
    }
    let mut published: BTreeMap<String, BTreeMap<u64, OffsetDateTime>> = BTreeMap::new();
    for message in simulation.world.published() {
        let body = message.body();
        let steps = published.entry(body["alertId"].as_str().unwrap_or_default().to_owned()).or_default();
        steps.entry(body["escalation"].as_u64().unwrap_or_default()).or_insert(message.at.into());
    }
    let between = time::Duration::minutes(plan.escalation_minutes.into()) - time::Duration::SECOND;
    for row in simulation.settled("alert") {
        let Some(steps) = row["alert_id"].as_str().and_then(|id| published.get(id)) else { continue };
        let (Some(raised), Some(first)) = (instant(&row["raised_at"]), steps.get(&0)) else { continue };
        if *first - raised > LONGEST_WAIT && all.is_fair(raised, raised + LONGEST_WAIT) {
            let waited = *first - raised;
            simulation.journal.violation(format!("promise 4: {} waited {waited} for its publication", row["alert_id"]));
        }
        if steps.values().zip(steps.values().skip(1)).any(|(one, next)| *next - *one < between) {
            simulation.journal.violation(format!("promise 4: a step of {} came early", row["alert_id"]));
        }
        steps.iter().skip(1).for_each(|(_, at)| snoozed(simulation, &all, row, *at));
    }
}

/// A step of the alert in `row` that is published at `at` is not snoozed then, unless it was on its way.
fn snoozed(simulation: &Simulation, trouble: &Trouble, row: &Value, at: OffsetDateTime) {
    // The last one counts; one that was stored a moment ago may count or not.
    let snoozes = row["snoozes"].as_array().into_iter().flatten();
    let mut times = snoozes.filter_map(|snooze| Some((instant(&snooze["at"])?, instant(&snooze["until"])?)));
    let Some((since, until)) = times.rfind(|(since, _)| *since < at) else { return };
    if since > at - LONGEST_REQUEST {
        return;
    }
    if at >= until {
        simulation.journal.met("branch: escalated after a snooze");
    } else if trouble.is_fair(since, at) {
        simulation.journal.violation(format!("promise 4: a step of {} is published while snoozed", row["alert_id"]));
    }
}

/// When something was wrong.
pub(crate) struct Trouble(Vec<Range<i64>>);

impl Trouble {
    /// All trouble of `plan`.
    pub(crate) fn of(plan: &Plan) -> Self {
        Self::matching(plan, |_| true)
    }

    /// The trouble of `plan`, except that of SNS.
    fn apart_from_sns(plan: &Plan) -> Self {
        Self::matching(plan, |fault| !matches!(fault, WeatherFault::SnsDown | WeatherFault::SnsPartial))
    }

    fn matching(plan: &Plan, counts: impl Fn(WeatherFault) -> bool) -> Self {
        let weather = plan.weather.iter().filter(|weather| weather.fault != WeatherFault::AnswerLost);
        let weather = weather.filter(|weather| counts(weather.fault));
        let trimmed = plan.events.iter().filter(|event| event.what == Happening::Trim);
        let trimmed = trimmed.map(|event| event.at as i64..(event.at + OUT_OF_RETENTION.as_secs()) as i64);
        Self(weather.map(|weather| weather.from as i64..weather.to as i64).chain(trimmed).collect())
    }

    /// Whether nothing was wrong from before `from`, so that it might still have consequences, to `until`.
    pub(crate) fn is_fair(&self, from: OffsetDateTime, until: OffsetDateTime) -> bool {
        let at = |time: OffsetDateTime| (time - clock::start_of_day()).whole_seconds();
        !self.0.iter().any(|trouble| trouble.start <= at(until) && at(from) - AFTERMATH < trouble.end)
    }
}
