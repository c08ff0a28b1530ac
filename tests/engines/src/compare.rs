//! Sends sequences to the engines and compares their answers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use futures::future::join_all;
use serde_json::{Value, json};

use crate::differences::{Known, NO_STREAMS, NO_TOKENS, NO_TRANSACTIONS, known};
use crate::engine::{Engine, Kind, Request};
use crate::sequence::{COUNTS, STREAM, contents, generate};

/// More pages than any query of a sequence has.
const MOST_PAGES: usize = 200;

/// The result of some sequences.
#[derive(Debug, Default)]
pub struct Compared {
    /// The number of requests, those that read the tables at the end included.
    pub requests: usize,
    /// The number of requests by operation and outcome of the embedded engine.
    pub outcomes: BTreeMap<String, usize>,
    /// How often each known difference was met.
    pub known: BTreeMap<Known, usize>,
    /// The differences that are not known, the first of each sequence.
    pub unknown: Vec<Unknown>,
}

/// A difference that is not known.
#[derive(Debug)]
pub struct Unknown {
    /// The seed of the sequence.
    pub seed: u64,
    /// The engine that answered differently.
    pub engine: Kind,
    /// The requests of the shortest sequence that shows it; the last one is the one that is answered differently, and
    /// may be a read of the tables after the sequence.
    pub requests: Vec<Request>,
    /// The answer of the embedded engine.
    pub expected: Value,
    /// The answer of the other.
    pub actual: Value,
}

/// A different answer to the request at the index `at`.
struct Difference {
    at: usize,
    request: Request,
    engine: Kind,
    expected: Value,
    actual: Value,
}

impl Compared {
    /// Adds `other`.
    pub fn add(&mut self, other: Self) {
        self.requests += other.requests;
        for (outcome, n) in other.outcomes {
            *self.outcomes.entry(outcome).or_default() += n;
        }
        for (known, n) in other.known {
            *self.known.entry(known).or_default() += n;
        }
        self.unknown.extend(other.unknown);
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: {:?} differs from the embedded engine after", self.seed, self.engine)?;
        for Request { operation, body } in &self.requests {
            writeln!(f, "  {operation} {body}")?;
        }
        writeln!(f, "  embedded: {}", self.expected)?;
        write!(f, "  {:?}: {}", self.engine, self.actual)
    }
}

/// Sends the sequence of `seed` to `engines`, of which the first is the embedded one, and compares their answers and
/// what is stored in the end. `prefix` is one that no sequence had on the same tables, and no other within ten minutes,
/// in which engines remember tokens. A difference that is not known is narrowed to the shortest sequence that shows it.
pub async fn compare(engines: &[Engine], seed: u64, prefix: &str) -> Compared {
    let requests = generate(seed, prefix);
    let mut compared = Compared::default();
    let Some(difference) = run(engines, &requests, prefix, &mut compared).await else { return compared };
    // Without each request in turn, while the rest still shows a difference of the same engine.
    let mut kept: Vec<usize> = (0..requests.len().min(difference.at + 1)).collect();
    let mut shortest = difference;
    let mut at = kept.len();
    let mut attempts = 0;
    while at > 0 {
        at -= 1;
        let mut fewer = kept.clone();
        fewer.remove(at);
        attempts += 1;
        let prefix = format!("{prefix}-{attempts}");
        let all = generate(seed, &prefix);
        let some: Vec<Request> = fewer.iter().map(|index| all[*index].clone()).collect();
        let found = run(engines, &some, &prefix, &mut Compared::default()).await;
        if let Some(found) = found.filter(|found| found.engine == shortest.engine) {
            kept = fewer;
            kept.truncate(found.at + 1);
            at = at.min(kept.len());
            shortest = found;
        }
    }
    let mut requests: Vec<Request> = kept.iter().map(|index| requests[*index].clone()).collect();
    if requests.len() <= shortest.at {
        requests.push(shortest.request);
    }
    let Difference { engine, expected, actual, .. } = shortest;
    compared.unknown.push(Unknown { seed, engine, requests, expected, actual });
    compared
}

/// What `engines` lack altogether, so that the sequences go without it: found by asking them.
pub async fn lacking(engines: &[Engine]) -> Compared {
    let key = json!({"pk": {"S": "COUNT#TOKENS"}});
    let add = json!({
        "TableName": COUNTS, "Key": key, "UpdateExpression": "ADD #n :calls",
        "ExpressionAttributeNames": {"#n": "api_calls"}, "ExpressionAttributeValues": {":calls": {"N": "1"}},
    });
    let body = json!({"ClientRequestToken": "lacking", "TransactItems": [{"Update": add}]});
    let twice = Request { operation: "TransactWriteItems", body };
    let read = Request { operation: "GetItem", body: json!({"TableName": COUNTS, "Key": key, "ConsistentRead": true}) };
    let mut compared = Compared::default();
    for engine in engines {
        let answer = engine.send(&twice).await;
        let found = match engine.kind {
            Kind::Embedded => continue,
            Kind::Moto => {
                engine.send(&twice).await;
                let counted = engine.send(&read).await["item"]["api_calls"] == json!({"N": "2"});
                vec![(NO_TOKENS, counted)]
            }
            Kind::Dynalite => {
                let streams = engine.stream("").await.get("failure").is_none();
                vec![(NO_TRANSACTIONS, answer.get("error").is_some()), (NO_STREAMS, !streams)]
            }
        };
        compared.known.extend(found.into_iter().filter(|(_, lacks)| *lacks).map(|(known, _)| (known, 1)));
    }
    compared
}

