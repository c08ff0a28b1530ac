//! Clinicians: they acknowledge and snooze some of the alerts that were published, and repeat that until it is answered.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::task::spawn_local;
use tokio::time::sleep;

use crate::clock;
use crate::dice::Dice;
use crate::plan::SITES;
use crate::run::Simulation;

/// The longest snooze that the study allows.
pub(crate) const MOST_SNOOZE_MINUTES: u64 = 45;
/// A snooze that ends sooner may be over when it is processed.
const TO_BE_STORED: Duration = Duration::from_secs(20);

/// A snooze that was answered.
#[derive(Clone, Debug)]
pub(crate) struct Snoozed {
    /// The alert.
    pub(crate) alert: String,
    /// Until when.
    pub(crate) until: OffsetDateTime,
}

impl Simulation {
    /// Clinicians acknowledge some of the alerts that were published, some time after that, and snooze some.
    pub(crate) async fn review_alerts(self: &Rc<Self>) {
        let mut dice = Dice::of(self.plan().seed, "clinicians");
        let mut snoozes = Dice::of(self.plan().seed, "clinicians who wait");
        let mut read = 0;
        // An outage that cuts answers off has one message published hundreds of times.
        let mut seen = BTreeSet::new();
        loop {
            sleep(Duration::from_secs(20)).await;
            let published = self.world.published_after(read);
            for message in &published {
                if !seen.insert(message.message.clone()) {
                    continue;
                }
                let Some(alert) = message.body()["alertId"].as_str().map(str::to_owned) else { continue };
                if self.plan().snooze_one_in > 0 && snoozes.one_in(self.plan().snooze_one_in) {
                    let after = Duration::from_secs(snoozes.below(600));
                    let lasts = Duration::from_secs(snoozes.within(30..=60 * MOST_SNOOZE_MINUTES));
                    let (this, alert) = (Rc::clone(self), alert.clone());
                    spawn_local(async move {
                        sleep(after).await;
                        if !this.is_over.get() {
                            this.snooze(alert, lasts).await;
                        }
                    });
                }
                if self.plan().acknowledge_one_in == 0 || !dice.one_in(self.plan().acknowledge_one_in) {
                    continue;
                }
                let after = Duration::from_secs(dice.below(2_400));
                let this = Rc::clone(self);
                let twice = dice.one_in(3);
                spawn_local(async move {
                    sleep(after).await;
                    if this.is_over.get() {
                        return;
                    }
                    this.acknowledge_elsewhere(&alert).await;
                    let first = this.acknowledge(alert.clone(), "first");
                    if twice {
                        futures::join!(first, this.acknowledge(alert, "second"));
                    } else {
                        first.await;
                    }
                });
            }
            read += published.len();
        }
    }

    /// A clinician snoozes `alert`, and repeats the same until it is answered, or too late.
    async fn snooze(&self, alert: String, lasts: Duration) {
        let until = clock::now() + lasts;
        let Ok(asked) = until.format(&Rfc3339) else { return };
        loop {
            let answer = self.phones.snooze(&alert, &asked, "third").await;
            match answer.status {
                200 => {
                    self.journal.met("branch: snoozed");
                    self.journal.note(format!("clinician: {alert} is snoozed until {asked}"));
                    self.snoozed.borrow_mut().push(Snoozed { alert, until });
                    return;
                }
                409 if self.is_acknowledged(&alert) => {
                    return self.journal.met("branch: snooze of an acknowledged alert refused");
                }
                422 if clock::now() + TO_BE_STORED > until || self.has_clock_steps() => return,
                _ if self.phones.is_to_repeat(&answer) => sleep(Duration::from_secs(15)).await,
                other => {
                    return self.journal.violation(format!("the snooze of a published alert was answered {other}"));
                }
            }
        }
    }

    fn is_acknowledged(&self, alert: &str) -> bool {
        let is_it = |row: &&serde_json::Value| row["alert_id"] == alert;
        self.world.items("alert").iter().find(is_it).is_some_and(|row| row["acknowledged_at"].is_string())
    }

    /// A clinician acknowledges `alert`, and repeats that until it is answered.
    pub async fn acknowledge(&self, alert: String, clinician: &str) {
        loop {
            let answer = self.phones.acknowledge(&alert, &SITES.join(" "), clinician).await;
            match answer.status {
                200 => {
                    self.journal.met("branch: acknowledged");
                    self.journal.note(format!("clinician: {alert} is acknowledged"));
                    self.acknowledged.borrow_mut().insert(alert);
                    return;
                }
                _ if self.phones.is_to_repeat(&answer) => sleep(Duration::from_secs(30)).await,
                other => {
                    self.journal.violation(format!("the acknowledgement of a published alert was answered {other}"));
                    return;
                }
            }
        }
    }

    /// A clinician of another site tries to acknowledge `alert`, and must not find it.
    async fn acknowledge_elsewhere(&self, alert: &str) {
        let of_site =
            |site: &str| self.world.items("alert").iter().any(|row| row["alert_id"] == alert && row["site"] == site);
        let Some(elsewhere) = SITES.into_iter().find(|site| !of_site(site)) else { return };
        let answer = self.phones.acknowledge(alert, elsewhere, "other").await;
        if answer.status == 404 {
            self.journal.met("branch: alert of another site not found");
        } else if !self.phones.is_to_repeat(&answer) {
            self.journal.violation(format!("promise 9: a clinician of another site was answered {}", answer.status));
        }
    }
}
