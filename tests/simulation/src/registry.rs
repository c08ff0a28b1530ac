//! Site staff: they enrol, transfer and withdraw patients while these send, and repeat each request until it is answered.

use std::time::Duration;

use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::time::sleep;

use crate::asking::{self, ZONES};
use crate::clock;
use crate::gateway::Answer;
use crate::phone::{SECRET, pseudonym};
use crate::plan::{Happening, PATIENTS, SITES};
use crate::run::Simulation;

const PAUSE: Duration = Duration::from_secs(20);
const ENROL: &str = "PUT /v1/patients/{patient}";
const TRANSFER: &str = "POST /v1/patients/{patient}/transfer";
const DATE: &str = "PUT /v1/patients/{patient}/events/{event}";
const WITHDRAW: &str = "POST /v1/patients/{patient}/withdrawal";

/// A withdrawal that was sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Withdrawn {
    /// When it was answered, by the true time.
    pub answered: Option<OffsetDateTime>,
}

impl Simulation {
    /// Lets staff change what is registered: of the patient whose turn it is, unless the plan names one.
    pub(crate) async fn register(&self, what: Happening) {
        let patients = self.plan().actions.iter().map(|action| action.patient + 1).max().unwrap_or(PATIENTS);
        let patient = clock::elapsed().as_secs() as usize % patients;
        let home = SITES[patient % SITES.len()];
        match what {
            Happening::Enrol => self.enrol(patient, home).await,
            Happening::Transfer => {
                let now = self.responsible(patient).unwrap_or_else(|| home.to_owned());
                let Some(to) = SITES.iter().position(|site| *site != now) else { return };
                let transfer = json!({"site": SITES[to], "reason": format!("{SECRET} moved")});
                // Whom a submission has enrolled is registered by the transfer itself; who is not known is enrolled first.
                let mut status = self.ask(TRANSFER, patient, &transfer).await;
                if status == 404 {
                    self.enrol(patient, home).await;
                    status = self.ask(TRANSFER, patient, &transfer).await;
                }
                if status == 200 {
                    self.journal.met("branch: transferred");
                    self.phones.move_to(patient, to);
                }
            }
            Happening::Withdraw => {
                self.enrol(patient, home).await;
                self.phones.withdrawal_sent(patient);
                let requested_by = format!("{SECRET} relative");
                let withdrawal = json!({"mode": "stop", "requestedBy": requested_by, "reason": SECRET});
                if self.ask(WITHDRAW, patient, &withdrawal).await == 200 {
                    self.journal.met("branch: withdrawn");
                    self.phones.withdrawal_answered(patient);
                }
            }
            Happening::Register { patient } => self.enrol(patient, SITES[patient % SITES.len()]).await,
            Happening::DateEvent { patient, day } => {
                let date = day.map(|days| asking::day(days).to_string());
                let dated = json!({"date": date, "reason": SECRET});
                // Whose registration is on its way is not known yet.
                let mut status = self.ask(DATE, patient, &dated).await;
                if status == 404 {
                    self.enrol(patient, SITES[patient % SITES.len()]).await;
                    status = self.ask(DATE, patient, &dated).await;
                }
                if status == 200 {
                    self.journal.met("branch: event dated");
                }
            }
            Happening::ChangeZone { patient, zone } => {
                let changed = json!({"timeZone": ZONES[zone], "reason": SECRET});
                self.enrol(patient, SITES[patient % SITES.len()]).await;
                if self.ask(ENROL, patient, &changed).await == 200 {
                    self.journal.met("branch: time zone changed");
                }
            }
            _ => {}
        }
    }

    /// Enrols `patient` at `site`, unless the patient is registered already.
    async fn enrol(&self, patient: usize, site: &str) {
        // Another site is responsible where the patient was transferred before: 409. The day may differ from that of a
        // registration by a transfer, and such a change needs a reason.
        let enrolment = match &self.plan().asking {
            None => json!({"site": site, "enrolledOn": "2026-11-01", "reason": SECRET}),
            Some(asking) => asking.enrolments[patient].body(site, SECRET),
        };
        if matches!(self.ask(ENROL, patient, &enrolment).await, 200 | 201) {
            self.journal.met("branch: enrolled");
        }
    }

    /// Sends `body` until it is answered, and returns the status: done, not possible for this patient, or nobody is known
    /// to be transferred.
    async fn ask(&self, route: &'static str, patient: usize, body: &Value) -> u16 {
        loop {
            let Answer { status, .. } = match self.phones.staff(route, patient, body).await {
                answer if self.phones.is_to_repeat(&answer) => {
                    sleep(PAUSE).await;
                    continue;
                }
                answer => answer,
            };
            self.journal.note(format!("staff: {route} of patient {patient} is answered {status}"));
            let is_unknown = status == 404 && [TRANSFER, DATE].contains(&route);
            if !matches!(status, 200 | 201 | 409) && !is_unknown {
                self.journal.violation(format!("{route} was answered {status}"));
            }
            return status;
        }
    }

    /// The site that the stored registration of `patient` names.
    fn responsible(&self, patient: usize) -> Option<String> {
        let key = json!({"pk": {"S": format!("PATIENT#DEMO#{}", pseudonym(patient))}, "sk": {"S": "REGISTRATION"}});
        self.world.item(&key)?["site"].as_str().map(str::to_owned)
    }
}
