//! The counters of sites, in a bracket around a walk.

use std::collections::BTreeMap;

use clinical::ids::{InstrumentId, SiteId, StudyId};
use records::{SiteCounts, sha256_hex};
use serde::{Deserialize, Serialize};

use crate::difference::{Difference, Kind};
use crate::patient::Scored;

/// What is counted of a site by the transactions that score.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counted {
    #[serde(rename = "s")]
    submissions: u64,
    #[serde(rename = "a")]
    alerts: u64,
    /// Requests that brought one submission each.
    #[serde(rename = "c", default)]
    calls: u64,
    #[serde(rename = "i")]
    by_instrument: BTreeMap<InstrumentId, u64>,
}

/// The counters of a site before the walk, and what the walk found so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bracket {
    #[serde(rename = "b")]
    before: Counted,
    #[serde(rename = "n")]
    found: Counted,
}

/// The brackets of the sites that a pass compares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Brackets {
    /// The number of parts that the sites are split into, and the part that is compared.
    parts: u64,
    part: u64,
    /// By `<study>#<site>`: no id has a `#`.
    sites: BTreeMap<String, Bracket>,
}

impl From<SiteCounts> for Counted {
    fn from(counts: SiteCounts) -> Self {
        let SiteCounts { submissions, alerts, submission_calls, by_instrument, .. } = counts;
        Self { submissions, alerts, calls: submission_calls, by_instrument }
    }
}

impl Counted {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Each number, by its name. No instrument has the name of another number.
    fn numbers(&self) -> BTreeMap<String, u64> {
        let by_instrument = self.by_instrument.iter().map(|(id, number)| (format!("instrument {id}"), *number));
        let all = [("submissions", self.submissions), ("alerts", self.alerts), ("calls", self.calls)];
        all.map(|(name, number)| (name.to_owned(), number)).into_iter().chain(by_instrument).collect()
    }
}

impl Brackets {
    /// The brackets of pass `number` for the counters `before`: of so many sites that they take about `most` bytes of the
    /// state.
    pub(crate) fn begin(before: BTreeMap<(StudyId, SiteId), SiteCounts>, number: u64, most: usize) -> Self {
        let bytes: usize = before.iter().map(|((study, site), counts)| bytes(study, site, counts)).sum();
        let parts = bytes.div_ceil(most.max(1)).clamp(1, before.len().max(1)) as u64;
        let mut brackets = Self { parts, part: number % parts, sites: BTreeMap::new() };
        for ((study, site), counts) in before {
            if let Some(bracket) = brackets.of(&study, &site) {
                bracket.before = counts.into();
            }
        }
        brackets
    }

    /// The number of parts that the sites are split into.
    pub(crate) fn parts(&self) -> u64 {
        self.parts
    }

    /// The part of the sites that is compared.
    pub(crate) fn part(&self) -> u64 {
        self.part
    }

    /// Ends the comparison. Which part was compared stays known.
    pub(crate) fn forget(&mut self) {
        self.sites.clear();
    }

    /// The number of submissions that were counted before the walk.
    pub(crate) fn submissions_before(&self) -> u64 {
        self.sites.values().map(|bracket| bracket.before.submissions).sum()
    }

    /// Adds a scored submission that the walk found.
    pub(crate) fn add_submission(&mut self, study: &StudyId, scored: &Scored) {
        if let Some(bracket) = self.of(study, &scored.site) {
            bracket.found.submissions += 1;
            bracket.found.calls += u64::from(scored.counts_call);
            *bracket.found.by_instrument.entry(scored.instrument.clone()).or_default() += 1;
        }
    }

    /// Adds an alert that the walk found.
    pub(crate) fn add_alert(&mut self, study: &StudyId, site: &SiteId) {
        if let Some(bracket) = self.of(study, site) {
            bracket.found.alerts += 1;
        }
    }

    /// The first `most` sites after `after`, a position that an earlier call returned, and the position after them;
    /// `None` at the end.
    pub(crate) fn sites_after(&self, after: Option<&str>, most: usize) -> (Vec<(StudyId, SiteId)>, Option<String>) {
        let mut names = self.sites.keys().filter(|name| after.is_none_or(|after| name.as_str() > after)).peekable();
        let mut sites = Vec::new();
        let mut last = None;
        for name in names.by_ref().take(most) {
            sites
                .extend(name.split_once('#').and_then(|(study, site)| Some((study.parse().ok()?, site.parse().ok()?))));
            last = Some(name.clone());
        }
        (sites, last.filter(|_| names.peek().is_some()))
    }

