//! What DynamoDB is paid for: the units of a submission, an alert and the routes, worked out from what the functions
//! really send to a DynamoDB in memory.

use std::collections::BTreeMap;
use std::time::Duration;

use alerts::Alerts;
use api::Handler;
use clinical::instruments::Catalog;
use harness::{Consumed, World, claims, request};
use lambda_http::Request;
use patients::Patients;
use serde_json::{Map, Value, json};
use submit::Submit;
use uuid::Uuid;

use bench::sections::table;
use bench::{Fault, document};

const PLENTY: Duration = Duration::from_secs(60);
/// As many as the mapping passes to `score` at once.
const BATCH: usize = 100;
/// Instruments with one score each, as a study of symptoms has them.
const SIX: [&str; 6] = ["phq-9", "gad-7", "isi", "who-5", "k10", "pain-nrs"];

/// What is worked out.
#[derive(Clone, Debug)]
pub struct Costs {
    /// Write and read units, by what takes them.
    pub units: Vec<(&'static str, f64, f64)>,
    /// Write units of a submission that is scored alone, by operation and by what each writes, with its bytes.
    pub alone: Vec<(String, usize, usize)>,
    /// The bytes of items, by what they are.
    pub bytes: Vec<(&'static str, usize)>,
}

impl Costs {
    /// Works them out.
    ///
    /// # Errors
    /// If a function does not do what it is measured for.
    pub async fn of() -> Result<Self, Fault> {
        let mut costs = Self { units: Vec::new(), alone: Vec::new(), bytes: Vec::new() };
        let site = Site::new().await;
        costs.submissions(&site).await?;
        costs.alerts(&site).await?;
        costs.routes(&site).await?;
        costs.profiles().await?;
        Ok(costs)
    }

    fn add(&mut self, what: &'static str, consumed: &[Consumed], times: usize) {
        let writes: usize = consumed.iter().map(Consumed::write_units).sum();
        let reads: f64 = consumed.iter().map(|call| call.read_units).sum();
        self.units.push((what, writes as f64 / times as f64, reads / times as f64));
    }

    async fn submissions(&mut self, site: &Site) -> Result<(), Fault> {
        // From the second on: the first puts its patient into the index of the site.
        site.send("phq-9", "P-000001", 0, "01").await?;
        site.score().await?;
        let body = site.send("phq-9", "P-000001", 0, "02").await?;
        let mut consumed = site.world.consumed();
        self.bytes.push(("a submission: a PHQ-9", of_kind(&consumed, "submission")));
        consumed.extend(site.score().await?);
        self.bytes.push(("the same with its score", of_kind(&consumed, "submission")));
        self.add("a submission alone, scored", &consumed, 1);
        let written = consumed.iter().flat_map(|call| call.writes.iter().map(move |one| (call, one)));
        self.alone = written
            .map(|(call, one)| {
                let operation = call.operation.split(' ').next().unwrap_or_default();
                (format!("{operation}: {}", one.what), one.units, one.bytes)
            })
            .collect();
        site.repeat(&body).await?;
        self.add("a repeat of it", &site.world.consumed(), 1);
        for day in ["01", "02"] {
            for patient in 0..BATCH {
                site.send("phq-9", &format!("P-1{patient:05}"), 0, day).await?;
            }
            let mut consumed = site.world.consumed();
            consumed.extend(site.score().await?);
            if day == "02" {
                self.add("a submission of 100 of a site, scored at once", &consumed, BATCH);
            }
        }
        Ok(())
    }

    /// What an alert adds: its own items and entries, and its publication.
    async fn alerts(&mut self, site: &Site) -> Result<(), Fault> {
        for (what, instrument, code) in
            [("a critical alert, published", "phq-9", 1), ("a warning, published", "gad-7", 3)]
        {
            site.send(instrument, "P-000002", code, "01").await?;
            site.world.consumed();
            let consumed = site.score().await?;
            let of_alert = consumed.iter().map(|call| Consumed {
                writes: call.writes.iter().filter(|one| one.what.starts_with("alert")).cloned().collect(),
                read_units: 0.0,
                ..call.clone()
            });
            self.bytes.push((if code == 1 { "a critical alert" } else { "a warning" }, of_kind(&consumed, "alert")));
            self.add(what, &of_alert.collect::<Vec<_>>(), 1);
        }
        let published = site.world.published();
        let alerts = published.iter().filter(|one| one.attributes["severity"] == "critical").count();
        if alerts != 1 || published.len() != 2 {
            return Err(Fault::Wrong(format!("{} alerts were published, {alerts} of them critical", published.len())));
        }
        Ok(())
    }

    async fn routes(&mut self, site: &Site) -> Result<(), Fault> {
        let alert = site.world.published()[0].body()["alertId"].as_str().unwrap_or_default().to_owned();
        let acknowledge = site.request(
            "POST /v1/alerts/{alertId}/acknowledge",
            &[("alertId", &alert)],
            "clinician",
            Some(r#"{"note":"called, safe"}"#),
        );
        let alerts = Alerts::new(site.world.store());
        answered(alerts.handle(acknowledge).await)?;
        self.add("an acknowledgement", &site.consumed().await, 1);
        let of_site = [("site", "S01")];
        let list = site.request("GET /v1/sites/{site}/alerts", &of_site, "clinician", None);
        answered(alerts.handle(list).await)?;
        self.add("a page of alerts", &site.consumed().await, 1);
        let list = site.request("GET /v1/sites/{site}/patients", &of_site, "staff", None);
        answered(Patients::new(site.world.store()).handle(list).await)?;
        self.add("a page of 50 patients", &site.consumed().await, 1);
        Ok(())
    }

    async fn profiles(&mut self) -> Result<(), Fault> {
        let site = Site::new().await;
        let mut consumed = Vec::new();
        for (n, instrument) in SIX.into_iter().enumerate() {
            for day in ["01", "02", "03"] {
                site.send(instrument, "P-000001", 0, day).await?;
                consumed = site.score().await?;
                if (n, day) == (0, "03") {
                    self.bytes.push(("a profile of one instrument", of_kind(&consumed, "profile")));
                }
            }
        }
        self.bytes.push(("a profile of six instruments", of_kind(&consumed, "profile")));
        Ok(())
    }
}

/// A site of a stored study, whose patients submit.
struct Site {
    world: World,
}

impl Site {
    async fn new() -> Self {
        let world = World::new();
        world.delay(Duration::ZERO);
        let instruments: Vec<Value> = SIX
            .into_iter()
            .filter_map(|id| Catalog::shipped().latest(&id.parse().ok()?))
            .map(|instrument| json!({"id": instrument.id(), "version": instrument.version()}))
            .collect();
        world.put_study(json!({"instruments": instruments})).await;
        world.consumed();
        Self { world }
    }

    /// Submits a questionnaire whose answers are all 1, but for the last item of nine, which is `last`, and those of a
    /// GAD-7, which are all `last` where that is more. Returns the body.
    async fn send(&self, instrument: &str, patient: &str, last: u8, day: &str) -> Result<String, Fault> {
        let known = instrument.parse().ok().and_then(|id| Catalog::shipped().latest(&id).cloned());
        let instrument = known.ok_or_else(|| Fault::Wrong(format!("{instrument} does not ship")))?;
        let items = instrument.definition().items.iter().map(|item| item.id.to_string());
        let answer = |item: &str| if item == "9" && instrument.id().as_str() == "phq-9" { last } else { 1.max(last) };
        let answers: Map<String, Value> = items.map(|item| (item.clone(), json!(answer(&item)))).collect();
        let body = json!({
            "id": Uuid::now_v7().to_string(), "instrument": instrument.id(), "version": instrument.version(),
            "authoredAt": format!("2026-11-{day}T08:00:00+01:00"), "answers": answers,
            "device": {"app": "diary 4.2.1", "os": "android 16"},
        });
        self.submit(patient, &body.to_string(), 202).await?;
        Ok(body.to_string())
    }

    async fn repeat(&self, body: &str) -> Result<(), Fault> {
        self.submit("P-000001", body, 200).await?;
        // The call is counted beside the answer.
        tokio::time::sleep(Duration::from_millis(50)).await;
        Ok(())
    }

    async fn submit(&self, patient: &str, body: &str, expected: u16) -> Result<(), Fault> {
        let claims = Some(cognito(&[("patient", patient)]));
        let request = request("POST /v1/submissions", &[], "", claims, Some(body), PLENTY);
        let answer = answered(Submit::new(self.world.store()).handle(request).await)?;
        if answer == expected { Ok(()) } else { Err(Fault::Wrong(format!("submit answered {answer}"))) }
    }

    /// Scores what is not scored yet, and returns what that consumed.
    async fn score(&self) -> Result<Vec<Consumed>, Fault> {
        self.world.consumed();
        let stored = self.world.items("submission");
        let is_new = |record: &&Value| {
            let key = &record["dynamodb"]["Keys"]["sk"]["S"];
            stored.iter().any(|item| item["sk"] == *key && item["scored_at"].is_null())
        };
        let records: Vec<Value> = self.world.stream().iter().filter(is_new).cloned().collect();
        match self.world.score(&records, PLENTY).await {
            0 => Ok(self.world.consumed()),
            left => Err(Fault::Wrong(format!("{left} records were not scored"))),
        }
    }

    fn request(&self, route: &str, parameters: &[(&str, &str)], role: &str, body: Option<&str>) -> Request {
        self.world.consumed();
        request(route, parameters, "", Some(cognito(&[("role", role), ("patient", "")])), body, PLENTY)
    }

    /// What a request has consumed, the count of its call included.
    async fn consumed(&self) -> Vec<Consumed> {
        tokio::time::sleep(Duration::from_millis(50)).await;
        self.world.consumed()
    }
}

/// Claims as long as those of Cognito.
fn cognito(changes: &[(&str, &str)]) -> Map<String, Value> {
    let issuer = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbCdEfGhI";
    let own = [("sub", "5f0e8c1a-9f4b-4f6e-8f6d-2a3b4c5d6e7f"), ("iss", issuer)];
    claims(&own.iter().chain(changes).copied().collect::<Vec<_>>())
}

fn answered(answer: Result<lambda_http::Response<lambda_http::Body>, std::convert::Infallible>) -> Result<u16, Fault> {
    let Ok(answer) = answer;
    let status = answer.status().as_u16();
    if status < 300 { Ok(status) } else { Err(Fault::Wrong(format!("answered {status}: {:?}", answer.body()))) }
}

/// The bytes of the last written item of `kind`.
fn of_kind(consumed: &[Consumed], kind: &str) -> usize {
    let mut written = consumed.iter().flat_map(|call| &call.writes).filter(|one| one.what == kind);
    written.next_back().map_or(0, |one| one.bytes)
}

/// The section.
///
/// # Errors
/// If a function does not do what it is measured for.
pub async fn section() -> Result<String, Fault> {
    let costs = Costs::of().await?;
    let number = |value: f64| format!("{value:.2}").trim_end_matches('0').trim_end_matches('.').to_owned();
    let units =
        costs.units.iter().map(|(what, writes, reads)| vec![(*what).to_owned(), number(*writes), number(*reads)]);
    let mut steps: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for (n, (what, units, bytes)) in costs.alone.iter().enumerate() {
        steps.insert(n, vec![what.clone(), units.to_string(), bytes.to_string()]);
    }
    let bytes = costs.bytes.iter().map(|(what, bytes)| vec![(*what).to_owned(), bytes.to_string()]);
    Ok(format!(
        "## Cost\n\n{}\n\nUnits of DynamoDB, worked out by its rules from the items that the functions write and read: a \
         write unit for each KB begun of an item, twice in a transaction, and for each entry of an index that changes; a \
         read unit for 4 KB read consistently. The token is as long as Cognito's, and the study is stored. \
         `tests/cost/tests/units.rs` fails when one rises above `bounds.json`. What they cost is in \
         [functions/COST.md](../../functions/COST.md).\n\n{}\nOf a submission that is scored alone:\n\n{}\n{}",
        document::provenance(),
        table(&["", "write units", "read units"], units),
        table(&["write", "units", "bytes afterwards"], steps.into_values()),
        table(&["item", "bytes"], bytes),
    ))
}
