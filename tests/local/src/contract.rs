//! The contract of the API: `functions/openapi.yaml` as `/openapi.json`, and a page to read it at `/docs`.
//!
//! The page is Swagger UI, which is compiled in. It fetches nothing from elsewhere, and its Content-Security-Policy
//! forbids it.

use std::borrow::Cow;
use std::io::{Cursor, Read};
use std::sync::LazyLock;

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde::ser::{Error, SerializeMap};
use serde::{Serialize, Serializer};
use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;
use zip::ZipArchive;

const CONTRACT: &str = include_str!("../../../functions/openapi.yaml");
const PAGE: &str = include_str!("contract/page.html");
const SCRIPT: &str = include_str!("contract/page.js");

/// What the page may load: itself, and images that it draws. Swagger UI sets styles of single elements.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The server of the contract that this local cloud serves, whatever its port.
const SERVERS: &str = "[{url: /, description: This local cloud}]";

static OPENAPI: LazyLock<Bytes> = LazyLock::new(|| openapi_json().into());
static VIEWER: LazyLock<Bytes> = LazyLock::new(|| of_swagger_ui("swagger-ui-bundle.js"));
static STYLE: LazyLock<Bytes> = LazyLock::new(|| of_swagger_ui("swagger-ui.css"));

/// `GET /openapi.json`, and the page at `/docs`.
pub fn routes() -> Router {
    Router::new()
        .route("/openapi.json", get(async || serve("application/json", OPENAPI.clone())))
        .route("/docs", get(async || serve("text/html; charset=utf-8", PAGE)))
        .route("/docs/page.js", get(async || serve("text/javascript; charset=utf-8", SCRIPT)))
        .route("/docs/swagger-ui.js", get(async || serve("text/javascript; charset=utf-8", VIEWER.clone())))
        .route("/docs/swagger-ui.css", get(async || serve("text/css; charset=utf-8", STYLE.clone())))
}

/// The contract as JSON, with its members in the order in which they are written. Its server is the one that serves it.
///
/// # Panics
/// If the file is not YAML that can be JSON; a test reads it.
pub fn openapi_json() -> String {
    let mut document = yaml(CONTRACT);
    let servers = document.as_mapping_get_mut("servers").expect("the contract names its servers");
    *servers = yaml(SERVERS);
    serde_json::to_string(&Json(&document)).expect("YAML of names, numbers and texts is JSON")
}

fn yaml(text: &str) -> Yaml<'_> {
    let mut documents = Yaml::load_from_str(text).expect("this file is YAML");
    documents.pop().expect("this file has a document")
}

/// A YAML document as JSON.
struct Json<'a>(&'a Yaml<'a>);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Yaml::Value(Scalar::Null) => serializer.serialize_unit(),
            Yaml::Value(Scalar::Boolean(value)) => serializer.serialize_bool(*value),
            Yaml::Value(Scalar::Integer(value)) => serializer.serialize_i64(*value),
            Yaml::Value(Scalar::FloatingPoint(value)) => serializer.serialize_f64(value.into_inner()),
            Yaml::Value(Scalar::String(text)) => serializer.serialize_str(text),
            Yaml::Sequence(items) => serializer.collect_seq(items.iter().map(Json)),
            Yaml::Mapping(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (name, value) in entries {
                    let name = name.as_str().ok_or_else(|| S::Error::custom("a name that is no text"))?;
                    map.serialize_entry(name, &Json(value))?;
                }
                map.end()
            }
            _ => Err(S::Error::custom("a value that JSON does not have")),
        }
    }
}

/// The file `name` of Swagger UI's distribution.
fn of_swagger_ui(name: &str) -> Bytes {
    let mut archive = ZipArchive::new(Cursor::new(SWAGGER_UI_VENDORED)).expect("the crate has an archive");
    let ending = format!("/dist/{name}");
    let path = archive.file_names().flatten().find(|path| path.ends_with(&ending)).map(Cow::into_owned);
    let path = path.expect("the archive has this file");
    let mut file = archive.by_name(&path).expect("the archive is complete");
    let mut content = Vec::new();
    file.read_to_end(&mut content).expect("the archive is complete");
    content.into()
}

fn serve(content_type: &'static str, content: impl Into<Bytes>) -> Response {
    let headers: [(HeaderName, &str); 4] = [
        (CONTENT_TYPE, content_type),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // The next build of the local cloud has another contract.
        (CACHE_CONTROL, "no-cache"),
    ];
    (StatusCode::OK, headers, content.into()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contract_is_served_in_its_order_and_from_here() {
        let json = openapi_json();
        let document: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(document["openapi"], "3.1.1");
        assert_eq!(document["servers"], serde_json::json!([{"url": "/", "description": "This local cloud"}]));
        let place = |name: &str| json.find(&format!("\"{name}\":{{")).unwrap();
        assert!(place("/v1/submissions") < place("/v1/instruments"), "as written, not by name");
    }

    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        for own in [PAGE, SCRIPT] {
            assert!(!own.contains("://"), "an address outside: {own}");
        }
        for (content, least) in [(&*VIEWER, 1_000_000), (&*STYLE, 100_000)] {
            assert!(content.len() > least, "{} bytes", content.len());
        }
        assert!(!POLICY.contains('*') && !POLICY.contains("http"), "{POLICY}");
        let response = serve("text/html", PAGE);
        assert_eq!(response.headers()[CONTENT_SECURITY_POLICY], POLICY);
    }
}
