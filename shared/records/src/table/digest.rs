//! Digests, of which idempotency tokens, shards and opaque ids are made.

use sha2::{Digest, Sha256};

/// SHA-256 of `parts`, each preceded by its length, so that no two different lists of parts are the same bytes.
pub(crate) fn sha256<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// SHA-256 of `bytes`, in lower-case hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The client token of a transaction with these `parts`: the same for the same parts, so that DynamoDB recognises an
/// attempt whose answer was lost. It has 36 characters, the largest number that a token may have.
pub(crate) fn token<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    hex(&sha256(parts)[..18])
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from(b"0123456789abcdef"[usize::from(half)]);
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(digit(byte >> 4));
        text.push(digit(byte & 15));
    }
    text
}

/// The shard of `id` among `shards`: the same one always.
pub(crate) fn shard(id: &str, shards: u32) -> u32 {
    let [a, b, c, d, ..] = sha256([id.as_bytes()]);
    u32::from_be_bytes([a, b, c, d]) % shards
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_that_of_the_standard() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256_hex(b"abc"), expected);
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let digest = |parts: [&str; 2]| sha256(parts.iter().map(|part| part.as_bytes()));
        assert_ne!(digest(["ab", "c"]), digest(["a", "bc"]));
    }

    #[test]
    fn ids_spread_over_all_shards() {
        let shards: std::collections::BTreeSet<u32> = (0..200).map(|i| shard(&i.to_string(), 10)).collect();
        assert_eq!(shards, (0..10).collect());
    }
}
