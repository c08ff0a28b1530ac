//! Bugs that are planted on purpose, to show that the simulation catches them.
//!
//! Each is a change of the source as somebody might have written it. They are not in the tree: a copy of the workspace
//! gets all of them, each behind the environment variable `PLANTED`, and is built once.

/// The variable that switches a bug on in the copy.
pub const SWITCH: &str = "PLANTED";

/// A bug.
#[derive(Clone, Copy, Debug)]
pub struct Planted {
    /// Its name, and the value of the variable.
    pub name: &'static str,
    /// What is wrong with it.
    pub what: &'static str,
    /// The changes of the source.
    pub edits: &'static [Edit],
}

/// A change of a source file. In `planted`, the word `PLANTED` stands for whether the bug is switched on.
#[derive(Clone, Copy, Debug)]
pub struct Edit {
    /// The file, from the root of the workspace.
    pub file: &'static str,
    /// The text to replace, which the file has once.
    pub original: &'static str,
    /// The text in its place.
    pub planted: &'static str,
}

impl Planted {
    /// Puts this bug into the text of `file`.
    ///
    /// # Errors
    /// If the text does not have an original exactly once: the code has changed, and the bug must follow it.
    pub fn plant(&self, file: &str, text: &str) -> Result<String, String> {
        let switched_on = format!("std::env::var(\"{SWITCH}\").is_ok_and(|bug| bug == \"{}\")", self.name);
        self.edits.iter().filter(|edit| edit.file == file).try_fold(text.to_owned(), |text, edit| {
            match text.matches(edit.original).count() {
                1 => Ok(text.replace(edit.original, &edit.planted.replace("PLANTED", &switched_on))),
                times => Err(format!("{file} has the text of \"{}\" {times} times and not once", self.name)),
            }
        })
    }
}

const COMMITS: &str = "shared/records/src/store/commits.rs";
const TRANSACTION: &str = "shared/records/src/store/commits/transaction.rs";
const PROFILE: &str = "shared/records/src/items/profile.rs";
const SUBMISSIONS: &str = "shared/records/src/store/submissions.rs";
const SCORING: &str = "shared/scoring/src/lib.rs";
const PUBLISH: &str = "shared/scoring/src/publish.rs";
const DEADLINE: &str = "shared/invocation/src/deadline.rs";
const SUBMIT: &str = "functions/submit/src/lib.rs";

