//! Bugs of the windows in which patients are asked.

use super::{Edit, Planted};

const ANSWERS: &str = "shared/scheduling/src/answers.rs";
const DUE: &str = "shared/scheduling/src/due.rs";

pub(super) const BUGS: &[Planted] = &[
    Planted {
        name: "miss-not-searched",
        what: "a patient is reminded, and a window is missed, without a search for an answer that is not scored yet",
        edits: &[Edit {
            file: DUE,
            original: "        if !answering.record_stored(&searched).await? {",
            planted: "        if PLANTED || !answering.record_stored(&searched).await? {",
        }],
    },
    Planted {
        name: "miss-at-once",
        what: "a window is missed at its closing, while answers are on their way",
        edits: &[Edit {
            file: DUE,
            original: "            let is_stored = closes.checked_add(IN_FLIGHT).unwrap_or(Timestamp::MAX) <= now;",
            planted: "            let is_stored = PLANTED || closes.checked_add(IN_FLIGHT).unwrap_or(Timestamp::MAX) <= now;",
        }],
    },
    Planted {
        name: "answer-not-repeated",
        what: "an answer is not recorded where its score was committed before",
        edits: &[Edit {
            file: "shared/scoring/src/lib.rs",
            original: "                        repeated.push((to_score.submission.clone(), alerts));
                        scored.push((indices, to_score));",
            planted: "                        repeated.push((to_score.submission.clone(), alerts));
                        if PLANTED {
                            stage.completion.mark_done(indices);
                        } else {
                            scored.push((indices, to_score));
                        }",
        }],
    },
    Planted {
        name: "late-answer-silent",
        what: "a late answer does not acknowledge the alert of its window",
        edits: &[Edit {
            file: ANSWERS,
            original: "            self.acknowledge(&later, completed).await?;",
            planted: "            if !(PLANTED) {
                self.acknowledge(&later, completed).await?;
            }",
        }],
    },
    Planted {
        name: "dropped-schedule-forgotten",
        what: "a late answer does not count for a schedule that the study has dropped",
        edits: &[Edit {
            file: ANSWERS,
            original: "        if candidates.is_empty() && also.is_empty() {",
            planted: "        if candidates.is_empty() && also.is_empty() && !(PLANTED) {",
        }],
    },
    Planted {
        name: "reminder-marked-first",
        what: "a reminder is marked before it is published",
        edits: &[Edit {
            file: DUE,
            original: "            let published = self.reminders.publish(&reminder(&one, *at), deadline).await;",
            planted: "            if PLANTED {
                self.store.put_occurrence(&one, deadline).await?;
            }
            let published = self.reminders.publish(&reminder(&one, *at), deadline).await;",
        }],
    },
    Planted {
        name: "reminder-named-anew",
        what: "each publication of a reminder has an id of its own",
        edits: &[Edit {
            file: "shared/scheduling/src/reminders.rs",
            original: "        id: one.reminder_id(at),",
            planted: "        id: one.reminder_id(if PLANTED { Timestamp::now() } else { at }),",
        }],
    },
    Planted {
        name: "plan-not-marked",
        what: "the registry does not say that a patient's windows are to be planned again",
        edits: &[Edit {
            file: "shared/records/src/store/registry.rs",
            original: "        let plan = at.map(|at| self.mark_plan(study, patient, at, None));",
            planted: "        let plan = at.filter(|_| !(PLANTED)).map(|at| self.mark_plan(study, patient, at, None));",
        }],
    },
];
