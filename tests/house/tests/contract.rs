//! The contract (`functions/openapi.yaml`) says what the template deploys and what the code answers: the same routes
//! with the same scopes, the same kinds of problem, and nothing that leads nowhere.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::collections::{BTreeMap, BTreeSet};

use api::{CorrelationId, Problem, ProblemKind, Role};
use house::{root, text};
use local::template::{Route, Template};
use serde_json::{Value, json};

/// What an issuer may write before a scope. Each route accepts both forms.
const PREFIX: &str = "epro/";
/// What every operation answers: refused by the gateway or a function, too many requests, a fault, no time left.
const ALWAYS: [&str; 5] = ["401", "403", "429", "500", "503"];

fn contract() -> Value {
    serde_json::from_str(&local::contract::openapi_json()).unwrap()
}

fn routes() -> Vec<Route> {
    let parameters =
        [("TokenIssuer", "https://issuer.example"), ("ScopePrefix", PREFIX)].map(|(n, v)| (n.to_owned(), v.to_owned()));
    Template::read(&root().join("template.yaml"), &BTreeMap::from(parameters)).unwrap().routes
}

/// The operations of the contract by route, `GET /v1/instruments`.
fn operations(contract: &Value) -> BTreeMap<String, &Value> {
    let paths = contract["paths"].as_object().unwrap().iter();
    paths
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().iter();
            methods.map(move |(method, operation)| (format!("{} {path}", method.to_uppercase()), operation))
        })
        .collect()
}

/// The scopes of which an operation requires one.
fn scopes(operation: &Value) -> BTreeSet<&str> {
    let requirements = operation["security"].as_array().into_iter().flatten();
    let scopes = requirements.flat_map(|requirement| requirement["accessToken"].as_array().unwrap());
    scopes.map(|scope| scope.as_str().unwrap()).collect()
}

/// How the contract differs from the routes of the template.
fn differences(contract: &Value, routes: &[Route]) -> Vec<String> {
    let operations = operations(contract);
    let mut found = Vec::new();
    for route in routes {
        let name = format!("{} {}", route.method, route.path);
        let Some(operation) = operations.get(&name) else {
            found.push(format!("{name} is not in the contract"));
            continue;
        };
        let required: BTreeSet<&str> = route.scopes.iter().map(String::as_str).collect();
        let in_contract = scopes(operation);
        let prefixed: Vec<String> = in_contract.iter().map(|scope| format!("{PREFIX}{scope}")).collect();
        let expected: BTreeSet<&str> = in_contract.iter().copied().chain(prefixed.iter().map(String::as_str)).collect();
        if required != expected || required.is_empty() {
            found.push(format!("{name} requires {required:?} in the template, {expected:?} by the contract"));
        }
    }
    let deployed: BTreeSet<String> = routes.iter().map(|route| format!("{} {}", route.method, route.path)).collect();
    found.extend(
        operations.keys().filter(|name| !deployed.contains(*name)).map(|name| format!("{name} is not deployed")),
    );
    found
}

/// The `type` and the status of each problem that a schema describes.
fn described_problems(contract: &Value) -> BTreeSet<(String, u64)> {
    let schemas = contract["components"]["schemas"].as_object().unwrap().values();
    let parts = schemas.filter_map(|schema| schema["allOf"].as_array()).flatten();
    let properties = parts.map(|part| &part["properties"]);
    properties
        .filter_map(|properties| {
            Some((properties["type"]["const"].as_str()?.to_owned(), properties["status"]["const"].as_u64()?))
        })
        .collect()
}

