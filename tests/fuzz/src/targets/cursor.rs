//! Cursors that callers hand back.

use api::cursor;
use records::CursorKey;
use time::macros::datetime;

/// The first line is a cursor; the second is a position, whose cursor must lead back to it.
pub(super) fn cursor(input: &[u8]) {
    let key = CursorKey::from([7; 32]);
    let now = datetime!(2026-11-23 08:00:00 UTC);
    let list = ["GET /v1/sites/{site}/patients", "DEMO", "S01"];
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (given, position) = text.split_once('\n').unwrap_or((text, text));
    if let Ok(position) = cursor::verify(&key, &list, given, now) {
        assert_eq!(cursor::issue(&key, &list, &position, now), given, "a cursor that was not issued");
    }
    let issued = cursor::issue(&key, &list, position, now);
    // Longer ones are refused before they are decoded.
    if issued.len() <= 1_000 {
        assert_eq!(cursor::verify(&key, &list, &issued, now).ok().as_deref(), Some(position));
    }
}
