//! Bugs of the API, the stream and what leaves the system.

use super::{Edit, Planted};

const SUBMISSIONS: &str = "shared/records/src/store/submissions.rs";
const SCORING: &str = "shared/scoring/src/lib.rs";
const DEADLINE: &str = "shared/invocation/src/deadline.rs";
const DRAFTS: &str = "shared/records/src/store/drafts.rs";
const SUBMIT: &str = "functions/submit/src/lib.rs";

pub(super) const BUGS: &[Planted] = &[
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
    Planted {
        name: "draft-overwritten",
        what: "a draft is stored whatever another device has stored since it was read",
        edits: &[Edit {
            file: DRAFTS,
            original: "            .condition_expression(\"#etag = :etag AND #digest <> :digest AND #expires_at > :now\")",
            planted: "            .condition_expression(if PLANTED {
                \":etag = :etag AND attribute_exists(#etag) AND #digest <> :digest AND #expires_at > :now\"
            } else {
                \"#etag = :etag AND #digest <> :digest AND #expires_at > :now\"
            })",
        }],
    },
    Planted {
        name: "draft-stays",
        what: "a draft is still read once its submission is stored",
        edits: &[Edit {
            file: DRAFTS,
            original: "        if items.iter().any(|item| is_at(item, &submission)) {",
            planted: "        if items.iter().any(|item| is_at(item, &submission)) && !(PLANTED) {",
        }],
    },
];
