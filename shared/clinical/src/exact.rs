//! Exact arithmetic: ratios of integers, rounded once, half up.

use num_rational::Ratio;
use num_traits::ToPrimitive;
use rust_decimal::Decimal;

/// A number without rounding error. Arithmetic on it is checked: the definitions' limits keep it far from overflow.
pub(crate) type Exact = Ratio<i64>;

/// The number as a ratio; `None` if it has too many digits.
pub(crate) fn from_decimal(number: Decimal) -> Option<Exact> {
    let number = number.normalize();
    let numerator = number.mantissa().to_i64()?;
    if number.scale() == 0 {
        return Some(Exact::from_integer(numerator));
    }
    Some(Exact::new(numerator, 10_i64.checked_pow(number.scale())?))
}

/// The number rounded to `places` decimals, a half upwards; `None` if the result has too many digits.
pub(crate) fn round_half_up(number: Exact, places: u32) -> Option<Decimal> {
    if number.is_integer() {
        return Some(Decimal::from(*number.numer()));
    }
    let (numerator, denominator) = (i128::from(*number.numer()), i128::from(*number.denom()));
    let scaled = numerator.checked_mul(10_i128.checked_pow(places)?)?;
    let rounded = scaled.checked_mul(2)?.checked_add(denominator)?.div_euclid(denominator.checked_mul(2)?);
    Decimal::try_from_i128_with_scale(rounded, places).ok().map(|decimal| decimal.normalize())
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
    fn decimals_are_read_exactly() {
        assert_eq!(from_decimal(Decimal::new(386, 1)), Some(Exact::new(193, 5)));
        assert_eq!(from_decimal(Decimal::new(700, 2)), Some(Exact::from_integer(7)));
        assert_eq!(from_decimal(Decimal::MAX), None);
    }
}
