//! Random sequences of the requests that `shared/records` sends: its expressions word for word, over few keys, so that
//! conditions hold and fail, and with values that engines tend to treat differently.

use serde_json::{Map, Value, json};

use crate::engine::Request;
use crate::random::Random;

pub(crate) const RECORDS: &str = "RecordsTable";
pub(crate) const COUNTS: &str = "SiteCountsTable";

/// The read of the stream of the Records table, which is several requests of another service.
pub(crate) const STREAM: &str = "Stream";

const PATIENTS: u64 = 2;
const SUBMISSIONS: u64 = 3;
const SHARDS: u64 = 2;

/// The sequence of `seed`, in partitions that begin with `prefix`. The same seed gives the same sequence.
pub fn generate(seed: u64, prefix: &str) -> Vec<Request> {
    let mut sequence = Sequence {
        random: Random::new(seed),
        prefix: prefix.to_owned(),
        sent: Vec::new(),
        tokens: 0,
        revisions: [0; PATIENTS as usize],
    };
    // Something is stored at first, so that conditions hold.
    let mut requests = vec![sequence.put_submission(), sequence.put_submission(), sequence.score()];
    let length = 6 + sequence.random.below(9);
    requests.extend((0..length).map(|_| sequence.next()));
    requests
}

/// The requests that read all that a sequence may have written: the tables, both indexes, and the stream.
pub fn contents() -> Vec<Request> {
    let scan = |body: Value| Request { operation: "Scan", body };
    vec![
        scan(json!({"TableName": RECORDS, "ConsistentRead": true})),
        scan(json!({"TableName": RECORDS, "IndexName": "site"})),
        scan(json!({"TableName": RECORDS, "IndexName": "pending"})),
        scan(json!({"TableName": COUNTS, "ConsistentRead": true})),
        Request { operation: STREAM, body: Value::Null },
    ]
}

struct Sequence {
    random: Random,
    prefix: String,
    /// The transactions so far that have a token.
    sent: Vec<Request>,
    tokens: u64,
    /// The revisions that the profiles have if all transactions so far were committed.
    revisions: [u64; PATIENTS as usize],
}

impl Sequence {
    /// A patient and the number of a submission, most often the first ones.
    fn place_of_submission(&mut self) -> (u64, u64) {
        let patient = if self.random.percent(80) { 0 } else { self.random.below(PATIENTS) };
        (patient, if self.random.percent(50) { 0 } else { self.random.below(SUBMISSIONS) })
    }

    fn next(&mut self) -> Request {
        match self.random.below(100) {
            0..12 => self.put_submission(),
            12..16 => self.put_alone(),
            16..20 => self.get(),
            20..38 => self.update_alert(),
            38..41 => self.quarantine_submission(),
            41..49 => self.query(),
            49..52 => self.batch_get(),
            52..53 => scan(self.random.below(4) + 1),
            53..71 => self.score(),
            71..76 => self.acknowledge(),
            76..78 => self.snooze(),
            78..83 => self.correct(),
            83..87 => self.put_study(),
            87..89 => self.count_calls(),
            89..91 => self.register(),
            91..94 => self.reevaluate(),
            94..96 => self.check_absent(),
            96..97 => self.put_draft(),
            97..99 => self.occurrence(),
            _ => self.repeat(),
        }
    }

    // Keys.

    fn key(&self, kind: &str) -> String {
        format!("{kind}{}", self.prefix)
    }

    fn patient(&self, patient: u64) -> String {
        self.key("PATIENT#") + &format!("#{patient}")
    }

    fn submission(&self, patient: u64, n: u64) -> Value {
        key(&self.patient(patient), &format!("SUBMISSION#{n}"))
    }

    fn alert(&self, patient: u64, n: u64, rule: u64) -> Value {
        key(&self.key("ALERTS#"), &format!("{n}-{patient}-{rule}"))
    }

    fn profile(&self, patient: u64) -> Value {
        key(&self.patient(patient), "PROFILE")
    }

    fn counter(&self, metric: &str, shard: u64) -> Value {
        json!({"pk": {"S": self.key("COUNT#") + &format!("#{metric}#{shard}")}})
    }

    fn site(&self, site: u64) -> String {
        self.key("SITE#") + &format!("#{site}")
    }

    fn list(&self, list: &str, shard: u64) -> String {
        format!("{list}#{}#{shard}", self.prefix)
    }

    fn any_list(&mut self, list: &str) -> Value {
        let shard = if self.random.percent(75) { 0 } else { self.random.below(SHARDS) };
        json!({"S": self.list(list, shard)})
    }

    // Values.

    /// A time in the fixed width by which texts sort. Two are practically never the same: the order of the items of an
    /// index that share their sort key is not defined.
    fn time(&mut self) -> Value {
        let second = self.random.below(60);
        json!({"S": format!("2026-11-23T08:00:{second:02}.{:09}Z", self.random.below(1_000_000_000))})
    }

    fn text(&mut self) -> Value {
        let long = "x".repeat(300);
        let texts = ["", "a", "A note", "línea\nsegunda", "日本語 🩺", "\u{0}\u{7f}", "#:=", "null", long.as_str()];
        json!({"S": self.random.one_of(&texts)})
    }

    fn number(&mut self) -> Value {
        const NUMBERS: [&str; 14] = [
            "0",
            "1",
            "-1",
            "27",
            "36.6",
            "36.60",
            "0.1",
            "-0.0",
            "100",
            "1e2",
            "9007199254740993",
            "0.000001",
            "12345678901234567890123456789.125",
            "-2.50",
        ];
        json!({"N": self.random.one_of(&NUMBERS)})
    }

