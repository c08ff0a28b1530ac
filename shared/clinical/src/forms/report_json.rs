//! The JSON form of a report, with messages in one language.

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::Value;

use super::form::Form;
use super::program::LoadedRule;
use super::report::{CheckReport, FindingSource, Reason, RowCounts, RowFinding, RowReport, RowVerdict};
use super::texts::Language;
use crate::document::texts::in_language;

/// The options of a report's JSON form.
#[derive(Debug, Clone, Copy)]
pub struct ReportOptions<'a> {
    /// The batch's id.
    pub batch: &'a str,
    /// The language of the messages, a tag that the form has.
    pub language: &'a str,
    /// Whether findings include the rejected values.
    pub values: bool,
}

impl Form {
    /// The report as JSON: `{batch, form, version, hash, counts, notRun, notChecked, rows}`. `go_on` is called with
    /// each piece that is added, and stops by returning false.
    ///
    /// # Errors
    /// The number of written rows when `go_on` returned false.
    pub fn to_json(
        &self,
        report: &CheckReport<'_>,
        options: ReportOptions<'_>,
        mut go_on: impl FnMut(&str) -> bool,
    ) -> Result<String, usize> {
        let language = Language::of(options.language);
        let not_run = report.not_run.iter().map(|(place, why)| {
            let (check, version) = self.names(FindingSource::Check(*place));
            NotRunBody { check, version, code: why.code(), reason: why.text(language).to_owned() }
        });
        let head = HeadBody {
            batch: options.batch,
            form: self.id().as_str(),
            version: self.version().as_str(),
            hash: self.hash(),
            language: options.language,
            counts: report.counts.into(),
            not_run: not_run.collect(),
            not_checked: &report.not_checked,
        };
        let mut text = to_json(&head);
        // The rows are the last member.
        text.pop();
        text.push_str(",\"rows\":[");
        if !go_on(&text) {
            return Err(0);
        }
        for (index, row) in report.rows.iter().enumerate() {
            let piece = to_json(&self.row(index, row, report.key(index), options, language));
            let start = text.len();
            text.push_str(if index > 0 { "," } else { "" });
            text.push_str(&piece);
            if !go_on(&text[start..]) {
                return Err(index);
            }
        }
        text.push_str("]}");
        Ok(text)
    }

    /// The id and version of a check.
    pub fn names(&self, check: FindingSource) -> (String, &str) {
        match check {
            FindingSource::Check(place) => {
                let check = &self.definition.checks[place];
                (check.id.as_str().to_owned(), check.version.as_str())
            }
            FindingSource::Field(field, fault) => {
                (format!("{}.{}", self.definition.fields[field].id, fault.kind()), self.version().as_str())
            }
            FindingSource::Row(_) => ("row".to_owned(), self.version().as_str()),
        }
    }

    /// The message of a finding, in the language `tag` or, if the form does not have it, in its first.
    pub fn message(&self, check: FindingSource, tag: &str) -> String {
        match check {
            FindingSource::Check(place) => in_language(&self.definition.checks[place].message, tag).to_owned(),
            FindingSource::Field(field, fault) => self.field_text(field, fault, Language::of(tag)),
            FindingSource::Row(kind) => kind.text(Language::of(tag)).to_owned(),
        }
    }

    /// The message of a reason why a check could not be evaluated.
    pub fn reason(&self, reason: Reason, tag: &str) -> String {
        self.reason_text(reason, Language::of(tag))
    }

