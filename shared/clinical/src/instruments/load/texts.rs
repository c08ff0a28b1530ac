//! Texts and code lists: every text in the same languages, or no texts at all.

use super::loader::Loader;
use crate::document::{Number, Texts, pointer, texts};
use crate::instruments::definition::{Item, TextLicence};

impl<'a> Loader<'a> {
    /// Checks that every text has the same languages, and that there are texts only if the licence includes them.
    pub(super) fn check_texts(&mut self) {
        let definition = self.definition;
        let included = definition.licence.texts == TextLicence::Included;
        if definition.sources.is_empty() {
            self.faults.add(
                "/sources",
                "source.none",
                "the scoring has no source",
                "cite the publication that it follows",
            );
        }
        self.check_languages(&definition.title, "/title");
        let mut texts = vec![("/instruction".to_owned(), definition.instruction.as_ref(), false)];
        for (index, item) in definition.items.iter().enumerate() {
            texts.push((format!("/items/{index}/preface"), item.preface.as_ref(), false));
            texts.push((format!("/items/{index}/text"), item.text.as_ref(), included));
        }
        for (name, codes) in &definition.code_lists {
            for (index, code) in codes.iter().enumerate() {
                let at = format!("{}/{index}/text", pointer("/codeLists", name));
                texts.push((at, code.text.as_ref(), included));
            }
        }
        for (at, text, needed) in texts {
            match text {
                Some(_) if !included => self.faults.add(
                    at,
                    "text.licence",
                    "the licence excludes texts, and this is one",
                    "remove the text, or set `licence.texts` to `included` if its owner permits",
                ),
                Some(text) => self.check_languages(text, &at),
                None if needed => {
                    self.faults.add(at, "text.none", "the text is missing", "write the text that the patient reads");
                }
                None => {}
            }
        }
        let titles = definition.scores.iter().enumerate().flat_map(|(index, score)| {
            let bands = score.bands.iter().enumerate();
            let bands = bands.map(move |(band, b)| (format!("/scores/{index}/bands/{band}/title"), b.title.as_ref()));
            std::iter::once((format!("/scores/{index}/title"), score.title.as_ref())).chain(bands)
        });
        for (at, title) in titles {
            if let Some(title) = title {
                self.check_languages(title, &at);
            }
        }
    }

    fn check_languages(&mut self, texts: &Texts, at: &str) {
        texts::check(texts, &self.definition.title, at, "write the text that the patient reads", &mut self.faults);
        texts::check_tags(texts, at, &mut self.faults);
    }

    pub(super) fn check_code_lists(&mut self) {
        let definition = self.definition;
        for (name, codes) in &definition.code_lists {
            let at = pointer("/codeLists", name);
            if codes.is_empty() {
                self.faults.add(&at, "codes.none", "the list has no codes", "list the choices");
            }
            if !definition.items.iter().any(|item| item.codes.as_ref() == Some(name)) {
                self.faults.add(&at, "codes.unused", "no item uses the list", "remove it, or use it in an item");
            }
            for (index, code) in codes.iter().enumerate() {
                let at = format!("{at}/{index}/code");
                if codes[..index].iter().any(|before| before.code == code.code) {
                    self.faults.add(
                        &at,
                        "codes.duplicate",
                        format!("the list has the code {} twice", code.code),
                        "give each choice a unique code",
                    );
                }
                self.number(Number(code.code.into()), &at);
                if code.counts_as_missing && code.counts_as_not_asked {
                    self.faults.add(
                        format!("{}/{index}", pointer("/codeLists", name)),
                        "codes.counts",
                        "the choice counts as missing and as not asked",
                        "keep one of `countsAsMissing` and `countsAsNotAsked`",
                    );
                }
            }
        }
    }

    /// Checks that each name refers to one item only, so that data under that name is unambiguous.
    pub(super) fn check_names(&mut self) {
        let items = &self.definition.items;
        for (index, item) in items.iter().enumerate() {
            let Some(name) = &item.name else { continue };
            let taken = |other: &Item| other.id != item.id && (other.id == *name || other.name.as_ref() == Some(name));
            if items.iter().any(taken) {
                self.faults.add(
                    format!("/items/{index}/name"),
                    "item.name",
                    "the name is the id or the name of another item",
                    "give each item a unique name",
                );
            }
        }
    }
}
