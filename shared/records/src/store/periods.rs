//! The submissions and alerts of a site in a period of time.

use std::collections::BTreeMap;

use clinical::ids::{PatientId, SiteId, StudyId};
use futures::{StreamExt, TryStreamExt, stream, try_join};
use invocation::Deadline;
use invocation::aws::Failure;
use time::OffsetDateTime;

use super::Store;
use crate::items::period::{ATTRIBUTES, AlertHandling, PatientPeriod, SitePeriod};
use crate::items::{profile, registration};
use crate::table::attributes::{Reader, sortable, text};
use crate::table::calls;
use crate::table::keys::{self, OCCURRENCE, SUBMISSION};

/// Each read beyond these opens a connection of its own, which costs more than it saves.
const READS_AT_ONCE: usize = 24;

impl Store {
    /// The submissions and alerts of the `patients` who are, or were, of `site`, as [`site_patients`](Self::site_patients) returns them, from
    /// `from` on and before `until`, and the compliance in the windows that opened then. All of them or none, read
    /// consistently.
    ///
    /// # Errors
    /// If the store did not return all of them in time.
    pub async fn site_period(
        &self,
        study: &StudyId,
        site: &SiteId,
        (patients, unreadable): (Vec<PatientId>, u64),
        from: OffsetDateTime,
        until: OffsetDateTime,
        deadline: Deadline,
    ) -> Result<SitePeriod, Failure> {
        let read = stream::iter(patients)
            .map(|patient| self.patient_period(study, site, patient, (from, until), deadline))
            .buffered(READS_AT_ONCE)
            .try_collect();
        let alerts = self.alerts_raised(study, site, (from, until), deadline);
        let (read, (mut alerts, unreadable_alerts)): (Vec<(PatientPeriod, u64)>, _) = try_join!(read, alerts)?;
        let unreadable = unreadable + unreadable_alerts + read.iter().map(|(_, unreadable)| unreadable).sum::<u64>();
        let patients = read.into_iter().map(|(mut period, _)| {
            period.alerts = alerts.remove(&period.patient).unwrap_or_default();
            period.complete();
            period
        });
        Ok(SitePeriod { patients: patients.filter(|period| period.is_reported(from)).collect(), unreadable })
    }

    /// The alerts of `site` that were raised from `from` on and before `until`, by patient, and the number of those that
    /// cannot be read.
    async fn alerts_raised(
        &self,
        study: &StudyId,
        site: &SiteId,
        (from, until): (OffsetDateTime, OffsetDateTime),
        deadline: Deadline,
    ) -> Result<(BTreeMap<PatientId, Vec<AlertHandling>>, u64), Failure> {
        // All of the site's: an id is in order by when its submission was received, and it may be raised much later.
        let query = self.partition(keys::alerts(study, site));
        let items = calls::query(query, usize::MAX, "Query of a site's alerts", deadline).await?;
        let (mut by_patient, mut unreadable) = (BTreeMap::<PatientId, Vec<AlertHandling>>::new(), 0);
        for reader in items.iter().map(Reader) {
            match (reader.parsed("patient"), AlertHandling::from_reader(reader)) {
                (Ok(patient), Ok(alert)) if (from..until).contains(&alert.raised_at) => {
                    by_patient.entry(patient).or_default().push(alert);
                }
                (Ok(_), Ok(_)) => {}
                (Err(_), _) | (_, Err(_)) => unreadable += 1,
            }
        }
        Ok((by_patient, unreadable))
    }

    async fn patient_period(
        &self,
        study: &StudyId,
        site: &SiteId,
        patient: PatientId,
        (from, until): (OffsetDateTime, OffsetDateTime),
        deadline: Deadline,
    ) -> Result<(PatientPeriod, u64), Failure> {
        // Some of the names are reserved words of expressions.
        let names = ATTRIBUTES.iter().chain(&["at"]).map(|name| (format!("#{name}"), (*name).to_owned()));
        // Occurrences come first in the order of the keys, submissions last.
        let query = self
            .between(keys::patient(study, &patient), OCCURRENCE.to_owned(), format!("{SUBMISSION}~"))
            .filter_expression(
                "#kind = :profile OR #kind = :registration OR #effective_at BETWEEN :from AND :until \
                 OR #place.#at BETWEEN :from AND :until OR #opens BETWEEN :from AND :until",
            )
            .projection_expression(ATTRIBUTES.map(|name| format!("#{name}")).join(", "))
            .set_expression_attribute_names(Some(names.collect()))
            .expression_attribute_values(":profile", text(profile::KIND))
            .expression_attribute_values(":registration", text(registration::KIND))
            .expression_attribute_values(":from", text(sortable(from)))
            .expression_attribute_values(":until", text(sortable(until)));
        let items = calls::query(query, usize::MAX, "Query of a patient's records", deadline).await?;
        let mut period = PatientPeriod::new(patient);
        let unreadable = items.iter().filter(|item| period.add(item, site, from, until).is_err()).count();
        Ok((period, unreadable as u64))
    }
}
