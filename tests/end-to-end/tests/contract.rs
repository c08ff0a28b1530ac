//! The contract, as it is served: every example is sent, every link followed, every caller refused who has to be, and
//! each answer is one that the contract describes, with its headers and its body.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use boon::{Compiler, Schemas};
use end_to_end::{Cloud, patience, phq_9, until};
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Client, Method, Url};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::{Instant, sleep};

/// The study and the site of the examples.
const STUDY: &str = "EPRO-DEMO";
const SITE: &str = "S01";
const ALL_ROLES: [&str; 6] = ["patient", "staff", "clinician", "service", "monitor", "data-manager"];
const ALL_SCOPES: &str = "submissions:write submissions:read instruments:read counts:write counts:read patients:read \
                          alerts:read alerts:write audit:read reports:read forms:validate studies:write \
                          patients:write due:read";
/// Headers of the connection and of the gateway, which every answer has and no operation describes.
const OF_THE_CONNECTION: [&str; 4] = ["content-type", "content-length", "date", "apigw-requestid"];
/// The ids that the examples choose begin so. Any other id is made by the service.
const CHOSEN: &str = "0192f3a4";
/// Numbers that depend on what else was sent.
const VARYING: [&str; 3] = ["apiCalls", "submissions", "alerts"];

/// A map in the order of the document.
struct Ordered<T>(Vec<(String, T)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Ordered<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = Ordered<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Ordered(entries))
            }
        }

        deserializer.deserialize_map(Entries(PhantomData))
    }
}

#[derive(Deserialize)]
struct OrderedContract {
    paths: Ordered<Ordered<OrderedOperation>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OrderedOperation {
    operation_id: String,
    request_body: Option<OrderedBody>,
}

#[derive(Deserialize)]
struct OrderedBody {
    content: Ordered<OrderedMedia>,
}

#[derive(Deserialize)]
struct OrderedMedia {
    #[serde(default = "none")]
    examples: Ordered<Value>,
}

fn none() -> Ordered<Value> {
    Ordered(Vec::new())
}

/// An operation of the contract.
struct Operation {
    id: String,
    method: Method,
    path: String,
    /// The names of its examples, in the order in which they are sent.
    examples: Vec<String>,
    /// The media type of each example's body.
    bodies: BTreeMap<String, String>,
    value: Value,
}

/// The contract, with its schemas as they are written (`loose`) and closed against further members (`tight`), so that an
/// answer has no member that is not described.
struct Contract {
    document: Value,
    operations: Vec<Operation>,
    compiler: RefCell<(Compiler, Schemas)>,
}

#[derive(Clone)]
struct Sent {
    path: BTreeMap<String, String>,
    query: BTreeMap<String, String>,
    role: String,
    answer: Answer,
}

#[derive(Clone)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn media_type(&self) -> Option<&str> {
        self.headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap())
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

impl Contract {
    fn parse(text: &str) -> Self {
        let document: Value = serde_json::from_str(text).unwrap();
        let ordered: OrderedContract = serde_json::from_str(text).unwrap();
        let mut compiler = Compiler::new();
        compiler.enable_format_assertions();
        let mut tight = document.clone();
        close(&mut tight, false);
        for (name, document) in [("loose", &document), ("tight", &tight)] {
            compiler.add_resource(&format!("http://contract/{name}.json"), document.clone()).unwrap();
        }
        let mut contract =
            Self { document, operations: Vec::new(), compiler: RefCell::new((compiler, Schemas::new())) };
        for (path, methods) in ordered.paths.0 {
            for (method, operation) in methods.0 {
                let one = contract.operation(&path, &method, operation);
                contract.operations.push(one);
            }
        }
        contract
    }

