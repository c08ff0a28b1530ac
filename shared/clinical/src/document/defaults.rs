//! What a definition leaves out where it has its usual value: for `skip_serializing_if`.

pub(crate) fn is_false(flag: &bool) -> bool {
    !flag
}

pub(crate) fn is_zero(number: &u32) -> bool {
    *number == 0
}
