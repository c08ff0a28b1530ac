//! The alerts that wait, as clinicians are told: well formed whenever they ask, and once the world has settled, what is
//! stored.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::clock;
use crate::plan::SITES;
use crate::run::Simulation;

impl Simulation {
    /// A clinician of all sites reads what waits, or one of a site, by turns.
    pub(crate) async fn list_worklist(&self) {
        match SITES.get(clock::elapsed().as_secs() as usize % (SITES.len() + 1)) {
            Some(site) => self.worklist(site).await,
            None => self.worklist(&SITES.join(" ")).await,
        };
    }

    /// Once the world has settled, those alerts are listed that wait.
    pub(crate) async fn check_worklists(&self) {
        let rows = self.settled("alert");
        let waits = |row: &&Value| matches!(row["status"].as_str(), Some("PENDING" | "SENT"));
        for sites in [SITES.join(" "), SITES[0].to_owned(), SITES[1].to_owned()] {
            let Some(listed) = self.worklist(&sites).await else {
                self.journal.violation("worklist: it is not shown in fair weather");
                continue;
            };
            let of_sites = |row: &&Value| row["site"].as_str().is_some_and(|site| sites.contains(site));
            let expected = rows.iter().filter(waits).filter(of_sites).filter_map(|row| row["alert_id"].as_str());
            let expected: BTreeSet<&str> = expected.collect();
            if !listed.iter().map(String::as_str).eq(expected.iter().copied()) {
                let (listed, waiting) = (listed.len(), expected.len());
                self.journal.violation(format!("worklist: {listed} alerts are listed at {sites}, and {waiting} wait"));
            }
        }
    }

    /// The ids of the alerts that wait at `sites`, page by page; `None` if no answer came.
    async fn worklist(&self, sites: &str) -> Option<BTreeSet<String>> {
        let (mut listed, mut before) = (BTreeSet::new(), None);
        for page in self.pages_of("worklist", "limit=2", async |query| self.phones.worklist(sites, query).await).await?
        {
            self.journal.met("branch: worklist read");
            for alert in page["alerts"].as_array().into_iter().flatten() {
                let place = place(alert);
                let is_in_order = place.is_some() && before.as_ref().is_none_or(|before| Some(before) > place.as_ref());
                before = place;
                let is_of_sites = alert["site"].as_str().is_some_and(|site| sites.split(' ').any(|own| own == site));
                let waits = matches!(alert["status"].as_str(), Some("pending" | "sent"));
                let is_new = listed.insert(alert["alertId"].as_str().unwrap_or_default().to_owned());
                for (holds, what) in [
                    (is_in_order, "an alert is not in its place"),
                    (is_of_sites, "an alert is of another site"),
                    (waits, "an alert does not wait"),
                    (is_new, "an alert is listed twice"),
                ] {
                    if !holds {
                        self.journal.violation(format!("worklist: {what}"));
                    }
                }
            }
        }
        Some(listed)
    }
}

/// The more severe, and of these the newer, has the greater one: ids begin with a time.
fn place(alert: &Value) -> Option<(usize, String)> {
    let severity = ["info", "warning", "critical"].iter().position(|severity| alert["severity"] == *severity)?;
    Some((severity, alert["alertId"].as_str()?.to_owned()))
}
