//! A YAML document whose nodes carry their line, and errors that name it.

use std::borrow::Cow;
use std::fmt;
use std::iter;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};
use saphyr_parser::{Event, Parser, ScanError};

/// The deepest nesting of maps and lists. A template needs about 15 levels.
const DEEPEST: usize = 100;

/// A fault of a template: where it is, and how to correct it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError {
    /// The template's file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: Option<usize>,
    /// The path, for example `Resources.ScoreFunction.Properties.Timeout`; empty for the whole file.
    pub place: String,
    /// The fault.
    pub problem: String,
    /// How to correct it.
    pub advice: String,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot read the template {}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        if !self.place.is_empty() {
            write!(f, ", at {}", self.place)?;
        }
        write!(f, ": {}", self.problem)?;
        if !self.advice.is_empty() {
            write!(f, ". {}", self.advice)?;
        }
        Ok(())
    }
}

impl std::error::Error for TemplateError {}

/// A YAML value with its CloudFormation tag (`!Ref` for example, without the `!`) and line.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) tag: Option<String>,
    pub(super) value: Value,
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// A node and its path.
#[derive(Debug, Clone)]
pub(super) struct At<'a> {
    pub(super) node: &'a Node,
    place: Option<Rc<Place<'a>>>,
    file: &'a Path,
}

/// A key or an index, and where it is. A list of them and not one text, which a key of many children would multiply.
#[derive(Debug)]
struct Place<'a> {
    parent: Option<Rc<Place<'a>>>,
    key: Cow<'a, str>,
}

/// Parses one YAML document.
pub(super) fn parse(file: &Path, text: &str) -> Result<Node, TemplateError> {
    let error = |line, problem: String, advice: &str| TemplateError {
        file: file.to_owned(),
        line,
        place: String::new(),
        problem,
        advice: advice.to_owned(),
    };
    let no_yaml = |e: ScanError| {
        error(
            Some(e.marker().line()),
            format!("this is not YAML: {}", e.info()),
            "Check the indentation and the quotes there",
        )
    };
    let mut depth = 0_usize;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(no_yaml)?;
        let line = Some(span.start.line());
        match event {
            Event::SequenceStart(..) | Event::MappingStart(..) if depth == DEEPEST => {
                let problem = format!("maps and lists are nested more than {DEEPEST} deep");
                return Err(error(line, problem, "Nest them less"));
            }
            Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _) if anchor == 0 => depth += 1,
            Event::SequenceEnd | Event::MappingEnd => depth = depth.saturating_sub(1),
            Event::Scalar(_, _, 0, _) => {}
            Event::SequenceStart(..) | Event::MappingStart(..) | Event::Scalar(..) | Event::Alias(_) => {
                let problem = "an anchor or an alias, which CloudFormation refuses".to_owned();
                return Err(error(line, problem, "Write the value out in each place"));
            }
            _ => {}
        }
    }
    let documents = MarkedYaml::load_from_str(text).map_err(no_yaml)?;
    match documents.as_slice() {
        [one] => node(one, None)
            .map_err(|line| error(Some(line), "a key that is not plain text".to_owned(), "Write the key as a name")),
        [] => {
            Err(error(None, "the file is empty".to_owned(), "Name another with --template, or restore template.yaml"))
        }
        _ => Err(error(
            None,
            "the file has several YAML documents".to_owned(),
            "Put each template into a file of its own",
        )),
    }
}

impl<'a> At<'a> {
    pub(super) fn root(file: &'a Path, node: &'a Node) -> Self {
        Self { node, place: None, file }
    }

