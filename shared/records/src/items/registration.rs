//! Registrations: what staff have entered of a patient's part in the study. The only record of a patient that is not
//! derived from submissions.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use aws_sdk_dynamodb::types::AttributeValue;
use clinical::ids::{EventId, GroupId, PatientId, SiteId, StudyId};
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

use super::UnknownName;
use crate::table::attributes::{Item, Reader, Unreadable, instant, map, number, text, unreadable};
use crate::table::keys::{self, PK};

pub(crate) const KIND: &str = "registration";
/// The attribute that holds a withdrawal.
pub(crate) const WITHDRAWN: &str = "withdrawn";
/// The attributes that a submission is admitted by.
pub(crate) const ADMITTING: [&str; 2] = [WITHDRAWN, "group"];
const DATE: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");

/// A patient as staff have registered them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The study.
    pub study: StudyId,
    /// The patient.
    pub patient: PatientId,
    /// The site that is responsible for the patient now.
    pub site: SiteId,
    /// The day of enrolment, in the patient's time.
    pub enrolled_on: Date,
    /// The IANA name of the patient's time zone; the site's if absent.
    pub time_zone: Option<String>,
    /// The patient's language, as a BCP 47 tag.
    pub language: Option<String>,
    /// The patient's group, where the token names none.
    pub group: Option<GroupId>,
    /// The days of the study's named events.
    pub events: BTreeMap<EventId, Date>,
    /// The transfers from site to site, in order.
    pub transfers: Vec<Transfer>,
    /// The patient's withdrawal.
    pub withdrawal: Option<Withdrawal>,
    /// The revision, for optimistic locking; 0 before it is stored.
    pub(crate) revision: u64,
}

/// A transfer of a patient from one site to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// The site that the patient left.
    pub from: SiteId,
    /// The site that became responsible.
    pub to: SiteId,
    /// When, by the server's clock.
    pub at: OffsetDateTime,
}

/// A patient's withdrawal from the study.
#[derive(Clone, PartialEq, Eq)]
pub struct Withdrawal {
    /// When, by the server's clock. What the patient completed before is still accepted.
    pub at: OffsetDateTime,
    /// What becomes of the data that were collected.
    pub mode: WithdrawalMode,
    /// Who asked for it, as staff entered it.
    pub requested_by: String,
}

impl fmt::Debug for Withdrawal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Withdrawal").field("at", &self.at).field("mode", &self.mode).finish_non_exhaustive()
    }
}

/// What becomes of the data of a patient who withdrew. Nothing is deleted in either mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WithdrawalMode {
    /// Nothing more is collected; what was collected stays in lists and reports.
    Stop,
    /// Nothing more is collected, and lists and reports show no data of the patient.
    StopAndHide,
}

impl WithdrawalMode {
    /// Every mode, by its name in the API.
    pub const ALL: [(&'static str, Self); 2] = [("stop", Self::Stop), ("stop-and-hide", Self::StopAndHide)];

    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::StopAndHide => "stop-and-hide",
        }
    }
}

impl FromStr for WithdrawalMode {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        Self::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, mode)| mode).ok_or(UnknownName("mode"))
    }
}

/// What the registry says of a patient whose submission is to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// When the patient withdrew.
    pub withdrawn_at: Option<OffsetDateTime>,
    /// The patient's group.
    pub group: Option<GroupId>,
}

impl Admission {
    pub(crate) fn from_item(item: &Item) -> Result<Self, Unreadable> {
        let reader = Reader(item);
        let withdrawal = Withdrawal::from_reader(reader)?;
        Ok(Self { withdrawn_at: withdrawal.map(|withdrawal| withdrawal.at), group: reader.optional_parsed("group")? })
    }
}

impl Withdrawal {
    /// Whether lists and reports show no data of the patient.
    pub fn hides(&self) -> bool {
        self.mode == WithdrawalMode::StopAndHide
    }

    pub(crate) fn from_reader(registration: Reader<'_>) -> Result<Option<Self>, Unreadable> {
        let Some(withdrawn) = registration.optional_map(WITHDRAWN)? else { return Ok(None) };
        Ok(Some(Self {
            at: withdrawn.instant("at")?,
            mode: withdrawn.parsed("mode")?,
            requested_by: withdrawn.owned_text("requested_by")?,
        }))
    }

    fn to_attribute(&self) -> AttributeValue {
        let requested_by = text(&self.requested_by);
        map([("at", instant(self.at)), ("mode", text(self.mode.as_str())), ("requested_by", requested_by)])
    }
}

impl Transfer {
    pub(crate) fn from_reader(reader: Reader<'_>) -> Result<Self, Unreadable> {
        Ok(Self { from: reader.parsed("from")?, to: reader.parsed("to")?, at: reader.instant("at")? })
    }

    fn to_attribute(&self) -> AttributeValue {
        map([("from", text(self.from.as_str())), ("to", text(self.to.as_str())), ("at", instant(self.at))])
    }
}