    fn value(&mut self, depth: u64) -> Value {
        match self.random.below(if depth == 0 { 4 } else { 6 }) {
            0 => self.text(),
            1 => self.number(),
            2 => json!({"BOOL": self.random.percent(50)}),
            3 => json!({"NULL": true}),
            4 => {
                let list: Vec<Value> = (0..self.random.below(3)).map(|_| self.value(depth - 1)).collect();
                json!({"L": list})
            }
            _ => json!({"M": self.answers(depth - 1)}),
        }
    }

    fn answers(&mut self, depth: u64) -> Value {
        let names = ["1", "2", "10", "a", "name", "é", "a.b", "a b"];
        let answers = (0..self.random.below(4)).map(|_| (self.random.one_of(&names).to_owned(), self.value(depth)));
        Value::Object(answers.collect::<Map<_, _>>())
    }

    fn count(&mut self) -> Value {
        json!({"N": self.random.below(3).to_string()})
    }

    fn submission_item(&mut self, patient: u64, n: u64) -> Value {
        let mut item = self.submission(patient, n);
        let instrument = self.random.one_of(&["phq-9", "gad-7"]);
        let fields = json!({
            "kind": {"S": "submission"}, "id": {"S": n.to_string()}, "site": {"S": "S01"},
            "instrument": {"M": {"id": {"S": instrument}, "version": {"S": "1.0.0"}}},
            "answers": {"M": self.answers(2)}, "digest": self.text(), "effective_at": self.time(),
            "place": {"M": {"at": self.time(), "id": {"S": n.to_string()}}},
            "pending": self.any_list("PENDING"), "pending_since": self.time(),
        });
        extend(&mut item, fields);
        if self.random.percent(20) {
            extend(&mut item, json!({"amends": {"M": {"of": {"S": "0"}, "reason": self.text()}}}));
        }
        item
    }

    fn alert_item(&mut self, patient: u64, n: u64, rule: u64) -> Value {
        let mut item = self.alert(patient, n, rule);
        let fields = json!({
            "kind": {"S": "alert"}, "status": {"S": "PENDING"}, "raised_at": self.time(), "value": self.number(),
            "pending": self.any_list("PENDING"), "pending_since": self.time(),
            "site_key": {"S": self.key("ALERTS#")}, "site_sort": {"S": format!("{}#{n}-{patient}-{rule}", 3 - rule)},
        });
        extend(&mut item, fields);
        item
    }

    /// The mark of an open alert in a profile, of a few.
    fn mark(&mut self) -> Value {
        json!(self.random.one_of(&["YwAAAAAAAAAAAAAAAQ==", "dwAAAAAAAAAAAAAAAg==", "aQAAAAAAAAAAAAAAAw=="]))
    }

    fn audit_item(&mut self) -> Value {
        let time = self.time();
        let mut item = key(&self.key("AUDIT#"), time["S"].as_str().unwrap_or_default());
        extend(&mut item, json!({"kind": {"S": "audit"}, "reason": self.text()}));
        item
    }

    // Requests.

    fn put_submission(&mut self) -> Request {
        let (patient, n) = self.place_of_submission();
        let item = self.submission_item(patient, n);
        put(put_if_absent(item, true))
    }

    /// What is put on its own: audit entries, quarantined records, the key of cursors, the position of `reconcile`.
    fn put_alone(&mut self) -> Request {
        let mut item = match self.random.below(4) {
            0 => self.audit_item(),
            1 => key(&self.key("QUARANTINE#"), &self.random.below(2).to_string()),
            2 => {
                let mut item = key(&self.key("KEY#"), "KEY");
                extend(&mut item, json!({"secret": self.text()}));
                return put(put_if_absent(item, true));
            }
            _ => {
                let mut item = key(&self.key("KEY#"), "POSITION");
                let after = self.random.below(3);
                extend(&mut item, json!({"revision": {"N": (after + 1).to_string()}, "at": self.text()}));
                if after > 0 {
                    return put(json!({
                        "TableName": RECORDS, "Item": item, "ConditionExpression": "revision = :after",
                        "ExpressionAttributeValues": {":after": {"N": after.to_string()}},
                        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
                    }));
                }
                return put(put_if_absent(item, true));
            }
        };
        extend(&mut item, json!({"payload": {"M": self.answers(2)}}));
        put(put_if_absent(item, false))
    }

    fn get(&mut self) -> Request {
        let (patient, n) = self.place_of_submission();
        let body = match self.random.below(7) {
            0 => json!({"TableName": RECORDS, "Key": self.submission(patient, n), "ConsistentRead": true}),
            // Whether there is a plan, and for which schedules.
            5 if n % 2 == 0 => {
                json!({"TableName": RECORDS, "Key": key(&self.patient(patient), "PLAN"), "ProjectionExpression": "pk"})
            }
            5 => json!({
                "TableName": RECORDS, "Key": key(&self.patient(patient), "PLAN"), "ConsistentRead": true,
                "ProjectionExpression": "positions",
            }),
            1 => json!({
                "TableName": RECORDS, "Key": self.submission(patient, n), "ConsistentRead": true,
                "ProjectionExpression": "id, instrument, effective_at, #place, amended_by",
                "ExpressionAttributeNames": {"#place": "place"},
            }),
            2 => json!({"TableName": RECORDS, "Key": self.alert(patient, n, 0), "ConsistentRead": true}),
            3 => json!({"TableName": RECORDS, "Key": self.profile(patient), "ConsistentRead": true}),
            // Study and start-up reads need not be consistent.
            4 => json!({"TableName": RECORDS, "Key": key(&self.key("STUDY#"), "CURRENT")}),
            _ => json!({"TableName": COUNTS, "Key": self.counter("scored", 0)}),
        };
        Request { operation: "GetItem", body }
    }