/// Sends `requests`, then the reads of all that they may have written; stops at the first difference that is not known.
async fn run(engines: &[Engine], requests: &[Request], prefix: &str, compared: &mut Compared) -> Option<Difference> {
    let (embedded, others) = engines.split_first().expect("the embedded engine is the first");
    let mut tokens = BTreeSet::new();
    let reads = contents();
    for (at, request) in requests.iter().chain(&reads).enumerate() {
        compared.requests += 1;
        let expected = answer(embedded, request, prefix).await;
        if at < requests.len() {
            let outcome = format!("{} {}", request.operation, expected["error"].as_str().unwrap_or("ok"));
            *compared.outcomes.entry(outcome).or_default() += 1;
        }
        let token = request.body["ClientRequestToken"].as_str();
        let is_repeat = token.is_some_and(|token| tokens.contains(token));
        if expected.get("error").is_none() && !is_repeat {
            tokens.extend(token);
        }
        let answers = others.iter().map(|engine| {
            let expected = &expected;
            async move {
                let actual = if request.operation == "TransactWriteItems" && is_repeat {
                    // Only the embedded engine knows tokens.
                    expected.clone()
                } else if request.operation == "TransactWriteItems" && !engine.has_transactions() {
                    one_by_one(engine, request, expected).await
                } else if request.operation == STREAM && !engine.has_streams() {
                    expected.clone()
                } else {
                    answer(engine, request, prefix).await
                };
                (engine.kind, actual)
            }
        });
        for (engine, actual) in join_all(answers).await {
            if actual == expected {
                continue;
            }
            match known(engine, request, &expected, &actual) {
                Some(met) => met.into_iter().for_each(|known| *compared.known.entry(known).or_default() += 1),
                None => return Some(Difference { at, request: request.clone(), engine, expected, actual }),
            }
        }
    }
    None
}

/// The answer to `request`; of a query or a scan, all its pages.
async fn answer(engine: &Engine, request: &Request, prefix: &str) -> Value {
    if request.operation == STREAM {
        return engine.stream(&format!("#{prefix}")).await;
    }
    if !matches!(request.operation, "Query" | "Scan") {
        return engine.send(request).await;
    }
    let mut request = request.clone();
    let mut pages = Vec::new();
    for _ in 0..MOST_PAGES {
        let page = engine.send(&request).await;
        let last = page["last"].clone();
        pages.push(page);
        if last.is_null() {
            break;
        }
        request.body["ExclusiveStartKey"] = last;
    }
    if request.operation == "Query" {
        return Value::Array(pages);
    }
    let (own, in_order) = scanned(&pages, prefix);
    // The order of an index in a scan is not defined at all.
    if request.body.get("IndexName").is_some() { json!(own) } else { json!({"in order": in_order, "own": own}) }
}

/// The comparable part of a scan: the sequence's own items by key, and whether each partition was whole and in the
/// order of its sort keys, on which `verify` relies. The order of partitions is not defined.
fn scanned<'a>(pages: &'a [Value], prefix: &str) -> (Vec<&'a Value>, bool) {
    let items: Vec<&Value> = pages.iter().flat_map(|page| page["items"].as_array().into_iter().flatten()).collect();
    let key = |item: &Value| {
        let part = |name: &str| item[name]["S"].as_str().unwrap_or_default().to_owned();
        (part("pk"), part("sk"))
    };
    let (mut seen, mut last) = (BTreeSet::new(), (String::new(), String::new()));
    let mut in_order = true;
    for item in &items {
        let key = key(item);
        in_order &= if key.0 == last.0 { last.1 < key.1 } else { seen.insert(key.0.clone()) };
        last = key;
    }
    let mut own: Vec<&Value> = items.into_iter().filter(|item| key(item).0.contains(&format!("#{prefix}"))).collect();
    own.sort_by_cached_key(|item| key(item));
    (own, in_order)
}

/// The answer to a transaction from an engine that has none: each write on its own, under its condition. Those of a
/// committed transaction must all succeed; of a cancelled one, each that failed must fail for the same reason.
async fn one_by_one(engine: &Engine, request: &Request, expected: &Value) -> Value {
    let writes = request.body["TransactItems"].as_array().into_iter().flatten().map(alone);
    if expected.get("error").is_none() {
        for write in writes.flatten() {
            let answer = engine.send(&write).await;
            if answer.get("error").is_some() || answer.get("failure").is_some() {
                return json!({"write": write.body, "answer": answer});
            }
        }
        return expected.clone();
    }
    let Some(reasons) = expected["about"].as_array() else { return expected.clone() };
    let mut found = Vec::new();
    for (write, reason) in writes.zip(reasons) {
        let Some(write) = write.filter(|_| reason["code"] != "None") else {
            found.push(reason.clone());
            continue;
        };
        let answer = engine.send(&write).await;
        let code = match answer["error"].as_str() {
            Some("ConditionalCheckFailedException") => "ConditionalCheckFailed",
            Some("ValidationException") => "ValidationError",
            Some(other) => other,
            None => "None",
        };
        found.push(json!({"code": code, "item": answer["about"]}));
    }
    json!({"error": expected["error"], "status": expected["status"], "about": found})
}

/// A write of a transaction as a request of its own; `None` for a check, which there is only in a transaction.
fn alone(write: &Value) -> Option<Request> {
    let request = |operation, body: &Value| Request { operation, body: body.clone() };
    let put = write.get("Put").map(|put| request("PutItem", put));
    put.or_else(|| Some(request("UpdateItem", write.get("Update")?)))
}
