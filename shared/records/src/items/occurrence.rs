//! Occurrences: the windows in which a patient is asked, each made once, and changed as it is answered or missed.

use std::fmt;

use aws_sdk_dynamodb::types::AttributeValue;
use clinical::ids::{PatientId, RuleId, ScheduleId, SiteId, StudyId};
use clinical::schedules::{MissedAlert, Occurrence, Resolved, State, Window, offset_date_time, timestamp};
use jiff::Timestamp;
use uuid::Uuid;

use super::alert::AlertId;
use crate::table::attributes::{Item, Reader, Unreadable, bytes, map, number, sortable, text, unreadable};
use crate::table::digest::sha256;
use crate::table::keys::{self, OCCURRENCE, PK, SK};
use crate::table::lists::{List, PENDING, PENDING_SINCE};

pub(crate) const KIND: &str = "occurrence";

/// An occurrence as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredOccurrence {
    /// The study.
    pub study: StudyId,
    /// The patient.
    pub patient: PatientId,
    /// The site that was responsible for the patient when it was made or moved. Its alert is for this site.
    pub site: SiteId,
    /// The window and what became of it.
    pub occurrence: Occurrence,
    /// The alert of its miss, if it raised one.
    pub alert: Option<AlertId>,
    /// Before this time, no window of its schedule opens that moved with it; `None` if nothing moved yet. Where it is the
    /// same, occurrences are in the order of their numbers.
    pub not_before: Option<Timestamp>,
    /// Whether a submission that was stored before this occurrence may answer it, so that it is looked for at once.
    pub looks_back: bool,
    /// Random, so that the id of its alert tells nothing of the patient.
    pub(crate) nonce: Uuid,
    /// The revision, for optimistic locking; 0 before it is stored.
    pub(crate) revision: u64,
}

/// Without the patient.
impl fmt::Debug for StoredOccurrence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Occurrence { schedule, number, .. } = &self.occurrence;
        let mut shown = f.debug_struct("StoredOccurrence");
        shown.field("site", &self.site).field("schedule", schedule).field("number", number).finish_non_exhaustive()
    }
}

impl StoredOccurrence {
    /// A new one, which is not stored yet.
    pub fn new(study: StudyId, patient: PatientId, site: SiteId, occurrence: Occurrence) -> Self {
        Self {
            study,
            patient,
            site,
            occurrence,
            alert: None,
            not_before: None,
            looks_back: false,
            nonce: Uuid::new_v4(),
            revision: 0,
        }
    }

    /// This one, as `occurrence`.
    #[must_use]
    pub fn with(self, occurrence: Occurrence) -> Self {
        Self { occurrence, ..self }
    }

    /// When something is to be done about it; `None` if never.
    pub fn wakes_at(&self) -> Option<Timestamp> {
        let wakes_at = self.occurrence.wakes_at()?;
        Some(if self.looks_back { wakes_at.min(self.occurrence.window.opens) } else { wakes_at })
    }

    /// The id of the reminder that is due at `at`: the same each time it is derived, and without information on the
    /// patient.
    pub fn reminder_id(&self, at: Timestamp) -> String {
        let digest = sha256([self.nonce.as_bytes().as_slice(), at.to_string().as_bytes()]);
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
    }

    /// The rule of its alert, which has the name of the schedule.
    pub(crate) fn rule(&self) -> RuleId {
        self.occurrence.schedule.as_str().parse().expect("a schedule's id is written as a rule's is")
    }

    /// The id of the alert that its miss raises: the same each time it is derived.
    pub fn alert_id(&self) -> AlertId {
        AlertId::derive(offset_date_time(self.occurrence.window.closes), self.nonce, &self.rule())
    }

    /// Its key in the Records table.
    pub(crate) fn key(&self) -> Item {
        keys::occurrence(&self.study, &self.patient, &self.occurrence.schedule, self.occurrence.number)
    }

