//! The comparison itself, of the embedded engine with another instance of it: it needs no other engine.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::collections::BTreeMap;

use engines::compare::{Compared, compare};
use engines::engine::{Engine, Kind, root};
use local::template::Template;

const SEQUENCES: u64 = 25;

fn template() -> Template {
    let parameters = BTreeMap::from([("TokenIssuer".to_owned(), "https://issuer.example.org".to_owned())]);
    Template::read(&root().join("template.yaml"), &parameters).unwrap()
}

/// The sequences on the embedded engine and on another one with the tables of `template`, in the place of moto.
async fn compare_with(template_of_other: &Template) -> Compared {
    let mut engines = [Engine::embedded().await.unwrap(), Engine::embedded().await.unwrap()];
    engines[1].kind = Kind::Moto;
    engines[0].make_tables(&template()).await.unwrap();
    engines[1].make_tables(template_of_other).await.unwrap();
    let mut all = Compared::default();
    for seed in 0..SEQUENCES {
        all.add(compare(&engines, seed, &format!("s{seed}")).await);
        if !all.unknown.is_empty() {
            break;
        }
    }
    all
}

#[tokio::test]
async fn an_engine_agrees_with_itself() {
    let compared = compare_with(&template()).await;
    assert!(compared.unknown.is_empty(), "{}", compared.unknown[0]);
    for outcome in
        ["PutItem ok", "UpdateItem ok", "TransactWriteItems ok", "TransactWriteItems TransactionCanceledException"]
    {
        assert!(compared.outcomes.contains_key(outcome), "no {outcome} in {:?}", compared.outcomes);
    }
}

#[tokio::test]
async fn a_difference_is_found_and_narrowed_to_what_shows_it() {
    let mut other = template();
    let indexes = other.tables.iter_mut().flat_map(|table| &mut table.indexes);
    // An index that has more attributes is seen once an item is in it.
    for index in indexes.filter(|index| index.name == "site") {
        index.projection = "ALL".to_owned();
    }
    let unknown = compare_with(&other).await.unknown.pop().expect("it is found");
    assert_eq!(unknown.engine, Kind::Moto);
    // A submission, the transaction that scores it, which puts its patient in the index, and what reads that. The whole
    // sequence has at least nine.
    assert!(unknown.requests.len() <= 3, "{unknown}");
    assert_eq!(unknown.requests.last().unwrap().body["IndexName"], "site", "{unknown}");
}
