//! Exact arithmetic: ratios of integers, rounded once, half up.

use num_rational::Ratio;
use num_traits::{CheckedAdd, CheckedDiv, CheckedMul, CheckedSub, ToPrimitive};
use rust_decimal::Decimal;

/// A number without rounding error. Arithmetic is checked; the bounds of definitions keep it far from overflow.
pub(crate) type Exact = Ratio<i64>;

/// The sum; `None` if it is too large.
pub(crate) fn add(a: Exact, b: Exact) -> Option<Exact> {
    integers(a, b, i64::checked_add).unwrap_or_else(|| a.checked_add(&b))
}

/// The difference; `None` if it is too large.
pub(crate) fn subtract(a: Exact, b: Exact) -> Option<Exact> {
    integers(a, b, i64::checked_sub).unwrap_or_else(|| a.checked_sub(&b))
}

/// The product; `None` if it is too large.
pub(crate) fn multiply(a: Exact, b: Exact) -> Option<Exact> {
    integers(a, b, i64::checked_mul).unwrap_or_else(|| a.checked_mul(&b))
}

/// The quotient; `None` if it is too large or `b` is zero.
pub(crate) fn divide(a: Exact, b: Exact) -> Option<Exact> {
    a.checked_div(&b)
}

/// The number as a ratio; `None` if it has too many digits.
pub(crate) fn from_decimal(number: Decimal) -> Option<Exact> {
    if number.scale() == 0 {
        return number.mantissa().to_i64().map(Exact::from_integer);
    }
    let number = number.normalize();
    let numerator = number.mantissa().to_i64()?;
    Some(Exact::new(numerator, 10_i64.checked_pow(number.scale())?))
}

/// The number rounded to `places` decimals, half up; `None` if the result has too many digits.
pub(crate) fn round_half_up(number: Exact, places: u32) -> Option<Decimal> {
    if number.is_integer() {
        return Some(Decimal::from(*number.numer()));
    }
    let (numerator, denominator) = (i128::from(*number.numer()), i128::from(*number.denom()));
    let scaled = numerator.checked_mul(10_i128.checked_pow(places)?)?;
    let rounded = scaled.checked_mul(2)?.checked_add(denominator)?.div_euclid(denominator.checked_mul(2)?);
    Decimal::try_from_i128_with_scale(rounded, places).ok().map(|decimal| decimal.normalize())
}

/// The fast path for integers, which most answers are: no common denominator is needed. `None` if one is not an
/// integer.
fn integers(a: Exact, b: Exact, apply: impl Fn(i64, i64) -> Option<i64>) -> Option<Option<Exact>> {
    (a.is_integer() && b.is_integer()).then(|| apply(*a.numer(), *b.numer()).map(Exact::from_integer))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounded(numerator: i64, denominator: i64, places: u32) -> String {
        round_half_up(Exact::new(numerator, denominator), places).unwrap().to_string()
    }

    #[test]
    fn a_half_is_rounded_up() {
        assert_eq!(rounded(5, 2, 0), "3");
        assert_eq!(rounded(-5, 2, 0), "-2");
        assert_eq!(rounded(-27, 10, 0), "-3");
        assert_eq!(rounded(1, 3, 2), "0.33");
        assert_eq!(rounded(2, 3, 2), "0.67");
        assert_eq!(rounded(125, 1000, 2), "0.13");
        assert_eq!(rounded(175, 2, 2), "87.5");
    }

    #[test]
    fn decimals_are_converted_exactly() {
        assert_eq!(from_decimal(Decimal::new(386, 1)), Some(Exact::new(193, 5)));
        assert_eq!(from_decimal(Decimal::new(700, 2)), Some(Exact::from_integer(7)));
        assert_eq!(from_decimal(Decimal::MAX), None);
    }

    #[test]
    fn arithmetic_is_exact_and_checked() {
        let (third, two) = (Exact::new(1, 3), Exact::from_integer(2));
        assert_eq!(add(third, two), Some(Exact::new(7, 3)));
        assert_eq!(subtract(two, third), Some(Exact::new(5, 3)));
        assert_eq!(multiply(third, two), Some(Exact::new(2, 3)));
        assert_eq!(divide(two, third), Some(Exact::from_integer(6)));
        let most = Exact::from_integer(i64::MAX);
        assert_eq!(add(most, two), None);
        assert_eq!(multiply(most, two), None);
        assert_eq!(subtract(Exact::from_integer(i64::MIN), two), None);
        assert_eq!(divide(two, Exact::from_integer(0)), None);
    }
}
