//! The stored engine, driven through a course: what staff and phones send is stored when it becomes known, answers are
//! recorded whenever the stream delivers them, and `sweep` runs when something is due.

use std::collections::BTreeMap;
use std::time::Duration;

use clinical::ids::{InstrumentId, SiteId, StudyId, SubmissionId};
use clinical::schedules::{self, Known, offset_date_time, timestamp};
use harness::World;
use invocation::{Clock, Deadline, Principal};
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp, ToSpan};
use records::{
    Actor, Audit, AuditAction, ConditionalPut, InstrumentRef, List, Participation, PutOutcome, Registration, Store,
    StoredOccurrence, Submission, Withdrawal, WithdrawalMode,
};
use scheduling::DueRun;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::generate::{Course, DAYS, Fact, SECONDS_OF_DAY};

/// How long after something is due `sweep` finds it: what was received in a window is stored by then.
const FOUND_AFTER: i64 = 45;

pub(crate) struct Engine {
    world: World,
    store: Store,
    start: Timestamp,
    zone: String,
    enrolled_on: Date,
    /// Answers that the stream has yet to deliver, by time and a number.
    deliveries: BTreeMap<(i64, usize), Submission>,
    /// What became known, for the reference.
    pub(crate) known: Vec<Known>,
    swept: i64,
}

impl Engine {
    /// Drives `course` to its end, and until nothing is left to be processed.
    pub(crate) async fn of(course: &Course) -> Self {
        let world = World::new();
        world.put_study(course.study.clone()).await;
        let enrolled_on: Date = course.first_day.parse().unwrap();
        let start = enrolled_on.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp();
        let mut engine = Self {
            store: world.store(),
            world,
            start,
            zone: course.study["sites"][0]["timeZone"].as_str().unwrap().to_owned(),
            enrolled_on,
            deliveries: BTreeMap::new(),
            known: Vec::new(),
            swept: i64::MIN,
        };
        let mut facts = course.facts.iter().enumerate().peekable();
        loop {
            let fact = facts.peek().map_or(i64::MAX, |(_, (at, _))| *at);
            let delivery = engine.deliveries.first_key_value().map_or(i64::MAX, |((at, _), _)| *at);
            let sweep = engine.due_at();
            let now = fact.min(delivery).min(sweep);
            if now > engine.end() {
                return engine;
            }
            if now == sweep {
                engine.sweep(now).await;
            } else if now == fact {
                let (place, (_, fact)) = facts.next().unwrap();
                engine.learn(now, place, fact).await;
            } else {
                let (_, submission) = engine.deliveries.pop_first().unwrap();
                engine.answer(now, &submission).await;
            }
        }
    }

    /// The time of the last look at it: some days after all that became known has been processed.
    fn end(&self) -> i64 {
        (DAYS + 4) * SECONDS_OF_DAY + 55
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.at(self.end())
    }

    pub(crate) async fn occurrences(&self) -> Vec<StoredOccurrence> {
        self.store.occurrences(&study(), &"P-1".parse().unwrap(), None, deadline()).await.unwrap()
    }

    /// How often each occurrence was reminded of.
    pub(crate) fn reminders(&self) -> BTreeMap<(String, u32), usize> {
        let mut reminders = BTreeMap::new();
        for reminder in self.world.reminders() {
            let number = u32::try_from(reminder["occurrence"].as_u64().unwrap()).unwrap();
            *reminders.entry((reminder["schedule"].as_str().unwrap().to_owned(), number)).or_default() += 1;
        }
        reminders
    }

    /// The alerts that are stored, and how many of them are acknowledged.
    pub(crate) fn alerts(&self) -> (usize, usize) {
        let alerts = self.world.items("alert");
        let acknowledged = alerts.iter().filter(|alert| alert["acknowledged_by"].is_string()).count();
        (alerts.len(), acknowledged)
    }

    /// The number of stored alerts that are quiet, and not acknowledged.
    pub(crate) fn quiet(&self) -> usize {
        self.world.items("alert").iter().filter(|alert| alert["status"] == "QUIET").count()
    }

    fn at(&self, second: i64) -> Timestamp {
        self.start + SignedDuration::from_secs(second)
    }

    /// When `sweep` finds something next. It runs at most once a minute.
    fn due_at(&self) -> i64 {
        let since = |item: &Value| {
            let since = OffsetDateTime::parse(item["pending_since"].as_str()?, &Rfc3339).unwrap();
            Some(timestamp(since).unwrap().as_second() - self.start.as_second())
        };
        let first = self.listed().iter().filter_map(since).min();
        first.map_or(i64::MAX, |first| (first + FOUND_AFTER).max(self.swept.saturating_add(55)))
    }

    /// What is on the list of what is due, now or later.
    fn listed(&self) -> Vec<Value> {
        let items = ["occurrence", "plan"].into_iter().flat_map(|kind| self.world.items(kind));
        items.filter(|item| item["pending"].is_string()).collect()
    }

    async fn sweep(&mut self, now: i64) {
        self.swept = now;
        let clock = self.clock(now);
        let due = DueRun::new(self.store.clone(), self.world.reminder_topic());
        // All that is of one patient is in one shard.
        let listed = self.listed();
        let Some(shard) = listed.first().map(|item| item["pending"].as_str().unwrap().rsplit_once('#').unwrap().1)
        else {
            return;
        };
        let (shard, mut position) = (shard.parse().unwrap(), None);
        loop {
            let before = clock.now() + time::Duration::milliseconds(1);
            let waiting = self.store.waiting(List::Due, shard, before, position, deadline()).await.unwrap();
            let worked_off = due.work_off(waiting.occurrences, clock, deadline()).await;
            assert!(worked_off.failures.is_empty(), "{:?}", worked_off.failures);
            for (study, patient) in &waiting.plans {
                scheduling::plan(&self.store, study, patient, clock, deadline()).await.unwrap();
            }
            position = waiting.next;
            if position.is_none() {
                break;
            }
        }
    }

