//! The function that serves instruments. `GET /v1/instruments` lists those that the caller's study asks;
//! `GET /v1/instruments/{id}/{version}` returns the definition of one, for the app to render.
//!
//! A definition is returned in one language, the caller's (`?lang=`, then `Accept-Language`, then English). A version
//! never changes, so an answer may be cached for a year. Its `ETag` is the definition's content hash, which is stored
//! with every score, and the language, since each language is another body.

use std::sync::Arc;

use api::{Caller, Handler, Invocation, Problem, ProblemKind, counted, http, language, protocol_for};
use clinical::document::{NotFound, Texts};
use clinical::instruments::definition::{Definition, Licence};
use clinical::instruments::{Catalog, Instrument};
use clinical::studies::Protocol;
use lambda_http::http::header::{CACHE_CONTROL, CONTENT_LANGUAGE, ETAG, IF_NONE_MATCH, VARY};
use lambda_http::http::{HeaderValue, StatusCode};
use lambda_http::{Body, Request, Response};
use records::Store;
use serde::Serialize;

/// A year, the longest that caches are asked for. Private, because the answer is for a caller with a token.
const CACHE_FOR_A_YEAR: HeaderValue = HeaderValue::from_static("private, max-age=31536000, immutable");

/// The function, with what it keeps between requests.
#[derive(Clone, Debug)]
pub struct Instruments {
    store: Store,
}

impl Instruments {
    /// The function on `store`.
    pub fn new(store: Store) -> Self {
        Self { store }
    }
}

impl Handler for Instruments {
    async fn answer(&self, route: &str, invocation: Invocation, request: Request) -> Result<Response<Body>, Problem> {
        match route {
            "GET /v1/instruments" => self.list(invocation, request).await,
            "GET /v1/instruments/{id}/{version}" => self.definition(invocation, request).await,
            _ => Err(http::no_such_route()),
        }
    }
}

impl Instruments {
    async fn list(&self, invocation: Invocation, request: Request) -> Result<Response<Body>, Problem> {
        let caller = Caller::of(&request)?;
        counted(&self.store, &invocation, caller.study(), caller.sites(), async {
            let protocol = protocol_for(&self.store, &caller, invocation.deadline).await?;
            let instruments = protocol.catalog().iter().map(|instrument| Summary::of(instrument)).collect();
            Ok(http::json(StatusCode::OK, &ListBody { instruments }))
        })
        .await
    }

    async fn definition(&self, invocation: Invocation, request: Request) -> Result<Response<Body>, Problem> {
        let caller = Caller::of(&request)?;
        counted(&self.store, &invocation, caller.study(), caller.sites(), async {
            let protocol = protocol_for(&self.store, &caller, invocation.deadline).await?;
            answer(&request, find(&request, &protocol)?)
        })
        .await
    }
}

/// The instrument that the path names: one that the study asks or one that ships, so that submissions from before a
/// change of the study can still be shown.
fn find<'a>(request: &Request, protocol: &'a Protocol) -> Result<&'a Instrument, Problem> {
    let not_found = |detail: &str| Problem::new(ProblemKind::NotFound, detail);
    let id = http::path_parameter(request, "id").parse().map_err(|_| not_found("there is no such instrument"))?;
    let version = http::path_parameter(request, "version");
    let version = version.parse().map_err(|_| not_found("a version has three numbers, such as 1.0.0"))?;
    let found = protocol.catalog().find(&id, &version);
    let found = found.or_else(|reason| Catalog::shipped().find(&id, &version).map_err(|_| reason));
    found.map(Arc::as_ref).map_err(|reason| match reason {
        NotFound::Id => not_found("there is no such instrument"),
        NotFound::Version { known } => {
            let known: Vec<_> = known.iter().map(|version| version.as_str()).collect();
            not_found(&format!("the instrument has no such version; it has {}", known.join(", ")))
        }
    })
}

/// The definition in the caller's language, or 304 if the caller has it.
fn answer(request: &Request, instrument: &Instrument) -> Result<Response<Body>, Problem> {
    let languages: Vec<&str> = instrument.languages().collect();
    let found =
        language::choose(request, &languages).and_then(|tag| Some((tag, instrument.definition().in_language(tag)?)));
    let Some((tag, definition)) = found else {
        return Err(Problem::new(ProblemKind::Internal, "the definition has no language"));
    };
    let etag = format!("\"{}-{tag}\"", instrument.hash());
    let mut response = if is_cached(request, &etag) {
        let mut unchanged = Response::new(Body::Empty);
        *unchanged.status_mut() = StatusCode::NOT_MODIFIED;
        unchanged
    } else {
        // The path of the schema is for authors of definitions.
        http::json(StatusCode::OK, &Definition { schema: None, ..definition })
    };
    let headers = response.headers_mut();
    let ascii = |text: &str| HeaderValue::try_from(text).expect("a hash and a language tag are plain ASCII");
    headers.insert(ETAG, ascii(&etag));
    headers.insert(CONTENT_LANGUAGE, ascii(tag));
    headers.insert(VARY, HeaderValue::from_static("Accept-Language"));
    headers.insert(CACHE_CONTROL, CACHE_FOR_A_YEAR);
    Ok(response)
}

/// Whether `If-None-Match` is `*` or names `etag`, also as a weak one, which a compressing proxy makes of it.
fn is_cached(request: &Request, etag: &str) -> bool {
    let values = request.headers().get_all(IF_NONE_MATCH).into_iter().filter_map(|value| value.to_str().ok());
    // Our ETags have no comma.
    let mut named = values.flat_map(|value| value.split(',')).map(str::trim);
    named.any(|named| named == "*" || named.strip_prefix("W/").unwrap_or(named) == etag)
}

#[derive(Serialize)]
struct ListBody<'a> {
    instruments: Vec<Summary<'a>>,
}

/// An instrument in the list.
#[derive(Serialize)]
struct Summary<'a> {
    id: &'a str,
    version: &'a str,
    /// By language.
    title: &'a Texts,
    languages: Vec<&'a str>,
    hash: &'a str,
    /// The number of items.
    items: usize,
    licence: &'a Licence,
    sources: &'a [String],
}

impl<'a> Summary<'a> {
    fn of(instrument: &'a Instrument) -> Self {
        let definition = instrument.definition();
        Self {
            id: definition.id.as_str(),
            version: definition.version.as_str(),
            title: &definition.title,
            languages: instrument.languages().collect(),
            hash: instrument.hash(),
            items: definition.items.len(),
            licence: &definition.licence,
            sources: &definition.sources,
        }
    }
}