impl Registration {
    /// The registration of a patient at `site`, enrolled on this day, before anything else is known or stored.
    pub fn new(study: StudyId, patient: PatientId, site: SiteId, enrolled_on: Date) -> Self {
        Self {
            study,
            patient,
            site,
            enrolled_on,
            time_zone: None,
            language: None,
            group: None,
            events: BTreeMap::new(),
            transfers: Vec::new(),
            withdrawal: None,
            revision: 0,
        }
    }

    /// Whether it was read from the store.
    pub fn is_stored(&self) -> bool {
        self.revision > 0
    }

    /// Its key in the Records table.
    pub(crate) fn key(&self) -> Item {
        keys::registration(&self.study, &self.patient)
    }

    /// Its item, with the next revision.
    pub(crate) fn to_item(&self) -> Item {
        let mut item = self.key();
        let mut set = |name: &str, value: AttributeValue| item.insert(name.to_owned(), value);
        set("kind", text(KIND));
        set("site", text(self.site.as_str()));
        set("enrolled_on", text(date_text(self.enrolled_on)));
        let known = [
            ("time_zone", self.time_zone.as_deref()),
            ("language", self.language.as_deref()),
            ("group", self.group.as_ref().map(GroupId::as_str)),
        ];
        for (name, value) in known {
            if let Some(value) = value {
                set(name, text(value));
            }
        }
        if !self.events.is_empty() {
            set("events", map(self.events.iter().map(|(event, on)| (event.as_str(), text(date_text(*on))))));
        }
        if !self.transfers.is_empty() {
            set("transfers", AttributeValue::L(self.transfers.iter().map(Transfer::to_attribute).collect()));
        }
        if let Some(withdrawal) = &self.withdrawal {
            set(WITHDRAWN, withdrawal.to_attribute());
        }
        set("revision", number(self.revision + 1));
        item
    }

    pub(crate) fn from_item(item: &Item) -> Result<Self, Unreadable> {
        let reader = Reader(item);
        let (study, patient) = keys::patient_of(reader.text(PK)?).ok_or_else(|| unreadable(PK, "names no patient"))?;
        let events = reader.optional_map("events")?;
        let events =
            events.iter().flat_map(|events| events.0.keys().map(|event| (event, *events))).map(|(event, on)| {
                let known = event.parse().map_err(|_| unreadable("events", "names no event"))?;
                Ok((known, date(on, event)?))
            });
        Ok(Self {
            study,
            patient,
            site: reader.parsed("site")?,
            enrolled_on: date(reader, "enrolled_on")?,
            time_zone: reader.optional_owned_text("time_zone")?,
            language: reader.optional_owned_text("language")?,
            group: reader.optional_parsed("group")?,
            events: events.collect::<Result<_, _>>()?,
            transfers: reader.maps("transfers")?.into_iter().map(Transfer::from_reader).collect::<Result<_, _>>()?,
            withdrawal: Withdrawal::from_reader(reader)?,
            revision: reader.optional_count("revision")?.ok_or_else(|| unreadable("revision", "is missing"))?,
        })
    }
}

fn date(reader: Reader<'_>, name: &str) -> Result<Date, Unreadable> {
    Date::parse(reader.text(name)?, DATE).map_err(|_| unreadable(name, "is not a date"))
}

/// `date` as it is stored and returned: `2026-11-01`.
fn date_text(date: Date) -> String {
    date.format(DATE).expect("the format takes only what every date has")
}

#[cfg(test)]
pub(crate) mod tests {
    use time::macros::{date, datetime};

    use super::*;

    pub(crate) fn registration() -> Registration {
        Registration {
            study: "DEMO".parse().unwrap(),
            patient: "P-001".parse().unwrap(),
            site: "S02".parse().unwrap(),
            enrolled_on: date!(2026 - 11 - 01),
            time_zone: Some("Asia/Shanghai".to_owned()),
            language: Some("zh-Hans".to_owned()),
            group: Some("women".parse().unwrap()),
            events: BTreeMap::from([("surgery".parse().unwrap(), date!(2026 - 11 - 20))]),
            transfers: vec![Transfer {
                from: "S01".parse().unwrap(),
                to: "S02".parse().unwrap(),
                at: datetime!(2026-11-10 08:00 UTC),
            }],
            withdrawal: Some(Withdrawal {
                at: datetime!(2026-11-21 08:00 UTC),
                mode: WithdrawalMode::StopAndHide,
                requested_by: "patient".to_owned(),
            }),
            revision: 4,
        }
    }

    #[test]
    fn a_registration_survives_being_stored() {
        let whole = registration();
        let Registration { study, patient, site, enrolled_on, .. } = registration();
        let least = Registration::new(study, patient, site, enrolled_on);
        for one in [whole, least] {
            let stored = Registration::from_item(&one.to_item());
            assert_eq!(stored, Ok(Registration { revision: one.revision + 1, ..one }));
        }
    }

    #[test]
    fn debug_output_has_no_patient_and_no_words_of_staff() {
        let text = format!("{:?}", Registration { events: BTreeMap::new(), ..registration() });
        assert!(!text.contains("P-001") && !text.contains("\"patient\""), "{text}");
    }
}
