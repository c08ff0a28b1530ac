//! Predicates for `skip_serializing_if`: a definition omits members with their default value.

pub(crate) fn is_false(flag: &bool) -> bool {
    !flag
}

pub(crate) fn is_zero(number: &u32) -> bool {
    *number == 0
}
