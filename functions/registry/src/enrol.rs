//! Enrolment, and changes of what is registered.

use api::Problem;
use clinical::ids::{GroupId, SiteId};
use clinical::studies::Protocol;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use lambda_http::Request;
use lambda_http::http::StatusCode;
use records::{AuditAction, Registration};
use time::{Date, OffsetDateTime};

use crate::body::{invalid_field, members};
use crate::change::{Change, Decided};
use crate::{Asked, conflict, not_found};

/// The body of an enrolment. A field that is left out keeps what is stored; null removes it.
pub(crate) struct Enrol {
    site: Option<SiteId>,
    enrolled_on: Option<Date>,
    time_zone: Option<Option<String>>,
    language: Option<Option<String>>,
    group: Option<Option<GroupId>>,
    reason: Option<String>,
}

impl Enrol {
    pub(crate) fn of(request: &Request) -> Result<Self, Problem> {
        let mut members = members(request)?;
        let [zone, language, group] = ["timeZone", "language", "group"].map(|name| members.has(name));
        let time_zone = members.text("timeZone", 64);
        if time_zone.as_ref().is_some_and(|name| jiff::tz::db().get(name).is_err()) {
            let detail = "it must be a name of the IANA time zone database, for example Asia/Shanghai";
            members.wrong("timeZone", "time-zone.unknown", detail);
        }
        let enrol = Self {
            site: members.parsed("site"),
            enrolled_on: members.date("enrolledOn"),
            time_zone: zone.then_some(time_zone),
            language: members.text("language", 35).map_or(language.then_some(None), |tag| Some(Some(tag))),
            group: members.parsed("group").map_or(group.then_some(None), |id| Some(Some(id))),
            reason: members.reason(),
        };
        members.end(Some(enrol))
    }

    /// `before` with the changes that the body asks for.
    fn changed(&self, before: &Registration) -> Registration {
        let mut changed = before.clone();
        changed.enrolled_on = self.enrolled_on.unwrap_or(changed.enrolled_on);
        changed.time_zone = self.time_zone.clone().unwrap_or(changed.time_zone);
        changed.language = self.language.clone().unwrap_or(changed.language);
        changed.group = self.group.clone().unwrap_or(changed.group);
        changed
    }

    /// The site at which a patient who is not known is enrolled.
    fn new_site(&self, asked: &Asked<'_>, protocol: &Protocol) -> Result<SiteId, Problem> {
        let site = match &self.site {
            Some(site) => site,
            None => match asked.caller.only_site() {
                Ok(site) => site,
                Err(_) => {
                    return Err(invalid_field("site", "field.required", "name the site that enrols the patient"));
                }
            },
        };
        if asked.covers(site) && protocol.has_site(site) {
            Ok(site.clone())
        } else {
            Err(invalid_field("site", "site.unknown", "there is no such site for this token"))
        }
    }
}

impl Change for Enrol {
    fn decide(
        &self,
        asked: &Asked<'_>,
        protocol: &Protocol,
        before: Option<&Registration>,
    ) -> Result<Option<Decided>, Problem> {
        if let (Some(Some(language)), Some(study)) = (&self.language, protocol.study()) {
            let languages = &study.definition().languages;
            if !languages.contains(language) {
                let detail = format!("the study has the languages {}", languages.join(", "));
                return Err(invalid_field("language", "language.unknown", &detail));
            }
        }
        let Some(before) = before else {
            let site = self.new_site(asked, protocol)?;
            let study = asked.caller.study();
            let now = asked.invocation.clock.now();
            let zone = self.time_zone.as_ref().and_then(Option::as_deref);
            let zone = zone.or_else(|| Some(protocol.study()?.site(&site)?.time_zone.as_str()));
            let today = day_in(zone, now);
            let new = Registration::new(study.clone(), asked.patient.clone(), site.clone(), today);
            let entry = asked.entry(AuditAction::PatientEnrolled, &site).because(self.reason.as_deref());
            let decided = Decided::of(self.changed(&new), entry);
            return Ok(Some(Decided { status: StatusCode::CREATED, ..decided }));
        };
        if !asked.covers(&before.site) {
            return Err(not_found());
        }
        if self.site.as_ref().is_some_and(|site| *site != before.site) {
            return Err(conflict(
                "another site is responsible for the patient; to change that, post to the patient's `transfer`",
            ));
        }
        let changed = self.changed(before);
        if !before.is_stored() {
            // Enrolled by the first submission so far.
            let entry = asked.entry(AuditAction::PatientEnrolled, &before.site).because(self.reason.as_deref());
            return Ok(Some(Decided { status: StatusCode::CREATED, ..Decided::of(changed, entry) }));
        }
        if changed == *before {
            return Ok(None);
        }
        if before.withdrawal.is_some() {
            return Err(conflict("the patient has withdrawn from the study"));
        }
        let Some(reason) = &self.reason else {
            let detail = "a change of what is registered needs a reason";
            return Err(invalid_field("reason", "field.required", detail));
        };
        let entry = asked.entry(AuditAction::PatientChanged, &before.site).because(Some(reason));
        Ok(Some(Decided::of(changed, entry)))
    }
}

/// The day of `at` in the zone of this IANA name, or in UTC.
pub(crate) fn day_in(zone: Option<&str>, at: OffsetDateTime) -> Date {
    let zone = zone.and_then(|name| TimeZone::get(name).ok());
    let offset = zone
        .zip(Timestamp::from_second(at.unix_timestamp()).ok())
        .and_then(|(zone, at)| time::UtcOffset::from_whole_seconds(zone.to_offset(at).seconds()).ok());
    offset.map_or(at, |offset| at.to_offset(offset)).date()
}