    /// Its item, with the next revision.
    pub(crate) fn to_item(&self) -> Item {
        let Occurrence { instrument, window, reminders, state, alert, .. } = &self.occurrence;
        let mut item = self.key();
        let mut set = |name: &str, value: AttributeValue| item.insert(name.to_owned(), value);
        set("kind", text(KIND));
        set("site", text(self.site.as_str()));
        set("instrument", text(instrument.as_str()));
        set("opens", instant(window.opens));
        set("closes", instant(window.closes));
        if !reminders.is_empty() {
            set("reminders", AttributeValue::L(reminders.iter().map(|at| instant(*at)).collect()));
        }
        let state = match state {
            State::Waiting => "waiting",
            State::Done { submission, late } => {
                set("submission", text(submission.to_string()));
                set("late", AttributeValue::Bool(*late));
                "done"
            }
            State::Missed => "missed",
            State::NotAsked => "not-asked",
            State::Ended { at } => {
                set("ended_at", instant(*at));
                "ended"
            }
        };
        set("state", text(state));
        if let Some((MissedAlert { since, quiet, resolved }, id)) = alert.zip(self.alert) {
            let quiet = quiet.then_some(("quiet", AttributeValue::Bool(true)));
            let resolved = resolved
                .into_iter()
                .flat_map(|resolved| [("number", number(resolved.number)), ("resolved_at", instant(resolved.at))]);
            let members = [("id", text(id.to_string())), ("since", instant(since))];
            set("alert", map(members.into_iter().chain(quiet).chain(resolved)));
        }
        if let Some(at) = self.not_before {
            set("not_before", instant(at));
        }
        if self.looks_back {
            set("looks_back", AttributeValue::Bool(true));
        }
        set("nonce", bytes(self.nonce.as_bytes()));
        set("revision", number(self.revision + 1));
        if let Some(at) = self.wakes_at() {
            set(PENDING, text(List::Due.key_of(&keys::patient(&self.study, &self.patient))));
            set(PENDING_SINCE, text(sortable(offset_date_time(at))));
        }
        item
    }

    pub(crate) fn from_item(item: &Item) -> Result<Self, Unreadable> {
        let reader = Reader(item);
        let (study, patient) = keys::patient_of(reader.text(PK)?).ok_or_else(|| unreadable(PK, "names no patient"))?;
        let (schedule, of_schedule) =
            name_of(reader.text(SK)?).ok_or_else(|| unreadable(SK, "names no occurrence of a schedule"))?;
        let reminders = match reader.0.contains_key("reminders") {
            true => reader.list("reminders")?.iter().map(reminder).collect::<Result<_, _>>()?,
            false => Vec::new(),
        };
        let alert = reader.optional_map("alert")?;
        let missed_alert = alert.map(|alert| {
            let resolved =
                alert.optional_count("number")?.map(|of| Ok((count(of, "number")?, at(alert, "resolved_at")?)));
            let resolved = resolved.transpose()?.map(|(number, at)| Resolved { number, at });
            Ok(MissedAlert { since: at(alert, "since")?, quiet: alert.is_set("quiet")?, resolved })
        });
        Ok(Self {
            study,
            patient,
            site: reader.parsed("site")?,
            occurrence: Occurrence {
                schedule,
                instrument: reader.parsed("instrument")?,
                number: of_schedule,
                window: Window { opens: at(reader, "opens")?, closes: at(reader, "closes")? },
                reminders,
                state: state(reader)?,
                alert: missed_alert.transpose()?,
            },
            alert: alert.map(|alert| alert.parsed("id")).transpose()?,
            not_before: reader.0.contains_key("not_before").then(|| at(reader, "not_before")).transpose()?,
            looks_back: reader.is_set("looks_back")?,
            nonce: reader.uuid("nonce")?,
            revision: reader.optional_count("revision")?.ok_or_else(|| unreadable("revision", "is missing"))?,
        })
    }
}

fn state(reader: Reader<'_>) -> Result<State, Unreadable> {
    Ok(match reader.text("state")? {
        "waiting" => State::Waiting,
        "done" => State::Done { submission: reader.parsed("submission")?, late: reader.flag("late")? },
        "missed" => State::Missed,
        "not-asked" => State::NotAsked,
        "ended" => State::Ended { at: at(reader, "ended_at")? },
        _ => return Err(unreadable("state", "is unknown")),
    })
}

