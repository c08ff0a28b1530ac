//! CloudFormation's functions, as far as the template needs them: `!Ref`, `!GetAtt`, `!Sub`, `!Join`, and
//! `!If` with its conditions, in short and long form.

use std::collections::{BTreeMap, BTreeSet};

use super::document::{At, Node, TemplateError, Value};
use super::{ACCOUNT, REGION};

const KNOWN: &str = "Use a plain value or !Ref, !GetAtt, !Sub, !Join or !If";

/// The names that references can use.
pub(super) struct Names<'a> {
    /// Logical id to resource type.
    resources: BTreeMap<&'a str, &'a str>,
    /// Parameter to value; `None`: it has no value.
    parameters: BTreeMap<&'a str, Option<String>>,
    /// Condition to its value.
    conditions: BTreeMap<&'a str, bool>,
    /// Parameters that are comma-separated lists.
    lists: BTreeSet<&'a str>,
}

/// The physical name or ARN that `!Ref` gives for a resource.
pub(super) fn reference(resource: &str, kind: &str) -> String {
    match kind {
        "AWS::SNS::Topic" => topic_arn(resource),
        _ => resource.to_owned(),
    }
}

pub(super) fn topic_arn(name: &str) -> String {
    format!("arn:aws:sns:{REGION}:{ACCOUNT}:{name}")
}

pub(super) fn function_arn(name: &str) -> String {
    format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}")
}

impl<'a> Names<'a> {
    /// Reads parameters and resources. `overrides` are parameter values that replace the defaults.
    pub(super) fn read(root: &At<'a>, overrides: &BTreeMap<String, String>) -> Result<Self, TemplateError> {
        let mut resources = BTreeMap::new();
        for (id, resource) in root.required("Resources")?.entries()? {
            let kind = resource.required("Type")?;
            let Value::Text(name) = &kind.node.value else {
                return Err(kind.error("the resource type is not a string", "Write for example AWS::DynamoDB::Table"));
            };
            resources.insert(id, name.as_str());
        }
        let (mut parameters, mut lists) = (BTreeMap::new(), BTreeSet::new());
        for (name, parameter) in root.get("Parameters").map(|at| at.entries()).transpose()?.unwrap_or_default() {
            let default =
                parameter.get("Default").map(|at| plain(&at)).transpose()?.or_else(|| empty_default(&parameter));
            let value = overrides.get(name).cloned().or(default);
            if let (Some(value), Some(allowed)) = (&value, parameter.get("AllowedValues")) {
                let allowed = allowed.elements()?.iter().map(plain).collect::<Result<Vec<_>, _>>()?;
                if !allowed.contains(value) {
                    return Err(parameter.error(
                        format!("the value {value:?} is not among its AllowedValues"),
                        format!("Use one of {}", allowed.join(", ")),
                    ));
                }
            }
            parameters.insert(name, value);
            let kind = parameter.get("Type").map(|at| plain(&at)).transpose()?.unwrap_or_default();
            if kind == "CommaDelimitedList" || kind.starts_with("List<") {
                lists.insert(name);
            }
        }
        let mut names = Self { resources, parameters, lists, conditions: BTreeMap::new() };
        for (name, condition) in root.get("Conditions").map(|at| at.entries()).transpose()?.unwrap_or_default() {
            let holds = names.holds(&condition)?;
            names.conditions.insert(name, holds);
        }
        Ok(names)
    }

    /// Whether a condition holds. It may use conditions that are defined before it.
    fn holds(&self, at: &At<'_>) -> Result<bool, TemplateError> {
        const WRITE: &str = "Write it with !Equals, !Not, !And, !Or or !Condition";
        let Some((function, argument)) = intrinsic(at) else { return Err(at.error("this is not a condition", WRITE)) };
        let all = || argument.elements()?.iter().map(|part| self.holds(part)).collect::<Result<Vec<_>, _>>();
        match function {
            "Equals" => match argument.elements()?.as_slice() {
                [left, right] => Ok(self.text(left)? == self.text(right)?),
                _ => Err(argument.error("!Equals takes two values", "Write !Equals [a, b]")),
            },
            "Not" => Ok(all()? == [false]),
            "And" => Ok(all()?.into_iter().all(|holds| holds)),
            "Or" => Ok(all()?.into_iter().any(|holds| holds)),
            "Condition" => self.condition(&argument),
            _ => Err(at.error(format!("!{function} is not a condition"), WRITE)),
        }
    }

    /// Whether the condition of this name holds.
    pub(super) fn condition(&self, at: &At<'_>) -> Result<bool, TemplateError> {
        let name = plain(at)?;
        let known = "Name a condition that is defined before";
        self.conditions
            .get(name.as_str())
            .copied()
            .ok_or_else(|| at.error(format!("there is no condition {name}"), known))
    }

