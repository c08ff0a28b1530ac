//! The network between the functions and AWS: latencies and faults by seed.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use harness::{Call, Fault, Path};
use serde_json::{Value, json};

use crate::clock;
use crate::dice::Dice;
use crate::journal::Journal;
use crate::plan::{Plan, Weather, WeatherFault};

/// The regions of the environments that are gone: what they left running sends nothing more.
#[derive(Clone, Debug, Default)]
pub struct Gone(Arc<Mutex<BTreeSet<String>>>);

impl Gone {
    /// The environment of `region` is gone.
    pub fn add(&self, region: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(region);
    }

    fn has(&self, region: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(region)
    }
}

/// Latencies and faults of a plan.
pub struct Network {
    gone: Gone,
    weather: Vec<Weather>,
    dice: Dice,
    journal: Journal,
    /// The submissions of the latest transactions that score several.
    chunks: Vec<BTreeSet<String>>,
}

impl Network {
    /// The network of `plan`.
    pub fn of(plan: &Plan, gone: Gone, journal: Journal) -> Self {
        Self { gone, weather: plan.weather.clone(), dice: Dice::of(plan.seed, "network"), journal, chunks: Vec::new() }
    }

    /// The path of `call`.
    pub fn path(&mut self, call: &Call) -> Path {
        if self.gone.has(&call.region) {
            return Path { fault: Some(Fault::Stall), ..Path::default() };
        }
        let name = call.name().to_owned();
        let mut path = Path {
            there: self.latency(),
            work: Duration::from_millis(self.dice.within(1..=12)),
            back: self.latency(),
            half_visible: self
                .dice
                .one_in(3)
                .then(|| (Duration::from_millis(self.dice.within(1..=40)), self.dice.roll())),
            lag: Duration::from_millis(self.dice.within(0..=200)),
            ..Path::default()
        };
        // DynamoDB need not report all reasons of a cancellation.
        if self.dice.one_in(3) {
            path.one_reason = Some(self.dice.below(100) as usize);
        }
        // The reader of the stream is part of Lambda, and has retries of its own.
        if ["GetRecords", "GetShardIterator", "DescribeStream", "DescribeTable"].contains(&name.as_str()) {
            return path;
        }
        self.look_at(call);
        let now = clock::elapsed().as_secs();
        let weather: Vec<Weather> =
            self.weather.iter().copied().filter(|weather| (weather.from..weather.to).contains(&now)).collect();
        for weather in weather {
            if self.dice.one_in(weather.one_in) {
                self.hit(&mut path, call, weather);
            }
        }
        if let Some(fault) = &path.fault {
            self.journal.note(format!("network: {} meets {}", call.operation, name_of(fault)));
        }
        path
    }

    /// Counts the branches that show in what is sent.
    fn look_at(&mut self, call: &Call) {
        let put = &call.body["Item"];
        if call.name() == "PutItem" && put["kind"]["S"] == "plan" && put.get("made_for").is_some() {
            let patient = put["pk"]["S"].as_str().unwrap_or_default().to_owned();
            self.journal.pages().planned.push((patient, clock::elapsed()));
        }
        if call.name() != "TransactWriteItems" {
            return;
        }
        let writes = || call.body["TransactItems"].as_array().into_iter().flatten();
        let is_marked = |put: &Value| put["Item"]["sk"]["S"] == "PROFILE" && put["Item"].get("pending").is_some();
        if writes().filter_map(|write| write.get("Put")).any(is_marked) {
            self.journal.met("branch: late submission evaluated again");
        }
        let mut scored = BTreeSet::new();
        for update in writes().filter_map(|write| write.get("Update")) {
            let key = update["Key"]["sk"]["S"].as_str().unwrap_or_default();
            let values = &update["ExpressionAttributeValues"];
            if key.starts_with("SUBMISSION#") && values.get(":score").is_some() {
                scored.insert(key.to_owned());
            }
        }
        if self.chunks.iter().any(|chunk| scored.len() <= chunk.len().div_ceil(2) && scored.is_subset(chunk))
            && !scored.is_empty()
        {
            self.journal.met("branch: chunk halved");
        }
        if scored.len() > 1 {
            self.chunks.push(scored);
        }
    }