    /// What publishing, escalation and the sweep do with an alert.
    fn update_alert(&mut self) -> Request {
        let ((patient, n), rule) = (self.place_of_submission(), self.random.below(2));
        let (at, message, step) = (self.time(), self.text(), self.count());
        let (pending, open, quarantine) =
            (self.any_list("PENDING"), self.any_list("OPEN"), self.any_list("QUARANTINE"));
        // Most alerts are not snoozed.
        let snoozes = self.random.one_of(&["attribute_not_exists(snoozes)", "size(snoozes) = :snoozes"]);
        let is_open = format!("pending = :open AND attribute_not_exists(acknowledged_at) AND {snoozes}");
        let (set, condition, values) = match self.random.below(13) {
            0 | 1 => (
                "SET #status = :sent, sent_at = :at, message_id = :message, pending = :open, pending_since = :now",
                "attribute_exists(pk) AND #status = :pending".to_owned(),
                json!({":sent": {"S": "SENT"}, ":pending": {"S": "PENDING"}, ":at": at, ":message": message,
                    ":open": open, ":now": self.time()}),
            ),
            2 => (
                "SET #status = :sent, sent_at = :at, message_id = :message REMOVE pending, pending_since",
                "attribute_exists(pk) AND #status = :pending".to_owned(),
                json!({":sent": {"S": "SENT"}, ":pending": {"S": "PENDING"}, ":at": at, ":message": message}),
            ),
            3 => (
                "SET sent_at = :at, message_id = :message REMOVE pending, pending_since",
                "#status = :acknowledged AND attribute_not_exists(sent_at)".to_owned(),
                json!({":acknowledged": {"S": "ACKNOWLEDGED"}, ":at": at, ":message": message}),
            ),
            4 => (
                "SET escalated_at = :at, escalation_message_id = :message, pending = :open, pending_since = :now",
                "escalation = :step AND pending = :listed".to_owned(),
                json!({":at": at, ":message": message, ":open": open, ":now": self.time(), ":step": step,
                    ":listed": pending}),
            ),
            5 => (
                "SET escalation = :next, pending = :pending, pending_since = :at",
                format!("{is_open} AND attribute_not_exists(escalation)"),
                json!({":next": {"N": "1"}, ":pending": pending, ":at": at, ":open": open}),
            ),
            6 => (
                "SET escalation = :next, pending = :pending, pending_since = :at",
                format!("{is_open} AND escalation = :step"),
                json!({":next": {"N": "2"}, ":pending": pending, ":at": at, ":open": open, ":step": step}),
            ),
            7 => (
                "SET pending_since = :due",
                format!("{is_open} AND attribute_not_exists(escalation)"),
                json!({":due": at, ":open": open}),
            ),
            8 => (
                "SET pending_since = :due",
                format!("{is_open} AND escalation = :step"),
                json!({":due": at, ":open": open, ":step": step}),
            ),
            9 => (
                "SET exhausted_at = :at REMOVE pending, pending_since",
                format!("{is_open} AND escalation = :step"),
                json!({":at": at, ":open": open, ":step": step}),
            ),
            10 => (
                "SET pending = :quarantine",
                "pending = :list".to_owned(),
                json!({":quarantine": quarantine, ":list": pending}),
            ),
            11 => (
                "REMOVE pending, pending_since",
                "pending = :list AND attribute_exists(acknowledged_at) AND attribute_exists(sent_at)".to_owned(),
                json!({":list": pending}),
            ),
            _ => ("REMOVE pending, pending_since", "pending = :list".to_owned(), json!({":list": open})),
        };
        let mut body = json!({
            "TableName": RECORDS, "Key": self.alert(patient, n, rule), "UpdateExpression": set,
            "ConditionExpression": condition, "ExpressionAttributeValues": values,
        });
        if condition.contains(":snoozes") {
            extend(&mut body["ExpressionAttributeValues"], json!({":snoozes": {"N": "1"}}));
        }
        if set.contains("#status") || condition.contains("#status") {
            extend(&mut body, json!({"ExpressionAttributeNames": {"#status": "status"}}));
        }
        Request { operation: "UpdateItem", body }
    }

    fn quarantine_submission(&mut self) -> Request {
        let (patient, n) = self.place_of_submission();
        let key = self.submission(patient, n);
        let body = json!({
            "TableName": RECORDS, "Key": key, "UpdateExpression": "SET pending = :quarantine",
            "ConditionExpression": "kind = :submission AND attribute_exists(pending)",
            "ExpressionAttributeValues":
                {":quarantine": self.any_list("QUARANTINE"), ":submission": {"S": "submission"}},
        });
        Request { operation: "UpdateItem", body }
    }

    fn items_of_patient(&self, patient: u64) -> Request {
        query(json!({
            "TableName": RECORDS, "ConsistentRead": true,
            "KeyConditionExpression": "pk = :pk",
            "ExpressionAttributeValues": {":pk": {"S": self.patient(patient)}},
        }))
    }

    /// As [`items_of_patient`](Self::items_of_patient), without occurrences and their plan.
    fn data_of_patient(&self, patient: u64) -> Value {
        let mut body = self.items_of_patient(patient).body;
        extend(&mut body, json!({"KeyConditionExpression": "pk = :pk AND sk BETWEEN :first AND :last"}));
        extend(
            &mut body["ExpressionAttributeValues"],
            json!({":first": {"S": "PLAN~"}, ":last": {"S": "SUBMISSION#~"}}),
        );
        body
    }

