//! Bugs of alerts and their publication.

use super::{Edit, Planted};

const COMMITS: &str = "shared/records/src/store/commits.rs";
const PROFILE: &str = "shared/records/src/items/profile.rs";
const SCORING: &str = "shared/scoring/src/lib.rs";
const PUBLISH: &str = "shared/scoring/src/publish.rs";

pub(super) const BUGS: &[Planted] = &[
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
                    let committed = |(_, raised)| Commit::Committed(raised);
                    chunk.settle(transaction.scored.into_iter().map(committed).enumerate().collect(), &mut settled);
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
        name: "quiet-from-quiet",
        what: "the quiet period is counted from the last alert, a quiet one too",
        edits: &[Edit {
            file: PROFILE,
            original: "        if alert.status != AlertStatus::Quiet {",
            planted: "        if alert.status != AlertStatus::Quiet || PLANTED {",
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
            planted:
                "        let escalated = if PLANTED { true } else { update_once(update, UPDATE, deadline).await? };
        alert.escalation += 1;",
        }],
    },
    Planted {
        name: "snooze-ignored",
        what: "an alert escalates as if it were not snoozed",
        edits: &[
            Edit {
                file: "functions/sweep/src/lib.rs",
                original: "        let due = alert.snoozed_until().map_or(due, |until| due.max(until));",
                planted: "        let due = alert.snoozed_until().filter(|_| !(PLANTED)).map_or(due, |until| due.max(until));",
            },
            Edit {
                file: "shared/records/src/store/snoozes.rs",
                original: "        let due = if alert.list == Some(List::Open) {",
                planted: "        let due = if alert.list == Some(List::Open) && !(PLANTED) {",
            },
        ],
    },
];
