//! The issuer of access tokens that the gateway trusts. It gives every caller on this machine the token it asks for.

use std::sync::Arc;
use std::{fmt, fs, io};

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents};
use rsa::PrivateKey;
use rsa::pkcs8::{EncodePrivateKey, SecretDocument};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::clock;
use crate::data::DataDir;
use crate::storage::write_whole;

/// RS256 requires at least 2048 bits; a longer key makes the first start slower.
const BITS: usize = 2048;

/// A token's default life, in seconds.
const LIFETIME: i64 = 3600;

/// A year, in seconds. A longer life is taken for a mistake of unit.
const LONGEST: i64 = 366 * 24 * 3600;

const CLIENT: &str = "local";

/// The scopes of each role, for tokens whose request names none.
const ROLES: [(&str, &[&str]); 6] = [
    ("patient", &["submissions:write", "submissions:read", "instruments:read", "due:read"]),
    (
        "staff",
        &[
            "submissions:read",
            "counts:read",
            "patients:read",
            "patients:write",
            "forms:validate",
            "reports:read",
            "due:read",
            "instruments:read",
        ],
    ),
    ("clinician", &["alerts:read", "alerts:write", "patients:read", "reports:read", "instruments:read"]),
    ("service", &["counts:write", "instruments:read"]),
    (
        "monitor",
        &[
            "submissions:read",
            "audit:read",
            "alerts:read",
            "counts:read",
            "patients:read",
            "reports:read",
            "due:read",
            "instruments:read",
        ],
    ),
    ("data-manager", &["studies:write", "patients:read", "patients:write", "audit:read", "instruments:read"]),
];

/// Signs and verifies tokens. Cheap to clone.
#[derive(Clone)]
pub struct Issuer {
    url: String,
    audience: Vec<String>,
    /// Of `ring`, which makes no keys, but signs and verifies quickly in a debug build too.
    key: Arc<RsaKeyPair>,
    public: Arc<RsaPublicKeyComponents<Vec<u8>>>,
    kid: String,
}

/// Why the issuer has no key.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    /// The key file of an earlier start cannot be used.
    #[error(
        "the key {file} cannot be used: {reason}. Remove the file to get a new key; earlier tokens are then refused"
    )]
    Key {
        /// The file.
        file: String,
        /// What makes it unusable.
        reason: String,
    },
    /// A key cannot be generated.
    #[error("cannot generate the key that signs tokens: {0}")]
    Make(String),
    /// The new key cannot be written.
    #[error("cannot write the key that signs tokens to {file}")]
    Keep {
        /// The file.
        file: String,
        /// The operating system's error.
        source: io::Error,
    },
}

