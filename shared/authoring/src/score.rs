//! Scores answers as the function `score` does, from the instrument's definition alone: `cargo run -- score`.

use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};

use clinical::document::{Finding, parse_json};
use clinical::instruments::{Instrument, NotEvaluated, NotScored, Outcome, Score};
use serde::Serialize;
use serde::de::IgnoredAny;
use serde_json::Value;

/// Scores each line of `input`, or `input` as one object, and writes a line for each to `output` in order: the score in
/// the shape of the API, with the ids of the rules that fire as its alerts; or the number of the line and all its
/// validation errors. Returns whether all lines are valid.
///
/// # Errors
/// If the input cannot be read or the output cannot be written.
pub fn score(instrument: &Instrument, input: impl Read, output: impl Write) -> io::Result<bool> {
    let mut input = BufReader::new(input);
    let mut lines = Lines { instrument, output: BufWriter::new(output), number: 0, all_valid: true };
    let mut line = Vec::new();
    let mut first = true;
    // Some editors put a byte order mark before the first line.
    if input.fill_buf()?.starts_with(b"\xef\xbb\xbf") {
        input.consume(3);
    }
    while input.read_until(b'\n', &mut line)? > 0 {
        if first && !is_blank(&line) {
            first = false;
            if is_truncated(&line) {
                return lines.rest(line, &mut input);
            }
        }
        lines.line(&line)?;
        line.clear();
        // Someone who types the lines waits for each result.
        if input.buffer().is_empty() {
            lines.output.flush()?;
        }
    }
    lines.end()
}

struct Lines<'a, W: Write> {
    instrument: &'a Instrument,
    output: BufWriter<W>,
    /// The number of the line that was read last, from 1.
    number: u64,
    all_valid: bool,
}

impl<W: Write> Lines<'_, W> {
    /// Handles a first line that ends inside an object: it begins an object over several lines, or is truncated.
    fn rest(mut self, mut bytes: Vec<u8>, input: &mut impl Read) -> io::Result<bool> {
        input.read_to_end(&mut bytes)?;
        if serde_json::from_slice::<IgnoredAny>(&bytes).is_ok() {
            self.line(&bytes)?;
        } else {
            bytes.split_inclusive(|byte| *byte == b'\n').try_for_each(|line| self.line(line))?;
        }
        self.end()
    }

    fn line(&mut self, line: &[u8]) -> io::Result<()> {
        self.number += 1;
        if is_blank(line) {
            return Ok(());
        }
        let text = match outcome(self.instrument, line) {
            Ok(outcome) => serde_json::to_string(&Scored::new(self.instrument, &outcome)),
            Err(errors) => {
                self.all_valid = false;
                serde_json::to_string(&InvalidLine { line: self.number, errors })
            }
        };
        writeln!(self.output, "{}", text?)
    }

    fn end(mut self) -> io::Result<bool> {
        self.output.flush()?;
        Ok(self.all_valid)
    }
}

fn outcome(instrument: &Instrument, line: &[u8]) -> Result<Outcome, Vec<Finding>> {
    let (json, findings) = parse_json(line).map_err(|finding| vec![finding])?;
    let mut errors = findings.listed().to_vec();
    let Some(answers) = json.get("answers").and_then(Value::as_object) else {
        let detail = "the answers by item id are missing; for example {\"answers\":{\"1\":0}}".to_owned();
        errors.push(Finding { pointer: "/answers".to_owned(), code: "field.required", detail });
        return Err(errors);
    };
    let outcome = instrument.check(answers).and_then(|answers| {
        // The answers are valid, so this does not fail.
        instrument.assess(&answers).map_err(|misfit| misfit.findings)
    });
    match outcome {
        Ok(outcome) if errors.is_empty() => Ok(outcome),
        outcome => {
            let misfits = outcome.err().unwrap_or_default().into_iter();
            errors.extend(misfits.map(|misfit| Finding { pointer: format!("/answers{}", misfit.pointer), ..misfit }));
            Err(errors)
        }
    }
}

fn is_blank(line: &[u8]) -> bool {
    line.trim_ascii().is_empty()
}

fn is_truncated(line: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(line).is_err_and(|error| error.is_eof())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Scored<'a> {
    instrument_hash: &'a str,
    scores: &'a [Score],
    not_scored: &'a [NotScored],
    /// The ids of the rules that fire.
    alerts: Vec<&'a str>,
    /// Rules that could not be evaluated; absent if there are none.
    #[serde(skip_serializing_if = "<[NotEvaluated]>::is_empty")]
    not_evaluated: &'a [NotEvaluated],
}

impl<'a> Scored<'a> {
    fn new(instrument: &'a Instrument, outcome: &'a Outcome) -> Self {
        Self {
            instrument_hash: instrument.hash(),
            scores: &outcome.scores,
            not_scored: &outcome.not_scored,
            alerts: outcome.alerts.iter().map(|fired| fired.rule.as_str()).collect(),
            not_evaluated: &outcome.not_evaluated,
        }
    }
}