/// Adds the target of every `$ref` in `value`.
fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match value.as_str().filter(|_| name == "$ref") {
                    Some(target) => found.push(target),
                    None => references(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[test]
fn the_contract_has_the_routes_and_scopes_of_the_template() {
    let routes = routes();
    assert!(routes.len() >= 16, "only {} routes were read", routes.len());
    let differences = differences(&contract(), &routes);
    assert!(differences.is_empty(), "{differences:#?}");
}

/// A change of the contract or of the template's routes.
type Change<'a> = &'a dyn Fn(&mut Value, &mut Vec<Route>);

#[test]
fn a_route_or_a_scope_that_differs_is_found() {
    let (contract, routes) = (contract(), routes());
    let planted: [(&str, Change); 6] = [
        ("GET /v1/instruments is not in the contract", &|contract, _| {
            contract["paths"].as_object_mut().unwrap().remove("/v1/instruments");
        }),
        ("DELETE /v1/instruments is not deployed", &|contract, _| {
            contract["paths"]["/v1/instruments"]["delete"] = contract["paths"]["/v1/instruments"]["get"].clone();
        }),
        ("POST /v1/submissions requires", &|contract, _| {
            contract["paths"]["/v1/submissions"]["post"]["security"] = json!([{"accessToken": ["submissions:read"]}]);
        }),
        ("POST /v1/submissions/batch requires", &|contract, _| {
            contract["paths"]["/v1/submissions/batch"]["post"]["security"] = json!([]);
        }),
        ("GET /v1/sites/counts is not deployed", &|_, routes| routes.retain(|route| route.path != "/v1/sites/counts")),
        ("requires", &|_, routes| routes[0].scopes.truncate(1)),
    ];
    for (expected, change) in planted {
        let (mut contract, mut routes) = (contract.clone(), routes.clone());
        change(&mut contract, &mut routes);
        let found = differences(&contract, &routes);
        assert!(found.len() == 1 && found[0].contains(expected), "{expected}: {found:?}");
    }
}

#[test]
fn the_contract_describes_each_kind_of_problem_and_no_other() {
    let source = text(&root().join("shared/api/src/problem/kind.rs"));
    // What follows the prefix; the prefix alone names no kind.
    let named = source.split("\"urn:epro:problem:").skip(1).filter(|name| !name.starts_with('"')).count();
    assert_eq!(named, ProblemKind::ALL.len(), "a kind is not in ALL");
    let id = CorrelationId::given_or_new(None);
    let answered: BTreeSet<(String, u64)> = ProblemKind::ALL
        .iter()
        .map(|kind| Problem::new(*kind, "").to_json(&id))
        .map(|problem| (problem["type"].as_str().unwrap().to_owned(), problem["status"].as_u64().unwrap()))
        .collect();
    let contract = contract();
    assert_eq!(described_problems(&contract), answered);
    // A status that a kind of problem has, some operation answers.
    for (name, status) in answered {
        let documented = operations(&contract).values().any(|one| !one["responses"][status.to_string()].is_null());
        assert!(documented, "no operation answers {status}, the status of {name}");
    }
}

#[test]
fn every_operation_documents_what_any_request_may_meet() {
    let contract = contract();
    let (mut names, roles) = (BTreeSet::new(), Role::ALL.map(|role| role.to_string()));
    for (route, operation) in operations(&contract) {
        assert!(names.insert(operation["operationId"].as_str().unwrap()), "{route}: its operationId is another's too");
        for status in ALWAYS {
            assert!(!operation["responses"][status].is_null(), "{route} does not document {status}");
        }
        let named = operation["x-roles"].as_array().unwrap_or_else(|| panic!("{route} has no roles"));
        for role in named {
            assert!(roles.iter().any(|known| role == known), "{route}: there is no role {role}");
        }
        let has_body = route.starts_with("POST") || route.starts_with("PUT");
        assert_eq!(has_body, !operation["responses"]["413"].is_null(), "{route}: 413 is for bodies");
        let described = |name: &str| contract["info"]["description"].as_str().unwrap().contains(&format!("`{name}`"));
        assert!(scopes(operation).into_iter().all(described), "{route}: a scope is not described");
    }
}

/// Adds the names of members that are null, other than in examples.
fn empty_members<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members.iter().filter(|(name, _)| *name != "examples") {
                if value.is_null() {
                    found.push(name);
                }
                empty_members(value, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| empty_members(item, found)),
        _ => {}
    }
}

#[test]
fn no_text_of_the_contract_is_cut_at_a_comma() {
    // In `{ description: One, two }`, `two` is a member without a value.
    let contract = contract();
    let mut found = Vec::new();
    empty_members(&contract, &mut found);
    assert!(found.is_empty(), "quote the texts that end in {found:?}");
}

#[test]
fn every_reference_of_the_contract_leads_somewhere_and_every_component_is_used() {
    let contract = contract();
    let mut targets = Vec::new();
    references(&contract, &mut targets);
    for target in &targets {
        let pointer = target.strip_prefix('#').unwrap_or_else(|| panic!("{target} is outside of the contract"));
        assert!(contract.pointer(pointer).is_some(), "{target} does not exist");
    }
    let used: BTreeSet<&str> = targets.into_iter().collect();
    for (kind, components) in
        contract["components"].as_object().unwrap().iter().filter(|(kind, _)| *kind != "securitySchemes")
    {
        for name in components.as_object().unwrap().keys() {
            let place = format!("#/components/{kind}/{name}");
            assert!(used.contains(place.as_str()), "{place} is not used");
        }
    }
    let names: BTreeSet<&str> =
        operations(&contract).values().map(|one| one["operationId"].as_str().unwrap()).collect();
    for (route, operation) in operations(&contract) {
        let responses = operation["responses"].as_object().unwrap().values();
        for link in responses.filter_map(|response| response["links"].as_object()).flat_map(|links| links.values()) {
            let target = link["operationId"].as_str().unwrap();
            assert!(names.contains(target), "{route} links to {target}, which does not exist");
        }
    }
}
