//! Language negotiation.

use std::iter::successors;

use lambda_http::http::header::ACCEPT_LANGUAGE;
use lambda_http::{Request, RequestExt};

/// The best of the `offered` languages (BCP 47 tags) for the caller: the one that `?lang=` names, then those of
/// `Accept-Language` by their weights, then English, then the first. `None` only if none is offered.
///
/// A range matches the same tag, a wider one (`de-AT` matches `de`, RFC 4647) and a narrower one (`zh` matches
/// `zh-Hans`). Chinese of a region matches only the script that is written there.
pub fn choose<'a>(request: &Request, offered: &[&'a str]) -> Option<&'a str> {
    let query = request.query_string_parameters_ref();
    let named = query.and_then(|query| query.first("lang")).unwrap_or_default();
    let header = request.headers().get_all(ACCEPT_LANGUAGE).into_iter().filter_map(|value| value.to_str().ok());
    best(named, header.flat_map(|value| value.split(',')), offered)
}

fn best<'a, 'r>(named: &str, ranges: impl Iterator<Item = &'r str>, offered: &[&'a str]) -> Option<&'a str> {
    let (refused, mut accepted): (Vec<_>, Vec<_>) = ranges.filter_map(weighted).partition(|(_, weight)| *weight == 0.0);
    // Stable, so that the order decides between equal weights.
    accepted.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    let is_refused = |tag: &str| refused.iter().any(|(range, _)| covers(&in_full(range), &in_full(tag)));
    let left: Vec<&str> = offered.iter().copied().filter(|tag| !is_refused(tag)).collect();
    matching(named, offered)
        .or_else(|| accepted.iter().find_map(|(range, _)| matching(range, &left)))
        // A text in another language is more useful than none.
        .or_else(|| fallback(&left))
        .or_else(|| fallback(offered))
}

/// One range of the header with its weight, such as `de-AT;q=0.8`. `None` if it is malformed.
fn weighted(range: &str) -> Option<(&str, f32)> {
    let (range, parameters) = range.split_once(';').unwrap_or((range, "q=1"));
    let (name, weight) = parameters.split_once('=')?;
    let weight = weight.trim().parse().ok().filter(|weight| (0.0..=1.0).contains(weight))?;
    name.trim().eq_ignore_ascii_case("q").then_some((range.trim(), weight))
}

/// The tag of `offered` that matches `range`: the same, else the closest wider one, else the first narrower one.
fn matching<'a>(range: &str, offered: &[&'a str]) -> Option<&'a str> {
    if range == "*" {
        return fallback(offered);
    }
    let range = in_full(range);
    let wider = successors(Some(range.as_str()), |range| range.rsplit_once('-').map(|(wider, _)| wider));
    let first = |suits: &dyn Fn(&str) -> bool| offered.iter().copied().find(|tag| suits(&in_full(tag)));
    wider.into_iter().find_map(|range| first(&|tag| tag == range)).or_else(|| first(&|tag| covers(&range, tag)))
}

/// Whether `tag` is `range` or narrower.
fn covers(range: &str, tag: &str) -> bool {
    range == "*" || tag.strip_prefix(range).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

fn fallback<'a>(offered: &[&'a str]) -> Option<&'a str> {
    offered.iter().copied().find(|tag| covers("en", &in_full(tag))).or(offered.first().copied())
}

/// A tag or range in lower case, for Chinese with the script of its region.
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
    fn the_offered_language_of_the_highest_weight_is_chosen() {
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
    fn chinese_of_a_region_is_matched_by_its_script() {
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
    fn the_query_comes_before_the_header() {
        assert_eq!(chosen("zh-CN", "de"), "zh-Hans");
        assert_eq!(chosen("de", "de;q=0"), "de");
        assert_eq!(chosen("fr", "de"), "de", "not offered: the header decides");
        assert_eq!(chosen("", ""), "en");
    }

    #[test]
    fn a_language_is_chosen_wherever_one_is_offered() {
        assert_eq!(best("fr", ["fr"].into_iter(), &["de", "it"]), Some("de"));
        assert_eq!(best("", ["fr"].into_iter(), &["de", "en-GB"]), Some("en-GB"));
        assert_eq!(best("", [].into_iter(), &[]), None);
    }
}
