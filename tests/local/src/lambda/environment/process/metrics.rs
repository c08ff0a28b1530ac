//! Metrics in a function's output: lines of CloudWatch's embedded metric format, read as CloudWatch Logs does.

use serde_json::{Map, Value};

use crate::feed::{self, Event, MetricValue};

/// The most values of one line that are shown.
const MOST: usize = 100;

/// The metrics of a line, if it has any.
pub(super) fn of(function: &str, line: &str) -> Option<Event> {
    // Most lines are none, and need not be parsed.
    if !line.contains("\"_aws\"") {
        return None;
    }
    let line: Value = serde_json::from_str(line).ok()?;
    let directives = line["_aws"]["CloudWatchMetrics"].as_array()?;
    let mut values = Vec::new();
    let mut dimensions = Map::new();
    for directive in directives {
        for metric in directive["Metrics"].as_array().into_iter().flatten() {
            let Some(name) = metric["Name"].as_str() else { continue };
            let unit = metric["Unit"].as_str().unwrap_or("None");
            let several = line[name].as_array();
            let single = several.is_none().then_some(&line[name]);
            for value in several.into_iter().flatten().chain(single).filter_map(Value::as_f64) {
                values.push(MetricValue { name: name.to_owned(), unit: unit.to_owned(), value });
            }
        }
        let named = directive["Dimensions"].as_array().into_iter().flatten().filter_map(Value::as_array).flatten();
        for name in named.filter_map(Value::as_str).filter(|name| line[*name].is_string()) {
            dimensions.insert(name.to_owned(), line[name].clone());
        }
    }
    values.truncate(MOST);
    let event = Event::Metrics { function: function.to_owned(), at: feed::now(), dimensions, values };
    matches!(&event, Event::Metrics { values, .. } if !values.is_empty()).then_some(event)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_of_the_embedded_metric_format_has_values_and_dimensions() {
        let directive = json!({"Namespace": "ePRO", "Dimensions": [["function"], []],
            "Metrics": [{"Name": "Scored", "Unit": "Count"}, {"Name": "Remaining", "Unit": "Milliseconds"}]});
        let line = json!({"_aws": {"Timestamp": 1, "CloudWatchMetrics": [directive]}, "function": "score", "Scored": 3,
            "Remaining": [10, 20.5], "else": "not shown"});
        let event = of("score", &line.to_string()).expect("it has metrics");
        let mut event = serde_json::to_value(event).expect("JSON");
        assert!(event["at"].take().is_string());
        let values = json!([{"name": "Scored", "unit": "Count", "value": 3.0},
            {"name": "Remaining", "unit": "Milliseconds", "value": 10.0},
            {"name": "Remaining", "unit": "Milliseconds", "value": 20.5}]);
        let expected = json!({"event": "metrics", "function": "score", "at": null, "dimensions": {"function": "score"},
            "values": values});
        assert_eq!(event, expected);
    }

    #[test]
    fn other_lines_have_none() {
        for line in
            ["", "a \"_aws\" text", r#"{"level":"INFO"}"#, r#"{"_aws":{}}"#, r#"{"_aws":{"CloudWatchMetrics":[]}}"#]
        {
            assert!(of("score", line).is_none(), "{line}");
        }
    }
}
