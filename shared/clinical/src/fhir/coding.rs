//! Resolution of coded answers: by the code in a known code system, never by its digits or its weight alone.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde_json::{Map, Value as Json, json};

use super::element::{number, own_system, weight};
use super::names::Names;
use crate::instruments::Instrument;
use crate::instruments::definition::{Code, Definition, Item};

/// The code systems with a yes and a no, and their codes.
const YES_AND_NO: [(&str, &str, &str); 4] = [
    ("http://terminology.hl7.org/CodeSystem/v2-0136", "Y", "N"),
    ("http://terminology.hl7.org/CodeSystem/v2-0532", "Y", "N"),
    ("http://loinc.org", "LA33-6", "LA32-8"),
    ("http://snomed.info/sct", "373066001", "373067005"),
];
/// The tolerance of weights: some are thirds, which senders round.
const WEIGHT_ROUNDING: Decimal = Decimal::from_parts(1, 0, 0, false, 2);

/// Why an answer matches no choice: a stable code for programs, and a description for people.
type Mismatch = (&'static str, String);

/// The choices of an item, with their codes in other code systems.
pub(super) struct Choices<'a> {
    instrument: &'a Instrument,
    names: Option<&'static Names>,
    item: &'a Item,
    list: &'a str,
    codes: &'a [Code],
}

impl<'a> Choices<'a> {
    pub(super) fn of(instrument: &'a Instrument, names: Option<&'static Names>, item: &'a Item) -> Self {
        let list = item.codes.as_deref().unwrap_or_default();
        let codes = instrument.definition().code_lists.get(list).map_or(&[] as &[Code], Vec::as_slice);
        Self { instrument, names, item, list, codes }
    }

    /// The native code of the choice that `coding` identifies. A weight, on the coding or beside it in `answer`, and a
    /// display must belong to the same choice.
    ///
    /// # Errors
    /// The code system is missing or unknown, the code is not in it, or weight or display belong to another choice.
    pub(super) fn coded(&self, coding: &Map<String, Json>, answer: &Map<String, Json>) -> Result<Json, Mismatch> {
        let definition = self.instrument.definition();
        let own = own_system(&definition.id, self.list);
        let system = coding.get("system").and_then(Json::as_str);
        let code = coding.get("code").and_then(Json::as_str);
        let version = coding.get("version").and_then(Json::as_str);
        let found = if system == Some(&own) && version.is_none_or(|version| version == definition.version.as_str()) {
            self.codes.iter().map(|choice| choice.code).find(|own| code == Some(own.to_string().as_str()))
        } else {
            let known = self.known_systems();
            let Some(codes) = system.and_then(|system| known.get(system)) else {
                let known: Vec<_> = std::iter::once(own.as_str()).chain(known.into_keys()).collect();
                return Err(unknown_system(&known));
            };
            code.and_then(|code| codes.get(code)).copied()
        };
        let Some(found) = found else {
            return Err((
                "item.code",
                "the code is not in its code system, or is not a choice of this question".to_owned(),
            ));
        };
        self.check_weight(found, weight(coding).or_else(|| weight(answer)))?;
        self.check_display(found, coding.get("display").and_then(Json::as_str), definition)?;
        Ok(json!(found))
    }

    fn known_systems(&self) -> BTreeMap<&'static str, &'static BTreeMap<String, i64>> {
        self.names.into_iter().flat_map(|names| names.systems(self.list)).collect()
    }

    fn check_weight(&self, code: i64, weight: Option<Decimal>) -> Result<(), Mismatch> {
        let Some(weight) = weight else { return Ok(()) };
        let expected = match self.instrument.weights(&self.item.id) {
            Some(weights) => weights.into_iter().find(|(choice, _)| *choice == code).map(|(_, weight)| weight),
            // Choices that contribute to no score have their codes as weights.
            None => Some(Decimal::from(code)),
        };
        check_weight(weight, expected)
    }

    fn check_display(&self, code: i64, display: Option<&str>, definition: &Definition) -> Result<(), Mismatch> {
        let Some(display) = display.map(normal) else { return Ok(()) };
        let has =
            |choice: &Code| choice.text.iter().flat_map(|texts| texts.values()).any(|text| normal(text) == display);
        let (of_this, of_others): (Vec<&Code>, Vec<&Code>) =
            definition.code_lists[self.list].iter().partition(|choice| choice.code == code);
        if of_others.into_iter().any(has) && !of_this.into_iter().any(has) {
            return Err(other_display());
        }
        Ok(())
    }
}

/// The yes or no that `coding` identifies.
///
/// # Errors
/// As [`Choices::coded`].
pub(super) fn yes_or_no(
    instrument: &Instrument,
    item: &Item,
    coding: &Map<String, Json>,
    answer: &Map<String, Json>,
) -> Result<Json, Mismatch> {
    let system = coding.get("system").and_then(Json::as_str);
    let Some((_, yes, no)) = YES_AND_NO.iter().find(|(known, ..)| system == Some(*known)) else {
        return Err(unknown_system(&YES_AND_NO.map(|(known, ..)| known)));
    };
    let code = coding.get("code").and_then(Json::as_str);
    let is_yes = match code {
        Some(code) if code == *yes => true,
        Some(code) if code == *no => false,
        _ => return Err(("item.code", format!("must be valueBoolean, or one of the codes {yes} and {no}"))),
    };
    if let Some(weight) = weight(coding).or_else(|| weight(answer)) {
        let own = i64::from(is_yes);
        let weights = instrument.weights(&item.id).unwrap_or_else(|| vec![(own, Decimal::from(own))]);
        check_weight(weight, weights.into_iter().find(|(choice, _)| *choice == own).map(|(_, weight)| weight))?;
    }
    let other = if is_yes { "no" } else { "yes" };
    if coding.get("display").and_then(Json::as_str).is_some_and(|display| normal(display) == other) {
        return Err(other_display());
    }
    Ok(json!(is_yes))
}

/// Checks that a bare number is not the code of one choice and the weight of another, as in a reverse-scored item.
///
/// # Errors
/// The number is ambiguous.
pub(super) fn unambiguous(instrument: &Instrument, item: &Item, value: &Json) -> Result<(), Mismatch> {
    let Some(value) = number(value) else { return Ok(()) };
    let weights = instrument.weights(&item.id).unwrap_or_default();
    let is_code = weights.iter().any(|(code, _)| Decimal::from(*code) == value);
    let is_weight_of_another = weights.iter().any(|(code, weight)| *weight == value && Decimal::from(*code) != value);
    if is_code && is_weight_of_another {
        let detail = "the number can be a choice's code or its weight, which differ for this question: send \
                      valueCoding with its system";
        return Err(("item.ambiguous", detail.to_owned()));
    }
    Ok(())
}

fn check_weight(weight: Decimal, expected: Option<Decimal>) -> Result<(), Mismatch> {
    if expected.is_some_and(|expected| (expected - weight).abs() <= WEIGHT_ROUNDING) {
        return Ok(());
    }
    Err(("item.weight", "the weight is not the contribution of this choice to the score".to_owned()))
}

fn unknown_system(known: &[&str]) -> Mismatch {
    let detail =
        format!("the coding has no code system that is known for this question; use one of {}", known.join(", "));
    ("item.system", detail)
}

fn other_display() -> Mismatch {
    ("item.display", "the display is the text of another choice; send the display of the code, or none".to_owned())
}

/// `text` normalised for comparisons that ignore case and spacing.
fn normal(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}
