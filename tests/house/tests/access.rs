//! The access to each route: the table that the functions hold requests to (`api::access`) has the routes and the scopes
//! of the template, the roles and the scopes of the contract, and is the table in the security guide. After a change of
//! it, `UPDATE_GUIDES=1 cargo test --workspace --test access` writes the guide's.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use api::access::{ACCESS, Access, Sees};
use api::{Role, Scope};
use house::{root, text};
use local::template::{Route, Template};
use serde_json::{Value, json};

const GUIDE: &str = "functions/SECURITY.md";
/// The lines around the table in the guide.
const BEGIN: &str = "<!-- Generated from shared/api/src/access.rs; see tests/house/tests/access.rs. -->\n";
const END: &str = "<!-- End of what is generated. -->\n";
/// What an issuer may write before a scope.
const PREFIX: &str = "epro/";

fn routes() -> Vec<Route> {
    let parameters =
        [("TokenIssuer", "https://issuer.example"), ("ScopePrefix", PREFIX)].map(|(n, v)| (n.to_owned(), v.to_owned()));
    Template::read(&root().join("template.yaml"), &BTreeMap::from(parameters)).unwrap().routes
}

fn contract() -> Value {
    serde_json::from_str(&local::contract::openapi_json()).unwrap()
}

fn names<T: ToString>(named: impl IntoIterator<Item = T>) -> BTreeSet<String> {
    named.into_iter().map(|one| one.to_string()).collect()
}

/// The texts in a JSON list.
fn texts(list: &Value) -> BTreeSet<String> {
    names(list.as_array().into_iter().flatten().map(|text| text.as_str().unwrap_or_default()))
}

/// How the template's routes and scopes differ from `access`.
fn differences_of_template(access: &[Access], routes: &[Route]) -> Vec<String> {
    let deployed: BTreeMap<String, BTreeSet<String>> =
        routes.iter().map(|route| (format!("{} {}", route.method, route.path), names(&route.scopes))).collect();
    let in_code: BTreeMap<String, BTreeSet<String>> = access
        .iter()
        .map(|access| {
            let prefixed = access.scopes.iter().map(|scope| format!("{PREFIX}{scope}"));
            (access.route.to_owned(), names(access.scopes).into_iter().chain(prefixed).collect())
        })
        .collect();
    different("the template", &in_code, &deployed)
}

/// How the contract's roles and scopes differ from `access`.
fn differences_of_contract(access: &[Access], contract: &Value) -> Vec<String> {
    let mut described = BTreeMap::new();
    for (path, methods) in contract["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let scopes = operation["security"].as_array().into_iter().flatten().map(|one| &one["accessToken"]);
            let permitted = scopes.flat_map(texts).chain(texts(&operation["x-roles"])).collect();
            described.insert(format!("{} {path}", method.to_uppercase()), permitted);
        }
    }
    let in_code = access.iter().map(|access| {
        (access.route.to_owned(), names(access.scopes).into_iter().chain(names(access.roles())).collect())
    });
    different("the contract", &in_code.collect(), &described)
}

fn different(
    what: &str,
    in_code: &BTreeMap<String, BTreeSet<String>>,
    found: &BTreeMap<String, BTreeSet<String>>,
) -> Vec<String> {
    let all: BTreeSet<&String> = in_code.keys().chain(found.keys()).collect();
    let differing = all.into_iter().filter(|route| in_code.get(*route) != found.get(*route));
    differing
        .map(|route| format!("{route}: {:?} in the code, {:?} in {what}", in_code.get(route), found.get(route)))
        .collect()
}

/// The table of the guide.
fn table(access: &[Access]) -> String {
    let mut table = "| route | role | scope | sees |\n|---|---|---|---|\n".to_owned();
    for Access { route, scopes, grants } in access {
        let listed = |roles: &[Role]| match roles.len() == Role::ALL.len() {
            true => "any".to_owned(),
            false => roles.iter().map(Role::to_string).collect::<Vec<_>>().join(", "),
        };
        let roles: Vec<String> = grants.iter().map(|(_, roles)| listed(roles)).collect();
        let scopes: Vec<String> = scopes.iter().map(|scope| format!("`{scope}`")).collect();
        let sees: Vec<String> = match grants {
            [(sees, _)] => vec![sees.to_string()],
            several => several.iter().map(|(sees, roles)| format!("{}: {sees}", listed(roles))).collect(),
        };
        let (roles, scopes, sees) = (roles.join(", "), scopes.join(" or "), sees.join("; "));
        table.push_str(&format!("| `{route}` | {roles} | {scopes} | {sees} |\n"));
    }
    table
}

/// The part of `guide` before the generated table, the table, and the part after it.
fn parts(guide: &str) -> (&str, &str, &str) {
    let (before, rest) = guide.split_once(BEGIN).unwrap_or_else(|| panic!("{GUIDE} lacks the line {BEGIN}"));
    let (table, after) = rest.split_once(END).unwrap_or_else(|| panic!("{GUIDE} lacks the line {END}"));
    (before, table.trim_matches('\n'), after)
}

#[test]
fn the_template_has_the_routes_and_scopes_of_the_code() {
    let routes = routes();
    assert!(routes.len() >= 18, "only {} routes were read", routes.len());
    let differences = differences_of_template(&ACCESS, &routes);
    assert!(differences.is_empty(), "{differences:#?}");
}

#[test]
fn the_contract_has_the_roles_and_scopes_of_the_code() {
    let differences = differences_of_contract(&ACCESS, &contract());
    assert!(differences.is_empty(), "{differences:#?}");
}

#[test]
fn the_guide_has_the_access_table_of_the_code() {
    let (path, expected) = (root().join(GUIDE), table(&ACCESS));
    let guide = text(&path);
    let (before, found, after) = parts(&guide);
    if found == expected.trim_end() {
        return;
    }
    if std::env::var_os("UPDATE_GUIDES").is_some() {
        fs::write(&path, format!("{before}{BEGIN}\n{expected}\n{END}{after}")).unwrap();
        return;
    }
    panic!("{GUIDE} differs: run UPDATE_GUIDES=1 cargo test --workspace --test access\n{expected}");
}

/// A change of the table.
type Change = fn(&mut Vec<Access>);

#[test]
fn a_role_or_a_scope_or_a_route_that_differs_is_found() {
    let (routes, contract) = (routes(), contract());
    let planted: [(&str, Change); 5] = [
        ("a scope", |access| access[0].scopes = &[Scope::COUNTS_READ]),
        ("one more scope", |access| access[0].scopes = &[Scope::SUBMISSIONS_WRITE, Scope::COUNTS_READ]),
        ("a role", |access| access[0].grants = &[(Sees::OwnSites, &[Role::Staff])]),
        ("one more role", |access| access[0].grants = &[(Sees::OwnSites, &[Role::Patient, Role::Monitor])]),
        ("a route", |access| access.truncate(ACCESS.len() - 1)),
    ];
    for (what, plant) in planted {
        let mut access = ACCESS.to_vec();
        plant(&mut access);
        let of_template = differences_of_template(&access, &routes);
        let of_contract = differences_of_contract(&access, &contract);
        // The template knows no roles.
        let expected = if what.ends_with("role") { (0, 1) } else { (1, 1) };
        assert_eq!((of_template.len(), of_contract.len()), expected, "{what}: {of_template:?} {of_contract:?}");
        assert_ne!(table(&access), table(&ACCESS), "{what}");
    }
    let mut changed = contract.clone();
    changed["paths"]["/v1/instruments"]["get"]["x-roles"] = json!(["patient"]);
    assert_eq!(differences_of_contract(&ACCESS, &changed).len(), 1);
}