    fn query(&mut self) -> Request {
        let patient = self.random.below(PATIENTS);
        let mut body = match self.random.below(16) {
            0 => self.items_of_patient(patient).body,
            1 => {
                let mut body = self.data_of_patient(patient);
                extend(
                    &mut body,
                    json!({
                        "FilterExpression": "#kind = :profile OR #kind = :registration \
                            OR #effective_at BETWEEN :from AND :until OR #place.#at BETWEEN :from AND :until \
                            OR #opens BETWEEN :from AND :until",
                        "ProjectionExpression": "#kind, #place, #effective_at, #at, #opens",
                        "ExpressionAttributeNames": {"#kind": "kind", "#effective_at": "effective_at",
                            "#place": "place", "#at": "at", "#opens": "opens"},
                    }),
                );
                let (a, b) = (self.time(), self.time());
                let (from, until) = if a["S"].as_str() <= b["S"].as_str() { (a, b) } else { (b, a) };
                extend(
                    &mut body["ExpressionAttributeValues"],
                    json!({":profile": {"S": "profile"}, ":registration": {"S": "registration"},
                        ":first": {"S": "OCCURRENCE#"}, ":from": from, ":until": until}),
                );
                body
            }
            2 => json!({
                "TableName": RECORDS, "ConsistentRead": true, "ScanIndexForward": false,
                "KeyConditionExpression": "pk = :pk", "ExpressionAttributeValues": {":pk": {"S": self.key("AUDIT#")}},
            }),
            3 => json!({
                "TableName": RECORDS, "ConsistentRead": true, "ScanIndexForward": false,
                "KeyConditionExpression": "pk = :pk AND sk < :below",
                "ExpressionAttributeValues": {":pk": {"S": self.key("AUDIT#")}, ":below": self.time()},
            }),
            4 => json!({
                "TableName": RECORDS, "IndexName": "site",
                "KeyConditionExpression": "site_key = :site AND site_sort BETWEEN :from AND :to",
                "ExpressionAttributeValues": {
                    ":site": {"S": self.site(0)}, ":from": {"S": "PATIENT#"}, ":to": {"S": "PATIENT#~"},
                },
            }),
            5 => json!({
                "TableName": RECORDS, "IndexName": "site",
                "KeyConditionExpression": "site_key = :site AND site_sort BETWEEN :from AND :to",
                "ExpressionAttributeValues": {
                    ":site": {"S": self.site(0)}, ":from": {"S": "PATIENT#0 "}, ":to": {"S": "PATIENT#~"},
                },
            }),
            6 => json!({
                "TableName": RECORDS, "ConsistentRead": true, "ScanIndexForward": false,
                "KeyConditionExpression": "pk = :alerts AND sk < :below",
                "ExpressionAttributeValues": {":alerts": {"S": self.key("ALERTS#")}, ":below": {"S": "~"}},
            }),
            12 => json!({
                "TableName": RECORDS, "IndexName": "site", "ScanIndexForward": false,
                "KeyConditionExpression": "site_key = :alerts AND site_sort < :below",
                "ExpressionAttributeValues": {
                    ":alerts": {"S": self.key("ALERTS#")}, ":below": {"S": self.random.one_of(&["~", "3#~", "2#~", "3#0-0-0"])},
                },
            }),
            // A report reads all alerts of a site; `verify` a part of a partition, and the versions of a study.
            7 => json!({
                "TableName": RECORDS, "ConsistentRead": true, "KeyConditionExpression": "pk = :pk",
                "ExpressionAttributeValues": {":pk": {"S": self.key("ALERTS#")}},
            }),
            8 => json!({
                "TableName": RECORDS, "ConsistentRead": true,
                "KeyConditionExpression": "pk = :pk AND sk BETWEEN :from AND :until",
                "FilterExpression": "#action = :action", "ExpressionAttributeNames": {"#action": "reason"},
                "ExpressionAttributeValues": {
                    ":pk": {"S": self.key("AUDIT#")}, ":from": {"S": "2026-11-23T08:00:1"}, ":until": {"S": "3"},
                    ":action": self.text(),
                },
            }),
            9 => json!({
                "TableName": RECORDS, "ConsistentRead": true,
                "KeyConditionExpression": "pk = :study AND begins_with(sk, :version)",
                "ExpressionAttributeValues": {":study": {"S": self.key("STUDY#")}, ":version": {"S": "1"}},
            }),
            // Whole, and without the items.
            10 => {
                return query(json!({
                    "TableName": RECORDS, "IndexName": "pending", "Select": "COUNT",
                    "KeyConditionExpression": "pending = :list",
                    "ExpressionAttributeValues": {":list": self.any_list("OPEN")},
                }));
            }
            // The registry asks when a patient's submissions were received.
            11 => {
                let mut body = self.data_of_patient(patient);
                extend(
                    &mut body,
                    json!({
                        "FilterExpression": "#kind = :submission", "ProjectionExpression": "received_at",
                        "ExpressionAttributeNames": {"#kind": "kind"},
                    }),
                );
                extend(&mut body["ExpressionAttributeValues"], json!({":submission": {"S": "submission"}}));
                body
            }
            // Occurrences from a number on, or the last ones; and what may answer them.
            13 => {
                let mut body = self.data_of_patient(patient);
                extend(
                    &mut body["ExpressionAttributeValues"],
                    json!({":first": {"S": "OCCURRENCE#daily#0001"}, ":last": {"S": "OCCURRENCE#daily#~"}}),
                );
                match self.random.below(3) {
                    0 => extend(&mut body, json!({"ScanIndexForward": false})),
                    1 => extend(
                        &mut body,
                        json!({
                            "ProjectionExpression": "#site, #instrument, #opens, #state, #late",
                            "ExpressionAttributeNames": {"#site": "site", "#instrument": "instrument", "#opens": "opens",
                                "#state": "state", "#late": "late"},
                        }),
                    ),
                    _ => {}
                }
                body
            }
            14 => {
                let mut body = self.data_of_patient(patient);
                extend(
                    &mut body,
                    json!({
                        "FilterExpression": "#kind = :submission AND attribute_not_exists(amends)",
                        "ProjectionExpression": "id, instrument, effective_at, received_at",
                        "ExpressionAttributeNames": {"#kind": "kind"},
                    }),
                );
                extend(&mut body["ExpressionAttributeValues"], json!({":submission": {"S": "submission"}}));
                body
            }
            _ => json!({
                "TableName": RECORDS, "IndexName": "pending",
                "KeyConditionExpression": "pending = :list AND pending_since < :before",
                "ExpressionAttributeValues": {":list": self.any_list("PENDING"), ":before": self.time()},
            }),
        };
        // All other queries of the functions have a limit; a short one makes pages.
        extend(&mut body, json!({"Limit": self.random.one_of(&[1, 2, 3, 25, i32::MAX])}));
        query(body)
    }

