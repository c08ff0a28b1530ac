//! Items: the answers that each allows.

use super::loader::{Lists, Loader, MOST_DECIMALS};
use super::range::values_of;
use crate::document::pointer;
use crate::instruments::definition::{Code, Item, ItemKind, Operation};
use crate::instruments::program::{CountsAs, LoadedItem, LoadedKind};

/// The default maximum number of characters of a text.
const TEXT_LENGTH: u32 = 1_000;

impl<'a> Loader<'a> {
    pub(super) fn load_items(&mut self) -> Vec<LoadedItem> {
        let definition = self.definition;
        let mut loaded = Vec::new();
        if definition.items.is_empty() {
            self.faults.add("/items", "item.none", "the instrument has no items", "add at least one");
        }
        for (index, item) in definition.items.iter().enumerate() {
            let at = format!("/items/{index}");
            let mut condition = |condition: &'a Option<Operation>, name| {
                let lists = &mut Lists { rule: None, applied: 0 };
                let (node, _) = self.operation(condition.as_ref()?, &pointer(&at, name), lists)?;
                Some(node)
            };
            let enable_when = condition(&item.enable_when, "enableWhen");
            let needed_when = condition(&item.needed_when, "neededWhen");
            let kind = self.item_kind(item, &at);
            let hideable = item.enable_when.is_some() || item.needed_when.is_some() || !item.not_needed_for.is_empty();
            let part = kind.as_ref().and_then(|kind| values_of(kind, hideable));
            if self.items.insert(&item.id, (index, part)).is_some() {
                self.faults.add(
                    pointer(&at, "id"),
                    "item.duplicate",
                    format!("the item id {} is used twice", item.id),
                    "give each item a unique id",
                );
            }
            if let Some(kind) = kind {
                loaded.push(LoadedItem { id: item.id.clone(), kind, enable_when, needed_when, not_needed: false });
            }
        }
        loaded
    }

    fn item_kind(&mut self, item: &Item, at: &str) -> Option<LoadedKind> {
        let (codes, numbers) = match item.kind {
            ItemKind::Code | ItemKind::Codes => (true, false),
            ItemKind::Integer | ItemKind::Decimal => (false, true),
            ItemKind::Boolean | ItemKind::Text => (false, false),
        };
        for (name, given, allowed) in [
            ("codes", item.codes.is_some(), codes),
            ("min", item.min.is_some(), numbers),
            ("max", item.max.is_some(), numbers),
            ("decimals", item.decimals.is_some(), item.kind == ItemKind::Decimal),
            ("maxLength", item.max_length.is_some(), item.kind == ItemKind::Text),
        ] {
            if given && !allowed {
                self.faults.add(
                    pointer(at, name),
                    "item.attribute",
                    format!("`{name}` has no meaning for an item of this type"),
                    "remove it, or change the type",
                );
            }
        }
        match item.kind {
            ItemKind::Code | ItemKind::Codes => {
                let list = item.codes.as_ref().and_then(|name| self.definition.code_lists.get(name));
                let Some(list) = list else {
                    self.faults.add(
                        pointer(at, "codes"),
                        "item.codes",
                        "the item has no list of choices",
                        "set `codes` to the name of a list in `codeLists`",
                    );
                    return None;
                };
                Some(match item.kind {
                    ItemKind::Code => LoadedKind::Code(list.iter().map(|code| (code.code, counts_as(code))).collect()),
                    _ => LoadedKind::Codes(list.iter().map(|code| code.code).collect()),
                })
            }
            ItemKind::Integer | ItemKind::Decimal => {
                let decimals = item.decimals.unwrap_or(1);
                let ends = item.min.zip(item.max).filter(|(min, max)| min < max);
                let Some((min, max)) = ends else {
                    self.faults.add(
                        at,
                        "item.range",
                        "the range of the number is missing or empty",
                        "set `min` and a greater `max`",
                    );
                    return None;
                };
                self.number(min, &pointer(at, "min"));
                self.number(max, &pointer(at, "max"));
                if !(1..=MOST_DECIMALS).contains(&decimals) {
                    self.faults.add(
                        pointer(at, "decimals"),
                        "number.decimals",
                        "the number of decimals is out of range",
                        format!("set it from 1 to {MOST_DECIMALS}, or use the type integer"),
                    );
                }
                Some(match item.kind {
                    ItemKind::Integer => LoadedKind::Integer { min: min.0, max: max.0 },
                    _ => LoadedKind::Decimal { min: min.0, max: max.0, decimals },
                })
            }
            ItemKind::Boolean => Some(LoadedKind::Boolean),
            ItemKind::Text => Some(LoadedKind::Text { max_length: item.max_length.unwrap_or(TEXT_LENGTH) }),
        }
    }
}

fn counts_as(code: &Code) -> CountsAs {
    match code {
        Code { counts_as_not_asked: true, .. } => CountsAs::NotAsked,
        Code { counts_as_missing: true, .. } => CountsAs::Missing,
        _ => CountsAs::Number,
    }
}