    fn row<'a>(
        &'a self,
        index: usize,
        row: &'a RowReport<'a>,
        key: &'a [Option<&'a Value>],
        options: ReportOptions<'a>,
        language: Language,
    ) -> RowBody<'a> {
        let findings = row.findings.iter().map(|finding| self.finding(finding, options)).collect();
        let not_evaluated = row.not_evaluated.iter().map(|(place, reason)| {
            let (check, version) = self.names(FindingSource::Check(*place));
            NotRunBody { check, version, code: reason.code(), reason: self.reason_text(*reason, language) }
        });
        let status = match row.verdict() {
            RowVerdict::Clean => "clean",
            RowVerdict::NotEvaluated => "not-evaluated",
            RowVerdict::Warnings => "warnings",
            RowVerdict::Rejected => "rejected",
        };
        RowBody {
            index,
            status,
            key: KeyBody { form: self, values: key },
            findings,
            not_evaluated: not_evaluated.collect(),
        }
    }

    fn finding<'a>(&'a self, finding: &'a RowFinding<'a>, options: ReportOptions<'a>) -> FindingBody<'a> {
        let (check, version) = self.names(finding.check);
        let kind = match finding.check {
            FindingSource::Check(place) => kind(&self.program.checks[place].rule),
            FindingSource::Field(_, fault) => fault.kind(),
            FindingSource::Row(_) => "row",
        };
        FindingBody {
            check,
            version,
            kind,
            severity: finding.severity,
            field: finding.field.map(|field| self.definition.fields[field].id.as_str()),
            message: self.message(finding.check, options.language),
            query: "open",
            other_rows: &finding.others,
            value: finding.value.filter(|_| options.values),
        }
    }
}

fn to_json(body: &impl Serialize) -> String {
    serde_json::to_string(body).expect("maps with string keys always serialize")
}

fn kind(rule: &LoadedRule) -> &'static str {
    match rule {
        LoadedRule::Required(_) | LoadedRule::RequiredAny(_) => "required",
        LoadedRule::Forbidden(_) => "forbidden",
        LoadedRule::OneOf(..) | LoadedRule::AnyOf(..) => "codes",
        LoadedRule::Range { .. } => "range",
        LoadedRule::Order { .. } => "order",
        LoadedRule::NotFuture(_) => "future",
        LoadedRule::Compare { .. } => "compare",
        LoadedRule::Equals { .. } => "equals",
        LoadedRule::Unique(_) => "unique",
        LoadedRule::Repeats { .. } => "repeats",
        LoadedRule::Change { .. } => "change",
        LoadedRule::KnownSite(_) => "site",
        LoadedRule::KnownSubject(_) => "subject",
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HeadBody<'a> {
    batch: &'a str,
    form: &'a str,
    version: &'a str,
    hash: &'a str,
    language: &'a str,
    counts: CountsBody,
    not_run: Vec<NotRunBody<'a>>,
    not_checked: &'a [&'a str],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CountsBody {
    rows: usize,
    clean: usize,
    with_warnings: usize,
    rejected: usize,
    not_evaluated: usize,
}

impl From<RowCounts> for CountsBody {
    fn from(counts: RowCounts) -> Self {
        let RowCounts { rows, clean, with_warnings, rejected, not_evaluated } = counts;
        Self { rows, clean, with_warnings, rejected, not_evaluated }
    }
}

#[derive(Serialize)]
struct NotRunBody<'a> {
    check: String,
    version: &'a str,
    code: &'static str,
    reason: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RowBody<'a> {
    index: usize,
    status: &'static str,
    key: KeyBody<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    findings: Vec<FindingBody<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_evaluated: Vec<NotRunBody<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FindingBody<'a> {
    check: String,
    version: &'a str,
    kind: &'static str,
    severity: super::definition::CheckSeverity,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    message: String,
    query: &'static str,
    #[serde(skip_serializing_if = "<[usize]>::is_empty")]
    other_rows: &'a [usize],
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a Value>,
}

/// The key fields of a row with their values.
struct KeyBody<'a> {
    form: &'a Form,
    values: &'a [Option<&'a Value>],
}

impl Serialize for KeyBody<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (field, value) in self.form.definition.key.iter().zip(self.values) {
            // Objects and lists do not help to find a row.
            if let Some(value) = value.filter(|value| !value.is_object() && !value.is_array()) {
                map.serialize_entry(field.as_str(), value)?;
            }
        }
        map.end()
    }
}