    fn operation(&self, path: &str, method: &str, ordered: OrderedOperation) -> Operation {
        let mut value = self.document["paths"][path][method].clone();
        let parameters = value["parameters"].as_array().cloned().unwrap_or_default();
        value["parameters"] = parameters.iter().map(|parameter| self.resolved(parameter).clone()).collect();
        let responses = value["responses"].as_object().unwrap().clone();
        let (mut examples, mut bodies) = (Vec::new(), BTreeMap::new());
        for (media_type, media) in ordered.request_body.into_iter().flat_map(|body| body.content.0) {
            for (name, _) in media.examples.0 {
                bodies.insert(name.clone(), media_type.clone());
                examples.push(name);
            }
        }
        let of_parameters =
            value["parameters"].as_array().unwrap().iter().filter_map(|one| one["examples"].as_object());
        examples.extend(of_parameters.flat_map(|examples| examples.keys().cloned()));
        if examples.is_empty() {
            let of_answers = responses.iter().filter(|(status, _)| status.starts_with('2'));
            examples.extend(of_answers.flat_map(|(_, response)| answer_examples(response)).map(|(name, _)| name));
        }
        let mut known = BTreeSet::new();
        examples.retain(|name| known.insert(name.clone()));
        let method = method.to_uppercase().parse().unwrap();
        Operation { id: ordered.operation_id, method, path: path.to_owned(), examples, bodies, value }
    }

    fn named(&self, id: &str) -> &Operation {
        self.operations.iter().find(|one| one.id == id).unwrap_or_else(|| panic!("there is no operation {id}"))
    }

    /// What `value` refers to, or `value` itself.
    fn resolved<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(target) => self.document.pointer(target.trim_start_matches('#')).unwrap(),
            None => value,
        }
    }

    /// The pointer of the response of `operation` with `status`, and the response.
    fn response(&self, operation: &Operation, status: u16) -> Option<(String, &Value)> {
        let own = format!("/paths/{}/{}", escaped(&operation.path), operation.method.as_str().to_lowercase());
        let pointer = format!("{own}/responses/{status}");
        let response = self.document.pointer(&pointer)?;
        match response["$ref"].as_str() {
            Some(target) => Some((target.trim_start_matches('#').to_owned(), self.resolved(response))),
            None => Some((pointer, response)),
        }
    }

    /// How `instance` violates the schema at `pointer` of the document `name`.
    fn violation(&self, name: &str, pointer: &str, instance: &Value) -> Option<String> {
        let (compiler, schemas) = &mut *self.compiler.borrow_mut();
        let fragment = pointer.replace('{', "%7B").replace('}', "%7D");
        let place = format!("http://contract/{name}.json#{fragment}");
        let schema = compiler.compile(&place, schemas).unwrap_or_else(|error| panic!("{place}: {error:#}"));
        schemas.validate(instance, schema).err().map(|error| format!("{error:#}"))
    }

    /// How `answer` to `operation` differs from what the contract describes.
    fn undescribed(&self, operation: &Operation, answer: &Answer) -> Option<String> {
        let Some((pointer, response)) = self.response(operation, answer.status) else {
            return Some(format!("the status {} is not described", answer.status));
        };
        let described = response["headers"].as_object().cloned().unwrap_or_default();
        for (name, value) in &answer.headers {
            let header = described.iter().find(|(described, _)| described.eq_ignore_ascii_case(name.as_str()));
            match header {
                None if OF_THE_CONNECTION.contains(&name.as_str()) => {}
                None => return Some(format!("the header {name} of {} is not described", answer.status)),
                Some((_, header)) => {
                    let header = self.resolved(header);
                    let why = unfit_header(&header["schema"], value.to_str().unwrap());
                    if let Some(why) = why {
                        return Some(format!("the header {name}: {why}"));
                    }
                }
            }
        }
        let missing = described.iter().find(|(name, header)| {
            self.resolved(header)["required"] == true && !answer.headers.contains_key(name.as_str())
        });
        if let Some((name, _)) = missing {
            return Some(format!("the header {name} of {} is missing", answer.status));
        }
        let content = response["content"].as_object().cloned().unwrap_or_default();
        let Some(media_type) = answer.media_type() else {
            let is_empty = content.is_empty() && answer.body.is_empty();
            return (!is_empty).then(|| format!("the answer {} has no content type", answer.status));
        };
        if !content.contains_key(media_type) {
            return Some(format!("{media_type} of {} is not described", answer.status));
        }
        if !media_type.ends_with("json") {
            return None;
        }
        let schema = format!("{pointer}/content/{}/schema", escaped(media_type));
        self.violation("tight", &schema, &answer.json()).map(|why| format!("{why}\nin {}", answer.json()))
    }
}

