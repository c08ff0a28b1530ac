//! Which language a caller reads.

use std::iter::successors;

use lambda_http::http::header::ACCEPT_LANGUAGE;
use lambda_http::{Request, RequestExt};

/// The one of `offered` (BCP 47 tags) that suits the caller best: what `?lang=` names, then what `Accept-Language` does, by
/// its weights, then English, then the first. `None` only if nothing is offered.
///
/// A tag suits who asks for it, for a narrower one (`de` for `de-AT`, RFC 4647), or for a wider one (`zh-Hans` for `zh`). Who
/// asks for Chinese of a region gets the script that is written there, and never the other one instead.
pub fn choose<'a>(request: &Request, offered: &[&'a str]) -> Option<&'a str> {
    let query = request.query_string_parameters_ref();
    let named = query.and_then(|query| query.first("lang")).unwrap_or_default();
    let header = request.headers().get_all(ACCEPT_LANGUAGE).into_iter().filter_map(|value| value.to_str().ok());
    best(named, header.flat_map(|value| value.split(',')), offered)
}

fn best<'a, 'r>(named: &str, accepted: impl Iterator<Item = &'r str>, offered: &[&'a str]) -> Option<&'a str> {
    let (refused, mut wanted): (Vec<_>, Vec<_>) = accepted.filter_map(weighted).partition(|(_, weight)| *weight == 0.0);
    // Stable, so that the order decides between equal weights.
    wanted.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    let is_refused = |tag: &str| refused.iter().any(|(range, _)| covers(&in_full(range), &in_full(tag)));
    let left: Vec<&str> = offered.iter().copied().filter(|tag| !is_refused(tag)).collect();
    matching(named, offered)
        .or_else(|| wanted.iter().find_map(|(range, _)| matching(range, &left)))
        // A text in another language is of more use than none.
        .or_else(|| fallback(&left))
        .or_else(|| fallback(offered))
}

/// One range of the header with its weight, `de-AT;q=0.8`. `None` if it cannot be read.
fn weighted(range: &str) -> Option<(&str, f32)> {
    let (range, parameters) = range.split_once(';').unwrap_or((range, "q=1"));
    let (name, weight) = parameters.split_once('=')?;
    let weight = weight.trim().parse().ok().filter(|weight| (0.0..=1.0).contains(weight))?;
    name.trim().eq_ignore_ascii_case("q").then_some((range.trim(), weight))
}

/// The one of `offered` that the range asks for: the tag itself, or the closest wider one, or the first narrower one.
fn matching<'a>(range: &str, offered: &[&'a str]) -> Option<&'a str> {
    if range == "*" {
        return fallback(offered);
    }
    let range = in_full(range);
    let wider = successors(Some(range.as_str()), |range| range.rsplit_once('-').map(|(wider, _)| wider));
    let first = |suits: &dyn Fn(&str) -> bool| offered.iter().copied().find(|tag| suits(&in_full(tag)));
    wider.into_iter().find_map(|range| first(&|tag| tag == range)).or_else(|| first(&|tag| covers(&range, tag)))
}

/// Whether `tag` is `range`, or narrower.
fn covers(range: &str, tag: &str) -> bool {
    range == "*" || tag.strip_prefix(range).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

fn fallback<'a>(offered: &[&'a str]) -> Option<&'a str> {
    offered.iter().copied().find(|tag| covers("en", &in_full(tag))).or(offered.first().copied())
}

/// A tag or range in lower case, and for Chinese with the script that its region writes.
fn in_full(tag: &str) -> String {
    let tag = tag.to_ascii_lowercase();
    let Some(rest) = tag.strip_prefix("zh").filter(|rest| rest.is_empty() || rest.starts_with('-')) else { return tag };
    match rest.split('-').nth(1) {
        None | Some("cn" | "sg" | "my") => format!("zh-hans{rest}"),
        Some("tw" | "hk" | "mo") => format!("zh-hant{rest}"),
        Some(_) => tag,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFERED: [&str; 4] = ["de", "en", "pt-BR", "zh-Hans"];

    fn chosen(named: &str, accepted: &str) -> &'static str {
        best(named, accepted.split(','), &OFFERED).unwrap()
    }

    #[test]
    fn the_heaviest_language_that_is_there_is_chosen() {
        for (accepted, expected) in [
            ("de", "de"),
            ("DE-at", "de"),
            ("de;q=0.5, zh-Hans;q=0.9", "zh-Hans"),
            ("fr, de;q=0.3, en;q=0.2", "de"),
            ("en, de", "en"),
            ("pt", "pt-BR"),
            ("den", "en"),
            ("fr, *;q=0.1", "en"),
            ("en;q=0, *", "de"),
            ("*;q=0", "en"),
            ("de;q=2, zh-Hans;q=x, pt-BR;v=1, ;;,", "en"),
            ("", "en"),
        ] {
            assert_eq!(chosen("", accepted), expected, "{accepted}");
        }
    }

    #[test]
    fn chinese_of_a_region_is_given_in_its_script() {
        for (accepted, expected) in [
            ("zh", "zh-Hans"),
            ("zh-CN", "zh-Hans"),
            ("zh-sg", "zh-Hans"),
            ("zh-Hans-CN", "zh-Hans"),
            ("zh-TW", "en"),
            ("zh-Hant-HK, de", "de"),
        ] {
            assert_eq!(chosen("", accepted), expected, "{accepted}");
        }
        let offered = ["zh-CN", "zh-TW"];
        assert_eq!(best("", ["zh-Hant"].into_iter(), &offered), Some("zh-TW"));
        assert_eq!(best("", ["zh"].into_iter(), &offered), Some("zh-CN"));
    }

    #[test]
    fn what_the_address_names_comes_before_what_the_header_does() {
        assert_eq!(chosen("zh-CN", "de"), "zh-Hans");
        assert_eq!(chosen("de", "de;q=0"), "de");
        assert_eq!(chosen("fr", "de"), "de", "not there: the header decides");
        assert_eq!(chosen("", ""), "en");
    }

    #[test]
    fn something_is_chosen_wherever_anything_is_offered() {
        assert_eq!(best("fr", ["fr"].into_iter(), &["de", "it"]), Some("de"));
        assert_eq!(best("", ["fr"].into_iter(), &["de", "en-GB"]), Some("en-GB"));
        assert_eq!(best("", [].into_iter(), &[]), None);
    }
}
