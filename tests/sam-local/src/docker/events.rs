//! The events of `tests/events`.

use std::fs;

use sam_local::Cloud;
use serde_json::Value;

use crate::Result;

/// Function, event and expected status; `None`: a batch or a run without failures. The order matters: what is read was
/// written before.
pub(crate) const INVOCATIONS: &[(&str, &str, Option<u16>)] = &[
    ("SubmitFunction", "submit-post", Some(202)),
    ("SubmitFunction", "submit-post", Some(200)),
    ("SubmitFunction", "submit-post-conflict", Some(409)),
    ("SubmitFunction", "submit-post-invalid", Some(422)),
    ("SubmitFunction", "submit-post-batch", Some(207)),
    ("SubmitFunction", "submit-get", Some(200)),
    ("SubmitFunction", "submit-post-fhir", Some(202)),
    ("SubmitFunction", "submit-post-correction", Some(202)),
    ("SubmitFunction", "submit-post-fhir-invalid", Some(422)),
    ("SubmitFunction", "submit-get-questionnaire", Some(200)),
    ("ScoreFunction", "score-stream", None),
    ("SubmitFunction", "submit-get-staff", Some(200)),
    ("CountsFunction", "counts-post-call", Some(202)),
    ("CountsFunction", "counts-get", Some(200)),
    ("CountsFunction", "counts-get-site", Some(200)),
    ("InstrumentsFunction", "instruments-get", Some(200)),
    ("InstrumentsFunction", "instruments-get-one", Some(200)),
    ("DefinitionsFunction", "definitions-put-instrument", Some(201)),
    ("DefinitionsFunction", "definitions-put-study", Some(201)),
    ("DefinitionsFunction", "definitions-put-study", Some(200)),
    ("DefinitionsFunction", "definitions-put-study-invalid", Some(422)),
    ("DraftsFunction", "drafts-put", Some(201)),
    ("DraftsFunction", "drafts-put", Some(200)),
    ("DraftsFunction", "drafts-get", Some(200)),
    ("DueFunction", "due-get", Some(200)),
    ("DueFunction", "due-site-get", Some(200)),
    ("PatientsFunction", "patients-get", Some(200)),
    ("RegistryFunction", "registry-put", Some(201)),
    ("RegistryFunction", "registry-put", Some(200)),
    ("AuditFunction", "audit-get", Some(200)),
    ("AlertsFunction", "alerts-get", Some(200)),
    ("AlertsFunction", "alerts-get-waiting", Some(200)),
    ("AlertsFunction", "alerts-snooze", Some(409)),
    ("AlertsFunction", "alerts-acknowledge", Some(200)),
    ("SweepFunction", "sweep-schedule", None),
    ("ReconcileFunction", "reconcile-schedule", None),
    ("ValidateFunction", "validate-post", Some(200)),
    ("ValidateFunction", "validate-post-invalid", Some(422)),
    ("ReportFunction", "report-get", Some(200)),
];

/// The event `name`.
pub(crate) fn read(name: &str) -> Result<Value> {
    let file = Cloud::root().join(format!("tests/events/{name}.json"));
    let text = fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    Ok(serde_json::from_str(&text)?)
}