fn reminder(value: &AttributeValue) -> Result<Timestamp, Unreadable> {
    let at = value.as_s().ok().and_then(|text| text.parse().ok());
    at.ok_or_else(|| unreadable("reminders", "holds a value that is not a time"))
}

/// The schedule and the number in the sort key of an occurrence.
fn name_of(sk: &str) -> Option<(ScheduleId, u32)> {
    let (schedule, number) = sk.strip_prefix(OCCURRENCE)?.split_once('#')?;
    Some((schedule.parse().ok()?, number.parse().ok()?))
}

fn count(value: u64, name: &str) -> Result<u32, Unreadable> {
    u32::try_from(value).map_err(|_| unreadable(name, "is out of range"))
}

fn at(reader: Reader<'_>, name: &str) -> Result<Timestamp, Unreadable> {
    timestamp(reader.instant(name)?).ok_or_else(|| unreadable(name, "is out of range"))
}

fn instant(at: Timestamp) -> AttributeValue {
    text(at.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn occurrence(state: State, alert: Option<MissedAlert>) -> StoredOccurrence {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let window = Window { opens: at("2026-11-20T17:00:00Z"), closes: at("2026-11-20T22:59:00Z") };
        let occurrence = Occurrence {
            schedule: "diary".parse().unwrap(),
            instrument: "nrs-pain".parse().unwrap(),
            number: 12,
            window,
            reminders: if state == State::Waiting { vec![at("2026-11-20T18:00:00Z")] } else { Vec::new() },
            state,
            alert,
        };
        let stored = StoredOccurrence::new(
            "DEMO".parse().unwrap(),
            "P-001".parse().unwrap(),
            "S01".parse().unwrap(),
            occurrence,
        );
        let alert = stored.occurrence.alert.map(|_| stored.alert_id());
        StoredOccurrence { alert, ..stored }
    }

    #[test]
    fn an_occurrence_survives_being_stored() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let submission = Uuid::from_u128(7).into();
        let resolved = Resolved { number: 11, at: at("2026-11-22T08:00:00.123Z") };
        let alert = |resolved: Option<Resolved>| {
            Some(MissedAlert { since: at("2026-11-18T17:00:00Z"), quiet: resolved.is_some(), resolved })
        };
        for (state, alert) in [
            (State::Waiting, None),
            (State::Done { submission, late: true }, None),
            (State::Done { submission, late: false }, alert(Some(resolved))),
            (State::Missed, alert(None)),
            (State::NotAsked, None),
            (State::Ended { at: at("2026-11-20T08:00:00Z") }, None),
        ] {
            let plain = occurrence(state, alert);
            let moved = StoredOccurrence {
                not_before: Some(at("2026-11-19T08:00:00Z")),
                looks_back: true,
                revision: 4,
                ..plain.clone()
            };
            for one in [plain, moved] {
                let stored = StoredOccurrence::from_item(&one.to_item());
                assert_eq!(stored, Ok(StoredOccurrence { revision: one.revision + 1, ..one }));
            }
        }
    }

    #[test]
    fn it_is_on_the_list_only_while_something_is_to_be_done() {
        let since = |one: &StoredOccurrence| Reader(&one.to_item()).optional_owned_text(PENDING_SINCE).unwrap();
        let waiting = occurrence(State::Waiting, None);
        assert_eq!(since(&waiting).as_deref(), Some("2026-11-20T18:00:00.000000000Z"), "its reminder");
        let looks_back = StoredOccurrence { looks_back: true, ..waiting };
        assert_eq!(since(&looks_back).as_deref(), Some("2026-11-20T17:00:00.000000000Z"), "its opening");
        assert_eq!(since(&occurrence(State::Missed, None)), None);
    }

    #[test]
    fn debug_output_names_no_patient() {
        assert!(!format!("{:?}", occurrence(State::Missed, None)).contains("P-001"));
    }
}
