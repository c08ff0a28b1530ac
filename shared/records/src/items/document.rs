//! Documents that a data manager puts in force: studies, and instruments that do not ship with the library.

use clinical::instruments::Instrument;
use clinical::studies::Study;
use time::OffsetDateTime;

use crate::table::attributes::{Item, Reader, Unreadable, instant, text, unreadable};
use crate::table::keys;

/// The items that a study is stored as.
#[derive(Clone, Copy)]
pub(crate) enum StudyItem {
    /// The version itself, written once.
    Version,
    /// The copy of the version in force.
    InForce,
}

/// The item of `study`, which `by` (the `sub` of the token) put at `at`.
pub(crate) fn study_item(study: &Study, of: StudyItem, at: OffsetDateTime, by: &str) -> Item {
    let mut item = match of {
        StudyItem::Version => keys::study_version(study.id(), study.version()),
        StudyItem::InForce => keys::study_in_force(study.id()),
    };
    item.extend(document(study.json(), study.hash(), at, by));
    item.insert("kind".to_owned(), text("study"));
    item.insert("version".to_owned(), text(study.version().as_str()));
    item.insert("rank".to_owned(), text(study.version().sortable()));
    item
}

/// The item of `instrument`, which `by` (the `sub` of the token) put at `at`.
pub(crate) fn instrument_item(instrument: &Instrument, at: OffsetDateTime, by: &str) -> Item {
    let mut item = keys::instrument(instrument.id(), instrument.version());
    item.extend(document(instrument.json(), instrument.hash(), at, by));
    item.insert("kind".to_owned(), text("instrument"));
    item
}

pub(crate) fn study(item: &Item) -> Result<Study, Unreadable> {
    Study::parse(Reader(item).text("json")?).map_err(|_| unreadable("json", "is not a study"))
}

pub(crate) fn instrument(item: &Item) -> Result<Instrument, Unreadable> {
    Instrument::parse(Reader(item).text("json")?).map_err(|_| unreadable("json", "is not an instrument"))
}

/// The content hash of the document in `item`.
pub(crate) fn hash(item: &Item) -> Result<&str, Unreadable> {
    Reader(item).text("hash")
}

fn document(json: &str, hash: &str, at: OffsetDateTime, by: &str) -> Item {
    Item::from([
        ("json".to_owned(), text(json)),
        ("hash".to_owned(), text(hash)),
        ("put_at".to_owned(), instant(at)),
        ("put_by".to_owned(), text(by)),
    ])
}