    fn batch_get(&mut self) -> Request {
        if self.random.percent(30) {
            let keys = (0..SHARDS).map(|shard| self.counter("scored", shard)).collect();
            return batch_get(COUNTS, keys);
        }
        let patient = self.random.below(PATIENTS);
        let mut keys = vec![self.profile(patient)];
        keys.extend((0..1 + self.random.below(SUBMISSIONS)).map(|n| self.submission(patient, n)));
        batch_get(RECORDS, keys)
    }

    /// The transaction that scores some submissions of one patient.
    fn score(&mut self) -> Request {
        let (patient, first) = self.place_of_submission();
        let mut writes = Vec::new();
        for n in first..SUBMISSIONS.min(first + 1 + self.random.below(2)) {
            let not_amended = if self.random.percent(70) { " AND attribute_not_exists(amended_by)" } else { "" };
            writes.push(json!({"Update": {
                "TableName": RECORDS, "Key": self.submission(patient, n),
                "UpdateExpression": "SET score = :score, scored_at = :at REMOVE pending, pending_since",
                "ConditionExpression":
                    format!("attribute_exists(pk) AND attribute_not_exists(scored_at){not_amended}"),
                "ExpressionAttributeValues": {":score": {"M": self.answers(2)}, ":at": self.time()},
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }}));
            for rule in 0..self.random.one_of(&[0, 1, 2, 2]) {
                let alert = self.alert_item(patient, n, rule);
                writes.push(json!({"Put": put_if_absent(alert, false)}));
            }
        }
        writes.push(self.put_profile(patient));
        writes.push(self.add_counts());
        self.transaction(writes, true)
    }

    fn put_profile(&mut self, patient: u64) -> Value {
        let revision = self.revisions.get(patient as usize).copied().unwrap_or_default();
        let read = if self.random.percent(80) { revision } else { self.random.below(3) };
        if let Some(known) = self.revisions.get_mut(patient as usize).filter(|known| **known == read) {
            *known += 1;
        }
        let site = self.random.one_of(&[0, 0, 0, 1]);
        let mut attributes = json!({
            "kind": {"S": "profile"}, "site_key": {"S": self.site(site)},
            "site_sort": {"S": format!("PATIENT#{patient}")}, "courses": {"M": self.answers(2)},
            "open_alerts": self.count(), "revision": {"N": (read + 1).to_string()},
        });
        if self.random.percent(60) {
            let mark = self.mark();
            extend(&mut attributes, json!({"open_marks": {"BS": [mark]}}));
        }
        let marked = self.random.percent(30);
        if marked {
            let list = self.any_list("PENDING");
            extend(&mut attributes, json!({"pending": list, "pending_since": self.time()}));
        }
        let mut item = self.profile(patient);
        extend(&mut item, attributes);
        let mut put = json!({"TableName": RECORDS, "Item": item, "ConditionExpression": "attribute_not_exists(pk)"});
        if read > 0 {
            extend(&mut put, revision_is(read));
        }
        json!({"Put": put})
    }

    fn add_counts(&mut self) -> Value {
        let attributes = ["submissions", "alerts", "instrument#phq-9"];
        let attributes = &attributes[..1 + usize::from(self.random.percent(60)) + usize::from(self.random.percent(60))];
        let shard = self.random.below(SHARDS);
        let (mut clauses, mut names, mut values) = (Vec::new(), Map::new(), Map::new());
        for (i, name) in attributes.iter().enumerate() {
            clauses.push(format!("#{i} :{i}"));
            names.insert(format!("#{i}"), json!(name));
            values.insert(format!(":{i}"), json!({"N": (1 + self.random.below(25)).to_string()}));
        }
        json!({"Update": {
            "TableName": COUNTS, "Key": self.counter("scored", shard),
            "UpdateExpression": format!("ADD {}", clauses.join(", ")),
            "ExpressionAttributeNames": names, "ExpressionAttributeValues": values,
        }})
    }

    fn count_calls(&mut self) -> Request {
        let shards = 1 + self.random.below(SHARDS);
        let writes = (0..shards).map(|shard| {
            json!({"Update": {
                "TableName": COUNTS, "Key": self.counter("api_calls", shard), "UpdateExpression": "ADD #n :calls",
                "ExpressionAttributeNames": {"#n": "api_calls"}, "ExpressionAttributeValues": {":calls": self.count()},
            }})
        });
        let writes = writes.collect();
        self.transaction(writes, true)
    }