impl Issuer {
    /// Creates the issuer at `url`, with the key in the data folder or a new one.
    ///
    /// Generating a key takes some tenths of a second.
    ///
    /// # Errors
    /// If the key cannot be read, generated or written.
    pub fn open(data: Option<&DataDir>, url: String) -> Result<Self, IssuerError> {
        let Some(data) = data else { return Self::new(url, make()?.as_bytes(), "in memory") };
        let file = data.path().join("issuer.der");
        let name = file.display().to_string();
        match fs::read(&file) {
            Ok(der) => Self::new(url, &der, &name),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = make()?;
                let issuer = Self::new(url, key.as_bytes(), &name)?;
                write_whole(&file, key.as_bytes()).map_err(|source| IssuerError::Keep { file: name, source })?;
                Ok(issuer)
            }
            Err(error) => Err(IssuerError::Key { file: name, reason: error.to_string() }),
        }
    }

    /// The same issuer, whose tokens carry `audiences`.
    #[must_use]
    pub fn for_audience(mut self, audience: Vec<String>) -> Self {
        self.audience = audience;
        self
    }

    /// The `iss` of its tokens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The JSON Web Key Set with its one key.
    pub fn key_set(&self) -> Value {
        let RsaPublicKeyComponents { n, e } = &*self.public;
        json!({"keys": [{
            "kty": "RSA",
            "use": "sig",
            "alg": "RS256",
            "kid": self.kid,
            "n": URL_SAFE_NO_PAD.encode(n),
            "e": URL_SAFE_NO_PAD.encode(e),
        }]})
    }

    /// Signs a token with exactly these claims.
    pub fn sign(&self, claims: &Value) -> String {
        let header = json!({"alg": "RS256", "kid": self.kid, "typ": "JWT"});
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(claims));
        let mut signature = vec![0; self.key.public().modulus_len()];
        #[expect(
            clippy::expect_used,
            reason = "there is room for the signature, and the system's randomness does not end"
        )]
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .expect("a key that was accepted signs");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// Whether `signature` over `signed` verifies under the key with the id `kid`.
    pub(crate) fn verifies(&self, kid: &str, signed: &str, signature: &[u8]) -> bool {
        let verified = || self.public.verify(&RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), signature);
        kid == self.kid && verified().is_ok()
    }

    /// The routes: `POST /local/tokens`, and OpenID Connect's discovery.
    pub fn routes(self) -> Router {
        Router::new()
            .route("/local/tokens", post(tokens))
            .route("/local/.well-known/openid-configuration", get(configuration))
            .route("/local/.well-known/jwks.json", get(keys))
            .with_state(self)
    }

    /// The issuer at `url` with the key in `der`, PKCS #8, of the file `name`.
    fn new(url: String, der: &[u8], name: &str) -> Result<Self, IssuerError> {
        let key = RsaKeyPair::from_pkcs8(der)
            .map_err(|error| IssuerError::Key { file: name.to_owned(), reason: error.to_string() })?;
        let public: RsaPublicKeyComponents<Vec<u8>> = key.public().into();
        let kid = URL_SAFE_NO_PAD.encode(&Sha256::digest(&public.n)[..12]);
        Ok(Self { url, audience: Vec::new(), key: Arc::new(key), public: Arc::new(public), kid })
    }

    /// The claims that a request asks for, and the token's life in seconds.
    fn claims(&self, request: Map<String, Value>) -> Result<(Value, i64), Vec<Fault>> {
        let mut request = ClaimsReader { fields: request, faults: Vec::new() };
        let now = clock::now().unix_timestamp();
        let lives = request.seconds("expiresIn").unwrap_or(LIFETIME);
        let mut claims = Map::new();
        let role = request.text("role");
        if let Some(role) = &role
            && !ROLES.iter().any(|(name, _)| name == role)
        {
            request.fault("role", "has to be one of patient, staff, clinician, service, monitor, data-manager");
        }
        let subject = request.text("sub");
        let patient = request.text("patient");
        let group = request.text("group");
        let scope = request.words("scope").or_else(|| {
            let (_, scopes) = ROLES.iter().find(|(name, _)| Some(*name) == role.as_deref())?;
            Some(scopes.join(" "))
        });
        let study = request.text("study");
        let sites = request.words("sites");
        let token_use = request.text("tokenUse").unwrap_or_else(|| "access".to_owned());
        let subject = subject
            .or_else(|| patient.clone())
            .or_else(|| role.as_ref().map(|role| format!("{role}-1")))
            .unwrap_or_else(|| "somebody".to_owned());
        for (name, value) in [
            ("role", role),
            ("study", study),
            ("sites", sites),
            ("patient", patient),
            ("group", group),
            ("scope", scope),
        ] {
            if let Some(value) = value {
                claims.insert(name.to_owned(), value.into());
            }
        }
        claims.insert("sub".to_owned(), subject.into());
        claims.insert("token_use".to_owned(), token_use.into());
        claims.insert("iss".to_owned(), self.url.clone().into());
        claims.insert("client_id".to_owned(), CLIENT.into());
        claims.insert("aud".to_owned(), self.audience.clone().into());
        // An expired token was issued before it expired.
        claims.insert("iat".to_owned(), (now + lives.min(0)).into());
        claims.insert("exp".to_owned(), (now + lives).into());
        claims.insert("jti".to_owned(), uuid::Uuid::new_v4().to_string().into());
        request.finish()?;
        Ok((claims.into(), lives))
    }
}