    /// The differences of a site whose counters have `after` now that the walk is over.
    pub(crate) fn compare(&self, study: &StudyId, site: &SiteId, after: &SiteCounts) -> Vec<Difference> {
        let Some(Bracket { before, found }) = self.sites.get(&name(study, site)) else { return Vec::new() };
        let (before, found, after) = (before.numbers(), found.numbers(), Counted::from(after.clone()).numbers());
        let names = before.keys().chain(found.keys()).chain(after.keys());
        let names: std::collections::BTreeSet<&String> = names.collect();
        let of = |numbers: &BTreeMap<String, u64>, name: &String| numbers.get(name).copied().unwrap_or_default();
        let kind = |name: &String| {
            let found = of(&found, name);
            if of(&before, name) > found {
                Some(Kind::CountTooHigh)
            } else if found > of(&after, name) {
                Some(Kind::CountTooLow)
            } else {
                None
            }
        };
        let difference = |name: &String| Some(Difference::new(kind(name)?, study).at_site(site).about(name));
        names.into_iter().filter_map(difference).collect()
    }

    /// The number of sites with a counter or with something to count.
    pub(crate) fn number(&self) -> u64 {
        self.sites.values().filter(|bracket| !bracket.before.is_empty() || !bracket.found.is_empty()).count() as u64
    }

    /// The bracket of a site, if it is of the part that this pass compares.
    fn of(&mut self, study: &StudyId, site: &SiteId) -> Option<&mut Bracket> {
        let name = name(study, site);
        let is_of_part = self.parts <= 1 || {
            let digest = u64::from_str_radix(&sha256_hex(name.as_bytes())[..12], 16).unwrap_or_default();
            digest % self.parts == self.part
        };
        is_of_part.then(|| self.sites.entry(name).or_default())
    }
}

/// The most that the bracket of a site takes of the state: its name and, twice, its numbers, of up to 20 digits.
fn bytes(study: &StudyId, site: &SiteId, counts: &SiteCounts) -> usize {
    let instruments: usize = counts.by_instrument.keys().map(|id| id.as_str().len() + 24).sum();
    name(study, site).len() + 20 + 2 * (97 + instruments)
}

fn name(study: &StudyId, site: &SiteId) -> String {
    format!("{study}#{site}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_take_no_more_of_the_state_than_they_may() {
        let study: StudyId = "DEMO".parse().unwrap();
        let by_instrument: BTreeMap<InstrumentId, u64> =
            (0..40).map(|n| (format!("{}-{n:02}", "i".repeat(61)).parse().unwrap(), u64::MAX)).collect();
        let counts = SiteCounts { submissions: u64::MAX, alerts: u64::MAX, by_instrument, ..SiteCounts::default() };
        let before: BTreeMap<_, _> =
            (0..200).map(|n| ((study.clone(), format!("S{n}").parse().unwrap()), counts.clone())).collect();
        let most = 250_000;
        let mut compared = 0;
        let parts = Brackets::begin(before.clone(), 0, most).parts();
        assert!(parts > 3, "{parts}");
        for number in 0..parts {
            let mut brackets = Brackets::begin(before.clone(), number, most);
            for bracket in brackets.sites.values_mut() {
                bracket.found = bracket.before.clone();
            }
            let size = serde_json::to_string(&brackets).unwrap().len();
            assert!(size < most * 3 / 2, "part {number}: {size}");
            compared += brackets.sites.len();
        }
        assert_eq!(compared, 200);
    }

    #[test]
    fn an_instrument_that_is_named_like_a_counter_hides_none() {
        let (study, site): (StudyId, SiteId) = ("DEMO".parse().unwrap(), "S01".parse().unwrap());
        let instrument: InstrumentId = "alerts".parse().unwrap();
        let by_instrument = BTreeMap::from([(instrument.clone(), 1)]);
        let counts = SiteCounts { submissions: 1, alerts: 2, by_instrument, ..SiteCounts::default() };
        let before = BTreeMap::from([((study.clone(), site.clone()), counts.clone())]);
        let mut brackets = Brackets::begin(before, 0, 10);
        brackets.add_submission(&study, &Scored { site: site.clone(), instrument, counts_call: false });
        brackets.add_alert(&study, &site);
        let found = brackets.compare(&study, &site, &counts);
        assert_eq!(found, [Difference::new(Kind::CountTooHigh, &study).at_site(&site).about("alerts")]);
    }
}
