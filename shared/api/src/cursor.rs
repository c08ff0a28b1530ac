//! Cursors: where the next page of a list begins, as the caller hands it back.
//!
//! A cursor is opaque and signed (HMAC-SHA-256), so that it can be used only for the list that it was issued for. It
//! expires after an hour.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use records::CursorKey;
use sha2::Sha256;
use time::{Duration, OffsetDateTime};

use crate::{Problem, ProblemKind};

/// How long a cursor can be used.
const LIFETIME: Duration = Duration::hours(1);
/// Bytes of a cursor. Longer than any that is issued: positions are keys of 200 bytes at most.
const LONGEST: usize = 1_000;
/// Changes with what is signed or how it is laid out.
const VERSION: u8 = 1;
const TAG: usize = 32;

/// The cursor of what follows `position` in `list`, which is its route, study, site and filters.
pub fn issue(key: &CursorKey, list: &[&str], position: &str, now: OffsetDateTime) -> String {
    let until = (now + LIFETIME).unix_timestamp();
    let mut cursor = vec![VERSION];
    cursor.extend(until.to_be_bytes());
    cursor.extend(position.as_bytes());
    let tag = mac(key, list, &cursor).finalize().into_bytes();
    cursor.extend(tag);
    URL_SAFE_NO_PAD.encode(cursor)
}

/// The position in `list` that `cursor` was issued for.
///
/// # Errors
/// 422 if it was issued for another list, was changed, or has expired.
pub fn verify(key: &CursorKey, list: &[&str], cursor: &str, now: OffsetDateTime) -> Result<String, Problem> {
    let read = || {
        let bytes = URL_SAFE_NO_PAD.decode(Some(cursor).filter(|cursor| cursor.len() <= LONGEST)?).ok()?;
        let (signed, tag) = bytes.split_at_checked(bytes.len().checked_sub(TAG)?)?;
        // Nothing of it is used before this, which takes the same time wherever it differs.
        mac(key, list, signed).verify_slice(tag).ok()?;
        let (until, position) = signed.strip_prefix(&[VERSION])?.split_first_chunk()?;
        Some((i64::from_be_bytes(*until), String::from_utf8(position.to_vec()).ok()?))
    };
    let unusable = |detail: &str| Problem::of_finding(ProblemKind::Invalid, "", "query.cursor", detail);
    let (until, position) =
        read().ok_or_else(|| unusable("the cursor was not issued for this list; start again without it"))?;
    if now.unix_timestamp() >= until {
        return Err(unusable("the cursor has expired; start again without it"));
    }
    Ok(position)
}

/// Over the list, each part preceded by its length so that no two lists have the same bytes, and `signed`.
fn mac(key: &CursorKey, list: &[&str], signed: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::new_from_slice(key.as_bytes()).expect("HMAC takes a key of any length");
    for part in list {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part.as_bytes());
    }
    mac.update(&u64::MAX.to_be_bytes());
    mac.update(signed);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-23 08:00:00.5 UTC);
    const LIST: [&str; 3] = ["GET /v1/sites/{site}/patients", "DEMO", "S01"];
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=+/ ";

    fn key() -> CursorKey {
        CursorKey::from([7; 32])
    }

    fn position(list: &[&str], cursor: &str, now: OffsetDateTime) -> Option<String> {
        verify(&key(), list, cursor, now).ok()
    }

    #[test]
    fn a_cursor_returns_its_position() {
        for expected in ["P-001", "", "2026-11-23T08:00:00.123000000Z#00000000-0000-0000-0000-000000000007", "é"] {
            let cursor = issue(&key(), &LIST, expected, NOW);
            assert_eq!(position(&LIST, &cursor, NOW).as_deref(), Some(expected));
        }
    }

    #[test]
    fn a_cursor_changed_in_any_character_is_refused() {
        let cursor = issue(&key(), &LIST, "P-001", NOW);
        for place in 0..cursor.len() {
            for &other in ALPHABET {
                let mut forged = cursor.clone().into_bytes();
                if forged[place] != other {
                    forged[place] = other;
                    let forged = String::from_utf8(forged).unwrap();
                    assert_eq!(position(&LIST, &forged, NOW), None, "{forged}");
                }
            }
            assert_eq!(position(&LIST, &cursor[..place], NOW), None);
        }
        for longer in [format!("{cursor}A"), format!("{cursor}="), format!("A{cursor}"), "A".repeat(100_000)] {
            assert_eq!(position(&LIST, &longer, NOW), None);
        }
    }

    #[test]
    fn a_cursor_of_another_list_or_key_is_refused() {
        let others: [&[&str]; 8] = [
            &["GET /v1/sites/{site}/audit", "DEMO", "S01"],
            &[LIST[0], "OTHER", "S01"],
            &[LIST[0], "DEMO", "S02"],
            &[LIST[0], "DEMOS", "01"],
            &[LIST[0], "DEMO"],
            &[LIST[0], "DEMO", "S01", ""],
            &[LIST[0], "DEMO", "S01", "open"],
            &[],
        ];
        for other in others {
            assert_eq!(position(&LIST, &issue(&key(), other, "P-001", NOW), NOW), None, "{other:?}");
        }
        assert_eq!(position(&LIST, &issue(&CursorKey::from([8; 32]), &LIST, "P-001", NOW), NOW), None);
    }

    #[test]
    fn a_cursor_expires_after_an_hour() {
        let cursor = issue(&key(), &LIST, "P-001", NOW);
        assert!(position(&LIST, &cursor, NOW + Duration::minutes(59)).is_some());
        let problem = verify(&key(), &LIST, &cursor, NOW + Duration::hours(1)).unwrap_err();
        assert_eq!(problem.kind(), ProblemKind::Invalid);
        assert!(format!("{problem:?}").contains("expired; start again"), "{problem:?}");
    }
}
