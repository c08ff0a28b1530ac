//! Validation of the settings of a study's alerts.

use super::Checks;
use crate::document::pointer;
use crate::studies::definition::{Escalation, StudyDefinition};
use crate::studies::rota::Shift;

/// The maximum length of the URL under which an alert is opened.
const MAX_LINK_LENGTH: usize = 200;
const ALERT_ID: &str = "{alertId}";
const MAX_ESCALATION_MINUTES: u32 = 10_080;
const MAX_ESCALATIONS: u32 = 10;
const MAX_SNOOZE_MINUTES: u32 = 10_080;

impl Checks {
    pub(super) fn alerts(&mut self, study: &StudyDefinition) {
        let alerts = &study.alerts;
        if let Some(link) = &alerts.link {
            let begins = ["https://", "http://"].iter().any(|scheme| link.starts_with(scheme));
            let plain = link.bytes().all(|byte| byte.is_ascii_graphic());
            if !begins || !plain || !link.contains(ALERT_ID) || link.len() > MAX_LINK_LENGTH {
                let problem = "the link is not a URL under which an alert can be opened";
                let advice = format!(
                    "write a URL that starts with https://, contains {ALERT_ID}, and has at most {MAX_LINK_LENGTH} \
                     characters"
                );
                self.faults.add("/alerts/link".to_owned(), "alerts.link", problem, advice);
            }
        }
        if let Some(Escalation { after_minutes, limit }) = alerts.escalation {
            let at = "/alerts/escalation";
            if !(1..=MAX_ESCALATION_MINUTES).contains(&after_minutes) {
                let problem = format!("an alert escalates after 1 to {MAX_ESCALATION_MINUTES} minutes");
                self.faults.add(
                    pointer(at, "afterMinutes"),
                    "alerts.escalation",
                    problem,
                    "write a number of minutes in this range",
                );
            }
            if limit > MAX_ESCALATIONS {
                let problem = format!("an alert escalates at most {MAX_ESCALATIONS} times");
                self.faults.add(
                    pointer(at, "limit"),
                    "alerts.escalation",
                    problem,
                    "write a lower number, or 0 for no escalation",
                );
            }
        }
        if alerts.snooze.is_some_and(|limit| !(1..=MAX_SNOOZE_MINUTES).contains(&limit.most_minutes)) {
            let problem = format!("an alert is snoozed for 1 to {MAX_SNOOZE_MINUTES} minutes");
            let advice = "write a number of minutes in this range, or remove `snooze` so that no alert is snoozed";
            self.faults.add("/alerts/snooze/mostMinutes".to_owned(), "alerts.snooze", problem, advice);
        }
        for (index, shift) in alerts.rota.iter().enumerate() {
            self.shift(study, shift, &format!("/alerts/rota/{index}"));
        }
    }

    fn shift(&mut self, study: &StudyDefinition, shift: &Shift, at: &str) {
        for (place, site) in shift.sites.iter().enumerate() {
            if !study.sites.iter().any(|known| known.id == *site) {
                let problem = format!("the study has no site {site}");
                let advice = "use the id of a site in `sites`, or add the site there";
                self.faults.add(format!("{at}/sites/{place}"), "site.unknown", problem, advice);
            }
        }
        if shift.from.is_end_of_day() {
            let advice = "write 00:00, and the next day in `days`";
            self.faults.add(pointer(at, "from"), "rota.time", "a shift begins before the end of its day", advice);
        } else if shift.from == shift.to {
            let problem = "the shift is empty: it ends when it begins";
            let advice = "write another time, or from 00:00 to 24:00 for the whole day";
            self.faults.add(pointer(at, "to"), "rota.time", problem, advice);
        }
    }
}
