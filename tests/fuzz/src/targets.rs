//! The targets.

mod claims;
mod cloud;
mod cursor;
mod definitions;
mod fhir;
mod rows;
mod submissions;

use crate::{Memory, Target};

/// As much as the findings of an answer take: 200 with pointers of 1,000 bytes, in a few copies.
const FINDINGS: usize = 1024 * 1024;

/// The memory of a function, less what it has at its start.
const FUNCTION: usize = (256 - 32) * 1024 * 1024;

/// The memory of `validate`, less what it has at its start, and less the request and the answer, of 6 MB each, in several
/// copies.
const VALIDATE: usize = (1_769 - 169) * 1024 * 1024;

/// A tree of JSON values: an object with one member takes 640 bytes, and is written with 6, `{"":0}`.
const TREE: Memory = Memory { for_each_byte: 128, constant: FINDINGS, most: FUNCTION };

/// Two bytes of a list, `0,`, are a value in the tree, in its copy among the documents, and a rule of the pattern.
const PATTERN: Memory = Memory { for_each_byte: 256, constant: FINDINGS, most: FUNCTION };

/// Two bytes of a list, `a,`, are a node of the YAML parser and one of the reader, each with its place and its text.
const YAML: Memory = Memory { for_each_byte: 512, constant: FINDINGS, most: FUNCTION };

/// Three bytes are a row, `{},`, and a row without values has a finding for each required field. A batch has 50,000 rows
/// at most.
const REPORT: Memory = Memory { for_each_byte: 640, constant: FINDINGS, most: VALIDATE };

/// The largest body of an app's request.
const BODY: usize = 256 * 1024;

/// The largest batch of rows.
const BATCH_OF_ROWS: usize = 6 * 1024 * 1024;

/// All targets.
pub static TARGETS: [Target; 13] = [
    Target {
        name: "submission",
        about: "a submission, scored if it is valid",
        examples: &[],
        largest: 64 * 1024,
        full: BODY,
        memory: TREE,
        run: submissions::submission,
    },
    Target {
        name: "batch",
        about: "submissions kept while offline, scored if they are valid",
        examples: &[],
        largest: 64 * 1024,
        full: BODY,
        memory: TREE,
        run: submissions::batch,
    },
    Target {
        name: "response",
        about: "a FHIR QuestionnaireResponse, scored if it is valid",
        examples: &[],
        largest: 64 * 1024,
        full: BODY,
        memory: TREE,
        run: submissions::response,
    },
    Target {
        name: "questionnaire",
        about: "a FHIR Questionnaire, imported and loaded",
        examples: &["shared/clinical/tests/fhir/us-core-phq-9.json", "shared/clinical/tests/fhir/sdc-phq-9.json"],
        largest: 64 * 1024,
        full: 64 * 1024,
        memory: TREE,
        run: fhir::questionnaire,
    },
    Target {
        name: "claims",
        about: "the claims of an access token, through the local gateway and as API Gateway passes them",
        examples: &[],
        largest: 16 * 1024,
        full: 16 * 1024,
        memory: TREE,
        run: claims::claims,
    },
    Target {
        name: "dataset",
        about: "CDISC Dataset-JSON, checked against forms and read for a replay",
        examples: &[],
        largest: 64 * 1024,
        full: BATCH_OF_ROWS,
        memory: REPORT,
        run: rows::dataset,
    },
    Target {
        name: "rows",
        about: "rows by line or in a list, checked against forms",
        examples: &[],
        largest: 64 * 1024,
        full: BATCH_OF_ROWS,
        memory: REPORT,
        run: rows::rows,
    },
    Target {
        name: "cursor",
        about: "the cursor of a page",
        examples: &[],
        largest: 4 * 1024,
        full: 4 * 1024,
        memory: TREE,
        run: cursor::cursor,
    },
    Target {
        name: "policy",
        about: "filter policies of SNS and patterns of Lambda, with a document to match",
        examples: &[],
        largest: 16 * 1024,
        full: 16 * 1024,
        memory: PATTERN,
        run: cloud::policy,
    },
    Target {
        name: "template",
        about: "a SAM template, as the local cloud reads it",
        examples: &["template.yaml"],
        largest: 128 * 1024,
        full: 128 * 1024,
        memory: YAML,
        run: cloud::template,
    },
    Target {
        name: "instrument",
        about: "the definition of an instrument",
        examples: &[
            "shared/clinical/instruments/phq-9/1.0.0.json",
            "shared/clinical/instruments/pain-nrs/1.0.0.json",
            "shared/clinical/instruments/audit-c/1.1.0.json",
        ],
        largest: 64 * 1024,
        full: 64 * 1024,
        memory: TREE,
        run: definitions::instrument,
    },
    Target {
        name: "study",
        about: "the definition of a study",
        examples: &["shared/clinical/studies/demo.json"],
        largest: 64 * 1024,
        full: 64 * 1024,
        memory: TREE,
        run: definitions::study,
    },
    Target {
        name: "form",
        about: "the definition of a form",
        examples: &["shared/clinical/forms/vs/1.0.0.json"],
        largest: 64 * 1024,
        full: 64 * 1024,
        memory: TREE,
        run: definitions::form,
    },
];