    pub(super) fn kind(&self, resource: &str) -> Option<&'a str> {
        self.resources.get(resource).copied()
    }

    /// A string with all references resolved. `AWS::NoValue` gives `None`.
    pub(super) fn text(&self, at: &At<'_>) -> Result<Option<String>, TemplateError> {
        let Some((function, argument)) = intrinsic(at) else { return plain(at).map(Some) };
        match function {
            "Ref" => self.reference(&argument, plain(&argument)?.as_str()),
            "GetAtt" => self.attribute(&argument, &dotted(&argument)?).map(Some),
            "Sub" => self.substitute(&argument).map(Some),
            "Join" => self.join(&argument).map(Some),
            "If" => match argument.elements()?.as_slice() {
                [condition, yes, no] => self.text(if self.condition(condition)? { yes } else { no }),
                _ => Err(argument.error("!If takes a condition and two values", "Write !If [condition, a, b]")),
            },
            _ => Err(at.error(format!("!{function} is not supported"), KNOWN)),
        }
    }

    /// A required string.
    pub(super) fn value(&self, at: &At<'_>) -> Result<String, TemplateError> {
        self.text(at)?.ok_or_else(|| at.error("a value is required, not AWS::NoValue", "Give it a value"))
    }

    /// A list of strings; a single string counts as a list of one.
    pub(super) fn list(&self, at: &At<'_>) -> Result<Vec<String>, TemplateError> {
        if intrinsic(at).is_none() && matches!(at.node.value, Value::List(_)) {
            let texts = at.elements()?.iter().map(|item| self.text(item)).collect::<Result<Vec<_>, _>>()?;
            return Ok(texts.into_iter().flatten().collect());
        }
        let text = self.text(at)?;
        if let Some(("Ref", argument)) = intrinsic(at)
            && self.lists.contains(plain(&argument)?.as_str())
        {
            return Ok(text.iter().flat_map(|text| text.split(',')).map(|part| part.trim().to_owned()).collect());
        }
        Ok(text.into_iter().collect())
    }

    /// A whole number within bounds.
    pub(super) fn number(&self, at: &At<'_>, least: i64, most: i64) -> Result<i64, TemplateError> {
        let text = self.value(at)?;
        match text.parse() {
            Ok(number) if (least..=most).contains(&number) => Ok(number),
            _ => {
                Err(at.error(format!("{text:?} is not possible"), format!("Use a whole number from {least} to {most}")))
            }
        }
    }

    pub(super) fn boolean(&self, at: &At<'_>) -> Result<bool, TemplateError> {
        match self.value(at)?.as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            other => Err(at.error(format!("{other:?} is not possible"), "Use true or false")),
        }
    }

    /// The logical id of a resource of the given type that an attribute or reference names.
    pub(super) fn resource(&self, at: &At<'_>, kind: &str) -> Result<String, TemplateError> {
        let named = match intrinsic(at) {
            Some(("Ref", argument)) => plain(&argument)?,
            Some(("GetAtt", argument)) => dotted(&argument)?.split('.').next().unwrap_or_default().to_owned(),
            _ => {
                return Err(at.error(format!("it has to be a {kind} of this template"), "Name it with !Ref or !GetAtt"));
            }
        };
        match self.kind(&named) {
            Some(found) if found == kind => Ok(named),
            Some(found) => Err(at.error(format!("{named} is a {found}"), format!("Name a {kind}"))),
            None => Err(unknown(at, &named)),
        }
    }

    /// Any value as JSON, with all references resolved. A string that contains JSON stays a string.
    pub(super) fn json(&self, at: &At<'_>) -> Result<serde_json::Value, TemplateError> {
        if intrinsic(at).is_some() {
            return Ok(self.text(at)?.map_or(serde_json::Value::Null, serde_json::Value::String));
        }
        Ok(match &at.node.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(b) => (*b).into(),
            Value::Number(n) => serde_json::from_str(n).unwrap_or_else(|_| n.clone().into()),
            Value::Text(text) => text.clone().into(),
            Value::List(_) => at.elements()?.iter().map(|item| self.json(item)).collect::<Result<_, _>>()?,
            Value::Map(_) => {
                let mut object = serde_json::Map::new();
                for (key, value) in at.entries()? {
                    object.insert(key.to_owned(), self.json(&value)?);
                }
                object.into()
            }
        })
    }

    fn reference(&self, at: &At<'_>, name: &str) -> Result<Option<String>, TemplateError> {
        Ok(Some(match name {
            "AWS::NoValue" => return Ok(None),
            "AWS::Region" => REGION.to_owned(),
            "AWS::AccountId" => ACCOUNT.to_owned(),
            "AWS::Partition" => "aws".to_owned(),
            "AWS::URLSuffix" => "amazonaws.com".to_owned(),
            "AWS::StackName" => "local".to_owned(),
            "AWS::StackId" => format!("arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/local/local"),
            _ => match (self.parameters.get(name), self.kind(name)) {
                (Some(Some(value)), _) => value.clone(),
                (Some(None), _) => {
                    return Err(at.error(
                        format!("the parameter {name} has no value"),
                        format!("Give {name} a Default in Parameters"),
                    ));
                }
                (None, Some(kind)) => reference(name, kind),
                (None, None) => return Err(unknown(at, name)),
            },
        }))
    }

    fn attribute(&self, at: &At<'_>, dotted: &str) -> Result<String, TemplateError> {
        let (name, attribute) = dotted.split_once('.').unwrap_or((dotted, ""));
        let kind = self.kind(name).ok_or_else(|| unknown(at, name))?;
        Ok(match (kind, attribute) {
            ("AWS::DynamoDB::Table", "Arn") => format!("arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}"),
            ("AWS::DynamoDB::Table", "StreamArn") => {
                format!("arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}/stream/local")
            }
            ("AWS::SNS::Topic", "TopicArn") => topic_arn(name),
            ("AWS::SNS::Topic", "TopicName") => name.to_owned(),
            ("AWS::S3::Bucket", "Arn") => format!("arn:aws:s3:::{name}"),
            ("AWS::Serverless::Function" | "AWS::Lambda::Function", "Arn") => function_arn(name),
            _ => {
                return Err(at.error(
                    format!("the attribute {attribute:?} of a {kind} is not supported"),
                    "Use Arn, StreamArn, TopicArn, TopicName or a parameter",
                ));
            }
        })
    }

    fn substitute(&self, argument: &At<'_>) -> Result<String, TemplateError> {
        let (template, own) = match &argument.node.value {
            Value::List(_) => match argument.elements()?.as_slice() {
                [template, own] => (plain(template)?, own.entries()?),
                _ => {
                    return Err(argument
                        .error("!Sub takes a string, or a string and a map", "Write !Sub [text, {name: value}]"));
                }
            },
            _ => (plain(argument)?, Vec::new()),
        };
        let mut result = String::new();
        let mut rest = template.as_str();
        while let Some((before, after)) = rest.split_once("${") {
            let (name, next) = after
                .split_once('}')
                .ok_or_else(|| argument.error("a `${` has no `}`", "Close it, or write `${!` for a plain `${`"))?;
            result.push_str(before);
            let name = name.trim();
            if let Some(literal) = name.strip_prefix('!') {
                result.push_str(&format!("${{{literal}}}"));
            } else if let Some((_, value)) = own.iter().find(|(key, _)| *key == name) {
                result.push_str(&self.value(value)?);
            } else if name.contains('.') {
                result.push_str(&self.attribute(argument, name)?);
            } else {
                result.push_str(&self.reference(argument, name)?.unwrap_or_default());
            }
            rest = next;
        }
        result.push_str(rest);
        Ok(result)
    }

    fn join(&self, argument: &At<'_>) -> Result<String, TemplateError> {
        match argument.elements()?.as_slice() {
            [delimiter, parts] => Ok(self.list(parts)?.join(&plain(delimiter)?)),
            _ => Err(argument.error("!Join takes a delimiter and a list", "Write !Join [delimiter, [a, b]]")),
        }
    }
}

