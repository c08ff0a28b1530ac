//! Clinicians: they acknowledge some of the alerts that were published, and repeat that until it is answered.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::spawn_local;
use tokio::time::sleep;

use crate::dice::Dice;
use crate::plan::SITES;
use crate::run::Simulation;

impl Simulation {
    /// Clinicians acknowledge some of the alerts that were published, some time after that.
    pub(crate) async fn acknowledge_alerts(self: &Rc<Self>) {
        let mut dice = Dice::of(self.plan().seed, "clinicians");
        let mut read = 0;
        // An outage that cuts answers off has one message published hundreds of times.
        let mut seen = BTreeSet::new();
        loop {
            sleep(Duration::from_secs(20)).await;
            let published = self.world.published();
            for message in &published[read..] {
                if !seen.insert(message.message.clone())
                    || self.plan().acknowledge_one_in == 0
                    || !dice.one_in(self.plan().acknowledge_one_in)
                {
                    continue;
                }
                let Some(alert) = message.body()["alertId"].as_str().map(str::to_owned) else { continue };
                let after = Duration::from_secs(dice.below(2_400));
                let this = Rc::clone(self);
                let twice = dice.one_in(3);
                spawn_local(async move {
                    sleep(after).await;
                    this.acknowledge_elsewhere(&alert).await;
                    let first = this.acknowledge(alert.clone(), "first");
                    if twice {
                        futures::join!(first, this.acknowledge(alert, "second"));
                    } else {
                        first.await;
                    }
                });
            }
            read = published.len();
        }
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
