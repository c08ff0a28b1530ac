//! Plans: for what a patient's occurrences were made, and how far. One a patient, beside the occurrences.

use std::collections::BTreeMap;
use std::fmt;

use aws_sdk_dynamodb::types::AttributeValue;
use clinical::ids::{EventId, GroupId, PatientId, ScheduleId, SiteId, StudyId, StudyVersion};
use clinical::schedules::{Position, offset_date_time, timestamp};
use jiff::Timestamp;
use jiff::civil::Date;
use time::OffsetDateTime;

use crate::table::attributes::{Item, Reader, Unreadable, map, number, sortable, text, unreadable};
use crate::table::keys::{self, PK};
use crate::table::lists::{List, PENDING, PENDING_SINCE};

pub(crate) const KIND: &str = "plan";
/// The attribute that says since when the plan is to be made again, because the registry or the study changed.
pub(crate) const CHANGED_AT: &str = "changed_at";

/// The attribute that says for which version of the study the plan is to be made at least.
pub(crate) const FOR_VERSION: &str = "for_version";

/// The attribute that says how far each schedule's occurrences are made.
pub(crate) const POSITIONS: &str = "positions";

/// How far the occurrences of a patient are made, and for what.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredPlan {
    /// The study.
    pub study: StudyId,
    /// The patient.
    pub patient: PatientId,
    /// What the occurrences were made for; `None` before any were.
    pub made_for: Option<MadeFor>,
    /// How far each schedule's occurrences are made.
    pub positions: BTreeMap<ScheduleId, Position>,
    /// Since when something has changed that the occurrences were not made for yet.
    pub changed_at: Option<OffsetDateTime>,
    /// The version of the study that it is to be made for, or a later one, if that has changed.
    pub for_version: Option<StudyVersion>,
    /// When more occurrences are to be made; `None` if no more will be, unless something changes.
    pub wakes_at: Option<Timestamp>,
    /// The revision, for optimistic locking; 0 before it is stored.
    pub(crate) revision: u64,
}

/// What occurrences were made for: the patient's data and the study's, as they were then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadeFor {
    /// The version of the study.
    pub study_version: Option<StudyVersion>,
    /// The site that is responsible for the patient.
    pub site: SiteId,
    /// The day of enrolment.
    pub enrolled_on: Date,
    /// The IANA name of the time zone in which the patient lives.
    pub time_zone: String,
    /// The group.
    pub group: Option<GroupId>,
    /// The days of the named events.
    pub events: BTreeMap<EventId, Date>,
    /// When the patient withdrew.
    pub withdrawn_at: Option<Timestamp>,
}

/// Without the patient.
impl fmt::Debug for StoredPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredPlan")
            .field("study", &self.study)
            .field("revision", &self.revision)
            .finish_non_exhaustive()
    }
}

impl StoredPlan {
    /// The plan of a patient for whom nothing was made yet.
    pub fn new(study: StudyId, patient: PatientId) -> Self {
        let positions = BTreeMap::new();
        Self {
            study,
            patient,
            made_for: None,
            positions,
            changed_at: None,
            for_version: None,
            wakes_at: None,
            revision: 0,
        }
    }

    /// This plan, to be made again for `made_for`, before any schedule is added.
    #[must_use]
    pub fn made_again(self, made_for: MadeFor) -> Self {
        let positions = BTreeMap::new();
        Self { made_for: Some(made_for), positions, changed_at: None, for_version: None, wakes_at: None, ..self }
    }

    /// Its key in the Records table.
    pub(crate) fn key(&self) -> Item {
        keys::plan(&self.study, &self.patient)
    }

    /// The value of `pending` that puts the plan of `patient` on the list of what is due.
    pub(crate) fn list_key(study: &StudyId, patient: &PatientId) -> String {
        List::Due.key_of(&keys::patient(study, patient))
    }

