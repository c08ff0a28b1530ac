//! The pattern language of Lambda's event filters and SNS's filter policies, each with its own operators.
//!
//! A pattern is a JSON object of the shape of the documents that it matches. Its leaves are arrays of rules, and one
//! rule of each must match: `{"severity": ["critical", {"prefix": "warn"}]}`. All keys of an object must match; `$or` lists
//! alternatives.

use serde_json::{Map, Value};
use std::net::IpAddr;

/// The service whose operators a pattern uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `FilterCriteria` of an event source mapping on a DynamoDB stream.
    Lambda,
    /// `FilterPolicy` of an SNS subscription with the scope `MessageAttributes`.
    SnsAttributes,
    /// `FilterPolicy` of an SNS subscription with the scope `MessageBody`.
    SnsBody,
}

/// A parsed pattern.
#[derive(Debug, Clone)]
pub struct Pattern {
    root: Node,
    dialect: Dialect,
}

impl Pattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// If a part is not of the dialect. The message names it, in AWS's wording where SNS has one.
    pub fn parse(pattern: &Value, dialect: Dialect) -> Result<Self, Malformed> {
        let Value::Object(fields) = pattern else {
            return Err(Malformed("Filter policy must be a JSON object".to_owned()));
        };
        if fields.is_empty() && dialect == Dialect::Lambda {
            return Err(Malformed("the pattern is empty".to_owned()));
        }
        let root = parse_fields(fields, dialect)?;
        if dialect != Dialect::Lambda {
            check_limits(&root, dialect)?;
        }
        Ok(Self { root, dialect })
    }

    /// Whether `document` matches.
    pub fn matches(&self, document: &Value) -> bool {
        self.fits(&self.root, Some(document))
    }

    fn fits(&self, node: &Node, value: Option<&Value>) -> bool {
        match node {
            Node::Object { fields, alternatives } => match value {
                // An array of objects matches if one of its objects matches completely.
                Some(Value::Array(elements)) => elements.iter().any(|element| self.fits(node, Some(element))),
                _ => {
                    fields.iter().all(|(key, child)| self.fits(child, value.and_then(|value| value.get(key))))
                        && alternatives.iter().all(|either| either.iter().any(|node| self.fits(node, value)))
                }
            },
            Node::Leaf(rules) => rules.iter().any(|rule| self.rule_fits(rule, value)),
        }
    }

    fn rule_fits(&self, rule: &Rule, value: Option<&Value>) -> bool {
        let values = leaves(value);
        match rule {
            // `exists` is true of leaves only: AWS too takes a key with an object for absent.
            Rule::Exists(expected) => values.is_empty() != *expected,
            // In SNS none of several values may be excluded; in Lambda one other value is enough.
            Rule::AnythingBut(excluded) => {
                let other = |value: &&Value| !excluded.iter().any(|rule| scalar_fits(rule, value));
                !values.is_empty()
                    && match self.dialect {
                        Dialect::Lambda => values.iter().any(other),
                        Dialect::SnsAttributes | Dialect::SnsBody => values.iter().all(other),
                    }
            }
            rule => values.iter().any(|value| scalar_fits(rule, value)),
        }
    }
}

/// Why a pattern cannot be parsed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(String);

#[derive(Debug, Clone)]
enum Node {
    /// All keys must match, and one alternative of each `$or`.
    Object {
        fields: Vec<(String, Node)>,
        alternatives: Vec<Vec<Node>>,
    },
    Leaf(Vec<Rule>),
}

#[derive(Debug, Clone)]
enum Rule {
    Text(String),
    Number(Number),
    /// `true`, `false`, `null`
    Keyword(Value),
    Prefix(String),
    Suffix(String),
    EqualsIgnoreCase(String),
    PrefixIgnoreCase(String),
    SuffixIgnoreCase(String),
    Numeric(Vec<(Comparison, Number)>),
    Cidr(IpAddr, u8),
    Exists(bool),
    AnythingBut(Vec<Rule>),
}

/// Both services compare five digits after the decimal point.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
struct Number(f64);