    fn acknowledge(&mut self) -> Request {
        let ((patient, n), rule) = (self.place_of_submission(), self.random.below(2));
        let alert = self.alert(patient, n, rule);
        let mut writes = Vec::new();
        if self.random.percent(60) {
            let noted = self.random.percent(50);
            let mut values =
                json!({":acknowledged": {"S": "ACKNOWLEDGED"}, ":by": {"S": "dr-chen"}, ":at": self.time()});
            if noted {
                extend(&mut values, json!({":note": self.text()}));
            }
            let note = if noted { ", note = :note" } else { "" };
            writes.push(json!({"Update": {
                "TableName": RECORDS, "Key": alert,
                "UpdateExpression":
                    format!("SET #status = :acknowledged, acknowledged_by = :by, acknowledged_at = :at{note} \
                             REMOVE site_key, site_sort"),
                "ConditionExpression": "attribute_exists(pk) AND attribute_not_exists(acknowledged_at)",
                "ExpressionAttributeNames": {"#status": "status"}, "ExpressionAttributeValues": values,
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }}));
            if self.random.percent(70) {
                let mark = self.mark();
                writes.push(json!({"Update": {
                    "TableName": RECORDS, "Key": self.profile(patient),
                    "UpdateExpression":
                        "SET open_alerts = open_alerts - :one, #revision = #revision + :one DELETE open_marks :mark",
                    "ConditionExpression": "open_alerts >= :one",
                    "ExpressionAttributeNames": {"#revision": "revision"},
                    "ExpressionAttributeValues": {":one": {"N": "1"}, ":mark": {"BS": [mark]}},
                }}));
            }
        } else {
            let known = self.random.below(3);
            let mut values = json!({":none": {"L": []}, ":one": {"L": [{"M": self.answers(1)}]}});
            let condition = match known {
                0 => "attribute_exists(acknowledged_at) AND attribute_not_exists(#later)",
                _ => {
                    extend(&mut values, json!({":known": {"N": known.to_string()}}));
                    "size(#later) = :known"
                }
            };
            writes.push(json!({"Update": {
                "TableName": RECORDS, "Key": alert, "ConditionExpression": condition,
                "UpdateExpression": "SET #later = list_append(if_not_exists(#later, :none), :one)",
                "ExpressionAttributeNames": {"#later": "later"}, "ExpressionAttributeValues": values,
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }}));
        }
        writes.push(json!({"Put": put_if_absent(self.audit_item(), false)}));
        self.transaction(writes, true)
    }

