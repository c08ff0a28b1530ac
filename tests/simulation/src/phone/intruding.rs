//! Who may see a submission, and who tries to.

use std::time::Duration;

use tokio::time::sleep;
use uuid::Uuid;

use super::{Phones, pseudonym};
use crate::plan::SITES;

impl Phones {
    /// Those who may, and others, ask for the latest submission of `patient` that was accepted.
    pub(super) async fn intrude(&self, patient: usize) {
        let is_stored = |id: &Uuid| self.known.borrow().get(id).is_some_and(|known| known.accepted.is_some());
        let latest = self.diaries.borrow()[patient].iter().rev().copied().find(is_stored);
        let Some(id) = latest else { return };
        let sites = self.known.borrow()[&id].sites.clone();
        // One that was repeated after a transfer is of the site that stored it first.
        let (Some(&site), 1) = (sites.first(), sites.len()) else { return };
        let Some(other_site) = SITES.into_iter().find(|other| *other != site) else { return };
        let other = pseudonym(patient + 1);
        let named = pseudonym(patient);
        let callers = [
            ("the patient", vec![("sites", site), ("patient", &named)], 200),
            ("staff of the site", vec![("role", "staff"), ("sites", site), ("patient", "")], 200),
            ("another patient", vec![("sites", site), ("patient", &other)], 404),
            ("another patient by name", vec![("sites", site), ("patient", &other)], 404),
            ("staff of another site", vec![("role", "staff"), ("sites", other_site), ("patient", "")], 404),
            ("staff without the scope", vec![("role", "staff"), ("sites", site), ("scope", "counts:read")], 403),
        ];
        for (who, changes, expected) in callers {
            let own = ["the patient", "another patient"].contains(&who);
            let query = if own { String::new() } else { format!("patient={named}") };
            for _ in 0..20 {
                let answer = self.get(&changes, &id.to_string(), &query).await;
                match answer {
                    Some(answer) if answer.status == 200 && expected == 200 => {
                        if answer.body["id"] != id.to_string() {
                            self.journal.violation(format!("promise 9: {who} was shown something else"));
                        }
                        self.journal.met("branch: shown to its own caller");
                        break;
                    }
                    Some(answer) if answer.status == expected => {
                        self.journal.met("branch: refused to another caller");
                        break;
                    }
                    Some(answer) if !self.is_to_repeat(&answer) => {
                        self.journal.violation(format!("promise 9: {who} was answered {}", answer.status));
                        break;
                    }
                    _ => sleep(Duration::from_secs(5)).await,
                }
            }
        }
    }
}
