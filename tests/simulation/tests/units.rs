//! The write units of a submission and an alert, from the requests that the functions really send.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, and so does what helps it")]

use std::collections::BTreeMap;
use std::time::Duration;

use api::Handler;
use clinical::instruments::Catalog;
use harness::{Consumed, World, claims, request};
use serde_json::{Map, Value, json};
use submit::Submit;
use uuid::Uuid;

const PLENTY: Duration = Duration::from_secs(60);

async fn world() -> World {
    let world = World::new();
    let instruments: Vec<Value> = Catalog::shipped()
        .iter()
        .map(|instrument| json!({"id": instrument.id(), "version": instrument.version()}))
        .collect();
    world.put_study(json!({"instruments": instruments})).await;
    world.consumed();
    world
}

/// Submits the first answer of every item, but `codes`.
async fn send(world: &World, instrument: &str, patient: &str, codes: &[(&str, u8)], at: &str) {
    let instrument = Catalog::shipped().latest(&instrument.parse().unwrap()).unwrap();
    let definition = serde_json::to_value(instrument.definition()).unwrap();
    let first = |item: &Value| match item["codes"].as_str() {
        Some(list) => definition["codes"][list][1]["code"].clone(),
        None => item["min"].clone(),
    };
    let items = definition["items"].as_array().unwrap().iter();
    let mut answers: Map<String, Value> = items
        .map(|item| (item["id"].as_str().unwrap().to_owned(), first(item)))
        .filter(|(id, _)| instrument.id().as_str() != "phq-9" || id != "9")
        .collect();
    answers.extend(codes.iter().map(|(item, code)| ((*item).to_owned(), json!(code))));
    let body = json!({
        "id": Uuid::now_v7().to_string(), "instrument": instrument.id(), "version": instrument.version(),
        "authoredAt": at, "answers": answers, "device": {"app": "diary 4.2.1", "os": "android 16"},
    });
    let claims = claims(&[
        ("sites", "S01"),
        ("patient", patient),
        ("sub", "5f0e8c1a-9f4b-4f6e-8f6d-2a3b4c5d6e7f"),
        ("iss", "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbCdEfGhI"),
    ]);
    let request = request("POST /v1/submissions", &[], "", Some(claims), Some(&body.to_string()), PLENTY);
    let answer = Submit::new(world.store()).handle(request).await.unwrap();
    assert_eq!(answer.status(), 202, "{:?}", answer.body());
    // The call's count.
    tokio::time::sleep(Duration::from_secs(1)).await;
}

fn show(title: &str, consumed: &[Consumed], per: usize) {
    println!("{title}");
    let mut by: BTreeMap<(String, String), (usize, usize, usize)> = BTreeMap::new();
    for call in consumed {
        for written in &call.writes {
            let entry = by.entry((call.operation.clone(), written.what.clone())).or_default();
            *entry = (entry.0 + 1, entry.1 + written.units, entry.2.max(written.bytes));
        }
    }
    for ((operation, what), (times, units, bytes)) in &by {
        println!("  {operation:<40}{what:<28}{times:>5}{units:>6}{bytes:>6} B");
    }
    let sum: usize = consumed.iter().map(Consumed::write_units).sum();
    println!(
        "  together {:.2}, read {:.1}",
        sum as f64 / per as f64,
        consumed.iter().map(|one| one.read_units).sum::<f64>() / per as f64
    );
}

#[tokio::test(start_paused = true)]
async fn submissions() {
    let world = world().await;
    for (n, at) in
        ["2026-11-01T08:00:00+01:00", "2026-11-02T08:00:00+01:00", "2026-11-03T08:00:00+01:00"].iter().enumerate()
    {
        send(&world, "phq-9", "P-0001", &[], at).await;
        show("submit", &world.consumed(), 1);
        world.score(&world.stream()[n..], PLENTY).await;
        show("score", &world.consumed(), 1);
    }
    let before = world.stream().len();
    for n in 0..100 {
        send(&world, "phq-9", &format!("P-1{n:03}"), &[], "2026-11-01T08:00:00+01:00").await;
    }
    world.score(&world.stream()[before..], PLENTY).await;
    world.consumed();
    let before = world.stream().len();
    for n in 0..100 {
        send(&world, "phq-9", &format!("P-1{n:03}"), &[], "2026-11-02T08:00:00+01:00").await;
    }
    show("submit 100", &world.consumed(), 100);
    world.score(&world.stream()[before..], PLENTY).await;
    show("score 100", &world.consumed(), 100);
    let before = world.stream().len();
    send(&world, "phq-9", "P-0001", &[("9", 1)], "2026-11-04T08:00:00+01:00").await;
    world.consumed();
    world.score(&world.stream()[before..], PLENTY).await;
    show("score with an alert", &world.consumed(), 1);
    for item in world.all_items() {
        if item["pk"] == "PATIENT#DEMO#P-0001" || item["kind"] == "alert" {
            println!("{item}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_profile_of_six_instruments() {
    let world = world().await;
    let mut done = 0;
    for day in 1..=3 {
        for instrument in ["phq-9", "gad-7", "isi", "who-5", "pain-nrs", "k10"] {
            send(&world, instrument, "P-0001", &[], &format!("2026-11-0{day}T08:00:00+01:00")).await;
            world.consumed();
            world.score(&world.stream()[done..], PLENTY).await;
            done += 1;
            show(instrument, &world.consumed(), 1);
        }
    }
    println!("{}", world.items("profile")[0]);
}
