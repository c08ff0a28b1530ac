//! Lists in pages: how many a caller wants, and the cursor by which it asks for what follows.
//!
//! A cursor is opaque and signed (HMAC-SHA-256), so that who holds one can read on in the list it was given for, and nowhere
//! else. It is good for an hour.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clinical::document::Finding;
use hmac::{Hmac, KeyInit, Mac};
use lambda_http::{Request, RequestExt};
use sha2::Sha256;
use time::{Duration, OffsetDateTime};

use crate::{Problem, ProblemKind};

/// How many a page has where the caller does not say.
const USUAL: usize = 25;
/// As many as a page may have.
const MOST: usize = 100;
/// How long a cursor is good for.
const LIFETIME: Duration = Duration::hours(1);
/// Longer than any that is given: positions are keys of 200 bytes at most.
const LONGEST: usize = 1_000;
/// Changes with what is signed or how it is laid out.
const VERSION: u8 = 1;
const TAG: usize = 32;

/// What a caller asks for of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// How many, at most: 1 to 100, 25 if it does not say (`?limit=`).
    pub limit: usize,
    /// Where to go on (`?cursor=`), still to be checked by [`Key::position`].
    pub cursor: Option<String>,
}

impl Wish {
    /// What `request` asks for.
    ///
    /// # Errors
    /// 422 if its limit is none.
    pub fn of(request: &Request) -> Result<Self, Problem> {
        let query = request.query_string_parameters_ref();
        let given = |name| query.and_then(|query| query.first(name));
        let limit = match given("limit").map(str::parse) {
            None => USUAL,
            Some(Ok(limit @ 1..=MOST)) => limit,
            Some(_) => {
                let detail = format!("?limit= is a whole number from 1 to {MOST}");
                let finding = Finding { pointer: String::new(), code: "query.limit", detail: detail.clone() };
                return Err(Problem::new(ProblemKind::Invalid, detail).with_errors(finding));
            }
        };
        Ok(Self { limit, cursor: given("cursor").map(str::to_owned) })
    }
}

/// What cursors are signed with: the same in every environment of every function. Not in its `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; 32]);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(redacted)")
    }
}

impl From<[u8; 32]> for Key {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl Key {
    /// The cursor to what follows `position` in `list`: its route, study, site, and whatever else it was chosen by.
    pub fn cursor(&self, list: &[&str], position: &str, now: OffsetDateTime) -> String {
        let until = (now + LIFETIME).unix_timestamp();
        let mut cursor = vec![VERSION];
        cursor.extend(until.to_be_bytes());
        cursor.extend(position.as_bytes());
        let tag = self.mac(list, &cursor).finalize().into_bytes();
        cursor.extend(tag);
        URL_SAFE_NO_PAD.encode(cursor)
    }

    /// The position in `list` that `cursor` was made for.
    ///
    /// # Errors
    /// 422 if it was made for another list, was changed, or has expired.
    pub fn position(&self, list: &[&str], cursor: &str, now: OffsetDateTime) -> Result<String, Problem> {
        let read = || {
            let bytes = URL_SAFE_NO_PAD.decode(Some(cursor).filter(|cursor| cursor.len() <= LONGEST)?).ok()?;
            let (signed, tag) = bytes.split_at_checked(bytes.len().checked_sub(TAG)?)?;
            // Nothing of it is believed before this, which takes the same time wherever it differs.
            self.mac(list, signed).verify_slice(tag).ok()?;
            let (until, position) = signed.strip_prefix(&[VERSION])?.split_first_chunk()?;
            Some((i64::from_be_bytes(*until), String::from_utf8(position.to_vec()).ok()?))
        };
        let (until, position) =
            read().ok_or_else(|| unusable("the cursor is not one of this list; start again without it"))?;
        if now.unix_timestamp() >= until {
            return Err(unusable("the cursor has expired; start again without it"));
        }
        Ok(position)
    }

    /// Over the list, each part preceded by its length so that none runs into the next, and `signed`.
    fn mac(&self, list: &[&str], signed: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        for part in list {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        mac.update(&u64::MAX.to_be_bytes());
        mac.update(signed);
        mac
    }
}

fn unusable(detail: &'static str) -> Problem {
    let finding = Finding { pointer: String::new(), code: "query.cursor", detail: detail.to_owned() };
    Problem::new(ProblemKind::Invalid, detail).with_errors(finding)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lambda_http::Body;
    use std::collections::HashMap;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-23 08:00:00.5 UTC);
    const LIST: [&str; 3] = ["GET /v1/sites/{site}/patients", "DEMO", "S01"];
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=+/ ";

    fn key() -> Key {
        Key([7; 32])
    }

    fn position(list: &[&str], cursor: &str, now: OffsetDateTime) -> Option<String> {
        key().position(list, cursor, now).ok()
    }

    #[test]
    fn a_cursor_gives_its_position_back() {
        for expected in ["P-001", "", "2026-11-23T08:00:00.123000000Z#00000000-0000-0000-0000-000000000007", "é"] {
            let cursor = key().cursor(&LIST, expected, NOW);
            assert_eq!(position(&LIST, &cursor, NOW).as_deref(), Some(expected));
        }
    }

    #[test]
    fn a_cursor_that_is_changed_in_any_place_is_refused() {
        let cursor = key().cursor(&LIST, "P-001", NOW);
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
            assert_eq!(position(&LIST, &key().cursor(other, "P-001", NOW), NOW), None, "{other:?}");
        }
        assert_eq!(position(&LIST, &Key([8; 32]).cursor(&LIST, "P-001", NOW), NOW), None);
    }

    #[test]
    fn a_cursor_is_good_for_an_hour_and_says_what_to_do_then() {
        let cursor = key().cursor(&LIST, "P-001", NOW);
        assert!(position(&LIST, &cursor, NOW + Duration::minutes(59)).is_some());
        let problem = key().position(&LIST, &cursor, NOW + Duration::hours(1)).unwrap_err();
        assert_eq!(problem.kind(), ProblemKind::Invalid);
        assert!(format!("{problem:?}").contains("expired; start again"), "{problem:?}");
    }

    #[test]
    fn a_key_is_not_in_debug_output() {
        assert_eq!(format!("{:?}", key()), "Key(redacted)");
    }

    #[test]
    fn a_page_has_25_or_as_many_as_the_caller_says() {
        let wish = |limit: Option<&str>| {
            let query: HashMap<String, String> =
                limit.map(|limit| ("limit".to_owned(), limit.to_owned())).into_iter().collect();
            Wish::of(&Request::new(Body::Empty).with_query_string_parameters(query)).map(|wish| wish.limit).ok()
        };
        assert_eq!((wish(None), wish(Some("1")), wish(Some("100"))), (Some(25), Some(1), Some(100)));
        for bad in ["0", "101", "-1", "", "x", "1.5", "99999999999999999999"] {
            assert_eq!(wish(Some(bad)), None, "{bad}");
        }
    }
}