    /// Most calls take some milliseconds, and a few much longer.
    fn latency(&mut self) -> Duration {
        let most = if self.dice.one_in(40) { 250 } else { 8 };
        Duration::from_millis(self.dice.within(1..=most))
    }

    fn hit(&mut self, path: &mut Path, call: &Call, Weather { fault, from, .. }: Weather) {
        let sns = ["Publish", "PublishBatch"].contains(&call.name());
        let write = sns || ["PutItem", "UpdateItem", "TransactWriteItems"].contains(&call.name());
        let transaction = call.name() == "TransactWriteItems";
        let (fault, met) = match fault {
            WeatherFault::Throttle if transaction && self.dice.one_in(2) => {
                let writes = call.body["TransactItems"].as_array().map_or(0, Vec::len);
                let at = self.dice.below(writes.max(1) as u64) as usize;
                (Fault::cancelled_by(writes, at, "ThrottlingError"), "fault: throttled")
            }
            WeatherFault::Throttle => (Fault::throttle(), "fault: throttled"),
            WeatherFault::Error500 if write && !sns && self.dice.one_in(2) => {
                (Fault::ApplyAndFail, "fault: 500 after the write")
            }
            WeatherFault::Error500 => (Fault::internal(), "fault: 500"),
            WeatherFault::Error503 => {
                (Fault::Answer(503, json!({"__type": "ServiceUnavailable", "message": "injected"})), "fault: 503")
            }
            WeatherFault::CutBefore => (Fault::Cut, "fault: connection cut before the write"),
            WeatherFault::CutAfter if write => (Fault::ApplyAndCut, "fault: connection cut after the write"),
            WeatherFault::Stall => (Fault::Stall, "fault: no answer, not applied"),
            WeatherFault::ApplyAndStall if write => (Fault::ApplyAndStall, "fault: no answer, applied"),
            WeatherFault::ApplyTwice if write => (Fault::ApplyTwice, "fault: applied twice"),
            WeatherFault::Slow => {
                // Around the time-outs of an attempt and of a call.
                let slow = Duration::from_millis(
                    *self.dice.pick(&[300, 395, 405, 900, 990, 1_010, 1_600, 2_900, 4_900, 9_000]),
                );
                let there = self.dice.one_in(2);
                *(if there { &mut path.there } else { &mut path.back }) = slow;
                return self.journal.met("fault: slow answer");
            }
            WeatherFault::LongTransactions if transaction => {
                path.work = Duration::from_millis(self.dice.within(50..=700));
                return self.journal.met("fault: transaction held its items for long");
            }
            WeatherFault::PartialReasons if transaction => {
                path.one_reason = Some(self.dice.below(100) as usize);
                return;
            }
            WeatherFault::Behind if write && !sns => {
                path.lag = Duration::from_secs(self.dice.within(1..=90));
                return self.journal.met("fault: index or copy of the study behind");
            }
            WeatherFault::StudyUnreadable if call.body.to_string().contains("\"STUDY#") => {
                (Fault::internal(), "fault: study unreadable")
            }
            WeatherFault::SnsDown if sns => {
                let denied = json!({"__type": "AuthorizationError", "message": "injected"});
                let denied = Fault::Answer(403, denied);
                let fault = [Fault::Stall, Fault::Cut, Fault::internal(), Fault::ApplyAndCut, denied];
                // An outage has a character: most calls fail in the same way.
                let which = if self.dice.one_in(5) { self.dice.roll() } else { from };
                (fault[which as usize % fault.len()].clone(), "fault: SNS down")
            }
            WeatherFault::SnsPartial if sns => {
                path.refused_entries = (0..10).filter(|_| self.dice.one_in(2)).collect();
                return;
            }
            _ => return,
        };
        path.fault = Some(fault);
        self.journal.met(met);
    }
}

fn name_of(fault: &Fault) -> &'static str {
    match fault {
        Fault::Stall => "no answer, and is not applied",
        Fault::ApplyAndStall => "no answer, and is applied",
        Fault::Cut => "a cut connection, and is not applied",
        Fault::ApplyAndCut => "a cut connection, and is applied",
        Fault::ApplyTwice => "a second application",
        Fault::ApplyAndFail => "an error, and is applied",
        Fault::Answer(..) => "an error",
    }
}
