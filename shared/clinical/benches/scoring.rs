//! The number of submissions scored per second on one core, compared with hand-written functions for the same sums.
//!
//! `cargo bench --workspace --bench scoring`. The targets: PHQ-9 1 million, RAND-36 150 thousand.

#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark may panic on invalid data")]

use std::hint::black_box;

use clinical::instruments::{Answer, Answers, Catalog, Instrument};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

fn scoring(criterion: &mut Criterion) {
    let phq_9 = shipped("phq-9");
    let answers = codes(&[1, 0, 1, 0, 0, 1, 2, 0, 0, 0]);
    assert_eq!(phq_9.assess(&answers).unwrap().scores[0].value, phq_9_by_hand(&answers).unwrap().0.into());
    let mut group = criterion.benchmark_group("phq-9");
    group.throughput(Throughput::Elements(1));
    group.bench_function("definition", |bencher| bencher.iter(|| phq_9.assess(black_box(&answers)).unwrap()));
    group.bench_function("by hand", |bencher| bencher.iter(|| phq_9_by_hand(black_box(&answers))));
    group.finish();

    let rand_36 = shipped("rand-36");
    let answers = codes(&[
        2, 3, 1, 2, 3, 2, 3, 3, 2, 3, 3, 3, 1, 2, 1, 2, 2, 1, 2, 2, 3, 2, 3, 5, 6, 2, 3, 5, 4, 2, 4, 4, 4, 2, 3, 2,
    ]);
    let by_hand = rand_36_by_hand(&answers);
    for (score, by_hand) in rand_36.assess(&answers).unwrap().scores.iter().zip(by_hand) {
        assert_eq!(score.value.to_f64().unwrap(), (by_hand.unwrap() * 100.0).round() / 100.0);
    }
    let mut group = criterion.benchmark_group("rand-36");
    group.throughput(Throughput::Elements(1));
    group.bench_function("definition", |bencher| bencher.iter(|| rand_36.assess(black_box(&answers)).unwrap()));
    group.bench_function("by hand", |bencher| bencher.iter(|| rand_36_by_hand(black_box(&answers))));
    group.finish();
}

fn loading(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("load");
    for id in ["phq-9", "rand-36", "pro-ctcae"] {
        let json = shipped(id).json();
        group.bench_function(id, |bencher| bencher.iter(|| Instrument::parse(black_box(json)).unwrap()));
    }
    group.finish();
}

fn phq_9_by_hand(answers: &Answers) -> Option<(i64, &'static str, bool)> {
    let (mut total, mut count, mut thoughts) = (0, 0, false);
    for (id, answer) in answers.iter() {
        let Answer::Number(number) = answer else { return None };
        let code = number.to_i64().filter(|code| (0..=3).contains(code))?;
        match id.as_str() {
            "10" => continue,
            "9" => thoughts = code > 0,
            _ => {}
        }
        total += code;
        count += 1;
    }
    let band = match total {
        0..=4 => "minimal",
        5..=9 => "mild",
        10..=14 => "moderate",
        15..=19 => "moderately severe",
        _ => "severe",
    };
    (count == 9).then_some((total, band, thoughts))
}

fn rand_36_by_hand(answers: &Answers) -> [Option<f64>; 8] {
    const SCALES: [&[usize]; 8] = [
        &[3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
        &[13, 14, 15, 16],
        &[17, 18, 19],
        &[23, 27, 29, 31],
        &[24, 25, 26, 28, 30],
        &[20, 32],
        &[21, 22],
        &[1, 33, 34, 35, 36],
    ];
    let mut codes_by_item = [None; 37];
    for (id, answer) in answers.iter() {
        let place: usize = id.as_str().parse().unwrap();
        if let Answer::Number(number) = answer {
            codes_by_item[place] = number.to_f64();
        }
    }
    let recoded = |item: usize| {
        let code = codes_by_item[item]?;
        Some(match item {
            1 | 2 | 20 | 22 | 34 | 36 => 125.0 - 25.0 * code,
            3..=12 => 50.0 * code - 50.0,
            13..=19 => 100.0 * code - 100.0,
            21 | 23 | 26 | 27 | 30 => 120.0 - 20.0 * code,
            24 | 25 | 28 | 29 | 31 => 20.0 * code - 20.0,
            _ => 25.0 * code - 25.0,
        })
    };
    SCALES.map(|items| {
        let (mut sum, mut count) = (0.0, 0.0);
        for value in items.iter().filter_map(|item| recoded(*item)) {
            sum += value;
            count += 1.0;
        }
        (count > 0.0).then(|| sum / count)
    })
}

fn codes(codes: &[i64]) -> Answers {
    (1..).zip(codes).map(|(id, code)| (id.to_string().parse().unwrap(), Answer::Number(Decimal::from(*code)))).collect()
}

fn shipped(id: &str) -> &'static Instrument {
    Catalog::shipped().latest(&id.parse().unwrap()).unwrap()
}

criterion_group!(benches, scoring, loading);
criterion_main!(benches);