/// The examples of a response, with their values.
fn answer_examples(response: &Value) -> Vec<(String, Value)> {
    let contents = response["content"].as_object().into_iter().flat_map(Map::values);
    let examples = contents.filter_map(|content| content["examples"].as_object()).flatten();
    examples.map(|(name, example)| (name.clone(), example["value"].clone())).collect()
}

/// A part of a JSON pointer.
fn escaped(part: &str) -> String {
    part.replace('~', "~0").replace('/', "~1")
}

/// Adds to each schema that has properties, and says nothing of others, that it has no others. Parts of an `allOf`
/// describe one object together.
fn close(value: &mut Value, is_part: bool) {
    match value {
        Value::Object(members) => {
            let is_open = members.get("properties").is_some_and(Value::is_object)
                && !members.contains_key("additionalProperties");
            if is_open && !is_part {
                members.insert("unevaluatedProperties".to_owned(), json!(false));
            }
            for (name, value) in members {
                match (name.as_str(), value) {
                    ("allOf", Value::Array(parts)) => parts.iter_mut().for_each(|part| close(part, true)),
                    (_, value) => close(value, false),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| close(item, false)),
        _ => {}
    }
}

/// How the text of a header violates its schema, which refers to nothing.
fn unfit_header(schema: &Value, text: &str) -> Option<String> {
    let (mut compiler, mut schemas) = (Compiler::new(), Schemas::new());
    compiler.add_resource("http://header/schema.json", schema.clone()).unwrap();
    let index = compiler.compile("http://header/schema.json", &mut schemas).unwrap();
    schemas.validate(&json!(text), index).err().map(|error| format!("{error:#}"))
}

/// How `answer` differs from `example`: in a member that the example has, apart from times, hashes, and ids that the
/// service makes. A list has each entry of the example's.
fn unlike(example: &Value, answer: &Value, name: &str) -> Option<String> {
    match (example, answer) {
        (Value::Object(example), Value::Object(answer)) => example.iter().find_map(|(name, value)| {
            let Some(found) = answer.get(name) else { return Some(format!("{name} is missing")) };
            unlike(value, found, name).map(|why| format!("{name}: {why}"))
        }),
        (Value::Array(example), Value::Array(answer)) => example.iter().find_map(|entry| {
            let differences: Vec<String> = answer.iter().map_while(|found| unlike(entry, found, name)).collect();
            let none_fits = differences.len() == answer.len();
            none_fits.then(|| format!("no entry is as in the example: {}", differences.join("; ")))
        }),
        (Value::String(example), Value::String(answer)) => {
            let (expected, found) = (without_ids(example), without_ids(answer));
            (expected != found).then(|| format!("{found}, in the example {expected}"))
        }
        (Value::Number(_), Value::Number(_)) if VARYING.contains(&name) => None,
        _ => (example != answer).then(|| format!("{answer}, in the example {example}")),
    }
}

/// `text` with placeholders for times, hashes, addresses, and the ids that the service makes.
fn without_ids(text: &str) -> String {
    let is_time = text.len() >= 20 && text.as_bytes()[10] == b'T' && text.ends_with('Z');
    if is_time {
        return "<time>".to_owned();
    }
    if text.starts_with("http://127.0.0.1:") || text == "https://issuer.example" {
        return "<issuer>".to_owned();
    }
    let words = text.split(' ').map(|word| match word.len() {
        36 if word.matches('-').count() == 4 && !word.starts_with(CHOSEN) => "<id>",
        64 if word.bytes().all(|byte| byte.is_ascii_hexdigit()) => "<hash>",
        _ => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The contract's user: the local cloud, and what was sent to it.
struct User {
    cloud: Cloud,
    _data: TempDir,
    http: Client,
    contract: Contract,
    tokens: RefCell<BTreeMap<String, String>>,
    sent: RefCell<BTreeMap<String, Vec<Sent>>>,
    /// A time in the hour to come.
    until: String,
}

impl User {
    async fn start() -> Self {
        let (cloud, data) = Cloud::fresh(&["--memory"]).await;
        let http = Client::new();
        let text = http.get(format!("{}/openapi.json", cloud.address())).send().await.unwrap().text().await.unwrap();
        let contract = Contract::parse(&text);
        let until = (OffsetDateTime::now_utc() + time::Duration::HOUR).format(&Rfc3339).unwrap();
        Self { cloud, _data: data, http, contract, tokens: Default::default(), sent: Default::default(), until }
    }

    /// The token of a role with every scope.
    async fn token(&self, role: &str) -> String {
        if let Some(token) = self.tokens.borrow().get(role) {
            return token.clone();
        }
        let sub = if role == "clinician" { "dr-chen".to_owned() } else { format!("{role}-1") };
        let claims = claims(role, json!({"sub": sub, "scope": ALL_SCOPES}));
        let token = self.cloud.token(claims).await;
        self.tokens.borrow_mut().insert(role.to_owned(), token.clone());
        token
    }

    async fn call(
        &self,
        operation: &Operation,
        (path, query): (&BTreeMap<String, String>, &BTreeMap<String, String>),
        headers: &[(String, String)],
        token: Option<&str>,
        body: Option<(&str, Vec<u8>)>,
    ) -> Answer {
        let filled = path
            .iter()
            .fold(operation.path.clone(), |filled, (name, value)| filled.replace(&format!("{{{name}}}"), value));
        let mut url: Url = format!("{}{filled}", self.cloud.address()).parse().unwrap();
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self.http.request(operation.method.clone(), url);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some((media_type, body)) = body {
            request = request.header(CONTENT_TYPE, media_type).body(body);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, body: response.bytes().await.unwrap().to_vec() }
    }

    /// Sends the example `name` of `operation` as `role`.
    async fn send(&self, operation: &Operation, name: &str, role: &str) -> Sent {
        let (mut path, mut query, mut headers) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        for parameter in operation.value["parameters"].as_array().unwrap() {
            let key = parameter["name"].as_str().unwrap().to_owned();
            let examples = parameter["examples"].as_object();
            let own = examples.and_then(|examples| examples.get(name)).map(|example| as_text(&example["value"]));
            let is_required = parameter["required"] == true;
            let first = || examples.and_then(as_first);
            let value = own.or_else(|| if is_required { self.linked(operation, &key).or_else(first) } else { None });
            match (parameter["in"].as_str().unwrap(), value) {
                ("path", Some(value)) => drop(path.insert(key, value)),
                ("query", Some(value)) => drop(query.insert(key, value)),
                ("header", Some(value)) => headers.push((key, value)),
                (place, None) => assert!(!is_required, "{}: {key} in {place} has no example", operation.id),
                (place, _) => panic!("{}: {key} is in {place}", operation.id),
            }
        }
        let body = self.example_body(operation, name);
        let token = self.token(role).await;
        let answer = self.call(operation, (&path, &query), &headers, Some(&token), body).await;
        Sent { path, query, role: role.to_owned(), answer }
    }

    /// The media type and the bytes of the body of the example `name` of `operation`.
    fn example_body<'a>(&self, operation: &'a Operation, name: &str) -> Option<(&'a str, Vec<u8>)> {
        let media_type = operation.bodies.get(name)?;
        let mut value = operation.value["requestBody"]["content"][media_type]["examples"][name]["value"].clone();
        if let Some(until) = value.get_mut("until") {
            // It has to be in the time to come.
            *until = json!(self.until);
        }
        Some((media_type, as_text(&value).into_bytes()))
    }

    /// Sends the example `name` of `operation` until its answer is the one that has an example of this name: what is
    /// read may follow what was sent only after a moment.
    async fn try_example(&self, operation: &Operation, name: &str) -> Result<Sent, String> {
        let expected = expected_answer(&self.contract, operation, name);
        let (status, example) = expected.ok_or("no answer has an example of this name")?;
        let end = Instant::now() + patience();
        loop {
            let sent = self.send(operation, name, roles(operation)[0]).await;
            if let Some(why) = self.contract.undescribed(operation, &sent.answer) {
                return Err(why);
            }
            let is_json = sent.answer.media_type().is_some_and(|media_type| media_type.ends_with("json"));
            let difference = match () {
                () if sent.answer.status != status => Some(format!("{}, expected {status}", sent.answer.status)),
                () if is_json => unlike(&example, &sent.answer.json(), ""),
                () => (!sent.answer.body.starts_with(as_text(&example).as_bytes())).then(|| "other bytes".to_owned()),
            };
            match difference {
                None => return Ok(sent),
                Some(_) if operation.method == Method::GET && Instant::now() < end => {
                    sleep(Duration::from_millis(100)).await;
                }
                Some(why) => return Err(format!("{why}\nin {}", sent.answer.json())),
            }
        }
    }

    /// The value of a required parameter that a link from another operation gives.
    fn linked(&self, operation: &Operation, parameter: &str) -> Option<String> {
        let sources = self.contract.operations.iter().filter(|source| source.id != operation.id);
        sources.flat_map(|source| self.links(source)).find_map(|(sent, link)| {
            let leads_here = link["operationId"] == operation.id.as_str();
            leads_here.then(|| evaluated(link["parameters"][parameter].as_str()?, &sent)).flatten()
        })
    }

    /// The links of the answers that `operation` has given.
    fn links(&self, operation: &Operation) -> Vec<(Sent, Value)> {
        let sent = self.sent.borrow().get(&operation.id).cloned().unwrap_or_default();
        sent.into_iter()
            .flat_map(|sent| {
                let response = self.contract.response(operation, sent.answer.status).map(|(_, response)| response);
                let links = response.and_then(|response| response["links"].as_object()).cloned().unwrap_or_default();
                links.into_values().map(move |link| (sent.clone(), link))
            })
            .collect()
    }

    fn keep(&self, operation: &Operation, sent: Sent) {
        self.sent.borrow_mut().entry(operation.id.clone()).or_default().push(sent);
    }
}

/// The value of a parameter where the example does not name one: that of `own`, else the first.
fn as_first(examples: &Map<String, Value>) -> Option<String> {
    let good = examples.iter().find(|(name, _)| *name == "own").or_else(|| examples.iter().next());
    good.map(|(_, example)| as_text(&example["value"]))
}

fn as_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The value of a runtime expression of a link.
fn evaluated(expression: &str, sent: &Sent) -> Option<String> {
    if let Some(pointer) = expression.strip_prefix("$response.body#") {
        return sent.answer.json().pointer(pointer).map(as_text);
    }
    if let Some(name) = expression.strip_prefix("$request.path.") {
        return sent.path.get(name).cloned();
    }
    let name = expression.strip_prefix("$request.query.").unwrap_or_else(|| panic!("{expression} is not known"));
    sent.query.get(name).cloned()
}

fn claims(role: &str, more: Value) -> Value {
    let mut claims = json!({"role": role, "study": STUDY, "sites": SITE});
    if role == "patient" {
        claims["patient"] = json!("P-001");
    }
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    claims
}

fn roles(operation: &Operation) -> Vec<&str> {
    operation.value["x-roles"].as_array().unwrap().iter().map(|role| role.as_str().unwrap()).collect()
}

#[tokio::test]
async fn every_example_is_answered_as_the_contract_says_and_every_link_leads_on() {
    let user = User::start().await;
    let contract = &user.contract;
    // A second patient with an alert, so that lists have a second page.
    let other = user.cloud.token(claims("patient", json!({"patient": "P-002"}))).await;
    assert_eq!(user.cloud.submit(&other, &phq_9([1, 0, 0, 0, 0, 0, 0, 0, 2])).await.status, 202);
    // It is the older one, in its place after the alert of the examples.
    until("the alert of the second patient", async || user.cloud.inbox(SITE).await.pop()).await;

    let (mut examples, mut failures) = (0, Vec::new());
    for operation in &contract.operations {
        for name in &operation.examples {
            examples += 1;
            match user.try_example(operation, name).await {
                Ok(sent) => user.keep(operation, sent),
                Err(why) => failures.push(format!("{}, example {name}: {why}", operation.id)),
            }
        }
        let parameters = operation.value["parameters"].as_array().unwrap();
        if parameters.iter().any(|parameter| parameter["name"] == "limit") {
            let (path, query) = ([("site".to_owned(), SITE.to_owned())].into(), [("limit".to_owned(), "1".to_owned())]);
            let (query, role) = (query.into(), roles(operation)[0].to_owned());
            let token = user.token(&role).await;
            let answer = user.call(operation, (&path, &query), &[], Some(&token), None).await;
            assert_eq!((answer.status, answer.json()["next"].is_string()), (200, true), "{}", operation.id);
            user.keep(operation, Sent { path, query, role, answer });
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    assert!(examples > 40, "only {examples} examples were sent");

    for source in &contract.operations {
        let links = contract.document["paths"][&source.path][source.method.as_str().to_lowercase()]["responses"]
            .as_object()
            .unwrap()
            .values()
            .filter_map(|response| response["links"].as_object())
            .flat_map(Map::values);
        for link in links {
            let target = contract.named(link["operationId"].as_str().unwrap());
            let resolved = user.links(source).into_iter().filter(|(_, sent)| sent == link).find_map(|(sent, link)| {
                let parameters = link["parameters"].as_object().unwrap().iter();
                let values: BTreeMap<String, String> = parameters
                    .filter_map(|(name, expression)| Some((name.clone(), evaluated(expression.as_str()?, &sent)?)))
                    .collect();
                // A filter of the request may be absent; what the answer gives may not.
                let is_complete = link["parameters"].as_object().unwrap().iter().all(|(name, expression)| {
                    values.contains_key(name) || expression.as_str().unwrap().starts_with("$request.query")
                });
                is_complete.then_some((sent, values))
            });
            let Some((sent, values)) = resolved else {
                panic!("no answer of {} gives the parameters of its link to {}", source.id, target.id)
            };
            let allowed = roles(target);
            let role = allowed.iter().copied().find(|role| *role == sent.role).unwrap_or(allowed[0]);
            let (path, query): (BTreeMap<_, _>, BTreeMap<_, _>) =
                values.into_iter().partition(|(name, _)| target.path.contains(&format!("{{{name}}}")));
            let needs_body = target.value["requestBody"]["required"] == true;
            let first = target.examples.first().filter(|_| needs_body);
            let body = first.and_then(|name| user.example_body(target, name));
            let answer = user.call(target, (&path, &query), &[], Some(&user.token(role).await), body).await;
            assert_eq!(answer.status, 200, "{} -> {}: {}", source.id, target.id, answer.json());
            assert_eq!(contract.undescribed(target, &answer), None, "{} -> {}", source.id, target.id);
        }
    }
}

/// The status of the answer that has an example of this name, and the example.
fn expected_answer(contract: &Contract, operation: &Operation, name: &str) -> Option<(u16, Value)> {
    let statuses = operation.value["responses"].as_object().unwrap().keys();
    statuses.filter_map(|status| status.parse().ok()).find_map(|status| {
        let (_, response) = contract.response(operation, status)?;
        let (_, example) = answer_examples(response).into_iter().find(|(known, _)| known == name)?;
        Some((status, example))
    })
}

#[tokio::test]
async fn each_operation_refuses_other_roles_and_tokens_as_the_contract_says() {
    let user = User::start().await;
    let contract = &user.contract;
    let unscoped = user.cloud.token(claims("staff", json!({"scope": "other"}))).await;
    let expired = user.cloud.token(claims("staff", json!({"scope": ALL_SCOPES, "expiresIn": -60}))).await;
    let id_token = user.cloud.token(claims("staff", json!({"scope": ALL_SCOPES, "tokenUse": "id"}))).await;
    for operation in &contract.operations {
        let name = operation.examples.first().cloned().unwrap_or_default();
        for role in ALL_ROLES {
            let is_allowed = roles(operation).contains(&role);
            let answer = user.send(operation, &name, role).await.answer;
            assert_eq!(contract.undescribed(operation, &answer), None, "{}: {role}", operation.id);
            let status = answer.status;
            assert_eq!(status == 403, !is_allowed, "{}: {role} gets {status}", operation.id);
        }
        let path = operation.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let path = path.map(|name| (name.to_owned(), "x".to_owned())).collect();
        for (token, expected) in [(None, 401), (Some(&expired), 401), (Some(&unscoped), 403), (Some(&id_token), 401)] {
            let answer = user.call(operation, (&path, &BTreeMap::new()), &[], token.map(String::as_str), None).await;
            assert_eq!(answer.status, expected, "{}", operation.id);
            assert_eq!(contract.undescribed(operation, &answer), None, "{}", operation.id);
        }
        // Each scope that the contract names suffices.
        let role = roles(operation)[0];
        for scope in operation.value["security"].as_array().unwrap() {
            let scope = &scope["accessToken"][0];
            let token = user.cloud.token(claims(role, json!({"scope": scope}))).await;
            let answer = user.call(operation, (&path, &BTreeMap::new()), &[], Some(&token), None).await;
            assert!(![401, 403].contains(&answer.status), "{} with {scope}: {}", operation.id, answer.status);
        }
    }
}

#[tokio::test]
async fn the_examples_of_the_contract_fit_its_schemas() {
    let user = User::start().await;
    let contract = &user.contract;
    let mut checked = 0;
    for operation in &contract.operations {
        let statuses = operation.value["responses"].as_object().unwrap().keys();
        for status in statuses.map(|status| status.parse().unwrap()) {
            let (pointer, response) = contract.response(operation, status).unwrap();
            for (media_type, content) in response["content"].as_object().into_iter().flatten() {
                if !media_type.ends_with("json") {
                    continue;
                }
                for (name, example) in content["examples"].as_object().into_iter().flatten() {
                    let schema = format!("{pointer}/content/{}/schema", escaped(media_type));
                    let violation = contract.violation("tight", &schema, &example["value"]);
                    assert_eq!(violation, None, "{}, {status}, example {name}", operation.id);
                    checked += 1;
                }
            }
        }
        let own = format!("/paths/{}/{}", escaped(&operation.path), operation.method.as_str().to_lowercase());
        for (name, media_type) in &operation.bodies {
            let (status, _) = expected_answer(contract, operation, name).unwrap();
            if status < 300 && media_type.ends_with("json") {
                let schema = format!("{own}/requestBody/content/{}/schema", escaped(media_type));
                let value = &operation.value["requestBody"]["content"][media_type]["examples"][name]["value"];
                assert_eq!(contract.violation("loose", &schema, value), None, "{}, example {name}", operation.id);
                checked += 1;
            }
        }
    }
    assert!(checked > 60, "only {checked} examples were checked");
}

#[tokio::test]
async fn the_local_cloud_serves_a_page_of_the_contract_that_loads_nothing_from_elsewhere() {
    let (cloud, _data) = Cloud::fresh(&["--memory"]).await;
    let http = Client::new();
    let get = async |path: &str| http.get(format!("{}{path}", cloud.address())).send().await.unwrap();
    let page = get("/docs").await;
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    let page = page.text().await.unwrap();
    let addresses = page.split(['"', '\'']).filter(|part| part.contains('/') && !part.contains(['<', ' ']));
    let addresses: Vec<&str> = addresses.collect();
    assert!(addresses.len() >= 3, "{addresses:?}");
    for address in addresses {
        assert!(address.starts_with('/') && !address.starts_with("//"), "{address} is elsewhere");
        assert_eq!(get(address).await.status(), 200, "{address}");
    }
}