impl Number {
    fn of(value: f64) -> Self {
        Self((value * 1e5).round())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

fn parse_fields(fields: &Map<String, Value>, dialect: Dialect) -> Result<Node, Malformed> {
    let mut keyed = Vec::with_capacity(fields.len());
    let mut alternatives = Vec::new();
    for (key, value) in fields {
        let node = match value {
            Value::Array(either) if key == "$or" && is_or(either) => {
                let either = either.iter().filter_map(Value::as_object);
                alternatives.push(either.map(|fields| parse_fields(fields, dialect)).collect::<Result<_, _>>()?);
                continue;
            }
            Value::Array(rules) if rules.is_empty() => {
                return Err(Malformed("Empty arrays are not allowed".to_owned()));
            }
            Value::Array(rules) => {
                Node::Leaf(rules.iter().map(|rule| parse_rule(key, rule, dialect)).collect::<Result<_, _>>()?)
            }
            Value::Object(fields) if dialect != Dialect::SnsAttributes => {
                if fields.is_empty() {
                    return Err(Malformed(format!("Empty objects are not allowed: \"{key}\"")));
                }
                parse_fields(fields, dialect)?
            }
            Value::Object(_) => {
                return Err(Malformed(
                    "Filter policy scope MessageAttributes does not support nested filter policy".to_owned(),
                ));
            }
            _ => {
                return Err(Malformed(format!("\"{key}\" must be an object or an array")));
            }
        };
        keyed.push((key.clone(), node));
    }
    Ok(Node::Object { fields: keyed, alternatives })
}

/// `$or` is an operator only with two or more objects; otherwise it is a key like any other.
fn is_or(alternatives: &[Value]) -> bool {
    alternatives.len() >= 2 && alternatives.iter().all(|a| a.as_object().is_some_and(|fields| !fields.is_empty()))
}

fn parse_rule(key: &str, rule: &Value, dialect: Dialect) -> Result<Rule, Malformed> {
    if let Some(rule) = exact(rule)? {
        return Ok(rule);
    }
    let unsupported = || Malformed(format!("Unrecognized match type in the rules of \"{key}\""));
    let fields = rule.as_object().ok_or_else(unsupported)?;
    let (Some((operator, operand)), 1) = (fields.iter().next(), fields.len()) else {
        return Err(Malformed("Only one key allowed in match expression".to_owned()));
    };
    let sns = dialect != Dialect::Lambda;
    match operator.as_str() {
        "prefix" | "suffix" | "equals-ignore-case" => affix(operator, operand, dialect),
        "exists" => {
            let expected = operand.as_bool();
            expected
                .map(Rule::Exists)
                .ok_or_else(|| Malformed("exists match pattern must be either true or false".into()))
        }
        // Lambda documents this for DynamoDB: numbers are strings in its records.
        "numeric" if !sns => Err(Malformed(format!(
            "\"{key}\": Lambda compares no numbers in DynamoDB records, which carry them as strings; match the \
             string instead"
        ))),
        "numeric" => numeric(operand),
        "cidr" if sns => cidr(operand),
        "anything-but" => anything_but(key, operand, dialect),
        other => Err(Malformed(format!("Unrecognized match type {other} of \"{key}\""))),
    }
}

fn exact(rule: &Value) -> Result<Option<Rule>, Malformed> {
    Ok(match rule {
        Value::String(text) => Some(Rule::Text(text.clone())),
        Value::Number(number) => Some(Rule::Number(in_range(number)?)),
        Value::Bool(_) | Value::Null => Some(Rule::Keyword(rule.clone())),
        Value::Array(_) => {
            return Err(Malformed("Match value must be String, number, true, false, or null".to_owned()));
        }
        Value::Object(_) => None,
    })
}

fn in_range(number: &serde_json::Number) -> Result<Number, Malformed> {
    let value = number.as_f64().filter(|value| value.abs() <= 1e9);
    value
        .map(Number::of)
        .ok_or_else(|| Malformed("Value of a number must be between -1.0E9 and 1.0E9, inclusive".to_owned()))
}

fn affix(operator: &str, operand: &Value, dialect: Dialect) -> Result<Rule, Malformed> {
    // EventBridge's `{"prefix": {"equals-ignore-case": ..}}`, which Lambda accepts too.
    let ignoring_case = (dialect == Dialect::Lambda)
        .then(|| operand.as_object().filter(|fields| fields.len() == 1)?.get("equals-ignore-case")?.as_str())
        .flatten();
    match (operator, operand.as_str(), ignoring_case) {
        ("prefix", Some(text), _) => Ok(Rule::Prefix(text.to_owned())),
        ("prefix", None, Some(text)) => Ok(Rule::PrefixIgnoreCase(text.to_lowercase())),
        ("suffix", Some(text), _) => Ok(Rule::Suffix(text.to_owned())),
        ("suffix", None, Some(text)) => Ok(Rule::SuffixIgnoreCase(text.to_lowercase())),
        ("equals-ignore-case", Some(text), _) => Ok(Rule::EqualsIgnoreCase(text.to_lowercase())),
        _ => Err(Malformed(format!("{operator} match pattern must be a string"))),
    }
}

fn numeric(operand: &Value) -> Result<Rule, Malformed> {
    let malformed = |why: &str| Malformed(format!("Value of numeric: {why}"));
    let parts = operand.as_array().ok_or_else(|| malformed("an array was expected"))?;
    if !matches!(parts.len(), 2 | 4) {
        return Err(malformed("one or two comparisons were expected, as in [\">\", 0, \"<=\", 5]"));
    }
    let mut comparisons = Vec::new();
    for pair in parts.chunks(2) {
        let comparison = match pair[0].as_str() {
            Some("=") => Comparison::Equal,
            Some("<") => Comparison::Less,
            Some("<=") => Comparison::LessOrEqual,
            Some(">") => Comparison::Greater,
            Some(">=") => Comparison::GreaterOrEqual,
            _ => return Err(malformed("unrecognized numeric range operator")),
        };
        let Value::Number(bound) = &pair[1] else {
            return Err(malformed("a number was expected after the operator"));
        };
        comparisons.push((comparison, in_range(bound)?));
    }
    if let [(first, bottom), (second, top)] = comparisons[..] {
        let lower = matches!(first, Comparison::Greater | Comparison::GreaterOrEqual);
        let upper = matches!(second, Comparison::Less | Comparison::LessOrEqual);
        if !lower || !upper {
            return Err(malformed("a range has its lower bound first, then its upper one"));
        }
        if bottom >= top {
            return Err(malformed("Bottom must be less than top"));
        }
    }
    Ok(Rule::Numeric(comparisons))
}

fn cidr(operand: &Value) -> Result<Rule, Malformed> {
    let malformed = || Malformed("Malformed CIDR, one '/' required".to_owned());
    let (address, bits) = operand.as_str().and_then(|text| text.split_once('/')).ok_or_else(malformed)?;
    let address: IpAddr = address.parse().map_err(|_| Malformed("Nonstandard IP address".to_owned()))?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.parse().ok().filter(|bits| *bits <= most);
    Ok(Rule::Cidr(address, bits.ok_or_else(|| Malformed("Malformed CIDR, mask bits out of range".to_owned()))?))
}

fn anything_but(key: &str, operand: &Value, dialect: Dialect) -> Result<Rule, Malformed> {
    let excluded = match operand {
        Value::Array(values) if values.is_empty() => {
            return Err(Malformed("Empty arrays are not allowed".to_owned()));
        }
        Value::Array(values) => values
            .iter()
            .map(|value| match value {
                Value::Object(_) => Err(Malformed(format!("Inside anything-but list of \"{key}\": values only"))),
                value => exact(value)?.ok_or_else(|| Malformed("unreachable value".to_owned())),
            })
            .collect::<Result<_, _>>()?,
        // SNS documents this; Lambda documents lists only.
        Value::Object(fields) if dialect != Dialect::Lambda && fields.len() == 1 => {
            let mut rules = Vec::new();
            for (operator, operand) in fields {
                if !matches!(operator.as_str(), "prefix" | "suffix" | "equals-ignore-case") {
                    return Err(Malformed(format!("Unsupported anything-but pattern: {operator}")));
                }
                let operands = match operand {
                    Value::Array(operands) if !operands.is_empty() => operands.iter().collect(),
                    operand => vec![operand],
                };
                for operand in operands {
                    rules.push(affix(operator, operand, dialect)?);
                }
            }
            rules
        }
        Value::Object(_) => return Err(Malformed(format!("Unsupported anything-but pattern of \"{key}\""))),
        value => exact(value)?.into_iter().collect(),
    };
    Ok(Rule::AnythingBut(excluded))
}

/// SNS: at most five keys, and at most 150 combinations of values (in bodies: times their depth).
fn check_limits(root: &Node, dialect: Dialect) -> Result<(), Malformed> {
    let mut names = Vec::new();
    let combinations = combinations(root, dialect, 0, &mut names);
    names.sort();
    names.dedup();
    if names.len() > 5 {
        return Err(Malformed("Filter policy can not have more than 5 keys".to_owned()));
    }
    if combinations > 150 {
        return Err(Malformed("Filter policy is too complex: more than 150 combinations of values".to_owned()));
    }
    Ok(())
}

fn combinations(node: &Node, dialect: Dialect, depth: usize, names: &mut Vec<String>) -> usize {
    match node {
        Node::Object { fields, alternatives } => {
            let mut total: usize = 1;
            for (key, child) in fields {
                if matches!(child, Node::Leaf(_)) {
                    names.push(key.clone());
                }
                total = total.saturating_mul(combinations(child, dialect, depth + 1, names));
            }
            for either in alternatives {
                let each = either.iter().map(|node| combinations(node, dialect, depth, names));
                total = total.saturating_mul(each.fold(0, usize::saturating_add));
            }
            total
        }
        Node::Leaf(rules) => {
            let values: usize = rules
                .iter()
                .map(|rule| match rule {
                    Rule::AnythingBut(excluded) => excluded.len(),
                    _ => 1,
                })
                .sum();
            let levels = if dialect == Dialect::SnsBody { depth } else { 1 };
            values.saturating_mul(levels)
        }
    }
}

fn leaves(value: Option<&Value>) -> Vec<&Value> {
    match value {
        None | Some(Value::Object(_)) => Vec::new(),
        Some(Value::Array(elements)) => elements.iter().flat_map(|element| leaves(Some(element))).collect(),
        Some(leaf) => vec![leaf],
    }
}

fn scalar_fits(rule: &Rule, value: &Value) -> bool {
    let text = value.as_str();
    let number = || value.as_f64().map(Number::of);
    match rule {
        Rule::Text(expected) => text == Some(expected),
        Rule::Number(expected) => number() == Some(*expected),
        Rule::Keyword(expected) => value == expected,
        Rule::Prefix(prefix) => text.is_some_and(|text| text.starts_with(prefix.as_str())),
        Rule::Suffix(suffix) => text.is_some_and(|text| text.ends_with(suffix.as_str())),
        Rule::EqualsIgnoreCase(expected) => text.is_some_and(|text| text.to_lowercase() == *expected),
        Rule::PrefixIgnoreCase(prefix) => text.is_some_and(|text| text.to_lowercase().starts_with(prefix.as_str())),
        Rule::SuffixIgnoreCase(suffix) => text.is_some_and(|text| text.to_lowercase().ends_with(suffix.as_str())),
        Rule::Numeric(comparisons) => number().is_some_and(|number| {
            comparisons.iter().all(|(comparison, bound)| match comparison {
                Comparison::Equal => number == *bound,
                Comparison::Less => number < *bound,
                Comparison::LessOrEqual => number <= *bound,
                Comparison::Greater => number > *bound,
                Comparison::GreaterOrEqual => number >= *bound,
            })
        }),
        Rule::Cidr(network, bits) => {
            text.and_then(|text| text.parse().ok()).is_some_and(|address| in_network(address, *network, *bits))
        }
        // Rules about all values together are in `rule_fits`.
        Rule::Exists(_) | Rule::AnythingBut(_) => false,
    }
}

fn in_network(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            u32::from(address) & mask == u32::from(network) & mask
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            u128::from(address) & mask == u128::from(network) & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fits(dialect: Dialect, pattern: &Value, document: &Value) -> bool {
        Pattern::parse(pattern, dialect).expect("parses").matches(document)
    }

    #[test]
    fn each_sns_operator_matches_as_documented() {
        #[rustfmt::skip]
        let table = [
            (json!(["rugby", "tennis"]), vec![json!("rugby"), json!(["baseball", "tennis"])], vec![json!("baseball"), json!(["baseball"])]),
            (json!([{"prefix": "bas"}]), vec![json!("baseball"), json!("basketball")], vec![json!("rugby"), json!("Baseball")]),
            (json!([{"suffix": "ball"}]), vec![json!("baseball")], vec![json!("rugby")]),
            (json!([{"equals-ignore-case": "tennis"}]), vec![json!("TENNIS"), json!("Tennis")], vec![json!("table tennis")]),
            (json!([{"anything-but": ["rugby", "tennis"]}]), vec![json!("baseball"), json!(["baseball"])], vec![json!("rugby"), json!(["rugby", "baseball"])]),
            (json!([{"anything-but": {"prefix": "order-"}}]), vec![json!("data-entry")], vec![json!("order-cancelled")]),
            (json!([{"anything-but": {"suffix": "ball"}}]), vec![json!("rugby")], vec![json!("baseball")]),
            (json!([{"anything-but": [100, 500]}]), vec![json!(101)], vec![json!(100), json!(500.0)]),
            (json!([{"anything-but": "rugby"}]), vec![json!("tennis")], vec![json!("rugby")]),
            (json!([{"numeric": ["=", 301.5]}]), vec![json!(301.5), json!(3.015e2)], vec![json!(301), json!("301.5")]),
            (json!([{"numeric": [">", 0, "<=", 150]}]), vec![json!(100), json!(150)], vec![json!(0), json!(151)]),
            (json!([{"numeric": ["<", 0]}]), vec![json!(-1)], vec![json!(0)]),
            (json!([100]), vec![json!(100), json!(1e2)], vec![json!("100"), json!(101)]),
            (json!([{"exists": true}]), vec![json!("x"), json!(null)], vec![]),
            (json!([{"cidr": "10.0.0.0/24"}]), vec![json!("10.0.0.0"), json!("10.0.0.255")], vec![json!("10.0.1.0"), json!("x")]),
            (json!([true, null]), vec![json!([true]), json!([null])], vec![json!(["true"]), json!([false])]),
        ];
        for (rules, fitting, others) in table {
            let pattern = json!({ "key": rules });
            for value in fitting {
                assert!(fits(Dialect::SnsAttributes, &pattern, &json!({ "key": value })), "{pattern} fits {value}");
            }
            for value in others {
                assert!(!fits(Dialect::SnsAttributes, &pattern, &json!({ "key": value })), "{pattern} fits no {value}");
            }
            let absent = fits(Dialect::SnsAttributes, &pattern, &json!({}));
            assert!(!absent, "{pattern} does not fit without the key");
        }
        assert!(fits(Dialect::SnsAttributes, &json!({"key": [{"exists": false}]}), &json!({"other": "x"})));
        assert!(!fits(Dialect::SnsAttributes, &json!({"key": [{"exists": false}]}), &json!({"key": "x"})));
    }

    #[test]
    fn keys_are_joined_by_and_their_rules_by_or_and_alternatives_by_or() {
        let pattern = json!({
            "site": ["S1"],
            "$or": [{"severity": ["critical"]}, {"rule": [{"prefix": "item"}], "study": ["A"]}],
        });
        let sns = |document: Value| fits(Dialect::SnsAttributes, &pattern, &document);
        assert!(sns(json!({"site": "S1", "severity": "critical"})));
        assert!(sns(json!({"site": "S1", "severity": "info", "rule": "item-9", "study": "A"})));
        assert!(!sns(json!({"site": "S1", "severity": "info", "rule": "item-9", "study": "B"})));
        assert!(!sns(json!({"site": "S2", "severity": "critical"})));
        assert!(!sns(json!({"site": "S1"})));
    }

    #[test]
    fn a_body_is_matched_in_depth_and_through_arrays() {
        let pattern = json!({"detail": {"items": {"kind": ["a"], "size": [{"numeric": [">", 3]}]}}});
        let body = |items: Value| fits(Dialect::SnsBody, &pattern, &json!({"detail": {"items": items}}));
        assert!(body(json!([{"kind": "b", "size": 9}, {"kind": "a", "size": 4}])));
        assert!(!body(json!([{"kind": "b", "size": 9}, {"kind": "a", "size": 1}])), "both in one element");
        assert!(!fits(Dialect::SnsBody, &pattern, &json!("no object")));
    }

    #[test]
    fn lambda_reads_typed_attributes_of_stream_records() {
        let record = json!({"eventName": "INSERT", "dynamodb": {"NewImage": {
            "kind": {"S": "submission"}, "age": {"N": "51"}, "done": {"BOOL": false},
        }}});
        let lambda = |pattern: Value| fits(Dialect::Lambda, &pattern, &record);
        assert!(lambda(json!({"eventName": ["INSERT"], "dynamodb": {"NewImage": {"kind": {"S": ["submission"]}}}})));
        assert!(!lambda(json!({"eventName": ["MODIFY"], "dynamodb": {"NewImage": {"kind": {"S": ["submission"]}}}})));
        assert!(lambda(json!({"dynamodb": {"NewImage": {"age": {"N": ["51"]}}}})));
        assert!(lambda(json!({"dynamodb": {"NewImage": {"done": {"BOOL": [false]}}}})));
        assert!(lambda(json!({"dynamodb": {"NewImage": {"kind": {"S": [{"exists": true}]}}}})));
        assert!(!lambda(json!({"dynamodb": {"NewImage": {"kind": [{"exists": true}]}}})), "only leaves exist");
        assert!(lambda(json!({"dynamodb": {"OldImage": {"kind": {"S": [{"exists": false}]}}}})));
        assert!(lambda(json!({"dynamodb": {"NewImage": {"kind": {"S": [{"anything-but": ["alert"]}]}}}})));
        assert!(lambda(
            json!({"dynamodb": {"NewImage": {"kind": {"S": [{"prefix": {"equals-ignore-case": "SUB"}}]}}}})
        ));
    }

    #[test]
    fn an_invalid_pattern_is_refused_with_a_reason() {
        #[rustfmt::skip]
        let table = [
            (Dialect::SnsAttributes, json!([]), "must be a JSON object"),
            (Dialect::SnsAttributes, json!({"a": []}), "Empty arrays are not allowed"),
            (Dialect::SnsAttributes, json!({"a": "b"}), "must be an object or an array"),
            (Dialect::SnsAttributes, json!({"a": {"b": ["c"]}}), "does not support nested"),
            (Dialect::SnsAttributes, json!({"a": [["b"]]}), "Match value must be"),
            (Dialect::SnsAttributes, json!({"a": [{"wildcard": "b*"}]}), "Unrecognized match type wildcard"),
            (Dialect::SnsAttributes, json!({"a": [{"prefix": 1}]}), "prefix match pattern must be a string"),
            (Dialect::SnsAttributes, json!({"a": [{"prefix": "b", "suffix": "c"}]}), "Only one key allowed"),
            (Dialect::SnsAttributes, json!({"a": [{"exists": "yes"}]}), "must be either true or false"),
            (Dialect::SnsAttributes, json!({"a": [{"numeric": ["~", 1]}]}), "operator"),
            (Dialect::SnsAttributes, json!({"a": [{"numeric": [">", "1"]}]}), "a number was expected"),
            (Dialect::SnsAttributes, json!({"a": [{"numeric": [">", 5, "<", 1]}]}), "Bottom must be less than top"),
            (Dialect::SnsAttributes, json!({"a": [2e9]}), "between -1.0E9 and 1.0E9"),
            (Dialect::SnsAttributes, json!({"a": [{"cidr": "10.0.0.0/33"}]}), "mask bits"),
            (Dialect::SnsAttributes, json!({"a": [{"anything-but": {"cidr": "x"}}]}), "Unsupported anything-but"),
            (Dialect::SnsAttributes, json!({"a": ["1"], "b": ["1"], "c": ["1"], "d": ["1"], "e": ["1"], "f": ["1"]}), "more than 5 keys"),
            (Dialect::SnsBody, json!({"a": {"b": {"c": ["1", "2", "3", "4", "5"], "d": ["1", "2", "3", "4"]}}}), "too complex"),
            (Dialect::Lambda, json!({}), "empty"),
            (Dialect::Lambda, json!({"dynamodb": {"NewImage": {"age": {"N": [{"numeric": [">", 5]}]}}}}), "as strings"),
            (Dialect::Lambda, json!({"a": [{"cidr": "10.0.0.0/8"}]}), "Unrecognized match type cidr"),
        ];
        for (dialect, pattern, reason) in table {
            let error = Pattern::parse(&pattern, dialect).expect_err("refused").to_string();
            assert!(error.contains(reason), "{pattern}: {error}");
        }
    }
}