/// All bugs.
pub const ALL: &[Planted] = &[
    Planted {
        name: "registration-not-read",
        what: "submit does not ask the registry whether the patient has withdrawn",
        edits: &[Edit {
            file: SUBMIT,
            original: "                Ok(StudyStatus::Open(protocol, admission))",
            planted: "                Ok(StudyStatus::Open(protocol, admission.filter(|_| !PLANTED)))",
        }],
    },
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
        name: "mark-first",
        what: "alerts are marked as published before they are published",
        edits: &[Edit {
            file: PUBLISH,
            original: "        let published = self.send(&notifications, deadline).await;",
            planted: "        if PLANTED {
            for alert in alerts {
                let _ = self.store.mark_published(alert, \"planted\", clock.now(), deadline).await;
            }
        }
        let published = self.send(&notifications, deadline).await;",
        }],
    },
    Planted {
        name: "mark-after-failure",
        what: "alerts are marked as published although SNS did not confirm them",
        edits: &[Edit {
            file: PUBLISH,
            original: "                Err(NotPublished::Failed(failure)) => Err(failure),",
            planted: "                Err(NotPublished::Failed(_)) if PLANTED => {
                    self.store.mark_published(alert, \"planted\", clock.now(), deadline).await
                }
                Err(NotPublished::Failed(failure)) => Err(failure),",
        }],
    },
    Planted {
        name: "publish-first",
        what: "alerts are published before their rows are stored",
        edits: &[Edit {
            file: COMMITS,
            original: "                Err(error) => {
                    let failure = error.into_failure(OPERATION);
                    if failure.kind == FailureKind::Unknown",
            planted: "                Err(error) if PLANTED && !matches!(&error, CallError::NotStarted) => {
                    drop(error.into_failure(OPERATION));
                    let committed = |alerts| Commit::Committed(alerts);
                    chunk.settle(transaction.alerts.into_iter().map(committed).enumerate().collect(), &mut settled);
                    break;
                }
                Err(error) => {
                    let failure = error.into_failure(OPERATION);
                    if failure.kind == FailureKind::Unknown",
        }],
    },
    Planted {
        name: "publishing-blocks",
        what: "the next chunk is committed only once the alerts of this one are published",
        edits: &[Edit {
            file: SCORING,
            original: "                        stage.queue.extend(alerts);
                        scored.push",
            planted: "                        if PLANTED {
                            let (inline, queued) = queue();
                            inline.extend(alerts.clone());
                            drop(inline);
                            self.publisher.drain(queued, stage.clock, stage.deadline, |_, _| {}).await;
                        }
                        stage.queue.extend(alerts);
                        scored.push",
        }],
    },
    Planted {
        name: "fresh-token",
        what: "each attempt of a transaction has a token of its own",
        edits: &[Edit {
            file: "shared/records/src/store/api_calls.rs",
            original: "            .client_request_token(&batch.token)",
            planted: "            .client_request_token(if PLANTED { uuid::Uuid::new_v4().to_string() } else { batch.token.clone() })",
        }],
    },
    Planted {
        name: "checkpoint-past-failure",
        what: "records that are not done are not named in the answer to the stream",
        edits: &[Edit {
            file: "functions/score/src/lib.rs",
            original: "            BatchAnswer::new(&not_done, &records)",
            planted: "            BatchAnswer::new(if PLANTED { &[] } else { &not_done }, &records)",
        }],
    },
    Planted {
        name: "wall-clock-again",
        what: "the remaining time is read from the wall clock",
        edits: &[
            Edit { file: DEADLINE, original: "    at: Instant,\n}", planted: "    at: Instant,\n    wall: SystemTime,\n}" },
            Edit {
                file: DEADLINE,
                original: "        Self { at: Instant::now() + left.min(LONGEST) }",
                planted: "        Self { at: Instant::now() + left.min(LONGEST), wall: SystemTime::now() + left.min(LONGEST) }",
            },
            Edit {
                file: DEADLINE,
                original: "        Self { at: self.at.checked_sub(margin).unwrap_or(self.at) }",
                planted: "        let wall = self.wall.checked_sub(margin).unwrap_or(self.wall);
        Self { at: self.at.checked_sub(margin).unwrap_or(self.at), wall }",
            },
            Edit {
                file: DEADLINE,
                original: "        self.at.saturating_duration_since(Instant::now())",
                planted: "        if PLANTED {
            return self.wall.duration_since(SystemTime::now()).unwrap_or_default();
        }
        self.at.saturating_duration_since(Instant::now())",
            },
            Edit {
                file: DEADLINE,
                original: "        tokio::time::timeout_at(self.at, work).await.ok()",
                planted: "        if PLANTED {
            let mut work = pin!(work);
            while !self.remaining().is_zero() {
                if let Ok(output) = tokio::time::timeout(Duration::from_millis(50), &mut work).await {
                    return Some(output);
                }
            }
            return None;
        }
        tokio::time::timeout_at(self.at, work).await.ok()",
            },
        ],
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
        name: "quiet-from-quiet",
        what: "the quiet period is counted from the last alert, a quiet one too",
        edits: &[Edit {
            file: PROFILE,
            original: "        if alert.status != AlertStatus::Quiet {",
            planted: "        if alert.status != AlertStatus::Quiet || PLANTED {",
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
    Planted {
        name: "other-body-accepted",
        what: "a repeat with another body is answered as if it were stored",
        edits: &[Edit {
            file: SUBMISSIONS,
            original: "    } else if stored.digest == submission.digest {",
            planted: "    } else if stored.digest == submission.digest || PLANTED {",
        }],
    },
    Planted {
        name: "new-receipt",
        what: "a repeat gets a receipt of its own",
        edits: &[Edit {
            file: SUBMIT,
            original: "            PutOutcome::Repeated(stored) => Ok((StatusCode::OK, *stored)),",
            planted: "            PutOutcome::Repeated(_) if PLANTED => Ok((StatusCode::OK, submission)),
            PutOutcome::Repeated(stored) => Ok((StatusCode::OK, *stored)),",
        }],
    },
    Planted {
        name: "unknown-accepted",
        what: "a write whose outcome is unknown is answered as stored",
        edits: &[Edit {
            file: SUBMIT,
            original: "                Err(failure) => return Err(not_stored(failure)),
            },
            Some(correction)",
            planted: "                Err(failure) if PLANTED && failure.kind == FailureKind::Unknown => (PutOutcome::Stored, submission),
                Err(failure) => return Err(not_stored(failure)),
            },
            Some(correction)",
        }],
    },
    Planted {
        name: "sweep-races",
        what: "sweep and score mark an alert whatever its state is by then",
        edits: &[Edit {
            file: "shared/records/src/store/alerts.rs",
            original: "            .condition_expression(\"attribute_exists(pk) AND #status = :pending\")",
            planted: "            .condition_expression(if PLANTED {
                \"attribute_exists(pk) AND :pending = :pending\"
            } else {
                \"attribute_exists(pk) AND #status = :pending\"
            })",
        }],
    },
    Planted {
        name: "escalation-first",
        what: "a step of an escalation is published before it is stored",
        edits: &[Edit {
            file: "shared/records/src/store/escalations.rs",
            original: "        let escalated = update_once(update, UPDATE, deadline).await?;
        alert.escalation += 1;",
            planted: "        let escalated = if PLANTED { true } else { update_once(update, UPDATE, deadline).await? };
        alert.escalation += 1;",
        }],
    },
    Planted {
        name: "bad-record-fails-batch",
        what: "a record that cannot be read fails its whole batch",
        edits: &[Edit {
            file: "shared/scoring/src/batch.rs",
            original: "                Err(unreadable) => batch",
            planted: "                Err(_) if PLANTED => return batch,
                Err(unreadable) => batch",
        }],
    },
    Planted {
        name: "patient-logged",
        what: "the patient's pseudonym is in a log line",
        edits: &[Edit {
            file: SCORING,
            original: "        let together = AssertUnwindSafe(self.commit_chunks(site, stage)).catch_unwind();",
            planted: "        if PLANTED && let Some(first) = site.first() {
            tracing::info!(patient = first.to_score().submission.patient.as_str(), \"a site is committed\");
        }
        let together = AssertUnwindSafe(self.commit_chunks(site, stage)).catch_unwind();",
        }],
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn each_bug_can_be_planted_in_the_code_as_it_is() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the crate is in the workspace");
        let mut stale = Vec::new();
        for bug in ALL {
            let files: BTreeSet<&str> = bug.edits.iter().map(|edit| edit.file).collect();
            for file in files {
                let text = std::fs::read_to_string(root.join(file)).expect("the file is there");
                stale.extend(bug.plant(file, &text).err());
            }
        }
        assert!(stale.is_empty(), "{}", stale.join("\n"));
    }
}
