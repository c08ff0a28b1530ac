//! Evaluation of alert rules.

use rust_decimal::Decimal;

use super::definition::{Against, Direction};
use super::history::{EarlierScores, History};
use super::outcome::Score;
use super::program::{AlertCondition, AlertRule, By, LoadedScore, Within};
use super::score::Value;
use crate::ids::ScoreId;

/// The assessed submission, as rules see it.
pub(crate) struct Assessed<'a> {
    /// The items' values, by index.
    pub(crate) items: &'a [Value],
    /// The definitions of the scores, by index.
    pub(crate) definitions: &'a [LoadedScore],
    /// The scores, by index; `None` if a score could not be computed.
    pub(crate) scores: &'a [Option<&'a Score>],
    /// The preceding submissions.
    pub(crate) history: &'a History,
}

/// Whether a rule fires.
///
/// # Errors
///
/// The reason, if the rule cannot be evaluated.
pub(crate) fn fires(rule: &AlertRule, assessed: &Assessed<'_>) -> Result<bool, String> {
    match &rule.when {
        AlertCondition::Item { item, within } => {
            Ok(matches!(&assessed.items[*item], Value::Known(value) if within.holds(value)))
        }
        AlertCondition::Score { score, within } => {
            Ok(assessed.scores[*score].is_some_and(|score| within.holds(&score.value)))
        }
        AlertCondition::Band { score, bands } => {
            let band = assessed.scores[*score].and_then(|score| score.band.as_ref());
            Ok(band.is_some_and(|band| bands.contains(band)))
        }
        AlertCondition::Incomplete { score } => Ok(assessed.scores[*score].is_none()),
        AlertCondition::Change { score, against, worse, by } => change(assessed, *score, *against, *worse, *by),
        AlertCondition::Consecutive { score, within, times, last } => {
            consecutive(assessed, *score, within, (*times, *last))
        }
    }
}

fn change(assessed: &Assessed<'_>, score: usize, against: Against, worse: Direction, by: By) -> Result<bool, String> {
    let id = &assessed.definitions[score].id;
    // This is checked before the history: whether a rule can be evaluated must not depend on what has arrived so far.
    let now = assessed.scores[score].ok_or_else(|| format!("score {id} could not be computed"))?.value;
    let (name, earlier) = match (assessed.history, against) {
        (History::Unknown { reason }, _) => return Err(reason.clone()),
        (History::Known { baseline, .. }, Against::Baseline) => ("baseline", baseline.as_ref()),
        (History::Known { latest, more: false, .. }, Against::Previous) => ("previous submission", latest.first()),
        (History::Known { latest, .. }, Against::Previous) => match latest.first() {
            Some(previous) => ("previous submission", Some(previous)),
            None => return Err("the previous submission is not known".to_owned()),
        },
    };
    let Some(earlier) = earlier else { return Ok(false) };
    let then = *earlier.get(id).ok_or_else(|| format!("the {name} has no score {id}"))?;
    // Stored scores are within their definitions' bounds; the arithmetic does not rely on it.
    let too_large = || format!("the change of score {id} is too large");
    let worsening = match worse {
        Direction::Higher => now.checked_sub(then),
        Direction::Lower => then.checked_sub(now),
    };
    let worsening = worsening.ok_or_else(too_large)?;
    match by {
        By::Points(points) => Ok(worsening >= points),
        By::Percent(_) if then == Decimal::ZERO => {
            Err(format!("score {id} of the {name} is 0, so there is no percentage"))
        }
        By::Percent(percent) => {
            let change = worsening.checked_mul(Decimal::ONE_HUNDRED).zip(percent.checked_mul(then.abs()));
            change.map(|(change, line)| change >= line).ok_or_else(too_large)
        }
    }
}

/// Whether the score is in the range, and was so in enough submissions. One without the score does not count.
fn consecutive(
    assessed: &Assessed<'_>,
    score: usize,
    within: &Within<Decimal>,
    (times, last): (usize, usize),
) -> Result<bool, String> {
    if !assessed.scores[score].is_some_and(|score| within.holds(&score.value)) {
        return Ok(false);
    }
    let (latest, more) = match assessed.history {
        History::Unknown { reason } => return Err(reason.clone()),
        History::Known { latest, more, .. } => (latest, *more),
    };
    let id: &ScoreId = &assessed.definitions[score].id;
    let held = |earlier: &&EarlierScores| earlier.get(id).is_some_and(|value| within.holds(value));
    let before = last - 1;
    let count = 1 + latest.iter().take(before).filter(held).count();
    let unknown = if more { before.saturating_sub(latest.len()) } else { 0 };
    if count < times && count + unknown >= times {
        return Err(format!("of the last {last} submissions {unknown} are not known"));
    }
    Ok(count >= times)
}