    /// Its item, with the next revision.
    pub(crate) fn to_item(&self) -> Item {
        let mut item = self.key();
        let mut set = |name: &str, value: AttributeValue| item.insert(name.to_owned(), value);
        set("kind", text(KIND));
        if let Some(made_for) = &self.made_for {
            set("made_for", made_for.to_attribute());
        }
        let positions = self.positions.iter().map(|(id, position)| (id.as_str(), position_to_attribute(position)));
        set(POSITIONS, map(positions));
        if let Some(at) = self.changed_at {
            set(CHANGED_AT, text(sortable(at)));
        }
        if let Some(version) = &self.for_version {
            set(FOR_VERSION, text(version.as_str()));
        }
        set("revision", number(self.revision + 1));
        let wakes_at = self.wakes_at.map(offset_date_time);
        if let Some(at) = self.changed_at.into_iter().chain(wakes_at).min() {
            set(PENDING, text(Self::list_key(&self.study, &self.patient)));
            set(PENDING_SINCE, text(sortable(at)));
        }
        item
    }

    pub(crate) fn from_item(item: &Item) -> Result<Self, Unreadable> {
        let reader = Reader(item);
        let (study, patient) = keys::patient_of(reader.text(PK)?).ok_or_else(|| unreadable(PK, "names no patient"))?;
        // A change that was entered before any occurrence was made has stored no positions.
        let positions = reader.optional_map(POSITIONS)?;
        let positions = positions.iter().flat_map(|positions| positions.0.keys().map(|id| (id, *positions)));
        let positions = positions.map(|(id, positions)| {
            let known = id.parse().map_err(|_| unreadable(POSITIONS, "names no schedule"))?;
            Ok((known, position_from_reader(positions.map(id)?)?))
        });
        let changed_at = reader.optional_instant(CHANGED_AT)?;
        let wakes_at = match changed_at {
            None => reader.optional_instant(PENDING_SINCE)?.and_then(timestamp),
            Some(_) => None,
        };
        Ok(Self {
            study,
            patient,
            made_for: reader.optional_map("made_for")?.map(MadeFor::from_reader).transpose()?,
            positions: positions.collect::<Result<_, _>>()?,
            changed_at,
            for_version: reader.optional_parsed(FOR_VERSION)?,
            wakes_at,
            revision: reader.optional_count("revision")?.ok_or_else(|| unreadable("revision", "is missing"))?,
        })
    }
}

/// The schedules of the positions in the `item` of a plan.
pub(crate) fn schedules_of(item: &Item) -> Result<Vec<ScheduleId>, Unreadable> {
    let positions = Reader(item).optional_map(POSITIONS)?;
    let ids = positions.iter().flat_map(|positions| positions.0.keys());
    ids.map(|id| id.parse().map_err(|_| unreadable(POSITIONS, "names no schedule"))).collect()
}

impl MadeFor {
    fn to_attribute(&self) -> AttributeValue {
        let events = map(self.events.iter().map(|(event, on)| (event.as_str(), text(on.to_string()))));
        let optional = [
            ("study_version", self.study_version.as_ref().map(|version| version.as_str().to_owned())),
            ("group", self.group.as_ref().map(|group| group.as_str().to_owned())),
            ("withdrawn_at", self.withdrawn_at.map(|at| at.to_string())),
        ];
        let members = [
            ("site", text(self.site.as_str())),
            ("enrolled_on", text(self.enrolled_on.to_string())),
            ("time_zone", text(&self.time_zone)),
            ("events", events),
        ];
        let optional = optional.into_iter().filter_map(|(name, value)| Some((name, text(value?))));
        map(members.into_iter().chain(optional))
    }

    fn from_reader(reader: Reader<'_>) -> Result<Self, Unreadable> {
        let events = reader.map("events")?;
        let events = events.0.keys().map(|event| {
            let known = event.parse().map_err(|_| unreadable("events", "names no event"))?;
            Ok((known, events.parsed(event)?))
        });
        Ok(Self {
            study_version: reader.optional_parsed("study_version")?,
            site: reader.parsed("site")?,
            enrolled_on: reader.parsed("enrolled_on")?,
            time_zone: reader.owned_text("time_zone")?,
            group: reader.optional_parsed("group")?,
            events: events.collect::<Result<_, _>>()?,
            withdrawn_at: reader.optional_parsed("withdrawn_at")?,
        })
    }
}