/// The function and argument of `!Name argument` or `{Fn::Name: argument}`.
fn intrinsic<'a>(at: &At<'a>) -> Option<(&'a str, At<'a>)> {
    if let Some(tag) = &at.node.tag {
        return Some((tag.as_str(), at.clone()));
    }
    let Value::Map(entries) = &at.node.value else { return None };
    let [(key, _)] = entries.as_slice() else { return None };
    let function = if key == "Ref" { "Ref" } else { key.strip_prefix("Fn::")? };
    Some((function, at.get(key)?))
}

/// A scalar as a string.
fn plain(at: &At<'_>) -> Result<String, TemplateError> {
    match &at.node.value {
        Value::Text(text) | Value::Number(text) => Ok(text.clone()),
        Value::Bool(b) => Ok(b.to_string()),
        Value::Null => Ok(String::new()),
        Value::List(_) | Value::Map(_) => Err(at.error("a string is expected here", KNOWN)),
    }
}

/// The argument of `!GetAtt`: `A.B` or `[A, B]`.
fn dotted(at: &At<'_>) -> Result<String, TemplateError> {
    match &at.node.value {
        Value::List(_) => Ok(at.elements()?.iter().map(plain).collect::<Result<Vec<_>, _>>()?.join(".")),
        _ => plain(at),
    }
}

/// `Default: ""` is a value, although `At::get` takes an empty value that is written as nothing for an absent one.
fn empty_default(parameter: &At<'_>) -> Option<String> {
    let Node { value: Value::Map(entries), .. } = parameter.node else { return None };
    entries.iter().any(|(key, _)| key == "Default").then(String::new)
}

fn unknown(at: &At<'_>, name: &str) -> TemplateError {
    at.error(format!("the template has no parameter or resource {name}"), "Name one that it has")
}
