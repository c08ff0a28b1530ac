//! Bugs of scores, counts and courses.

use super::{Edit, Planted};

const COMMITS: &str = "shared/records/src/store/commits.rs";
const TRANSACTION: &str = "shared/records/src/store/commits/transaction.rs";
const PROFILE: &str = "shared/records/src/items/profile.rs";

pub(super) const BUGS: &[Planted] = &[
    Planted {
        name: "site-entry-left-out",
        what: "score keeps a patient who sends from a second site in the index of that one only",
        edits: &[Edit {
            file: COMMITS,
            original: "            if profile.site != submission.site {",
            planted: "            if profile.site != submission.site && !PLANTED {",
        }],
    },
    Planted {
        name: "counts-outside",
        what: "plain ADD to the counts outside the transaction",
        edits: &[Edit {
            file: COMMITS,
            original: "            let writes = self.writes(&transaction, &chunk.members);",
            planted: "            let mut writes = self.writes(&transaction, &chunk.members);
            if PLANTED && let Some(counter) = writes.pop().and_then(|write| write.update) {
                let plain = self.dynamodb.update_item().table_name(counter.table_name()).set_key(Some(counter.key().clone()));
                let plain = plain.update_expression(counter.update_expression());
                let plain = plain.set_expression_attribute_names(counter.expression_attribute_names().cloned());
                let plain = plain.set_expression_attribute_values(counter.expression_attribute_values().cloned());
                let _ = plain.send().await;
            }",
        }],
    },
    Planted {
        name: "count-by-record",
        what: "counts go by the records of the stream and not by the submissions",
        edits: &[Edit {
            file: COMMITS,
            original: "                    chunk.settle(commits, &mut settled);
                    match rest {",
            planted: "                    if PLANTED
                        && !commits.is_empty()
                        && let Some(counter) = self.writes(&transaction, &chunk.members).pop().and_then(|write| write.update)
                    {
                        let plain = self.dynamodb.update_item().table_name(counter.table_name());
                        let plain = plain.set_key(Some(counter.key().clone()));
                        let plain = plain.update_expression(counter.update_expression());
                        let plain = plain.set_expression_attribute_names(counter.expression_attribute_names().cloned());
                        let plain = plain.set_expression_attribute_values(counter.expression_attribute_values().cloned());
                        let _ = plain.send().await;
                    }
                    chunk.settle(commits, &mut settled);
                    match rest {",
        }],
    },
    Planted {
        name: "condition-left-out",
        what: "a score is stored whether or not the submission has one",
        edits: &[Edit {
            file: COMMITS,
            original: "            .condition_expression(match submission.amended_by {
                None => format!(\"{NOT_SCORED} AND attribute_not_exists(amended_by)\"),",
            planted: "            .condition_expression(match submission.amended_by {
                _ if PLANTED => \"attribute_exists(pk)\".to_owned(),
                None => format!(\"{NOT_SCORED} AND attribute_not_exists(amended_by)\"),",
        }],
    },
    Planted {
        name: "conflict-swallowed",
        what: "a transaction that met a conflict counts as done",
        edits: &[Edit {
            file: COMMITS,
            original: "                        Rest::Contended => Failure::transient(",
            planted: "                        Rest::Contended if PLANTED => {
                            chunk.settle_all(|| Commit::Committed(Vec::new()), &mut settled);
                            break;
                        }
                        Rest::Contended => Failure::transient(",
        }],
    },
    Planted {
        name: "partial-reasons",
        what: "a submission is quarantined where only its alert's reason of a cancellation is reported",
        edits: &[Edit {
            file: TRANSACTION,
            original: "                (Part::Alert(index), CONDITION_FAILED) => {",
            planted: "                (Part::Alert(index), CONDITION_FAILED) if PLANTED => {
                    settled.entry(index).or_insert(Commit::Never(\"an alert of it is stored\"));
                }
                (Part::Alert(index), CONDITION_FAILED) => {",
        }],
    },
    Planted {
        name: "late-overwrites",
        what: "a late submission is evaluated as the newest and takes its place in the profile",
        edits: &[Edit {
            file: PROFILE,
            original: "            .is_none_or(|course| course.is_newest(submission.place()) && course",
            planted: "            .is_none_or(|course| PLANTED || course.is_newest(submission.place()) && course",
        }],
    },
    Planted {
        name: "late-not-evaluated-again",
        what: "the course is not evaluated again after a late predecessor",
        edits: &[Edit {
            file: PROFILE,
            original: "        if evaluation != Evaluation::InOrder {
            self.reevaluate.get_or_insert(at);",
            planted: "        if evaluation != Evaluation::InOrder {
            if !(PLANTED) {
                self.reevaluate.get_or_insert(at);
            }",
        }],
    },
    Planted {
        name: "correction-ignored",
        what: "a corrected submission counts beside its correction",
        edits: &[Edit {
            file: "shared/records/src/store/reevaluation/changes.rs",
            original: "    let amends = submission.amends.as_ref().map(|amendment| amendment.of);
    Some(ReplayEntry",
            planted: "    let amends = submission.amends.as_ref().filter(|_| !(PLANTED)).map(|amendment| amendment.of);
    Some(ReplayEntry",
        }],
    },
];
