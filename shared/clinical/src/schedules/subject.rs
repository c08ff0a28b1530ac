//! What schedules depend on of a patient.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::ids::{EventId, GroupId, SiteId};

/// What the schedules of a patient depend on.
#[derive(Debug, Clone, PartialEq)]
pub struct Subject {
    /// The site.
    pub site: SiteId,
    /// The day of enrolment, in the patient's local time. No window opens on an earlier day.
    pub enrolled_on: Date,
    /// The time zone in which the patient lives.
    pub zone: TimeZone,
    /// The group, if any.
    pub group: Option<GroupId>,
    /// The days of the named events that have one.
    pub events: BTreeMap<EventId, Date>,
    /// When the patient withdrew.
    pub withdrawn_at: Option<Timestamp>,
}