#[derive(Serialize)]
struct InvalidLine {
    line: u64,
    errors: Vec<Finding>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::catalog::resolve;

    fn scored(named: &str, input: &[u8]) -> (bool, Vec<Value>) {
        let mut output = Vec::new();
        let all_valid = score(&resolve(named).unwrap(), input, &mut output).unwrap();
        let lines = String::from_utf8(output).unwrap();
        (all_valid, lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    }

    /// The line's number, and the pointer and code of each error.
    fn invalid(line: &Value) -> (u64, Vec<(&str, &str)>) {
        let errors = line["errors"].as_array().unwrap().iter();
        let at = errors.map(|error| (error["pointer"].as_str().unwrap(), error["code"].as_str().unwrap()));
        (line["line"].as_u64().unwrap(), at.collect())
    }

    #[test]
    fn a_line_is_scored_in_the_shape_of_the_interface() {
        let phq_9 = resolve("phq-9").unwrap();
        let complete = r#"{"answers":{"1":1,"2":0,"3":1,"4":0,"5":0,"6":1,"7":2,"8":0,"9":1,"10":0},"id":"ignored"}"#;
        let partial = r#"{"answers":{"1":3,"9":0}}"#;
        let (all_valid, lines) = scored("phq-9", format!("{complete}\n\n{partial}").as_bytes());
        assert!(all_valid);
        assert_eq!(
            lines,
            [
                json!({
                    "instrumentHash": phq_9.hash(), "notScored": [], "alerts": ["safety"],
                    "scores": [{"id": "total", "value": 6, "range": [0, 27], "band": "mild"}],
                }),
                json!({
                    "instrumentHash": phq_9.hash(), "scores": [], "alerts": [],
                    "notScored": [
                        {"id": "total", "reason": "items 2, 3, 4, 5, 6, 7, 8 are not answered; all 9 are needed"},
                    ],
                }),
            ]
        );
    }

    #[test]
    fn a_rule_about_change_is_reported_as_not_evaluated() {
        let answers: Vec<_> = (1..=20).map(|id| format!("\"{id}\":1")).collect();
        let (_, lines) = scored("pcl-5", format!("{{\"answers\":{{{}}}}}", answers.join(",")).as_bytes());
        assert_eq!(lines[0]["notEvaluated"][0]["reason"], "earlier submissions are not known");
    }

    #[test]
    fn an_invalid_line_is_reported_by_pointer_and_the_others_are_scored() {
        let input =
            b"\n{\"answers\":{\"1\":0,\"2\":0}}\nsecret\n{\"answers\":{\"1\":7,\"x\":1}}\n[]\n{\"answers\":[]}\n\
            {\"answers\":{\"1\":0,\"1\":3,\"2\":0}}\n\xff\n{\"answers\":{\"1\":3,\"2\":3}}";
        let (all_valid, lines) = scored("phq-2", input);
        assert!(!all_valid);
        assert_eq!(lines.len(), 8);
        assert_eq!(lines[0]["scores"][0]["value"], 0);
        assert_eq!(invalid(&lines[1]), (3, vec![("", "json.syntax")]));
        assert_eq!(invalid(&lines[2]), (4, vec![("/answers/1", "item.code"), ("/answers/x", "item.unknown")]));
        assert_eq!(invalid(&lines[3]), (5, vec![("/answers", "field.required")]));
        assert_eq!(invalid(&lines[4]), (6, vec![("/answers", "field.required")]));
        assert_eq!(invalid(&lines[5]), (7, vec![("/answers/1", "json.duplicate-key")]));
        assert_eq!(invalid(&lines[6]), (8, vec![("", "json.syntax")]));
        assert_eq!(lines[7]["scores"][0]["value"], 6);
    }

    #[test]
    fn an_object_may_span_several_lines() {
        let (all_valid, lines) =
            scored("phq-2", b"\xef\xbb\xbf{\n  \"answers\": {\n    \"1\": 2,\n    \"2\": 1\n  }\n}\n");
        assert!(all_valid, "{lines:?}");
        assert_eq!((lines.len(), &lines[0]["scores"][0]["value"]), (1, &json!(3)));
    }

    #[test]
    fn a_truncated_first_line_does_not_affect_the_others() {
        let (all_valid, lines) = scored("phq-2", b"\n{\"answers\":{\"1\":2,\n{\"answers\":{\"1\":2,\"2\":1}}\n");
        assert!(!all_valid);
        assert_eq!(invalid(&lines[0]), (2, vec![("", "json.syntax")]));
        assert_eq!(lines[1]["scores"][0]["value"], 3);
    }

    #[test]
    fn blank_input_gives_no_output() {
        assert_eq!(scored("phq-2", b" \n\n"), (true, vec![]));
    }
}
