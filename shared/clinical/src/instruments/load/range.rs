//! The ranges of values that operations can have.

use num_traits::Zero;

use super::loader::GREATEST_NUMBER;
use crate::instruments::exact::{self, Exact};
use crate::instruments::program::{CountsAs, LoadedKind};
use crate::instruments::score::Needed;

/// The range of values that an operation can have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ValueRange {
    pub(super) low: Exact,
    pub(super) high: Exact,
    /// Whether all values are integers.
    pub(super) integral: bool,
    /// Whether there may be no value because nothing is asked.
    pub(super) hideable: bool,
}

impl ValueRange {
    pub(super) fn of(low: Exact, high: Exact) -> ValueRange {
        ValueRange { low, high, integral: low.is_integer() && high.is_integer(), hideable: false }
    }

    pub(super) fn truth() -> ValueRange {
        ValueRange::of(Exact::zero(), Exact::from_integer(1))
    }
}

/// The range of an item's values in scores; `None` if it is not a number.
pub(super) fn values_of(kind: &LoadedKind, hideable: bool) -> Option<ValueRange> {
    // Values beyond the limits are reported already, and must not cause an overflow as a second fault.
    let limit =
        |number: Exact| number.clamp(Exact::from_integer(-GREATEST_NUMBER), Exact::from_integer(GREATEST_NUMBER));
    let part = match kind {
        LoadedKind::Code(codes) => {
            let numbers = codes.iter().filter(|(_, counts_as)| *counts_as == CountsAs::Number);
            let hideable = hideable || codes.iter().any(|(_, counts_as)| *counts_as == CountsAs::NotAsked);
            range_of(numbers.map(|(code, _)| Exact::from_integer(*code)), hideable)
        }
        LoadedKind::Integer { min, max } | LoadedKind::Decimal { min, max, .. } => {
            let (low, high) = exact::from_decimal(*min).zip(exact::from_decimal(*max))?;
            Some(ValueRange { low, high, integral: matches!(kind, LoadedKind::Integer { .. }), hideable })
        }
        LoadedKind::Boolean => Some(ValueRange { hideable, ..ValueRange::truth() }),
        LoadedKind::Codes(_) | LoadedKind::Text { .. } => None,
    };
    part.map(|part| ValueRange { low: limit(part.low), high: limit(part.high), ..part })
}

pub(super) fn range_of(values: impl Iterator<Item = Exact>, hideable: bool) -> Option<ValueRange> {
    values.fold(None, |range: Option<ValueRange>, value| {
        let before = range.unwrap_or(ValueRange { hideable, ..ValueRange::of(value, value) });
        Some(ValueRange {
            low: before.low.min(value),
            high: before.high.max(value),
            integral: before.integral && value.is_integer(),
            hideable,
        })
    })
}

pub(super) fn sum_of(parts: &[ValueRange]) -> Option<ValueRange> {
    let mut sum = ValueRange { hideable: true, ..ValueRange::of(Exact::zero(), Exact::zero()) };
    for part in parts {
        // A part that is not asked adds zero.
        let (low, high) = if part.hideable {
            (part.low.min(Exact::zero()), part.high.max(Exact::zero()))
        } else {
            (part.low, part.high)
        };
        sum = ValueRange {
            low: exact::add(sum.low, low)?,
            high: exact::add(sum.high, high)?,
            integral: sum.integral && part.integral,
            hideable: sum.hideable && part.hideable,
        };
    }
    Some(sum)
}

pub(super) fn mean_of(parts: &[ValueRange], needed: Needed) -> Option<ValueRange> {
    let hideable = parts.iter().all(|part| part.hideable);
    if needed == Needed::All && !parts.iter().any(|part| part.hideable) {
        let sum = sum_of(parts)?;
        let count = Exact::from_integer(i64::try_from(parts.len()).ok()?);
        let (low, high) = (exact::divide(sum.low, count)?, exact::divide(sum.high, count)?);
        return Some(ValueRange { low, high, integral: false, hideable });
    }
    let part = range_of(parts.iter().flat_map(|part| [part.low, part.high]), hideable)?;
    Some(ValueRange { integral: false, ..part })
}

/// The range of the minimum of the parts.
pub(super) fn least_of(parts: &[ValueRange]) -> ValueRange {
    let low = parts.iter().map(|part| part.low).min().unwrap_or_default();
    let always = parts.iter().filter(|part| !part.hideable).map(|part| part.high).min();
    let high = always.or_else(|| parts.iter().map(|part| part.high).max()).unwrap_or_default();
    ValueRange {
        low,
        high,
        integral: parts.iter().all(|part| part.integral),
        hideable: parts.iter().all(|part| part.hideable),
    }
}

/// The range of the maximum of the parts.
pub(super) fn greatest_of(parts: &[ValueRange]) -> ValueRange {
    let high = parts.iter().map(|part| part.high).max().unwrap_or_default();
    let always = parts.iter().filter(|part| !part.hideable).map(|part| part.low).max();
    let low = always.or_else(|| parts.iter().map(|part| part.low).min()).unwrap_or_default();
    ValueRange {
        low,
        high,
        integral: parts.iter().all(|part| part.integral),
        hideable: parts.iter().all(|part| part.hideable),
    }
}