    /// The value under a key, unless it is absent or null.
    pub(super) fn get(&self, key: &str) -> Option<At<'a>> {
        let Value::Map(entries) = &self.node.value else { return None };
        let (_, node) = entries.iter().find(|(k, _)| k == key)?;
        (!matches!(node.value, Value::Null)).then(|| self.below(Cow::Owned(key.to_owned()), node))
    }

    /// The value under a required key.
    pub(super) fn required(&self, key: &str) -> Result<At<'a>, TemplateError> {
        self.get(key).ok_or_else(|| self.error(format!("{key} is missing"), format!("Add {key}")))
    }

    /// The value under nested keys.
    pub(super) fn path(&self, keys: &[&str]) -> Option<At<'a>> {
        keys.iter().try_fold(self.clone(), |at, key| at.get(key))
    }

    /// The entries of a map.
    pub(super) fn entries(&self) -> Result<Vec<(&'a str, At<'a>)>, TemplateError> {
        match &self.node.value {
            Value::Map(entries) => {
                Ok(entries.iter().map(|(k, n)| (k.as_str(), self.below(Cow::Borrowed(k), n))).collect())
            }
            _ => Err(self.error("a map is expected here".to_owned(), "Write it as `name: value` lines".to_owned())),
        }
    }

    /// The elements of a list.
    pub(super) fn elements(&self) -> Result<Vec<At<'a>>, TemplateError> {
        match &self.node.value {
            Value::List(items) => {
                Ok(items.iter().enumerate().map(|(i, n)| self.below(Cow::Owned(i.to_string()), n)).collect())
            }
            _ => {
                Err(self.error("a list is expected here".to_owned(), "Write it as `[a, b]` or `- a` lines".to_owned()))
            }
        }
    }

    pub(super) fn error(&self, problem: impl Into<String>, advice: impl Into<String>) -> TemplateError {
        TemplateError {
            file: self.file.to_owned(),
            line: Some(self.node.line),
            place: self.path_text(),
            problem: problem.into(),
            advice: advice.into(),
        }
    }

    fn below(&self, key: Cow<'a, str>, node: &'a Node) -> At<'a> {
        let place = Place { parent: self.place.clone(), key };
        At { node, place: Some(Rc::new(place)), file: self.file }
    }

    /// The keys from the root, joined by periods.
    fn path_text(&self) -> String {
        let places = iter::successors(self.place.as_deref(), |place| place.parent.as_deref());
        let mut keys: Vec<&str> = places.map(|place| place.key.as_ref()).collect();
        keys.reverse();
        keys.join(".")
    }
}

/// Converts one node; `line` is that of its key. The error is the line of a key that is not a string.
fn node(yaml: &MarkedYaml<'_>, line: Option<usize>) -> Result<Node, usize> {
    let line = line.unwrap_or_else(|| yaml.span.start.line());
    let (tag, data) = match &yaml.data {
        YamlData::Tagged(tag, inner) if tag.handle == "!" => (Some(tag.suffix.clone()), &inner.data),
        YamlData::Tagged(_, inner) => (None, &inner.data),
        data => (None, data),
    };
    let value = match data {
        YamlData::Value(Scalar::Boolean(b)) => Value::Bool(*b),
        YamlData::Value(Scalar::Integer(i)) => Value::Number(i.to_string()),
        YamlData::Value(Scalar::FloatingPoint(f)) => Value::Number(f.to_string()),
        YamlData::Value(Scalar::String(text)) => Value::Text(text.to_string()),
        YamlData::Sequence(items) => Value::List(items.iter().map(|item| node(item, None)).collect::<Result<_, _>>()?),
        YamlData::Mapping(entries) => {
            let entry = |(key, value): (&MarkedYaml<'_>, &MarkedYaml<'_>)| {
                let line = key.span.start.line();
                let key = match &key.data {
                    YamlData::Value(Scalar::String(text)) => text.to_string(),
                    YamlData::Value(Scalar::Integer(i)) => i.to_string(),
                    YamlData::Value(Scalar::Boolean(b)) => b.to_string(),
                    _ => return Err(line),
                };
                Ok((key, node(value, Some(line))?))
            };
            Value::Map(entries.iter().map(entry).collect::<Result<_, _>>()?)
        }
        _ => Value::Null,
    };
    Ok(Node { line, tag, value })
}