    /// The transaction that snoozes an alert.
    fn snooze(&mut self) -> Request {
        let ((patient, n), rule) = (self.place_of_submission(), self.random.below(2));
        let mut values = json!({":none": {"L": []}, ":one": {"L": [{"M": self.answers(1)}]}});
        let (mut condition, mut due) =
            ("attribute_exists(pk) AND attribute_not_exists(acknowledged_at)".to_owned(), "");
        if self.random.percent(70) {
            let list = self.random.one_of(&["OPEN", "PENDING"]);
            extend(&mut values, json!({":list": self.any_list(list)}));
            condition += " AND pending = :list";
            if list == "OPEN" {
                due = ", pending_since = :until";
                extend(&mut values, json!({":until": self.time()}));
            }
        } else {
            condition += " AND attribute_not_exists(pending)";
        }
        match self.random.below(3) {
            0 => condition += " AND attribute_not_exists(snoozes)",
            known => {
                condition += " AND size(snoozes) = :known";
                extend(&mut values, json!({":known": {"N": known.to_string()}}));
            }
        }
        let update = json!({"Update": {
            "TableName": RECORDS, "Key": self.alert(patient, n, rule), "ConditionExpression": condition,
            "UpdateExpression": format!("SET snoozes = list_append(if_not_exists(snoozes, :none), :one){due}"),
            "ExpressionAttributeValues": values, "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }});
        let entry = json!({"Put": put_if_absent(self.audit_item(), false)});
        self.transaction(vec![update, entry], true)
    }

    fn correct(&mut self) -> Request {
        let (patient, n) = self.place_of_submission();
        let instrument = self.random.one_of(&["phq-9", "phq-9", "gad-7"]);
        let correction = self.submission_item(patient, n + 1);
        let writes = vec![
            json!({"Put": put_if_absent(correction, true)}),
            json!({"Update": {
                "TableName": RECORDS, "Key": self.submission(patient, n),
                "UpdateExpression": "SET amended_by = :correction",
                "ConditionExpression": "instrument.id = :instrument AND attribute_not_exists(amended_by)",
                "ExpressionAttributeValues":
                    {":correction": {"S": (n + 1).to_string()}, ":instrument": {"S": instrument}},
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }}),
            json!({"Put": put_if_absent(self.audit_item(), false)}),
        ];
        self.transaction(writes, false)
    }

    /// A change of a registration, with the entry of the index that is always written the same.
    fn register(&mut self) -> Request {
        let (patient, read) = (self.random.below(PATIENTS), self.random.below(3));
        if self.random.percent(25) {
            return self.roll_out(read + 1);
        }
        let mut item = key(&self.patient(patient), "REGISTRATION");
        extend(&mut item, json!({"kind": {"S": "registration"}, "revision": {"N": (read + 1).to_string()}}));
        let mut registration =
            json!({"TableName": RECORDS, "Item": item, "ConditionExpression": "attribute_not_exists(pk)"});
        if read > 0 {
            extend(&mut registration, revision_is(read));
        }
        // Under a site that no query asks for: the order of items that share their place in an index is not defined.
        let mut entry = key(&self.patient(patient), "SITE#2");
        extend(
            &mut entry,
            json!({"kind": {"S": "site-entry"}, "site_key": {"S": self.site(2)},
                "site_sort": {"S": format!("PATIENT#{patient}")}}),
        );
        let writes = vec![
            json!({"Put": registration}),
            json!({"Put": put_if_absent(self.audit_item(), false)}),
            json!({"Put": {"TableName": RECORDS, "Item": entry}}),
            json!({"Update": self.mark_plan(patient)}),
        ];
        self.transaction(writes, false)
    }

    /// A step of a rollout, which marks plans.
    fn roll_out(&mut self, read: u64) -> Request {
        let mut step = json!({"TableName": RECORDS, "Item": self.rollout(read)});
        extend(&mut step, revision_is(read));
        let patients = (0..PATIENTS).filter(|_| self.random.percent(50)).collect::<Vec<_>>();
        let marks = patients.into_iter().map(|patient| json!({"Update": self.mark_plan(patient)}));
        let writes = std::iter::once(json!({"Put": step})).chain(marks).collect();
        self.transaction(writes, false)
    }

    /// The mark that the plan of `patient` is to be made again, whether there is one or not.
    fn mark_plan(&mut self, patient: u64) -> Value {
        let list = self.any_list("DUE");
        let mut mark = json!({
            "TableName": RECORDS, "Key": key(&self.patient(patient), "PLAN"),
            "UpdateExpression": "SET #kind = :plan, #changed = :at, #pending = :list, #since = :at ADD #revision :one",
            "ExpressionAttributeNames": {"#kind": "kind", "#changed": "changed_at", "#pending": "pending",
                "#since": "pending_since", "#revision": "revision"},
            "ExpressionAttributeValues": {":plan": {"S": "plan"}, ":at": self.time(), ":list": list, ":one": {"N": "1"}},
        });
        if self.random.percent(30) {
            mark["UpdateExpression"] = json!(
                "SET #kind = :plan, #changed = if_not_exists(#changed, :at), #pending = :list, #since = :at, #for = :version ADD #revision :one"
            );
            extend(&mut mark["ExpressionAttributeNames"], json!({"#for": "for_version"}));
            extend(&mut mark["ExpressionAttributeValues"], json!({":version": {"S": "1.0.0"}}));
        }
        mark
    }

    /// What is done with occurrences and their plan, some of which is of the same item.
    fn occurrence(&mut self) -> Request {
        let (patient, read) = (self.random.below(PATIENTS), self.random.below(3));
        let sort = self.random.one_of(&["PLAN", "OCCURRENCE#daily#0001", "OCCURRENCE#daily#0002"]);
        let mut item = key(&self.patient(patient), sort);
        extend(&mut item, json!({"kind": {"S": "occurrence"}, "revision": {"N": (read + 1).to_string()}}));
        if self.random.percent(60) {
            let list = self.any_list("DUE");
            extend(&mut item, json!({"pending": list, "pending_since": self.time()}));
        }
        let mut put_item =
            json!({"TableName": RECORDS, "Item": item, "ConditionExpression": "attribute_not_exists(pk)"});
        if read > 0 {
            extend(&mut put_item, revision_is(read));
        }
        if self.random.percent(50) {
            return put(put_item);
        }
        let mark = self.mark();
        let mut writes = vec![
            json!({"Put": put_item}),
            json!({"Update": {
                "TableName": RECORDS, "Key": self.profile(patient),
                "UpdateExpression":
                    "SET open_alerts = open_alerts + :one, #revision = #revision + :one ADD open_marks :mark",
                "ConditionExpression": "attribute_exists(pk)",
                "ExpressionAttributeNames": {"#revision": "revision"},
                "ExpressionAttributeValues": {":one": {"N": "1"}, ":mark": {"BS": [mark]}},
            }}),
            self.add_counts(),
        ];
        // The windows before it that its alert counts.
        let counted = ["OCCURRENCE#daily#0002", "OCCURRENCE#daily#0001"].into_iter().filter(|counted| *counted != sort);
        for counted in counted.take(self.random.below(3) as usize) {
            let mut check = json!({"TableName": RECORDS, "Key": key(&self.patient(patient), counted)});
            extend(&mut check, revision_is(self.random.below(2)));
            writes.push(json!({"ConditionCheck": check}));
        }
        self.transaction(writes, false)
    }

    /// A put of a draft, anew or in place of one, whose time may be over.
    fn put_draft(&mut self) -> Request {
        let mut item = key(&self.key("DRAFT#"), &self.random.below(3).to_string());
        let tags = ["AAAA", "AQEB"];
        let (etag, digest) = (self.random.one_of(&tags), self.random.one_of(&tags));
        extend(
            &mut item,
            json!({"kind": {"S": "draft"}, "content": self.text(), "etag": {"B": etag}, "digest": {"B": digest},
                "expires_at": self.count()}),
        );
        let mut values = json!({":now": self.count()});
        let mut names = json!({"#expires_at": "expires_at"});
        let condition = if self.random.percent(40) {
            "attribute_not_exists(pk) OR #expires_at <= :now"
        } else {
            extend(&mut names, json!({"#etag": "etag", "#digest": "digest"}));
            extend(&mut values, json!({":etag": {"B": self.random.one_of(&tags)}, ":digest": {"B": digest}}));
            "#etag = :etag AND #digest <> :digest AND #expires_at > :now"
        };
        put(json!({
            "TableName": RECORDS, "Item": item, "ConditionExpression": condition, "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": values, "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }))
    }

    fn put_study(&mut self) -> Request {
        let version = self.random.below(3).to_string();
        let mut writes = Vec::new();
        if self.random.percent(30) {
            let mut instrument = key(&self.key("INSTRUMENT#"), &version);
            extend(&mut instrument, json!({"definition": self.text()}));
            writes.push(json!({"Put": put_if_absent(instrument, true)}));
        } else {
            let (mut stored, mut current) = (key(&self.key("STUDY#"), &version), key(&self.key("STUDY#"), "CURRENT"));
            extend(&mut stored, json!({"rank": {"S": version}, "definition": self.text()}));
            extend(&mut current, json!({"rank": {"S": version}, "definition": self.text()}));
            writes.push(json!({"Put": put_if_absent(stored, true)}));
            writes.push(json!({"Put": {
                "TableName": RECORDS, "Item": current,
                "ConditionExpression": "attribute_not_exists(pk) OR #rank <= :rank",
                "ExpressionAttributeNames": {"#rank": "rank"}, "ExpressionAttributeValues": {":rank": {"S": version}},
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }}));
        }
        let is_study = writes.len() == 2;
        writes.push(json!({"Put": put_if_absent(self.audit_item(), false)}));
        if is_study {
            writes.push(json!({"Put": {"TableName": RECORDS, "Item": self.rollout(0)}}));
        }
        self.transaction(writes, false)
    }

    /// A rollout with the revision after `read`.
    fn rollout(&mut self, read: u64) -> Value {
        let mut item = key(&self.key("ROLLOUT#"), "ROLLOUT");
        extend(&mut item, json!({"kind": {"S": "rollout"}, "revision": {"N": (read + 1).to_string()}}));
        item
    }

    fn reevaluate(&mut self) -> Request {
        let (patient, n) = self.place_of_submission();
        let mut writes = Vec::new();
        if self.random.percent(40) {
            let alert = self.alert_item(patient, n, 1);
            writes.push(json!({"Put": put_if_absent(alert, false)}));
        }
        if self.random.percent(50) {
            writes.push(json!({"Update": {
                "TableName": RECORDS, "Key": self.alert(patient, n, 0),
                "UpdateExpression": "SET corrected = :corrected, superseded = :superseded",
                "ConditionExpression": "attribute_exists(pk)",
                "ExpressionAttributeValues":
                    {":corrected": {"BOOL": self.random.percent(50)}, ":superseded": {"BOOL": true}},
            }}));
        }
        if self.random.percent(50) {
            writes.push(json!({"Update": {
                "TableName": RECORDS, "Key": self.submission(patient, n),
                "UpdateExpression": "SET #score.#alerts = :alerts, #score.#not_evaluated = :not_evaluated",
                "ConditionExpression": "attribute_exists(scored_at)",
                "ExpressionAttributeNames":
                    {"#score": "score", "#alerts": "alerts", "#not_evaluated": "not_evaluated"},
                "ExpressionAttributeValues":
                    {":alerts": {"L": [self.value(1)]}, ":not_evaluated": {"L": [{"M": self.answers(1)}]}},
            }}));
        }
        writes.push(self.put_profile(patient));
        if self.random.percent(40) {
            writes.push(self.add_counts());
        }
        self.transaction(writes, true)
    }

    /// The transaction that makes sure of what an evaluation has not read: that some submissions of one patient have no
    /// score, or that alerts named by them are not stored.
    fn check_absent(&mut self) -> Request {
        let (patient, first) = self.place_of_submission();
        let last = SUBMISSIONS.min(first + 1 + self.random.below(2));
        let of_alerts = self.random.percent(50);
        let checks = (first..last).map(|n| {
            let (key, attribute) =
                if of_alerts { (self.alert(patient, n, 0), "pk") } else { (self.submission(patient, n), "scored_at") };
            json!({"ConditionCheck": {
                "TableName": RECORDS, "Key": key,
                "ConditionExpression": format!("attribute_not_exists({attribute})"),
            }})
        });
        let checks = checks.collect();
        self.transaction(checks, false)
    }

    /// `writes` as one transaction. One without a token of the functions gets a random one of the SDK.
    fn transaction(&mut self, writes: Vec<Value>, has_token: bool) -> Request {
        let mut body = json!({"TransactItems": writes});
        if has_token {
            self.tokens += 1;
            extend(&mut body, json!({"ClientRequestToken": format!("{}-{}", self.prefix, self.tokens)}));
        }
        let request = Request { operation: "TransactWriteItems", body };
        if has_token {
            self.sent.push(request.clone());
        }
        request
    }

    /// An earlier transaction again, under its token: unchanged, as after a lost answer, or with another content, which
    /// no function does.
    fn repeat(&mut self) -> Request {
        let Some(last) = self.sent.len().checked_sub(1) else { return self.count_calls() };
        let at = if self.random.percent(50) { last } else { self.random.below(self.sent.len() as u64) as usize };
        let mut request = self.sent[at].clone();
        if self.random.percent(20) {
            let other = self.count_calls();
            if other.body["TransactItems"] != request.body["TransactItems"] {
                request.body["TransactItems"] = other.body["TransactItems"].clone();
            }
        }
        request
    }
}

fn key(pk: &str, sk: &str) -> Value {
    json!({"pk": {"S": pk}, "sk": {"S": sk}})
}

fn put(body: Value) -> Request {
    Request { operation: "PutItem", body }
}

fn query(body: Value) -> Request {
    Request { operation: "Query", body }
}

/// A read of the whole table in pages of `limit` items, as `verify` reads it.
pub(crate) fn scan(limit: u64) -> Request {
    let body = json!({"TableName": RECORDS, "ConsistentRead": true, "Limit": limit});
    Request { operation: "Scan", body }
}

fn batch_get(table: &str, keys: Vec<Value>) -> Request {
    let body = json!({"RequestItems": {table: {"Keys": keys, "ConsistentRead": true}}});
    Request { operation: "BatchGetItem", body }
}

/// The condition of a put that replaces what was read with the revision `read`.
fn revision_is(read: u64) -> Value {
    json!({
        "ConditionExpression": "#revision = :read", "ExpressionAttributeNames": {"#revision": "revision"},
        "ExpressionAttributeValues": {":read": {"N": read.to_string()}},
    })
}

fn put_if_absent(item: Value, old: bool) -> Value {
    let mut put = json!({"TableName": RECORDS, "Item": item, "ConditionExpression": "attribute_not_exists(pk)"});
    if old {
        extend(&mut put, json!({"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}));
    }
    put
}

fn extend(object: &mut Value, more: Value) {
    if let (Some(object), Value::Object(more)) = (object.as_object_mut(), more) {
        object.extend(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_sequence_again() {
        assert_eq!(generate(7, "x"), generate(7, "x"));
        assert_ne!(generate(7, "x"), generate(8, "x"));
    }
}
