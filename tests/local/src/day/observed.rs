//! What the API and the inbox show of the day.

use std::collections::BTreeMap;
use std::fmt;

use clinical::ids::PatientId;
use jiff::Timestamp;
use serde_json::Value;

use super::plan::{Asked, MissedAlert, Outcome};
use crate::client::{Api, ApiError};

/// A window: the patient's pseudonym, the schedule, the number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) patient: String,
    pub(super) schedule: String,
    pub(super) number: u64,
}

/// A window of a list.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) key: Key,
    pub(super) outcome: Outcome,
    pub(super) opens: Option<Timestamp>,
    pub(super) closes: Option<Timestamp>,
}

/// A reminder of the inbox.
#[derive(Debug)]
pub(super) struct Reminder {
    pub(super) key: Key,
    /// The same for each publication.
    pub(super) id: String,
    pub(super) due: Option<Timestamp>,
    pub(super) published: Option<Timestamp>,
}

/// All that is compared at the end.
#[derive(Debug)]
pub(super) struct Observed {
    pub(super) windows: BTreeMap<Key, Listed>,
    pub(super) reminders: Vec<Reminder>,
    /// The alerts of missed windows, by patient and schedule.
    pub(super) alerts: BTreeMap<(String, String), Vec<MissedAlert>>,
    /// Of these, the ones that were not published.
    pub(super) unpublished: usize,
}

impl Key {
    pub(super) fn of(patient: &PatientId, asked: &Asked) -> Self {
        let number = asked.window.number.into();
        Self { patient: patient.to_string(), schedule: asked.schedule.clone(), number }
    }

    fn in_json(patient: &Value, window: &Value) -> Option<Self> {
        Some(Self {
            patient: patient.as_str()?.to_owned(),
            schedule: window["schedule"].as_str()?.to_owned(),
            number: window["occurrence"].as_u64()?,
        })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.patient, self.schedule, self.number)
    }
}

/// Whether a window of `GET /v1/due` is the one of `key`.
pub(super) fn is(window: &Value, key: &Key) -> bool {
    window["schedule"] == key.schedule.as_str() && window["occurrence"] == key.number
}

/// The windows of a site's patients with a status, page by page.
pub(super) async fn windows(api: &Api, site: &str, status: &str, staff: &str) -> Result<Vec<Listed>, ApiError> {
    let path = format!("/v1/sites/{site}/due?status={status}");
    let listed = pages(api, &path, "due", staff).await?;
    let outcome = |window: &Value| match status {
        "open" => Outcome::Open,
        "missed" => Outcome::Missed,
        _ if window["late"] == true => Outcome::Late,
        _ => Outcome::Done,
    };
    let read = |window: &Value| {
        Some(Listed {
            key: Key::in_json(&window["patient"], window)?,
            outcome: outcome(window),
            opens: time(&window["opens"]),
            closes: time(&window["closes"]),
        })
    };
    Ok(listed.iter().filter_map(read).collect())
}

/// The reminders in the inbox, repeats included.
pub(super) async fn reminders(api: &Api, sites: impl Iterator<Item = &String>) -> Result<Vec<Reminder>, ApiError> {
    let mut reminders = Vec::new();
    for site in sites {
        let inbox: Value = api.read(&format!("/local/inbox?site={site}"), None).await?;
        reminders.extend(inbox["messages"].as_array().into_iter().flatten().filter_map(|message| {
            let body = &message["body"];
            let id = body["reminderId"].as_str()?.to_owned();
            let key = Key::in_json(&body["patient"], body)?;
            Some(Reminder { key, id, due: time(&body["due"]), published: time(&message["publishedAt"]) })
        }));
    }
    Ok(reminders)
}

/// Reads all that is compared. `clinicians` are tokens by site, as `staff` are.
pub(super) async fn read(
    api: &Api,
    staff: &BTreeMap<String, String>,
    clinicians: &BTreeMap<String, String>,
    is_of_run: impl Fn(&str) -> bool,
) -> Result<Observed, ApiError> {
    let mut observed =
        Observed { windows: BTreeMap::new(), reminders: Vec::new(), alerts: BTreeMap::new(), unpublished: 0 };
    for (site, token) in staff {
        for status in ["open", "missed", "done"] {
            let windows = windows(api, site, status, token).await?;
            let own = windows.into_iter().filter(|window| is_of_run(&window.key.patient));
            observed.windows.extend(own.map(|window| (window.key.clone(), window)));
        }
    }
    observed.reminders = reminders(api, staff.keys()).await?;
    observed.reminders.retain(|reminder| is_of_run(&reminder.key.patient));
    for (site, token) in clinicians {
        for alert in pages(api, &format!("/v1/sites/{site}/alerts"), "alerts", token).await? {
            let text = |name: &str| alert[name].as_str().unwrap_or_default().to_owned();
            // An alert of missed windows is of no submission.
            if alert["submissionId"].is_null() && is_of_run(&text("patient")) {
                let resolved = alert["acknowledged"]["by"] == "late-answer";
                observed.unpublished += usize::from(alert["sentAt"].is_null());
                let of = observed.alerts.entry((text("patient"), text("rule"))).or_default();
                of.push(MissedAlert { resolved });
            }
        }
    }
    Ok(observed)
}

/// All entries of a list in pages.
async fn pages(api: &Api, path: &str, member: &str, token: &str) -> Result<Vec<Value>, ApiError> {
    let (mut entries, mut cursor) = (Vec::new(), None::<String>);
    let separator = if path.contains('?') { '&' } else { '?' };
    loop {
        let next = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        let page: Value = api.read(&format!("{path}{separator}limit=100{next}"), Some(token)).await?;
        entries.extend(page[member].as_array().cloned().unwrap_or_default());
        cursor = page["next"].as_str().map(str::to_owned);
        if cursor.is_none() {
            return Ok(entries);
        }
    }
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}
