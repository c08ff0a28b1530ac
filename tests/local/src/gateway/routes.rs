//! Selects the route of a request.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;

use crate::template::Route;

/// A route and the decoded parameters of the path.
#[derive(Debug)]
pub(super) struct Found<'a> {
    pub(super) route: &'a Route,
    pub(super) parameters: BTreeMap<String, String>,
}

/// How a segment of a route matches one of a path. The more specific variant comes first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Literal,
    Parameter,
    Greedy,
}

/// The most specific route of a request: literal segments before parameters before greedy ones, the method before
/// `ANY`, and `$default` last.
pub(super) fn find<'a>(routes: &'a [Route], method: &str, path: &str) -> Option<Found<'a>> {
    routes
        .iter()
        .filter(|route| route.method == method || route.method == "ANY")
        .filter_map(|route| {
            let (rank, parameters) = take(&route.path, path)?;
            Some(((rank, route.method != method), Found { route, parameters }))
        })
        .min_by(|(a, _), (b, _)| a.cmp(b))
        .map(|(_, found)| found)
}

fn take(pattern: &str, path: &str) -> Option<(Vec<Segment>, BTreeMap<String, String>)> {
    let mut parameters = BTreeMap::new();
    if pattern == Route::DEFAULT {
        return Some((vec![Segment::Greedy], parameters));
    }
    let mut rank = Vec::new();
    let mut segments = path.split('/');
    for expected in pattern.split('/') {
        let parameter = expected.strip_prefix('{').and_then(|name| name.strip_suffix('}'));
        match parameter {
            Some(name) if name.ends_with('+') => {
                let rest = segments.collect::<Vec<_>>().join("/");
                rank.push(Segment::Greedy);
                parameters.insert(name.trim_end_matches('+').to_owned(), decode(&rest));
                return (!rest.is_empty()).then_some((rank, parameters));
            }
            Some(name) => {
                let segment = segments.next().filter(|segment| !segment.is_empty())?;
                rank.push(Segment::Parameter);
                parameters.insert(name.to_owned(), decode(segment));
            }
            None => {
                segments.next().filter(|segment| *segment == expected)?;
                rank.push(Segment::Literal);
            }
        }
    }
    segments.next().is_none().then_some((rank, parameters))
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn route(method: &str, path: &str) -> Route {
        Route {
            method: method.to_owned(),
            path: path.to_owned(),
            function: format!("{method} {path}"),
            authorizer: None,
            scopes: Vec::new(),
            timeout: Duration::from_secs(30),
        }
    }

    #[test]
    fn the_most_specific_route_wins_whatever_the_order() {
        let mut routes = [
            route("GET", "/v1/sites/{site}"),
            route("GET", "/v1/sites/counts"),
            route("ANY", "/v1/sites/counts"),
            route("GET", "/v1/{proxy+}"),
            route("GET", "/v1/sites/{site}/counts"),
        ];
        for _ in 0..routes.len() {
            routes.rotate_left(1);
            for (method, path, expected) in [
                ("GET", "/v1/sites/counts", Some("GET /v1/sites/counts")),
                ("POST", "/v1/sites/counts", Some("ANY /v1/sites/counts")),
                ("GET", "/v1/sites/A1", Some("GET /v1/sites/{site}")),
                ("GET", "/v1/sites/counts/counts", Some("GET /v1/sites/{site}/counts")),
                ("GET", "/v1/sites/A1/other", Some("GET /v1/{proxy+}")),
                ("GET", "/v1/sites/", Some("GET /v1/{proxy+}")),
                ("POST", "/v1/sites/A1", None),
                ("GET", "/v2", None),
            ] {
                let found = find(&routes, method, path).map(|found| found.route.function.as_str());
                assert_eq!(found, expected, "{method} {path}");
            }
        }
    }

    #[test]
    fn parameters_are_decoded() {
        let routes = [route("GET", "/v1/sites/{site}/of/{rest+}")];
        let found = find(&routes, "GET", "/v1/sites/A%201%2F2/of/x/%C3%A9").expect("a route matches");
        let expected = [("site", "A 1/2"), ("rest", "x/é")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(found.parameters, expected.into());
    }

    #[test]
    fn the_default_route_matches_what_no_other_route_matches() {
        let routes = [route("ANY", Route::DEFAULT), route("GET", "/{proxy+}")];
        assert_eq!(find(&routes, "PUT", "/x").map(|found| found.route.path.as_str()), Some(Route::DEFAULT));
        assert_eq!(find(&routes, "GET", "/x").map(|found| found.route.path.as_str()), Some("/{proxy+}"));
    }
}
