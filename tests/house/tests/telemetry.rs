//! The guide to logs and metrics names what the code reports, and nothing else.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::collections::{BTreeMap, BTreeSet};

use house::{files, root, text};
use invocation::{metrics, telemetry};

/// An event of the code.
#[derive(Debug, PartialEq)]
struct Event {
    level: String,
    /// `None` where a value has it.
    name: Option<String>,
    keys: Vec<String>,
}

/// The events that `source` logs.
fn events(source: &str) -> Vec<Event> {
    let starts = ["error", "warn", "info", "debug"].into_iter().flat_map(|level| {
        let macro_call = format!("tracing::{level}!(");
        source.match_indices(&macro_call).map(|(at, call)| (level, at + call.len())).collect::<Vec<_>>()
    });
    let event = |(level, start): (&str, usize)| {
        let fields = arguments(&source[start..]);
        let of = |field: &&str| field.strip_prefix("event = ").map(str::to_owned);
        let name =
            fields.iter().find_map(of).and_then(|name| Some(name.strip_prefix('"')?.strip_suffix('"')?.to_owned()));
        let key = |field: &&str| {
            let key = field.trim_start_matches(['%', '?']).split('=').next().unwrap_or_default().trim();
            (!key.starts_with('"')).then(|| key.to_owned())
        };
        Event { level: level.to_uppercase(), name, keys: fields.iter().filter_map(key).collect() }
    };
    starts.map(event).collect()
}

/// The arguments of a call, whose opening bracket is before `rest`.
fn arguments(rest: &str) -> Vec<&str> {
    let (mut depth, mut quoted, mut escaped, mut start) = (1, false, false, 0);
    let mut arguments = Vec::new();
    for (at, c) in rest.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 1 => {
                arguments.push(rest[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
        if depth == 0 {
            arguments.push(rest[start..at].trim());
            break;
        }
    }
    arguments.retain(|argument| !argument.is_empty());
    arguments
}

/// The code of all functions and of what they share.
fn sources() -> Vec<String> {
    let files = ["functions", "shared"].into_iter().flat_map(|folder| files(folder, ".rs"));
    let code = files.filter(|file| file.components().any(|part| part.as_os_str() == "src"));
    code.map(|file| text(&file).split("#[cfg(test)]\nmod tests").next().unwrap().to_owned()).collect()
}

/// The rows of the table under the heading `heading`, each as its cells without quotes.
fn table(heading: &str) -> Vec<Vec<String>> {
    let guide = text(&root().join("functions/TELEMETRY.md"));
    let section = guide.split("\n## ").find(|section| section.starts_with(heading)).unwrap();
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    let cells = |row: &str| row.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect();
    rows.map(cells).collect()
}

#[test]
fn events_are_read_from_code() {
    let source = "tracing::error!(event = \"one, or (two\", %failure, kind = kind.name(), id = f(a, b), rest);\n\
                  tracing::info!(event = answers.event, ?error, \"a sentence, here\");";
    let event = |level: &str, name: Option<&str>, keys: &[&str]| Event {
        level: level.to_owned(),
        name: name.map(str::to_owned),
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
    };
    let expected = [
        event("ERROR", Some("one, or (two"), &["event", "failure", "kind", "id", "rest"]),
        event("INFO", None, &["event", "error"]),
    ];
    assert_eq!(events(source), expected);
}

#[test]
fn the_guide_has_each_event_with_its_level() {
    let mut logged: BTreeMap<String, String> = BTreeMap::new();
    for source in sources() {
        for event in events(&source) {
            if let Some(name) = event.name {
                let level = logged.entry(name.clone()).or_insert_with(|| event.level.clone());
                assert_eq!(*level, event.level, "{name} has two levels");
            }
        }
        // Those of failed writes are named where the answers to them are.
        for rest in source.split("event: \"").skip(1) {
            logged.insert(rest.split('"').next().unwrap().to_owned(), "ERROR".to_owned());
        }
    }
    assert!(logged.len() > 40, "only {logged:?} were found");
    let guide: BTreeMap<String, String> =
        table("Events").into_iter().map(|cells| (cells[0].clone(), cells[1].clone())).collect();
    assert_eq!(guide, logged);
}

#[test]
fn the_guide_has_each_key_of_a_line() {
    let mut keys: BTreeSet<String> = telemetry::KEYS.map(str::to_owned).into();
    for source in sources() {
        keys.extend(events(&source).into_iter().flat_map(|event| event.keys));
    }
    let guide = table("Keys of a line");
    let guide: BTreeSet<String> = guide.iter().flat_map(|cells| cells[0].split(", ")).map(str::to_owned).collect();
    assert_eq!(guide, keys);
}

#[test]
fn every_event_has_a_name() {
    for source in sources() {
        for event in events(&source) {
            assert!(event.keys.iter().any(|key| key == "event"), "{event:?}");
        }
    }
}

#[test]
fn the_guide_has_each_metric_with_its_unit_and_dimension() {
    let reported: BTreeSet<[String; 3]> = metrics::ALL
        .iter()
        .map(|metric| {
            let dimension = metric.dimension.map_or("", metrics::Dimension::as_str);
            [metric.name, metric.unit.as_str(), dimension].map(str::to_owned)
        })
        .collect();
    assert_eq!(reported.len(), metrics::ALL.len(), "a name is given twice");
    let guide = table("Metrics").into_iter().map(|cells| [cells[0].clone(), cells[1].clone(), cells[2].clone()]);
    assert_eq!(guide.collect::<BTreeSet<_>>(), reported);
}

#[test]
fn each_metric_is_reported_somewhere() {
    let code = sources().concat();
    let constants = text(&root().join("shared/invocation/src/metrics.rs"));
    for name in constants.lines().filter_map(|line| line.strip_prefix("pub const ")?.split(": Metric").next()) {
        if name.starts_with("ALL") {
            continue;
        }
        assert!(code.contains(&format!("metrics::{name}")), "nothing reports {name}");
    }
}