/// Does not show the key.
impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").field("url", &self.url).field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// A new key, as PKCS #8.
fn make() -> Result<SecretDocument, IssuerError> {
    let key = PrivateKey::new(&mut getrandom::SysRng, BITS).map_err(|error| IssuerError::Make(error.to_string()))?;
    key.to_pkcs8_der().map_err(|error| IssuerError::Make(error.to_string()))
}

async fn tokens(State(issuer): State<Issuer>, body: Bytes) -> Response {
    let request = match serde_json::from_slice(&body) {
        Ok(Value::Object(request)) => request,
        Ok(_) => return problem(&[Fault::new("", "is not a JSON object")]),
        Err(error) => return problem(&[Fault::new("", format!("is not JSON: {error}"))]),
    };
    match issuer.claims(request) {
        Ok((claims, lives)) => {
            let token = issuer.sign(&claims);
            Json(json!({"accessToken": token, "tokenType": "Bearer", "expiresIn": lives})).into_response()
        }
        Err(faults) => problem(&faults),
    }
}

async fn configuration(State(issuer): State<Issuer>) -> Json<Value> {
    let url = issuer.url();
    Json(json!({
        "issuer": url,
        "jwks_uri": format!("{url}/.well-known/jwks.json"),
        "token_endpoint": format!("{url}/tokens"),
        "response_types_supported": ["token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    }))
}

async fn keys(State(issuer): State<Issuer>) -> Json<Value> {
    Json(issuer.key_set())
}

/// A field of a token request that cannot be used.
#[derive(Debug, PartialEq, Eq)]
struct Fault {
    pointer: String,
    detail: String,
}

impl Fault {
    fn new(field: &str, detail: impl Into<String>) -> Self {
        let pointer = if field.is_empty() { String::new() } else { format!("/{field}") };
        Self { pointer, detail: detail.into() }
    }
}

fn problem(faults: &[Fault]) -> Response {
    let status = StatusCode::BAD_REQUEST;
    let errors: Vec<_> = faults
        .iter()
        .map(|fault| json!({"pointer": fault.pointer, "code": "invalid", "detail": fault.detail}))
        .collect();
    let body = json!({
        "type": "about:blank",
        "title": "The request for a token is invalid",
        "status": status.as_u16(),
        "detail": "The fields of a token request are: role, study, sites, patient, group, scope, tokenUse, expiresIn, sub",
        "errors": errors,
    });
    (status, [(CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
}

/// Takes the fields of a token request one by one and collects their faults.
struct ClaimsReader {
    fields: Map<String, Value>,
    faults: Vec<Fault>,
}

impl ClaimsReader {
    fn fault(&mut self, field: &str, detail: &str) {
        self.faults.push(Fault::new(field, detail));
    }

    fn text(&mut self, field: &str) -> Option<String> {
        match self.take(field)? {
            Value::String(text) => Some(text),
            _ => {
                self.fault(field, "is not a string");
                None
            }
        }
    }

    /// A list of words, or one string with spaces between them.
    fn words(&mut self, field: &str) -> Option<String> {
        match self.take(field)? {
            Value::String(text) => return Some(text),
            Value::Array(list) => {
                let words: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
                if let Some(words) = words {
                    return Some(words.join(" "));
                }
            }
            _ => {}
        }
        self.fault(field, "is neither a string nor a list of strings");
        None
    }

    fn seconds(&mut self, field: &str) -> Option<i64> {
        let value = self.take(field)?;
        let seconds = value.as_i64().filter(|seconds| (-LONGEST..=LONGEST).contains(seconds));
        if seconds.is_none() {
            self.fault(field, "is not a whole number of seconds within a year");
        }
        seconds
    }

    fn take(&mut self, field: &str) -> Option<Value> {
        self.fields.remove(field).filter(|value| !value.is_null())
    }

    /// Reports the fields that were not taken: they are unknown.
    fn finish(mut self) -> Result<(), Vec<Fault>> {
        self.faults.extend(self.fields.keys().map(|field| Fault::new(field, "is an unknown field")));
        if self.faults.is_empty() { Ok(()) } else { Err(self.faults) }
    }
}
