//! Validation of single answers.

use rust_decimal::Decimal;
use serde_json::Value as Json;

use super::answers::Answer;
use super::exact::{self, Exact};
use super::program::{CountsAs, LoadedItem, LoadedKind};
use super::score::Value;
use crate::document::decimal;

/// Why an answer does not fit its item. It holds what is allowed, never the rejected value.
pub(crate) enum Misfit {
    Unknown,
    Type(&'static str),
    Code(String),
    Repeated,
    Range(Decimal, Decimal),
    Decimals(u32),
    Length(u32),
    Hidden,
}

impl Misfit {
    /// A stable code for programs.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Misfit::Unknown => "item.unknown",
            Misfit::Type(_) => "item.type",
            Misfit::Code(_) => "item.code",
            Misfit::Repeated => "item.repeated",
            Misfit::Range(..) => "item.range",
            Misfit::Decimals(_) => "item.decimals",
            Misfit::Length(_) => "item.length",
            Misfit::Hidden => "item.hidden",
        }
    }

    /// What is allowed, for people.
    pub(crate) fn detail(&self) -> String {
        match self {
            Misfit::Unknown => "the instrument has no such item".to_owned(),
            Misfit::Type(expected) => format!("must be {expected}"),
            Misfit::Code(allowed) => format!("must be one of {allowed}"),
            Misfit::Repeated => "each code may be given once".to_owned(),
            Misfit::Range(min, max) => format!("must be from {min} to {max}"),
            Misfit::Decimals(decimals) => format!("must have at most {decimals} decimals"),
            Misfit::Length(most) => format!("must have at most {most} characters"),
            Misfit::Hidden => "must not be answered: other answers leave the item out".to_owned(),
        }
    }
}

/// Parses an answer from JSON by its item's type.
pub(crate) fn answer(item: &LoadedItem, json: &Json) -> Result<Answer, Misfit> {
    let misfit = || Misfit::Type(expected(&item.kind));
    match (&item.kind, json) {
        (LoadedKind::Code(_) | LoadedKind::Integer { .. } | LoadedKind::Decimal { .. }, Json::Number(number)) => {
            // A number with more digits than a decimal holds is out of every range.
            Ok(Answer::Number(decimal(number).unwrap_or(Decimal::MAX)))
        }
        (LoadedKind::Boolean, Json::Bool(yes)) => Ok(Answer::Boolean(*yes)),
        // Many apps code yes and no as 1 and 0.
        (LoadedKind::Boolean, Json::Number(number)) => match number.as_u64() {
            Some(code @ (0 | 1)) => Ok(Answer::Boolean(code == 1)),
            _ => Err(misfit()),
        },
        (LoadedKind::Text { .. }, Json::String(text)) => Ok(Answer::Text(text.clone())),
        (LoadedKind::Codes(_), Json::Array(codes)) => {
            codes.iter().map(Json::as_i64).collect::<Option<Vec<_>>>().map(Answer::Codes).ok_or_else(misfit)
        }
        _ => Err(misfit()),
    }
}

/// Validates an answer and returns its value in scores.
pub(crate) fn fit(item: &LoadedItem, answer: &Answer) -> Result<Value, Misfit> {
    match (&item.kind, answer) {
        (LoadedKind::Code(codes), Answer::Number(number)) => {
            let code = exact::from_decimal(*number).filter(Exact::is_integer).map(|code| *code.numer());
            match codes.iter().find(|(allowed, _)| Some(*allowed) == code) {
                Some((code, CountsAs::Number)) => Ok(Value::Known(Exact::new_raw(*code, 1))),
                Some((_, CountsAs::Missing)) => Ok(Value::Missing),
                Some((_, CountsAs::NotAsked)) => Ok(Value::Hidden),
                None => Err(Misfit::Code(listed(codes.iter().map(|(code, _)| code)))),
            }
        }
        (LoadedKind::Codes(allowed), Answer::Codes(codes)) => {
            if !codes.iter().all(|code| allowed.contains(code)) {
                return Err(Misfit::Code(listed(allowed.iter())));
            }
            if codes.iter().enumerate().any(|(place, code)| codes[..place].contains(code)) {
                return Err(Misfit::Repeated);
            }
            Ok(Value::Missing)
        }
        (LoadedKind::Integer { min, max }, Answer::Number(value)) => {
            number(*value, (*min, *max), 0).map_err(|misfit| match misfit {
                Misfit::Decimals(_) => Misfit::Type(expected(&item.kind)),
                other => other,
            })
        }
        (LoadedKind::Decimal { min, max, decimals }, Answer::Number(value)) => number(*value, (*min, *max), *decimals),
        (LoadedKind::Boolean, Answer::Boolean(yes)) => Ok(Value::Known(Exact::from_integer(i64::from(*yes)))),
        (LoadedKind::Text { max_length }, Answer::Text(text)) => {
            let fits = text.chars().count() <= usize::try_from(*max_length).unwrap_or(usize::MAX);
            if fits { Ok(Value::Missing) } else { Err(Misfit::Length(*max_length)) }
        }
        (kind, _) => Err(Misfit::Type(expected(kind))),
    }
}

fn number(number: Decimal, (min, max): (Decimal, Decimal), decimals: u32) -> Result<Value, Misfit> {
    if number < min || number > max {
        return Err(Misfit::Range(min, max));
    }
    if number.normalize().scale() > decimals {
        return Err(Misfit::Decimals(decimals));
    }
    Ok(exact::from_decimal(number).map_or(Value::Overflow, Value::Known))
}

fn expected(kind: &LoadedKind) -> &'static str {
    match kind {
        LoadedKind::Code(_) => "a code (a whole number)",
        LoadedKind::Codes(_) => "a list of codes (whole numbers)",
        LoadedKind::Integer { .. } => "a whole number",
        LoadedKind::Decimal { .. } => "a number",
        LoadedKind::Boolean => "true or false",
        LoadedKind::Text { .. } => "a string",
    }
}

fn listed<'a>(codes: impl Iterator<Item = &'a i64>) -> String {
    codes.map(i64::to_string).collect::<Vec<_>>().join(", ")
}