    async fn answer(&self, now: i64, submission: &Submission) {
        let protocol = self.store.protocol(&study(), deadline()).await.unwrap();
        let now = offset_date_time(self.at(now));
        scheduling::answer(&self.store, &protocol, submission, now, deadline()).await.unwrap();
    }

    async fn learn(&mut self, now: i64, place: usize, fact: &Fact) {
        let zone = |name: &str| jiff::tz::TimeZone::get(name).unwrap();
        let known = match fact {
            Fact::Enrolled { group } => {
                let group = Some(group.parse().unwrap());
                self.register(now, |registration| registration.group.clone_from(&group)).await;
                let (site, on) = (site(), self.enrolled_on);
                schedules::Fact::Enrolled { site, on, zone: zone(&self.zone), group }
            }
            Fact::Zone(name) => {
                (*name).clone_into(&mut self.zone);
                self.register(now, |registration| registration.time_zone = Some((*name).to_owned())).await;
                schedules::Fact::ZoneChanged(zone(name))
            }
            Fact::Event(day) => {
                let on = self.enrolled_on.checked_add(day.days()).unwrap();
                let event: clinical::ids::EventId = "surgery".parse().unwrap();
                let day = offset_date_time(self.at(day * SECONDS_OF_DAY)).date();
                self.register(now, |registration| {
                    registration.events.insert(event.clone(), day);
                })
                .await;
                schedules::Fact::EventDated { event, on }
            }
            Fact::Withdrawn => {
                let at = offset_date_time(self.at(now));
                let withdrawal = Withdrawal { at, mode: WithdrawalMode::Stop, requested_by: "patient".to_owned() };
                self.register(now, |registration| registration.withdrawal = Some(withdrawal.clone())).await;
                schedules::Fact::Withdrawn
            }
            Fact::Submitted { instrument, before, processed } => {
                let submission = self.submission(place, instrument, now, now - before);
                let put = self.store.put_submission(&submission, deadline()).await.unwrap();
                assert!(matches!(put, PutOutcome::Stored));
                let id = submission.id;
                for after in processed {
                    self.deliveries.insert((now + after, self.deliveries.len() * 1_000 + place), submission.clone());
                }
                let effective = self.at(now - before);
                schedules::Fact::Submitted { submission: id, instrument: instrument.parse().unwrap(), effective }
            }
        };
        self.known.push(Known { at: self.at(now), fact: known });
        if !matches!(fact, Fact::Submitted { .. }) {
            self.sweep(now).await;
        }
    }

    /// Changes the patient's registration, as staff do.
    async fn register(&self, now: i64, change: impl Fn(&mut Registration)) {
        let at = offset_date_time(self.at(now));
        let patient = "P-1".parse().unwrap();
        let mut registration = match self.store.participation(&study(), &patient, deadline()).await.unwrap() {
            Participation::Registered(registration) => *registration,
            _ => Registration::new(study(), patient.clone(), site(), offset_date_time(self.start).date()),
        };
        change(&mut registration);
        let actor = Actor { principal: principal(), role: "staff".to_owned() };
        let audit = Audit::by(actor, AuditAction::PatientChanged, Some(&study()), "a test", at).of_patient(&patient);
        let put = self.store.put_registration(&registration, &[audit], deadline()).await.unwrap();
        assert_eq!(put, ConditionalPut::Stored);
    }

    fn submission(&self, place: usize, instrument: &str, received: i64, effective: i64) -> Submission {
        let (received_at, effective_at) = (self.at(received), self.at(effective));
        let millis = u64::try_from(effective_at.as_millisecond()).unwrap();
        let random = u128::try_from(place).unwrap().to_be_bytes();
        let id: SubmissionId =
            uuid::Builder::from_unix_timestamp_millis(millis, random[6..].try_into().unwrap()).into_uuid().into();
        let instrument: InstrumentId = instrument.parse().unwrap();
        Submission {
            study: study(),
            site: site(),
            patient: "P-1".parse().unwrap(),
            group: None,
            id,
            instrument: InstrumentRef { id: instrument, version: "1.0.0".parse().unwrap(), hash: "0".repeat(64) },
            answers: [].into_iter().collect(),
            authored_at: offset_date_time(effective_at),
            effective_at: offset_date_time(effective_at),
            clock: None,
            received_at: offset_date_time(received_at),
            principal: principal(),
            digest: "1".repeat(64),
            correlation_id: "c-1".to_owned(),
            counts_call: true,
            nonce: Uuid::from_u128(u128::try_from(place).unwrap()),
            study_version: None,
            amends: None,
            amended_by: None,
            device: None,
            claimed: [].into_iter().collect(),
        }
    }

    fn clock(&self, now: i64) -> Clock {
        Clock::starting_at(offset_date_time(self.at(now)))
    }
}

fn study() -> StudyId {
    "DEMO".parse().unwrap()
}

fn site() -> SiteId {
    "S01".parse().unwrap()
}

fn principal() -> Principal {
    Principal::new("staff-1", "https://issuer.example").unwrap()
}

fn deadline() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}
