//! Texts by language.

use std::collections::BTreeMap;

use super::fault::Faults;
use super::pointer::pointer;

/// A text in one or more languages, by BCP 47 tag.
pub type Texts = BTreeMap<String, String>;

/// The text in the language `tag`, or in the first language if there is none in it.
pub(crate) fn in_language<'a>(texts: &'a Texts, tag: &str) -> &'a str {
    texts.get(tag).or_else(|| texts.values().next()).map(String::as_str).unwrap_or_default()
}

/// Checks that the texts at `at` have the same languages as the definition's `title` and are not empty. `advice` is the
/// advice for an empty text.
pub(crate) fn check(texts: &Texts, title: &Texts, at: &str, advice: &str, faults: &mut Faults) {
    if texts.keys().ne(title.keys()) {
        let languages = |texts: &Texts| texts.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let problem =
            format!("the text has the languages [{}], and the title has [{}]", languages(texts), languages(title));
        faults.add(at, "text.language", problem, "write every text in the languages of the title");
    }
    for (language, text) in texts {
        if text.trim().is_empty() {
            faults.add(pointer(at, language), "text.none", "the text is empty", advice);
        }
    }
}

/// Checks that the texts at `at` have at least one language, each by a well-formed BCP 47 tag.
pub(crate) fn check_tags(texts: &Texts, at: &str, faults: &mut Faults) {
    if texts.is_empty() || !texts.keys().all(|tag| is_language_tag(tag)) {
        faults.add(
            at,
            "text.language",
            "a text is an object of at least one text by BCP 47 language tag",
            "write, for example, {\"en\": \"…\", \"zh-Hans\": \"…\"}",
        );
    }
}

/// Whether the tag is well formed by BCP 47: a language of two or three letters, then subtags.
pub(crate) fn is_language_tag(tag: &str) -> bool {
    let mut subtags = tag.split('-');
    let language = subtags.next().unwrap_or_default();
    (2..=3).contains(&language.len())
        && language.bytes().all(|byte| byte.is_ascii_lowercase())
        && subtags.all(|subtag| (2..=8).contains(&subtag.len()) && subtag.bytes().all(|b| b.is_ascii_alphanumeric()))
}