fn position_to_attribute(position: &Position) -> AttributeValue {
    let Position { made, first_day, not_before, since } = position;
    let times = [("not_before", not_before), ("since", since)];
    let times =
        times.into_iter().filter(|(_, at)| **at != Timestamp::MIN).map(|(name, at)| (name, text(at.to_string())));
    let first_day = first_day.map(|day| ("first_day", text(day.to_string())));
    map(times.chain(first_day).chain([("made", number(made))]))
}

fn position_from_reader(reader: Reader<'_>) -> Result<Position, Unreadable> {
    let made = reader.optional_count("made")?.and_then(|made| u32::try_from(made).ok());
    let time = |name: &str| Ok(reader.optional_parsed(name)?.unwrap_or(Timestamp::MIN));
    Ok(Position {
        made: made.ok_or_else(|| unreadable("made", "is missing"))?,
        first_day: reader.optional_parsed("first_day")?,
        not_before: time("not_before")?,
        since: time("since")?,
    })
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn plan() -> StoredPlan {
        let made_for = MadeFor {
            study_version: Some("1.2.0".parse().unwrap()),
            site: "S01".parse().unwrap(),
            enrolled_on: "2026-11-01".parse().unwrap(),
            time_zone: "Asia/Shanghai".to_owned(),
            group: Some("women".parse().unwrap()),
            events: BTreeMap::from([("surgery".parse().unwrap(), "2026-11-20".parse().unwrap())]),
            withdrawn_at: Some("2026-11-21T08:00:00Z".parse().unwrap()),
        };
        let moved = Position {
            made: 12,
            first_day: Some("2026-11-02".parse().unwrap()),
            not_before: "2026-11-09T15:59:00Z".parse().unwrap(),
            since: "2026-11-10T08:00:00.123Z".parse().unwrap(),
        };
        StoredPlan {
            made_for: Some(made_for),
            positions: BTreeMap::from([
                ("diary".parse().unwrap(), moved),
                ("weekly".parse().unwrap(), Position::default()),
            ]),
            wakes_at: Some("2026-11-27T08:00:00Z".parse().unwrap()),
            revision: 3,
            ..StoredPlan::new("DEMO".parse().unwrap(), "P-001".parse().unwrap())
        }
    }

    #[test]
    fn a_plan_survives_being_stored() {
        let changed = StoredPlan { changed_at: Some(datetime!(2026-11-22 08:00 UTC)), wakes_at: None, ..plan() };
        let ended = StoredPlan { wakes_at: None, ..plan() };
        let rolled_out = StoredPlan { for_version: Some("1.1.0".parse().unwrap()), ..changed.clone() };
        let new = StoredPlan { revision: 0, made_for: None, positions: BTreeMap::new(), ..ended.clone() };
        for one in [plan(), changed, ended, rolled_out, new] {
            let stored = StoredPlan::from_item(&one.to_item());
            assert_eq!(stored, Ok(StoredPlan { revision: one.revision + 1, ..one }));
        }
    }

    #[test]
    fn it_is_on_the_list_from_when_more_is_to_be_made() {
        let since = |one: &StoredPlan| Reader(&one.to_item()).optional_owned_text(PENDING_SINCE).unwrap();
        assert_eq!(since(&plan()).as_deref(), Some("2026-11-27T08:00:00.000000000Z"));
        let changed = StoredPlan { changed_at: Some(datetime!(2026-11-22 08:00 UTC)), ..plan() };
        assert_eq!(since(&changed).as_deref(), Some("2026-11-22T08:00:00.000000000Z"));
        assert_eq!(since(&StoredPlan { wakes_at: None, ..plan() }), None);
    }

    #[test]
    fn debug_output_names_no_patient() {
        assert!(!format!("{:?}", plan()).contains("P-001"));
    }
}
